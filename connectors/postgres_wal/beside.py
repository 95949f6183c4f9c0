"""What is published beside rows: logical messages, transactions' begin and end, heartbeats. Pure.

Which of them is settings' to say; how they are written, `cdc.formats.debezium_records`'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time_ns

from cdc import names
from cdc.event import BY_KEY, EventTopic, Record
from cdc.formats.debezium_json import Order, SourceInfo, Transaction
from cdc.formats.debezium_records import KeyValue, Place, RecordFormat

from . import ddl
from .options import MessageSettings
from .pgoutput import Message
from .settings import PostgresWalSettings

FIRST_PARTITION = 0
"""Debezium puts heartbeats there (`HeartbeatImpl`), and all else by key."""


@dataclass(slots=True)
class Beside:
    """The records of one connector's stream that are of no table.

    Args:
        format: writes them.
        messages: which logical messages are published; None: none, and none is asked for.
        transactions: whether transactions' begin and end are.
        message_topic, transaction_topic, heartbeat_topic: where they go.
        commit_time: whether records have the commit's time instead of the broker's.
    """

    format: RecordFormat
    messages: MessageSettings | None = None
    transactions: bool = False
    message_topic: str = ""
    transaction_topic: str = ""
    heartbeat_topic: str = ""
    commit_time: bool = False
    _announced: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, section: PostgresWalSettings, bridge: str, source: SourceInfo) -> Beside:
        """As a connector's settings say; `bridge` is its bridge's name."""
        schemas = section.style(bridge).with_schemas
        return cls(
            RecordFormat(source, section.binary, schemas, section.quirks),
            messages=section.messages,
            transactions=section.transaction_metadata,
            message_topic=names.message_topic(bridge),
            transaction_topic=names.transaction_topic(bridge),
            heartbeat_topic=section.heartbeat.topic(bridge) if section.heartbeat is not None else "",
            # As for tables' events: on a topic that expires by time, old commits would be gone at once.
            commit_time=section.timestamp == "commit",
        )

    def order(self) -> Order | None:
        """A counter for the events of a new transaction, where they are counted."""
        return Order() if self.transactions else None

    def publishes(self, prefix: str) -> bool:
        """Whether messages of this prefix are wanted."""
        return self.messages is not None and prefix != ddl.PREFIX and self.messages.wants(prefix)

    def within(self, message: Message, lsn: int, transaction: Transaction) -> Record:
        """The event of a message of a transaction; `lsn` is where it is sent from."""
        of = transaction
        place = Place(lsn, of.commit_time_us, of.last_commit_lsn, of.xid, of.origin)
        return self._message(message, place, transaction.order)

    def alone(self, message: Message, commit_time_us: int, origin: tuple[str, int] | None) -> Record:
        """The event of a message outside of transactions.

        Args:
            commit_time_us, origin: of the transaction that was read last: Debezium knows no better either, and its
                `PostgresOffsetContext` keeps them until the next one begins; 0 for none.
        """
        end = message.lsn
        return self._message(message, Place(end, commit_time_us or time_ns() // 1000, end, origin=origin), None)

    def begin(self, xid: int, lsn: int, commit_time_us: int) -> Record:
        """The record of a transaction's begin; `lsn` is its first change's."""
        return self._record(self.transaction_topic, self.format.begin(xid, lsn, commit_time_us), commit_time_us)

    def end(self, xid: int, lsn: int, commit_time_us: int, order: Order) -> Record:
        """The record of a transaction's end; `lsn` is the end of its commit."""
        return self._record(self.transaction_topic, self.format.end(xid, lsn, commit_time_us, order), commit_time_us)

    def heartbeat(self) -> Record:
        """A sign of life, now."""
        key, value = self.format.heartbeat(time_ns() // 1_000_000)
        return self.heartbeat_topic, key, value, FIRST_PARTITION, 0, None

    def new_topic(self, record: Record) -> EventTopic | None:
        """The topic of a record, where it is the first on it in this run: the publisher must know it before."""
        topic = record[0]
        if topic in self._announced:
            return None
        self._announced.add(topic)
        return EventTopic(topic, topic, (), rows=False)

    def _message(self, message: Message, place: Place, order: Order | None) -> Record:
        now_ms = time_ns() // 1_000_000
        written = self.format.message(message.prefix, message.content, place, now_ms, order)
        return self._record(self.message_topic, written, place.commit_time_us)

    def _record(self, topic: str, written: KeyValue, commit_time_us: int) -> Record:
        timestamp = min(commit_time_us // 1000, time_ns() // 1_000_000) if self.commit_time else 0
        return topic, written.key, written.value, BY_KEY, timestamp, None
