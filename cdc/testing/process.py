"""One server process of ours: started, asked to end, killed, started again on the same data. Starts processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from cdc.testing.sweeper import sweeper
from cdc.testing.system import as_user, free_port, wait_for

_START_ATTEMPTS = 3
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 60.0


class ServerError(Exception):
    """A server did not start, or not stop; shows the end of its log."""


class Server(ABC):
    """A server process of ours, and the folder with its data and log.

    `stop_signal` asks it to end in an orderly way; `end_signal` ends it at once, when its
    `with` block ends or this process is gone.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    end_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"cdc-{self.name}-"))
        sweeper.folder(self.folder)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process, or None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            ServerError: it ended, or did not answer in time.
        """
        if self.pid:
            return
        self._end(self.end_signal)  # one that ended by itself
        if self.port:
            self._start_on_port()
            return
        for attempt in range(_START_ATTEMPTS):
            try:
                self._choose_ports()
                self._start_on_port()
                return
            except ServerError:  # somebody took a port between our choice and the bind
                self.port = 0
                if attempt == _START_ATTEMPTS - 1 or not self._port_was_taken():
                    raise

    def stop(self) -> None:
        """End in an orderly way; `start` goes on with the same data and port."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); `start` goes on with the same data and port."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """End it at once and remove its data."""
        try:
            self._end(self.end_signal)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """What to run; may prepare the folder."""

    @abstractmethod
    def _answers(self) -> bool: ...

    def _choose_ports(self) -> None:
        self.port = free_port()

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _user(self) -> str | None:
        return None

    def _start_on_port(self) -> None:
        command = self._command()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment(),
                start_new_session=True,
                **as_user(self._user()),
            )
        sweeper.process(self._process.pid, self.end_signal)
        if not wait_for(lambda: self.pid is None or self._answers(), _START_TIMEOUT) or self.pid is None:
            said = self._log_tail()
            self._end(self.end_signal)
            raise ServerError(f"{self.name} did not start; the end of its log:\n{said}")

    def _end(self, by: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(by)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerError(f"{self.name} did not end after {by.name}:\n{self._log_tail()}") from None
        finally:
            sweeper.process_ended(process.pid)

    def _port_was_taken(self) -> bool:
        return "address already in use" in self._log_tail().lower()

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:]) if self.log.exists() else ""
