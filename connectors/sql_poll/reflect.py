"""What there is to poll in any database that SQLAlchemy reads: tables, columns, keys. Touches the database."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from cdc.config.consistency import nothing_matches
from cdc.errors import CdcError, ConfigError, SourceError
from cdc.names import event_topic
from cdc.patterns import is_pattern, most_specific
from cdc.settings import Settings

from .described import describe_query, describe_table
from .generic import Described, reading
from .rows import Polled
from .settings import PolledTable, SqlPollSettings
from .stored import SourceType
from .values import kind_of

_SYSTEM: Final = frozenset(
    {"information_schema", "performance_schema", "mysql", "sys", "temp", "pg_catalog", "guest", "xdb", "system"}
)
"""Schemas that are nobody's own."""


class _There(NamedTuple):
    schema: str
    table: str
    view: bool


def reflect(
    connection: sa.Connection,
    settings: Settings,
    name: str,
    section: SqlPollSettings,
    refuse: Callable[[str, CdcError], None],
) -> Iterator[tuple[Polled, tuple[Described, ...]]]:
    """What is polled, as it is now.

    Args:
        connection: not PostgreSQL's; see `postgres.reflect`.
        settings, name, section: of the connector.
        refuse: told of each entry that matches nothing, and of each table that cannot be polled, and why.
    Raises:
        SourceUnavailable, SourceError: the database did not answer, or refused.
    """
    with reading(f"connector {name}"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=sa.exc.SAWarning, message="Did not recognize type")
        yield from _Reflection(connection, settings, name, section, refuse).all()


class _Reflection:
    def __init__(
        self,
        connection: sa.Connection,
        settings: Settings,
        name: str,
        section: SqlPollSettings,
        refuse: Callable[[str, CdcError], None],
    ) -> None:
        self._connection, self._settings, self._name, self._section = connection, settings, name, section
        self._refuse = refuse
        self._database = connection.dialect.name

    def all(self) -> Iterator[tuple[Polled, tuple[Described, ...]]]:
        """Queries and tables; one that cannot be polled is told, and the others go on."""
        entries = self._section.tables
        named = {entry for entry, options in entries.items() if options.query is not None}
        parts = [(entry, entry.partition(".")) for entry in sorted(named)]
        wanted = [(entry, _There(schema, table, True)) for entry, (schema, _, table) in parts]
        there = [one for one in _there(self._connection, entries) if f"{one.schema}.{one.table}" not in named]
        names = [f"{one.schema}.{one.table}" for one in there]
        for entry in entries:
            # A more specific entry may have taken all that it matches.
            if entry not in named and not any(most_specific([entry], full_name) for full_name in names):
                self._refuse(entry, ConfigError([nothing_matches(self._settings, self._name, entry, names)]))
        for one, full_name in zip(there, names, strict=True):
            matching = most_specific(entries, full_name)
            if matching is not None and not (one.view and is_pattern(matching)):
                wanted.append((matching, one))
        for entry, one in wanted:
            try:
                with reading(f"{one.schema}.{one.table}"):
                    found = self._described(entry, one)
            except (SourceError, ConfigError) as error:
                if error.retriable:
                    raise
                self._refuse(f"{one.schema}.{one.table}", error)
            else:
                yield found

    def _described(self, entry: str, one: _There) -> tuple[Polled, tuple[Described, ...]]:
        options = self._section.tables[entry]
        if options.query is not None:
            return self._polled(entry, one, options, describe_query(self._connection, options.query), ())
        return self._polled(entry, one, options, *describe_table(self._connection, one.schema, one.table))

    def _polled(
        self,
        entry: str,
        one: _There,
        options: PolledTable,
        described: tuple[Described, ...],
        primary: tuple[str, ...],
    ) -> tuple[Polled, tuple[Described, ...]]:
        key = tuple(options.message_key or primary)
        wrong = list(_wrong(entry, one, options, [column.name for column in described], key))
        path = ("connectors", self._name, "tables", entry)
        if wrong:
            raise ConfigError([self._settings.problem(path, message, suggestion) for message, suggestion in wrong])
        columns = [self._column(column) for column in described]
        if options.query is not None:
            text = sa.text(options.query.replace(":", "\\:"))
            source: sa.FromClause = text.columns(*columns).subquery(one.table)
        else:
            source = sa.table(one.table, *columns, schema=one.schema)
        topic = event_topic(self._settings.name, one.schema, one.table)
        published = tuple(
            column.name for column in described if options.publishes(f"{one.schema}.{one.table}", column.name, key)
        )
        return Polled(one.schema, one.table, topic, source, published, key, options), described

    def _column(self, described: Described) -> sa.ColumnClause[Any]:
        kind = kind_of(described.type, self._database, "string")
        zoned = kind.semantic == "io.debezium.time.ZonedTimestamp"
        return sa.column(described.name, SourceType(described.sql, zoned))


def _wrong(
    entry: str, one: _There, options: PolledTable, columns: Sequence[str], key: Sequence[str]
) -> Iterator[tuple[str, str]]:
    table = f"{one.schema}.{one.table}"
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        yield f"query {table} has more than one column {', '.join(twice)}", "name them apart: SELECT a.id AS a_id, …"
        return
    if not key:
        message = f"table {table} has no primary key: rows that are read again could not be told apart"
        yield message, "add message_key: [COLUMN, …], unique and never NULL"
        return
    named = {
        "columns.include": options.columns.include or (),
        "columns.exclude": options.columns.exclude or (),
        "mask": options.mask,
        "truncate": options.truncate,
    }
    needed = {"message_key": options.message_key or (), "column": [options.column] if options.column else []}
    # What a pattern leaves out or masks need not be in every table that it matches.
    for setting, names in needed.items() if is_pattern(entry) else (needed | named).items():
        for name in names:
            if name not in columns:
                close = get_close_matches(name, columns, n=1)
                suggestion = f"did you mean {close[0]}?" if close else "its columns: " + ", ".join(columns)
                yield f"table {table} has no column {name} ({setting})", suggestion


def _there(connection: sa.Connection, entries: Sequence[str] | Any) -> list[_There]:
    """All tables and views in schemas that an entry may mean."""
    if connection.dialect.name == "duckdb":
        rows = connection.execute(
            sa.text(
                "SELECT schema_name, table_name, false FROM duckdb_tables() WHERE database_name = current_database() "
                "UNION ALL SELECT schema_name, view_name, true FROM duckdb_views() "
                "WHERE database_name = current_database() AND NOT internal ORDER BY 1, 2"
            )
        )
        return [_There(*row) for row in rows]
    inspector = sa.inspect(connection)
    wanted = [entry.partition(".")[0] if "." in entry else "*" for entry in entries]
    schemas = [
        schema
        for schema in sorted(inspector.get_schema_names())
        if schema.lower() not in _SYSTEM and any(fnmatchcase(schema, part) for part in wanted)
    ]
    return [
        _There(schema, table, view)
        for schema in schemas
        for view, tables in ((False, inspector.get_table_names(schema)), (True, inspector.get_view_names(schema)))
        for table in sorted(tables)
    ]
