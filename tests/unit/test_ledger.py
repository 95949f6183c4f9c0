"""What is remembered of tables: whose rows are published, which ranges of the others, and how."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres_wal.catalog import Publication
from connectors.postgres_wal.ledger import HeapRead, Interval, Ledger, missing

PUBLICATION = Publication(16, {("public", "a"): "1/2/x", ("public", "b"): "3/4/y"}, True, frozenset())


def ledger(*, done: str = "", pending: str = "") -> Ledger:
    made = Ledger()
    made.expect({*done.split(), *pending.split()})
    made.finish(done.split(), PUBLICATION)
    return made


def test_it_is_read_as_it_was_written() -> None:
    first = ledger(done="public.a", pending="public.b")
    first.range_done("public.b", 7, 70, (0, 10), PUBLICATION)
    again = Ledger(first.as_json())
    assert again.done() == {"public.a"}
    assert again.published("public.a") == "1/2/x"
    assert again.published("public.b") is None
    assert again.heaps("public.b") == {7: HeapRead(70, ((0, 10),))}
    assert not again.dirty


def test_a_table_that_was_not_captured_for_a_while_is_read_again() -> None:
    kept = ledger(done="public.a public.b")
    kept.keep({"public.a"})
    kept.keep({"public.a", "public.b"})
    assert kept.done() == {"public.a"}
    assert kept.unfinished() == set()


def test_what_was_stored_does_not_change_with_it() -> None:
    changed = ledger(pending="public.a")
    stored = changed.as_json()
    changed.range_done("public.a", 7, 70, (0, 10), PUBLICATION)
    changed.finish({"public.a"}, PUBLICATION)
    assert Ledger(stored).done() == set()
    assert Ledger(stored).heaps("public.a") == {}


def test_ranges_count_only_where_the_stream_publishes_every_change() -> None:
    read = ledger(pending="public.a")
    read.range_done("public.a", 7, 70, (0, 10), PUBLICATION)
    again = Ledger(read.as_json(), with_ranges=False)
    again.range_done("public.a", 7, 70, (10, 20), PUBLICATION)
    assert again.heaps("public.a") == {}
    # Nor do those that were read before, when all is published again.
    assert again.dirty
    assert Ledger(again.as_json()).heaps("public.a") == {}


def test_every_change_makes_it_dirty_until_it_is_given_away() -> None:
    changed = ledger(done="public.a")
    changed.as_json()
    for change in (
        lambda: changed.repeat({"public.a"}),
        lambda: changed.range_done("public.a", 7, 70, (0, None), PUBLICATION),
        lambda: changed.start_over("public.a"),
        lambda: changed.pause(True),
        changed.cancel,
        lambda: changed.heal({"public.a"}),
    ):
        assert not changed.dirty
        change()
        assert changed.dirty
        changed.as_json()


def test_a_heap_that_was_rewritten_begins_with_no_ranges() -> None:
    read = ledger(pending="public.a")
    read.range_done("public.a", 7, 70, (0, 10), PUBLICATION)
    read.range_done("public.a", 7, 71, (20, 30), PUBLICATION)
    assert read.heaps("public.a") == {7: HeapRead(71, ((20, 30),))}


def test_a_table_wanted_anew_is_still_known_to_have_been_published() -> None:
    wanted = ledger(done="public.a")
    wanted.repeat({"public.a"})
    assert wanted.unfinished() == {"public.a"} == wanted.again()
    assert wanted.published("public.a") == "1/2/x"
    wanted.cancel()
    assert wanted.done() == {"public.a"}


def test_ranges_are_worth_nothing_when_the_table_was_out_of_the_publication() -> None:
    read = ledger(pending="public.a")
    read.range_done("public.a", 7, 70, (0, 10), PUBLICATION)
    read.trust(PUBLICATION)
    assert read.heaps("public.a")
    read.trust(Publication(16, {("public", "a"): "1/99/x"}, True, frozenset()))
    assert not read.heaps("public.a")


def test_a_table_is_untouched_until_its_snapshot_begins() -> None:
    read = ledger(pending="public.a public.b")
    read.begin({"public.a"})
    assert Ledger(read.as_json()).untouched() == {"public.b"}


def test_a_table_was_made_since_only_if_its_oid_is_above_those_that_there_were() -> None:
    told = ledger()
    assert told.came({"public.a": 99}) == set()
    told.cover(["public.*"], 20)
    assert told.dirty
    told.miss("public.missed")
    again = Ledger(told.as_json())
    assert again.came({"public.a": 21, "public.b": 20, "other.a": 22, "public.missed": 23}) == {"public.a"}
    again.cover(["public.*"], 20)
    assert not again.dirty


def test_a_heal_ends_with_its_last_table() -> None:
    healed = ledger(done="public.a public.b")
    healed.heal({"public.a", "public.b"})
    healed.finish({"public.a"}, PUBLICATION)
    assert Ledger(healed.as_json()).healing
    healed.finish({"public.b"}, PUBLICATION)
    assert not healed.healing


def test_a_heal_of_a_table_that_is_dropped_meanwhile_ends_too() -> None:
    healed = ledger(done="public.a public.b")
    healed.heal({"public.a", "public.b"})
    healed.finish({"public.a"}, PUBLICATION)
    healed.keep({"public.a"})
    assert not healed.healing


def test_a_description_is_new_once() -> None:
    told = ledger(pending="public.a")
    assert told.describe("public.a", b"one")
    assert not told.describe("public.a", b"one")
    told.finish({"public.a"}, PUBLICATION)
    again = Ledger(told.as_json())
    assert not again.describe("public.a", b"one")
    assert again.describe("public.a", b"two")
    assert again.dirty


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], [(0, None)]),
        ([(0, None)], []),
        ([(10, 20)], [(0, 10), (20, None)]),
        ([(20, None), (0, 10)], [(10, 20)]),
        ([(0, 10), (10, 20)], [(20, None)]),
    ],
)
def test_what_is_left_to_read(done: list[Interval], left: list[Interval]) -> None:
    assert missing(done) == left


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda one: (one[0], one[0] + one[1]))))
def test_a_block_is_left_exactly_if_it_was_not_read(done: list[Interval]) -> None:
    def covers(intervals: list[Interval], block: int) -> bool:
        return any(first <= block and (end is None or block < end) for first, end in intervals)

    left = missing(done)
    assert all(covers(left, block) != covers(done, block) for block in range(50))
