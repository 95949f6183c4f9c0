"""Where Debezium stopped, found among the messages of its slot."""

from __future__ import annotations

import struct

import pytest

from connectors.postgres_wal.handover import Found, find
from tests.unit.row_messages import insert

Messages = list[tuple[int, bytes]]

ROW = insert([b"1"])


def transaction(*changes: tuple[int, bytes], end: int) -> Messages:
    begin = b"B" + struct.pack("!QqI", end - 8, 0, 1)
    commit = b"C" + struct.pack("!BQQq", 0, end - 8, end, 0)
    return [(changes[0][0], begin), *changes, (end, commit)]


def message(transactional: bool, prefix: bytes = b"p", content: bytes = b"x") -> bytes:
    return b"M" + struct.pack("!BQ", transactional, 0) + prefix + b"\0" + struct.pack("!I", len(content)) + content


@pytest.mark.parametrize(
    ("read_to", "lsn", "expected"),
    [
        (100, None, Found(192, 0, 0, 0)),
        (100, 150, Found(192, 1, 0, 1)),
        (100, 160, Found(192, 2, 0, 1)),
        (100, 165, Found(192, 2, 1, 1)),
        (100, 180, Found(192, 3, 0, 1)),
        (100, 999, Found(192, 0, 0, 0)),
        (50, 150, Found(92, 0, 0, 0)),
        (200, 250, Found(292, 0, 0, 3)),
        (300, 350, Found(392, 0, 1, 1)),
        (300, 360, Found(392, 0, 1, 2)),
        (300, 370, Found(392, 1, 1, 1)),
        (400, None, None),
    ],
)
def test_the_first_transaction_behind_the_offset_is_published_up_to_the_last_change(
    read_to: int, lsn: int | None, expected: Found | None
) -> None:
    told, apart = message(True, b"cdc.ddl"), message(True, b"cdc.ddl", b"")
    messages = [
        *transaction((80, ROW), end=100),
        (110, message(False)),
        *transaction((150, ROW), (160, ROW), (165, message(True)), (180, ROW), end=200),
        *transaction((250, ROW), (250, ROW), (250, ROW), end=300),
        *transaction((350, told), (360, apart), (360, ROW), (370, message(True)), end=400),
    ]
    assert find(messages, read_to, lsn) == expected
