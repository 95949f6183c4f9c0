"""Kafka Connect's schemas of a table that is known by its description alone. Pure."""

from __future__ import annotations

from typing import Final

from cdc.formats.connect_schema import Schema, field, key_schema, type_of, value_schema
from cdc.formats.contract import Described
from cdc.formats.handling import Style
from cdc.schemas import Column, TableSchema

_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"


def described(table: TableSchema, style: Style) -> Described:
    """What a format's writer needs of a table.

    Args:
        table: its description; names of columns are members' names as they are.
        style: how names of schemas are changed, and whether events have the member `cdc`.
    """
    topic, names = table.topic, style.schema_names
    columns = {column.name: column for column in table.columns}
    members = [_member(columns[name]) for name in table.key]
    key = key_schema(topic, members, names=names) if members else None
    value = value_schema(topic, map(_member, table.columns), names=names, with_cdc=style.with_cdc)
    return Described(topic, key, value)


def _member(column: Column) -> Schema:
    return {**_schema(column, optional=column.nullable), "field": column.name}


def _schema(column: Column, *, optional: bool) -> Schema:
    schema: Schema = {"type": type_of(column.form)}
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
