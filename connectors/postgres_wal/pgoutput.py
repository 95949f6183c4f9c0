"""Messages of streaming replication and of pgoutput, protocol version 1, and their parsers. Pure.

Row messages (`I`, `U`, `D`) are not parsed here: they go as bytes to the table's `RowEncoder`.
Every length is checked against the message; what cannot be understood raises `ProtocolError`.
Layouts: PostgreSQL manual, "Streaming Replication Protocol" and "Logical Replication Message
Formats". LSNs are plain ints, times are µs since the Unix epoch.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from cdc.errors import ProtocolError
from cdc.formats.debezium_json import position_prefix
from cdc.formats.postgres.relation import Relation, RelationColumn

XLOG_DATA: Final = ord("w")
KEEPALIVE: Final = ord("k")
INSERT: Final = ord("I")
UPDATE: Final = ord("U")
DELETE: Final = ord("D")
RELATION: Final = ord("R")

PAYLOAD_OFFSET: Final = 25
"""Where the pgoutput message begins in a CopyData message that holds XLogData."""

POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 in µs since the Unix epoch: PostgreSQL counts from there."""


@dataclass(frozen=True, slots=True)
class XLogData:
    """The header of a CopyData message with WAL data; the data begins at `PAYLOAD_OFFSET`."""

    start_lsn: int
    end_lsn: int
    sent_us: int


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The server's sign of life; with `reply` it wants a status update at once."""

    end_lsn: int
    sent_us: int
    reply: bool


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction's first message; `final_lsn` is where its commit record begins."""

    final_lsn: int
    commit_time_us: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction's last message; `commit_lsn` equals the `final_lsn` of its `Begin`."""

    commit_lsn: int
    end_lsn: int
    commit_time_us: int


@dataclass(frozen=True, slots=True)
class Type:
    """The name of a type that is not built in; sent before a Relation that uses it."""

    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The transaction came to the server by replication from elsewhere."""

    commit_lsn: int
    name: str


@dataclass(frozen=True, slots=True)
class Truncate:
    relation_oids: tuple[int, ...]
    cascade: bool
    restart_identity: bool


@dataclass(frozen=True, slots=True)
class Message:
    """What `pg_logical_emit_message` wrote."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Parsed: TypeAlias = Begin | Commit | Relation | Type | Origin | Truncate | Message


class _Reader:
    """Reads the fields of one message in turn, never past its end."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.data = data
        self.offset = offset

    def fields(self, layout: struct.Struct) -> tuple[int, ...]:
        if self.offset < 0 or self.offset + layout.size > len(self.data):
            raise ProtocolError("a replication message ends too early")
        values = layout.unpack_from(self.data, self.offset)
        self.offset += layout.size
        return values

    def text(self) -> str:
        end = self.data.find(0, self.offset)
        if end < 0:
            raise ProtocolError("a replication message ends inside a text")
        raw = self.data[self.offset : end]
        self.offset = end + 1
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise ProtocolError("a name in a replication message is not UTF-8") from None

    def content(self, length: int) -> bytes:
        if length < 0 or self.offset + length > len(self.data):
            raise ProtocolError("a replication message ends too early")
        self.offset += length
        return self.data[self.offset - length : self.offset]

    def end(self) -> None:
        if self.offset != len(self.data):
            raise ProtocolError("a replication message is longer than its layout")


_BYTE = struct.Struct("!B")
_INT16 = struct.Struct("!H")
_INT32 = struct.Struct("!I")
_LSN = struct.Struct("!Q")
_BEGIN = struct.Struct("!QqI")
_COMMIT = struct.Struct("!BQQq")
_RELATION_TAIL = struct.Struct("!BH")
_COLUMN = struct.Struct("!Ii")
_MESSAGE = struct.Struct("!BQ")
_TRUNCATE = struct.Struct("!IB")
_XLOG_DATA = struct.Struct("!BQQq")
_KEEPALIVE = struct.Struct("!BQqB")
_STATUS = struct.Struct("!cQQQqB")


def parse_header(data: bytes) -> XLogData | Keepalive:
    """Read the head of one CopyData message from the server.

    Raises:
        ProtocolError: neither XLogData nor a keepalive, or cut short.
    """
    if data[:1] == b"w":
        _, start, end, sent = _Reader(data, 0).fields(_XLOG_DATA)
        return XLogData(start, end, sent + POSTGRES_EPOCH_US)
    if data[:1] == b"k":
        _, end, sent, reply = _Reader(data, 0).fields(_KEEPALIVE)
        return Keepalive(end, sent + POSTGRES_EPOCH_US, bool(reply))
    raise ProtocolError("a replication message of unknown kind")


def parse(data: bytes, offset: int) -> Parsed:
    """Parse any pgoutput message but the row messages.

    Args:
        data: a whole CopyData payload.
        offset: where the pgoutput message begins in it.

    Raises:
        ProtocolError: unknown kind, cut short, or longer than its layout.
    """
    reader = _Reader(data, offset)
    (kind,) = reader.fields(_BYTE)
    parser = _PARSERS.get(kind)
    if parser is None:
        raise ProtocolError(f"a pgoutput message of unknown kind {kind:#04x}")
    message = parser(reader)
    reader.end()
    return message


def _begin(reader: _Reader) -> Begin:
    final_lsn, time, xid = reader.fields(_BEGIN)
    return Begin(final_lsn, time + POSTGRES_EPOCH_US, xid)


def _commit(reader: _Reader) -> Commit:
    _, commit_lsn, end_lsn, time = reader.fields(_COMMIT)
    return Commit(commit_lsn, end_lsn, time + POSTGRES_EPOCH_US)


def _relation(reader: _Reader) -> Relation:
    (oid,) = reader.fields(_INT32)
    schema = reader.text() or "pg_catalog"
    name = reader.text()
    identity, count = reader.fields(_RELATION_TAIL)
    if chr(identity) not in "dnfi":
        raise ProtocolError(f"table {schema}.{name}: unknown replica identity {identity:#04x}")
    return Relation(oid, schema, name, chr(identity), tuple(_column(reader) for _ in range(count)))


def _column(reader: _Reader) -> RelationColumn:
    (flags,) = reader.fields(_BYTE)
    name = reader.text()
    type_oid, modifier = reader.fields(_COLUMN)
    return RelationColumn(name, type_oid, modifier, bool(flags & 1))


def _type(reader: _Reader) -> Type:
    (oid,) = reader.fields(_INT32)
    return Type(oid, reader.text() or "pg_catalog", reader.text())


def _origin(reader: _Reader) -> Origin:
    (lsn,) = reader.fields(_LSN)
    return Origin(lsn, reader.text())


def _truncate(reader: _Reader) -> Truncate:
    count, options = reader.fields(_TRUNCATE)
    if count * 4 > len(reader.data) - reader.offset:
        raise ProtocolError("a replication message ends too early")
    oids = reader.fields(struct.Struct(f"!{count}I"))
    return Truncate(oids, bool(options & 1), bool(options & 2))


def _message(reader: _Reader) -> Message:
    flags, lsn = reader.fields(_MESSAGE)
    prefix = reader.text()
    (length,) = reader.fields(_INT32)
    return Message(bool(flags & 1), lsn, prefix, reader.content(length))


_PARSERS: Final[dict[int, Callable[[_Reader], Parsed]]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("O"): _origin,
    ord("T"): _truncate,
    ord("M"): _message,
}


def standby_status(written: int, flushed: int, applied: int, now_us: int, reply: bool = False) -> bytes:
    """The status update that tells the server how far we are.

    Args:
        written, flushed, applied: LSNs; the server may forget WAL before `flushed`.
        now_us: our clock, µs since the Unix epoch.
        reply: ask for a keepalive at once.
    """
    return _STATUS.pack(b"r", written, flushed, applied, now_us - POSTGRES_EPOCH_US, reply)


def lsn_text(lsn: int) -> str:
    """An LSN as PostgreSQL writes it: `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """The LSN that PostgreSQL writes so.

    Raises:
        ProtocolError: not an LSN.
    """
    found = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text)
    if not found:
        raise ProtocolError("not an LSN (expected a text such as 16/B374D848)")
    return int(found[1], 16) << 32 | int(found[2], 16)


def position_text(commit_lsn: int, ordinal: int, generation: int = 0) -> str:
    """`cdc.pos`: orders events of one source when compared as text.

    Args:
        commit_lsn: where the commit record of the event's transaction begins; for snapshot rows
            the LSN as of which they were read.
        ordinal: the row message's number in its transaction, from 1; 0 in a snapshot.
        generation: how often a gap made positions begin anew.
    """
    return f"{position_prefix(commit_lsn, generation)}{ordinal:010d}"
