"""The bridge from outside: `cdc` commands as processes, their status, log and ends. Touches processes and HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cdc.prove.waiting import Broken, eventually
from cdc.testing.sweeper import sweeper

STOP_SECONDS = 10.0


class Bridge:
    """One `cdc run` at a time, with a YAML of its own.

    Args:
        folder: for the YAML and the log.
        document: the settings; written down at each start.
        name: of the log, where several bridges share a folder and its settings.
        environment: of its processes, over our own.
        command: put before its own, such as `["prlimit", "--as=…"]`; must exec it.
    """

    def __init__(
        self,
        folder: Path,
        document: Mapping[str, Any],
        name: str = "bridge",
        *,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self.config = folder / "cdc.yaml"
        self._document = document
        self._more_environment = environment if environment is not None else {}
        self._prefix = command
        self._log = folder / f"{name}.log"
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self._from = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def running(self) -> bool:
        """Whether it was started, and neither killed nor stopped."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self._running.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def cdc(self, *arguments: str, seconds: float = 180.0) -> subprocess.CompletedProcess[str]:
        """Run another `cdc` command with the same settings."""
        self._write_settings()
        command = [sys.executable, "-m", "cdc.cli", *arguments]
        return subprocess.run(
            command,
            env=self._environment(),
            cwd=self.config.parent,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def start(self, *names: str) -> None:
        """Start `cdc run` in a process group of its own."""
        assert self._process is None
        self._write_settings()
        self._from = self._log.stat().st_size
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "cdc.cli", "run", "--listen", "127.0.0.1:0", *names],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.config.parent,
                start_new_session=True,
            )
        sweeper.process(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL for the process group; returns when none of its workers is left."""
        process, self._process = self._running, None
        workers = list(self.workers(process.pid))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        sweeper.process_ended(process.pid)
        eventually(lambda: not any(map(_alive, workers)), 10, "the workers of a killed bridge end")

    def stop(self) -> int:
        """SIGTERM; returns the exit code. It must end within STOP_SECONDS and leave no worker."""
        process, self._process = self._running, None
        workers = list(self.workers(process.pid))
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Broken(f"the bridge did not stop within {STOP_SECONDS:g} s") from None
        finally:
            sweeper.process_ended(process.pid)
        if any(map(_alive, workers)):
            raise Broken("the bridge stopped, and a worker of it did not")
        return code

    def workers(self, supervisor: int | None = None, kind: str = "") -> Iterator[int]:
        """Worker processes, of one kind (`connector`, `sink`) if asked."""
        parent = self._running.pid if supervisor is None else supervisor
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _parent(entry) == parent:
                command = _command(entry)
                if "cdc.worker" in command and (not kind or kind in command):
                    yield int(entry.name)

    def address(self) -> str:
        """Where it answers; empty as long as it has not said so."""
        with self._log.open("rb") as log:
            log.seek(self._from)
            address = re.search(rb"http://[\d.]+:\d+", log.read())
        return address[0].decode() if address else ""

    def status(self) -> dict[str, Any]:
        """What its HTTP address says; empty while it does not answer."""
        if not (address := self.address()):
            return {}
        try:
            with urllib.request.urlopen(f"{address}/status", timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def connector(self, name: str = "source") -> dict[str, Any]:
        """The connector's part of the status; empty while there is none."""
        return dict(self.status().get("connectors", {}).get(name, {}))

    def state(self, name: str = "source") -> str:
        """The connector's state, `down` while the bridge does not answer."""
        return str(self.connector(name).get("state", "down"))

    def rows_read(self) -> int:
        """Rows that the snapshot has read."""
        return int((self.connector().get("snapshot") or {}).get("rows", 0))

    def snapshot_done(self) -> bool:
        """Whether a snapshot was ever finished."""
        return '"snapshot done"' in self.log

    def reads(self) -> bool:
        """Whether rows of the snapshot have been read."""
        return self.rows_read() > 0 or self.snapshot_done()

    def until(self, *states: str, seconds: float = 60.0) -> str:
        """Wait until the connector is in one of these states. Fails when it ends up in another for good."""

        def reached() -> str | None:
            state = self.state()
            if state in ("gap", "failed") and state not in states:
                raise Broken(f"connector is in {state}: {self.connector().get('error')}")
            return state if state in states else None

        try:
            return str(eventually(reached, seconds, f"connector {' or '.join(states)}"))
        except Broken as broken:
            raise Broken(f"{broken}; the end of its log:\n{self.log[-3000:]}") from None

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the bridge was not started"
        return self._process

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CDC_CONFIG": str(self.config), **self._more_environment}

    def _write_settings(self) -> None:
        self.config.write_text(json.dumps(self._document))


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _command(entry: Path) -> list[str]:
    try:
        return (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
