"""Debezium's records beside those of rows: logical messages, transactions' begin and end, heartbeats. Pure.

None of them has headers, whatever those of rows have. What they say is as of Debezium 3.6:
`LogicalDecodingMessageMonitor`, `TransactionMonitor` with `PostgresTransactionMonitor`, `HeartbeatImpl`.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from cdc.formats.connect_schema import BLOCK, SOURCE, field, struct
from cdc.formats.debezium_json import Order, SourceInfo, origin_members, text
from cdc.formats.handling import Binaries

MESSAGES: Final = "LOGICAL_DECODING_MESSAGE"
"""What stands for the messages of a transaction among its tables: Debezium's `LogicalDecodingMessageId`."""

_JAVA_NAME: Final = "io.debezium.connector.postgresql.LogicalDecodingMessageMonitor$LogicalDecodingMessageId"


class KeyValue(NamedTuple):
    """A record's key and value."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log a message is, as `source` says it.

    Args:
        lsn: as the server sends it.
        commit_time_us: of its transaction, µs since the Unix epoch; of a message outside of transactions,
            of the transaction that was read last.
        last_commit_lsn: where the transaction or the message outside of transactions before it ended;
            None or 0 for the first. A message outside of transactions is its own.
        xid: of its transaction; None outside of transactions.
        origin: as of a `Transaction`; outside of transactions, of the transaction that was read last.
    """

    lsn: int
    commit_time_us: int
    last_commit_lsn: int | None
    xid: int | None = None
    origin: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """Writes the records of one connector.

    Args:
        source: what `source` says.
        binary: how messages' contents are written.
        with_schemas: whether keys and values are `{"schema": …, "payload": …}`.
        quirks: whether messages are counted in transactions as Debezium does it: each as a table of its own
            that is called as Java calls objects that have no name (`LogicalDecodingMessageId` has no `toString`).
    """

    source: SourceInfo
    binary: Binaries = "bytes"
    with_schemas: bool = False
    quirks: bool = False

    def message(self, prefix: str, content: bytes, place: Place, now_ms: int, order: Order | None) -> KeyValue:
        """A logical message.

        Args:
            now_ms: when it is processed, ms since the Unix epoch.
            order: of its transaction's events, where they say which they are; it is counted.
        """
        block = b"null"
        if order is not None and place.xid is not None:
            total, within = order.count(MESSAGES)
            block = b'{"id":"%d:%d","total_order":%d,"data_collection_order":%d}' % (
                place.xid,
                place.lsn,
                total,
                1 if self.quirks else within,
            )
        source, us = self.source, place.commit_time_us
        last = b'\\"%d\\"' % place.last_commit_lsn if place.last_commit_lsn else b"null"
        value = (
            b'{"op":"m","ts_ms":%d,"source":{"version":%b,"connector":%b,"name":%b,"ts_ms":%d,"snapshot":"false","db":%b,'
            b'"sequence":"[%b,\\"%d\\"]","ts_us":%d,"ts_ns":%d,"schema":"","table":"","txId":%b,"lsn":%d,"xmin":null,'
            b'%b},"transaction":%b,"message":{"prefix":%b,"content":%b}}'
        ) % (
            now_ms,
            text(source.version),
            text(source.connector),
            text(source.name),
            us // 1000,
            text(source.database),
            last,
            place.lsn,
            us,
            us * 1000,
            b"null" if place.xid is None else b"%d" % place.xid,
            place.lsn,
            origin_members(place.origin),
            block,
            text(prefix),
            text(self._content(content)),
        )
        value_schema = _MESSAGE_VALUE if self.binary == "bytes" else _MESSAGE_TEXT_VALUE
        return self._record(_MESSAGE_KEY, b'{"prefix":%b}' % text(prefix), value_schema, value)

    def begin(self, xid: int, lsn: int, commit_time_us: int) -> KeyValue:
        """A transaction begins; `lsn` is its first change's."""
        told = b'{"status":"BEGIN","id":"%d:%d","event_count":null,"data_collections":null,"ts_ms":%d}'
        return self._transaction(xid, lsn, told % (xid, lsn, commit_time_us // 1000))

    def end(self, xid: int, lsn: int, commit_time_us: int, order: Order) -> KeyValue:
        """A transaction ended; `lsn` is the end of its commit."""
        collections = b",".join(
            b'{"data_collection":%b,"event_count":%d}' % (text(name), count) for name, count in self._collections(order)
        )
        told = b'{"status":"END","id":"%d:%d","event_count":%d,"data_collections":[%b],"ts_ms":%d}'
        return self._transaction(xid, lsn, told % (xid, lsn, order.total, collections, commit_time_us // 1000))

    def heartbeat(self, now_ms: int) -> KeyValue:
        """The connector is alive."""
        key = b'{"serverName":%b}' % text(self.source.name)
        return self._record(_HEARTBEAT_KEY, key, _HEARTBEAT_VALUE, b'{"ts_ms":%d}' % now_ms)

    def _content(self, content: bytes) -> str:
        match self.binary:
            case "hex":
                return content.hex()
            case "base64-url-safe":
                return urlsafe_b64encode(content).decode()
            case _:
                return b64encode(content).decode()

    def _transaction(self, xid: int, lsn: int, value: bytes) -> KeyValue:
        return self._record(_TRANSACTION_KEY, b'{"id":"%d:%d"}' % (xid, lsn), _TRANSACTION_VALUE, value)

    def _collections(self, order: Order) -> list[tuple[str, int]]:
        told: list[tuple[str, int]] = []
        for name, count in order.by_collection.items():
            if name == MESSAGES and self.quirks:
                told += [(f"{_JAVA_NAME}@{number:x}", 1) for number in range(1, count + 1)]
            else:
                told.append((name, count))
        return told

    def _record(self, key_schema: bytes, key: bytes, value_schema: bytes, value: bytes) -> KeyValue:
        if not self.with_schemas:
            return KeyValue(key, value)
        both = b'{"schema":%b,"payload":%b}'
        return KeyValue(both % (key_schema, key), both % (value_schema, value))


def _message_value(content: str) -> bytes:
    message = struct(
        "io.debezium.connector.postgresql.Message",
        field("string", "prefix", optional=True),
        field(content, "content", optional=True),
        field="message",
    )
    op, ts_ms = field("string", "op"), field("int64", "ts_ms", optional=True)
    name = "io.debezium.connector.postgresql.MessageValue"
    return orjson.dumps(struct(name, op, ts_ms, SOURCE, BLOCK, message))


_MESSAGE_KEY: Final = orjson.dumps(
    struct("io.debezium.connector.postgresql.MessageKey", field("string", "prefix", optional=True))
)
_MESSAGE_VALUE: Final = _message_value("bytes")
_MESSAGE_TEXT_VALUE: Final = _message_value("string")
_TRANSACTION_KEY: Final = orjson.dumps(
    struct("io.debezium.connector.common.TransactionMetadataKey", field("string", "id"))
)
_TRANSACTION_VALUE: Final = orjson.dumps(
    struct(
        "io.debezium.connector.common.TransactionMetadataValue",
        field("string", "status"),
        field("string", "id"),
        field("int64", "event_count", optional=True),
        {
            "type": "array",
            "items": struct(
                "event.collection",
                field("string", "data_collection"),
                field("int64", "event_count"),
                optional=True,
            ),
            "optional": True,
            "field": "data_collections",
        },
        field("int64", "ts_ms"),
    )
)
_HEARTBEAT_KEY: Final = orjson.dumps(
    struct("io.debezium.connector.common.ServerNameKey", field("string", "serverName"))
)
_HEARTBEAT_VALUE: Final = orjson.dumps(struct("io.debezium.connector.common.Heartbeat", field("int64", "ts_ms")))
