"""Values of Debezium's properties: text, read as its own code reads it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection


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
    found = [entry.strip().replace("\\,", ",") for entry in entries]
    for entry in found:
        try:
            re.compile(entry)
        except re.error as error:
            raise BadValue(f"{entry} is no regular expression that is understood here: {error}") from None
    if not any(found):
        raise BadValue("must be regular expressions, separated by commas")
    return [entry for entry in found if entry]


def pattern(expression: str) -> str:
    """A pattern of ours: it matches whole names and ASCII letters in any case, as Debezium's `Predicates` do."""
    return f"/{expression}/"


def refers(value: str) -> bool:
    """Whether a value is, or holds, a reference that a configuration provider of Kafka Connect resolves."""
    return re.search(r"\$\{[^}]*:[^}]*\}", value) is not None
