"""What the YAML says of transforms and outbox tables. No I/O."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from cdc.settings import Model

Scalar: TypeAlias = str | int | float | bool | None

CAST_TYPES: TypeAlias = Literal["int16", "int32", "int64", "float32", "float64", "boolean", "string"]


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error.msg}") from None
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""Python's, which matches the whole text; its groups are named `(?P<name>…)`."""


class FilterStep(Model):
    """Which events of rows go on; deletes and truncates always do."""

    include: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    """Column → a value or several: only rows that have one of them in each of these columns."""
    exclude: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    """Column → a value or several: no rows that have one of them in one of these columns."""


class RouteStep(Model):
    """The topic of an event by a column of its row."""

    field: Annotated[str, Field(min_length=1)]
    """The column."""
    pattern: Expression = "(?P<value>.*)"
    """What the column's value must be; its named groups may stand in `topic`. Other rows keep their topic."""
    topic: Annotated[str, Field(min_length=1)]
    """The topic, with groups of the pattern in braces: `shop.orders.{value}`."""

    @model_validator(mode="after")
    def _groups(self) -> RouteStep:
        known = re.compile(self.pattern).groupindex
        for name in re.findall(r"\{(\w*)\}", self.topic):
            if name not in known:
                raise ValueError(f"topic names {{{name}}}, which is no named group of the pattern")
        return self


class Step(Model):
    """One transform: exactly one of these."""

    rename: dict[str, str] | None = None
    """Column → its new name, in key and value."""
    drop: list[str] | None = None
    """Columns that are left out; those of the key cannot be."""
    keep: list[str] | None = None
    """Only these columns; those of the key always."""
    set: dict[str, Scalar] | None = None
    """Column → a constant, in every row."""
    cast: dict[str, CAST_TYPES] | None = None
    """Column → the type that its values get."""
    headers: dict[str, str] | None = None
    """Header → its text; `{column}` stands for a value of the row."""
    key: dict[str, str] | None = None
    """Member of the key → its text, added to the key; `{name}`, `{schema}`, `{table}` in it are the source's."""
    filter: FilterStep | None = None
    """Which events go on."""
    route: RouteStep | None = None
    """The topic by a column."""
    python: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """`package.module:function`, called with each event."""

    @model_validator(mode="after")
    def _one(self) -> Step:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"a step is exactly one of {names}; here are {len(given)}")
        return self

    @property
    def kind(self) -> tuple[str, Any]:
        """Its name, and what it is given."""
        return next((name, getattr(self, name)) for name in type(self).model_fields if getattr(self, name) is not None)


class Placement(Model):
    """Where a further column of an outbox table goes."""

    column: Annotated[str, Field(min_length=1)]
    """The column."""
    to: Literal["header", "envelope"]
    """A header, or a member of the value, beside `payload`."""
    name: str | None = None
    """Its name there, if not the column's."""


class OutboxSettings(Model):
    """A table whose inserted rows are messages, as Debezium's outbox event router has it."""

    id: str = "id"
    """Column of the message's id, which becomes the header `id`."""
    key: str | None = None
    """Column of the record's key; `payload_id` where it is not set, or NULL."""
    payload_id: str = "aggregateid"
    """Column that is the key where `key` gives none."""
    payload: str = "payload"
    """Column that becomes the value."""
    timestamp: str | None = None
    """Column of the record's time, if not the commit's."""
    route_by: str = "aggregatetype"
    """Column that the topic is made of."""
    pattern: Expression = "(?P<routedByValue>.*)"
    """What its value must be; its named groups may stand in `topic`. Other values are the topic themselves."""
    topic: Annotated[str, Field(min_length=1)] = "outbox.event.{routedByValue}"
    """The topic, with groups of the pattern in braces."""
    placement: list[Placement] = Field(default_factory=list)
    """Further columns, as headers or members of the value."""
    expand_json: bool = False
    """A payload that is JSON becomes JSON, and not a string that holds it."""
    tombstone_on_empty_payload: bool = False
    """A message without payload has no value at all."""
    updates: Literal["warn", "fail"] = "warn"
    """An UPDATE, which an outbox should not see: left out with a warning, or the connector stops."""

    @model_validator(mode="after")
    def _groups(self) -> OutboxSettings:
        known = re.compile(self.pattern).groupindex
        for name in re.findall(r"\{(\w*)\}", self.topic):
            if name not in known:
                raise ValueError(f"topic names {{{name}}}, which is no named group of the pattern")
        return self
