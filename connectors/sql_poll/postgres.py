"""Polling PostgreSQL: what there is, and its rows by COPY through the compiled encoder. Touches the database.

The same encoder makes the events of the write-ahead log, so that a table's events are the same either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import orjson
import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql

from cdc import __version__
from cdc.errors import ProtocolError, SourceError, SourceUnavailable
from cdc.formats import contract
from cdc.formats.debezium_json import SourceInfo
from cdc.formats.handling import Handling
from cdc.formats.postgres.described import described as connect_schemas
from cdc.formats.postgres.encode_cy import RowEncoder
from cdc.formats.postgres.plan import Facts, plan_table
from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TYPES_QUERY, types_from_rows
from cdc.schemas import TableSchema
from cdc.settings import Settings

from .copying import copied
from .entries import There
from .forms import style_of
from .rows import TOO_LONG, Polled, Row
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
            style=style_of(section.format_of(polled.options), polled.name, polled.columns),
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

    def unknown(self) -> Mapping[str, object]:
        return {column.name: orjson.loads(column.zero) for column in self._plan.columns[: self._plan.shown]}

    def schemas(self) -> contract.Described:
        return connect_schemas(self._plan)

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
def reading(subject: str, *, whole: bool = False) -> Iterator[None]:
    """Turn the driver's errors into the project's, without values.

    Args:
        whole: whether nothing goes on without what is read: a statement that was ended is worth another try. Of one
            table it is not, as the others would wait for it.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _refusal(subject, error.orig, whole) from error
    except psycopg.Error as error:
        raise _refusal(subject, error, whole) from error


_CONNECTION = ("08", "53", "57P")
"""How SQLSTATEs begin that say something of the server or the connection, and not of a statement."""

_ENDED = ("40001", "55P03", "57014")
"""A standby went on, a lock was not to be had, somebody or its time ended the statement."""

_PLAIN = ("08", "3D", "28", "42", "53", "55", "57")
"""Classes whose messages name things and no values; of syntax errors alone they may show a literal."""


def _refusal(subject: str, error: BaseException | None, whole: bool) -> SourceError:
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
    hint = TOO_LONG if sqlstate == "57014" and "user request" not in what else None
    kind = SourceUnavailable if whole and sqlstate in _ENDED else SourceError
    return kind(f"{subject}: {what} (SQLSTATE {sqlstate})", hint=hint)


def tables(connection: psycopg.Connection[Any]) -> dict[There, tuple[str, ...]]:
    """All tables and views → columns of the primary key. Raises: psycopg.Error."""
    rows = connection.execute(TABLES).fetchall()
    return {There(schema, table, kind in "vmf"): tuple(key or ()) for schema, table, kind, key in rows}


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
