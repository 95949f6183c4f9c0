"""A wall clock of their own for processes that a test starts. Runs the C compiler, writes a file.

clock = Clock()                                 # in a folder of its own
subprocess.Popen(command, env={**os.environ, **clock.environment()})
clock.move(3600)                                # an hour ahead, at once, while they run
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from cdc.testing.process import ServerError
from cdc.testing.sweeper import sweeper

_SOURCE = Path(__file__).with_name("clock.c")


def no_clock() -> str | None:
    """Why clocks cannot be moved here; None where they can."""
    if not sys.platform.startswith("linux"):
        return "a clock is moved on Linux only"
    return None if shutil.which("cc") else "no C compiler (`cc`) for the library that moves a clock"


class Clock:
    """What `environment` is given to lives by this clock; right until it is moved.

    Raises:
        ServerError: the library cannot be compiled.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cdc-clock-"))
        self._folder.chmod(0o755)  # a server may run as another user
        sweeper.folder(self._folder)
        self._offset = self._folder / "offset"
        self._library = self._folder / "clock.so"
        self.move(0)
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(_SOURCE), "-ldl", "-lpthread"]
        compiled = subprocess.run(command, capture_output=True, text=True)
        if compiled.returncode:
            self.close()
            raise ServerError(f"the library that moves a clock does not compile:\n{compiled.stderr}")

    def environment(self) -> dict[str, str]:
        """What a process, and what it starts, needs to live by this clock."""
        return {"LD_PRELOAD": str(self._library), "CDC_CLOCK": str(self._offset)}

    def move(self, seconds: int) -> None:
        """Set it so far ahead of the true time (behind, if negative), at once."""
        self._offset.touch()
        with self._offset.open("r+b") as file:  # in place: running processes have it mapped
            file.write(struct.pack("=q", seconds))

    def close(self) -> None:
        """Remove the library. Processes that run go on by the clock as it stands."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
