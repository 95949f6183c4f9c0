"""One worker process as its supervisor sees it. Touches processes and pipes, nothing else.

Two pipes tie them. The worker writes its reports, one JSON object a line, to the one whose
number it is given as `--report-fd`; only its exit closes it. The other is its standard
input: what it is asked comes there, a line each (`cdc.asking`), and its end tells the worker
that the supervisor is gone (`cdc.lifeline` is the worker's side).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

import orjson

_READ_BYTES = 65536
_LONGEST_LINE = 1024 * 1024


class WorkerProcess:
    """Starts one. Its own process group, so that a terminal's Ctrl-C reaches the supervisor alone.

    Started by exec, never by fork alone: librdkafka's threads do not survive a fork.
    On Linux the worker asks to be killed when the *thread* that started it ends.

    Args:
        command: without `--report-fd`.
        inherited: descriptors that the command names.
    Raises:
        OSError: the command cannot be run.
    """

    def __init__(self, command: Sequence[str], inherited: Sequence[int] = ()) -> None:
        self._reports, report_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, "--report-fd", str(report_end)],
                stdin=subprocess.PIPE,
                pass_fds=[report_end, *inherited],
                process_group=0,
                bufsize=0,
            )
        except BaseException:
            os.close(self._reports)
            raise
        finally:
            os.close(report_end)
        assert self._process.stdin is not None
        self._asks = self._process.stdin.fileno()
        os.set_blocking(self._reports, False)
        os.set_blocking(self._asks, False)
        self._unfinished_line = b""
        self._unwritten = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """Readable when there are reports, or when the process has ended."""
        return self._reports

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """The reports that have come, and whether they were the last: the process has ended."""
        received = bytearray(self._unfinished_line)
        ended = False
        with contextlib.suppress(BlockingIOError):
            while len(received) < _LONGEST_LINE:
                part = os.read(self._reports, _READ_BYTES)
                if not part:
                    ended = True
                    break
                received += part
        *lines, self._unfinished_line = bytes(received).split(b"\n")
        if len(self._unfinished_line) >= _LONGEST_LINE:
            self._unfinished_line = b""
        return [report for line in lines if (report := _parsed(line)) is not None], ended

    def ask(self, line: bytes) -> bool:
        """Write a line to its standard input; False: it does not read what it was asked before."""
        self._write_asks(b"")
        if self._unwritten:
            return False
        self._write_asks(line)
        return True

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, also for what the worker itself started."""
        # Not yet waited for, so that its number, the group's too, cannot have passed to a stranger.
        # macOS says EPERM where only a zombie is left of the group.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def bury(self) -> int:
        """End whatever is left of it, close the pipes and return its exit code (negative: a signal)."""
        self.kill()
        returncode = self._process.wait()
        os.close(self._reports)
        if self._process.stdin is not None:
            self._process.stdin.close()
        return returncode

    def _write_asks(self, line: bytes) -> None:
        self._unwritten += line
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._unwritten = self._unwritten[os.write(self._asks, self._unwritten) :]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        report = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return report if isinstance(report, dict) else None
