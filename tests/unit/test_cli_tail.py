"""How `cdc tail` shows an event."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cdc.commands.tail import Shown, line


def shown(value: Any, key: Any = None) -> str:
    text = line(Shown("shop.public.orders", 2, 15, 0, {"id": 5} if key is None else key, value, {}))
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"op": "c", "before": None, "after": {"id": 5, "name": "x"}}, 'insert     5  id=5 name="x"'),
        ({"op": "r", "before": None, "after": {"id": 5}}, "row        5  id=5"),
        ({"op": "u", "before": {"id": 5, "n": 1}, "after": {"id": 5, "n": 2}}, "update     5  n: 1 → 2"),
        ({"op": "u", "before": None, "after": {"id": 5, "n": 2}}, "update     5  id=5 n=2"),
        ({"op": "d", "before": {"id": 5, "n": 1}, "after": None}, "delete     5  "),
        ({"op": "t", "before": None, "after": None}, "truncate   5  "),
        (None, "tombstone  5  "),
        ({"order": "A/1"}, '5  {"order":"A/1"}'),
    ],
)
def test_an_event_in_one_line(value: Any, says: str) -> None:
    text = shown(value)
    assert says in text
    assert text.endswith("[2] 15")
    assert "\n" not in text


def test_a_key_of_several_columns_is_shown_with_their_names() -> None:
    assert 'region="eu" id=5' in shown(None, {"region": "eu", "id": 5})


def test_a_terminal_is_not_steered_by_values() -> None:
    text = shown({"op": "c", "after": {"name": "\x1b[2J\x9b31m[red]\n"}})
    assert not any(character in text for character in "\x1b\x9b\n")
    assert "[red]" in text


def test_schemas_are_not_shown() -> None:
    value = {"schema": {"type": "struct"}, "payload": {"op": "c", "before": None, "after": {"id": 5}}}
    assert "insert     5  id=5" in shown(value, {"schema": {"type": "struct"}, "payload": {"id": 5}})
