"""Messages and transactions' begin and end beside rows: in order, exactly once, wherever a kill came."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Sequence
from itertools import pairwise

import orjson
import pytest

from cdc.event import Record
from cdc.formats.debezium_json import SourceInfo
from cdc.formats.debezium_records import RecordFormat
from cdc.position import Position
from connectors.postgres_wal.beside import Beside
from connectors.postgres_wal.options import MessageSettings
from connectors.postgres_wal.position import WalPosition, from_stored
from connectors.postgres_wal.transactions import Transactions
from tests.unit.row_messages import insert
from tests.unit.test_transactions import ORIGIN, START, begin, commit, feed, transactions, xlog

ALL = MessageSettings()
MESSAGES, ENDS = "shop.message", "shop.transaction"


def beside(*, metadata: bool = False, messages: MessageSettings | None = ALL) -> Beside:
    return Beside(
        RecordFormat(SourceInfo("shop", "db", "0")),
        messages=messages,
        transactions=metadata,
        message_topic=MESSAGES,
        transaction_topic=ENDS,
        heartbeat_topic="beats.shop",
    )


def message(content: str, lsn: int, *, transactional: bool = True, prefix: str = "p") -> bytes:
    body = struct.pack("!BQ", transactional, lsn) + prefix.encode() + b"\0" + struct.pack("!I", len(content))
    return xlog(b"M" + body + content.encode(), lsn)


def row(number: int, lsn: int = 0) -> bytes:
    return xlog(insert([str(number), "n"]), lsn)


STREAM = [
    message("alone", 150, transactional=False),
    begin(200),
    message("m1", 160),
    row(1, 160),
    row(2, 168),
    message("m2", 170),
    message("m3", 180),
    row(3, 180),
    commit(200, 210),
    message("between", 240, transactional=False),
    begin(300),
    message("m4", 250),
    commit(300, 310),
]
"""Positions in it are as a server's: records begin at multiples of eight, and a message's LSN is its end."""

EVERYTHING = ["alone", "m1", 1, 2, "m2", "m3", 3, "between", "m4"]


def told(records: Sequence[Record]) -> list[object]:
    """Contents of messages and ids of rows, in order; a transaction's begin and end by their status and counts."""
    found: list[object] = []
    for topic, _, value, *_ in records:
        document = orjson.loads(value or b"null")
        if topic == MESSAGES:
            found.append(b64decode(document["message"]["content"]).decode())
        elif topic == ENDS:
            found.append((document["status"], document["event_count"]))
        elif topic == "shop.public.t":
            found.append(document["after"]["id"])
    return found


def run(stream: Transactions, messages: Sequence[bytes]) -> list[Record]:
    for one in messages:
        stream.feed(one)
    return list(stream.records)


def again(position: WalPosition) -> WalPosition:
    """As it comes back from Kafka."""
    stored = position.stored()
    return from_stored(Position(stored.order, orjson.loads(orjson.dumps(dict(stored.state)))))


def test_messages_are_published_in_order_with_rows() -> None:
    assert told(run(transactions(beside=beside()), STREAM)) == EVERYTHING


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
@pytest.mark.parametrize("metadata", [False, True])
def test_a_kill_anywhere_repeats_nothing_and_loses_nothing(cut: int, metadata: bool) -> None:
    whole = run(transactions(beside=beside(metadata=metadata)), STREAM)
    first = transactions(beside=beside(metadata=metadata))
    before = run(first, STREAM[:cut])
    second = transactions(again(first.position), beside=beside(metadata=metadata))
    # The server sends everything again whose end is not confirmed.
    after = run(second, STREAM)
    assert told([*before, *after]) == told(whole)
    assert second.position == transactions_position(metadata)


def transactions_position(metadata: bool) -> WalPosition:
    stream = transactions(beside=beside(metadata=metadata))
    run(stream, STREAM)
    return stream.position


def test_the_position_behind_a_message_orders_it_between_its_neighbours() -> None:
    stream = transactions(beside=beside())
    orders = []
    for one in STREAM:
        stream.feed(one)
        orders.append(stream.position.stored().order)
    assert all(one <= other for one, other in pairwise(orders))
    assert stream.position == WalPosition(ORIGIN, 300, 0, whole=True, end_lsn=310, last_commit=310)


def test_what_the_server_may_forget_moves_with_messages_outside_of_transactions() -> None:
    stream = transactions(beside=beside())
    stream.feed(STREAM[0])
    assert (stream.position.end_lsn, stream.position.last_commit) == (150, 150)


def test_messages_switched_on_within_a_transaction_do_not_shift_its_rows() -> None:
    without = [one for one in STREAM if one[25:26] != b"M"]
    first = transactions(beside=beside(messages=None))
    before = run(first, without[:3])  # rows 1 and 2
    second = transactions(again(first.position), beside=beside())
    assert told([*before, *run(second, STREAM)]) == [1, 2, "m2", "m3", 3, "between", "m4"]


@pytest.mark.parametrize(
    ("chosen", "published"),
    [
        (MessageSettings(include=["p", "/Q.*/"]), ["p", "q2"]),
        (MessageSettings(exclude=["q*"]), ["p", "x"]),
        (MessageSettings(), ["p", "q2", "x"]),
    ],
)
def test_prefixes_choose_messages_and_move_the_position_all_the_same(
    chosen: MessageSettings, published: list[str]
) -> None:
    stream = transactions(beside=beside(messages=chosen))
    for number, prefix in enumerate(["p", "q2", "x"]):
        stream.feed(message("", 104 + 8 * number, transactional=False, prefix=prefix))
    keys = [orjson.loads(key or b"")["prefix"] for topic, key, *_ in stream.records if topic == MESSAGES]
    assert keys == published
    assert stream.position.end_lsn == 120


def test_begin_and_end_are_around_what_a_transaction_publishes() -> None:
    stream = transactions(beside=beside(metadata=True))
    feed(stream, 200, range(1, 3))
    records = [record for record in stream.records if record[0] in (ENDS, "shop.public.t")]
    assert told(records) == [("BEGIN", None), 1, 2, ("END", 2)]
    assert orjson.loads(records[-1][2] or b"") == {
        "status": "END",
        "id": "200:210",
        "event_count": 2,
        "data_collections": [{"data_collection": "public.t", "event_count": 2}],
        "ts_ms": 946_684_800_000,
    }


def test_a_transaction_of_which_nothing_is_captured_has_begin_and_end_too() -> None:
    """`PostgresStreamingChangeEventSource` dispatches both for every transaction that the server sends."""
    stream = transactions(beside=beside(metadata=True, messages=MessageSettings(include=["x"])))
    assert told(run(stream, [begin(200), message("", 160), commit(200, 210)])) == [("BEGIN", None), ("END", 0)]


def test_events_of_a_transaction_are_counted_on_behind_a_kill() -> None:
    first = transactions(beside=beside(metadata=True))
    run(first, STREAM[:5])
    assert first.position.counted == {"LOGICAL_DECODING_MESSAGE": 1, "public.t": 2}
    second = transactions(again(first.position), beside=beside(metadata=True))
    records = run(second, STREAM[:9])
    blocks = [orjson.loads(value or b"").get("transaction") for topic, _, value, *_ in records if topic != ENDS]
    assert [(one["total_order"], one["data_collection_order"]) for one in blocks if one] == [(4, 2), (5, 3), (6, 3)]


def test_events_say_which_replication_origin_they_came_from() -> None:
    stream = transactions(beside=beside())
    origin = xlog(b"O" + struct.pack("!Q", 77) + b"elsewhere\0")
    outside = message("alone", 240, transactional=False)
    run(stream, [begin(200), origin, row(1), message("m", 160), commit(200, 210), outside, begin(300), row(2)])
    sources = [orjson.loads(value or b"")["source"] for topic, _, value, *_ in stream.records if "schemas" not in topic]
    told = [(source["origin"], source["origin_lsn"]) for source in sources]
    assert told == [("elsewhere", 77)] * 3 + [(None, None)]


def test_new_topics_are_given_to_the_publisher_once() -> None:
    stream = transactions(beside=beside(metadata=True))
    run(stream, STREAM)
    stream.add_heartbeat()
    named = {topic.topic: topic.rows for topic in stream.topics}
    assert named == {MESSAGES: False, ENDS: False, "shop.public.t": True, "beats.shop": False}
    assert len(stream.topics) == len(named)


def test_a_message_is_held_as_a_transaction_is() -> None:
    stream = transactions(beside=beside())
    stream.hold(148)
    assert stream.feed(STREAM[0])
    assert stream.held
    assert stream.position == START
    stream.resume()
    assert told(stream.records) == ["alone"]


def test_a_position_of_an_earlier_version_is_read() -> None:
    state = dict(WalPosition(ORIGIN, 300, 2, whole=True, end_lsn=310, last_commit=310).stored().state)
    del state["committed"]
    state["last_commit"] = "0/C8"
    assert from_stored(Position("", state)).last_commit == 300
    assert from_stored(Position("", {**state, "whole": False})).last_commit == 200
