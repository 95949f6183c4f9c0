"""A worker's side of the pipes to its supervisor. Touches two file descriptors, signals and its own life."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson

_PR_SET_PDEATHSIG = 1
_SUPERVISOR = 0
"""Standard input: its end means that the supervisor is gone."""


def hold_on(on_stop: Callable[[], None], on_line: Callable[[bytes], None]) -> None:
    """Die with the supervisor; call `on_stop` on SIGTERM and SIGINT, and `on_line` with each line it writes.

    Both are called from a thread of its own, and have to return at once.

    A thread does it, because Python runs signal handlers in the main thread only, between
    two bytecodes: never while that one waits in librdkafka or libpq. Call it from the main thread.
    """
    _die_with_parent()
    signals, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _noted)

    def watch() -> None:
        unfinished = b""
        with wakeup:
            while True:
                readable, _, _ = select.select([_SUPERVISOR, signals.fileno()], [], [])
                if signals.fileno() in readable:
                    signals.recv(64)
                    on_stop()
                if _SUPERVISOR in readable:
                    received = os.read(_SUPERVISOR, 65536)
                    if not received:
                        _end_at_once()
                    *lines, unfinished = (unfinished + received).split(b"\n")
                    for line in lines:
                        on_line(line)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


class ReportPipe:
    """Writes reports, one JSON object a line; never blocks, and gives up when nobody listens.

    Args:
        descriptor: number of the open pipe, as the supervisor passed it.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._unsent = b""
        self._lock = threading.Lock()

    def send(self, report: Mapping[str, Any]) -> bool:
        """Write a report; drop it, and say False, when the supervisor does not keep up. From any thread."""
        line = orjson.dumps(report, default=str) + b"\n"
        with self._lock:
            if self._unsent:
                self._write(b"")
            if self._unsent:
                return False
            self._write(line)
            return True

    def send_last(self, report: Mapping[str, Any]) -> None:
        """Write the report that says how this ends; waits for a supervisor that is slow."""
        os.set_blocking(self._descriptor, True)
        self.send(report)

    def _write(self, line: bytes) -> None:
        self._unsent += line
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._unsent = self._unsent[os.write(self._descriptor, self._unsent) :]


def _die_with_parent() -> None:
    """Linux: SIGKILL when the supervisor ends, even if this process hangs or is stopped then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_at_once() -> None:
    """Nothing to save: whatever was not committed is read again, as after any crash."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with what we started ourselves
    os._exit(1)


def _noted(number: int, frame: object) -> None:
    """A Python handler has to be there for the wake-up descriptor to be written."""
