"""`cdc run`, `cdc status` and `cdc tail` as real processes, with a connector that only counts, on a small broker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdc.server.address import parse
from cdc.server.client import fetch_status, send_command
from cdc.testing.servers import EmbeddedBroker

PLUGIN = """
import threading
import time

from cdc.connector import Stopped
from cdc.errors import Gap, Refused
from cdc.event import BY_KEY, Batch, EventTopic
from cdc.plugins import ConnectorPlugin
from cdc.position import Position
from cdc.settings import ConnectorSettings
from contextlib import nullcontext
from typing import Literal


class CounterSettings(ConnectorSettings):
    type: Literal["counter"] = "counter"
    tables: list[str] = []
    count: int = 5
    then: Literal["idle", "finish", "gap", "bug"] = "idle"

    def captured(self):
        return self.tables


class Counter:
    def __init__(self, settings, name, section):
        self.topic, self.section, self.stopped = f"{settings.name}.public.{name}", section, threading.Event()
        self.state, self.position, self.snapshot = "starting", None, None

    def lock(self):
        return nullcontext()

    def start(self, stored):
        self.next = 1 if stored is None else int(stored.order) + 1

    def batches(self):
        topic = EventTopic(self.topic, "public.counter", ("id",))
        for number in range(self.next, self.section.count + 1):
            value = b'{"op":"c","before":null,"after":{"id":%d}}' % number
            record = (self.topic, b'{"id":%d}' % number, value, BY_KEY, 0, None)
            yield Batch([record], Position(f"{number:010}"), [topic])
        self.state = "streaming"
        if self.section.then == "gap":
            raise Gap("numbers are missing", hint="count again")
        if self.section.then == "bug":
            raise ZeroDivisionError("a row's value")
        while self.section.then == "idle" and not self.stopped.wait(1):
            pass

    def confirm(self, position):
        self.position = position.order

    def status(self):
        return {
            "state": self.state,
            "position": self.position,
            "lag_seconds": 0.0,
            "rate": 1.0,
            "snapshot": self.snapshot,
        }

    def healing(self):
        return False

    def ask(self, action, tables):
        if action == "cancel":
            raise Refused("there is nothing to cancel", hint="ask for something")
        self.snapshot = {"rows": 0, "total": len(tables), "paused": action == "pause"}
        return f"{action} of {tables}"

    def stop(self):
        self.stopped.set()


plugin = ConnectorPlugin(CounterSettings, Counter, lambda settings, name, section: ())
"""


class Bridge:
    """A folder with settings, and the commands that use them."""

    def __init__(self, folder: Path, broker: EmbeddedBroker, prefix: str) -> None:
        self.folder, self.broker, self.prefix = folder, broker, prefix
        (folder / "counter_plugin.py").write_text(PLUGIN)
        info = folder / "counter_plugin-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counter-plugin\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[cdc.connectors]\ncounter = counter_plugin:plugin\n")
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        self.environment = {**os.environ, "PYTHONPATH": path}
        self.log = folder / "log"

    def settings(self, **connectors: dict[str, Any]) -> None:
        document = {
            "name": self.prefix,
            "kafka": {"bootstrap_servers": self.broker.bootstrap_servers},
            "topics": {"defaults": {"partitions": 1, "replication_factor": 1}},
            "connectors": {name: {"type": "counter", **section} for name, section in connectors.items()},
        }
        (self.folder / "cdc.yaml").write_text(json.dumps(document))

    def cdc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cdc.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @contextmanager
    def run(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "cdc.cli", "run", "--listen", "127.0.0.1:0", *arguments]
        with (
            self.log.open("wb") as log,
            subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stderr=log
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def address(self) -> str:
        found = eventually(lambda: re.search(r"http://[\d.]+:\d+", self.log.read_text()))
        return str(found[0])

    def status(self) -> tuple[int, dict[str, Any]]:
        asked = self.cdc("status", "--json", "--listen", self.address())
        return asked.returncode, json.loads(asked.stdout)

    def states(self) -> dict[str, str]:
        return {name: shown["state"] for name, shown in self.status()[1]["connectors"].items()}

    def running_anew(self, connector: str, pid: int) -> bool:
        """Whether it streams, in another process than `pid`. Asks without `cdc`, which would read the YAML."""
        host, port = parse(self.address())
        shown = fetch_status(host, port)["connectors"][connector]
        return shown["state"] == "streaming" and shown["pid"] != pid


def eventually(fact: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def bridge(tmp_path: Path, broker: EmbeddedBroker, prefix: str) -> Bridge:
    return Bridge(tmp_path, broker, prefix)


def test_a_gap_is_shown_and_the_other_connector_goes_on(bridge: Bridge) -> None:
    bridge.settings(good={}, torn={"then": "gap"})
    with bridge.run():
        eventually(lambda: bridge.states() == {"good": "streaming", "torn": "gap"})
        code, status = bridge.status()
        assert code == 3
        assert status["connectors"]["torn"]["error"]["message"] == "numbers are missing"
        eventually(lambda: bridge.status()[1]["connectors"]["good"]["position"] == "0000000005")
        table = bridge.cdc("status", "--listen", bridge.address())
        assert table.returncode == 3
        assert "count again" in table.stdout


def test_sigterm_stops_all_cleanly_and_nothing_answers_then(bridge: Bridge) -> None:
    bridge.settings(one={}, two={})
    with bridge.run() as process:
        eventually(lambda: set(bridge.states().values()) == {"streaming"})
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - asked < 10
        assert bridge.cdc("status", "--listen", bridge.address()).returncode == 1
    assert [event["event"] for event in bridge.events()][-1] == "bridge stopped"
    assert not [event for event in bridge.events() if event["level"] in ("warning", "error")]


def test_only_what_is_named_runs_and_a_finished_bridge_ends(bridge: Bridge) -> None:
    bridge.settings(one={"then": "finish"}, two={})
    with bridge.run("one") as process:
        assert process.wait(30) == 0
    assert {event["connector"] for event in bridge.events() if "connector" in event} == {"one"}


def test_a_killed_bridge_goes_on_where_it_was(bridge: Bridge) -> None:
    bridge.settings(one={"count": 3})
    with bridge.run() as process:
        eventually(lambda: bridge.states() == {"one": "streaming"})
        process.kill()
    bridge.settings(one={"count": 6, "then": "finish"})
    with bridge.run() as process:
        assert process.wait(30) == 0
    tail = bridge.cdc("tail", "public.one", "--until-end", "--json")
    assert [json.loads(line)["key"]["id"] for line in tail.stdout.splitlines()] == [1, 2, 3, 4, 5, 6]


def test_a_bug_is_told_in_one_line_without_values(bridge: Bridge) -> None:
    bridge.settings(one={"then": "bug"})
    with bridge.run():
        shown = eventually(lambda: bridge.status()[1]["connectors"]["one"]["error"])
        assert "internal error: ZeroDivisionError at " in shown["message"]
    assert "a row's value" not in bridge.log.read_text()
    assert "Traceback" not in bridge.log.read_text()


def test_an_address_in_use_ends_it_with_a_hint(bridge: Bridge) -> None:
    bridge.settings(one={})
    with bridge.run():
        second = bridge.cdc("run", "--listen", bridge.address())
    assert second.returncode == 1
    assert "is in use" in second.stderr
    assert "--listen" in second.stderr


def test_tail_prints_for_people_and_stops_at_the_limit(bridge: Bridge) -> None:
    bridge.settings(one={"then": "finish"})
    with bridge.run() as process:
        assert process.wait(30) == 0
    shown = bridge.cdc("tail", "public.one", "--from-beginning", "--limit", "2")
    assert shown.returncode == 0
    assert [re.sub(r"^\S+", "", line).split() for line in shown.stdout.splitlines()] == [
        ["insert", "1", "id=1", "[0]", "0"],
        ["insert", "2", "id=2", "[0]", "2"],
    ]


def test_tail_of_an_unknown_topic_suggests_one(bridge: Bridge) -> None:
    bridge.settings(one={"then": "finish"})
    with bridge.run() as process:
        assert process.wait(30) == 0
    shown = bridge.cdc("tail", "public.onne")
    assert shown.returncode == 1
    assert f"did you mean {bridge.prefix}.public.one?" in shown.stderr


def test_a_table_is_read_again_by_the_connector_that_captures_it(bridge: Bridge) -> None:
    bridge.settings(one={"tables": ["public.a", "sales.*"]}, two={})
    with bridge.run():
        eventually(lambda: set(bridge.states().values()) == {"streaming"})
        done = bridge.cdc("snapshot", "public.a", "sales.x", "--listen", bridge.address())
        assert (done.returncode, done.stdout) == (0, "one: snapshot of ['public.a', 'sales.x']\n")
        shown = bridge.status()[1]["connectors"]
        assert (shown["one"]["snapshot"]["total"], shown["two"]["snapshot"]) == (2, None)
        refused = bridge.cdc("snapshot", "--cancel", "--connector", "one", "--listen", bridge.address())
        assert (refused.returncode, refused.stderr) == (
            3,
            "error: there is nothing to cancel\n  hint: ask for something\n",
        )


def test_a_changed_yaml_concerns_only_the_workers_it_changes(bridge: Bridge) -> None:
    bridge.settings(same={}, other={"count": 3}, gone={})
    with bridge.run():
        eventually(lambda: set(bridge.states().values()) == {"streaming"})
        pid = bridge.status()[1]["connectors"]["same"]["pid"]
        bridge.settings(same={}, other={"count": 7}, new={})
        eventually(lambda: bridge.states() == {"same": "streaming", "other": "streaming", "new": "streaming"})
        eventually(lambda: bridge.status()[1]["connectors"]["other"]["position"] == "0000000007")
        assert bridge.status()[1]["connectors"]["same"]["pid"] == pid


def test_a_wrong_yaml_changes_nothing_not_even_for_a_worker_that_is_started_again(bridge: Bridge) -> None:
    bridge.settings(one={})
    with bridge.run():
        eventually(lambda: bridge.states() == {"one": "streaming"})
        pid = bridge.status()[1]["connectors"]["one"]["pid"]
        (bridge.folder / "cdc.yaml").write_text("name: [")
        (told,) = eventually(lambda: [event for event in bridge.events() if "settings are wrong" in event["event"]])
        assert "cdc.yaml:1" in told["problems"][0]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: bridge.running_anew("one", pid))


def test_sighup_loads_what_did_not_change_too(bridge: Bridge) -> None:
    bridge.settings(one={})
    with bridge.run() as process:
        eventually(lambda: bridge.states() == {"one": "streaming"})
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "settings are as before" in [event["event"] for event in bridge.events()])
        assert process.poll() is None


def test_a_restart_over_http_starts_one_in_a_gap_anew(bridge: Bridge) -> None:
    bridge.settings(torn={"then": "gap"})
    with bridge.run():
        eventually(lambda: bridge.states() == {"torn": "gap"})
        host, port = parse(bridge.address())
        assert send_command(host, port, "connector", "torn", "restart") == "connector torn is started again"
        eventually(lambda: len([event for event in bridge.events() if event["event"] == "gap"]) == 2)
        eventually(lambda: bridge.states() == {"torn": "gap"})
