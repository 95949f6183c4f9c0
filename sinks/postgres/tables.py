"""Target tables: what a topic's descriptions ask for, what is there, and the SQL between the two. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from cdc.errors import SinkError
from cdc.formats.postgres.widening import holds
from cdc.schemas import TableSchema

POS: Final = "_cdc_pos"
"""Column: the position of the event that a row shows. Nothing older overwrites it."""

DELETED: Final = "_cdc_deleted"
"""Column, with `deletes: mark`: the row is deleted in the source."""

OP: Final = "_cdc_op"
"""Column of a table without key: the event's op, since each event is a row of its own there."""

_ADDED: Final[Mapping[str, sql.SQL]] = {
    POS: sql.SQL("text COLLATE \"C\" NOT NULL DEFAULT ''"),
    DELETED: sql.SQL("boolean NOT NULL DEFAULT false"),
    OP: sql.SQL("text"),
}

_TYPE: Final = re.compile(
    r'("[a-z]+"|[a-z][a-z0-9_]*( [a-z]+)*)(\(\d+(, ?-?\d+)?\))?( with(out)? time zone)?(\[\])*', re.ASCII
)


@dataclass(frozen=True, slots=True)
class Target:
    """A table that a topic is written to.

    Args:
        topic: the topic.
        schema, name: the table.
        columns: every column of the topic's descriptions → its type as the server writes it.
        key: the key's columns; empty: events are appended.
        mark: deleted rows are kept and marked.
    """

    topic: str
    schema: str
    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    mark: bool

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def added(self) -> tuple[str, ...]:
        """The columns that are the sink's own."""
        if not self.key:
            return (POS, OP)
        return (POS, DELETED) if self.mark else (POS,)


@dataclass(frozen=True, slots=True)
class Existing:
    """A table as the target's catalogue has it.

    Args:
        columns: name → type as the server writes it.
        required: columns that an INSERT must give: NOT NULL, without default.
        keys: column sets that are unique and can settle a conflict.
    """

    columns: Mapping[str, str]
    required: frozenset[str]
    keys: frozenset[frozenset[str]]


def wanted(versions: Sequence[TableSchema], schema: str, mapped: str | None, mark: bool) -> Target:
    """The table that holds all versions of a topic's rows; of a column's types the newest.

    Args:
        versions: the topic's descriptions, oldest first.
        schema: where target tables are.
        mapped: what the settings call the table (`orders`, `sales.orders`), or None.
        mark: keep deleted rows, marked.

    Raises:
        SinkError: a type that is none, or a column that has the name of one of ours.
    """
    newest = versions[-1]
    columns = {column.name: column.target_type for version in versions for column in version.columns}
    for name, type_ in columns.items():
        if not _TYPE.fullmatch(type_):
            raise SinkError(f"topic {newest.topic}: the description of column {name} has a type that is none")
    place, _, name = (mapped or newest.table.partition(".")[2] or newest.table).rpartition(".")
    target = Target(newest.topic, place or schema, name, columns, newest.key, mark)
    for name in target.added:
        if name in columns:
            raise SinkError(
                f"topic {newest.topic}: the source's column {name} has the name of one the sink adds",
                hint="leave that column out in the connector's settings (columns: exclude)",
            )
    return target


def creation(target: Target) -> list[sql.Composed]:
    """The statements that create the table.

    Only the key is NOT NULL: an event from before a column was added, or after it was dropped,
    must still find a place.
    """
    parts = [
        *(sql.SQL("{} {}").format(sql.Identifier(n), _type(t)) for n, t in target.columns.items()),
        *(sql.SQL("{} {}").format(sql.Identifier(n), _ADDED[n]) for n in target.added),
    ]
    if target.key:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(_names(target.key)))
    return [sql.SQL("CREATE TABLE {} ({})").format(target.identifier, sql.SQL(", ").join(parts))]


def changes(target: Target, existing: Existing) -> list[sql.Composed]:
    """The statements that make an existing table fit: new columns, wider types.

    Raises:
        SinkError: the table cannot be made to fit; its hint is the statement that is the owner's to run.
    """
    table = target.identifier
    statements = []
    for name, type_ in target.columns.items():
        has = existing.columns.get(name)
        if has is None:
            add = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
            statements.append(add.format(table, sql.Identifier(name), _type(type_)))
        elif not fits(has, type_):
            alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {}").format(table, sql.Identifier(name), _type(type_))
            if not holds(type_, has):
                raise SinkError(
                    f"target table {target.full_name}: column {name} is {has}, and its values are now {type_}",
                    hint=f"change it as its readers need it: {text(alter)} USING …;",
                )
            statements.append(alter)
    for name in target.added:
        if name not in existing.columns:
            add = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
            statements.append(add.format(table, sql.Identifier(name), _ADDED[name]))
    if target.key and frozenset(target.key) not in existing.keys:
        primary_key = sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(table, _names(target.key))
        raise SinkError(
            f"target table {target.full_name} has no unique key of ({', '.join(target.key)}), as {target.topic} has",
            hint=f"add one: {text(primary_key)};",
        )
    unknown = sorted(existing.required - set(target.columns) - set(target.added))
    if unknown:
        raise SinkError(
            f"target table {target.full_name}: column {unknown[0]} is NOT NULL without default, and no event has it",
            hint=f"give it a default: ALTER TABLE {target.full_name} ALTER COLUMN {unknown[0]} SET DEFAULT …;",
        )
    return statements


def fits(has: str, type_: str) -> bool:
    """Whether a column of type `has` may stay as it is for values of `type_`."""
    if holds(has, type_):
        return True
    # An enum or domain of the owner's own takes text; whether each value fits, the server says.
    return type_ == "text" and not _TYPE.fullmatch(has)


def text(statement: sql.Composed) -> str:
    """The statement as a person may run it."""
    return statement.as_string(None)


def _type(type_: str) -> sql.SQL:
    assert _TYPE.fullmatch(type_)
    return sql.SQL(type_)  # checked to be a type's name and nothing else


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
