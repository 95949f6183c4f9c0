"""Events that Debezium had published behind the offset that it stored are not published again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.ahead import Ahead, Tails
from cdc.event import BY_KEY, EVERY_PARTITION, Record
from cdc.partitions import partition_of
from cdc.position import Position, load
from cdc.stored import Home, Stored


def event(
    xid: int,
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


def ahead(written: list[Record], partitions: int = 1) -> Ahead:
    """What is known of topics to which these records were written."""
    tails = Tails("shop")
    for topic, key, value, *_ in written:
        tails.add(topic, partition_of(key or b"", partitions), key, value)
    return Ahead("shop", tails.found())


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
    tails = Tails("shop")
    tails.add("shop.t", 1, truncate[1], truncate[2])
    assert [one[3] for one in rest(Ahead("shop", tails.found()), [truncate], 3)] == [0, 2]


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


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), max_size=12), st.data())
def test_whoever_goes_on_after_a_crash_knows_the_same(shape: list[tuple[int, int]], data: st.DataObject) -> None:
    """However far each partition is, and wherever the stream is cut into batches with a crash behind each."""
    stream: list[Record] = []
    end = 0
    for xid, (rows, sharing) in enumerate(shape, 1):
        stream += [event(xid, end + 10 + row // sharing, end, len(stream) + row) for row in range(rows)]
        end += 20
    keys = {number: [one for one in stream if partition_of(one[1] or b"", 3) == number] for number in range(3)}
    published = [one for records in keys.values() for one in records[: data.draw(st.integers(0, len(records)))]]
    stored = Stored("w", Home("id", 1), ahead=ahead(published, 3))
    documents: dict[bytes, dict[str, Any]] = {}
    left = list(stream)
    while left:
        size = data.draw(st.integers(1, 5))
        batch, left = left[:size], left[size:]
        published += batch if stored.ahead is None else rest(stored.ahead, batch, 3)
        for key, value in stored.records(Position("")):
            if value is None:
                documents.pop(key, None)
            else:
                documents[key] = load(value)
        stored = Stored.read("w", Home("id", 1), documents)
    for number, records in keys.items():
        assert [one for one in published if partition_of(one[1] or b"", 3) == number] == records
