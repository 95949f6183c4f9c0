"""Polling PostgreSQL: what there is, and its rows by COPY through the compiled encoder. Touches the database.

The same encoder makes the events of the write-ahead log, so that a table's events are the same either way.
"""

from __future__ import annotations

import re
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy.dialects import postgresql

from cdc import __version__
from cdc.config.consistency import nothing_matches
from cdc.errors import ConfigError, Problem, SourceError, SourceUnavailable
from cdc.formats.debezium_json import SourceInfo
from cdc.formats.postgres.encode_cy import RowEncoder
from cdc.formats.postgres.plan import plan_table, unknown_columns
from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TYPES_QUERY, types_from_rows
from cdc.names import event_topic
from cdc.patterns import is_pattern, most_specific
from cdc.schemas import TableSchema
from cdc.settings import Settings

from .rows import Polled, Row
from .settings import PolledTable, SqlPollSettings

DIALECT: Final = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
"""Named parameters, of which there are none: a percent sign is not doubled."""

SILENCE_MS = 600_000
"""A server that is at work on a statement says nothing for as long as its `statement_timeout`."""

TIMESTAMP = 1114
"""OID of `timestamp without time zone`."""

TABLES = """
SELECT n.nspname, c.relname, c.relkind::text,
       (SELECT array_agg(a.attname::text ORDER BY k.place)
        FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%'
ORDER BY n.nspname, c.relname
"""

NOT_NULL = """
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND attnotnull AND NOT attisdropped
"""

GENERATED = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND attgenerated <> ''
"""

Described = tuple[tuple[str, int, int], ...]
"""Name, type and modifier of each column."""


class PgColumn(sa.types.UserDefinedType[Any]):
    """Any type of the server's: values are written as its text, and it is for the server to read them.

    Args:
        oid: of the type.
    """

    cache_ok = True

    def __init__(self, oid: int = 0) -> None:
        self.oid = oid

    @property
    def without_zone(self) -> bool:
        return self.oid == TIMESTAMP

    def literal_processor(self, dialect: sa.Dialect) -> Any:
        return lambda value: "'" + str(value).replace("'", "''") + "'"


def literal(statement: sa.Select[Any]) -> str:
    """A statement with all its values written into it."""
    return str(statement.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))


class PostgresRows:
    """The rows of one table or query; see `Rows`.

    Args:
        polled: which.
        described: its columns.
        connection: to ask for types.
        settings, section, database: for the plan and the envelope.
    Raises: ConfigError: settings ask what a column cannot give.
    """

    def __init__(
        self,
        polled: Polled,
        described: Described,
        connection: psycopg.Connection[Any],
        settings: Settings,
        section: SqlPollSettings,
    ) -> None:
        self.polled, self.described = polled, described
        chosen = [column for column in described if column[0] in polled.columns]
        types = types_from_rows(connection.execute(TYPES_QUERY, [[oid for _, oid, _ in chosen]]).fetchall())
        quoted = sa.sql.quoted_name
        not_null = {row[0] for row in connection.execute(NOT_NULL, [regclass(polled)])} | set(polled.key)
        secret = section.mask_key
        relation = Relation(0, polled.schema, polled.table, "f", tuple(RelationColumn(*c, True) for c in chosen))
        self._plan = plan_table(
            relation,
            types,
            options=polled.options,
            key_columns=polled.key,
            topic=polled.topic,
            source=SourceInfo(settings.name, connection.info.dbname, __version__),
            decimal=section.decimal,
            mask_key=secret.get_secret_value().encode() if secret is not None else None,
            not_null=not_null,
        )
        self._encoder = RowEncoder(self._plan)
        self._columns = [polled.source.c[quoted(name, None)] for name in self._plan.copy_columns]

    def describe(self, position: str) -> TableSchema:
        return self._plan.schema(position)

    def read(
        self, connection: sa.Connection, extras: Sequence[sa.ColumnElement[Any]], rest: sa.Select[Any]
    ) -> Iterator[Row]:
        statement = literal(rest.add_columns(*self._columns, *extras))
        encode = self._encoder.copy_row
        count = len(extras)
        with reading(self.polled.name):
            for line in copied(driver(connection), f"COPY ({statement}) TO STDOUT", self.polled.name):
                if not count:
                    yield *encode(line), ()
                else:
                    head, *behind = line[:-1].rsplit(b"\t", count)
                    yield *encode(head), behind

    def stored(self, extras: Sequence[Any]) -> list[Any]:
        return [_unescaped(value).decode() for value in extras]


def copied(connection: psycopg.Connection[Any], statement: str, subject: str) -> Iterator[bytes]:
    """The lines of a COPY, each with its newline. What is not read to its end leaves the connection of no more use.

    Raises: psycopg.Error; SourceUnavailable: the server has gone silent.
    """
    connection.execute("SELECT 1")  # the transaction begins
    pgconn = connection.pgconn
    pgconn.send_query(statement.encode())
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN)

    def arrive() -> None:
        if not waiting.poll(SILENCE_MS):
            raise SourceUnavailable(f"{subject}: the server has sent nothing for {SILENCE_MS // 1000} s")
        pgconn.consume_input()

    pgconn.flush()
    while pgconn.is_busy():
        arrive()
    result = pgconn.get_result()
    if result is None or result.status != ExecStatus.COPY_OUT:
        raise _failed(result)
    take = pgconn.get_copy_data
    while True:
        length, line = take(1)
        if length > 0:
            yield bytes(line)
        elif length == 0:
            arrive()
        else:
            break
    result = pgconn.get_result()
    if result is None or result.status != ExecStatus.COMMAND_OK:
        raise _failed(result)
    while pgconn.get_result() is not None:
        pass


def _failed(result: PGresult | None) -> psycopg.Error:
    if result is None:
        return psycopg.OperationalError("the connection broke")
    return psycopg.errors.error_from_result(result)


_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _unescaped(value: bytes) -> bytes:
    return re.sub(rb"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), value, flags=re.DOTALL)


def driver(connection: sa.Connection) -> psycopg.Connection[Any]:
    """psycopg's own connection; what it does is within the transaction of the other."""
    found = connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found


@contextmanager
def reading(subject: str) -> Iterator[None]:
    """Turn the driver's errors into the project's, without values."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _refusal(subject, error.orig) from error
    except psycopg.Error as error:
        raise _refusal(subject, error) from error


def _refusal(subject: str, error: BaseException | None) -> SourceError:
    sqlstate = getattr(error, "sqlstate", None)
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    first = (str(error).splitlines() or ["the connection broke"])[0]
    if isinstance(error, psycopg.OperationalError) and sqlstate != "57014":
        return SourceUnavailable(f"{subject}: {primary or first}")
    # The message alone: DETAIL and CONTEXT may hold values.
    return SourceError(f"{subject}: {primary or type(error).__name__} (SQLSTATE {sqlstate})")


def reflect(
    connection: psycopg.Connection[Any], settings: Settings, name: str, section: SqlPollSettings
) -> list[tuple[Polled, Described]]:
    """What is polled, as it is now.

    Raises: ConfigError: an entry that matches nothing, a table without key, a column that is not there.
    """
    there = [(schema, table, kind, tuple(key or ())) for schema, table, kind, key in connection.execute(TABLES)]
    problems: list[Problem] = []
    found: list[tuple[Polled, Described]] = []
    for entry, options in section.tables.items():
        if options.query is not None:
            schema, _, table = entry.partition(".")
            there = [one for one in there if one[:2] != (schema, table)]
            found += _polled(connection, settings, name, entry, (schema, table, "query", ()), options, problems)
    matched = set()
    for one in there:
        full_name = f"{one[0]}.{one[1]}"
        matching = most_specific(section.tables, full_name)
        if matching is None or (one[2] in "vmf" and is_pattern(matching)):
            continue
        matched.add(matching)
        found += _polled(connection, settings, name, matching, one, section.tables[matching], problems)
    names = [f"{schema}.{table}" for schema, table, *_ in there]
    problems += [
        nothing_matches(settings, name, entry, names)
        for entry, options in section.tables.items()
        if options.query is None
        and entry not in matched
        # A more specific entry may have taken all that it matches.
        and not any(most_specific([entry], table) for table in names)
    ]
    if problems:
        raise ConfigError(problems)
    return found


def _polled(
    connection: psycopg.Connection[Any],
    settings: Settings,
    name: str,
    entry: str,
    which: tuple[str, str, str, tuple[str, ...]],
    options: PolledTable,
    problems: list[Problem],
) -> Iterator[tuple[Polled, Described]]:
    schema, table, kind, primary = which
    path = ("connectors", name, "tables", entry)
    key = tuple(options.message_key or primary)
    if not key:
        message = f"table {schema}.{table} has no primary key: rows that are read again could not be told apart"
        problems.append(settings.problem(path, message, "add message_key: [COLUMN, …], unique and never NULL"))
        return
    described = describe(connection, schema, table, options.query)
    relation = Relation(0, schema, table, "f", tuple(RelationColumn(*column, True) for column in described))
    unknown = unknown_columns(relation, options) if entry == f"{schema}.{table}" else []
    problems += [settings.problem(path, problem.message, problem.suggestion) for problem in unknown]
    if unknown:
        return
    columns = [sa.column(column, PgColumn(oid)) for column, oid, _ in described]
    if kind == "query":
        text = sa.text((options.query or "").replace(":", "\\:"))
        source: sa.FromClause = text.columns(*columns).subquery(table)
    else:
        source = sa.table(table, *columns, schema=schema)
    chosen = options.columns
    published = tuple(
        column
        for column, _, _ in described
        if column in key
        or (column in chosen.include if chosen.include is not None else column not in (chosen.exclude or ()))
    )
    yield Polled(schema, table, event_topic(settings.name, schema, table), source, published, key, options), described


def describe(connection: psycopg.Connection[Any], schema: str, table: str, query: str | None) -> Described:
    """Columns of a table, but for generated ones (no write-ahead log has them either), or of a query."""
    source = f"({query}) AS q" if query is not None else sql.Identifier(schema, table).as_string()
    with reading(f"{schema}.{table}"), connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {source} LIMIT 0".encode())
        result = cursor.pgresult
        assert result is not None
        described = [
            ((result.fname(i) or b"").decode(), result.ftype(i), result.fmod(i)) for i in range(result.nfields)
        ]
        generated = {row[0] for row in connection.execute(GENERATED, [sql.Identifier(schema, table).as_string()])}
        return tuple(column for column in described if query is not None or column[0] not in generated)


def regclass(polled: Polled) -> str:
    """The table's name, quoted."""
    return sql.Identifier(polled.schema, polled.table).as_string()
