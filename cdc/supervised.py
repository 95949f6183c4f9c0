"""One task of the supervisor, its process if it runs, and what was heard of it. Touches nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cdc.processes import WorkerProcess
from cdc.restarts import Pauses, Restarts
from cdc.states import ENDED, WELL, Observed

WAITING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Task:
    """What one worker process does: a connector, one member of a sink, or to watch a connector's source.

    Args:
        kind: `watch` looks after what a connector that is down holds back at its source.
        name: the connector's or the sink's.
        member: of a sink.
        basis: the settings that it is made from; when they differ it is started again.
        watchable: a connector whose source can be watched.
        why: what is wrong with the connector that a `watch` looks after.
    """

    kind: Literal["connector", "sink", "watch"]
    name: str
    member: int = 0
    basis: Any = field(default=None, compare=False, repr=False)
    watchable: bool = field(default=False, compare=False)
    why: str = field(default="", compare=False)

    def arguments(self) -> list[str]:
        why = ["--why", self.why] if self.why else []
        return [self.kind, self.name, "--member", str(self.member), *why]

    def label(self) -> dict[str, Any]:
        """What identifies it in a log line."""
        return {self.kind: self.name, "member": self.member} if self.kind == "sink" else {self.kind: self.name}


class Supervised:
    """One task, its process if it runs, and what was heard of it.

    `down_since` (monotonic seconds) is since when it is not well, over all restarts, and `trouble` the last
    error since then.

    Args:
        task: what it does.
        pauses: between restarts.
    """

    def __init__(self, task: Task, pauses: Pauses) -> None:
        self.task = task
        self._pauses = pauses
        self.process: WorkerProcess | None = None
        self.state = "starting"
        self.since = time.time()
        self.error: Mapping[str, Any] | None = None
        self.report: Mapping[str, Any] = {}
        self.heard = time.monotonic()
        self.well_since: float | None = None
        self.moved = time.monotonic()
        self.down_since: float | None = self.moved
        self.trouble: Mapping[str, Any] | None = None
        self.retry_due: float | None = None
        self.retry_at: float | None = None
        self.restart_count = 0
        self.going: Literal["again", "away"] | None = None
        self.kill_due: float | None = None
        self.forget()

    @property
    def running_process(self) -> WorkerProcess:
        assert self.process is not None
        return self.process

    def forget(self) -> None:
        """What went wrong before counts no more."""
        self.restarts = Restarts(self._pauses)
        self.error, self.retry_due, self.retry_at = None, None, None

    def begin(self, process: WorkerProcess) -> None:
        """It runs, in a new process."""
        self.process = process
        self.move("starting", self.error)

    def prepare(self) -> None:
        """It is about to be started: nothing of its last run holds any more but its position."""
        self.retry_due = self.retry_at = self.going = self.kill_due = None
        position = self.report.get("position")
        self.report = {"position": position} if position else {}
        self.heard, self.well_since = time.monotonic(), None

    def take(self, report: Mapping[str, Any]) -> bool:
        """What it says of itself; whether its state is another one now."""
        self.heard = time.monotonic()
        known = self.report.get("position")
        # A worker that starts over does not know its position yet; what is stored is no less than this.
        self.report = {**report, "position": known} if known and not report.get("position") else report
        state = report.get("state")
        if report.get("ended") or not isinstance(state, str):
            return False  # what becomes of it is decided when the process has ended
        if state in WELL and self.well_since is None:
            self.well_since = self.heard
        changed = state != self.state
        self.move(state, report.get("error") or (None if state in WELL else self.error))
        return changed

    def move(self, state: str, error: Mapping[str, Any] | None) -> None:
        now = time.monotonic()
        if state != self.state:
            self.since, self.moved = time.time(), now
        # Every start passes through `waiting`: only who stays there waits for another copy.
        if state == "stopped" or (state in WELL and (state != "waiting" or now - self.moved >= WAITING_SECONDS)):
            self.down_since = self.trouble = None
        elif self.down_since is None:
            self.down_since = now
        self.trouble = error or self.trouble if self.down_since is not None else None
        self.state, self.error = state, error

    def down_for(self, now: float) -> float:
        """Seconds since it was last well; infinite when it stays down, 0 when it is well."""
        if self.down_since is None:
            return 0.0
        return float("inf") if self.state in ENDED else now - self.down_since

    def observed(self, now: float) -> Observed:
        process = self.process  # another thread may end it meanwhile
        return Observed(
            state=self.state,
            since=self.since,
            error=self.error,
            retry_at=self.retry_at,
            restarts=self.restart_count,
            pid=process.pid if process is not None else None,
            silent_seconds=round(now - self.heard, 1),
            report=self.report,
        )
