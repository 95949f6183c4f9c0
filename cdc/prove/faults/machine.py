"""The machine: a disk that is full, a clock that is wrong, memory that is short."""

from __future__ import annotations

from random import Random
from typing import cast

from cdc.prove.fault import Fault, Setting, own_postgres
from cdc.prove.faults.gaps import drop_slot, heal, healed
from cdc.prove.servers import Available
from cdc.prove.stage import Stage
from cdc.prove.waiting import Broken, eventually
from cdc.testing.clock import Clock, no_clock
from cdc.testing.limits import no_memory_limit, peak_bytes, with_memory_limit
from cdc.testing.small_disk import PostgresOnSmallDisk, SmallDisk, no_small_disk

DISK_MEGABYTES = 400
SPOOL_MEGABYTES = 128

FOLDED_ROWS = 700_000
"""Their keys and digests are more than a worker holds in memory (16 MB)."""

BULK_ROWS = 40_000
"""More than fits into what a full disk has left in files that are there already."""

HOUR = 3600

MEMORY_LIMIT = 256 * 1024 * 1024
"""Bytes each process may have for itself: the 150 MB that are promised, stacks of threads, and what malloc keeps."""


def small_disk(_: Available) -> str | None:
    """A disk that may be filled."""
    return no_small_disk()


def movable_clock(_: Available) -> str | None:
    """A clock that is the bridge's alone."""
    return no_clock()


def memory_limit(_: Available) -> str | None:
    """Memory that can be kept short."""
    return no_memory_limit()


def fill_disk(stage: Stage, rng: Random) -> None:
    """The service's database finds no room, and later it does."""
    server = cast(PostgresOnSmallDisk, stage.target.server)
    server.disk.fill()
    try:
        stage.write_bulk(BULK_ROWS)
        eventually(lambda: _sink_state(stage) == "retrying", 120, "the sink finds the disk full")
    finally:
        server.disk.free()
        server.start()  # it may have ended, as it could not write its log


def _sink_state(stage: Stage) -> str:
    return str(stage.bridge.status().get("sinks", {}).get("copy", {}).get("state", ""))


def _with_small_spool(stage: Stage) -> None:
    folder = stage.folder / "spool"
    folder.mkdir()
    stage.bring(SmallDisk(folder, SPOOL_MEGABYTES))
    stage.yaml["spool"] = {"folder": str(folder)}


def fill_spool(stage: Stage, rng: Random) -> None:
    """A gap is to be mended, and there is no room for what the topics hold; later there is."""
    disk = stage.the(SmallDisk)
    stage.write_bulk(FOLDED_ROWS)
    mark = stage.mark()
    eventually(lambda: stage.arrived(mark), 600, "the rows arrive that are to be held")
    drop_slot(stage)
    disk.fill()
    said = heal(stage)
    if "spool" not in said:
        eventually(lambda: "spool" in str(stage.bridge.connector().get("error")), 120, "the full spool is told")
    disk.free()
    eventually(lambda: healed(stage), 300, "the connector streams again")


def _with_clock(stage: Stage) -> None:
    stage.environment |= stage.bring(Clock()).environment()


def move_clock(stage: Stage, rng: Random) -> None:
    """An hour ahead, an hour behind, and right again; each time, something must still arrive."""
    clock = stage.the(Clock)
    for seconds in (HOUR, -HOUR, 0):
        clock.move(seconds)
        mark = stage.mark()
        eventually(lambda mark=mark: stage.arrived(mark), 60, f"the line goes on with its clock {seconds} s off")  # type: ignore[misc]
    clock.move(rng.choice((HOUR, -HOUR)))


def _with_little_memory(stage: Stage) -> None:
    stage.command += with_memory_limit([], MEMORY_LIMIT)


def run_short_of_memory(stage: Stage, rng: Random) -> None:
    """One transaction that is many times larger than what the connector may take."""
    [connector] = stage.bridge.workers(kind="connector")
    stage.write_bulk()
    stage.struck()
    mark = stage.mark()
    eventually(lambda: stage.arrived(mark) or not peak_bytes(connector), 1200, "the transaction arrives")
    peak = peak_bytes(connector)
    if not peak:
        raise Broken(f"the connector did not live within {MEMORY_LIMIT >> 20} MB")
    stage.note(
        f"peak memory (RSS) of the connector: {peak / 1e6:.0f} MB, with {stage.bulk_rows:,} rows in a transaction"
    )


FAULTS = (
    Fault(
        "sink-disk-full",
        "the disk of the service's database is full, and freed later",
        fill_disk,
        (own_postgres, small_disk),
        Setting(target=lambda: PostgresOnSmallDisk(DISK_MEGABYTES)),
        most=5,
    ),
    Fault(
        "spool-disk-full",
        "a gap is mended by `cdc heal`, and the disk for what it must hold is full, and freed later",
        fill_spool,
        (small_disk,),
        Setting(prepare=_with_small_spool, gap=True, sessions=1),
        most=1,
        patience=300.0,
    ),
    Fault(
        "clock-moved",
        "the bridge's clock goes an hour ahead, an hour behind, and back",
        move_clock,
        (movable_clock,),
        Setting(prepare=_with_clock),
    ),
    Fault(
        "memory-limited",
        f"the largest transaction, with {MEMORY_LIMIT >> 20} MB for each process",
        run_short_of_memory,
        (memory_limit,),
        Setting(prepare=_with_little_memory, sessions=1),
        most=1,
        patience=600.0,
    ),
)
