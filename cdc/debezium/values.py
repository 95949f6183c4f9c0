"""Values of Debezium's properties: text, read as its own code reads it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from cdc.patterns import wrong_expression


class BadValue(ValueError):
    """A value that Debezium would refuse, or that has no counterpart; says what is expected."""


def boolean(value: str) -> bool:
    """Kafka's Boolean: `true` or `false`, in any case."""
    text = value.strip().lower()
    if text not in ("true", "false"):
        raise BadValue("must be true or false")
    return text == "true"


def whole(value: str) -> int:
    """A whole number, zero or more."""
    if not re.fullmatch(r"\s*\d{1,18}\s*", value):
        raise BadValue("must be a whole number")
    return int(value)


def word(value: str, words: Collection[str]) -> str:
    """One of `words`, which Debezium reads in any case (`EnumeratedValue.parse`)."""
    text = value.strip().lower()
    if text not in words:
        raise BadValue(f"must be one of {', '.join(words)}")
    return text


def listed(value: str) -> list[str]:
    """Entries between commas, without the blanks around them; empty ones do not count."""
    return [entry for entry in map(str.strip, value.split(",")) if entry]


def expressions(value: str) -> list[str]:
    """Regular expressions between commas; a comma behind a backslash is part of one (`Strings.RegExSplitter`)."""
    entries = re.findall(r"(?:\\.|[^,\\])+", value, re.DOTALL)
    found = [expression(stripped.replace("\\,", ",")) for entry in entries if (stripped := entry.strip())]
    if not found:
        raise BadValue("must be regular expressions, separated by commas")
    return found


def expression(text: str) -> str:
    """A regular expression that is right as a pattern of ours; case does not count there anyway."""
    text = text.removeprefix("(?i)")
    if not text:
        raise BadValue("must be a regular expression")
    if wrong := wrong_expression(pattern(text)):
        raise BadValue(f"{text} {wrong}")
    return text


def pattern(expression: str) -> str:
    """A pattern of ours: it matches whole names and ASCII letters in any case, as Debezium's `Predicates` do."""
    return f"/{expression}/"


def shown(name: str) -> str:
    """A property's name as it may be told: without the salt that it may hold."""
    return re.sub(r"(\.with\.salt\.).+", r"\1…", name, flags=re.DOTALL)


def refers(value: str) -> bool:
    """Whether a value is, or holds, a reference that a configuration provider of Kafka Connect resolves."""
    return re.search(r"\$\{[^}]*:[^}]*\}", value) is not None
