"""What is polled, and how its rows are read: the seam between modes and databases. Nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from cdc.formats.contract import Described
from cdc.schemas import TableSchema

from .settings import PolledTable


@dataclass(frozen=True, slots=True)
class Polled:
    """A table, or a declared query, that is polled.

    Args:
        schema, table: what it is called in events, and its topic after them.
        topic: where its events go.
        source: the table, or the query as a subquery; its `.c` has every column that there is.
        columns: names of the published ones, in the order of the events' members.
        key: names of the columns of the event key; they are never NULL, and no two rows share one.
        options: from the settings.
    """

    schema: str
    table: str
    topic: str
    source: sa.FromClause
    columns: tuple[str, ...]
    key: tuple[str, ...]
    options: PolledTable

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"


TOO_LONG = (
    "it took longer than statement_timeout: raise that, read less at once (page.rows, page.blocks), add an index, "
    "or see who holds a lock; the next poll goes on there"
)
"""What to do about a statement that the database has ended."""

Row = tuple[bytes, bytes, Sequence[Any]]
"""Event key and row, as JSON, and what was selected behind the columns, as it comes."""


class Rows(Protocol):
    """How the rows of one polled table become JSON."""

    def describe(self, position: str) -> TableSchema:
        """What the schemas topic says of the table.

        Args:
            position: `cdc.pos` of the first event that has this form.
        """
        ...

    def unknown(self) -> Mapping[str, object]:
        """What stands for an unknown value of each column, in their order: null, or where that may not be, a zero."""
        ...

    def schemas(self) -> Described:
        """Kafka Connect's schemas of its keys and events."""
        ...

    def read(
        self, connection: sa.Connection, extras: Sequence[sa.ColumnElement[Any]], rest: sa.Select[Any]
    ) -> Iterator[Row]:
        """Select the columns and `extras` from the table, and read.

        Args:
            connection: within a transaction.
            extras: selected behind the columns.
            rest: a select of nothing (`sa.select().select_from(polled.source)`) with what belongs behind: conditions,
                order, limit.
        Raises:
            SourceUnavailable, SourceError: the database did not answer, or refused.
            ProtocolError: a value has no form.
        """
        ...

    def stored(self, extras: Sequence[Any]) -> list[Any]:
        """What was selected behind the columns as JSON, fit to stand in a condition: see `pages.bound`."""
        ...
