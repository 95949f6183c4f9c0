"""Two events that are not equal: which members of them, in words. Pure."""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

Form: TypeAlias = tuple[str | None, str | None, list[tuple[str, str | None]]]
"""Key, value and headers, normalised."""

_SHOWN: Final = 160


def differences(theirs: Form | None, ours: Form | None) -> list[str]:
    """Each member that differs: its path, what Debezium has and what we have."""
    if theirs is None or ours is None:
        return [f"Debezium has {_short(theirs)}, we have {_short(ours)}"]
    found = []
    for name, their, our in zip(("key", "value"), theirs[:2], ours[:2], strict=True):
        if their != our:
            members = _members(name, _parsed(their), _parsed(our))
            found += members or [f"{name}: the same members, spelled or ordered otherwise: {_around(their, our)}"]
    if theirs[2] != ours[2]:
        found.append(f"headers: Debezium has {_short(theirs[2])}, we have {_short(ours[2])}")
    return found


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text.replace("…", "0"))


def _members(path: str, theirs: Any, ours: Any) -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if list(theirs) != list(ours) and set(theirs) == set(ours):
            return [f"{path}: members in another order: Debezium {list(theirs)}, we {list(ours)}"]
        names = dict.fromkeys([*theirs, *ours])
        absent = "(absent)"
        return [
            one
            for name in names
            for one in _members(f"{path}.{name}", theirs.get(name, absent), ours.get(name, absent))
        ]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [one for place, (their, our) in pairs for one in _members(f"{path}[{_named(their, place)}]", their, our)]
    if type(theirs) is type(ours) and theirs == ours:
        return []
    return [f"{path}: Debezium {_short(theirs)}, we {_short(ours)}"]


def _named(member: Any, place: int) -> Any:
    """A field of a schema by its name."""
    return member.get("field", place) if isinstance(member, dict) else place


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _around(one: str | None, two: str | None) -> str:
    """Where two texts begin to differ."""
    one, two = str(one), str(two)
    at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    return f"Debezium …{one[max(0, at - 60) : at + 60]}…, we …{two[max(0, at - 60) : at + 60]}…"
