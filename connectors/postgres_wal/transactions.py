"""pgoutput messages → events in commit order, in batches. Pure but for the planner it is given.

Counts row messages before any filter, skips what the stored position already holds, and
keeps the position behind what was encoded. May stop before a given LSN (a snapshot is due).

The begin of a transaction is told with its first event, or with its end: so a position always says
whether it was (`WalPosition.counted`), and the numbers of events go on where a kill left them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from struct import Struct
from time import time_ns

from cdc.errors import ProtocolError, SchemaChanged
from cdc.event import EVERY_PARTITION, EventTopic, Record
from cdc.formats.debezium_json import Order, Transaction
from cdc.formats.postgres.relation import Relation

from . import ddl
from .beside import Beside
from .descriptions import Descriptions
from .options import BatchSettings
from .pgoutput import (
    DELETE,
    INSERT,
    PAYLOAD_OFFSET,
    UPDATE,
    Begin,
    Commit,
    Message,
    Origin,
    Truncate,
    parse,
    position_text,
)
from .position import EVERY_ROW, WalPosition
from .reselect import Pending
from .tables import PlannedTable

_ROWS = frozenset((INSERT, UPDATE, DELETE))
_LSN = Struct("!Q").unpack_from
_OID = Struct("!I").unpack_from

RESELECT_ROWS = 32
"""So many rows are reselected at a time, and then count with all their bytes."""


class Transactions:
    """Assembles batches from the messages of one replication stream.

    Args:
        start: the stored position; what it holds is skipped.
        plan: a relation → how to encode it, None if it is not captured.
        limits: when a batch is full.
        descriptions: describes tables, and tells DDL.
        beside: what is published beside rows.
    """

    def __init__(
        self,
        start: WalPosition,
        plan: Callable[[Relation], PlannedTable | None],
        limits: BatchSettings,
        descriptions: Descriptions,
        beside: Beside,
    ) -> None:
        self._start = start
        self._plan = plan
        self._rows, self._bytes = limits.rows, limits.bytes
        self.descriptions = descriptions
        self.beside = beside
        self._tables: dict[int, PlannedTable | None] = {}
        self.unread: Mapping[str, set[bytes | None] | None] = {}
        self._waiting: Set[str] = frozenset()
        self._relations: dict[int, Relation] = {}
        self._begin: Begin | None = None
        self._transaction: Transaction | None = None
        self._origin: tuple[str, int] | None = None
        self._untold_begin: int | None = None
        self._ordinal = 0
        self._messages_at = (0, 0)
        self._skip = 0
        self._skip_messages = 0
        self._reached = start
        self.hold_at: int | None = None
        self._held: bytes | None = None
        self.records: list[Record] = []
        self.pending: list[Pending] = []
        self.topics: list[EventTopic] = []
        self.size = 0
        self.commit_time_us = 0

    @property
    def open(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return self._begin is not None

    @property
    def full(self) -> bool:
        return len(self.records) >= self._rows or self.size >= self._bytes or len(self.pending) >= RESELECT_ROWS

    @property
    def position(self) -> WalPosition:
        """Where the stream stands behind everything fed so far."""
        if self._begin is None or self._passed_over:
            return self._reached
        order = self._order
        return replace(
            self._reached,
            commit_lsn=self._begin.final_lsn,
            ordinal=self._ordinal,
            messages=self._messages,
            whole=False,
            counted=None if order is None or self._untold_begin is not None else dict(order.by_collection),
        )

    def feed(self, data: bytes) -> bool:
        """Take one XLogData message.

        Returns: True when the caller should look: the batch is full, rows wait for a reselect, or
            the stream is held.
        Raises:
            SchemaChanged: of a table; the message was not taken, and what is before it may be published.
            ProtocolError, and what planning raises.
        """
        kind = data[PAYLOAD_OFFSET]
        if kind in _ROWS:
            self._ordinal = ordinal = self._ordinal + 1
            if ordinal <= self._skip:
                return False
            oid = _OID(data, PAYLOAD_OFFSET + 1)[0]
            table = self._tables[oid] if oid in self._tables else self._planned(oid)
            if table is None or table.waits:
                return False
            if table.begun is not self._transaction:
                self._begin_table(table)
            records = self.records
            before = len(records)
            lsn = _LSN(data, 1)[0]
            self.size += table.encoder.encode(data, PAYLOAD_OFFSET, lsn, ordinal, records)
            if table.touched is not None:
                table.touched.update(record[1] for record in records[before:])
            if table.encoder.unchanged and table.reselects(inserted=kind == INSERT):
                self._await(table, before, data, lsn, ordinal)
            return len(records) >= self._rows or self.size >= self._bytes or len(self.pending) >= RESELECT_ROWS
        return self._rare(data)

    def watch(self, unread: Mapping[str, set[bytes | None] | None], waiting: Set[str] = frozenset()) -> None:
        """Of these tables rows are still to be read.

        Args:
            unread: the sets get the keys of what is published of them.
            waiting: tables of which nothing is published: a snapshot that comes holds it all.
        """
        self.unread = unread
        self._waiting = waiting
        for table in self._tables.values():
            self._attach(table)

    def hold(self, lsn: int) -> None:
        """Stop before the first transaction whose commit record starts at or after `lsn`."""
        self.hold_at = lsn

    @property
    def held(self) -> bool:
        return self._held is not None

    def resume(self) -> None:
        """Go on after a hold."""
        held, self._held, self.hold_at = self._held, None, None
        if held is not None:
            self.feed(held)

    def idle(self, lsn: int) -> None:
        """A keepalive said that everything before `lsn` was sent, and no transaction is open."""
        if lsn > self._reached.end_lsn:
            self._reached = replace(self._reached, end_lsn=lsn)

    def clear(self) -> None:
        """The batch was taken: begin the next one."""
        self.records, self.pending, self.topics, self.size = [], [], [], 0

    def announce(self, table: PlannedTable, position: str) -> None:
        """Give the table's topic and description to the publisher, before its first event.

        Raises:
            SourceUnavailable: its key is another one than while its rows are read.
            SchemaChanged: its columns are others than its policy lets through.
        """
        commit_lsn = self._transaction.commit_lsn if self._transaction is not None else None
        reading = self.unread.get(table.full_name) is not None
        described = self.descriptions.of_table(table, position, commit_lsn, reading=reading)
        self.topics.append(table.event_topic)
        self.records += described
        table.announced = True

    def _planned(self, oid: int) -> PlannedTable | None:
        relation = self._relations.get(oid)
        if relation is None:
            raise ProtocolError(f"a row of relation {oid}, which the server has not described")
        table = self._tables[oid] = self._plan(relation)
        self._attach(table)
        return table

    def _await(self, table: PlannedTable, first: int, data: bytes, lsn: int, ordinal: int) -> None:
        """The records of the row, from index `first` on, lack values that are to be read."""
        made = self.records[first:]
        transaction = self._transaction
        assert transaction is not None
        if transaction.order is not None:
            events = sum(record[2] is not None for record in made)
            transaction = replace(transaction, order=transaction.order.before(table.full_name, events))
        self.pending.append(Pending(first, len(made), table, data, lsn, ordinal, transaction))

    def _attach(self, table: PlannedTable | None) -> None:
        if table is not None:
            table.unread = table.full_name in self.unread
            table.touched = self.unread.get(table.full_name)
            table.waits = table.full_name in self._waiting

    def _begin_table(self, table: PlannedTable) -> None:
        assert self._transaction is not None
        if not table.announced:
            try:
                self.announce(table, self._position_text(self._transaction))
            except SchemaChanged:
                self._ordinal -= 1
                raise
        self._tell_begin()
        begin_table(table, self._transaction)

    def _rare(self, data: bytes) -> bool:
        message = parse(data, PAYLOAD_OFFSET)
        if isinstance(message, Begin):
            if self.hold_at is not None and message.final_lsn >= self.hold_at:
                self._held = data
                return True
            self._begin_transaction(message, _LSN(data, 1)[0])
        elif isinstance(message, Commit):
            return self._commit(message)
        elif isinstance(message, Relation):
            # Planned with its first row: the server describes partitions too, and what is not captured.
            self._relations[message.oid] = message
            self._tables.pop(message.oid, None)
        elif isinstance(message, Truncate):
            self._truncate(message, _LSN(data, 1)[0])
        elif isinstance(message, Origin):
            self._origin = message.name, message.commit_lsn
            if self._transaction is not None:  # no row of it came before
                self._transaction = replace(self._transaction, origin=self._origin)
        elif isinstance(message, Message):
            if message.transactional:
                self._message_within(message, _LSN(data, 1)[0])
            elif self.hold_at is not None and message.lsn > self.hold_at:
                self._held = data
                return True
            else:
                self._message_alone(message)
            return self.full
        return False

    def _begin_transaction(self, begin: Begin, lsn: int) -> None:
        self._begin = begin
        self._origin = None
        self._ordinal = 0
        self._messages_at = (0, 0)
        order = self.beside.order()
        self._untold_begin = lsn if order is not None else None
        start = self._start
        self._skip, self._skip_messages = start.delivered(begin.final_lsn)
        if order is not None and start.counted is not None and start.within(begin.final_lsn):
            self._untold_begin = None
            order = Order(sum(start.counted.values()), dict(start.counted))
        now = time_ns()
        self._transaction = Transaction(
            commit_lsn=begin.final_lsn,
            commit_time_us=begin.commit_time_us,
            xid=begin.xid,
            last_commit_lsn=self._reached.last_commit,
            snapshot="false",
            now_ns=now,
            timestamp_ms=min(begin.commit_time_us // 1000, now // 1_000_000),
            generation=start.origin.generation,
            order=order,
        )

    def _commit(self, commit: Commit) -> bool:
        if self._begin is None:
            return False
        reached = self._reached
        if self._skip != EVERY_ROW:
            self._tell_end(commit)
            reached = reached.ended(self._begin.final_lsn, max(self._ordinal, self._skip), commit.end_lsn)
        self._begin = self._transaction = None
        self._reached = replace(reached, end_lsn=max(reached.end_lsn, commit.end_lsn))
        self.commit_time_us = commit.commit_time_us
        return self.full

    def _truncate(self, message: Truncate, lsn: int) -> None:
        self._ordinal += 1
        if self._ordinal <= self._skip:
            return
        planned = [self._tables[oid] if oid in self._tables else self._planned(oid) for oid in message.relation_oids]
        tables = [table for table in planned if table is not None and table.fan_out]
        for table in tables:
            if table.begun is not self._transaction:
                self._begin_table(table)
        for table in tables:
            self.size += table.encoder.truncate(lsn, self._ordinal, self.records, EVERY_PARTITION)

    @property
    def _order(self) -> Order | None:
        return self._transaction.order if self._transaction is not None else None

    @property
    def _messages(self) -> int:
        """Logical messages of the open transaction behind its last row."""
        ordinal, count = self._messages_at
        return count if ordinal == self._ordinal else 0

    @property
    def _passed_over(self) -> bool:
        """Whether what the open transaction has so far was delivered before the start."""
        return (self._ordinal, self._messages) <= (self._skip, self._skip_messages)

    def _message_within(self, message: Message, lsn: int) -> None:
        """A logical message of the open transaction."""
        if ddl.separates(message):
            return
        self._messages_at = self._ordinal, self._messages + 1
        transaction = self._transaction
        if transaction is None:
            raise ProtocolError("a message of a transaction that has not begun")
        if self._passed_over:
            return
        if message.prefix == ddl.PREFIX:
            self._statement(message.content, lsn, transaction)
        elif self.beside.publishes(message.prefix):
            self._tell_begin()
            self._add(self.beside.within(message, lsn, transaction))

    def _statement(self, content: bytes, lsn: int, transaction: Transaction) -> None:
        """DDL of the open transaction, behind its last row: no event, so that it has no part in what is counted."""
        for record in self.descriptions.of_ddl(
            content,
            position=self._position_text(transaction),
            number=self._messages,
            lsn=lsn,
            ts_ms=transaction.commit_time_us // 1000,
        ):
            self.records.append(record)
            self.size += len(record[2] or b"")

    def _position_text(self, transaction: Transaction) -> str:
        return position_text(transaction.commit_lsn, self._ordinal, self._start.origin.generation)

    def _message_alone(self, message: Message) -> None:
        """A logical message outside of transactions: `message.lsn` is where it ended, see `WalPosition`."""
        if not self._reached.holds(message.lsn):
            if self.beside.publishes(message.prefix):
                self._add(self.beside.alone(message, self.commit_time_us, self._origin))
            self._reached = self._reached.behind(message.lsn)

    def _tell_begin(self) -> None:
        """Tell that the open transaction has begun, once, where that is wanted."""
        lsn, self._untold_begin = self._untold_begin, None
        if lsn is not None and self._begin is not None:
            self._add(self.beside.begin(self._begin.xid, lsn, self._begin.commit_time_us))

    def _tell_end(self, commit: Commit) -> None:
        order = self._order
        # A transaction of messages alone is not sent to who does not ask for them.
        if order is not None and self._begin is not None and (self._ordinal or self.beside.messages is not None):
            self._tell_begin()
            self._add(self.beside.end(self._begin.xid, commit.end_lsn, commit.commit_time_us, order))

    def _add(self, record: Record) -> None:
        """A record that is of no table."""
        topic = self.beside.new_topic(record)
        if topic is not None:
            self.topics.append(topic)
        self.records.append(record)
        self.size += len(record[1] or b"") + len(record[2] or b"")

    def add_heartbeat(self) -> None:
        """Tell that the connector is alive."""
        self._add(self.beside.heartbeat())


def begin_table(table: PlannedTable, transaction: Transaction) -> None:
    """Make the encoder's constant parts for this transaction."""
    table.encoder.begin(replace(transaction, timestamp_ms=0) if table.append else transaction)
    table.begun = transaction
