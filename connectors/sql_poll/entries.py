"""Which tables and queries the entries of the settings mean, and what is polled of each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import sqlalchemy as sa

from cdc.config.consistency import nothing_matches
from cdc.errors import CdcError, ConfigError, Refused, SourceError
from cdc.names import event_topic
from cdc.patterns import is_expression, is_pattern, most_specific
from cdc.settings import Settings

from .rows import Polled
from .settings import PolledTable, SqlPollSettings
from .source import Found

Refuse = Callable[[str, CdcError], None]
"""Told of each table, or entry of the settings, that cannot be polled, and why."""


@dataclass(frozen=True, slots=True)
class There:
    """A table or view that there is, or a query that was declared.

    Args:
        schema, table: what it is called.
        by_name: whether no pattern means it: a view, a foreign table.
    """

    schema: str
    table: str
    by_name: bool

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.table}"


class Entries:
    """Those of one connector.

    Args:
        settings: all settings.
        name, section: the connector's.
    """

    def __init__(self, settings: Settings, name: str, section: SqlPollSettings) -> None:
        self._settings, self._name, self._tables = settings, name, section.tables

    def options(self, entry: str) -> PolledTable:
        return self._tables[entry]

    def each(
        self,
        there: Sequence[There],
        make: Callable[[str, There], Found],
        reading: Callable[[str], AbstractContextManager[None]],
        refuse: Refuse,
    ) -> list[Found]:
        """What is made of all that is polled; what cannot be is told, and the others go on.

        Args:
            there: all tables and views.
            make: called with each entry and what it means.
            reading: turns a driver's errors into ours.
        Raises: CdcError: a retriable one.
        """
        made = []
        for entry, one in self._chosen(there, refuse):
            try:
                with reading(one.full_name):
                    made.append(make(entry, one))
            except (SourceError, ConfigError, Refused) as error:
                if error.retriable:
                    raise
                refuse(one.full_name, error)
        return made

    def _chosen(self, there: Sequence[There], refuse: Refuse) -> Iterator[tuple[str, There]]:
        """What is polled, each with its entry: the queries, then the tables."""
        queries = {entry for entry, options in self._tables.items() if options.query is not None}
        tables = [one for one in there if one.full_name not in queries]
        names = [one.full_name for one in tables]
        for entry in self._tables:
            # A more specific entry may have taken all that it matches.
            if entry not in queries and not any(most_specific([entry], table) for table in names):
                refuse(entry, ConfigError([nothing_matches(self._settings, self._name, entry, names)]))
        for entry in sorted(queries):
            schema, _, table = entry.partition(".")
            yield entry, There(schema, table, True)
        for one in tables:
            matching = most_specific(self._tables, one.full_name)
            if matching is not None and not (one.by_name and is_pattern(matching)):
                yield matching, one

    def polled(self, entry: str, one: There, columns: Sequence[sa.ColumnClause[Any]], primary: Sequence[str]) -> Polled:
        """What is polled of a table or query.

        Args:
            columns: all that it has, in order.
            primary: those of its primary key.
        Raises: ConfigError: it has no key, not the columns that its options name, or one name twice.
        """
        options, names = self._tables[entry], [column.name for column in columns]
        key = tuple(options.keys(one.full_name, names) or primary)
        wrong = list(_wrong(entry, one.full_name, options, names, key))
        if wrong:
            path = ("connectors", self._name, "tables", entry)
            raise ConfigError([self._settings.problem(path, message, suggestion) for message, suggestion in wrong])
        source: sa.FromClause
        if options.query is not None:
            # Behind a line end: its last line may be a comment.
            source = sa.text(f"{options.query}\n".replace(":", "\\:")).columns(*columns).subquery(one.table)
        else:
            source = sa.table(one.table, *columns, schema=one.schema)
        topic = event_topic(self._settings.name, one.schema, one.table)
        published = tuple(name for name in names if options.publishes(one.full_name, name, key))
        return Polled(one.schema, one.table, topic, source, published, key, options)


def _wrong(
    entry: str, table: str, options: PolledTable, columns: Sequence[str], key: Sequence[str]
) -> Iterator[tuple[str, str]]:
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
    asked: dict[str, Iterable[str]] = {"message_key": options.message_key or ()}
    if not is_pattern(entry):
        # What a pattern leaves out or masks need not be in every table that it matches.
        asked |= named
    for setting, names in asked.items():
        for name in names:
            if name not in columns and not is_expression(name):
                yield f"table {table} has no column {name} ({setting})", _instead(name, columns)


def column_of(polled: Polled, name: str, subject: str, hint: str | None = None) -> sa.ColumnElement[Any]:
    """The column that a mode goes by.

    Args:
        subject: what to call the connector.
        hint: how to mend it, instead of the names that there are.
    Raises: SourceError: there is none.
    """
    if name not in polled.source.c:
        raise SourceError(
            f"{subject}: table {polled.name} has no column {name}",
            hint=hint or _instead(name, polled.source.c.keys()),
        )
    return polled.source.c[name]


def _instead(name: str, columns: Sequence[str]) -> str:
    close = get_close_matches(name, columns, n=1)
    return f"did you mean {close[0]}?" if close else "its columns: " + ", ".join(columns)
