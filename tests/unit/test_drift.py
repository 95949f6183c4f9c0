"""How a table's columns differ from what they were, in words, and which policy lets that through."""

from __future__ import annotations

import pytest

from connectors.postgres_wal.drift import Col, Form, Policy, changes, refusal

BEFORE = Form({"id": Col("integer", 1, False), "note": Col("text", 2, True), "n": Col("integer", 3, True)}, ("id",))


def now(**columns: Col | None) -> Form:
    """The table with some columns added, changed, or (None) dropped."""
    merged = {**BEFORE.columns, **columns}
    return Form({name: column for name, column in merged.items() if column is not None}, ("id",))


CASES = {
    "nothing": (now(), [], True),
    "added": (now(x=Col("text", 4, True)), ["column x (text) was added"], True),
    "added, and never NULL": (now(x=Col("text", 4, False)), ["column x (text NOT NULL) was added"], False),
    "wider": (now(n=Col("bigint", 3, True)), ["column n was integer and is bigint"], True),
    "narrower": (now(n=Col("smallint", 3, True)), ["column n was integer and is smallint"], False),
    "dropped": (now(note=None), ["column note (text) is gone"], False),
    "renamed": (now(note=None, remark=Col("text", 2, True)), ["column note is now remark"], False),
    "renamed and wider": (
        now(n=None, m=Col("bigint", 3, True)),
        ["column n is now m", "column m was integer and is bigint"],
        False,
    ),
    "made again": (now(note=Col("text", 5, True)), [], True),
    "another key": (
        Form(BEFORE.columns, ("id", "n")),
        ["the key was (id) and is (id, n)"],
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_changes_are_told_and_judged(name: str) -> None:
    form, said, additive = CASES[name]
    found = changes(BEFORE, form)
    assert [one.text for one in found] == said
    policies: list[tuple[Policy, bool]] = [("follow", True), ("additive", additive), ("stop", not said)]
    for policy, passes in policies:
        refused = refusal("public.t", policy, "P", found)
        assert (refused is None) is passes
        if refused is not None:
            assert all(text in refused.message for text in [*said, "public.t", "position P", policy])


def test_a_form_is_what_was_stored_of_it() -> None:
    assert Form.from_json(BEFORE.as_json()) == BEFORE
