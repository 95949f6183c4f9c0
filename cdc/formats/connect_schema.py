"""Kafka Connect's schemas as its JsonConverter writes them, and those that all of Debezium's events share. Pure.

Members come in the converter's order (`JsonConverter.asJsonSchema`): type, what is inside, optional, name, version,
doc, parameters, default; of a struct's members, field behind that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from cdc.formats.handling import Adjustment

Schema: TypeAlias = dict[str, Any]
"""As JSON has it."""


_TYPES: Final[Mapping[str, str]] = {"float32": "float", "float64": "double"}


def type_of(form: str) -> str:
    """Connect's type of a form, see `cdc.schemas.Column.form`, as its JSON calls it."""
    return _TYPES.get(form, form)


def before_payload(schema: Mapping[str, Any]) -> bytes:
    """What stands before a payload; a brace closes it."""
    return b'{"schema":%b,"payload":' % orjson.dumps(schema)


def field(kind: str, name: str, *, optional: bool = False) -> Schema:
    """A member without a meaning of its own."""
    return {"type": kind, "optional": optional, "field": name}


def struct(
    name: str, *fields: Mapping[str, Any], optional: bool = False, version: int | None = 1, field: str | None = None
) -> Schema:
    """A struct; `field` where it is a member."""
    told: Schema = {"type": "struct", "fields": fields, "optional": optional, "name": name}
    if version is not None:
        told["version"] = version
    return told if field is None else {**told, "field": field}


_SNAPSHOT: Final = {
    "type": "string",
    "optional": True,
    "name": "io.debezium.data.Enum",
    "version": 1,
    "parameters": {"allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},
    "default": "false",
    "field": "snapshot",
}

SOURCE: Final = struct(
    "io.debezium.connector.postgresql.Source",
    field("string", "version"),
    field("string", "connector"),
    field("string", "name"),
    field("int64", "ts_ms"),
    _SNAPSHOT,
    field("string", "db"),
    field("string", "sequence", optional=True),
    field("int64", "ts_us", optional=True),
    field("int64", "ts_ns", optional=True),
    field("string", "schema"),
    field("string", "table"),
    field("int64", "txId", optional=True),
    field("int64", "lsn", optional=True),
    field("int64", "xmin", optional=True),
    field("string", "origin", optional=True),
    field("int64", "origin_lsn", optional=True),
    field="source",
)
"""`PostgresSourceInfoStructMaker`."""

BLOCK: Final = struct(
    "event.block",
    field("string", "id"),
    field("int64", "total_order"),
    field("int64", "data_collection_order"),
    optional=True,
    field="transaction",
)
"""`SchemaFactory.transactionBlockSchema`."""

_NAMES: Final = {"type": "array", "items": {"type": "string", "optional": False}, "optional": True}

CDC: Final = struct(
    "cdc",
    field("string", "pos"),
    {**_NAMES, "field": "unchanged"},
    field("boolean", "gone", optional=True),
    {**_NAMES, "field": "reselected"},
    optional=True,
    field="cdc",
)
"""Of our own member."""


def value_schema(topic: str, members: Iterable[Schema], *, names: Adjustment, with_cdc: bool) -> Schema:
    """Of a table's values, whose rows have these members: `Envelope` and `TableSchemaBuilder`."""
    row = struct(adjusted(f"{topic}.Value", names), *members, optional=True, version=None)
    parts = [{**row, "field": "before"}, {**row, "field": "after"}, SOURCE, BLOCK, field("string", "op")]
    parts += [field("int64", name, optional=True) for name in ("ts_ms", "ts_us", "ts_ns")]
    return struct(adjusted(f"{topic}.Envelope", names), *parts, *([CDC] if with_cdc else []), version=2)


def key_schema(topic: str, members: Iterable[Schema], *, names: Adjustment) -> Schema:
    """Of a table's keys."""
    return struct(adjusted(f"{topic}.Key", names), *members, version=None)


def adjusted(name: str, how: Adjustment, *, of_field: bool = False) -> str:
    """A name that Avro takes: Debezium's `SchemaNameAdjuster`, of fields its `FieldNameSelector`.

    Args:
        how: `avro` puts `_` for what is not allowed (and before a first digit), `avro_unicode` the character's
            code: `_u` and its hexadecimal digits, for `_` itself too.
        of_field: a field's name, which has no dots.
    """
    if how == "none":
        return name
    # Java's characters: two for one beyond U+FFFF.
    units = name.encode("utf-16-be", "surrogatepass")
    codes = [units[at] << 8 | units[at + 1] for at in range(0, len(units), 2)]
    first = r"[A-Za-z_]" if how == "avro" else r"[A-Za-z]"
    later = rf"(?:{first}|[0-9]{'' if of_field else '|[.]'})"
    told = []
    for place, code in enumerate(codes):
        character = chr(code)
        if re.fullmatch(later if place else first, character):
            told.append(character)
        elif how == "avro_unicode":
            digits = f"{code:x}"
            told.append("_u" + ("00" + digits if len(digits) <= 2 else digits))
        else:
            told.append("_" + character if place == 0 and character.isdecimal() else "_")
    return "".join(told)
