"""An Avro schema, taken to pieces: the table of nodes that encoder and decoder go through. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import orjson

from .schema import ENTRY, Avro

Node: TypeAlias = tuple[int, int, int, int, bytes, bytes]
"""As `encode_cy.AvroEncoder` takes them."""

_KINDS: Final = {
    "record": 0,
    "string": 1,
    "int": 2,
    "long": 2,
    "float": 3,
    "double": 4,
    "boolean": 5,
    "bytes": 6,
    "array": 7,
    "map": 8,
}
_ENTRY: Final = 9
"""As `encode_cy` has them."""

_ZEROS: Final = {"float": bytes(4), "double": bytes(8)}


def nodes(schema: Avro) -> list[Node]:
    """The schema's nodes, root first, a record's fields side by side."""
    records = dict(_records(schema, ""))
    found: list[Node] = []
    waiting: deque[tuple[bytes, Avro, str]] = deque([(b"", schema, "")])
    while waiting:
        name, one, space = waiting.popleft()
        null, inner = _nullable(one)
        inner, space = _resolved(inner, space, records)
        first = len(found) + 1 + len(waiting)
        children: list[tuple[bytes, Avro, str]] = []
        kind = inner["type"]
        if kind == "record":
            children = [(orjson.dumps(field["name"]) + b":", field["type"], space) for field in inner["fields"]]
        elif kind == "array":
            children = [(b"", inner["items"], space)]
        elif kind == "map":
            children = [(b"", inner["values"], space)]
        number = _ENTRY if inner.get("name") == ENTRY else _KINDS[kind]
        found.append((number, null, first, len(children), name, _missing(one, space, records)))
        waiting.extend(children)
    return found


def sparse(schema: Avro) -> list[bool]:
    """For each node whether a null of it is left out: of what `cdc` in a record at the top has."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return [False] * len(nodes(schema))
    found = nodes(schema)
    ours = [place for place, node in enumerate(found) if node[4] == b'"cdc":' and 0 < place <= found[0][3]]
    inside = {found[place][2] + child for place in ours for child in range(found[place][3])}
    return [place in inside for place in range(len(found))]


def _nullable(schema: Avro) -> tuple[int, Avro]:
    """1 or 2 where null is the first or second branch, else 0; and the type without it."""
    if not isinstance(schema, list):
        return 0, schema
    first, second = schema
    return (1, second) if first == "null" else (2, first)


def _resolved(schema: Avro, space: str, records: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """A type as an object, records by name too; and the namespace in it."""
    if isinstance(schema, str):
        name = schema if "." in schema or not space else f"{space}.{schema}"
        if name not in records:
            return {"type": schema}, space
        schema = records[name]
    assert isinstance(schema, dict)
    return schema, schema.get("namespace", space)


def _records(schema: Any, space: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records that are defined, by full name, each with its namespace written out."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _records(branch, space)
    elif isinstance(schema, dict) and schema.get("type") == "record":
        space = schema.get("namespace", space)
        yield f"{space}.{schema['name']}" if space else schema["name"], {**schema, "namespace": space}
        for field in schema["fields"]:
            yield from _records(field["type"], space)
    elif isinstance(schema, dict):
        yield from _records(schema.get("items") or schema.get("values"), space)


def _missing(schema: Avro, space: str, records: dict[str, dict[str, Any]]) -> bytes:
    """What stands for a member that is left out: null, or where that is not allowed a zero."""
    null, inner = _nullable(schema)
    if null:
        return b"\0" if null == 1 else b"\2"
    one, space = _resolved(inner, space, records)
    if one["type"] == "record":
        return b"".join(_missing(field["type"], space, records) for field in one["fields"])
    return _ZEROS.get(one["type"], b"\0")
