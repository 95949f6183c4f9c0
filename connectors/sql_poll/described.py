"""Columns of a table or a query, as the database or its driver tells them. Touches the database."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from .duckdb_types import type_of
from .generic import Described


def describe(
    connection: sa.Connection, schema: str, table: str, query: str | None
) -> tuple[tuple[Described, ...], tuple[str, ...]]:
    """Columns of a table or view, or of a query in its place, and those of the primary key.

    Raises: sqlalchemy.exc.NoSuchTableError, sqlalchemy.exc.DBAPIError.
    """
    return describe_table(connection, schema, table) if query is None else (_described_query(connection, query), ())


def describe_table(connection: sa.Connection, schema: str, table: str) -> tuple[tuple[Described, ...], tuple[str, ...]]:
    """Columns of a table or view, and those of its primary key; see `describe`."""
    if connection.dialect.name == "duckdb":
        quote = connection.dialect.identifier_preparer.quote_identifier
        try:
            described = _described_by_duckdb(connection, f"FROM {quote(schema)}.{quote(table)}")
        except sa.exc.ProgrammingError as error:
            if type(error.orig).__name__ == "CatalogException":
                raise sa.exc.NoSuchTableError(table) from None
            raise
        keys = connection.execute(
            sa.text(
                "SELECT constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY' "
                "AND database_name = current_database() AND schema_name = :schema AND table_name = :table"
            ),
            {"schema": schema, "table": table},
        ).scalars()
        return described, tuple(next(iter(keys), ()))
    inspector = sa.inspect(connection)
    declared = _declared_in_sqlite(connection, schema, table) if connection.dialect.name == "sqlite" else {}
    columns = tuple(
        Described(
            column["name"],
            declared.get(column["name"]) or _sql(column["type"], connection.dialect),
            bool(column["nullable"]),
            _affine(declared.get(column["name"]), column["type"]),
        )
        for column in _columns(inspector, schema, table)
    )
    return columns, tuple(inspector.get_pk_constraint(table, schema)["constrained_columns"])


def _columns(inspector: sa.Inspector, schema: str, table: str) -> Sequence[Any]:
    with warnings.catch_warnings():
        # A type that SQLAlchemy does not know is told as text.
        warnings.filterwarnings("ignore", category=sa.exc.SAWarning, message="Did not recognize type")
        return inspector.get_columns(table, schema)


def _described_query(connection: sa.Connection, query: str) -> tuple[Described, ...]:
    escaped = query.replace("%", "%%") if connection.dialect.paramstyle in ("format", "pyformat") else query
    if connection.dialect.name == "duckdb":
        return _described_by_duckdb(connection, query)
    if connection.dialect.name == "sqlite":
        return _described_by_values(connection, query)
    nothing = "WHERE 1 = 0"  # LIMIT 0 is not everybody's
    alias = "q" if connection.dialect.name == "oracle" else "AS q"
    with connection.exec_driver_sql(f"SELECT * FROM ({escaped}) {alias} {nothing}") as result:
        cursor = result.cursor
        assert cursor is not None
        fields = getattr(getattr(cursor, "_result", None), "fields", None)
        types = [_field_type(field) for field in fields] if fields else [_told(one) for one in cursor.description or ()]
        names = [str(one[0]) for one in cursor.description or ()]
    dialect = connection.dialect
    return tuple(Described(name, _sql(type_, dialect), True, type_) for name, type_ in zip(names, types, strict=True))


def _described_by_duckdb(connection: sa.Connection, query: str) -> tuple[Described, ...]:
    rows = connection.exec_driver_sql(f"DESCRIBE {query}").all()
    return tuple(Described(row[0], row[1], row[2] == "YES", type_of(row[1])) for row in rows)


def _described_by_values(connection: sa.Connection, query: str) -> tuple[Described, ...]:
    """SQLite tells no types of what is computed: those of the first values that are not NULL."""
    types: dict[int, sa.types.TypeEngine[Any]] = {}
    with connection.exec_driver_sql(f"SELECT * FROM ({query}) AS q") as result:
        names = list(result.keys())
        for row in result:
            for place, value in enumerate(row):
                if value is not None:
                    types.setdefault(place, _of_value(value))
            if len(types) == len(names):
                break
    found = [types.get(place, sa.types.NullType()) for place in range(len(names))]
    dialect = connection.dialect
    return tuple(Described(name, _sql(type_, dialect), True, type_) for name, type_ in zip(names, found, strict=True))


def _of_value(value: Any) -> sa.types.TypeEngine[Any]:
    kinds: dict[type, sa.types.TypeEngine[Any]] = {
        bool: sa.Boolean(),
        int: sa.BigInteger(),
        float: sa.Double(),
        Decimal: sa.Numeric(),
        str: sa.Text(),
        bytes: sa.LargeBinary(),
    }
    return kinds.get(type(value), sa.types.NullType())


def _told(description: Sequence[Any]) -> sa.types.TypeEngine[Any]:
    """What a driver's `cursor.description` says: a Python type (ODBC), or one of Oracle's names."""
    code, precision, scale = description[1], description[4], description[5]
    name = getattr(code, "__name__", getattr(code, "name", "")).lower().removeprefix("db_type_")
    match name:
        case "int" | "long":
            return sa.BigInteger()
        case "bool" | "boolean":
            return sa.Boolean()
        case "float" | "binary_double":
            return sa.Double()
        case "decimal" | "number":
            limited = bool(precision) and scale is not None and 0 <= scale <= precision
            return sa.Numeric(precision, scale) if limited else sa.Numeric()
        case "date":
            return sa.Date() if code.__module__ == "datetime" else sa.DateTime()
        case "datetime" | "timestamp":
            return sa.DateTime()
        case "timestamp_tz" | "timestamp_ltz":
            return sa.DateTime(timezone=True)
        case "time":
            return sa.Time()
        case "bytes" | "bytearray" | "raw" | "blob" | "long_raw":
            return sa.LargeBinary()
        case "uuid":
            return sa.Uuid()
        case "str" | "varchar" | "nvarchar" | "char" | "nchar" | "clob" | "nclob" | "long":
            return sa.Text()
        case _:
            return sa.types.NullType()


_UNSIGNED: Final = 32
_BINARY: Final = 63
"""MySQL's flag of a column, and its number of the collation of bytes."""


def _field_type(field: Any) -> sa.types.TypeEngine[Any]:
    """A column of an answer in MySQL's protocol."""
    unsigned, bare = bool(field.flags & _UNSIGNED), field.charsetnr == _BINARY
    fsp = field.scale if field.scale <= 6 else None
    match field.type_code:
        case 1:
            return mysql.TINYINT(display_width=1 if field.length == 1 else None, unsigned=unsigned)
        case 2:
            return mysql.SMALLINT(unsigned=unsigned)
        case 3:
            return mysql.INTEGER(unsigned=unsigned)
        case 4:
            return mysql.FLOAT()
        case 5:
            return mysql.DOUBLE()
        case 7:
            return mysql.TIMESTAMP(fsp=fsp)
        case 8:
            return mysql.BIGINT(unsigned=unsigned)
        case 9:
            return mysql.MEDIUMINT(unsigned=unsigned)
        case 10:
            return sa.DATE()
        case 11:
            return mysql.TIME(fsp=fsp)
        case 12:
            return mysql.DATETIME(fsp=fsp)
        case 13:
            return mysql.YEAR()
        case 16:
            return mysql.BIT(field.length)
        case 245:
            return mysql.JSON()
        case 246:
            # The length counts a sign and a point.
            precision = field.length - (not unsigned) - (field.scale > 0)
            return mysql.DECIMAL(precision, field.scale)
        case 247 | 248 | 249 | 250 | 251 | 252 | 253 | 254:
            return mysql.LONGBLOB() if bare else mysql.LONGTEXT()
        case _:
            return sa.types.NullType()


def _sql(type_: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str:
    """A type as SQL writes it."""
    try:
        written = type_.compile(dialect=dialect)
    except sa.exc.CompileError:
        return "unknown"
    return written.partition(" CHARACTER SET ")[0].partition(" COLLATE ")[0]


_NUMBERS: Final = ("NUM", "DEC", "MONEY")


def _declared_in_sqlite(connection: sa.Connection, schema: str, table: str) -> dict[str, str]:
    quote = connection.dialect.identifier_preparer.quote_identifier
    rows = connection.exec_driver_sql(f"PRAGMA {quote(schema)}.table_xinfo({quote(table)})")
    return {row[1]: row[2] for row in rows}


def _affine(declared: str | None, type_: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """SQLite takes any word for a type, and SQLAlchemy takes those that it does not know for numbers."""
    if declared is None:
        return type_
    word = declared.upper()
    if word.startswith("UUID"):
        return sa.Uuid()
    if isinstance(type_, sa.Numeric) and not isinstance(type_, sa.Float) and not word.startswith(_NUMBERS):
        return sa.types.NullType()
    return type_
