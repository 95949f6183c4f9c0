"""The declared steps: each changes an event, and the description of its table in the same way. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from cdc import names
from cdc.errors import ConfigError, Problem
from cdc.schemas import Column, TableSchema

from . import rows
from .event import Event
from .settings import CAST_TYPES, FilterStep, RouteStep, Scalar


class StepFunction(Protocol):
    """One transform."""

    def apply(self, event: Event) -> Event | None:
        """The event changed, None to leave it out. Raises: anything, for a row that it cannot be done to."""
        ...

    def describe(self, schema: TableSchema) -> TableSchema:
        """The table as its events show it behind this. Raises: ConfigError."""
        ...


@dataclass(frozen=True, slots=True)
class Rename:
    """Columns get other names, in key and value."""

    new: dict[str, str]

    def apply(self, event: Event) -> Event:
        if isinstance(event.value, dict):
            for name in ("before", "after"):
                if event.value.get(name) is not None:
                    event.value[name] = rows.rename_members(event.value[name], self.new)
            rows.column_lists(event, lambda name: self.new.get(name, name))
        for schema in rows.row_schemas(event):
            rows.rename_fields(schema, self.new)
        if event.key_schema is not None:
            rows.rename_fields(event.key_schema, self.new)
        rows.change_keys(event, lambda key: rows.rename_members(key, self.new))
        return event

    def describe(self, schema: TableSchema) -> TableSchema:
        columns = tuple(replace(column, name=self.new.get(column.name, column.name)) for column in schema.columns)
        if len({column.name for column in columns}) < len(columns):
            raise _wrong(schema, "two columns would have the same name behind `rename`")
        return replace(schema, columns=columns, key=tuple(self.new.get(name, name) for name in schema.key))


@dataclass(frozen=True, slots=True)
class Leave:
    """Some columns are left out; never those of the key.

    Args:
        names: the columns that are left out, or that alone are kept.
        keep: which of both.
    """

    names: frozenset[str]
    keep: bool

    def apply(self, event: Event) -> Event:
        key = event.key if isinstance(event.key, dict) else {}

        def kept(name: str) -> bool:
            return name in key or (name in self.names) is self.keep

        for row in rows.rows(event):
            for name in [name for name in row if not kept(name)]:
                del row[name]
        rows.column_lists(event, lambda name: name if kept(name) else None)
        for schema in rows.row_schemas(event):
            rows.keep_fields(schema, kept)
        return event

    def describe(self, schema: TableSchema) -> TableSchema:
        if not self.keep and self.names & set(schema.key):
            raise _wrong(schema, f"`drop` has columns of the key: {', '.join(sorted(self.names & set(schema.key)))}")
        kept = (c for c in schema.columns if c.name in schema.key or (c.name in self.names) is self.keep)
        return replace(schema, columns=tuple(kept))


_CONSTANTS: Final[Mapping[type, tuple[str, str, str]]] = {
    bool: ("boolean", "boolean", "boolean"),
    int: ("int64", "int64", "bigint"),
    float: ("double", "float64", "double precision"),
    str: ("string", "string", "text"),
    type(None): ("string", "string", "text"),
}
"""Type of a constant → Connect's name of it in schemas, in descriptions, and a type of PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Put:
    """Constants in every row."""

    constants: dict[str, Scalar]

    def apply(self, event: Event) -> Event:
        for row in rows.rows(event):
            row.update(self.constants)
        for schema in rows.row_schemas(event):
            for name, value in self.constants.items():
                rows.put_field(schema, name, _CONSTANTS[type(value)][0])
        return event

    def describe(self, schema: TableSchema) -> TableSchema:
        for name, value in self.constants.items():
            _, form, type_ = _CONSTANTS[type(value)]
            schema = _with_column(schema, Column(name, type_, type_, form))
        return schema


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() not in ("true", "false", "t", "f"):
            raise ValueError("not a boolean")
        return value.lower() in ("true", "t")
    return bool(value)


def _integer(bits: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        number = int(value)
        if not -(1 << bits - 1) <= number < 1 << bits - 1:
            raise ValueError(f"not within {bits} bits")
        return number

    return convert


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise ValueError("not a plain value")
    return str(value).lower() if isinstance(value, bool) else str(value)


_CASTS: Final[Mapping[str, tuple[Callable[[Any], Any], str, str]]] = {
    "int16": (_integer(16), "int16", "smallint"),
    "int32": (_integer(32), "int32", "integer"),
    "int64": (_integer(64), "int64", "bigint"),
    "float32": (float, "float", "real"),
    "float64": (float, "double", "double precision"),
    "boolean": (_boolean, "boolean", "boolean"),
    "string": (_text, "string", "text"),
}
"""Connect's type → how a value becomes one, its name in schemas, and a type of PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Values of columns get another type, as Kafka Connect's Cast; NULL stays NULL."""

    types: dict[str, CAST_TYPES]

    def apply(self, event: Event) -> Event:
        for row in rows.rows(event):
            for name, type_ in self.types.items():
                if row.get(name) is not None:
                    row[name] = _CASTS[type_][0](row[name])
        for schema in rows.row_schemas(event):
            for name, type_ in self.types.items():
                rows.put_field(schema, name, _CASTS[type_][1])
        return event

    def describe(self, schema: TableSchema) -> TableSchema:
        for name in self.types.keys() & set(schema.key):
            raise _wrong(schema, f"`cast` has a column of the key: {name}")
        present = {column.name: column for column in schema.columns}
        for name, type_ in self.types.items():
            if name in present:
                _, _, sql_type = _CASTS[type_]
                new = replace(present[name], type=sql_type, target_type=sql_type, form=type_, semantic=None)
                schema = _with_column(schema, replace(new, items=None, parameters={}))
        return schema


_NAMED: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class PutHeaders:
    """Further headers, with values of the row in them."""

    headers: dict[str, str]

    def apply(self, event: Event) -> Event:
        row = event.row
        for name, text in self.headers.items():
            event.headers.append((name, _NAMED.sub(lambda found: _shown(row.get(found[1])), text)))
        return event

    def describe(self, schema: TableSchema) -> TableSchema:
        return schema


@dataclass(frozen=True, slots=True)
class ExtendKey:
    """Constants of the source's table in the key, so that rows of several tables on one topic do not share keys."""

    members: dict[str, str]

    def apply(self, event: Event) -> Event:
        source = event.value.get("source") or {} if isinstance(event.value, dict) else {}
        added = {
            name: _NAMED.sub(lambda found: str(source.get(found[1], "")), text) for name, text in self.members.items()
        }
        if event.key is None:
            return event
        for name in added if event.key_schema is not None else ():
            rows.put_field(event.key_schema or {}, name, "string", optional=False)
        rows.change_keys(event, lambda key: {**key, **added})
        for row in rows.rows(event):
            row.update(added)
        for schema in rows.row_schemas(event):
            for name in added:
                rows.put_field(schema, name, "string")
        return event

    def describe(self, schema: TableSchema) -> TableSchema:
        if not schema.key:
            raise _wrong(schema, "`key` adds to a key, and the table has none")
        for name in self.members:
            schema = _with_column(schema, Column(name, "text", "text", "string", nullable=False))
        return replace(schema, key=(*schema.key, *self.members))


@dataclass(frozen=True, slots=True)
class Filter:
    """Events of rows go on or not by values of columns; deletes and truncates always do."""

    settings: FilterStep

    def apply(self, event: Event) -> Event | None:
        if event.op in ("d", "t"):
            return event
        row = event.row
        included = all(_is_one(row.get(name), wanted) for name, wanted in self.settings.include.items())
        excluded = any(_is_one(row.get(name), wanted) for name, wanted in self.settings.exclude.items())
        return event if included and not excluded else None

    def describe(self, schema: TableSchema) -> TableSchema:
        return schema


@dataclass(frozen=True, slots=True)
class Route:
    """The topic by a column's value."""

    settings: RouteStep

    def apply(self, event: Event) -> Event:
        if event.op == "t":
            raise ValueError("a truncate has no row that says which topic it is for")
        value = event.row.get(self.settings.field)
        topic = routed(_shown(value), self.settings.pattern, self.settings.topic) if value is not None else None
        if topic is not None:
            event.topic = topic
        return event

    def describe(self, schema: TableSchema) -> TableSchema:
        return schema


def routed(value: str, pattern: str, template: str) -> str | None:
    """The topic that a value means, None where it is not as the pattern says.

    What Kafka does not allow in a topic becomes `_`.
    """
    found = re.fullmatch(pattern, value)
    if found is None:
        return None
    return names.legal_topic(_NAMED.sub(lambda name: found[name[1]] or "", template))


def _is_one(value: Any, wanted: Scalar | list[Scalar]) -> bool:
    return any(value == one and type(value) is type(one) for one in (wanted if isinstance(wanted, list) else [wanted]))


def _shown(value: Any) -> str:
    return "" if value is None else _text(value)


def _with_column(schema: TableSchema, column: Column) -> TableSchema:
    """The description with a column in place of one of that name, or behind all."""
    if column.name in {each.name for each in schema.columns}:
        columns = tuple(column if each.name == column.name else each for each in schema.columns)
        return replace(schema, columns=columns)
    return replace(schema, columns=(*schema.columns, column))


def _wrong(schema: TableSchema, what: str) -> ConfigError:
    return ConfigError([Problem(f"transforms of table {schema.table}: {what}")])
