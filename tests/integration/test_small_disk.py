"""A disk that is full, a memory that is at its limit; and both are gone when they should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from cdc.errors import SpoolFull
from cdc.fold import Spool
from cdc.settings import SpoolSettings
from cdc.testing.limits import no_memory_limit, peak_bytes, with_memory_limit
from cdc.testing.small_disk import PostgresOnSmallDisk, SmallDisk, no_small_disk
from cdc.testing.system import wait_for

mounts = pytest.mark.skipif(no_small_disk() is not None, reason=str(no_small_disk()))

MOUNTS_AND_IS_KILLED = """
import os, signal, sys
from cdc.testing.small_disk import PostgresOnSmallDisk
server = PostgresOnSmallDisk(160)
server.start()
print(server.folder, flush=True)
os.kill(os.getpid(), int(sys.argv[1]))
"""

TAKES = "import sys; taken = bytearray(int(sys.argv[1])); taken[::4096] = b'x' * len(taken[::4096]); print('taken')"


@mounts
def test_it_is_full_until_it_is_freed(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, 4) as disk:
        disk.fill()
        assert disk.free_bytes() == 0
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "more").write_bytes(b"x")
        disk.free()
        (tmp_path / "more").write_bytes(b"x" * 1_000_000)
    assert list(tmp_path.iterdir()) == []


@mounts
def test_postgres_takes_no_rows_on_a_full_disk_and_has_all_it_took() -> None:
    with PostgresOnSmallDisk(160) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (id int, text text)")
            connection.execute("INSERT INTO kept VALUES (1, 'before')")
        server.disk.fill()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            with pytest.raises(psycopg.OperationalError):
                connection.execute("INSERT INTO kept SELECT i, repeat('x', 1000) FROM generate_series(1, 200000) i")
            server.disk.free()
        server.start()
        assert wait_for(lambda: _insert(server), 30)
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT id FROM kept ORDER BY id").fetchall() == [(1,), (2,)]


class Message:
    """A created row, as a consumer gives it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def key(self) -> bytes:
        return b'{"id":%d}' % self._number

    def value(self) -> bytes:
        return b'{"before":null,"after":{"id":%d},"op":"c"}' % self._number

    def partition(self) -> int:
        return 0


@mounts
def test_a_fold_that_finds_the_disk_full_says_so_and_is_made_when_there_is_room(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, 64) as disk:
        settings = SpoolSettings(folder=str(tmp_path))
        spool = Spool(settings)
        fold = spool.fold()
        disk.fill()
        with pytest.raises(SpoolFull, match="its disk is full"):
            fold.load([list(map(Message, range(700_000)))])
        spool.close()
        disk.free()
        spool = Spool(settings)
        fold = spool.fold()
        fold.load([list(map(Message, range(700_000)))])
        assert disk.free_bytes() < 60_000_000, "it was not held on disk"
        assert len(fold) == 700_000
        spool.close()
        assert list(tmp_path.iterdir()) == []


@mounts
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda end: end.name)
def test_nothing_stays_mounted_when_the_process_is_gone(end: signal.Signals) -> None:
    command = [sys.executable, "-c", MOUNTS_AND_IS_KILLED, str(int(end))]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    folder = Path(ran.stdout.strip())
    assert folder.name.startswith("cdc-postgres-")
    assert wait_for(lambda: not folder.exists(), 20)
    assert str(folder) not in Path("/proc/mounts").read_text()


@pytest.mark.skipif(no_memory_limit() is not None, reason=str(no_memory_limit()))
def test_memory_ends_at_the_limit_and_not_before() -> None:
    command = with_memory_limit([sys.executable, "-c", TAKES], 64_000_000)
    assert subprocess.run([*command, "40000000"], capture_output=True, text=True).stdout == "taken\n"
    refused = subprocess.run([*command, "64000000"], capture_output=True, text=True)
    assert "MemoryError" in refused.stderr


def test_the_peak_of_a_process_is_no_less_than_what_it_has() -> None:
    assert peak_bytes(os.getpid()) > 10_000_000


def _insert(server: PostgresOnSmallDisk) -> bool:
    try:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("INSERT INTO kept VALUES (2)")
    except psycopg.OperationalError:  # still recovering
        return False
    return True
