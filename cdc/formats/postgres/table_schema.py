"""Kafka Connect's schemas of a table's keys and values, as Debezium makes them from its columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from cdc.formats.connect_schema import Schema, before_payload, key_schema, type_of, value_schema
from cdc.formats.handling import Style

from .form import Form
from .planned import ColumnPlan, ConnectSchemas


def connect_schemas(topic: str, style: Style, shown: Sequence[ColumnPlan], key: Sequence[ColumnPlan]) -> ConnectSchemas:
    """What stands before the payloads of a table's keys and values.

    Args:
        topic: of its events, which their schemas are called after.
        style: how they are written.
        shown: the columns of rows.
        key: those of the key, in its order.
    """
    names = style.schema_names
    value, read = (
        value_schema(topic, map(_member, columns), names=names, with_cdc=style.with_cdc)
        for columns in (shown, [replace(column, parameters=column.snapshot_parameters) for column in shown])
    )
    keys = key_schema(topic, (_member(replace(column, parameters={})) for column in key), names=names)
    return ConnectSchemas(
        key=before_payload(keys) if key else b"", value=before_payload(value), read=before_payload(read)
    )


def _member(column: ColumnPlan) -> Schema:
    schema = schema_of(column.form, optional=column.description.nullable, parameters=column.parameters)
    if column.default is not None:
        schema["default"] = orjson.Fragment(column.default)
    return {**schema, "field": column.label}


def schema_of(form: Form, *, optional: bool, parameters: Mapping[str, str] | None = None) -> Schema:
    """The schema of values of a form.

    Args:
        optional: whether they may be null.
        parameters: more than the form itself has.
    """
    schema: Schema = {"type": type_of(form.json)}
    if form.json == "array" and form.element is not None:
        schema["items"] = schema_of(form.element, optional=form.element.optional)
    if form.json == "map" and form.key is not None and form.element is not None:
        schema["keys"] = schema_of(form.key, optional=form.key.optional)
        schema["values"] = schema_of(form.element, optional=form.element.optional)
    if form.json == "struct":
        schema["fields"] = [{**schema_of(inner, optional=inner.optional), "field": name} for name, inner in form.fields]
    schema["optional"] = optional
    if form.semantic is not None:
        schema |= {"name": form.semantic, "version": 1}
    if form.doc is not None:
        schema["doc"] = form.doc
    told: dict[str, Any] = {**form.connect_parameters, **(parameters or {})}
    if told:
        schema["parameters"] = told
    return schema
