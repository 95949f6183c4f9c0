"""pydantic's errors → problems in plain words, with a suggestion. Pure.

Values are shown only where they are short words that stand in the file itself: what came from a
variable, or stands at a key that may hold a secret, is not repeated.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cdc.config.documents import Document
from cdc.settings import Path

_SECRET = re.compile(r"password|secret|key|token|url|credential", re.IGNORECASE)

_PLAIN: Mapping[str, tuple[str, str | None]] = {
    "missing": ("is missing", None),
    "string_type": ("must be text", "put quotes around it"),
    "int_type": ("must be a whole number", None),
    "int_parsing": ("must be a whole number", None),
    "int_from_float": ("must be a whole number", None),
    "float_type": ("must be a number", None),
    "float_parsing": ("must be a number", None),
    "bool_type": ("must be true or false", None),
    "bool_parsing": ("must be true or false", None),
    "list_type": ("must be a list", "such as [one, two], or one entry a line after a dash"),
    "dict_type": ("must be a section with keys of its own", "indent its keys below it"),
    "model_type": ("must be a section with keys of its own", "indent its keys below it"),
    "model_attributes_type": ("must be a section with keys of its own", "indent its keys below it"),
}


def problems_of(error: ValidationError, document: Document, prefix: Path, model: type[BaseModel]) -> None:
    """Note in `document` what pydantic found wrong below `prefix`, where `model` is expected."""
    seen: dict[Path, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False, include_input=False):
        location = _location(details["loc"], document, prefix, details["type"])
        seen.setdefault(location, []).append(details)
    mistyped = {_meant(location, model) for location, group in seen.items() if group[0]["type"] == "extra_forbidden"}
    for location, group in seen.items():
        if group[0]["type"] == "missing" and location in mistyped:
            continue  # it is there, under a mistyped name
        path = (*prefix, *location)
        if isinstance(document.at(path), dict) and any(_below_it(location, other) for other in seen):
            continue  # the other alternatives of a union, one of which says more precisely what is wrong
        said = [_words(details, document, path, model, location) for details in group]
        message = ", or ".join(dict.fromkeys(message for message, _ in said)).replace(", or must be ", ", or ")
        if group[0]["type"] in _SHOWING:
            message += _shown(document, path)
        document.problem(path, message, next((suggestion for _, suggestion in said if suggestion), None))


def _meant(location: Path, model: type[BaseModel]) -> Path:
    close = get_close_matches(str(location[-1]), _keys_at(model, location[:-1]), n=1)
    return (*location[:-1], *close)


def _below_it(location: Path, other: Path) -> bool:
    return len(other) > len(location) and other[: len(location)] == location


def _location(loc: Path, document: Document, prefix: Path, kind: str) -> Path:
    """pydantic's location without the names of the alternatives of a union, which nobody wrote."""
    known: Path = ()
    for number, key in enumerate(loc):
        path = (*prefix, *known, key)
        last = number == len(loc) - 1
        if path in document.places or (last and kind in ("missing", "extra_forbidden")):
            known = (*known, key)
    return known


def _words(
    details: ErrorDetails, document: Document, path: Path, model: type[BaseModel], location: Path
) -> tuple[str, str | None]:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "missing":
        return "is missing", _example(str(path[-1]))
    if kind == "extra_forbidden":
        suggestion = _known_keys(str(path[-1]), _keys_at(model, location[:-1]))
        if path[0] == "connectors" and "." in str(path[-1]) and not (suggestion or "").startswith("did"):
            suggestion = "docs/debezium.md says what each of Debezium's properties is here"
        return "is not a setting here", suggestion
    if kind == "literal_error":
        expected = [word.strip().strip("'") for word in re.split(r", | or ", str(context["expected"]))]
        return f"must be {_one_of(expected)}", _did_you_mean(document.at(path), expected)
    if kind == "value_error":
        message, _, example = str(context["error"]).partition(", such as ")
        return message, f"such as {example}" if example else None
    if kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than"):
        return f"must be {_BOUNDS[kind]} {next(iter(context.values()))}", None
    if kind == "too_short":
        return "must not be empty", None
    if kind in ("string_too_short", "string_too_long"):
        bound = context.get("min_length", context.get("max_length"))
        return f"must have at {'least' if 'min_length' in context else 'most'} {bound} characters", None
    if kind == "string_pattern_mismatch":
        return f"must look like {context['pattern']}", None
    if kind == "dict_type" and path[-1] == "tables":
        return "must be a list, or a section with a key for each table", _example("tables")
    if kind in _PLAIN:
        return _PLAIN[kind]
    return details["msg"][:1].lower() + details["msg"][1:], None


_SHOWING = frozenset({
    "literal_error", "string_pattern_mismatch", "greater_than_equal", "less_than_equal", "greater_than", "less_than",
    "int_type", "int_parsing", "int_from_float", "float_type", "float_parsing", "bool_type", "bool_parsing",
})  # fmt: skip
"""Where it helps to see the value."""

_BOUNDS = {
    "greater_than_equal": "at least",
    "less_than_equal": "at most",
    "greater_than": "more than",
    "less_than": "less than",
}

_EXAMPLES = {
    "name": "name: shop",
    "kafka": "kafka: {bootstrap_servers: localhost:9092}",
    "bootstrap_servers": "bootstrap_servers: localhost:9092",
    "url": "url: postgresql://user@host:5432/database",
    "database": "the name of one of databases:",
    "tables": 'tables: [public.orders, "sales.*"]',
    "topics": "topics: [shop.public.orders]",
}


def _example(key: str) -> str | None:
    example = _EXAMPLES.get(key)
    return f"such as {example}" if example else None


def _one_of(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"one of {' | '.join(words)}"


def _shown(document: Document, path: Path) -> str:
    """`, not 'x'`, if the value may be shown."""
    value = document.at(path)
    hidden = any(path[:n] in document.substituted for n in range(len(path) + 1)) or _SECRET.search(str(path[-1:]))
    if hidden or value is None or not isinstance(value, (str, int, float)):
        return ""
    text = repr(value)
    return f", not {text}" if len(text) <= 40 else ""


def _did_you_mean(value: Any, among: list[str]) -> str | None:
    close = get_close_matches(str(value), among, n=1)
    return f"did you mean {close[0]}?" if close else None


def _known_keys(key: str, keys: list[str]) -> str | None:
    return _did_you_mean(key, keys) or (f"settings here are {', '.join(keys)}" if keys else None)


def _keys_at(model: type[BaseModel], location: Path) -> list[str]:
    """The settings that may stand at `location` below `model`."""
    here: list[Any] = [model]
    for key in location:
        here = [inner for annotation in here for inner in _below(annotation, key)]
    fields = [item for annotation in here for item in getattr(annotation, "model_fields", {}).items()]
    return list(dict.fromkeys(field.alias or name for name, field in fields))


def _below(annotation: Any, key: str | int) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if key in (name, field.alias):
                yield from _alternatives(field.annotation)
    elif get_origin(annotation) in (dict, list):
        yield from _alternatives(get_args(annotation)[-1])


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for alternative in get_args(annotation):
            yield from _alternatives(alternative)
    elif origin is not Literal:
        yield annotation
