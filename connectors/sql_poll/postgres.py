"""Polling PostgreSQL: what there is, and its rows by COPY through the compiled encoder. Touches the database.

The same encoder makes the events of the write-ahead log, so that a table's events are the same either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple

import orjson
import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql

from cdc import __version__
from cdc.config.consistency import nothing_matches
from cdc.errors import CdcError, ConfigError, ProtocolError, SourceError, SourceUnavailable
from cdc.formats.debezium_json import SourceInfo
from cdc.formats.handling import Handling
from cdc.formats.postgres.encode_cy import RowEncoder
from cdc.formats.postgres.plan import Facts, plan_table, unknown_columns
from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TYPES_QUERY, types_from_rows
from cdc.names import event_topic
from cdc.patterns import is_pattern, most_specific
from cdc.schemas import TableSchema
from cdc.settings import Settings

from .copying import copied
from .rows import Polled, Row
from .settings import SqlPollSettings

DIALECT: Final = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
"""Named parameters, of which there are none: a percent sign is not doubled."""

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

PLAIN = "SELECT FROM pg_class WHERE oid = to_regclass(%s) AND relkind = 'r'"

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
        settings, section: for the plan and the envelope.
        check: called while the server says nothing; raises when it is time to stop.
    Raises: ConfigError: settings ask what a column cannot give.
    """

    def __init__(
        self,
        polled: Polled,
        described: Described,
        connection: psycopg.Connection[Any],
        settings: Settings,
        section: SqlPollSettings,
        check: Callable[[], None],
    ) -> None:
        self.polled, self._check = polled, check
        chosen = [column for column in described if column[0] in polled.columns]
        types = types_from_rows(connection.execute(TYPES_QUERY, [[oid for _, oid, _ in chosen]]).fetchall())
        quoted = sa.sql.quoted_name
        not_null = set(polled.key)
        if polled.options.query is None:
            not_null |= {row[0] for row in connection.execute(NOT_NULL, [regclass(polled)])}
        secret = section.mask_key
        relation = Relation(0, polled.schema, polled.table, "f", tuple(RelationColumn(*c, True) for c in chosen))
        self._plan = plan_table(
            relation,
            types,
            options=polled.options,
            key_columns=polled.key,
            topic=polled.topic,
            source=SourceInfo(settings.name, connection.info.dbname, __version__),
            handling=Handling(section.decimal),
            mask_key=secret.get_secret_value().encode() if secret is not None else None,
            facts=Facts(not_null=not_null),
        )
        self._encoder = RowEncoder(self._plan)
        self._only = (
            isinstance(polled.source, sa.TableClause)
            and connection.execute(PLAIN, [regclass(polled)]).fetchone() is not None
        )
        self._columns = [polled.source.c[quoted(name, None)] for name in self._plan.copy_columns]

    def describe(self, position: str) -> TableSchema:
        return self._plan.schema(position)

    def read(
        self, connection: sa.Connection, extras: Sequence[sa.ColumnElement[Any]], rest: sa.Select[Any]
    ) -> Iterator[Row]:
        if self._only:
            # A table's rows are its own, and not those of tables that inherit from it.
            rest = rest.with_hint(self.polled.source, "ONLY", "postgresql")
        statement = literal(rest.add_columns(*self._columns, *extras))
        encode = self._encoder.copy_row
        count = len(extras)
        with reading(self.polled.name):
            lines = copied(driver(connection), f"COPY ({statement}) TO STDOUT", self.polled.name, self._check)
            with closing(lines):
                for line in lines:
                    head, *behind = line[:-1].rsplit(b"\t", count) if count else (line,)
                    key, row = encode(head)
                    if b":null" in key and None in orjson.loads(key).values():
                        raise ProtocolError(
                            f"table {self.polled.name}: a column of its key ({', '.join(self.polled.key)}) is NULL",
                            hint="choose a message_key of columns that are never NULL",
                        )
                    yield key, row, behind

    def stored(self, extras: Sequence[Any]) -> list[Any]:
        return [_unescaped(value).decode() for value in extras]


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


_CONNECTION = ("08", "53", "57P")
"""How SQLSTATEs begin that say something of the server or the connection, and not of a statement."""

_PLAIN = ("08", "3D", "28", "42", "53", "55", "57")
"""Classes whose messages name things and no values; of syntax errors alone they may show a literal."""


def _refusal(subject: str, error: BaseException | None) -> SourceError:
    sqlstate = getattr(error, "sqlstate", None) or ""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    if sqlstate.startswith(_PLAIN) and sqlstate != "42601":
        what = primary or type(error).__name__
    elif not sqlstate and isinstance(error, psycopg.OperationalError):
        what = (str(error).splitlines() or ["the connection broke"])[0]
    else:
        what = type(error).__name__
    if isinstance(error, psycopg.OperationalError) and (not sqlstate or sqlstate.startswith(_CONNECTION)):
        return SourceUnavailable(f"{subject}: {what}")
    return SourceError(f"{subject}: {what} (SQLSTATE {sqlstate})")


def reflect(
    connection: psycopg.Connection[Any],
    settings: Settings,
    name: str,
    section: SqlPollSettings,
    refuse: Callable[[str, CdcError], None],
) -> Iterator[tuple[Polled, Described]]:
    """What is polled, as it is now.

    Args:
        refuse: told of each entry that matches nothing, and of each table without key or without a column that its
            options name.
    Raises: psycopg.Error.
    """
    rows = connection.execute(TABLES).fetchall()
    there = [_There(schema, table, kind, tuple(key or ())) for schema, table, kind, key in rows]
    entries = section.tables
    named = {entry for entry, options in entries.items() if options.query is not None}
    there = [one for one in there if one.full_name not in named]
    names = [one.full_name for one in there]
    for entry in entries:
        # A more specific entry may have taken all that it matches.
        if entry not in named and not any(most_specific([entry], table) for table in names):
            refuse(entry, ConfigError([nothing_matches(settings, name, entry, names)]))
    parts = [(entry, entry.partition(".")) for entry in sorted(named)]
    wanted = [(entry, _There(schema, table, "query", ())) for entry, (schema, _, table) in parts]
    for one in there:
        matching = most_specific(entries, one.full_name)
        if matching is not None and not (one.kind in "vmf" and is_pattern(matching)):
            wanted.append((matching, one))
    for entry, one in wanted:
        try:
            with reading(one.full_name), connection.transaction():
                found = _polled(connection, settings, name, entry, one)
        except SourceError as error:
            if error.retriable:
                raise
            refuse(one.full_name, error)
        except ConfigError as error:
            refuse(one.full_name, error)
        else:
            yield found


class _There(NamedTuple):
    schema: str
    table: str
    kind: str
    primary: tuple[str, ...]

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.table}"


def _polled(
    connection: psycopg.Connection[Any], settings: Settings, name: str, entry: str, one: _There
) -> tuple[Polled, Described]:
    options = settings.connectors[name].tables[entry]  # type: ignore[attr-defined]
    path = ("connectors", name, "tables", entry)
    key = tuple(options.message_key or one.primary)
    if not key:
        message = f"table {one.full_name} has no primary key: rows that are read again could not be told apart"
        raise ConfigError([settings.problem(path, message, "add message_key: [COLUMN, …], unique and never NULL")])
    described = describe(connection, one.schema, one.table, options.query)
    there = [column for column, _, _ in described]
    twice = sorted({column for column in there if there.count(column) > 1})
    if twice:
        message = f"query {one.full_name} has more than one column {', '.join(twice)}"
        raise ConfigError([settings.problem(path, message, "name them apart: SELECT a.id AS a_id, …")])
    relation = Relation(0, one.schema, one.table, "f", tuple(RelationColumn(*column, True) for column in described))
    unknown = unknown_columns(relation, options) if entry == one.full_name else []
    if unknown:
        raise ConfigError([settings.problem(path, problem.message, problem.suggestion) for problem in unknown])
    columns = [sa.column(column, PgColumn(oid)) for column, oid, _ in described]
    if options.query is not None:
        text = sa.text(f"{options.query}\n".replace(":", "\\:"))
        source: sa.FromClause = text.columns(*columns).subquery(one.table)
    else:
        source = sa.table(one.table, *columns, schema=one.schema)
    published = tuple(column for column in there if options.publishes(one.full_name, column, key))
    topic = event_topic(settings.name, one.schema, one.table)
    return Polled(one.schema, one.table, topic, source, published, key, options), described


def describe(connection: psycopg.Connection[Any], schema: str, table: str, query: str | None) -> Described:
    """Columns of a table, but for generated ones (no write-ahead log has them either), or of a query."""
    source = f"({query}\n) AS q" if query is not None else sql.Identifier(schema, table).as_string()
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
