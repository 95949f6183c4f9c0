"""pgoutput messages as the server would send them, for tests of what reads them. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TypeInfo

UNCHANGED = object()
"""A TOAST value that the server leaves out."""

Values = Sequence[object]

BUILT_IN = {
    16: "bool",
    17: "bytea",
    18: "char",
    19: "name",
    20: "int8",
    21: "int2",
    23: "int4",
    25: "text",
    26: "oid",
    114: "json",
    142: "xml",
    600: "point",
    700: "float4",
    701: "float8",
    790: "money",
    829: "macaddr",
    869: "inet",
    1042: "bpchar",
    1043: "varchar",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1186: "interval",
    1266: "timetz",
    1560: "bit",
    1562: "varbit",
    1700: "numeric",
    2950: "uuid",
    3614: "tsvector",
    3802: "jsonb",
    3904: "int4range",
}
"""Types of pg_catalog that the tests use, by oid."""

OIDS = {name: oid for oid, name in BUILT_IN.items()}

TYPES = {oid: TypeInfo(oid, name, "pg_catalog", "b") for oid, name in BUILT_IN.items()} | {
    # Real oids of arrays differ from type to type; these only have to be unique.
    100_000 + oid: TypeInfo(100_000 + oid, f"_{name}", "pg_catalog", "b", element_oid=oid)
    for oid, name in BUILT_IN.items()
}


def column(name: str, type_name: str, *, modifier: int = -1, key: bool = False) -> RelationColumn:
    """A column of a built-in type, or of an array of one (`text[]`)."""
    element = type_name.removesuffix("[]")
    return RelationColumn(name, OIDS[element] + (100_000 if element != type_name else 0), modifier, key)


def relation(*columns: RelationColumn, identity: str = "d", schema: str = "public", name: str = "t") -> Relation:
    return Relation(16_400, schema, name, identity, columns)


def insert(new: Values) -> bytes:
    return b"I" + struct.pack("!I", 16_400) + _tuple(b"N", new)


def update(new: Values, *, key: Values | None = None, old: Values | None = None) -> bytes:
    before = _tuple(b"K", key) if key is not None else _tuple(b"O", old) if old is not None else b""
    return b"U" + struct.pack("!I", 16_400) + before + _tuple(b"N", new)


def delete(*, key: Values | None = None, old: Values | None = None) -> bytes:
    return b"D" + struct.pack("!I", 16_400) + (_tuple(b"K", key) if key is not None else _tuple(b"O", old or ()))


def _tuple(kind: bytes, values: Values) -> bytes:
    return kind + struct.pack("!H", len(values)) + b"".join(_value(value) for value in values)


def _value(value: object) -> bytes:
    if value is None:
        return b"n"
    if value is UNCHANGED:
        return b"u"
    raw = value.encode() if isinstance(value, str) else value
    assert isinstance(raw, bytes)
    return b"t" + struct.pack("!I", len(raw)) + raw


def copy_line(values: Sequence[str | None]) -> bytes:
    """A line of COPY … TO STDOUT."""
    escapes = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}
    return (
        "\t".join("\\N" if value is None else "".join(escapes.get(c, c) for c in value) for value in values) + "\n"
    ).encode()
