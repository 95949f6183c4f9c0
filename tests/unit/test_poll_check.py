"""The judge of polled topics is itself judged: nothing that may go wrong on one escapes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest

from cdc.prove.observed import Event
from tests.polling.check import Truth, check
from tests.polling.record import Record, Written

AT = datetime(2026, 1, 2, 3, 4, 5, 600000, UTC)

Events = list[Event]


def row(key: int, n: int, note: str | None = "x") -> dict[str, Any]:
    return {"id": key, "n": n, "note": note, "updated_at": "2026-01-02T03:04:05.600000Z"}


def event(op: str, key: int, after: dict[str, Any] | None, poll: int) -> Event:
    """One of a poll, which began at that second."""
    value = {"op": op, "before": None, "after": after, "cdc": {"pos": f"{poll:04d}"}, "ts_ms": poll * 1000}
    return Event("t", key % 3, 0, {"id": key}, value, {})


def tombstone(key: int) -> Event:
    return Event("t", key % 3, 0, {"id": key}, None, {})


TRUTH = Truth(
    rows={1: {"id": 1, "n": 12, "note": "x", "updated_at": AT}, 4: {"id": 4, "n": 41, "note": None, "updated_at": AT}},
    lives={1: (0, inf), 2: (0.5, 4.5), 3: (1.5, 2.5), 4: (4.5, inf), 5: (1.5, 4.5)},
    deleted={2, 3, 5},
    never="never",
)
"""Keys 1 to 4 came on the topic, in polls 1 to 5; 5 was there at the begin of three of them, which are not enough."""


def right() -> Events:
    return [
        event("r", 1, row(1, 10), 1),
        event("r", 2, row(2, 20), 1),
        event("u", 1, row(1, 11), 2),
        event("c", 3, row(3, 30), 2),
        event("d", 3, None, 3),
        tombstone(3),
        event("c", 4, row(4, 40), 3),
        event("d", 4, None, 4),
        tombstone(4),
        event("d", 2, None, 4),
        tombstone(2),
        event("u", 1, row(1, 12), 5),
        event("c", 4, row(4, 41, None), 5),
    ]


def test_a_topic_that_is_right_has_no_fault() -> None:
    verdict = check(right(), TRUTH)
    assert verdict.faults == {}
    assert (verdict.events, verdict.deletes, verdict.rows, verdict.seen, verdict.lost) == (10, 3, 2, 4, 0)
    assert (verdict.passes, verdict.passed) == (5, 1)


def without(number: int) -> Callable[[Events], Events]:
    return lambda events: events[:number] + events[number + 1 :]


def with_value(number: int, **changed: Any) -> Callable[[Events], Events]:
    """Other columns in the row of an event."""

    def spoil(events: Events) -> Events:
        value = events[number].value
        assert value is not None
        after = {column: one for column, one in {**value["after"], **changed}.items() if one is not ...}
        events[number] = replace(events[number], value={**value, "after": after})
        return events

    return spoil


def put_in(number: int, *more: Event) -> Callable[[Events], Events]:
    return lambda events: [*events[:number], *more, *events[number:]]


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        pytest.param("lost", lambda events: [one for one in events if one.key != {"id": 4}], id="a key without events"),
        pytest.param("lost", without(12), id="a row that came back is deleted for readers"),
        pytest.param("stale", without(11), id="the last state did not come"),
        pytest.param("stale", with_value(11, note="y"), id="another value"),
        pytest.param("stale", with_value(11, n="12"), id="a value of another type"),
        pytest.param("stale", with_value(12, note=""), id="empty instead of NULL"),
        pytest.param("stale", with_value(11, note=...), id="a column is missing"),
        pytest.param("stale", with_value(11, more=1), id="a column too many"),
        pytest.param("stale", with_value(11, updated_at="2026-01-02T03:04:05.600001Z"), id="a microsecond later"),
        pytest.param("stale", with_value(11, updated_at=None), id="no time"),
        pytest.param(
            "unseen", lambda events: [one for one in events if one.key != {"id": 2}], id="an insert that never came"
        ),
        pytest.param("undeleted", lambda events: events[:9] + events[11:], id="a delete that did not come"),
        pytest.param("uncommitted", put_in(2, event("c", 6, row(6, 1), 1)), id="a row that was rolled back"),
        pytest.param("uncommitted", with_value(2, note="never"), id="a value that was rolled back"),
        pytest.param("twice", put_in(3, event("u", 1, row(1, 11), 2)), id="a state again"),
        pytest.param("twice", put_in(6, event("d", 3, None, 3), tombstone(3)), id="a delete again"),
        pytest.param("twice", put_in(0, event("d", 3, None, 1), tombstone(3)), id="a delete of what never was"),
        pytest.param("misnamed", put_in(2, event("c", 1, row(1, 99), 1)), id="a key that is there comes anew"),
        pytest.param("misnamed", put_in(0, event("u", 3, row(3, 9), 1)), id="a key that is not there changes"),
        pytest.param("misnamed", put_in(2, event("d", 1, row(1, 9), 1)), id="a delete with a row"),
        pytest.param("misnamed", with_value(2, id=7), id="a key that is not its row's"),
        pytest.param("misnamed", put_in(0, Event("t", 0, 0, None, {"op": "c", "ts_ms": 1}, {})), id="no key"),
        pytest.param("back", put_in(2, event("u", 1, row(1, 9), 0)), id="a position before the last one"),
        pytest.param("bare", without(5), id="no tombstone behind a delete"),
        pytest.param("bare", without(8), id="a row instead of a tombstone"),
        pytest.param("bare", put_in(2, tombstone(1)), id="a tombstone without a delete"),
    ],
)
def test_every_mistake_is_found(kind: str, spoil: Callable[[Events], Events]) -> None:
    verdict = check(spoil(right()), TRUTH)
    assert verdict.faults[kind] >= 1, str(verdict)


def test_what_was_there_too_briefly_may_come_or_not() -> None:
    came = [*right(), event("c", 5, row(5, 1), 5), event("d", 5, None, 5), tombstone(5)]
    assert check(came, TRUTH).faults == {}


def test_rows_may_stay_where_deletes_are_not_captured_and_none_may_come() -> None:
    kept = replace(TRUTH, deletes=False)
    rows = [one for one in right() if one.value is not None and one.op != "d"]
    rows[-1] = event("u", 4, row(4, 41, None), 5)
    assert check(rows, kept).faults == {}
    assert check(right(), kept).faults == {"deleted": 3}


def test_a_record_knows_only_what_can_be_seen_from_outside() -> None:
    written = Written([("insert", 1), ("delete", 1), ("insert", 2), ("update", 2), ("update", 3), ("delete", 3)])
    written.effects += [("delete", 4), ("insert", 4)]
    assert written.seen_from_outside() == ({2}, {3})


def test_a_savepoint_takes_back_what_was_written_behind_it() -> None:
    written = Written([("insert", 1)], [10])
    held = written.savepoint()
    written.effects.append(("delete", 1))
    written.logged.append(11)
    written.back_to(held)
    assert (written.effects, written.logged) == ([("insert", 1)], [10])


def test_a_record_tells_what_is_there_what_is_gone_and_for_how_long_it_was() -> None:
    record = Record()
    record.committed(Written([("insert", 1), ("insert", 2), ("insert", 3)], [10]), 0.0, 1.0)
    record.committed(Written([("delete", 2), ("delete", 3)]), 5.0, 6.0)
    record.committed(Written([("insert", 3)]), 7.0, 8.0)
    assert (record.present(), record.deleted(), record.logged, record.changes) == ({1, 3}, {2}, {10}, 6)
    assert record.lives() == {1: (1.0, inf), 2: (1.0, 5.0), 3: (8.0, inf)}
