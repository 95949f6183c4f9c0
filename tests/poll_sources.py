"""Databases that are polled by generic means, as tests see them: what there is, and its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import psycopg
import sqlalchemy as sa

from cdc import databases
from cdc.errors import CdcError, ConfigError, Problem
from cdc.schemas import Column
from cdc.settings import DatabaseSettings, KafkaSettings, Settings
from connectors.sql_poll.generic import Described, GenericRows, reading
from connectors.sql_poll.generic_source import GenericSource
from connectors.sql_poll.pages import KeyPages
from connectors.sql_poll.rows import Polled
from connectors.sql_poll.settings import SqlPollSettings
from sinks.postgres.forms import converter
from tests.databases import Database

KEY = b"a secret"
SETTINGS = Settings(name="shop", kafka=KafkaSettings(bootstrap_servers="localhost:1"))


@dataclass
class Source:
    """A database, and the name of the schema that tables are in."""

    kind: str
    url: str
    schema: str

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        engine = databases.engine(DatabaseSettings.model_validate({"url": self.url}), "cdc test")
        with reading(self.kind), engine.connect() as connection:
            yield connection

    def execute(self, *statements: str) -> None:
        if self.kind == "duckdb":
            with duckdb.connect(self.url.removeprefix("duckdb:///")) as writer:
                for statement in statements:
                    writer.execute(statement)
            return
        with self.connect() as connection, connection.begin():
            for statement in statements:
                connection.exec_driver_sql(statement)

    def found(
        self, tables: dict[str, Any], decimal: str = "string"
    ) -> list[tuple[Polled, tuple[Described, ...], GenericRows]]:
        options: dict[str, Any] = {"database": "x", "tables": tables, "decimal": decimal, "mask_key": KEY.decode()}
        section = SqlPollSettings.model_validate(options)
        databases = {"x": DatabaseSettings.model_validate({"url": self.url})}
        source = GenericSource(SETTINGS.model_copy(update={"databases": databases}), "poll", section)
        problems: list[Problem] = []

        def refuse(_: str, error: CdcError) -> None:
            if not isinstance(error, ConfigError):
                raise error
            problems.extend(error.problems)

        with source.connect() as connection:
            found = source.find(connection, refuse)
        if problems:
            raise ConfigError(problems)
        return [(one.polled, one.form, one.rows) for one in found]  # type: ignore[misc]

    def rows(self, table: str, decimal: str = "string", **options: Any) -> list[dict[str, Any]]:
        ((polled, _, rows),) = self.found({f"{self.schema}.{table}": options}, decimal)
        with self.connect() as connection, connection.begin():
            read = rows.read(connection, (), sa.select().select_from(polled.source))
            return sorted((json.loads(row) for _, row, _ in read), key=lambda row: str(row[polled.key[0]]))

    def columns(self, table: str, decimal: str = "string", **options: Any) -> dict[str, Column]:
        ((_, _, rows),) = self.found({f"{self.schema}.{table}": options}, decimal)
        return {column.name: column for column in rows.describe("1").columns}


def described(columns: dict[str, Column]) -> dict[str, tuple[str, str, str | None]]:
    return {
        name: (column.form, column.target_type, (column.semantic or "").rpartition(".")[2] or None)
        for name, column in columns.items()
    }


def paged(source: Source, found: tuple[Polled, tuple[Described, ...], GenericRows], *, by_row: bool) -> list[bytes]:
    """All keys, in pages of two rows; each place is stored as JSON meanwhile."""
    polled, _, rows = found
    pages = KeyPages([polled.source.c[name] for name in polled.key], 2, (), by_row)
    place: list[Any] | None = None
    keys: list[bytes] = []
    while True:
        with source.connect() as connection, connection.begin():
            read = list(rows.read(connection, pages.extras, pages.select(polled.source, place)))
        keys += [key for key, _, _ in read]
        place = pages.end(place, len(read), rows.stored(read[-1][2])) if read else None
        if place is None:
            return keys
        place = json.loads(json.dumps(place))


def quoted(source: Source, name: str) -> str:
    return f"`{name}`" if source.kind == "mariadb" else f'"{name}"'


def kept(database: Database, columns: dict[str, Column], rows: list[dict[str, Any]]) -> None:
    """Have PostgreSQL keep the rows, as a sink would: each column in its target type."""
    declared = ", ".join(f'"{name}" {column.target_type}' for name, column in columns.items())
    database.execute(f"CREATE TABLE kept ({declared})")
    for row in rows:
        texts = {name: converter(columns[name])(value) for name, value in row.items() if value is not None}
        names, places = ", ".join(f'"{name}"' for name in texts), ", ".join(["%s"] * len(texts))
        with psycopg.connect(database.url()) as connection:
            connection.execute(f"INSERT INTO kept ({names}) VALUES ({places})", list(texts.values()))  # type: ignore[arg-type]
    ((count,),) = database.rows("SELECT count(*) FROM kept")
    assert count == len(rows)
