"""Which column types hold all values of which others. Pure; types as `format_type` writes them."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

_LADDERS: Final = (
    ("smallint", "integer", "bigint", "numeric"),
    ("real", "double precision"),
    ("character varying", "text"),
    ("bit", "bit varying"),
)
_STEPS: Final = {step for ladder in _LADDERS for step in pairwise(ladder)}

_MODIFIED: Final = frozenset({"character varying", "numeric", "bit varying"})
"""Types whose first modifier is a limit that may grow, or fall away."""

_FRACTIONS: Final = frozenset({
    "time without time zone", "time with time zone",
    "timestamp without time zone", "timestamp with time zone",
})  # fmt: skip
"""Types whose modifier is a number of digits that may grow; without one they keep six."""


class _Type(NamedTuple):
    base: str
    modifiers: tuple[int, ...]
    array: str


def holds(wide: str, narrow: str) -> bool:
    """Whether a column of type `wide` takes every value of a column of type `narrow`, unchanged."""
    if wide == narrow:
        return True
    to, from_ = _parsed(wide), _parsed(narrow)
    if to is None or from_ is None or to.array != from_.array:
        return False
    if to.base == from_.base:
        return _limit_grew(to, from_)
    if to.modifiers:
        return False
    reached = {from_.base}
    for low, high in sorted(_STEPS, key=_rank):
        if low in reached:
            reached.add(high)
    return to.base in reached


def _limit_grew(to: _Type, from_: _Type) -> bool:
    if to.base in _FRACTIONS:
        return (to.modifiers or (6,)) >= (from_.modifiers or (6,))
    if to.base not in _MODIFIED:
        return False
    if not to.modifiers:
        return True
    if not from_.modifiers:
        return False
    if to.base == "numeric":
        precision, scale = (*to.modifiers, 0)[:2]
        old_precision, old_scale = (*from_.modifiers, 0)[:2]
        return scale >= old_scale and precision - scale >= old_precision - old_scale
    return to.modifiers >= from_.modifiers


def _rank(step: tuple[str, str]) -> int:
    return max(ladder.index(step[0]) for ladder in _LADDERS if step[0] in ladder)


def _parsed(text: str) -> _Type | None:
    found = re.fullmatch(r"([a-z ]+?)(?:\((\d+(?:,-?\d+)?)\))?( with(?:out)? time zone)?((?:\[\])*)", text)
    if not found:
        return None
    modifiers = tuple(int(number) for number in found[2].split(",")) if found[2] else ()
    return _Type(found[1] + (found[3] or ""), modifiers, found[4])
