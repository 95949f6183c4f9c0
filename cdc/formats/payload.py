"""What is inside of `{"schema": …, "payload": …}`, as keys and values are with Kafka Connect's schemas. Pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

_BEGINNING: Final = b'{"schema":'
_BETWEEN: Final = b',"payload":'
KEPT: Final = 8
"""Schemas that a topic has at one time."""


def payload_of(document: Any) -> Any:
    """A parsed key or value without its schema; one that has none as it is."""
    return document["payload"] if _has_schema(document) else document


def _has_schema(document: Any) -> bool:
    """Whether it is Connect's; a table's key may have two columns of these names, whose values are no schemas."""
    return (
        isinstance(document, dict)
        and document.keys() == {"schema", "payload"}
        and isinstance(document["schema"], dict)
        and "type" in document["schema"]
    )


class Payloads:
    """Takes the schemas off one topic's keys, or values: a schema that was met is only compared, not parsed again."""

    def __init__(self) -> None:
        self._known: list[bytes] = []

    def of(self, data: bytes | None) -> bytes | None:
        """The JSON of the payload; what has no schema, or is no JSON, as it is."""
        if data is None or not data.startswith(_BEGINNING):
            return data
        for known in self._known:
            if data.startswith(known) and data.endswith(b"}"):
                return data[len(known) : -1]
        return self._parsed(data)

    def _parsed(self, data: bytes) -> bytes:
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            return data
        if not _has_schema(document):
            return data
        schema, between, payload = data.partition(_BETWEEN)
        try:
            plain = bool(between) and orjson.loads(schema[len(_BEGINNING) :]) == document["schema"]
        except orjson.JSONDecodeError:
            plain = False
        if not plain:
            return orjson.dumps(document["payload"])
        self._known = [schema + between, *self._known[: KEPT - 1]]
        return payload[:-1]
