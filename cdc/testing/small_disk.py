"""A disk of a few megabytes that can be filled and freed: a tmpfs. Mounts (as root) and unmounts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from cdc.testing.process import ServerError
from cdc.testing.servers import PostgresInstallation, PostgresServer
from cdc.testing.sweeper import sweeper

_BALLAST = "ballast"
_CHUNKS = (1 << 20, 1 << 12)
"""Written as long as they fit: the large ones first."""


@cache
def no_small_disk() -> str | None:
    """Why nothing can be mounted here; None where it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "a small disk is mounted by root on Linux only"
    with TemporaryDirectory(prefix="cdc-disk-") as folder:
        try:
            SmallDisk(Path(folder), 1).close()
        except ServerError as error:
            return str(error)
    return None


class SmallDisk:
    """A tmpfs on `path`, an existing folder, until it is closed or this process is gone.

    Raises:
        ServerError: it cannot be mounted.
    """

    def __init__(self, path: Path, megabytes: int) -> None:
        self.path = path
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "cdc-small-disk", str(path)]
        mounted = subprocess.run(command, capture_output=True, text=True)
        if mounted.returncode:
            raise ServerError(f"no small disk can be mounted here: {mounted.stderr.strip()}")
        sweeper.mount(path)

    def fill(self) -> None:
        """Take all the room that is left."""
        with (self.path / _BALLAST).open("ab", buffering=0) as ballast:
            for size in _CHUNKS:
                try:
                    while ballast.write(bytes(size)) == size:
                        pass
                except OSError:  # no room for one more of this size
                    continue

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.path / _BALLAST).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.path).free

    def close(self) -> None:
        """Unmount it; what is on it is gone."""
        if os.path.ismount(self.path):
            subprocess.run(["umount", "--lazy", str(self.path)], capture_output=True, check=True)
            sweeper.unmounted(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class PostgresOnSmallDisk(PostgresServer):
    """A PostgreSQL server whose data and WAL are on a small disk.

    A full disk may end the server (a PANIC when WAL cannot be written); `start` it when there is room again.

    Args:
        megabytes: of the disk; an empty cluster takes about 60.
        installation, settings: as for PostgresServer.
    """

    def __init__(
        self,
        megabytes: int,
        installation: PostgresInstallation | None = None,
        *,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            installation,
            settings={"wal_level": "replica", "min_wal_size": "32MB", "max_wal_size": "48MB", **(settings or {})},
        )
        mount_point = self.folder / "disk"
        mount_point.mkdir()
        self.disk = SmallDisk(mount_point, megabytes)
        if user := self._user():
            shutil.chown(mount_point, user)
        self.data_dir = mount_point / "data"

    def close(self) -> None:
        try:
            self._end(self.end_signal)
        finally:
            self.disk.close()
            super().close()
