"""What readers of a topic have, as the heal counts it: on disk, bounded, and exactly what the topic says."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.errors import SpoolFull
from cdc.fold import UNKNOWN, Fold, Spool, digest_of, read
from cdc.partitions import partition_of
from cdc.settings import SpoolSettings


class Put(NamedTuple):
    """A record of a topic."""

    at: bytes | None
    what: bytes | None
    on: int = 0

    def key(self) -> bytes | None:
        return self.at

    def value(self) -> bytes | None:
        return self.what

    def partition(self) -> int | None:
        return self.on


def event(op: str, after: dict[str, Any] | None, **ours: Any) -> bytes:
    return json.dumps({"before": None, "after": after, "op": op, "cdc": {"pos": "0", **ours}}).encode()


def insert(number: int) -> Put:
    return Put(b"%040d" % (number * 7919 % 1_000_003), event("c", {"id": number}))


def chunks(numbers: range) -> Iterator[list[Put]]:
    """Inserts of many keys, in no order of theirs."""
    for start in range(0, len(numbers), 1000):
        yield [insert(number) for number in numbers[start : start + 1000]]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(SpoolSettings(folder=str(tmp_path)))
    yield made
    made.close()


@pytest.fixture
def fold(spool: Spool) -> Fold:
    return spool.fold()


def left(fold: Fold) -> set[bytes]:
    return set(fold.some(1_000_000))


def test_the_last_event_of_a_key_counts(fold: Fold) -> None:
    first = [Put(b"a", event("c", {"id": 1})), Put(b"b", event("c", {"id": 2}))]
    fold.load([first, [Put(b"a", event("u", {"id": 3}))]])
    assert fold.take(b"a") == digest_of(event("r", {"id": 3}))
    assert fold.take(b"b") == digest_of(event("r", {"id": 2}))


@pytest.mark.parametrize("end", [event("d", None), None], ids=["delete", "tombstone"])
def test_a_deleted_key_is_not_there(fold: Fold, end: bytes | None) -> None:
    fold.load([[Put(b"a", event("c", {"id": 1})), Put(b"a", end)]])
    assert fold.take(b"a") is None
    assert len(fold) == 0


def test_what_was_taken_is_gone_from_it(fold: Fold) -> None:
    fold.load([[Put(b"a", event("c", {"id": 1})), Put(b"b", event("c", {"id": 2}))]])
    fold.take(b"a")
    assert fold.take(b"a") is None
    assert left(fold) == {b"b"}


def test_a_row_with_unchanged_columns_is_unknown(fold: Fold) -> None:
    fold.load([[Put(b"a", event("u", {"id": 1}, unchanged=["body"]))]])
    assert fold.take(b"a") == UNKNOWN


def test_a_record_that_is_no_event_is_unknown(fold: Fold) -> None:
    fold.load([[Put(b"a", b"not json"), Put(b"b", b"[]"), Put(b"c", b'{"op":"c"}')]])
    assert [fold.take(key) for key in (b"a", b"b", b"c")] == [UNKNOWN] * 3


def test_a_truncate_ends_what_was_on_its_partition(fold: Fold) -> None:
    rows = [Put(b"a", event("c", {"id": 1}), 0), Put(b"b", event("c", {"id": 2}), 1)]
    fold.load([rows, [Put(None, event("t", None), 0)]])
    assert left(fold) == {b"b"}


def test_equal_rows_are_equal_however_they_came() -> None:
    row = {"id": 1, "note": "ä\u2028", "amount": 1.5, "none": None}
    assert digest_of(event("r", row)) == digest_of(event("u", row, reselected=["note"]))
    assert digest_of(event("r", row)) != digest_of(event("r", {**row, "amount": 2.5}))
    assert read(event("r", row))[0] == "r"


def test_a_key_on_another_partition_than_its_own_is_a_stray(fold: Fold) -> None:
    home = partition_of(b"a", 4)
    elsewhere = (home + 1) % 4
    fold.load([[Put(b"a", event("c", {"id": 1}), elsewhere)]], partitions=4)
    assert fold.strays(10) == [(b"a", elsewhere)]
    assert fold.take(b"a") == UNKNOWN  # published again, where it belongs
    fold.found(b"a", elsewhere)
    assert fold.strays(10) == []


def test_a_stray_that_came_home_keeps_what_it_has_there(fold: Fold) -> None:
    home = partition_of(b"a", 4)
    there, here = Put(b"a", event("c", {"id": 1}), (home + 1) % 4), Put(b"a", event("u", {"id": 2}), home)
    fold.load([[there, here]], partitions=4)
    assert fold.take(b"a") == digest_of(event("r", {"id": 2}))
    assert len(fold.strays(10)) == 1


def test_a_stray_that_was_deleted_where_it_was_is_none(fold: Fold) -> None:
    elsewhere = (partition_of(b"a", 4) + 1) % 4
    fold.load([[Put(b"a", event("c", {"id": 1}), elsewhere), Put(b"a", event("d", None), elsewhere)]], partitions=4)
    assert fold.strays(10) == []
    assert fold.take(b"a") is None


keys = st.sampled_from([b"a", b"b", b"c", b"d"])
updates = st.builds(lambda number: event("u", {"n": number}), st.integers(0, 3))
values = st.one_of(st.none(), updates, st.just(event("d", None)))


@settings(deadline=None)
@given(st.lists(st.tuples(keys, values)))
def test_it_is_what_a_reader_would_have(records: list[tuple[bytes, bytes | None]]) -> None:
    spool = Spool(SpoolSettings())
    fold = spool.fold()
    fold.load([[Put(key, value) for key, value in records]])
    expected: dict[bytes, bytes] = {}
    for key, value in records:
        expected.pop(key, None)
        digest = digest_of(value) if value is not None else None
        if digest is not None:
            expected[key] = digest
    assert left(fold) == expected.keys()
    assert {key: fold.take(key) for key in expected} == expected
    spool.close()


def test_several_topics_share_the_file_and_give_room_back(spool: Spool) -> None:
    for _ in range(3):
        fold = spool.fold()
        fold.load([[Put(b"%d" % n, event("c", {"id": n})) for n in range(1000)]])
        assert len(fold) == 1000
        fold.drop()


def test_a_quota_that_is_used_up_is_told_with_what_to_do(tmp_path: Path) -> None:
    spool = Spool(SpoolSettings(folder=str(tmp_path), quota=262_144))
    fold = spool.fold()
    with pytest.raises(SpoolFull, match="quota of 262144 bytes") as raised:
        fold.load(chunks(range(100_000)))
    assert "spool.quota" in (raised.value.hint or "")
    spool.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpoolFull, match="absent"):
        Spool(SpoolSettings(folder=str(tmp_path / "absent")))


def test_nothing_is_left_in_the_folder_even_by_a_kill(tmp_path: Path) -> None:
    spool = Spool(SpoolSettings(folder=str(tmp_path)))
    fold = spool.fold()
    fold.load(chunks(range(100_000)))
    assert list(tmp_path.iterdir()) == []
    assert fold.take(insert(99_999).at or b"") is not None
    spool.close()


@pytest.mark.long
def test_memory_stays_as_it_is_however_many_keys_there_are(spool: Spool) -> None:
    fold = spool.fold()

    def load(numbers: range) -> None:
        fold.load(chunks(numbers))

    load(range(200_000))  # more than the cache
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    load(range(200_000, 400_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024
    assert len(fold) == 400_000


def test_a_row_has_one_digest_with_and_without_its_schema() -> None:
    value = b'{"op":"c","after":{"id":1}}'
    assert digest_of(b'{"schema":{"type":"struct"},"payload":%b}' % value) == digest_of(value) != UNKNOWN


def test_a_key_is_one_however_it_is_spelled(fold: Fold) -> None:
    plain, old, new = (
        b'{"id":1}',
        b'{"schema":{"type":"int32"},"payload":{"id":1}}',
        b'{"schema":{"type":"int64"},"payload":{"id":1}}',
    )
    fold.load([[Put(plain, event("c", {"id": 1})), Put(old, event("u", {"id": 2})), Put(b"b", event("c", {"id": 3}))]])
    assert left(fold) == {old, b"b"}  # as it was spelled last: a delete goes to the events that are there
    assert fold.take(new) == digest_of(event("r", {"id": 2}))
    assert left(fold) == {b"b"}
