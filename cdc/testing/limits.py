"""A limit on the memory of processes that a test starts, and how much they took. Reads /proc.

RLIMIT_DATA, which Linux counts in private writable pages: needs no rights and no control
group of one's own. RLIMIT_AS is of no use: librdkafka and glibc map far more than they touch.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

_STACK_BYTES = 1024 * 1024
"""Of each thread; the 8 MB that are usual count as data, used or not."""


def no_memory_limit() -> str | None:
    """Why memory cannot be limited here; None where it can."""
    return None if sys.platform.startswith("linux") else "memory is limited on Linux only"


def with_memory_limit(command: Sequence[str], data_bytes: int) -> list[str]:
    """The command, so that it and every process it starts has at most `data_bytes` of memory of its own, each."""
    limits = f"ulimit -s {_STACK_BYTES // 1024} && ulimit -d {data_bytes // 1024}"
    return ["/bin/sh", "-c", f'{limits} && exec "$@"', "sh", *command]


def peak_bytes(pid: int) -> int:
    """The most memory (RSS) that a process has had in use; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(peak[1]) * 1024 if peak else 0
