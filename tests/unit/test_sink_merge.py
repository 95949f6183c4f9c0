"""A batch's rows → the least that has to be written."""

from __future__ import annotations

from typing import Any

from cdc.sink import Event
from sinks.postgres.decode import AFTER_ALL, DELETE, Row, Wholeness
from sinks.postgres.merge import Group, merge
from tests.sink_events import position


def image(key: bytes, lsn: int, *, partial: bool = False, **fields: Any) -> Row:
    pos = position(lsn).encode()
    line = b"\t".join([*(str(field).encode() for field in fields.values()), pos])
    return Row(Event("t", 0, lsn, key, b"", 0), ord("u"), pos, tuple(fields), line, Wholeness(partial))


def gone(key: bytes, lsn: int, *, tombstone: bool = False) -> Row:
    pos = AFTER_ALL if tombstone else position(lsn).encode()
    return Row(Event("t", 0, lsn, key, b"", 0), DELETE, pos, ("id",), b"%b\t%b" % (key, pos))


def written(*rows: Row) -> dict[Group, list[bytes]]:
    return {group: [row.line.rpartition(b"\t")[0] for row in found] for group, found in merge(rows).writes.items()}


def test_the_last_event_of_a_key_is_written() -> None:
    rows = image(b"1", 1, id=1, n=1), image(b"2", 2, id=2, n=2), image(b"1", 3, id=1, n=3)
    assert written(*rows) == {Group(("id", "n"), Wholeness.WHOLE): [b"1\t3", b"2\t2"]}


def test_an_older_event_that_comes_later_does_not_win() -> None:
    assert written(image(b"1", 9, id=1, n=9), image(b"1", 3, id=1, n=3)) == {
        Group(("id", "n"), Wholeness.WHOLE): [b"1\t9"]
    }


def test_an_older_delete_does_not_win() -> None:
    changes = merge([image(b"1", 9, id=1), gone(b"1", 3)])
    assert not changes.deletes
    assert len(changes.writes) == 1


def test_an_older_event_does_not_undo_a_delete() -> None:
    changes = merge([gone(b"1", 9), image(b"1", 3, id=1)])
    assert len(changes.deletes) == 1
    assert not changes.writes


def test_a_delete_ends_what_was_before_it_in_the_batch() -> None:
    changes = merge([image(b"1", 1, id=1), gone(b"1", 2), gone(b"1", 3, tombstone=True)])
    assert [row.pos for row in changes.deletes] == [position(2).encode()]
    assert not changes.writes


def test_a_row_that_was_deleted_and_made_again_is_both() -> None:
    """What the target alone has in the row (a column of the owner's) ends with the delete."""
    changes = merge([gone(b"1", 2), gone(b"1", 3, tombstone=True), image(b"1", 4, id=1)])
    assert len(changes.deletes) == 1
    assert len(changes.writes) == 1


def test_a_tombstone_without_its_delete_deletes() -> None:
    changes = merge([image(b"1", 1, id=1), gone(b"1", 2, tombstone=True)])
    assert [row.pos for row in changes.deletes] == [AFTER_ALL]
    assert not changes.writes


def test_unchanged_columns_come_from_an_earlier_event_of_the_batch() -> None:
    rows = image(b"1", 1, id=1, note="kept", n=1), image(b"1", 2, partial=True, id=1, n=2)
    assert written(*rows) == {Group(("id", "note", "n"), Wholeness.WHOLE): [b"1\tkept\t2"]}


def test_what_no_event_of_the_batch_has_stays_unknown() -> None:
    rows = image(b"1", 1, partial=True, id=1, n=1), image(b"1", 2, partial=True, id=1, m=2)
    assert written(*rows) == {Group(("id", "n", "m"), Wholeness.PARTIAL): [b"1\t1\t2"]}


def test_rows_of_different_shapes_are_written_apart() -> None:
    rows = image(b"1", 1, id=1, n=1), image(b"2", 2, id=2)
    assert written(*rows) == {Group(("id", "n"), Wholeness.WHOLE): [b"1\t1"], Group(("id",), Wholeness.WHOLE): [b"2"]}


def test_a_key_whose_schema_changed_is_the_same_key() -> None:
    before, after = b'{"schema":{"type":"int32"},"payload":{"id":1}}', b'{"schema":{"type":"int64"},"payload":{"id":1}}'
    changes = merge([image(before, 1, id=1, n=1), image(after, 2, id=1, n=2)])
    assert [row.event.offset for rows in changes.writes.values() for row in rows] == [2]
