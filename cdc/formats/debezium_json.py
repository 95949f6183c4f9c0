"""Debezium's JSON envelope (3.6, schemas off) as constant parts around a row's own members. Pure.

    {"before": …, "after": …, "source": {…}, "transaction": null, "op": "c",
     "ts_ms": …, "ts_us": …, "ts_ns": …, "cdc": {"pos": …}}

The last member is this bridge's own; `unchanged` and `reselected` name columns in it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Final

import orjson

NEW_KEY: Final = "__debezium.newkey"
"""Header of the delete and tombstone that end a changed key: the row's new key."""

OLD_KEY: Final = "__debezium.oldkey"
"""Header of the create that begins a changed key: the row's old key."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What `source` says of the connector.

    Args:
        name: the bridge's, which topics begin with.
        database: the source's database.
        version: of this software.
        connector: Debezium's name of the kind of source.
    """

    name: str
    database: str
    version: str
    connector: str = "postgresql"


@dataclass(slots=True)
class Order:
    """How many events a transaction has so far: Debezium's `TransactionContext`.

    What is not published does not count, a changed key counts twice (delete and create), tombstones not at all.

    Args:
        total: all of them.
        by_collection: by table ("schema.table"), in the order of their first events.
    """

    total: int = 0
    by_collection: dict[str, int] = field(default_factory=dict)

    def count(self, collection: str) -> tuple[int, int]:
        """One more event; returns its `total_order` and its `data_collection_order`."""
        self.total = total = self.total + 1
        self.by_collection[collection] = within = self.by_collection.get(collection, 0) + 1
        return total, within

    def before(self, collection: str, events: int) -> Order:
        """As it was before the last `events` events, all of this table: they are to be made again."""
        return Order(self.total - events, {collection: self.by_collection.get(collection, 0) - events})


@dataclass(frozen=True, slots=True)
class Transaction:
    """What the events of one transaction (or of a snapshot) have in common.

    Args:
        commit_lsn: where its commit record begins; of a snapshot, the LSN as of which it reads.
        commit_time_us: µs since the Unix epoch.
        xid: the transaction's number.
        last_commit_lsn: of the transaction before it; None or 0 for the first.
        snapshot: `false`, or Debezium's word for the place in the snapshot: `true`, `first`,
            `first_in_data_collection`, `last_in_data_collection`, `last`.
        now_ns: when it is processed, ns since the Unix epoch.
        timestamp_ms: of the records; 0 lets the broker choose.
        generation: how often a heal made positions begin anew.
        order: counts its events, where they say which they are (`transaction_metadata`): each one's `transaction`
            is `{"id": "XID:LSN of the event", "total_order": …, "data_collection_order": …}`; None: null.
        origin: the replication origin that it came from, and the LSN of its commit there; None: it is of this server.
    """

    commit_lsn: int
    commit_time_us: int
    xid: int
    last_commit_lsn: int | None
    snapshot: str
    now_ns: int
    timestamp_ms: int
    generation: int = 0
    order: Order | None = None
    origin: tuple[str, int] | None = None


def origin_members(origin: tuple[str, int] | None) -> bytes:
    """`"origin":…,"origin_lsn":…` for a replication origin and the commit's LSN there; None: it is of this server.

    Debezium's `SourceInfo`, from pgoutput's Origin.
    """
    if origin is None:
        return b'"origin":null,"origin_lsn":null'
    return b'"origin":%b,"origin_lsn":%d' % (text(origin[0]), origin[1])


@dataclass(frozen=True, slots=True)
class Envelope:
    """The constant parts of a transaction's values for one table, in order.

    `before_lsn` LSN `between_lsns` LSN `before_transaction` transaction or null `behind_transaction` op
    `before_ordinal` ordinal `}}`; without the member `cdc` the ordinal is left out and `before_ordinal` ends
    the value.
    """

    before_lsn: bytes
    between_lsns: bytes
    before_transaction: bytes
    behind_transaction: bytes
    before_ordinal: bytes


def text(value: str) -> bytes:
    """A JSON string, with characters beyond U+FFFF as Debezium's serialiser writes them: as Java's two."""
    return orjson.dumps(value) if value.isascii() else _BEYOND.sub(_pair, orjson.dumps(value).decode()).encode()


_BEYOND: Final = re.compile("[\U00010000-\U0010ffff]")


def _pair(found: re.Match[str]) -> str:
    high, low = struct.unpack(">2H", found[0].encode("utf-16-be"))
    return f"\\u{high:04X}\\u{low:04X}"


def position_prefix(commit_lsn: int, generation: int) -> str:
    """What `cdc.pos` begins with; the ordinal follows.

    Args:
        commit_lsn: of the transaction, or the LSN as of which a snapshot was read.
        generation: 0, and one more with each heal. `g` sorts behind all digits of an LSN, so that
            what comes with a heal is newer, as text, than all that came before, whatever the LSNs.
    """
    lsn = f"{commit_lsn >> 32:08X}/{commit_lsn & 0xFFFFFFFF:08X}/"
    return f"g{generation:02d}.{lsn}" if generation else lsn


def generation_of(position: str) -> int:
    """The generation that a position is of. Raises: ValueError: not a position."""
    return int(position[1:].partition(".")[0]) if position.startswith("g") else 0


def envelope(source: SourceInfo, schema: str, table: str, transaction: Transaction, with_cdc: bool) -> Envelope:
    """The parts of an envelope behind `before` and `after`."""
    commit_us = transaction.commit_time_us
    last = b'\\"%d\\"' % transaction.last_commit_lsn if transaction.last_commit_lsn else b"null"
    now_ns = transaction.now_ns
    position = position_prefix(transaction.commit_lsn, transaction.generation).encode()
    return Envelope(
        before_lsn=b',"source":{"version":%b,"connector":%b,"name":%b,"ts_ms":%d,"snapshot":%b,"db":%b,"sequence":"[%b,\\"'
        % (
            text(source.version),
            text(source.connector),
            text(source.name),
            commit_us // 1000,
            text(transaction.snapshot),
            text(source.database),
            last,
        ),
        between_lsns=b'\\"]","ts_us":%d,"ts_ns":%d,"schema":%b,"table":%b,"txId":%d,"lsn":'
        % (commit_us, commit_us * 1000, text(schema), text(table), transaction.xid),
        before_transaction=b',"xmin":null,' + origin_members(transaction.origin) + b'},"transaction":',
        behind_transaction=b',"op":"',
        before_ordinal=b'","ts_ms":%d,"ts_us":%d,"ts_ns":%d' % (now_ns // 1_000_000, now_ns // 1000, now_ns)
        + (b',"cdc":{"pos":"' + position if with_cdc else b"}"),
    )


def polled_tail(
    source: SourceInfo, schema: str, table: str, read_us: int, now_ns: int, position: str, op: str, snapshot: str
) -> bytes:
    """Everything behind `after` in the value of a row that was polled: nothing of a log, as none was read.

    Args:
        source, schema, table: where it is from.
        read_us: when it was read, by the source's clock, µs since the Unix epoch.
        now_ns: when it is processed, ns since the Unix epoch.
        position: `cdc.pos`.
        op: c, u, d or r.
        snapshot: as for `Transaction`.
    """
    return (
        b',"source":{"version":%b,"connector":%b,"name":%b,"ts_ms":%d,"snapshot":%b,"db":%b,"sequence":null,'
        b'"ts_us":%d,"ts_ns":%d,"schema":%b,"table":%b,"txId":null,"lsn":null,"xmin":null,"origin":null,'
        b'"origin_lsn":null},"transaction":null,"op":%b,"ts_ms":%d,"ts_us":%d,"ts_ns":%d,"cdc":{"pos":%b}}'
    ) % (
        text(source.version),
        text(source.connector),
        text(source.name),
        read_us // 1000,
        text(snapshot),
        text(source.database),
        read_us,
        read_us * 1000,
        text(schema),
        text(table),
        text(op),
        now_ns // 1_000_000,
        now_ns // 1000,
        now_ns,
        text(position),
    )
