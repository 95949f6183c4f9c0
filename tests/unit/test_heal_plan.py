"""What `cdc heal` says before it does anything."""

from __future__ import annotations

import pytest

from cdc.commands.heal import lines
from cdc.event import EventTopic
from cdc.heal import Plan, TablePlan, plan_table, progress


@pytest.mark.parametrize(
    ("topic", "expires", "how", "said"),
    [
        (EventTopic("s.public.t", "public.t", ("id",)), False, "difference", None),
        (EventTopic("s.public.t", "public.t", ("id",)), True, "snapshot", "deletes of rows that expired"),
        (EventTopic("s.public.t", "public.t", ("id",)), None, "snapshot", "is made again"),
        (EventTopic("s.public.t", "public.t", ()), False, "snapshot", "has no key"),
        (EventTopic("s.public.t", "public.t", ("id",), distinct=False), False, "snapshot", "does not tell rows apart"),
    ],
)
def test_a_table_is_mended_as_its_topic_and_key_allow(
    topic: EventTopic, expires: bool | None, how: str, said: str | None
) -> None:
    found = plan_table(topic, expires, 12)
    assert (found.table, found.topic, found.how, found.rows) == ("public.t", "s.public.t", how, 12)
    assert said is None if found.note is None else said is not None and said in found.note


def test_a_plan_names_the_gap_the_tables_and_what_happens() -> None:
    table = TablePlan("public.t", "s.public.t", "difference", 1234, None)
    said = "\n".join(lines(Plan("w", "connector w: the slot is gone", False, (table,))))
    assert "gap: connector w: the slot is gone" in said
    assert "public.t → s.public.t, about 1,234 rows: by difference" in said


def test_a_plan_without_a_gap_says_so() -> None:
    assert list(lines(Plan("w", None, False, ()))) == ["w: nothing is missing"]


def test_a_heal_that_was_cut_short_begins_again() -> None:
    assert "a heal was begun and has not ended" in next(iter(lines(Plan("w", None, True, ()))))


def test_progress_is_told_in_rows() -> None:
    snapshot = {"rows": 12345, "percent": 40.0}
    assert progress({"state": "snapshotting", "snapshot": snapshot}) == "snapshotting: 12,345 rows compared, 40.0 %"
    assert progress({"state": "starting", "snapshot": None}) == "starting"
