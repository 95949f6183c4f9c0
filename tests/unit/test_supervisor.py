"""The supervisor with workers that only pretend: restarts, states, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdc.restarts import Pauses
from cdc.supervised import Task
from cdc.supervisor import Supervisor

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
ROOT = FAKE_WORKER.parents[2]
QUICK = Pauses(first=0.01, longest=0.05)


def eventually(fact: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until `fact` is truthy, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
    return found


def command(folder: Path) -> list[str]:
    return [sys.executable, str(FAKE_WORKER), str(folder)]


def connectors(*names: str) -> list[Task]:
    return [Task("connector", name) for name in names]


def pids(folder: Path, name: str) -> list[int]:
    """Processes that were started under this name."""
    return [int(path.suffix[1:]) for path in folder.glob(f"{name}.*")]


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@contextmanager
def running(tasks: list[Task], folder: Path, **settings: Any) -> Iterator[Supervisor]:
    supervisor = Supervisor(tasks, command(folder), pauses=QUICK, **settings)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
        thread.join(20)
        assert not thread.is_alive()


def state(supervisor: Supervisor, name: str) -> str:
    return str(supervisor.status()["connectors"][name]["state"])


def test_a_worker_that_met_a_retriable_error_is_started_again(tmp_path: Path) -> None:
    with running(connectors("twice_unlucky"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "twice_unlucky") == "streaming")
        shown = supervisor.status()["connectors"]["twice_unlucky"]
        assert (shown["restarts"], shown["error"], shown["retry_at"]) == (2, None, None)
    assert len(pids(tmp_path, "twice_unlucky")) == 3


def test_a_worker_that_was_killed_is_started_again(tmp_path: Path) -> None:
    with running(connectors("killed_once"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "killed_once") == "streaming")
        assert len(pids(tmp_path, "killed_once")) == 2
        for pid in pids(tmp_path, "killed_once"):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(pids(tmp_path, "killed_once")) == 3)
        eventually(lambda: state(supervisor, "killed_once") == "streaming")


def test_a_worker_that_somebody_stopped_is_started_again(tmp_path: Path) -> None:
    with running(connectors("steady"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "steady") == "streaming")
        os.kill(pids(tmp_path, "steady")[0], signal.SIGTERM)
        eventually(lambda: len(pids(tmp_path, "steady")) == 2)
        eventually(lambda: state(supervisor, "steady") == "streaming")


def test_a_gap_stays_and_the_others_go_on(tmp_path: Path) -> None:
    with running(connectors("gap", "steady"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "gap") == "gap" and state(supervisor, "steady") == "streaming")
        shown = supervisor.status()["connectors"]["gap"]
        assert shown["error"]["message"] == "gap met Gap"
        assert shown["error"]["hint"] == "do this"
        assert shown["position"] == "A/1"
        assert shown["lag_seconds"] is None, "a worker that does not run has no live figures"
    assert len(pids(tmp_path, "gap")) == 1


def test_fenced_twice_within_a_minute_is_a_rival(tmp_path: Path) -> None:
    with running(connectors("fenced"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "fenced") == "failed")
        assert "another copy" in supervisor.status()["connectors"]["fenced"]["error"]["message"]
    assert len(pids(tmp_path, "fenced")) == 2


def test_the_same_internal_error_again_and_again_is_given_up(tmp_path: Path) -> None:
    with running(connectors("broken"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "broken") == "failed")
    assert len(pids(tmp_path, "broken")) == 5


def test_it_ends_by_itself_when_all_have_finished(tmp_path: Path) -> None:
    supervisor = Supervisor(connectors("finishes"), command(tmp_path), pauses=QUICK)
    supervisor.run()
    assert state(supervisor, "finishes") == "stopped"
    assert len(pids(tmp_path, "finishes")) == 1


def test_a_command_that_cannot_be_run_is_retried_and_shown(tmp_path: Path) -> None:
    supervisor = Supervisor(connectors("any"), [str(tmp_path / "missing")], pauses=Pauses(first=60, longest=60))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    eventually(lambda: state(supervisor, "any") == "retrying")
    assert "cannot be started" in supervisor.status()["connectors"]["any"]["error"]["message"]
    supervisor.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_members_of_a_sink_are_shown_together(tmp_path: Path) -> None:
    tasks = [Task("sink", "billing", member) for member in range(3)]
    with running(tasks, tmp_path) as supervisor:
        eventually(lambda: supervisor.status()["sinks"]["billing"]["state"] == "live")
        shown = supervisor.status()["sinks"]["billing"]
        assert (shown["lag_seconds"], shown["rate"]) == (0.5, 30)
        assert [member["state"] for member in shown["members"]] == ["live"] * 3
    assert len(pids(tmp_path, "billing")) == 3


def test_all_are_stopped_and_a_stubborn_one_is_killed(tmp_path: Path) -> None:
    with running(connectors("steady", "stubborn", "with_child"), tmp_path, stop_seconds=0.5) as supervisor:
        eventually(lambda: {state(supervisor, n) for n in ("steady", "stubborn", "with_child")} == {"streaming"})
        asked = time.monotonic()
    assert time.monotonic() - asked < 5
    for name in ("steady", "stubborn", "with_child", "grandchild"):
        for pid in pids(tmp_path, name):
            eventually(lambda pid=pid: not alive(pid))


SUPERVISOR_ALONE = """
import signal, sys
from cdc.supervised import Task
from cdc.supervisor import Supervisor
supervisor = Supervisor([Task("connector", name) for name in sys.argv[2:]], [sys.executable, {fake!r}, sys.argv[1]])
signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
supervisor.run()
"""


@contextmanager
def alone(folder: Path, *names: str) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor in a process of its own, once all its workers run."""
    script = SUPERVISOR_ALONE.format(fake=str(FAKE_WORKER))
    with subprocess.Popen([sys.executable, "-c", script, str(folder), *names]) as process:
        try:
            eventually(lambda: all(pids(folder, name) for name in names))
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a stopped process with its parent")
def test_workers_that_hang_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    with alone(tmp_path, "steady") as process:
        (worker,) = pids(tmp_path, "steady")
        os.kill(worker, signal.SIGSTOP)
        process.kill()
        eventually(lambda: not alive(worker))


def test_workers_see_by_their_pipe_that_the_supervisor_is_gone(tmp_path: Path) -> None:
    if sys.platform != "linux":
        names = ("steady", "with_child")
    else:
        names = ("unkillable_by_parent_death",)
    with alone(tmp_path, *names) as process:
        workers = [pid for name in (*names, "grandchild") for pid in pids(tmp_path, name)]
        process.kill()
        for worker in workers:
            eventually(lambda worker=worker: not alive(worker))


def test_a_terminated_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    with alone(tmp_path, "steady", "with_child") as process:
        process.terminate()
        assert process.wait(10) == 0
        for name in ("steady", "with_child", "grandchild"):
            for pid in pids(tmp_path, name):
                eventually(lambda pid=pid: not alive(pid))
