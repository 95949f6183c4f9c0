"""Starts, watches and restarts worker processes; collects their states. Touches processes, pipes and clocks."""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from cdc.processes import WorkerProcess
from cdc.restarts import Ending, Pauses, Restarts, ending
from cdc.states import WELL, Observed, connector_view, sink_view

STOP_SECONDS = 8.0
"""A worker that has not stopped this long after it was asked to is killed."""

_log = structlog.get_logger("cdc.supervisor")


@dataclass(frozen=True, slots=True)
class Task:
    """What one worker process does: a connector, or one member of a sink."""

    kind: Literal["connector", "sink"]
    name: str
    member: int = 0

    def arguments(self) -> list[str]:
        return [self.kind, self.name, "--member", str(self.member)]

    def label(self) -> dict[str, Any]:
        """What identifies it in a log line."""
        return {self.kind: self.name, "member": self.member} if self.kind == "sink" else {self.kind: self.name}


class Supervisor:
    """Runs worker processes until `stop()`, or until all have finished what they had to do.

    Threads: `run` belongs to one thread, on Linux to one that lives as long as the workers
    should; `status` and `stop` may be called from any, `stop` from a signal handler too.

    Args:
        tasks: one process each.
        command: how a worker is started; the task's arguments and `--report-fd` are added.
        pauses: between restarts.
        stop_seconds: how long a worker may take to stop before it is killed.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        command: Sequence[str],
        *,
        pauses: Pauses | None = None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._command = list(command)
        self._stop_seconds = stop_seconds
        self._workers = [_Worker(task, Restarts(pauses or Pauses())) for task in tasks]
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._stopping = False
        self._asked = False
        self._deadline: float | None = None

    def run(self) -> None:
        """Start everything; returns when nothing runs any more and nothing is to be started again.

        A worker in `gap` or `failed` is kept in view until `stop()`.
        """
        self._selector.register(self._woken, selectors.EVENT_READ)
        try:
            for worker in self._workers:
                self._start(worker)
            while not self._done():
                self._turn()
        finally:
            for worker in self._workers:
                if worker.process is not None:
                    worker.process.bury()
                    worker.process = None
            self._selector.close()

    def stop(self) -> None:
        """Let `run` stop all workers, kill those that take too long, and return."""
        self._stopping = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b".")

    def status(self) -> dict[str, dict[str, Any]]:
        """What `cdc status --json` shows: `{"connectors": {NAME: {…}}, "sinks": {NAME: {…}}}`."""
        now = time.monotonic()
        connectors: dict[str, Any] = {}
        members: dict[str, list[Observed]] = {}
        for worker in self._workers:
            if worker.task.kind == "connector":
                connectors[worker.task.name] = connector_view(worker.observed(now))
            else:
                members.setdefault(worker.task.name, []).append(worker.observed(now))
        return {"connectors": connectors, "sinks": {name: sink_view(found) for name, found in members.items()}}

    def _done(self) -> bool:
        if any(worker.process is not None for worker in self._workers):
            return False
        return self._stopping or all(worker.state == "stopped" for worker in self._workers)

    def _turn(self) -> None:
        """Wait for the next thing that happens, and deal with it."""
        for key, _ in self._selector.select(self._pause()):
            if key.data is None:
                os.read(self._woken, 64)
            else:
                self._listen(key.data)
        now = time.monotonic()
        if self._stopping:
            self._press(now)
            return
        for worker in self._workers:
            if worker.retry_due is not None and worker.retry_due <= now:
                self._start(worker)

    def _pause(self) -> float | None:
        """Seconds until something is due; None: nothing but a worker can change anything."""
        due = [worker.retry_due for worker in self._workers if worker.retry_due is not None]
        if self._stopping:
            due = [] if self._deadline is None else [self._deadline]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _press(self, now: float) -> None:
        running = [worker for worker in self._workers if worker.process is not None]
        if not self._asked:
            self._asked, self._deadline = True, now + self._stop_seconds
            for worker in running:
                worker.running_process.ask_to_stop()
        elif self._deadline is not None and now >= self._deadline:
            self._deadline = None
            for worker in running:
                _log.warning("killed", reason=f"did not stop within {self._stop_seconds:g} s", **worker.task.label())
                worker.running_process.kill()

    def _start(self, worker: _Worker) -> None:
        worker.retry_due = worker.retry_at = None
        position = worker.report.get("position")
        worker.report = {"position": position} if position else {}
        worker.heard, worker.well_since = time.monotonic(), None
        try:
            worker.process = WorkerProcess([*self._command, *worker.task.arguments()])
        except OSError as error:
            message = f"the worker process cannot be started: {error.strerror}"
            died = {"type": "Died", "message": message, "hint": None, "retriable": True, "exit_code": 1}
            self._settle(worker, Ending("retrying", died))
            return
        worker.move("starting", worker.error)
        self._selector.register(worker.process, selectors.EVENT_READ, worker)
        _log.info("started", pid=worker.process.pid, **worker.task.label())

    def _listen(self, worker: _Worker) -> None:
        reports, ended = worker.running_process.read()
        for report in reports:
            self._take(worker, report)
        if ended:
            self._selector.unregister(worker.running_process)
            returncode = worker.running_process.bury()
            worker.process = None
            self._settle(worker, Ending("stopped") if self._stopping else ending(worker.report, returncode))

    def _take(self, worker: _Worker, report: Mapping[str, Any]) -> None:
        worker.heard = time.monotonic()
        known = worker.report.get("position")
        # A worker that starts over does not know its position yet; what is stored is no less than this.
        worker.report = {**report, "position": known} if known and not report.get("position") else report
        state = report.get("state")
        if report.get("ended") or not isinstance(state, str):
            return  # what becomes of it is decided when the process has ended
        if state in WELL and worker.well_since is None:
            worker.well_since = worker.heard
        if state != worker.state:
            _log.debug(state, **worker.task.label())  # the worker itself tells what matters, and more of it
        worker.move(state, report.get("error") or (None if state in WELL else worker.error))

    def _settle(self, worker: _Worker, end: Ending) -> None:
        """It has ended: stay down, or start again after a pause."""
        now = time.monotonic()
        verdict, pause = worker.restarts.after(end, now, worker.well_since)
        worker.move(verdict.state, verdict.error)
        told = {"error": (verdict.error or {}).get("message"), "hint": (verdict.error or {}).get("hint")}
        label = {**worker.task.label(), **{name: text for name, text in told.items() if text}}
        if pause is not None:
            worker.restart_count += 1
            worker.retry_due, worker.retry_at = now + pause, time.time() + pause
            _log.warning("retrying", seconds=round(pause, 1), **label)
        elif verdict.state == "stopped":
            _log.info("stopped", **label)
        else:
            _log.error(verdict.state, **label)


class _Worker:
    """One task, its process if it runs, and what was heard of it."""

    def __init__(self, task: Task, restarts: Restarts) -> None:
        self.task = task
        self.restarts = restarts
        self.process: WorkerProcess | None = None
        self.state = "starting"
        self.since = time.time()
        self.error: Mapping[str, Any] | None = None
        self.report: Mapping[str, Any] = {}
        self.heard = time.monotonic()
        self.well_since: float | None = None
        self.retry_due: float | None = None
        self.retry_at: float | None = None
        self.restart_count = 0

    @property
    def running_process(self) -> WorkerProcess:
        assert self.process is not None
        return self.process

    def move(self, state: str, error: Mapping[str, Any] | None) -> None:
        if state != self.state:
            self.since = time.time()
        self.state, self.error = state, error

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
