"""Starts, watches and restarts worker processes; collects their states. Touches processes, pipes and clocks."""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Literal, Protocol

import structlog

from cdc.asking import Question, Questions
from cdc.errors import CdcError, Refused
from cdc.processes import WorkerProcess
from cdc.restarts import Ending, Pauses, ending
from cdc.states import Observed, connector_view, sink_view
from cdc.supervised import Supervised, Task

STOP_SECONDS = 8.0
"""A worker that has not stopped this long after it was asked to is killed."""

ASK_SECONDS = 30.0
"""How long an answer of a worker is waited for."""

WATCH_SECONDS = 30.0
"""A connector that is not well for so long cannot look after its source; a process of its own does."""

_log = structlog.get_logger("cdc.supervisor")


class File(Protocol):
    """Something with a descriptor."""

    def fileno(self) -> int: ...


class Supervisor:
    """Runs worker processes until `stop()`, or until all have finished what they had to do.

    Threads: `run` belongs to one thread, on Linux to one that lives as long as the workers
    should; all else may be called from any, `stop` from a signal handler too.

    Args:
        tasks: one process each.
        command: how a worker is started; the task's arguments and `--report-fd` are added.
        inherited: open files that the command names by their descriptors.
        pauses: between restarts.
        stop_seconds: how long a worker may take to stop before it is killed.
        watch_seconds: see WATCH_SECONDS.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        command: Sequence[str],
        inherited: Sequence[File] = (),
        *,
        pauses: Pauses | None = None,
        stop_seconds: float = STOP_SECONDS,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self._command, self._inherited = list(command), list(inherited)
        self._pauses = pauses or Pauses()
        self._stop_seconds, self._watch_seconds = stop_seconds, watch_seconds
        self._workers = [Supervised(task, self._pauses) for task in tasks]
        self._watches: dict[str, Supervised] = {}
        self._questions = Questions()
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._stopping = False

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
            for worker in self._all():
                if worker.process is not None:
                    worker.process.bury()
                    worker.process = None
            self._selector.close()

    def stop(self) -> None:
        """Let `run` stop all workers, kill those that take too long, and return."""
        self._stopping = True
        self._rouse()

    def status(self) -> dict[str, dict[str, Any]]:
        """What `cdc status --json` shows: `{"connectors": {NAME: {…}}, "sinks": {NAME: {…}}}`."""
        now = time.monotonic()
        connectors: dict[str, Any] = {}
        members: dict[str, list[Observed]] = {}
        for worker in self._workers:
            if worker.task.kind == "connector":
                watch = self._watches.get(worker.task.name)
                connectors[worker.task.name] = connector_view(
                    worker.observed(now), None if watch is None else watch.observed(now)
                )
            else:
                members.setdefault(worker.task.name, []).append(worker.observed(now))
        return {"connectors": connectors, "sinks": {name: sink_view(found) for name, found in members.items()}}

    def ask(self, name: str, action: str, tables: Sequence[str], seconds: float = ASK_SECONDS) -> Mapping[str, Any]:
        """Ask the connector `name`, and wait for its answer.

        Returns: `{"answer": TEXT}`, or `{"error": {…}}`.
        """
        question = Question()

        def put() -> None:
            for worker in self._named("connector", name, question):
                process = worker.process
                if process is None:
                    why = f"connector {name} does not run: it is in state {worker.state}"
                    question.refuse(Refused(why, hint="`cdc status` says what is wrong with it"))
                elif not process.ask(self._questions.line(worker, question, action, tables)):
                    self._questions.give_up(worker, f"connector {name} does not listen")

        self._post(put)
        return question.wait(seconds)

    def restart(self, kind: Literal["connector", "sink"], name: str, seconds: float = ASK_SECONDS) -> Mapping[str, Any]:
        """Start a connector or all members of a sink at once: again where they run, anew where they stay down.

        Returns: as `ask`.
        """
        question = Question()

        def put() -> None:
            for worker in self._named(kind, name, question):
                self._again(worker)
                question.settle({"answer": f"{kind} {name} is started again"})

        self._post(put)
        return question.wait(seconds)

    def change(self, tasks: Sequence[Task], command: Sequence[str], inherited: Sequence[File] = ()) -> None:
        """Run these tasks from now on: stop what is not among them, start again what has another basis."""

        def put() -> None:
            if self._stopping:
                return
            self._command, self._inherited = list(command), list(inherited)
            wanted = {task: task for task in tasks}
            gone, again = [], []
            for worker in list(self._workers):
                task = wanted.pop(worker.task, None)
                if task is None:
                    gone.append(worker)
                elif task.basis != worker.task.basis or worker.going == "away":
                    worker.task = task
                    again.append(worker)
            new = [Supervised(task, self._pauses) for task in wanted.values()]
            self._workers = [*self._workers, *new]
            _tell_change(gone, again, new)
            for worker in gone:
                self._remove(worker)
            for worker in again:
                self._again(worker)
            for worker in new:
                self._start(worker)

        self._post(put)

    def _post(self, action: Callable[[], None]) -> None:
        """Let the thread of `run` do something."""
        self._inbox.put(action)
        self._rouse()

    def _rouse(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b".")

    def _all(self) -> list[Supervised]:
        return [*self._workers, *self._watches.values()]

    def _named(self, kind: str, name: str, question: Question) -> list[Supervised]:
        """The workers of a connector or sink; without any, the question is answered."""
        found = [worker for worker in self._workers if (worker.task.kind, worker.task.name) == (kind, name)]
        if self._stopping:
            question.refuse(CdcError("the bridge is stopping"))
            return []
        if not found:
            known = ", ".join(sorted({worker.task.name for worker in self._workers if worker.task.kind == kind}))
            question.refuse(CdcError(f"this bridge runs no {kind} {name!r}", hint=f"it runs {known or 'none'}"))
        return found

    def _done(self) -> bool:
        if any(worker.process is not None for worker in self._all()):
            return False
        return self._stopping or all(worker.state == "stopped" for worker in self._workers)

    def _turn(self) -> None:
        """Wait for the next thing that happens, and deal with it."""
        for key, _ in self._selector.select(self._pause()):
            if key.data is None:
                os.read(self._woken, 64)
            else:
                self._listen(key.data)
        while not self._inbox.empty():
            self._inbox.get()()
        now = time.monotonic()
        for worker in self._all():
            if worker.kill_due is not None and worker.kill_due <= now:
                worker.kill_due = None
                _log.warning("killed", reason=f"did not stop within {self._stop_seconds:g} s", **worker.task.label())
                worker.running_process.kill()
            if self._stopping:
                self._end(worker, "away")
            elif worker.retry_due is not None and worker.retry_due <= now:
                self._start(worker)
        if not self._stopping:
            self._watch(now)

    def _pause(self) -> float | None:
        """Seconds until something is due; None: nothing but a worker can change anything."""
        everyone = self._all()
        due = [worker.kill_due for worker in everyone if worker.kill_due is not None]
        if not self._stopping:
            due += [worker.retry_due for worker in everyone if worker.retry_due is not None]
            due += [
                worker.down_since + self._watch_seconds
                for worker in self._workers
                if worker.task.watchable and worker.down_since is not None and worker.task.name not in self._watches
            ]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start(self, worker: Supervised) -> None:
        worker.prepare()
        try:
            inherited = [file.fileno() for file in self._inherited]
            process = WorkerProcess([*self._command, *worker.task.arguments()], inherited)
        except OSError as error:
            message = f"the worker process cannot be started: {error.strerror}"
            died = {"type": "Died", "message": message, "hint": None, "retriable": True, "exit_code": 1}
            self._settle(worker, Ending("retrying", died))
            return
        worker.begin(process)
        self._selector.register(process, selectors.EVENT_READ, worker)
        _log.info("started", pid=process.pid, **worker.task.label())

    def _again(self, worker: Supervised) -> None:
        """Start it anew, at once or when the process that runs has ended."""
        worker.forget()
        watch = self._watches.get(worker.task.name)
        if worker.task.kind == "connector" and watch is not None and watch.process is None:
            self._drop(watch)
        if worker.process is None:
            self._start(worker)
        else:
            self._end(worker, "again")

    def _end(self, worker: Supervised, going: Literal["again", "away"]) -> None:
        """Ask its process to stop; kill it when it does not."""
        worker.retry_due = worker.retry_at = None
        if worker.process is not None and worker.going is None:
            worker.process.ask_to_stop()
            worker.kill_due = time.monotonic() + self._stop_seconds
        worker.going = going

    def _remove(self, worker: Supervised) -> None:
        """It is to run no more; out of sight when its process has ended."""
        self._end(worker, "away")
        if worker.process is None:
            self._drop(worker)

    def _drop(self, worker: Supervised) -> None:
        if worker.task.kind == "watch":
            del self._watches[worker.task.name]
            return
        self._workers = [other for other in self._workers if other is not worker]
        if worker.task.kind == "connector" and worker.task.name in self._watches:
            self._remove(self._watches[worker.task.name])

    def _listen(self, worker: Supervised) -> None:
        reports, ended = worker.running_process.read()
        for report in reports:
            if "answer" in report:
                self._questions.settle(report)
            elif worker.take(report):
                _log.debug(worker.state, **worker.task.label())  # the worker itself tells what matters, and more of it
        if ended:
            self._selector.unregister(worker.running_process)
            returncode = worker.running_process.bury()
            worker.process = None
            self._questions.give_up(worker, f"{worker.task.kind} {worker.task.name} ended before it answered")
            self._ended(worker, returncode)

    def _ended(self, worker: Supervised, returncode: int) -> None:
        going, worker.going, worker.kill_due = worker.going, None, None
        if self._stopping or going == "away":
            self._settle(worker, Ending("stopped"))
            if not self._stopping:
                self._drop(worker)
        elif going == "again":
            self._start(worker)
        else:
            end = ending(worker.report, returncode)
            watch = self._watches.get(worker.task.name)
            if worker.task.kind == "connector" and end.state == "retrying" and watch and watch.state == "gap":
                end = Ending("gap", watch.error)
            self._settle(worker, end)

    def _settle(self, worker: Supervised, end: Ending) -> None:
        """It has ended: stay down, or start again after a pause."""
        now = time.monotonic()
        verdict, pause = worker.restarts.after(end, now, worker.well_since, waited=bool(worker.report.get("waited")))
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
            if worker.task.kind == "watch" and verdict.state == "gap":
                self._given_up(worker.task.name, verdict)

    def _given_up(self, name: str, verdict: Ending) -> None:
        """A watch gave up what the connector needs: it has a gap now (when it has ended, if it is being tried)."""
        for worker in self._workers:
            if (worker.task.kind, worker.task.name) == ("connector", name) and worker.process is None:
                worker.retry_due = worker.retry_at = None
                worker.move("gap", verdict.error)

    def _watch(self, now: float) -> None:
        """A connector that is down cannot look after its source: have it watched until it is well again."""
        for worker in self._workers:
            watch, down = self._watches.get(worker.task.name), worker.down_for(now)
            if not worker.task.watchable:
                continue
            error = worker.trouble or {}
            why = str(error.get("message") or f"it is in state {worker.state}")
            task = Task("watch", worker.task.name, basis=error.get("type"), why=why)
            if watch is None and down >= self._watch_seconds:
                watch = self._watches[task.name] = Supervised(task, self._pauses)
                self._start(watch)
            elif watch is not None and not down:
                self._remove(watch)
            elif watch is not None and watch.process is not None and watch.task.basis != task.basis:
                watch.task = task
                self._again(watch)


def _tell_change(gone: Sequence[Supervised], again: Sequence[Supervised], new: Sequence[Supervised]) -> None:
    lists = {"stopped": gone, "started_again": again, "started": new}
    told: dict[str, Any] = {
        key: sorted({worker.task.name for worker in found}) for key, found in lists.items() if found
    }
    if any(worker.task.kind == "connector" for worker in gone):
        told["hint"] = "the slot of a connector that does not come back has to be dropped, or it keeps WAL for ever"
    _log.info("settings have changed" if told else "settings are as before", **told)
