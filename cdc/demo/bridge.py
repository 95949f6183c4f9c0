"""The bridge as the demo sees it: a `cdc run` process, and its status over HTTP. Touches both.

The demo knows the bridge only from outside: the command, the YAML, and what `cdc status` shows.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cdc.errors import CdcError
from cdc.server.client import fetch_status
from cdc.testing.sweeper import sweeper

STOP_SECONDS = 15.0


class Bridge:
    """One `cdc run`, in a session of its own: a Ctrl-C at the terminal reaches the demo, which stops it.

    Args:
        config: the YAML.
        listen: host and port of its status.
        log: file that gets what it prints.
    """

    def __init__(self, config: Path, listen: str, log: Path) -> None:
        self._command = [*cdc_command(), "run", "--config", str(config)]
        self._host, self._port = listen.split(":")
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log, _interrupts_later():
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        sweeper.process(self._process.pid, signal.SIGTERM)  # should the demo itself be killed

    def stop(self) -> int | None:
        """Ask it to stop, as an operator would; returns its exit code, None when it had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None
        finally:
            sweeper.process_ended(process.pid)

    def status(self) -> dict[str, Any]:
        """What `cdc status --json` shows; empty while it does not answer.

        Raises:
            CdcError: it has ended, or a worker waits for a person.
        """
        self._check_alive()
        try:
            status = fetch_status(self._host, int(self._port))
        except CdcError:
            return {}
        for kind in ("connectors", "sinks"):
            for name, worker in status.get(kind, {}).items():
                if worker["state"] in ("gap", "failed"):
                    reason = (worker.get("error") or {}).get("message", "no reason given")
                    raise CdcError(f"{kind.removesuffix('s')} {name} is in state {worker['state']}: {reason}")
        return status

    def last_words(self, lines: int = 15) -> Sequence[str]:
        """The end of its log."""
        if not self._log.exists():
            return []
        return self._log.read_text(errors="replace").splitlines()[-lines:]

    def _check_alive(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            raise CdcError(f"`cdc run` ended by itself with exit code {code}")


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block is left: between fork and assignment they would orphan a process.

    Not by a signal mask, which the process would inherit.
    """
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def cdc_command() -> list[str]:
    """The `cdc` beside this interpreter."""
    script = Path(sys.executable).with_name("cdc")
    return [str(script)] if script.exists() else [sys.executable, "-m", "cdc.cli"]
