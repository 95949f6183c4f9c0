"""Events that Debezium had published behind the offset that it stored are not published again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.ahead import ENOUGH_KEYS, Ahead, Tails, point_of
from cdc.event import BY_KEY, EVERY_PARTITION, Record
from cdc.partitions import partition_of
from cdc.position import Position, load
from cdc.stored import Home, Stored


def event(
    xid: int | None,
    lsn: int,
    before: int | None,
    key: int | None = 1,
    op: str = "c",
    name: str = "shop",
    topic: str = "shop.t",
) -> Record:
    sequence = orjson.dumps([None if before is None else str(before), str(lsn)]).decode()
    source = {"name": name, "txId": xid, "lsn": lsn, "sequence": sequence}
    value = orjson.dumps({"op": op, "after": {"id": key}, "source": source})
    return (topic, None if key is None else orjson.dumps({"id": key}), value, BY_KEY, 0, None)


def tombstone(of: Record) -> Record:
    return (of[0], of[1], None, *of[3:])


def other(of: Record) -> Record:
    """The same with Connect's schema around its key, as no key of ours here is."""
    schema = {"type": "struct", "fields": [{"type": "int32", "field": "id"}]}
    return (of[0], orjson.dumps({"schema": schema, "payload": orjson.loads(of[1] or b"null")}), *of[2:])


PADDING = [event(-1, 0, -1, key, topic="shop.padding") for key in range(ENOUGH_KEYS)]
"""Of another table, before all else: its keys show how Debezium's lie."""


def ahead(written: list[Record], partitions: int = 1, padding: list[Record] = PADDING) -> Ahead:
    """What is known of topics to which these records were written."""
    tails = Tails("shop", dict.fromkeys(("shop.t", "shop.message", "shop.padding"), partitions))
    for topic, key, value, *_ in [*(padding if partitions > 1 else []), *written]:
        tails.add(topic, partition_of(key or b"", partitions), key, value)
    return tails.ahead()


def rest(known: Ahead, stream: list[Record], partitions: int = 1) -> list[Record]:
    return known.rest(stream, lambda topic: partitions)


A = event(7, 100, None)
B = event(7, 110, None)
C = event(5, 90, 120)  # written first, committed later
D = event(9, 130, 125)
STREAM = [A, B, C, D]


@pytest.mark.parametrize("count", range(5))
def test_what_is_there_is_left_out_and_the_rest_is_not(count: int) -> None:
    known = ahead(STREAM[:count])
    assert rest(known, STREAM) == STREAM[count:]
    assert known.left_out == count


def test_what_was_published_before_the_offset_means_nothing_for_what_follows() -> None:
    known = ahead([A, B])
    assert rest(known, [C, D]) == [C, D]
    assert not known, "it is passed, and no event is looked at any more"


def test_each_partition_is_as_far_as_it_is() -> None:
    stream = [event(xid, 10 * xid, 10 * xid - 5, key) for xid in range(1, 40) for key in (1, 2, 3)]
    written = [one for number, one in enumerate(stream) if number < 20 or (one[1] == b'{"id":2}' and number < 60)]
    assert rest(ahead(written, 8), stream, 8) == [one for one in stream if one not in written]


def test_of_rows_that_share_an_lsn_as_many_are_left_out_as_are_there() -> None:
    copied = [event(7, 100, 50, key) for key in (1, 2, 3, 4)]
    assert rest(ahead([A, *copied[:3]]), copied) == copied[3:]


def test_what_a_producer_sent_twice_counts_once() -> None:
    copied = [event(7, 100, 50, key) for key in (1, 2, 3)]
    assert rest(ahead([copied[0], copied[0]]), copied) == copied[1:]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_tombstone_stands_where_its_delete_does(count: int) -> None:
    delete = event(7, 100, 50, op="d")
    stream = [delete, tombstone(delete), event(7, 100, 50, key=2)]
    assert rest(ahead(stream[:count]), [*stream, D]) == [*stream[count:], D]


def test_a_truncate_goes_to_the_partitions_that_do_not_have_it() -> None:
    truncate = (*event(7, 100, 50, None, op="t")[:3], EVERY_PARTITION, 0, None)
    tails = Tails("shop", {"shop.t": 3})
    tails.add("shop.t", 1, truncate[1], truncate[2])
    assert [one[3] for one in rest(tails.ahead(), [truncate], 3)] == [0, 2]


def test_rows_of_snapshots_and_others_events_are_let_through() -> None:
    read, foreign, flat = (
        event(9, 1, 1, op="r"),
        event(9, 1, 1, name="other"),
        ("shop.t", None, b'{"id":1}', 0, 0, None),
    )
    assert rest(ahead([D]), [read, foreign, flat, A]) == [read, foreign, flat]
    assert not ahead([read, foreign, flat])


def test_an_event_without_key_is_published_where_its_partition_is_not_known() -> None:
    keyless = event(7, 100, 50, None)
    assert rest(ahead([keyless], 1), [keyless], 1) == []
    assert rest(ahead([keyless], 1), [keyless], 3) == [keyless]


def test_with_schemas_it_is_the_same() -> None:
    wrapped = (*A[:2], orjson.dumps({"schema": {"type": "struct"}, "payload": orjson.loads(A[2] or b"")}), *A[3:])
    assert rest(ahead([wrapped]), [wrapped, C]) == [C]


MANY = [event(7, 100 + key, 50, key) for key in range(40)]


def test_an_event_whose_key_has_other_bytes_than_debeziums_is_published() -> None:
    """By ours it would lie where Debezium came further than where it put it."""
    assert rest(ahead([other(one) for one in MANY[:20]], 3), MANY, 3) == MANY
    assert rest(ahead([other(one) for one in MANY[:20]]), MANY) == MANY[20:], "on one partition keys say nothing"


@pytest.mark.parametrize("mine", [{"id": "1"}, {"no": 1}, {"id": 1, "no": 1}])
def test_a_key_of_other_members_has_other_bytes(mine: dict[str, Any]) -> None:
    record = (MANY[1][0], orjson.dumps(mine), *MANY[1][2:])
    assert rest(ahead(MANY, 3), [record], 3) == [record]


def test_where_another_partitioner_chose_all_is_published() -> None:
    tails = Tails("shop", {"shop.t": 3})
    for number, (topic, key, value, *_) in enumerate(MANY):
        tails.add(topic, number % 3, key, value)
    assert not tails.by_key
    assert rest(tails.ahead(), MANY, 3) == MANY


@pytest.mark.parametrize(("count", "certain"), [(ENOUGH_KEYS - 1, False), (ENOUGH_KEYS, True)])
def test_of_few_keys_it_is_not_certain_where_they_lie(count: int, certain: bool) -> None:
    written = MANY[:count]
    assert rest(ahead(written, 2, []), written, 2) == ([] if certain else written)
    assert rest(ahead(written), written) == []


def test_keys_lie_elsewhere_when_a_topic_has_got_more_partitions() -> None:
    assert rest(ahead(MANY, 2), MANY, 3) == MANY


@pytest.mark.parametrize("told", [False, True])
def test_a_message_outside_of_transactions_makes_no_rows_come_again(told: bool) -> None:
    """Published or not; it may come again itself."""
    message = event(None, 115, 115, op="m", topic="shop.message")
    written = [A, B, message, D] if told else [A, B, D]
    assert rest(ahead(written), [A, B, message, D]) == [message]
    assert rest(ahead([message]), [message, D]) == [message, D]


Shape = list[tuple[int, int, bool]]
"""Of transactions: rows, how many share an LSN, whether a message outside of them is written meanwhile."""


def stream_of(shape: Shape) -> list[Record]:
    stream: list[Record] = []
    end = 0
    for xid, (rows, sharing, message) in enumerate(shape, 1):
        if message:
            stream.append(event(None, end + 15, end + 15, op="m", topic="shop.message"))
        stream += [event(xid, end + 10 + row // sharing, end, len(stream) + row) for row in range(rows)]
        end += 20
    return stream


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.booleans()), max_size=12), st.booleans(), st.data())
def test_whoever_goes_on_after_a_crash_knows_the_same(shape: Shape, alike: bool, data: st.DataObject) -> None:
    """However far each partition is, whether the first batch is given up, and wherever the stream is cut into batches
    with a crash behind each."""
    stream = stream_of(shape)
    at: dict[tuple[str, int], list[Record]] = {}
    for one in stream:
        theirs = one if alike else other(one)
        at.setdefault((theirs[0], partition_of(theirs[1] or b"", 3)), []).append(theirs)
    published = [one for records in at.values() for one in records[: data.draw(st.integers(0, len(records)))]]
    stored = Stored("w", Home("id", 1), ahead=ahead(published, 3))
    documents: dict[bytes, dict[str, Any]] = {}

    def store(records: Iterable[tuple[bytes, bytes | None]]) -> Stored:
        for key, value in records:
            if value is None:
                documents.pop(key, None)
            else:
                documents[key] = load(value)
        return Stored.read("w", Home("id", 1), documents)

    stored = store(stored.ahead_records())
    if data.draw(st.booleans()) and stored.ahead is not None:
        rest(stored.ahead, stream[: data.draw(st.integers(0, len(stream)))], 3)
        stored = Stored.read("w", Home("id", 1), documents)
    left = list(stream)
    while left:
        size = data.draw(st.integers(1, 5))
        batch, left = left[:size], left[size:]
        published += batch if stored.ahead is None else rest(stored.ahead, batch, 3)
        stored = store(stored.records(Position("")))
    values = [one[2] for one in published]
    assert {one[2] for one in stream} <= set(values), "nothing is lost"
    if alike:
        rows = [one for one in published if point_of(one[2], "shop") is not None]
        for (topic, number), records in at.items():
            if topic == "shop.t":
                assert [one for one in rows if partition_of(one[1] or b"", 3) == number] == records
