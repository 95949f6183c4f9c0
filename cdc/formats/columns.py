"""Kafka Connect's schemas of a table that is known by its description alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cdc.formats.connect_schema import Schema, adjusted, envelope, field, struct
from cdc.formats.contract import Described
from cdc.formats.handling import Style
from cdc.schemas import Column, TableSchema

_TYPES: Final[Mapping[str, str]] = {"float32": "float", "float64": "double"}

_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"


def described(table: TableSchema, style: Style) -> Described:
    """What a format's writer needs of a table.

    Args:
        table: its description; names of columns are members' names as they are.
        style: how names of schemas are changed, and whether events have the member `cdc`.
    """
    topic, names = table.topic, style.schema_names
    columns = {column.name: column for column in table.columns}
    row = struct(adjusted(f"{topic}.Value", names), *map(_member, table.columns), optional=True, version=None)
    members = [_member(columns[name]) for name in table.key]
    key = struct(adjusted(f"{topic}.Key", names), *members, version=None) if members else None
    return Described(topic, key, envelope(topic, row, names=names, with_cdc=style.with_cdc))


def _member(column: Column) -> Schema:
    return {**_schema(column, optional=column.nullable), "field": column.name}


def _schema(column: Column, *, optional: bool) -> Schema:
    schema: Schema = {"type": _TYPES.get(column.form, column.form)}
    if column.items is not None:
        schema["items"] = _schema(column.items, optional=True)
    if column.form == "struct":  # the only one: a decimal with the scale that it has
        schema["fields"] = [field("int32", "scale"), field("bytes", "value")]
    schema["optional"] = optional
    if column.semantic is not None:
        schema |= {"name": column.semantic, "version": 1}
    parameters = _parameters(column)
    if parameters:
        schema["parameters"] = parameters
    return schema


def _parameters(column: Column) -> dict[str, str]:
    told = column.parameters
    if column.semantic == _DECIMAL:
        precision = {"connect.decimal.precision": str(told["precision"])} if "precision" in told else {}
        return {"scale": str(told["scale"])} | precision
    return {
        ours: ",".join(told[name]) if name == "labels" else str(told[name])
        for name, ours in (("labels", "allowed"), ("length", "length"))
        if name in told and column.semantic is not None
    }
