"""Replication messages: what they parse to, and that no bytes make the parsers do worse than refuse."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.errors import ProtocolError
from connectors.postgres_wal.pgoutput import (
    POSTGRES_EPOCH_US,
    Begin,
    Commit,
    Keepalive,
    Message,
    Origin,
    Relation,
    RelationColumn,
    Truncate,
    Type,
    XLogData,
    lsn_text,
    parse,
    parse_header,
    parse_lsn,
    position_text,
    standby_status,
)

LSN = 0x16_B374D848

MESSAGES = [
    (b"B" + struct.pack("!QqI", LSN, 5, 771), Begin(LSN, POSTGRES_EPOCH_US + 5, 771)),
    (b"C" + struct.pack("!BQQq", 0, LSN, LSN + 48, 5), Commit(LSN, LSN + 48, POSTGRES_EPOCH_US + 5)),
    (
        b"R" + struct.pack("!I", 16400) + b"shop\0orders\0d" + struct.pack("!H", 2)
        + b"\x01id\0" + struct.pack("!Ii", 20, -1) + b"\x00price\0" + struct.pack("!Ii", 1700, 786438),
        Relation(
            16400,
            "shop",
            "orders",
            "d",
            (RelationColumn("id", 20, -1, True), RelationColumn("price", 1700, 786438, False)),
        ),
    ),
    (b"R" + struct.pack("!I", 1) + b"\0pg_a\0n" + struct.pack("!H", 0), Relation(1, "pg_catalog", "pg_a", "n", ())),
    (b"Y" + struct.pack("!I", 17000) + b"shop\0mood\0", Type(17000, "shop", "mood")),
    (b"O" + struct.pack("!Q", LSN) + b"elsewhere\0", Origin(LSN, "elsewhere")),
    (b"T" + struct.pack("!IBII", 2, 3, 16400, 16401), Truncate((16400, 16401), True, True)),
    (b"T" + struct.pack("!IB", 0, 0), Truncate((), False, False)),
    (b"M" + struct.pack("!BQ", 1, LSN) + b"p\0" + struct.pack("!I", 3) + b"a\0b", Message(True, LSN, "p", b"a\0b")),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), MESSAGES)
def test_a_message_is_parsed_wherever_it_begins(data: bytes, message: object) -> None:
    assert parse(data, 0) == message
    assert parse(b"w" + bytes(24) + data, 25) == message


@pytest.mark.parametrize(("data", "message"), MESSAGES)
def test_a_message_cut_short_or_too_long_is_refused(data: bytes, message: object) -> None:
    for length in range(len(data)):
        with pytest.raises(ProtocolError):
            parse(data[:length], 0)
    with pytest.raises(ProtocolError):
        parse(data + b"\0", 0)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(-5, 210))
def test_no_bytes_do_worse_than_being_refused(data: bytes, offset: int) -> None:
    with contextlib.suppress(ProtocolError):
        parse(data, offset)
    with contextlib.suppress(ProtocolError):
        parse_header(data)


@settings(deadline=None)
@given(st.sampled_from([data for data, _ in MESSAGES]), st.data())
def test_a_corrupted_message_does_no_worse_than_being_refused(data: bytes, drawn: st.DataObject) -> None:
    corrupted = bytearray(data)
    for place in drawn.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
        corrupted[place] = drawn.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        parse(bytes(corrupted), 0)


def test_a_relation_of_an_unknown_replica_identity_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"s\.t"):
        parse(b"R" + struct.pack("!I", 1) + b"s\0t\0x" + struct.pack("!H", 0), 0)


def test_headers_of_the_stream() -> None:
    data = b"w" + struct.pack("!QQq", LSN, LSN + 1, 7) + b"B..."
    assert parse_header(data) == XLogData(LSN, LSN + 1, POSTGRES_EPOCH_US + 7)
    assert parse_header(b"k" + struct.pack("!QqB", LSN, 7, 1)) == Keepalive(LSN, POSTGRES_EPOCH_US + 7, True)
    for wrong in (b"", b"w", b"k" + bytes(16), b"x" + bytes(30)):
        with pytest.raises(ProtocolError):
            parse_header(wrong)


def test_a_status_update_counts_from_the_year_2000() -> None:
    status = standby_status(3, 2, 1, POSTGRES_EPOCH_US + 9, reply=True)
    assert status == b"r" + struct.pack("!QQQqB", 3, 2, 1, 9, 1)


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_an_lsn_s_text_is_read_back(lsn: int) -> None:
    assert parse_lsn(lsn_text(lsn)) == lsn


def test_an_lsn_is_written_as_postgres_does() -> None:
    assert lsn_text(LSN) == "16/B374D848"
    assert lsn_text(1) == "0/1"
    for wrong in ("", "16", "16/", "g/1", "16/B374D848/1", "123456789/1"):
        with pytest.raises(ProtocolError):
            parse_lsn(wrong)


Places = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 9_999_999_999))


@settings(deadline=None)
@given(Places, Places)
def test_positions_order_as_text_as_they_do_as_numbers(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (position_text(*one) < position_text(*other)) == (one < other)


def test_a_position_s_text_has_a_fixed_form() -> None:
    assert position_text(LSN, 12) == "00000016/B374D848/0000000012"
