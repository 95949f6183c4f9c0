"""The rows that were there before the stream: parallel COPY by range under one exported snapshot. Touches the database.

All readers import the same snapshot, so they see one state of the database, and hold ACCESS
SHARE locks, so that no DDL changes a table under them (as pg_dump does). One thread serves
all readers; the parallel part, the server's, is where the time goes.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import errors, sql
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from cdc.errors import SourceUnavailable
from cdc.event import Record

from .catalog import Session, Table, connect, reading
from .tables import PlannedTable

RANGE_BLOCKS = 8192
"""Blocks (8 KiB) of one range: 64 MiB."""

ROWS_PER_TURN = 2000
"""Rows taken from one reader before the others have their turn."""


@dataclass(slots=True)
class Progress:
    """How far the snapshot is.

    Args:
        tables, blocks: how many there are.
        total: the planner's estimate of the rows; None if a table was never analyzed.
    """

    tables: int
    blocks: int
    total: int | None
    tables_done: int = 0
    rows: int = 0
    blocks_done: int = 0
    started: float = field(default_factory=time.monotonic)

    def as_json(self) -> dict[str, Any]:
        """rows, total, percent, rate (rows/s), seconds_left (None while nothing can be said), tables."""
        seconds = time.monotonic() - self.started
        share = self.blocks_done / self.blocks if self.blocks else 1.0
        if self.total and share < 1:
            # Ranges are large: between their ends the estimate says more. It may be too low.
            share = max(share, min(0.99, self.rows / self.total))
        return {
            "rows": self.rows,
            "total": self.total,
            "percent": round(100 * share, 1),
            "rate": round(self.rows / seconds) if seconds > 0 else 0,
            "seconds_left": round(seconds * (1 - share) / share) if share > 0 else None,
            "tables_done": self.tables_done,
            "tables": self.tables,
        }


@dataclass(slots=True)
class SnapshotTable:
    """A table being read: ranges of it may be in several readers at once."""

    planned: PlannedTable
    table: Table
    ranges_left: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """Blocks of one heap: [first, end); an end of None is open."""

    of: SnapshotTable
    heap: sql.Identifier
    first: int
    end: int | None
    blocks: int

    def copy_command(self) -> sql.Composed:
        """COPY of the published columns of these blocks."""
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in self.of.planned.plan.copy_columns)
        where = sql.SQL("ctid >= {}::tid").format(sql.Literal(f"({self.first},0)"))
        if self.end is not None:
            where += sql.SQL(" AND ctid < {}::tid").format(sql.Literal(f"({self.end},0)"))
        return sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT").format(columns, self.heap, where)


@dataclass(slots=True)
class RangeCopy:
    """One connection and the range that it copies.

    Args:
        copying: whether the server's answer to the COPY command was taken.
        more: whether rows may wait in libpq's buffer, where poll does not see them.
    """

    connection: Session
    range: Range
    copying: bool = False
    more: bool = False


class SnapshotReader:
    """Reads tables under an imported snapshot, on several connections.

    Args:
        conninfo: a normal (not replication) connection string.
        snapshot: the exported snapshot's name; its exporter must stay idle until this returns.
        describe: on a session that sees the snapshot → the tables to read, as they are in it.
        readers: how many connections.
        subject: what to call the connector in errors.
    Raises:
        SourceUnavailable: no connection, or a table was rewritten since the snapshot.
    """

    def __init__(
        self,
        conninfo: str,
        snapshot: str,
        describe: Callable[[Session], Sequence[SnapshotTable]],
        readers: int,
        subject: str,
    ) -> None:
        self._subject = subject
        self._connections: list[Session] = []
        self._poll = select.poll()
        self._busy: dict[int, RangeCopy] = {}
        try:
            for _ in range(readers):
                self._connections.append(self._import(conninfo, snapshot))
            self.tables = tables = describe(self._connections[0])
            self._ranges = deque(self._plan(self._connections[0], tables))
        except BaseException:
            self.close()
            raise
        self._empty = [table for table in tables if not table.ranges_left]
        estimates = [entry.table.estimated_rows for entry in tables]
        total = None if any(rows < 0 for rows in estimates) else sum(estimates)
        self.progress = Progress(len(tables), sum(piece.blocks for piece in self._ranges), total)

    def close(self) -> None:
        """Give up the snapshot and its locks."""
        for connection in self._connections:
            connection.close()

    def begin(self) -> None:
        """Start reading; from here on the exporter of the snapshot is free."""
        with reading(self._subject):
            for connection in self._connections:
                self._next_range(connection)

    @property
    def done(self) -> bool:
        return not self._busy and not self._ranges and not self._empty

    def read(self, seconds: float, room: int, records: list[Record], finished: Callable[[SnapshotTable], None]) -> int:
        """Append the events of rows that are there now, waiting at most `seconds` for some.

        Args:
            room: a reader's turn ends behind so many bytes.
            finished: called when the last row of a table was appended.
        Returns: bytes appended.
        """
        while self._empty:
            self._finish(self._empty.pop(), finished)
        waiting = any(reader.more for reader in self._busy.values())
        ready = {descriptor for descriptor, _ in self._poll.poll(0 if waiting else seconds * 1000)}
        with reading(self._subject):
            return sum(
                self._read_some(descriptor, reader, descriptor in ready, room, records, finished)
                for descriptor, reader in list(self._busy.items())
                if reader.more or descriptor in ready
            )

    def _import(self, conninfo: str, snapshot: str) -> Session:
        connection = connect(conninfo, self._subject)
        with reading(self._subject):
            for statement in (
                "SET statement_timeout = 0",
                "SET lock_timeout = '5s'",
                "SET idle_in_transaction_session_timeout = 0",
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            ):
                connection.execute(statement)
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        return connection

    def _plan(self, connection: Session, tables: Sequence[SnapshotTable]) -> list[Range]:
        ranges: list[Range] = []
        with reading(self._subject):
            for entry in tables:
                self._lock(connection, entry.table)
                for schema, name, blocks, rewritten in connection.execute(PIECES_QUERY, [entry.table.oid]):
                    if rewritten:
                        # Written anew after the snapshot, it would look empty to it.
                        raise SourceUnavailable(
                            f"{self._subject}: table {schema}.{name} was rewritten as its snapshot began; trying again"
                        )
                    ranges += _ranges(entry, sql.Identifier(schema, name), blocks)
        return ranges

    def _lock(self, connection: Session, table: Table) -> None:
        try:
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table.identifier))
        except (errors.UndefinedTable, errors.InvalidSchemaName):
            raise SourceUnavailable(
                f"{self._subject}: table {table.full_name} was dropped or renamed as its snapshot began; trying again"
            ) from None

    def _next_range(self, connection: Session) -> None:
        if self._ranges:
            piece = self._ranges.popleft()
            descriptor = connection.pgconn.socket
            connection.pgconn.send_query(piece.copy_command().as_bytes(connection))
            self._busy[descriptor] = RangeCopy(connection, piece)
            self._poll.register(descriptor, select.POLLIN)

    def _read_some(
        self,
        descriptor: int,
        reader: RangeCopy,
        readable: bool,
        room: int,
        records: list[Record],
        finished: Callable[[SnapshotTable], None],
    ) -> int:
        pgconn = reader.connection.pgconn
        if readable:
            pgconn.consume_input()
        if not reader.copying:
            if pgconn.is_busy():
                return 0
            self._expect(pgconn.get_result(), ExecStatus.COPY_OUT, reader)
            reader.copying = True
        get = pgconn.get_copy_data
        encode = reader.range.of.planned.encoder.encode_copy
        size = rows = 0
        length = 1
        while rows < ROWS_PER_TURN and size < room:
            length, line = get(1)
            if length <= 0:
                break
            size += encode(bytes(line), records)
            rows += 1
        self.progress.rows += rows
        reader.more = length > 0
        if length < 0:
            self._end_range(descriptor, reader, finished)
        return size

    def _end_range(self, descriptor: int, reader: RangeCopy, finished: Callable[[SnapshotTable], None]) -> None:
        pgconn = reader.connection.pgconn
        self._expect(pgconn.get_result(), ExecStatus.COMMAND_OK, reader)
        while pgconn.get_result() is not None:
            pass
        self._poll.unregister(descriptor)
        del self._busy[descriptor]
        self.progress.blocks_done += reader.range.blocks
        table = reader.range.of
        table.ranges_left -= 1
        if not table.ranges_left:
            self._finish(table, finished)
        self._next_range(reader.connection)

    def _finish(self, table: SnapshotTable, finished: Callable[[SnapshotTable], None]) -> None:
        self.progress.tables_done += 1
        finished(table)

    def _expect(self, result: PGresult | None, status: ExecStatus, reader: RangeCopy) -> None:
        if result is None or result.status != status:
            primary = result.error_field(DiagnosticField.MESSAGE_PRIMARY) if result else None
            message = primary.decode("utf-8", "replace") if primary else "the connection broke"
            raise SourceUnavailable(
                f"{self._subject}: snapshot of table {reader.range.of.table.full_name} failed: {message}"
            )


PIECES_QUERY = """
SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::bigint,
       c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
FROM (WITH RECURSIVE leaves (oid) AS (
          SELECT %s::oid UNION ALL
          SELECT i.inhrelid FROM leaves l JOIN pg_inherits i ON i.inhparent = l.oid
          JOIN pg_class p ON p.oid = l.oid AND p.relkind = 'p')
      SELECT oid FROM leaves) AS l
JOIN pg_class c ON c.oid = l.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
"""
"""The heaps of a table or of its partitions, by the catalog as the snapshot sees it."""


def _ranges(of: SnapshotTable, heap: sql.Identifier, blocks: int) -> list[Range]:
    """Cut a heap into ranges; the last one is open, since the heap may have grown."""
    starts = list(range(0, max(blocks, 1), RANGE_BLOCKS))
    ends: list[int | None] = [*starts[1:], None]
    of.ranges_left += len(starts)
    return [
        Range(of, heap, first, end, (blocks if end is None else end) - first)
        for first, end in zip(starts, ends, strict=True)
    ]
