"""Ends servers and removes folders that a test run leaves behind, however it ended. Touches processes, folders, mounts.

`Sweeper` starts this file as a process of its own, in its own session, and tells it on
standard input what there is. When the teller is gone, even by SIGKILL, the sweeper ends
what was not taken back, and then itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_PATIENCE = 10.0
"""Seconds a server gets to end by itself, before SIGKILL."""


class Sweeper:
    """Remembers, beyond the life of this process, what has to go when it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def process(self, pid: int, end_with: signal.Signals) -> None:
        """Have `pid` ended by this signal, by SIGKILL if that does not help."""
        self._tell(pid=pid, signal=int(end_with))

    def process_ended(self, pid: int) -> None:
        self._tell(pid=pid, signal=0)

    def folder(self, path: Path) -> None:
        """Have the folder removed."""
        self._tell(folder=str(path))

    def mount(self, path: Path) -> None:
        """Have what is mounted there unmounted."""
        self._tell(mount=str(path))

    def unmounted(self, path: Path) -> None:
        self._tell(unmounted=str(path))

    def _tell(self, **what: int | str) -> None:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", __file__, str(os.getpid())],
                    stdin=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()


sweeper = Sweeper()
"""The one of this process."""


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return not Path("/proc/self").exists()


def _sweep(processes: dict[int, int], mounts: list[str], folders: list[str]) -> None:
    for pid, number in processes.items():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    give_up = time.monotonic() + _PATIENCE
    while any(alive(pid) for pid in processes) and time.monotonic() < give_up:
        time.sleep(0.05)
    for pid in filter(alive, processes):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for mount in mounts:
        subprocess.run(["umount", "--lazy", mount], stderr=subprocess.DEVNULL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _main(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    processes: dict[int, int] = {}
    mounts: list[str] = []
    folders: list[str] = []
    unread = b""
    # The end of input alone is not enough: a child the parent forked may hold the pipe open.
    while os.getppid() == parent:
        if not select.select([0], [], [], 0.5)[0]:
            continue
        received = os.read(0, 65536)
        if not received:
            break
        *lines, unread = (unread + received).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "folder" in told:
                folders.append(told["folder"])
            elif "mount" in told:
                mounts.append(told["mount"])
            elif "unmounted" in told:
                mounts.remove(told["unmounted"])
            elif told["signal"]:
                processes[told["pid"]] = told["signal"]
            else:
                processes.pop(told["pid"], None)
    _sweep(processes, mounts, folders)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
