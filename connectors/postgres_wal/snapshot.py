"""Rows as of one LSN: parallel COPY by range under one exported snapshot. Touches the database.

All readers import the same snapshot, so they see one state of the database. A range takes its
ACCESS SHARE lock for itself and gives it back, so DDL waits for one range at most; a heap that
was rewritten meanwhile (its relfilenode tells) would look empty to the snapshot, and is an error.
One thread serves all readers; the parallel part, the server's, is where the time goes.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from cdc.errors import SourceUnavailable
from cdc.event import Record
from cdc.failpoints import reach

from .catalog import Session, reading
from .marks import Finished, Marks
from .ranges import Piece, Progress, SnapshotTable, cut
from .replication import PASSING
from .reselect import DROPPED

LOCK_TIMEOUT = "2s"
"""How long a range waits for DDL before another one has its turn."""

LOCK_NOT_AVAILABLE = "55P03"

SAVEPOINT = "range"

SILENCE_SECONDS = 60.0
"""A range is read in seconds."""


class Turn(NamedTuple):
    """How much is taken from one reader before the others."""

    rows: int
    bytes: int


class TableChanged(Exception):
    """A table is not as the snapshot saw it: rewritten, dropped, or a column of it was; or it cannot be read.

    Args:
        table: its full name.
        why: what the server says, without values; None where it is only another table than before.
    """

    def __init__(self, table: str, why: str | None = None) -> None:
        super().__init__(table)
        self.table = table
        self.why = why


@dataclass(slots=True)
class RangeCopy:
    """One connection and the range that it copies.

    Args:
        copying: whether the server's answer to the COPY command was taken.
        more: whether rows may wait in libpq's buffer, where poll does not see them.
        heard_at: monotonic seconds.
    """

    connection: Session
    range: Piece
    copying: bool = False
    more: bool = False
    heard_at: float = field(default_factory=time.monotonic)


class SnapshotReader:
    """Reads tables under an imported snapshot, on several connections.

    Args:
        connect: makes a session, with the text formats that events are made from.
        snapshot: the exported snapshot's name; its exporter must stay idle until this returns.
        describe: on a session that sees the snapshot → the tables to read, as they are in it.
        readers: how many connections.
        range_blocks: blocks of one range.
        marked: whether rows will say which are the first and the last: then one connection reads one table
            after the other, and its transaction has a number, which events tell.
        subject: what to call the connector in errors.
    Raises:
        SourceUnavailable: no connection.
    """

    def __init__(
        self,
        connect: Callable[[], Session],
        snapshot: str,
        describe: Callable[[Session], Sequence[SnapshotTable]],
        *,
        readers: int,
        range_blocks: int,
        marked: bool,
        subject: str,
    ) -> None:
        self._subject = subject
        self._marks: Marks | None = None
        self.xid = 0
        self._connections: list[Session] = []
        self._poll = select.poll()
        self._busy: dict[int, RangeCopy] = {}
        self._ranges: deque[Piece] = deque()
        self._empty: list[SnapshotTable] = []
        self._planned: dict[str, Sequence[Piece]] = {}
        self._ending = False
        self.tables: list[SnapshotTable] = []
        try:
            for _ in range(1 if marked else readers):
                self._connections.append(self._import(connect, snapshot))
            first = self._connections[0]
            if marked:
                self.xid = _transaction_id(first, subject)
            tables = self.tables
            for table in describe(first):
                with reading(subject):
                    left = cut(first, table, range_blocks)
                if left is not None:
                    self._planned[table.full_name] = left
                    tables.append(table)
            for connection in self._connections:
                with reading(self._subject):
                    connection.execute(f"SAVEPOINT {SAVEPOINT}")
        except BaseException:
            self.close()
            raise
        ranges = [one for planned in self._planned.values() for one in planned]
        estimates = [entry.table.estimated_rows for entry in tables]
        total = None if any(rows < 0 for rows in estimates) else sum(estimates)
        self.progress = Progress(len(tables), len(ranges), sum(one.blocks for one in ranges), total)

    def close(self) -> None:
        """Give up the snapshot and its locks."""
        for connection in self._connections:
            connection.close()

    def mark(self, marks: Marks) -> None:
        """Have rows say which are the first and the last."""
        self._marks = marks

    def begin(self, tables: Sequence[SnapshotTable]) -> None:
        """Read these tables next; the ones before must be done."""
        for table in tables:
            ranges = self._planned.pop(table.full_name)
            if ranges:
                self._ranges.extend(ranges)
            else:
                self._empty.append(table)
        with reading(self._subject):
            for connection in self._connections:
                self._next_range(connection)

    def drop(self, table: str) -> bool:
        """Read no more of a table that was altered; whether the others can go on."""
        left = [one for one in self._ranges if one.of.full_name == table]
        self._ranges = deque(one for one in self._ranges if one.of.full_name != table)
        for descriptor, reader in list(self._busy.items()):
            if reader.range.of.full_name == table:
                # In the middle of its COPY: faster than to read it to the end.
                self._poll.unregister(descriptor)
                del self._busy[descriptor]
                self._connections.remove(reader.connection)
                reader.connection.close()
                left.append(reader.range)
        self.progress.tables -= 1
        self.progress.ranges -= len(left)
        self.progress.blocks -= sum(one.blocks for one in left)
        return bool(self._connections)

    def last_ranges(self) -> bool:
        """Begin no further range; whether some are being read."""
        self._ranges.clear()
        self._ending = True
        return bool(self._busy)

    @property
    def done(self) -> bool:
        """Whether all that `begin` was given is read."""
        return not self._busy and not self._ranges and not self._empty

    def read(
        self,
        seconds: float,
        turn: Turn,
        records: list[Record],
        touched: Mapping[str, Set[bytes | None] | None],
        finished: Finished,
    ) -> int:
        """Append the events of rows that are there now, waiting at most `seconds` for some.

        Args:
            turn: how much one reader appends before the others.
            touched: table → keys whose rows are left out.
            finished: called when the last row of a range was appended, and with None for a table without any.
        Returns: bytes appended.
        Raises: TableChanged, SourceUnavailable, SourceError.
        """
        while self._empty:
            self.progress.tables_done += 1
            finished(self._empty.pop(), None)
        self._check_silence()
        waiting = any(reader.more for reader in self._busy.values())
        ready = {descriptor for descriptor, _ in self._poll.poll(0 if waiting else seconds * 1000)}
        with reading(self._subject):
            size = sum(
                self._read_some(descriptor, reader, descriptor in ready, turn, records, touched, finished)
                for descriptor, reader in list(self._busy.items())
                if reader.more or descriptor in ready
            )
        if self._marks is not None and self.done:
            size += self._marks.end(records)
        return size

    def _import(self, connect: Callable[[], Session], snapshot: str) -> Session:
        connection = connect()
        with reading(self._subject):
            for statement in (
                "SET statement_timeout = 0",
                f"SET lock_timeout = '{LOCK_TIMEOUT}'",
                "SET idle_in_transaction_session_timeout = 0",
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            ):
                connection.execute(statement)
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        return connection

    def _next_range(self, connection: Session) -> None:
        if self._ranges:
            reach("snapshot.before_range")
            piece = self._ranges.popleft()
            descriptor = connection.pgconn.socket
            connection.pgconn.send_query(piece.commands().as_bytes(connection))
            self._busy[descriptor] = RangeCopy(connection, piece)
            self._poll.register(descriptor, select.POLLIN)

    def _read_some(
        self,
        descriptor: int,
        reader: RangeCopy,
        readable: bool,
        turn: Turn,
        records: list[Record],
        touched: Mapping[str, Set[bytes | None] | None],
        finished: Finished,
    ) -> int:
        pgconn = reader.connection.pgconn
        if readable:
            pgconn.consume_input()
            reader.heard_at = time.monotonic()
        while not reader.copying:
            if pgconn.is_busy():
                return 0
            if not self._begun(descriptor, reader, pgconn.get_result()):
                return 0
        get = pgconn.get_copy_data
        of = reader.range.of
        encode = of.planned.encoder.encode_copy if self._marks is None else self._marks.encoding(of)
        newer = touched.get(reader.range.of.full_name)
        size = rows = 0
        length = 1
        while rows < turn.rows and size < turn.bytes:
            length, line = get(1)
            if length <= 0:
                break
            size += encode(bytes(line), records)
            rows += 1
            if newer and records[-1][1] in newer:
                _, key, value, *_ = records.pop()
                size -= len(key or b"") + len(value or b"")
                self.progress.left_out += 1
        self.progress.rows += rows
        reader.more = length > 0
        if length < 0:
            self._end_range(descriptor, reader, finished)
        return size

    def _check_silence(self) -> None:
        """TCP does not see a server that is gone behind a proxy. Raises: SourceUnavailable."""
        now = time.monotonic()
        for reader in self._busy.values():
            if not reader.more and now - reader.heard_at > SILENCE_SECONDS:
                what = f"snapshot of table {reader.range.of.full_name}"
                raise SourceUnavailable(f"{self._subject}: {what}: the server has sent nothing for a minute")

    def _begun(self, descriptor: int, reader: RangeCopy, result: PGresult | None) -> bool:
        """Take an answer that comes before the rows. False: the range waits for a lock, and others go first."""
        if result is not None and result.status == ExecStatus.COPY_OUT:
            reader.copying = True
        elif result is not None and result.status == ExecStatus.TUPLES_OK:
            if result.get_value(0, 0) != reader.range.nodes.encode():
                raise TableChanged(reader.range.of.full_name)
        elif result is None or result.status != ExecStatus.COMMAND_OK:
            sqlstate = result.error_field(DiagnosticField.SQLSTATE) if result is not None else None
            if sqlstate != LOCK_NOT_AVAILABLE.encode():
                raise self._failed(result, reader)
            if not self._ending and self._marks is not None:
                self._ranges.appendleft(reader.range)  # no other goes first
            elif not self._ending:
                self._ranges.append(reader.range)
            self._leave(descriptor, reader)
            return False
        return True

    def _end_range(self, descriptor: int, reader: RangeCopy, finished: Finished) -> None:
        result = reader.connection.pgconn.get_result()
        if result is None or result.status != ExecStatus.COMMAND_OK:
            raise self._failed(result, reader)
        self.progress.blocks_done += reader.range.blocks
        self.progress.ranges_done += 1
        table = reader.range.of
        table.ranges_left -= 1
        if not table.ranges_left:
            self.progress.tables_done += 1
        if self._marks is None:
            finished(table, reader.range)
        else:
            self._marks.table_read(table, reader.range, finished)
        reach("snapshot.after_range")
        self._leave(descriptor, reader)

    def _leave(self, descriptor: int, reader: RangeCopy) -> None:
        """Give the range's lock back, and take the next range."""
        while reader.connection.pgconn.get_result() is not None:
            pass
        self._poll.unregister(descriptor)
        del self._busy[descriptor]
        reader.connection.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
        self._next_range(reader.connection)

    def _failed(self, result: PGresult | None, reader: RangeCopy) -> Exception:
        table = reader.range.of.full_name
        sqlstate = ((result.error_field(DiagnosticField.SQLSTATE) if result else None) or b"").decode()
        if sqlstate in DROPPED and reader.range.of.select is None:
            return TableChanged(table)
        primary = result.error_field(DiagnosticField.MESSAGE_PRIMARY) if result else None
        if primary and sqlstate[:2] not in PASSING:
            return TableChanged(table, f"table {table} cannot be read (SQLSTATE {sqlstate})")
        message = primary.decode("utf-8", "replace") if primary else "the connection broke"
        return SourceUnavailable(f"{self._subject}: snapshot of table {table} failed: {message}")


def _transaction_id(session: Session, subject: str) -> int:
    """As Debezium's `PostgresConnection.currentTransactionId`, which gives the session's transaction a number.

    When that transaction ends, its end is in the log: so no change has the LSN of the snapshot's rows.
    """
    with reading(subject):
        row = session.execute("SELECT txid_current()").fetchone()
    assert row is not None
    return int(row[0])
