"""A worker process ended: was that its own wish, is it started again, and when? Pure."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

RIVAL_SECONDS = 60.0
"""Fenced twice within this time is a second copy that minds no lock, not a transaction that timed out."""

SAME_INTERNAL_ERROR_LIMIT = 5
"""So often in a row the same internal error may happen before the worker stays down."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds before a worker is started again: from `first`, doubled each time, to `longest`.

    Args:
        first, longest: seconds.
        well: after a run that was well for this long the pauses start from `first` again.
    """

    first: float = 0.2
    longest: float = 30.0
    well: float = 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker process ended: the state it is in now, and why."""

    state: str
    error: Mapping[str, Any] | None = None


def ending(last_report: Mapping[str, Any], returncode: int) -> Ending:
    """Read a process's last report and exit code (negative: a signal).

    A worker that ends by itself says so (`"ended": true`) and in which state; one that does
    not was killed, or could not even start.
    """
    if last_report.get("ended"):
        return Ending(last_report["state"], last_report.get("error"))
    return Ending("retrying", _death(returncode, said_something="state" in last_report))


class Restarts:
    """Decides for one worker, and remembers what it needs for that.

    Args:
        pauses: how long to wait.
        chance: a number in [0, 1): spreads the pauses of many workers.
    """

    def __init__(self, pauses: Pauses, chance: Callable[[], float] = random.random) -> None:
        self._pauses = pauses
        self._chance = chance
        self._attempts = 0
        self._fenced_at: float | None = None
        self._same_error = ("", 0)

    def after(
        self, end: Ending, now: float, well_since: float | None, *, waited: bool = False
    ) -> tuple[Ending, float | None]:
        """What becomes of the worker, and the seconds to wait (None: it stays down).

        Args:
            end: how it ended.
            now: monotonic seconds.
            well_since: when its last run was first well, monotonic seconds, or None.
            waited: whether its last run had to wait for another copy: they know of each other then.
        """
        if waited:
            self._fenced_at = None
        if end.state != "retrying":
            return end, None
        if well_since is not None and now - well_since >= self._pauses.well:
            self._attempts, self._same_error = 0, ("", 0)
        if self._hopeless(end, now):
            return Ending("failed", self._verdict(end)), None
        pause = min(self._pauses.first * 2**self._attempts, self._pauses.longest)
        # 2**attempts would become a huge integer in a worker that retries for weeks
        self._attempts = min(self._attempts + 1, 30)
        return end, pause * (0.75 + 0.5 * self._chance())

    def _hopeless(self, end: Ending, now: float) -> bool:
        error = end.error or {}
        if error.get("type") == "Fenced":
            before, self._fenced_at = self._fenced_at, now
            return before is not None and now - before < RIVAL_SECONDS
        if error.get("type") == "InternalError":
            message, count = self._same_error
            self._same_error = (error["message"], count + 1 if message == error["message"] else 1)
            return self._same_error[1] >= SAME_INTERNAL_ERROR_LIMIT
        return False

    @staticmethod
    def _verdict(end: Ending) -> Mapping[str, Any]:
        error = dict(end.error or {}, retriable=False)
        if error["type"] == "Fenced":
            error["message"] += ", twice within a minute: another copy publishes with the same name"
            error["hint"] = "stop the other copy, or give this bridge another `name`"
        return error


def _death(returncode: int, *, said_something: bool) -> dict[str, Any]:
    hint = None
    if returncode < 0:
        message = f"the worker process was ended by {_signal_name(-returncode)}"
        if -returncode == signal.SIGKILL:
            hint = "if nobody did that, the system may have been short of memory"
    else:
        when = "" if said_something else " before it reported anything"
        message = f"the worker process ended with exit code {returncode}{when}"
    return {"type": "Died", "message": message, "hint": hint, "retriable": True, "exit_code": 1}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
