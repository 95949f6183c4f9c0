"""Keys and values of any format as documents, for a person. Pure, but for what readers ask a registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from .contract import Reader
from .payload import payload_of


def key_of(data: bytes | None, readers: Sequence[Reader]) -> Any:
    """A key: what JSON it is, or what JSON the first reader makes of it; else its text."""
    return _document(data, [reader.key for reader in readers])


def value_of(data: bytes | None, readers: Sequence[Reader]) -> Any:
    """A value, likewise."""
    return _document(data, [reader.value for reader in readers])


def event_of(document: Any, readers: Sequence[Reader]) -> Any:
    """Debezium's event, without its schema, that a value of any format stands for; a value that is none as it is."""
    document = payload_of(document)
    if not isinstance(document, dict) or "op" in document:
        return document
    found = _first(orjson.dumps(document), [reader.value for reader in readers])
    return document if found is None else orjson.loads(found)


def _document(data: bytes | None, attempts: Sequence[Any]) -> Any:
    if data is None:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        found = _first(data, attempts)
        return data.decode(errors="replace") if found is None else orjson.loads(found)


def _first(data: bytes, attempts: Sequence[Any]) -> bytes | None:
    """What the first that can read it makes of it."""
    for read in attempts:
        try:
            made: bytes = read(data)
            return made
        except ValueError:
            continue
    return None
