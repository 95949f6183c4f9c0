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
from sinks.postgres.history import history
from sinks.postgres.settings import SchemaPolicy

FOLLOW: Final = SchemaPolicy()

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
        policy: what may be changed.
        renamed: (name before, name now) of columns.
        dropped: columns that the source has no more.
    """

    topic: str
    schema: str
    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    mark: bool
    policy: SchemaPolicy = FOLLOW
    renamed: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()

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


def wanted(
    versions: Sequence[TableSchema],
    schema: str,
    mapped: str | None,
    mark: bool,
    policy: SchemaPolicy = FOLLOW,
) -> Target:
    """The table that holds all versions of a topic's rows; of a column's types the newest.

    Args:
        versions: the topic's descriptions, oldest first.
        schema: where target tables are.
        mapped: what the settings call the table (`orders`, `sales.orders`), or None.
        mark: keep deleted rows, marked.
        policy: what is done when the source's table changes.

    Raises:
        SinkError: a type that is none, or a column that has the name of one of ours.
    """
    newest = versions[-1]
    became = history(versions, policy)
    columns = {
        name: column.target_type
        for version, names in zip(versions, became.names, strict=True)
        for column in version.columns
        if (name := names[column.name]) is not None
    }
    for name, type_ in columns.items():
        if not _TYPE.fullmatch(type_):
            raise SinkError(f"topic {newest.topic}: the description of column {name} has a type that is none")
    place, _, name = (mapped or newest.table.partition(".")[2] or newest.table).rpartition(".")
    target = Target(
        newest.topic, place or schema, name, columns, newest.key, mark, policy, became.renamed, became.dropped
    )
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
    """The statements that make an existing table fit: other names, new columns, wider types, columns that go.

    Raises:
        SinkError: the table cannot be made to fit; its hint is the statement that is the owner's to run.
    """
    table, policy = target.identifier, target.policy
    existing, statements = _renamed(target, existing)
    for name, type_ in target.columns.items():
        has = existing.columns.get(name)
        if has is None:
            add = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(table, sql.Identifier(name), _type(type_))
            statements.append(_allowed(target, policy.add == "stop", f"it lacks column {name}", add))
        elif not fits(has, type_):
            alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {}").format(table, sql.Identifier(name), _type(type_))
            if not holds(type_, has):
                raise SinkError(
                    f"target table {target.full_name}: column {name} is {has}, and its values are now {type_}",
                    hint=f"change it as its readers need it: {text(alter)} USING …;",
                )
            grown = f"column {name} is {has}, and its values are now {type_}"
            statements.append(_allowed(target, policy.widen == "stop", grown, alter))
    for name in target.dropped if policy.drop != "keep" else ():
        if name in existing.columns and name not in target.columns:
            drop = sql.SQL("ALTER TABLE {} DROP COLUMN {}").format(table, sql.Identifier(name))
            gone = f"the source has no column {name} any more"
            statements.append(_allowed(target, policy.drop == "stop", gone, drop))
    for name in target.added:
        if name not in existing.columns:
            own = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
            statements.append(own.format(table, sql.Identifier(name), _ADDED[name]))
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


def _renamed(target: Target, existing: Existing) -> tuple[Existing, list[sql.Composed]]:
    """The table as it is once columns have the names of today, and what gives them these."""
    columns, keys, statements = dict(existing.columns), existing.keys, []
    for old, new in target.renamed:
        if old not in columns or new in columns:
            continue
        rename = sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
            target.identifier, sql.Identifier(old), sql.Identifier(new)
        )
        statements.append(_allowed(target, target.policy.rename == "stop", f"column {old} is now {new}", rename))
        columns[new] = columns.pop(old)
        keys = frozenset(frozenset(new if name == old else name for name in key) for key in keys)
    required = frozenset(dict(target.renamed).get(name, name) for name in existing.required)
    return Existing(columns, required, keys), statements


def _allowed(target: Target, stop: bool, what: str, statement: sql.Composed) -> sql.Composed:
    if stop:
        raise SinkError(
            f"target table {target.full_name}: {what}, and schema_changes says stop",
            hint=f"run {text(statement)}; or let the sink do it",
        )
    return statement


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
