"""How changes are found, mode by mode: what a pass reads, and what the next one has to know. Reads the source.

A pass may read more than changed, never less: `known` tells what readers have. So each watermark is the latest moment
of which it is certain that nothing committed before it was left out. What was not committed when a pass began is
behind its watermark, however early it was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from . import heaps
from .clock import Clock
from .marks import Watermark
from .pages import BlockPages, Column, Condition, KeyPages, Pages, bound
from .rows import Polled


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over a table reads.

    Args:
        watermark: what the next pass has to know, once every page of this one is published.
        pages: what is read.
        whole: whether that is every row: then what readers have beside them is gone.
    """

    watermark: Watermark
    pages: Pages
    whole: bool


class Mode(Protocol):
    """One way to find changes."""

    def open(self, connection: sa.Connection, before: Watermark | None, *, whole: bool) -> Pass | None:
        """Begin a pass.

        Args:
            connection: not within a transaction; what is asked here comes before all that the pass reads.
            before: the watermark of the last pass that ended; None: there is none.
            whole: read every row, whatever changed.
        Returns: None: nothing can have changed.
        Raises: SourceUnavailable, SourceError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Full:
    """Every row, each time."""

    table: Polled
    rows: int
    by_row: bool

    def open(self, connection: sa.Connection, before: Watermark | None, *, whole: bool) -> Pass | None:
        return Pass({}, self.pages(), True)

    def pages(self, where: Sequence[Condition] = (), first: Sequence[Column] = ()) -> KeyPages:
        """By key, or in another order that ends with the key."""
        key = [self.table.source.c[name] for name in self.table.key]
        order = [*first, *(column for column in key if column.key not in {one.key for one in first})]
        return KeyPages(order, self.rows, where, self.by_row)


_SNAPSHOT = sa.text(
    "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, s::text "
    "FROM pg_current_snapshot() AS s"
)

_XMIN = (
    # The 32 bits of a row's xmin, with the higher ones that make it the newest below the next transaction's.
    "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint) - "
    "(((SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint) - xmin::text::bigint) & 4294967295)"
)


@dataclass(frozen=True, slots=True)
class SnapshotXmin:
    """PostgreSQL, any table: the rows whose `xmin` was not finished when the last pass began.

    All transactions below a snapshot's xmin are finished: what they wrote is read, or never will be there. Every row
    that comes to be seen later has an `xmin` at or above it, its transaction's own or a subtransaction's.
    `pg_visible_in_snapshot` is not asked: it knows nothing of subtransactions. Rows that were frozen long ago may look
    new, which costs nothing but a look at `known`.

    Blocks may be read in pieces, as what moves between them is new. But a row that moves is missed where all rows are
    compared: that is done by key.

    Args:
        regclass: the table, quoted.
        blocks: of a page.
    """

    full: Full
    regclass: str
    blocks: int

    def open(self, connection: sa.Connection, before: Watermark | None, *, whole: bool) -> Pass | None:
        with connection.begin():
            xmin, xmax, _ = connection.execute(_SNAPSHOT).one()
            watermark = {"xmin": int(xmin)}
            if whole:
                return Pass(watermark, self.full.pages(), True)
            if before is not None and xmax < before["xmin"]:
                before = None  # another server, or an older state of it
            if before is not None and xmax == before["xmin"]:
                return None  # no transaction has begun since, and none was open then
            # Behind the snapshot: what is finished below it is in these blocks.
            _, largest, block = heaps.sizes(connection, self.regclass)
        where: list[Condition] = []
        if before is not None:
            where.append(sa.literal_column(f"{_XMIN} >= {int(before['xmin'])}", sa.Boolean()))
        return Pass(watermark, BlockPages(largest // block, self.blocks, where), False)


@dataclass(frozen=True, slots=True)
class TxColumn:
    """PostgreSQL, a column that holds `pg_current_xact_id()`: what the snapshot of the last pass did not see."""

    full: Full
    column: str

    def open(self, connection: sa.Connection, before: Watermark | None, *, whole: bool) -> Pass | None:
        with connection.begin():
            xmin, xmax, snapshot = connection.execute(_SNAPSHOT).one()
        watermark = {"xmin": int(xmin), "snapshot": str(snapshot)}
        if before is None or whole or xmax < before["xmin"]:  # another server, or an older state of it
            return Pass(watermark, self.full.pages(), True)
        if xmax == before["xmin"]:
            return None
        column = self.full.table.source.c[self.column]
        seen = sa.cast(sa.literal(before["snapshot"], sa.Text), _PgSnapshot)
        where = [column >= sa.func.pg_snapshot_xmin(seen), ~sa.func.pg_visible_in_snapshot(column, seen)]
        return Pass(watermark, self.full.pages(where, [column]), False)


class _PgSnapshot(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pg_snapshot"


@dataclass(frozen=True, slots=True)
class UpdatedAt:
    """A column with the time of the last change: back to the begin of the oldest transaction that was open.

    A transaction that the last pass did not see was open when it began, or has begun since; what it writes is not
    older than its begin. Where the source cannot be asked, none is said to be open for longer than `look_back`.

    Args:
        clock: asks the source.
    """

    full: Full
    column: str
    clock: Clock

    def open(self, connection: sa.Connection, before: Watermark | None, *, whole: bool) -> Pass | None:
        look = self.clock.look(connection)
        watermark = look.as_json(before)
        if before is None or whole or look.set_back(before):
            return Pass(watermark, self.full.pages(), True)
        column = self.full.table.source.c[self.column]
        since = before["oldest"]
        where = [] if since is None else [column >= self.clock.bound(column, datetime.fromisoformat(since))]
        return Pass(watermark, self.full.pages(where, [column]), False)


@dataclass(frozen=True, slots=True)
class Incrementing:
    """Rows that are only added, under growing numbers: one is passed when no transaction can still fill a hole below.

    The numbers below the largest that is there were drawn before it was; so whoever drew one was open then. When all
    transactions that were open have ended, nothing comes below it any more.

    Args:
        clock: asks the source.
    """

    full: Full
    column: str
    clock: Clock

    def open(self, connection: sa.Connection, before: Watermark | None, *, whole: bool) -> Pass | None:
        column = self.full.table.source.c[self.column]
        known = before or {"passed": None, "waiting": None, "since": None}
        passed, waiting, since = known["passed"], known["waiting"], known["since"]
        look = self.clock.look(connection)
        if waiting is not None and look.none_is_open_since(datetime.fromisoformat(since)):
            passed, waiting = waiting, None
        with connection.begin():
            largest = self.clock.largest(connection, self.full.table.source, column)
        if not whole and (largest is None or largest == known["passed"]):
            return None if before is not None else Pass(known, self.full.pages([sa.false()]), False)
        if waiting is None and largest != passed:
            # Asked behind the largest: whoever drew a number below it has begun by now.
            later = self.clock.look(connection)
            if not later.ahead:  # else who is open now may seem to have begun later than that
                waiting, since = largest, later.now.isoformat()
        watermark = {"passed": passed, "waiting": waiting, "since": since}
        if whole:
            return Pass(watermark, self.full.pages(), True)
        above = [] if known["passed"] is None else [column > bound(column, known["passed"])]
        return Pass(watermark, self.full.pages([*above, column <= bound(column, largest)], [column]), False)


def mode_of(table: Polled, clock: Clock, *, rows: int, blocks: int, regclass: str, by_row: bool) -> Mode:
    """The mode of a table, as its options say.

    Args:
        clock: of its source.
        rows, blocks: of a page.
        regclass: the table's name, quoted.
        by_row: see `KeyPages`.
    """
    full = Full(table, rows, by_row)
    match table.options.mode, table.options.column:
        case "snapshot_xmin", _:
            return SnapshotXmin(full, regclass, blocks)
        case "tx_column", str(column):
            return TxColumn(full, column)
        case "updated_at", str(column):
            return UpdatedAt(full, column, clock)
        case "incrementing", str(column):
            return Incrementing(full, column, clock)
        case _:
            return full
