"""What a sink can no longer read, and as of when it has everything: decided from offsets, ids and ages alone."""

from __future__ import annotations

import pytest

from cdc.sink import Event, EventBatch, Held, TopicFacts
from cdc.sink_gaps import Completeness, Found, gap

P, Q = ("shop.public.orders", 0), ("shop.public.orders", 1)
FIRST, SECOND = TopicFacts("first", 3), TopicFacts("second", 3)
UNKNOWN = TopicFacts("", 0)
KEPT = 100.0


def said(held: Held, found: Found) -> str:
    missing = gap("billing", P, held, found)
    return missing.message if missing else ""


@pytest.mark.parametrize(
    ("held", "found"),
    [
        (Held(None, FIRST, 999), Found(SECOND, 5, 9, KEPT)),  # nothing was applied
        (Held(5, FIRST, 0), Found(FIRST, 5, 5, KEPT)),
        (Held(5, FIRST, 0), Found(FIRST, 0, 9, KEPT)),
        (Held(5, UNKNOWN, 0), Found(SECOND, 0, 9, KEPT)),  # an earlier release did not store it
        (Held(5, FIRST, 0), Found(UNKNOWN._replace(partitions=3), 0, 9, KEPT)),  # a broker without ids
        (Held(9, FIRST, 999), Found(FIRST, 0, 9, KEPT)),  # idle
        (Held(5, FIRST, KEPT), Found(FIRST, 0, 9, KEPT)),
        (Held(5, FIRST, 999), Found(FIRST, 0, 9, None)),  # not compacted
        (Held(0, FIRST, 0), Found(SECOND, 0, 9, KEPT)),  # nothing was on the old one
    ],
)
def test_this_is_no_gap(held: Held, found: Found) -> None:
    assert said(held, found) == ""


@pytest.mark.parametrize(
    ("held", "found", "why"),
    [
        (Held(5, FIRST), Found(SECOND, 0, 9), "was deleted and made anew"),
        (Held(5, FIRST), Found(SECOND, 6, 9), "was deleted and made anew"),
        (Held(5, FIRST), Found(FIRST, 6, 9), "events 5 to 5 expired"),
        (Held(0, FIRST), Found(FIRST, 6, 9), "events 0 to 5 expired"),
        (Held(5, FIRST), Found(FIRST, 0, 4), "lost its last records"),
        (Held(5, FIRST), Found(FIRST._replace(partitions=4), 0, 9), "has 4 partitions and had 3"),
        (Held(5, FIRST, KEPT + 1), Found(FIRST, 0, 9, KEPT), "keeps deletes for 100 s only"),
    ],
)
def test_this_is_one(held: Held, found: Found, why: str) -> None:
    message = said(held, found)
    assert message.startswith("sink billing, shop.public.orders [0]: ")
    assert why in message


def batch(next_offset: int, written: float) -> EventBatch:
    return EventBatch([Event(*P, next_offset - 1, b"k", b"v", int(written * 1000))], {P: next_offset})


def test_who_is_at_the_end_is_complete_as_of_when_the_end_was_asked_for() -> None:
    known = Completeness()
    known.owns({P: Held(5, FIRST, 50.0)}, now=1000.0)
    assert known.ages([P], 1000.0) == {P: 50.0}
    known.heard({P: 5, Q: 9}, asked_at=1002.0)
    assert known.ages([P, Q], 1010.0) == {P: 8.0}


def test_who_has_reached_an_earlier_end_is_complete_as_of_then() -> None:
    known = Completeness()
    known.owns({P: Held(5, FIRST, 50.0)}, now=1000.0)
    known.heard({P: 8}, asked_at=1002.0)
    known.heard({P: 20}, asked_at=1003.0)
    known.reached({P: 7})
    assert known.ages([P], 1010.0) == {P: 60.0}
    known.reached({P: 8})
    assert known.ages([P], 1010.0) == {P: 8.0}
    known.heard({P: 30}, asked_at=1011.0)
    known.reached({P: 29})
    assert known.ages([P], 1012.0) == {P: 10.0}


def test_the_time_of_an_event_counts_and_never_the_future() -> None:
    known = Completeness()
    known.owns({P: Held(5, FIRST, 5000.0)}, now=9000.0)
    known.reaches(batch(6, written=60.0), now=9000.0, wall_clock=100.0)
    assert known.ages([P], 9000.0) == {P: 40.0}
    known.reaches(batch(7, written=10.0), now=9000.0, wall_clock=100.0)
    assert known.ages([P], 9000.0) == {P: 40.0}
    known.reaches(batch(8, written=500.0), now=9001.0, wall_clock=101.0)
    assert known.ages([P], 9002.0) == {P: 1.0}


def test_who_reads_from_the_beginning_misses_nothing_from_before() -> None:
    known = Completeness()
    known.owns({P: Held(None, FIRST, 5000.0)}, now=9000.0)
    assert known.ages([P], 9007.0) == {P: 7.0}
    known.let_go({P})
    assert known.ages([P], 9007.0) == {}
