"""What test servers need of the operating system: ports, users, process families. Touches processes.

Linux first; elsewhere what `/proc` would tell comes from `ps`.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cdc.testing.sweeper import sweeper

HOST = "127.0.0.1"


def wait_for(fact: Callable[[], bool], timeout: float, pause: float = 0.02) -> bool:
    """Wait until `fact()` holds; False when it did not within `timeout` seconds."""
    give_up = time.monotonic() + timeout
    while not fact():
        if time.monotonic() > give_up:
            return False
        time.sleep(pause)
    return True


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on.

    Not from the range that outgoing connections take theirs from: a client that tries to
    reach a stopped server's port could otherwise be given that very port, and keep it.
    """
    while True:
        port = random.randint(15000, 31000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    if Path("/proc/self/stat").exists():
        families = (_parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    else:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        families = ((int(child), int(parent)) for child, parent in map(str.split, listed.stdout.splitlines()))
    return [child for child, parent in families if parent == pid]


def _parent(entry: Path) -> tuple[int, int]:
    try:
        stat = (entry / "stat").read_text()
    except OSError:  # it has ended meanwhile
        return int(entry.name), 0
    return int(entry.name), int(stat.rpartition(")")[2].split()[1])


def as_user(user: str | None) -> dict[str, Any]:
    """Arguments for `subprocess` that run a program as `user` (None: as ourselves)."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


@cache
def unprivileged_user() -> str | None:
    """Whom to run a server as that refuses to run as root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def package_folder(package: str) -> Path | None:
    """Where an installed package lies, without importing it; None when it is not installed."""
    spec = find_spec(package)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


@cache
def runnable_by(user: str | None, program: Path) -> Path:
    """`program`, or a copy of its installation where `user` may run it (a checkout below /root, say)."""
    try:
        subprocess.run([program, "--version"], capture_output=True, check=True, cwd="/", **as_user(user))
        return program
    except PermissionError:
        pass
    package = program.parents[2]
    copy = Path(tempfile.mkdtemp(prefix="cdc-programs-"))
    sweeper.folder(copy)
    copy.chmod(0o755)
    # Wheels keep the shared libraries of `package` beside it.
    for folder in package.parent.glob(f"{package.name}*"):
        if folder.name in (package.name, f"{package.name}.libs"):
            shutil.copytree(folder, copy / folder.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
    return copy / program.relative_to(package.parent)
