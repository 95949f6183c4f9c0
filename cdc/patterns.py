"""Names and patterns in settings, and which of several matching ones wins. Pure.

A pattern holds `*`, `?` or `[…]` as in a shell; everything else is a name. Case matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def is_pattern(text: str) -> bool:
    """Whether `text` holds a wildcard."""
    return any(character in text for character in "*?[")


def matching(patterns: Iterable[str], name: str) -> list[str]:
    """Those of `patterns` that match `name`, the most specific one last.

    A plain name is more specific than any pattern; of two patterns, the one with more
    characters that are no wildcard; of two equal ones, the later.
    """
    found = [pattern for pattern in patterns if pattern == name or fnmatchcase(name, pattern)]
    return sorted(found, key=lambda pattern: (pattern == name, sum(c not in "*?[]" for c in pattern)))


def most_specific(patterns: Iterable[str], name: str) -> str | None:
    """The most specific of `patterns` that matches `name`, or None."""
    found = matching(patterns, name)
    return found[-1] if found else None
