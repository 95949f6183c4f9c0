"""Which tables' rows are read, and when: opened in a thread of its own, read beside the stream. Touches the database.

A snapshot is asked for, opened (which may take hours: making its slot waits for running writers),
and read once the stream has reached its LSN. From the moment it is asked for, the keys that the
stream publishes are remembered, and rows with such a key left out: something newer is on the
topic. Rows that have no key to be told by are read while the stream is held, from before the
snapshot is made until they are published.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from threading import Thread
from typing import Any

import structlog

from cdc.connector import Stopped
from cdc.errors import CdcError, SourceUnavailable
from cdc.failpoints import reach
from cdc.formats.debezium_json import Transaction

from .catalog import Publication
from .ledger import Ledger
from .marks import Marks
from .pgoutput import position_text
from .ranges import Piece, Range, SnapshotTable
from .snapshot import SnapshotReader, TableChanged, Turn
from .transactions import Transactions, begin_table

TOUCHED_KEYS = 100_000
"""Keys remembered at most; then a new snapshot goes on with the ranges that are left."""

AGAIN_SECONDS = 5.0
"""After a snapshot could not be opened."""

REFUSED_SECONDS = 30.0
"""After a table could not be read."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A snapshot that can be read once the stream has reached `lsn`."""

    lsn: int
    reader: SnapshotReader


class Snapshots:
    """The snapshots of one connector, one at a time. All but `as_json` belongs to the reader's thread.

    Args:
        ledger: what is to be read, and what was.
        transactions: where rows go, between the stream's events.
        open: tables → a snapshot of them; called in a thread of its own, may wait for long.
        by_key: whether the rows of a table can be told by their key.
        filtered: whether only some of a table's rows are wanted.
        hold_all: hold the stream for every table (`snapshot: only` does not go on with it).
        marked: whether rows say which are the first and the last; the stream is held for them, as their order counts.
        publication: how tables are published now.
        wake: the reader's thread, when a snapshot was opened.
        turn: how much one reader of rows appends before the others.
        generation: of positions.
    """

    def __init__(
        self,
        ledger: Ledger,
        transactions: Transactions,
        *,
        open: Callable[[Set[str]], Opened],
        by_key: Callable[[str], bool],
        filtered: Callable[[str], bool],
        hold_all: bool,
        marked: bool,
        publication: Callable[[], Publication],
        wake: Callable[[], None],
        turn: Turn,
        generation: int,
    ) -> None:
        self._ledger = ledger
        self._transactions = transactions
        self._open = open
        self._by_key = by_key
        self._filtered = filtered
        self._hold_all = hold_all or marked
        self._marked = marked
        self._publication = publication
        self._wake = wake
        self._turn = turn
        self._generation = generation
        self._opener: Thread | None = None
        self._result: Opened | BaseException | None = None
        self._not_before = 0.0
        self._problem: str | None = None
        self._since = 0
        self._touched: dict[str, set[bytes | None] | None] = {}
        self._waiting: Opened | None = None
        self._reading: Opened | None = None
        self._held: set[str] = set()
        self._rest: list[SnapshotTable] = []
        self._topics: dict[str, tuple[SnapshotTable, Transaction]] = {}
        self._complete: list[str] = []
        self._watch(frozenset())

    @property
    def reading(self) -> bool:
        """Whether rows are being read."""
        return self._reading is not None

    @property
    def held_for(self) -> str | None:
        """A table for which the stream is held."""
        return min(self._held, default=None)

    @property
    def frozen(self) -> bool:
        """Whether the stream must stay where it is: a snapshot is made for a table that holds it."""
        return bool(self._held) and self._opener is not None

    def as_json(self) -> dict[str, Any] | None:
        """Progress, from any thread; None when there is nothing to read."""
        reading, unfinished = self._reading, self._ledger.unfinished()
        if reading is None and not unfinished:
            return None
        told = reading.reader.progress.as_json() if reading is not None else {"tables": len(unfinished)}
        waiting_for = None
        if reading is None and not self._ledger.paused:
            waiting_for = self._problem or "running transactions"
        return {**told, "paused": self._ledger.paused, "waiting_for": waiting_for, "holds_stream_for": self.held_for}

    def expect(self, opened: Opened) -> None:
        """Read this snapshot when the stream has reached it; the first one came with the slot."""
        self._waiting = opened
        self._transactions.hold(opened.lsn)
        progress = opened.reader.progress
        structlog.get_logger().info("snapshot begins", tables=progress.tables, ranges=progress.ranges)

    def begin_tracking(self, tables: Set[str]) -> None:
        """Remember from here on which keys of these tables the stream publishes."""
        self._since = self._transactions.position.commit_lsn
        self._watch(tables)

    def look(self) -> float:
        """Open a snapshot if one is wanted; for how many seconds nothing has to be done here.

        Raises: what a snapshot could not be opened for, if no CdcError.
        """
        if self._result is not None:
            self._take_result()
        if self._opener is not None or self._waiting is not None:
            if self._too_many():
                # Whatever is forgotten was committed before the snapshot; else that is of no use.
                self.begin_tracking(self._tracked())
                if self._waiting is not None and self._since >= self._waiting.lsn:
                    self.give_up()
            return float("inf")
        if self._reading or self._ledger.paused or not self._ledger.unfinished():
            return float("inf")
        left = self._not_before - time.monotonic()
        if left > 0:
            return left
        wanted = self._ledger.unfinished()
        self._held = {name for name in wanted if self._holds(name)}
        self.begin_tracking(wanted - self._held)
        tables = self._held or wanted
        self._opener = Thread(target=self._run, args=(frozenset(tables),), name="snapshot", daemon=True)
        self._opener.start()
        return float("inf")

    def begin(self) -> None:
        """The stream stands at the snapshot's LSN, or behind it: read from here on.

        Raises: SourceUnavailable: a table's key came or went, and with it how it is to be read.
        """
        opened, self._waiting = self._waiting, None
        assert opened is not None
        self._reading = opened
        now = time.time_ns()
        transaction = Transaction(
            commit_lsn=opened.lsn,
            commit_time_us=now // 1000,
            xid=opened.reader.xid,
            last_commit_lsn=0,
            snapshot="true",
            now_ns=now,
            timestamp_ms=now // 1_000_000,
            generation=self._generation,
        )
        unfinished = self._ledger.unfinished()
        tables = [
            table
            for table in opened.reader.tables
            if table.full_name in unfinished and self._is_newest(table, opened.lsn)
        ]
        self._ledger.begin(table.full_name for table in tables)
        for table in tables:
            if table.started_over:
                self._ledger.start_over(table.full_name)
            self._transactions.announce(table.planned, position_text(opened.lsn, 0, self._generation))
            begin_table(table.planned, transaction)
            self._topics[table.planned.plan.topic] = (table, transaction)
        held = [table for table in tables if self._holds(table.full_name)]
        self._held = {table.full_name for table in held}
        self._rest = [table for table in tables if table.full_name not in self._held]
        read = {table.full_name for table in tables}
        self._touched = {name: keys if name in read else None for name, keys in self._touched.items()}
        self._tell()
        if self._marked:
            opened.reader.mark(Marks(transaction, held))
        opened.reader.begin(held)
        self._go_on()

    def step(self, seconds: float) -> None:
        """Append the events of rows that are there, waiting at most `seconds` for some.

        Raises: SourceUnavailable, SourceError.
        """
        opened, transactions = self._reading, self._transactions
        assert opened is not None
        try:
            transactions.size += opened.reader.read(
                seconds, self._turn, transactions.records, self._touched, self._finished
            )
        except TableChanged as changed:
            self._put_off(changed.table, changed.why)
        if self._reading is not None and self._too_many():
            self._rest = []
            # What is half read would be read again: it may end first, within reason.
            if not (opened.reader.last_ranges() and self._count() < 10 * TOUCHED_KEYS):
                structlog.get_logger().info("snapshot renewed: the tables change faster than they are read")
                self.give_up()
        self._go_on()

    def changed(self) -> None:
        """The ledger says otherwise than before what is to be read."""
        unfinished = self._ledger.unfinished()
        gone = (self._tracked() | self._held) - unfinished
        if self._ledger.paused or (gone and self._reading is None):
            self.give_up()
            return
        for name in gone:
            self._leave_out(name)
        self._touched = {name: self._touched.get(name) for name in unfinished}
        self._tell()

    def give_up(self) -> None:
        """Let the snapshot go; what is left of its tables waits for the next one."""
        for opened in (self._waiting, self._reading):
            if opened is not None:
                opened.reader.close()
        self._waiting = self._reading = None
        self._rest, self._held = [], set()
        self._watch(frozenset())
        self._transactions.resume()

    def close(self) -> None:
        """The reader's thread has ended, and whatever may be waited for when opening."""
        for opened in (self._waiting, self._reading):
            if opened is not None:
                opened.reader.close()
        if self._opener is not None:
            self._opener.join()
        if isinstance(self._result, Opened):
            self._result.reader.close()

    def take_complete(self) -> tuple[str, ...]:
        """Topics of tables that were finished since this was last asked."""
        complete, self._complete = tuple(self._complete), []
        return complete

    def read_from(self, topic: str) -> tuple[SnapshotTable, Transaction]:
        """The table of a topic as it was read last, and what its events say of when."""
        return self._topics[topic]

    def _run(self, tables: Set[str]) -> None:
        try:
            self._result = self._open(tables)
        except BaseException as error:
            self._result = error
        self._wake()

    def _take_result(self) -> None:
        result, self._result = self._result, None
        if self._opener is not None:
            self._opener.join()
            self._opener = None
        if isinstance(result, Opened):
            self._problem = None
            if self._ledger.paused or not self._tracked() | self._held or result.lsn <= self._since:
                # Not wanted any more, or more keys came meanwhile than can be remembered.
                result.reader.close()
                self.give_up()
            else:
                self.expect(result)
        elif isinstance(result, CdcError):
            # Contained: the stream goes on, and the status says what is wrong.
            self._not_before = time.monotonic() + AGAIN_SECONDS
            if self._problem != result.message:
                structlog.get_logger().warning("snapshot not opened", error=result.message, hint=result.hint)
            self._problem = result.message
            self.give_up()
        elif not isinstance(result, Stopped):
            assert result is not None
            raise result

    def _put_off(self, table: str, why: str | None) -> None:
        """A table was altered, or cannot be read: a later snapshot reads it, and this one the others."""
        self._problem = why
        self._not_before = time.monotonic() + (REFUSED_SECONDS if why else 1.0)
        if why is None:
            structlog.get_logger().info("a table was altered, and is read later", table=table)
        else:
            structlog.get_logger().warning("a table is not read", table=table, error=why)
        self._leave_out(table)

    def _leave_out(self, table: str) -> None:
        """Read no more of one table in this snapshot."""
        self._held.discard(table)
        self._rest = [one for one in self._rest if one.full_name != table]
        if table in self._touched:
            self._touched[table] = None
            self._tell()
        if self._reading is not None and not self._reading.reader.drop(table):
            self.give_up()

    def _is_newest(self, table: SnapshotTable, lsn: int) -> bool:
        """Whether the stream has not described the table otherwise since: that would look older than this."""
        if table.planned.by_key != self._by_key(table.full_name):
            raise SourceUnavailable(f"the key of table {table.full_name} is not what it was; starting over with it")
        streamed = self._transactions.descriptions.streamed.get(table.full_name)
        if streamed is None or streamed[0] < lsn:
            return True
        return streamed[1] == table.planned.streamed_schema

    def _go_on(self) -> None:
        """Behind the held tables come the others, behind them the end."""
        opened = self._reading
        while opened is not None and opened.reader.done and not self._held:
            if self._rest:
                rest, self._rest = self._rest, []
                opened.reader.begin(rest)
                return
            reach("snapshot.after_last_table")
            opened.reader.close()
            what = "snapshot ended, another one goes on" if self._ledger.unfinished() else "snapshot done"
            structlog.get_logger().info(what, **opened.reader.progress.as_json())
            self._not_before = time.monotonic() + 1.0
            opened = self._reading = None

    def _finished(self, table: SnapshotTable, piece: Piece | None) -> None:
        name = table.full_name
        if isinstance(piece, Range) and self._by_key(name):
            self._ledger.range_done(name, piece.heap.oid, piece.heap.node, piece.interval, self._publication())
        if table.ranges_left == 0:
            self._ledger.finish({name}, self._publication())
            self._complete.append(table.planned.plan.topic)
            self._held.discard(name)
            self._touched.pop(name, None)
            self._tell()
            reach("snapshot.after_table")

    def _holds(self, table: str) -> bool:
        return self._hold_all or not self._by_key(table)

    def _too_many(self) -> bool:
        return self._count() > TOUCHED_KEYS

    def _count(self) -> int:
        return sum(len(keys) for keys in self._touched.values() if keys)

    def _tracked(self) -> set[str]:
        return {name for name, keys in self._touched.items() if keys is not None}

    def _watch(self, tracked: Set[str]) -> None:
        """Tell the stream which tables are not read yet, and of which the keys are wanted."""
        self._touched = {name: set() if name in tracked else None for name in self._ledger.unfinished()}
        self._tell()

    def _tell(self) -> None:
        waiting = {name for name in self._ledger.untouched() if not self._by_key(name) and not self._filtered(name)}
        self._transactions.watch(self._touched, waiting)
