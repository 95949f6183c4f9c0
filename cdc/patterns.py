r"""Names and patterns in settings, and which of several matching ones wins. Pure.

A pattern holds `*`, `?` or `[…]` as in a shell, or is a regular expression between slashes
(`/s1\.ord.*/`); everything else is a name. Case matters, but not in a regular expression: that
matches the whole name and ASCII letters of either case, as Debezium's include and exclude lists do
(`Strings.listOfRegex` with `Pattern.CASE_INSENSITIVE`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

WILDCARDS = "*?["


def is_pattern(text: str) -> bool:
    """Whether `text` holds a wildcard, or is a regular expression."""
    return is_expression(text) or any(character in text for character in WILDCARDS)


def is_expression(text: str) -> bool:
    """Whether `text` stands between slashes."""
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


def wrong_expression(text: str) -> str | None:
    """What is wrong with a regular expression; None for a right one, and for what is none."""
    if is_expression(text):
        try:
            _compiled(text)
        except re.error as error:
            return f"is no regular expression: {error.msg}" + (f" at {error.pos}" if error.pos is not None else "")
    return None


def matches(pattern: str, name: str) -> bool:
    """Whether a name or pattern means `name`."""
    if is_expression(pattern):
        return _compiled(pattern).fullmatch(name) is not None
    return pattern == name or fnmatchcase(name, pattern)


def groups(pattern: str, name: str) -> dict[str, str]:
    """What the named groups of a regular expression hold of a name that it means; empty for other patterns."""
    found = _compiled(pattern).fullmatch(name) if is_expression(pattern) else None
    return {} if found is None else {group: text or "" for group, text in found.groupdict().items()}


def group_names(pattern: str) -> frozenset[str]:
    """The named groups of a regular expression."""
    return frozenset(_compiled(pattern).groupindex) if is_expression(pattern) else frozenset()


def matching(patterns: Iterable[str], name: str) -> list[str]:
    """Those of `patterns` that match `name`, the most specific one last.

    A plain name is more specific than any pattern, a regular expression less than any other; of two
    patterns, the one with more characters that are no wildcard; of two equal ones, the later.
    """
    return sorted((pattern for pattern in patterns if matches(pattern, name)), key=lambda one: _rank(one, name))


def most_specific(patterns: Iterable[str], name: str) -> str | None:
    """The most specific of `patterns` that matches `name`, or None."""
    found = matching(patterns, name)
    return found[-1] if found else None


def beginning(pattern: str) -> str:
    """What every name that `pattern` means begins with; of a name, the name."""
    if not is_expression(pattern):
        return pattern[: min((pattern.find(c) for c in WILDCARDS if c in pattern), default=len(pattern))]
    known = re.match(rf"/{re.escape(_EXACTLY)}((?:[\w ]|\\.)*)\)", pattern)
    return re.sub(r"\\(.)", r"\1", known[1]) if known else ""


def below(beginning: str, expression: str) -> str:
    """The regular expression of what begins so, in this case, and goes on as `expression` says."""
    return f"/{_EXACTLY}{re.escape(beginning)})(?:{expression[1:-1]})/"


_EXACTLY = "(?-i:"


def _rank(pattern: str, name: str) -> tuple[bool, bool, int]:
    return pattern == name, not is_expression(pattern), sum(c not in "*?[]" for c in pattern)


@lru_cache(maxsize=1024)
def _compiled(text: str) -> re.Pattern[str]:
    # Java's classes and cases are ASCII's unless told otherwise.
    return re.compile(f"(?:{text[1:-1]})", re.IGNORECASE | re.ASCII)
