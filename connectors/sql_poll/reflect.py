"""Which tables there are in any database that SQLAlchemy reads, and their columns. Touches the database."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Final

import sqlalchemy as sa

from .entries import There
from .generic import Described
from .stored import SourceType
from .values import kind_of

_SYSTEM: Final = frozenset(
    {"information_schema", "performance_schema", "mysql", "sys", "temp", "pg_catalog", "guest", "xdb", "system"}
)
"""Schemas that are nobody's own."""


def tables(connection: sa.Connection, entries: Iterable[str]) -> list[There]:
    """All tables and views in schemas that an entry may mean."""
    if connection.dialect.name == "duckdb":
        rows = connection.execute(
            sa.text(
                "SELECT schema_name, table_name, false FROM duckdb_tables() WHERE database_name = current_database() "
                "UNION ALL SELECT schema_name, view_name, true FROM duckdb_views() "
                "WHERE database_name = current_database() AND NOT internal ORDER BY 1, 2"
            )
        )
        return [There(*row) for row in rows]
    inspector = sa.inspect(connection)
    wanted = [entry.partition(".")[0] if "." in entry else "*" for entry in entries]
    schemas = [
        schema
        for schema in sorted(inspector.get_schema_names())
        if schema.lower() not in _SYSTEM and any(fnmatchcase(schema, part) for part in wanted)
    ]
    return [
        There(schema, table, view)
        for schema in schemas
        for view, found in ((False, inspector.get_table_names(schema)), (True, inspector.get_view_names(schema)))
        for table in sorted(found)
    ]


def column(described: Described, database: str) -> sa.ColumnClause[Any]:
    """A column, to be compared and paged by.

    Args:
        database: the dialect's name.
    """
    kind = kind_of(described.type, database, "string")
    return sa.column(described.name, SourceType(described.sql, kind.semantic == "io.debezium.time.ZonedTimestamp"))
