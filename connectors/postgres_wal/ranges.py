"""A table as a snapshot sees it, cut into ranges of blocks; and how far reading them is. Reads the catalog."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from psycopg import sql
from psycopg.errors import LockNotAvailable

from .catalog import Session, Table
from .ledger import HeapRead, Interval, missing
from .tables import PlannedTable


@dataclass(slots=True)
class Progress:
    """How far the snapshot is.

    Args:
        tables, ranges, blocks: how many there are.
        total: the planner's estimate of the rows; None if a table was never analyzed.
        left_out: rows of which something newer was published already.
    """

    tables: int
    ranges: int
    blocks: int
    total: int | None
    tables_done: int = 0
    ranges_done: int = 0
    rows: int = 0
    left_out: int = 0
    blocks_done: int = 0
    started: float = field(default_factory=time.monotonic)

    def as_json(self) -> dict[str, Any]:
        """rows, total, percent, rate (rows/s), seconds_left (None while nothing can be said), tables, ranges."""
        seconds = time.monotonic() - self.started
        share = self.blocks_done / self.blocks if self.blocks else 1.0
        if self.total and share < 1:
            # Ranges are large: between their ends the estimate says more. It may be too low.
            share = max(share, min(0.99, self.rows / self.total))
        return {
            "rows": self.rows,
            "left_out": self.left_out,
            "total": self.total,
            "percent": round(100 * share, 1),
            "rate": round(self.rows / seconds) if seconds > 0 else 0,
            "seconds_left": round(seconds * (1 - share) / share) if share > 0 else None,
            "tables_done": self.tables_done,
            "tables": self.tables,
            "ranges_done": self.ranges_done,
            "ranges": self.ranges,
        }


@dataclass(slots=True)
class SnapshotTable:
    """A table being read: ranges of it may be in several readers at once.

    Args:
        planned, table: as the snapshot sees it.
        read: what is published of its heaps.
        where: a predicate of the operator's; None reads all rows.
        select: a query of the operator's to read instead; None reads the table.
        in_one_piece: whether it is not cut into ranges.
        ranges_left: not read yet.
        started_over: what was read before counts no more, as a heap was rewritten since.
    """

    planned: PlannedTable
    table: Table
    read: Mapping[int, HeapRead]
    where: str | None = None
    select: str | None = None
    in_one_piece: bool = False
    ranges_left: int = 0
    started_over: bool = False

    @property
    def full_name(self) -> str:
        return self.table.full_name

    @property
    def columns(self) -> sql.Composed:
        """What is read of each row."""
        return sql.SQL(", ").join(sql.Identifier(name) for name in self.planned.plan.copy_columns)


@dataclass(frozen=True, slots=True)
class Heap:
    """A table's own heap, or a partition's."""

    oid: int
    node: int
    identifier: sql.Identifier
    blocks: int


@dataclass(frozen=True, slots=True)
class Range:
    """Blocks of one heap: [first, end); an end of None is open."""

    of: SnapshotTable
    heap: Heap
    interval: Interval
    blocks: int

    @property
    def nodes(self) -> str:
        """What the second command says if no heap was rewritten."""
        return str(self.heap.node)

    def commands(self) -> sql.Composed:
        """Lock, what the heap is now, and COPY of the published columns of these blocks."""
        first, end = self.interval
        where = sql.SQL("ctid >= {}::tid").format(sql.Literal(f"({first},0)"))
        if end is not None:
            where += sql.SQL(" AND ctid < {}::tid").format(sql.Literal(f"({end},0)"))
        if self.of.where is not None:
            where += sql.SQL(" AND ({})").format(sql.SQL(self.of.where))
        return sql.SQL(
            "LOCK TABLE ONLY {heap} IN ACCESS SHARE MODE; SELECT pg_relation_filenode({name}::regclass); "
            "COPY (SELECT {columns} FROM ONLY {heap} WHERE {where}) TO STDOUT"
        ).format(
            heap=self.heap.identifier,
            name=sql.Literal(self.heap.identifier.as_string()),  # by name, as the rows are
            columns=self.of.columns,
            where=where,
        )


@dataclass(frozen=True, slots=True)
class Whole:
    """A table in one piece, with its partitions and what inherits from it; or what a query makes of it."""

    of: SnapshotTable
    heaps: tuple[Heap, ...]
    blocks: int

    @property
    def nodes(self) -> str:
        """As for a range."""
        return " ".join(str(heap.node) for heap in self.heaps)

    def commands(self) -> sql.Composed:
        """Lock, what the heaps are now, and COPY of the published columns."""
        of = self.of
        table = of.table.identifier
        rows = sql.SQL("({}) AS rows").format(sql.SQL(of.select)) if of.select is not None else table
        where = sql.SQL(" WHERE ({})").format(sql.SQL(of.where)) if of.where is not None else sql.SQL("")
        return sql.SQL(
            "LOCK TABLE {table} IN ACCESS SHARE MODE; "
            "SELECT coalesce(string_agg(pg_relation_filenode(oid)::text, ' ' ORDER BY oid), '') "
            "FROM unnest({heaps}::oid[]) AS heaps (oid); "
            "COPY (SELECT {columns} FROM {rows}{where}) TO STDOUT"
        ).format(
            table=table,
            heaps=sql.Literal("{" + ",".join(str(heap.oid) for heap in self.heaps) + "}"),
            columns=of.columns,
            rows=rows,
            where=where,
        )


Piece: TypeAlias = Range | Whole


def cut(session: Session, table: SnapshotTable, range_blocks: int) -> Sequence[Piece] | None:
    """What is left to read of a table; None: not now, as somebody has locked it, or it was rewritten since.

    A heap that was rewritten after the snapshot would look empty to it.

    Args:
        session: one that sees the snapshot.
        range_blocks: blocks of one range.
    """
    try:
        with session.transaction():
            found = session.execute(HEAPS_QUERY, [table.table.oid]).fetchall()
    except LockNotAvailable:
        return None
    heaps = [Heap(oid, node, sql.Identifier(schema, name), blocks) for schema, name, blocks, oid, node, _ in found]
    if any(heap.node != now for heap, (*_, now) in zip(heaps, found, strict=True)):
        return None
    if table.select is not None or table.in_one_piece:
        table.ranges_left = 1
        return [Whole(table, tuple(heaps), sum(heap.blocks for heap in heaps))]
    if any(heap.oid in table.read and table.read[heap.oid].node != heap.node for heap in heaps):
        table.started_over = True
    ranges: list[Range] = []
    for heap in heaps:
        known = () if table.started_over or heap.oid not in table.read else table.read[heap.oid].intervals
        for interval in missing(known):
            ranges += _pieces(table, heap, interval, range_blocks)
    table.ranges_left = len(ranges)
    return ranges


def _pieces(table: SnapshotTable, heap: Heap, interval: Interval, range_blocks: int) -> list[Range]:
    """Ranges of about the same size; the last one of a heap is open, since it may have grown."""
    first, end = interval
    last = max(heap.blocks, first + 1) if end is None else end
    starts = list(range(first, last, range_blocks))
    ends = [*starts[1:], end]
    return [
        Range(table, heap, (start, stop), max(0, (heap.blocks if stop is None else stop) - start))
        for start, stop in zip(starts, ends, strict=True)
    ]


HEAPS_QUERY = """
SELECT n.nspname, c.relname,
       coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::bigint,
       c.oid, c.relfilenode::bigint, coalesce(pg_relation_filenode(c.oid), 0)::bigint
FROM (WITH RECURSIVE leaves (oid) AS (
          SELECT %s::oid UNION ALL
          SELECT i.inhrelid FROM leaves l JOIN pg_inherits i ON i.inhparent = l.oid
          JOIN pg_class p ON p.oid = l.oid AND p.relkind = 'p')
      SELECT oid FROM leaves) AS l
JOIN pg_class c ON c.oid = l.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' ORDER BY c.oid
"""
"""The heaps of a table or of its partitions, by the catalog as the snapshot sees it; and the filenode each has now."""
