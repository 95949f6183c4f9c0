"""Rows of any database that SQLAlchemy reads, as JSON; and its drivers' errors as ours. Touches the database."""

from __future__ import annotations

import hmac
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from cdc.errors import ConfigError, Problem, ProtocolError, SourceError, SourceUnavailable
from cdc.formats import contract
from cdc.formats.columns import described as connect_schemas
from cdc.schemas import Column, TableSchema
from cdc.table_settings import Constant

from .forms import style_of
from .rows import TOO_LONG, Polled, Row
from .temporal import NoForm, is_zero_date
from .values import MYSQL, Convert, Kind, kind_of

FETCH: Final = 1000
"""Rows that are taken from the driver at a time."""


class _Raw(sa.types.UserDefinedType[Any]):
    """Values as the driver gives them: SQLAlchemy's own conversions differ from ours, and some fail on odd values."""

    cache_ok = True


_RAW: Final = _Raw()


@dataclass(frozen=True, slots=True)
class Described:
    """A column as the source has it.

    Args:
        name: of it.
        sql: its type, as the source writes it; equal as long as it is.
        nullable: whether it may be NULL.
        type: for SQLAlchemy.
    """

    name: str
    sql: str
    nullable: bool
    type: sa.types.TypeEngine[Any] = field(compare=False, repr=False)


class _Text(sa.types.UserDefinedType[str]):
    cache_ok = True

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def get_col_spec(self, **_: Any) -> str:
        return "VARCHAR" + "[]" * self.dimensions


class GenericRows:
    """The rows of one table or query; see `Rows`.

    Args:
        polled: which. The types of its columns are `SourceType`s.
        described: all its columns.
        database: the dialect's name.
        decimal: form of numerics: `string`, `double` or `precise`.
        format: of the topic's records.
        mask_key: of HMACs.
    Raises: ConfigError: settings ask what a column cannot give.
    """

    def __init__(
        self,
        polled: Polled,
        described: Sequence[Described],
        database: str,
        *,
        decimal: str,
        format: str,
        mask_key: bytes | None,
    ) -> None:
        self.polled, self._style = polled, style_of(format, polled.name, polled.columns)
        kinds = {one.name: (kind_of(one.type, database, decimal), one) for one in described}
        _check(polled, kinds, mask_key)
        self._names = polled.columns
        self._key = [polled.columns.index(name) for name in polled.key]
        self._columns = [_selected(polled.source.c[name], kinds[name][1].type, database) for name in self._names]
        planned = [self._planned(*kinds[name], database, mask_key) for name in self._names]
        self._described = tuple(column for column, _ in planned)
        self._converts = [(at, convert) for at, (_, convert) in enumerate(planned) if convert is not None]

    def describe(self, position: str) -> TableSchema:
        polled = self.polled
        return TableSchema(polled.name, polled.topic, self._described, polled.key, position, format=self._style.format)

    def unknown(self) -> Mapping[str, object]:
        return {column.name: _zero(column) for column in self._described}

    def schemas(self) -> contract.Described:
        return connect_schemas(self.describe(""), self._style)

    def read(
        self, connection: sa.Connection, extras: Sequence[sa.ColumnElement[Any]], rest: sa.Select[Any]
    ) -> Iterator[Row]:
        statement = rest.add_columns(*self._columns, *extras)
        options = {"stream_results": connection.dialect.name in MYSQL, "yield_per": FETCH}
        count = len(self._columns)
        with reading(self.polled.name), connection.execute(statement, execution_options=options) as result:
            for row in result:
                values = list(row[:count])
                yield *self._encoded(values), row[count:]

    def stored(self, extras: Sequence[Any]) -> list[Any]:
        return list(extras)  # `SourceType` has done it

    def _encoded(self, values: list[Any]) -> tuple[bytes, bytes]:
        at = -1
        try:
            for at, convert in self._converts:
                if values[at] is not None:
                    values[at] = convert(values[at])
            at = -1
            key = orjson.dumps({self._names[place]: values[place] for place in self._key})
            row = orjson.dumps(dict(zip(self._names, values, strict=True)))
        except (ValueError, TypeError, ArithmeticError) as error:
            where = f"column {self._names[at]}" if at >= 0 else "a column"
            # Only ours is known to show no value.
            why = str(error) if isinstance(error, NoForm) else type(error).__name__
            raise ProtocolError(f"table {self.polled.name}: {where} has a value without a form: {why}") from None
        if any(values[place] is None for place in self._key):
            raise ProtocolError(
                f"table {self.polled.name}: a column of its key ({', '.join(self.polled.key)}) is NULL",
                hint="choose a message_key of columns that are never NULL",
            )
        return key, row

    def _planned(
        self, kind: Kind, described: Described, database: str, mask_key: bytes | None
    ) -> tuple[Column, Convert | None]:
        name, options = described.name, self.polled.options
        nullable = described.nullable and name not in self.polled.key
        column = kind.column(name, described.sql, nullable=nullable)
        match options.mask.get(name):
            case Constant(constant=constant):
                return Column(name, described.sql, "text", "string", nullable=nullable), lambda _: constant
            case "hmac":
                assert mask_key is not None
                masked = Column(name, described.sql, "text", "string", nullable=nullable)
                return masked, _digest(kind.text, mask_key)
        convert = kind.json
        if name in options.truncate:
            length, whole = options.truncate[name], kind.text
            return column, lambda value: whole(value)[:length]
        if convert is not None and kind.zero is not None and database in MYSQL:
            return column, _but_zero_dates(convert, None if nullable else kind.zero)
        return column, convert


def _selected(column: sa.ColumnElement[Any], type_: sa.types.TypeEngine[Any], database: str) -> sa.ColumnElement[Any]:
    """What to select to have a column's values whole."""
    if database in MYSQL and isinstance(type_, mysql.FLOAT):
        # As text, a FLOAT has six digits; as a DOUBLE it has all.
        return sa.type_coerce(column.op("+")(sa.literal_column("0e0")), _RAW)
    if database == "duckdb":
        item, dimensions = type_, 0
        if isinstance(type_, sa.ARRAY):
            item, dimensions = type_.item_type, type_.dimensions or 1
        # In Python an infinite date is the last one of year 9999, a month of an interval 30 days, …
        as_text = (sa.Date, sa.DateTime, sa.Time, sa.JSON, sa.types.NullType, postgresql.INTERVAL)
        if isinstance(item, as_text):
            return sa.type_coerce(sa.cast(column, _Text(dimensions)), _RAW)
    return sa.type_coerce(column, _RAW)


_ZEROS: Final = {
    "int16": 0,
    "int32": 0,
    "int64": 0,
    "float32": 0.0,
    "float64": 0.0,
    "boolean": False,
    "array": [],
    "struct": {"scale": 0, "value": "AA=="},  # the only one: a decimal with the scale that it has
}

_TIMES: Final = {
    "io.debezium.time.ZonedTime": "00:00:00Z",
    "io.debezium.time.ZonedTimestamp": "1970-01-01T00:00:00Z",
    "org.apache.kafka.connect.data.Decimal": "AA==",
}


def _zero(column: Column) -> object:
    """What stands for an unknown value: null, or where that is not allowed, as Debezium has it."""
    if column.nullable:
        return None
    if column.semantic in _TIMES:
        return _TIMES[column.semantic]
    return _ZEROS.get(column.form, "0" if "precision" in column.parameters else "")


def _digest(text: Callable[[Any], str], key: bytes) -> Convert:
    return lambda value: hmac.digest(key, text(value).encode(), "sha256").hex()


def _but_zero_dates(convert: Convert, zero: Any) -> Convert:
    return lambda value: zero if is_zero_date(value) else convert(value)


def _check(polled: Polled, kinds: Mapping[str, tuple[Kind, Described]], mask_key: bytes | None) -> None:
    options, table = polled.options, polled.name
    constants = {name for name, mask in options.mask.items() if isinstance(mask, Constant)}
    problems = [
        Problem(f"table {table}: key column {name} cannot be {how}: rows would share a key")
        for name in polled.key
        for how, columns in (("truncated", set(options.truncate)), ("masked by a constant", constants))
        if name in columns
    ]
    problems += [
        Problem(f"table {table}: column {name} is not text, only text can be truncated")
        for name in options.truncate
        if name in kinds and (kinds[name][0].target, kinds[name][0].semantic) != ("text", None)
    ]
    if mask_key is None and "hmac" in options.mask.values():
        problems.append(
            Problem(f"table {table}: mask: hmac needs a key", suggestion="set mask_key_file for the connector")
        )
    if problems:
        raise ConfigError(problems)


@contextmanager
def reading(subject: str) -> Iterator[None]:
    """Turn the drivers' errors into the project's, by class and code: their messages may hold values.

    Raises: SourceUnavailable, SourceError; ProtocolError: what was read cannot be.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _refusal(subject, error) from None
    except sa.exc.SQLAlchemyError as error:
        raise SourceError(f"{subject}: {type(error).__name__}") from None


_MYSQL_LATER: Final = frozenset(
    {
        1040,  # too many connections
        1045,  # the password may be about to change
        1053,  # the server shuts down
        1080, 1152, 1159, 1161, 1184,  # the connection broke
        1203, 1226,  # the user has too many
        1205, 1213,  # a lock was waited for too long, a deadlock
        1317, 1927,  # the statement was ended by somebody
        2002, 2003, 2006, 2013, 2014, 2055,  # the server is not there, or is gone
    }
)  # fmt: skip

_MYSQL_TOO_LONG: Final = ("1969", "3024")
"""Its time was up: it would be again, and the tables behind it are to be polled."""

_SQLITE_LATER: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_SCHEMA,
    }
)

_STATES_LATER: Final = ("08", "HYT", "40001", "57")
"""How SQLSTATEs begin that a retry may help with."""


def _refusal(subject: str, error: sa.exc.DBAPIError) -> SourceError:
    cause = error.orig
    code = _code(cause)
    said = f"{subject}: {type(cause).__name__}" + (f" {code}" if code else "")
    if type(cause).__module__.startswith("pymysql") and code in _MYSQL_TOO_LONG:
        return SourceError(f"{said}: a statement took too long", hint=TOO_LONG)
    return (SourceUnavailable if _may_pass(error, cause, code) else SourceError)(said)


def _code(cause: BaseException | None) -> str:
    name = getattr(cause, "sqlite_errorname", None)
    if name:
        return str(name)
    first = cause.args[0] if cause is not None and cause.args else None
    code = getattr(first, "full_code", first)  # Oracle's, if it has one
    return str(code) if re.fullmatch(r"\d+|[0-9A-Z]{5}|[A-Z]+-\d+", str(code)) else ""


def _may_pass(error: sa.exc.DBAPIError, cause: BaseException | None, code: str) -> bool:
    if error.connection_invalidated:
        return True
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_LATER
    if type(cause).__module__.startswith("pymysql"):
        return code.isdigit() and int(code) in _MYSQL_LATER
    if "duckdb" in type(cause).__module__:
        # Another process writes to the file, or the file is being changed.
        return type(cause).__name__ in ("IOException", "ConnectionException", "TransactionException")
    oracle = getattr(cause.args[0], "isrecoverable", False) if cause is not None and cause.args else False
    return bool(oracle) or code.startswith(_STATES_LATER) or code in ("ORA-12541", "ORA-12170", "DPY-6005")
