"""What a running bridge is told: questions to workers, restarts, other tasks, and the watch over one that is down."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cdc.supervised import Task
from tests.unit.test_supervisor import ROOT, alive, command, connectors, eventually, pids, running, state


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_a_question_is_answered_by_the_worker_and_seen_in_its_status(tmp_path: Path) -> None:
    with running(connectors("steady", "other"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "steady") == "streaming")
        assert supervisor.ask("steady", "snapshot", ["public.a", "b.*"]) == {"answer": "snapshot of public.a, b.*"}
        assert supervisor.ask("steady", "poll", ["public.a", "b.*"]) == {"answer": "poll of public.a, b.*"}
        assert supervisor.status()["connectors"]["steady"]["snapshot"] == {"rows": 0, "total": 2}
        assert supervisor.status()["connectors"]["other"]["snapshot"] is None


def test_a_refusal_comes_back_whole(tmp_path: Path) -> None:
    with running(connectors("steady"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "steady") == "streaming")
        error = supervisor.ask("steady", "cancel", [])["error"]
        assert error.items() >= {"type": "Gap", "message": "steady has nothing to cancel", "exit_code": 3}.items()
        assert error["hint"] == "do this"


def test_a_worker_that_dies_over_a_question_is_told_at_once(tmp_path: Path) -> None:
    with running(connectors("steady"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "steady") == "streaming")
        assert "ended before it answered" in supervisor.ask("steady", "pause", [])["error"]["message"]


def test_a_worker_that_does_not_answer_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    with running(connectors("steady"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "steady") == "streaming")
        assert "no answer within 0.1 s" in supervisor.ask("steady", "resume", [], seconds=0.1)["error"]["message"]


def test_questions_that_a_stopped_process_does_not_read_never_block_the_supervisor(tmp_path: Path) -> None:
    with running(connectors("steady"), tmp_path, stop_seconds=0.2) as supervisor:
        eventually(lambda: state(supervisor, "steady") == "streaming")
        (pid,) = pids(tmp_path, "steady")
        os.kill(pid, signal.SIGSTOP)
        tables = ["public." + "x" * 1000] * 60

        def refused() -> str:
            return str(supervisor.ask("steady", "snapshot", tables, seconds=0.3)["error"]["message"])

        eventually(lambda: "does not listen" in refused())


@pytest.mark.parametrize(("name", "says"), [("gap", "it is in state gap"), ("missing", "runs no connector 'missing'")])
def test_a_connector_that_cannot_be_asked_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with running(connectors("gap"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "gap") == "gap")
        assert says in supervisor.ask(name, "pause", [])["error"]["message"]


def test_a_restart_gives_one_in_a_gap_another_try(tmp_path: Path) -> None:
    with running(connectors("gap"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "gap") == "gap")
        assert supervisor.restart("connector", "gap") == {"answer": "connector gap is started again"}
        eventually(lambda: len(pids(tmp_path, "gap")) == 2)
        eventually(lambda: state(supervisor, "gap") == "gap")


def test_a_restart_of_a_sink_starts_all_its_members_again(tmp_path: Path) -> None:
    with running([Task("sink", "billing", member) for member in range(2)], tmp_path) as supervisor:
        eventually(lambda: supervisor.status()["sinks"]["billing"]["state"] == "live")
        before = pids(tmp_path, "billing")
        supervisor.restart("sink", "billing")
        eventually(lambda: len(pids(tmp_path, "billing")) == 4)
        eventually(lambda: supervisor.status()["sinks"]["billing"]["state"] == "live")
        assert not any(map(alive, before))


def test_other_tasks_concern_only_whose_basis_differs(tmp_path: Path) -> None:
    before = [Task("connector", "steady", basis=1), Task("connector", "other", basis=1), Task("connector", "gone")]
    after = [Task("connector", "steady", basis=1), Task("connector", "other", basis=2), Task("connector", "new")]
    with running(before, tmp_path) as supervisor:
        eventually(lambda: {state(supervisor, name) for name in ("steady", "other", "gone")} == {"streaming"})
        (gone,) = pids(tmp_path, "gone")
        supervisor.change(after, command(tmp_path))
        eventually(lambda: list(supervisor.status()["connectors"]) == ["steady", "other", "new"])
        eventually(lambda: len(pids(tmp_path, "other")) == 2)
        eventually(lambda: {state(supervisor, name) for name in ("steady", "other", "new")} == {"streaming"})
        assert not alive(gone)
        assert len(pids(tmp_path, "steady")) == 1
        assert supervisor.status()["connectors"]["other"]["restarts"] == 0


def test_one_that_failed_is_started_again_by_settings_that_differ(tmp_path: Path) -> None:
    with running([Task("connector", "gap", basis=1), Task("connector", "steady")], tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "gap") == "gap" and state(supervisor, "steady") == "streaming")
        supervisor.change([Task("connector", "gap", basis=2)], command(tmp_path))
        eventually(lambda: len(pids(tmp_path, "gap")) == 2)
        eventually(lambda: list(supervisor.status()["connectors"]) == ["gap"])


def test_a_worker_finds_the_file_it_inherits(tmp_path: Path) -> None:
    with (tmp_path / "given").open("w+b") as given, running(connectors("steady"), tmp_path) as supervisor:
        eventually(lambda: state(supervisor, "steady") == "streaming")
        (first,) = pids(tmp_path, "steady")
        supervisor.change([Task("connector", "steady", basis=2)], command(tmp_path), [given])
        eventually(lambda: len(pids(tmp_path, "steady")) == 2)
        (second,) = set(pids(tmp_path, "steady")) - {first}
        assert os.readlink(f"/proc/{second}/fd/{given.fileno()}") == given.name


def watched(name: str) -> Task:
    return Task("connector", name, watchable=True)


def shown(supervisor: Any, name: str) -> dict[str, Any]:
    return dict(supervisor.status()["connectors"][name])


def test_the_source_of_one_in_a_gap_is_watched_and_shown(tmp_path: Path) -> None:
    with running([watched("gap")], tmp_path) as supervisor:
        eventually(lambda: shown(supervisor, "gap")["retained_wal_bytes"] == 77)
        found = shown(supervisor, "gap")
        assert (found["state"], found["wal_held_by"]) == ("gap", "gap met Gap")
        (watch,) = pids(tmp_path, "watch_gap")
        assert alive(watch)
    eventually(lambda: not alive(watch))


def test_one_that_keeps_retrying_is_watched_until_it_is_well(tmp_path: Path) -> None:
    with running([watched("unlucky"), watched("steady")], tmp_path, watch_seconds=2.0) as supervisor:
        eventually(lambda: shown(supervisor, "unlucky")["retained_wal_bytes"] == 77)
        assert shown(supervisor, "unlucky")["wal_held_by"] == "unlucky met BrokerUnavailable"
        starts = len(pids(tmp_path, "unlucky"))
        eventually(lambda: len(pids(tmp_path, "unlucky")) > starts + 2)
        assert shown(supervisor, "steady")["watch"] is None
        supervisor.change([watched("steady")], command(tmp_path))
        (watch,) = pids(tmp_path, "watch_unlucky")  # one for all the time, over all restarts of the connector
        eventually(lambda: not alive(watch))


def test_a_watch_that_gave_up_the_source_leaves_the_connector_in_a_gap(tmp_path: Path) -> None:
    with running([watched("gives_up")], tmp_path, watch_seconds=0.1) as supervisor:
        eventually(lambda: state(supervisor, "gives_up") == "gap")
        assert shown(supervisor, "gives_up")["retry_at"] is None
        assert len(pids(tmp_path, "watch_gives_up")) == 1
