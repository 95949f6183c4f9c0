"""SQL types and drivers' values in the forms of events: the same as PostgreSQL's of the same meaning."""

from __future__ import annotations

import json
import struct
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql, sqlite

from cdc.errors import SourceError, SourceUnavailable
from cdc.formats.handling import Handling
from cdc.formats.postgres.forms import form_of
from cdc.formats.postgres.types import TypeInfo
from cdc.schemas import Column
from connectors.sql_poll import postgres
from connectors.sql_poll.duckdb_types import type_of
from connectors.sql_poll.generic import reading
from connectors.sql_poll.stored import SourceType, bound, stored
from connectors.sql_poll.temporal import NoForm, is_zero_date
from connectors.sql_poll.values import kind_of
from sinks.postgres.forms import converter

Type = sa.types.TypeEngine[Any]


def as_json(type_: Type, value: Any, database: str = "mysql", decimal: str = "string") -> Any:
    kind = kind_of(type_, database, decimal)
    return json.loads(orjson.dumps(value if kind.json is None else kind.json(value)))


def as_text(type_: Type, value: Any, database: str = "mysql", decimal: str = "string") -> str:
    return kind_of(type_, database, decimal).text(value)


@pytest.mark.parametrize(
    ("type_", "database", "form", "target", "semantic"),
    [
        (mysql.TINYINT(display_width=1), "mysql", "boolean", "boolean", None),
        (mysql.TINYINT(display_width=4), "mysql", "int16", "smallint", None),
        (mysql.TINYINT(unsigned=True), "mysql", "int16", "smallint", None),
        (mysql.SMALLINT(), "mysql", "int16", "smallint", None),
        (mysql.SMALLINT(unsigned=True), "mysql", "int32", "integer", None),
        (mysql.MEDIUMINT(unsigned=True), "mysql", "int32", "integer", None),
        (mysql.INTEGER(), "mysql", "int32", "integer", None),
        (mysql.INTEGER(unsigned=True), "mysql", "int64", "bigint", None),
        (mysql.BIGINT(), "mysql", "int64", "bigint", None),
        (mysql.BIGINT(unsigned=True), "mysql", "string", "numeric(20,0)", None),
        (mysql.BIT(1), "mysql", "boolean", "bit(1)", None),
        (mysql.BIT(8), "mysql", "bytes", "bit(8)", "io.debezium.data.Bits"),
        (mysql.DATETIME(), "mysql", "int64", "timestamp(0) without time zone", "io.debezium.time.Timestamp"),
        (mysql.DATETIME(fsp=4), "mysql", "int64", "timestamp(4) without time zone", "io.debezium.time.MicroTimestamp"),
        (mysql.TIMESTAMP(fsp=6), "mysql", "string", "timestamp with time zone", "io.debezium.time.ZonedTimestamp"),
        (mysql.TIME(fsp=3), "mysql", "int32", "time(3) without time zone", "io.debezium.time.Time"),
        (mysql.JSON(), "mysql", "string", "json", "io.debezium.data.Json"),
        (mysql.LONGTEXT(), "mysql", "string", "text", None),
        (mysql.LONGBLOB(), "mysql", "bytes", "bytea", None),
        (sqlite.INTEGER(), "sqlite", "int64", "bigint", None),
        (sqlite.DATETIME(), "sqlite", "int64", "timestamp without time zone", "io.debezium.time.MicroTimestamp"),
        (mssql.BIT(), "mssql", "boolean", "boolean", None),
        (mssql.TINYINT(), "mssql", "int16", "smallint", None),
        (mssql.MONEY(), "mssql", "string", "numeric(19,4)", None),
        (mssql.REAL(), "mssql", "float32", "real", None),
        (mssql.DATETIME(), "mssql", "int64", "timestamp(3) without time zone", "io.debezium.time.Timestamp"),
        (mssql.DATETIME2(7), "mssql", "int64", "timestamp without time zone", "io.debezium.time.MicroTimestamp"),
        (mssql.DATETIMEOFFSET(), "mssql", "string", "timestamp with time zone", "io.debezium.time.ZonedTimestamp"),
        (mssql.UNIQUEIDENTIFIER(), "mssql", "string", "uuid", "io.debezium.data.Uuid"),
        (mssql.TIMESTAMP(), "mssql", "bytes", "bytea", None),
        (oracle.NUMBER(10, 2), "oracle", "string", "numeric(10,2)", None),
        (oracle.NUMBER(10, -2), "oracle", "string", "numeric", None),
        (oracle.DATE(), "oracle", "int64", "timestamp(0) without time zone", "io.debezium.time.Timestamp"),
        (oracle.RAW(16), "oracle", "bytes", "bytea", None),
        (oracle.BINARY_FLOAT(), "oracle", "float32", "real", None),
        (sa.types.NullType(), "mysql", "string", "text", None),
    ],
)  # fmt: skip
def test_forms_of_types(type_: Type, database: str, form: str, target: str, semantic: str | None) -> None:
    kind = kind_of(type_, database, "string")
    assert (kind.form, kind.target, kind.semantic) == (form, target, semantic)


@pytest.mark.parametrize("decimal", ["string", "double", "precise"])
def test_forms_are_those_of_postgresqls_types_of_the_same_meaning(decimal: str) -> None:
    pairs: list[tuple[str, int, Type]] = [
        ("int2", -1, mysql.SMALLINT()), ("int4", -1, mysql.INTEGER()), ("int8", -1, mysql.BIGINT()),
        ("float4", -1, mysql.FLOAT()), ("float8", -1, mysql.DOUBLE()), ("bool", -1, sa.Boolean()),
        ("numeric", (12 << 16 | 2) + 4, mysql.DECIMAL(12, 2)), ("text", -1, mysql.TEXT()), ("bytea", -1, mysql.BLOB()),
        ("date", -1, sa.DATE()), ("time", 3, mysql.TIME(fsp=3)), ("time", 6, mysql.TIME(fsp=6)),
        ("timestamp", 0, mysql.DATETIME()), ("timestamp", 6, mysql.DATETIME(fsp=6)),
        ("timestamptz", 3, mysql.TIMESTAMP(fsp=3)), ("uuid", -1, sa.Uuid()), ("json", -1, mysql.JSON()),
        ("bit", 1, mysql.BIT(1)), ("bit", 9, mysql.BIT(9)),
    ]  # fmt: skip
    for name, modifier, type_ in pairs:
        known = form_of(1, modifier, {1: TypeInfo(1, name, "pg_catalog", "b")}, Handling(decimal))
        kind = kind_of(type_, "mysql", decimal)
        assert (kind.form, kind.semantic, kind.parameters) == (known.json, known.semantic, known.parameters), name
    free = form_of(1, -1, {1: TypeInfo(1, "numeric", "pg_catalog", "b")}, Handling(decimal))
    kind = kind_of(sa.Numeric(), "mysql", decimal)
    assert (kind.form, kind.semantic) == (free.json, free.semantic)


@pytest.mark.parametrize(
    ("type_", "value", "json", "text"),
    [
        (sa.Boolean(), 1, True, "t"),
        (sa.Boolean(), b"\0", False, "f"),
        (sa.Boolean(), "0", False, "f"),
        (mysql.BIT(1), b"\x01", True, "1"),
        (mysql.BIT(10), b"\x02\x01", "AQI=", "1000000001"),
        (mysql.BIT(10), b"\0\0", "", "0000000000"),
        (mysql.BIGINT(unsigned=True), 2**64 - 1, str(2**64 - 1), str(2**64 - 1)),
        (sa.Double(), 0.1, 0.1, "0.1"),
        (sa.Double(), 1.0, 1.0, "1"),
        (sa.Double(), 1e15, 1e15, "1e+15"),
        (sa.Double(), -1.5e-5, -1.5e-5, "-1.5e-05"),
        (sa.Double(), 123456789012345.0, 123456789012345.0, "123456789012345"),
        (sa.Double(), -0.0, -0.0, "-0"),
        (sa.Double(), float("nan"), "NaN", "NaN"),
        (sa.Double(), float("-inf"), "-Infinity", "-Infinity"),
        (mysql.FLOAT(), 0.10000000149011612, 0.1, "0.1"),
        (mysql.FLOAT(), 16777216.0, 16777216.0, "1.6777216e+07"),
        (sa.Numeric(12, 2), Decimal("12.50"), "12.50", "12.50"),
        (sa.Numeric(), Decimal("1E+3"), "1000", "1000"),
        (sa.Numeric(), Decimal("0E-10"), "0.0000000000", "0.0000000000"),
        (sa.Numeric(), Decimal("NaN"), "NaN", "NaN"),
        (sa.Numeric(), Decimal("-Infinity"), "-Infinity", "-Infinity"),
        (sa.Numeric(), 0.1, "0.1", "0.1"),
        (sa.LargeBinary(), b"\x00\xff", "AP8=", "\\x00ff"),
        (sa.DATE(), date(2016, 11, 4), 17109, "2016-11-04"),
        (sa.DATE(), date(1, 1, 1), -719162, "0001-01-01"),
        (mysql.TIME(), timedelta(hours=11, seconds=90), 39690000, "11:01:30"),
        (mysql.TIME(fsp=6), timedelta(microseconds=-1), -1, "-00:00:00.000001"),
        (mysql.TIME(), timedelta(hours=838, minutes=59, seconds=59), 3020399000, "838:59:59"),
        (sa.Time(), time(11, 51, 30, 123000), 42690123, "11:51:30.123"),
        (mysql.DATETIME(), datetime(2016, 11, 4, 11, 51, 30), 1478260290000, "2016-11-04 11:51:30"),
        (mysql.DATETIME(fsp=6), datetime(1969, 12, 31, 23, 59, 59, 999999), -1, "1969-12-31 23:59:59.999999"),
        (mysql.TIMESTAMP(), datetime(2016, 11, 4, 11, 51, 30), "2016-11-04T11:51:30Z", "2016-11-04 11:51:30+00"),
        (sa.Interval(), timedelta(days=1, microseconds=1), 86400000001, "1 day, 0:00:00.000001"),
        (sa.Uuid(), "123E4567-E89B-12D3-A456-426614174000", "123e4567-e89b-12d3-a456-426614174000",
         "123e4567-e89b-12d3-a456-426614174000"),
        (sa.Uuid(), UUID(int=1), str(UUID(int=1)), str(UUID(int=1))),
        (sa.JSON(), {"a": [1]}, '{"a":[1]}', '{"a":[1]}'),
        (sa.ARRAY(sa.DATE()), [date(1970, 1, 2), None], [1, None], "[1,null]"),
        (sa.ARRAY(sa.Integer(), dimensions=2), [[1], None], [[1], None], "[[1],null]"),
        (sa.types.NullType(), Decimal("1.5"), "1.5", "1.5"),
        (sa.types.NullType(), b"\xff", "/w==", "/w=="),
    ],
)  # fmt: skip
def test_values(type_: Type, value: Any, json: Any, text: str) -> None:
    assert as_json(type_, value) == json
    assert as_text(type_, value) == text


EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "micros", "zoned"),
    [
        (datetime(2016, 11, 4, 13, 51, 30, 120000, EAST), 1478260290120000, "2016-11-04T11:51:30.120000Z"),
        ("2016-11-04 13:51:30.12+02", 1478260290120000, "2016-11-04T11:51:30.120000Z"),
        ("2016-11-04T11:51:30.1234567Z", 1478260290123456, "2016-11-04T11:51:30.123456Z"),
        ("2016-11-04 06:21-05:30", 1478260260000000, "2016-11-04T11:51:00.000000Z"),
        ("2016-11-04", 1478217600000000, "2016-11-04T00:00:00.000000Z"),
        ("infinity", 9223372036825200000, "infinity"),
        ("-infinity", -9223372036832400000, "-infinity"),
        ("0045-03-15 (BC) 01:00:00", -63549356400000000, "-0044-03-15T01:00:00.000000Z"),
        ("0001-12-31 (BC) 00:00:00+00", -62135683200000000, "0000-12-31T00:00:00.000000Z"),
        ("10000-01-01 00:00:00", 253402300800000000, "+10000-01-01T00:00:00.000000Z"),
        ("294247-01-10 04:00:55", 2**63 - 1, "+294247-01-10T04:00:55.000000Z"),
    ],
)
def test_moments_far_and_near(value: Any, micros: int, zoned: str) -> None:
    assert as_json(postgresql.TIMESTAMP(), value, "duckdb") == micros
    assert as_json(postgresql.TIMESTAMP(timezone=True), value, "duckdb") == zoned


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("1 year 2 months -2 days 00:00:03.5", 14 * 2629800000000 - 2 * 86400000000 + 3500000),
        ("-01:30:00", -5400000000),
        ("300:00:00", 1080000000000),
        ("90 years", 90 * 12 * 2629800000000),
        ("00:00:00", 0),
    ],
)
def test_intervals_of_duckdb(value: str, micros: int) -> None:
    assert as_json(postgresql.INTERVAL(), value, "duckdb") == micros


def test_times_with_a_zone_are_in_utc() -> None:
    zoned = postgresql.TIME(timezone=True)
    assert as_json(zoned, "01:00:00.12+05", "duckdb") == "20:00:00.12Z"
    assert as_json(zoned, time(1, tzinfo=EAST), "duckdb") == "23:00:00Z"


@given(st.datetimes())
def test_text_and_objects_of_one_moment_are_one_value(moment: datetime) -> None:
    for type_ in (postgresql.TIMESTAMP(), postgresql.TIMESTAMP(precision=3), postgresql.TIMESTAMP(timezone=True)):
        whole = as_json(type_, moment, "duckdb")
        assert whole == as_json(type_, moment.isoformat(" "), "duckdb")
        assert as_text(type_, moment, "duckdb") == as_text(type_, as_text(type_, moment, "duckdb"), "duckdb")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_single_reads_back_as_itself(value: float) -> None:
    assert struct.pack("f", as_json(mysql.FLOAT(), value)) == struct.pack("f", value)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**25), max_value=10**25))
def test_decimals_reach_a_sink_with_all_their_digits(value: Decimal) -> None:
    for decimal, type_ in (("string", sa.Numeric(38, 4)), ("precise", sa.Numeric(38, 4)), ("precise", sa.Numeric())):
        kind = kind_of(type_, "mysql", decimal)
        column: Column = kind.column("v", "numeric", nullable=True)
        written = converter(column)(as_json(type_, value, decimal=decimal))
        assert Decimal(written) == value
        assert "e" not in written.lower()


def test_a_double_decimal_has_all_its_digits_in_json() -> None:
    kind = kind_of(sa.Numeric(30, 10), "mysql", "double")
    assert kind.json is not None
    assert orjson.dumps(kind.json(Decimal("12345678901234567890.0123456789"))) == b"12345678901234567890.0123456789"
    assert orjson.dumps(kind.json(Decimal(5))) == b"5.0"
    assert orjson.dumps(kind.json(Decimal("Infinity"))) == b'"Infinity"'


@pytest.mark.parametrize("value", [1, -1, 127, 128, -128, -129, 255, 256, -32768, 32768, 10**30, -(10**30), 0])
def test_precise_decimals_are_as_java_writes_them(value: int) -> None:
    length = (value if value >= 0 else ~value).bit_length() // 8 + 1
    expected = orjson.loads(orjson.dumps(as_json(sa.LargeBinary(), value.to_bytes(length, "big", signed=True))))
    assert as_json(sa.Numeric(40, 2), Decimal(value).scaleb(-2), decimal="precise") == expected


@pytest.mark.parametrize(
    ("type_", "value", "decimal"),
    [
        (sa.Numeric(5, 2), Decimal("NaN"), "precise"),
        (sa.Numeric(), Decimal("Infinity"), "precise"),
        (sa.Numeric(5, 2), Decimal("0.001"), "precise"),
        (sa.Numeric(5, 2), "hunter2", "string"),
        (sa.Integer(), "hunter2", "string"),
        (sa.Integer(), 1.5, "string"),
        (sa.Integer(), 2**63, "string"),
        (sa.Boolean(), "hunter2", "string"),
        (sa.Double(), "hunter2", "string"),
        (sa.DATE(), "hunter2", "string"),
        (sa.DATE(), 20240101, "string"),
        (sa.DATE(), "2023-02-29", "string"),
        (sa.Time(), "hunter2", "string"),
        (sa.Interval(), 5, "string"),
        (sa.Text(), b"\xff", "string"),
    ],
)
def test_what_has_no_form_is_refused_without_being_shown(type_: Type, value: Any, decimal: str) -> None:
    database = "mysql" if decimal == "precise" else "sqlite"
    with pytest.raises(NoForm) as refused:
        as_json(type_, value, database, decimal)
    assert "hunter2" not in str(refused.value)


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.datetimes(), st.dates(), st.decimals()))
def test_any_value_has_a_form_or_is_refused(value: Any) -> None:
    types: list[Type] = [
        sa.Integer(), sa.Double(), sa.Numeric(), sa.DATE(), sa.DATETIME(), sa.Time(), sa.Boolean(), sa.Text(),
        sa.LargeBinary(), sa.Uuid(), sa.JSON(), sa.types.NullType(),
    ]  # fmt: skip
    for type_ in types:
        kind = kind_of(type_, "sqlite", "string")
        try:
            orjson.dumps(value if kind.json is None else kind.json(value))
        except (NoForm, TypeError):
            continue


@pytest.mark.parametrize("value", ["0000-00-00", "0000-00-00 00:00:00", "2020-00-15", "2020-01-00"])
def test_dates_of_no_day(value: str) -> None:
    assert is_zero_date(value)
    assert not is_zero_date("2020-10-10")


@pytest.mark.parametrize(
    "value",
    [
        None, True, 5, -(2**63), 2**70, 1.5, float("inf"), "text", '{"a": 1}', b"\x00\xff", Decimal("1.50"),
        date(2016, 11, 4), time(11, 51, 30, 1), datetime(2016, 11, 4, 11, 51), datetime(2016, 11, 4, tzinfo=UTC),
        timedelta(days=-1, microseconds=1), UUID(int=5),
    ],
)  # fmt: skip
def test_what_is_stored_comes_back_from_json(value: Any) -> None:
    back = bound(json.loads(json.dumps(stored(value))))
    assert (back, type(back)) == (value, type(value))


def test_a_column_stores_what_it_reads_and_binds_what_is_stored() -> None:
    type_ = SourceType("DATETIME")
    moment = datetime(2016, 11, 4, 13, 51, tzinfo=EAST)
    assert type_.result_processor(mysql.dialect(), None)(Decimal("1.5")) == {"decimal": "1.5"}
    assert type_.bind_processor(mysql.dialect())(moment) == datetime(2016, 11, 4, 11, 51)
    assert type_.bind_processor(sqlite.dialect())(moment) == "2016-11-04 11:51:00"
    assert SourceType("TIMESTAMP", zoned=True).bind_processor(postgresql.dialect())(moment) == moment


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("DECIMAL(12,2)", "NUMERIC(12, 2)"),
        ("INTEGER[]", "INTEGER[]"),
        ("DECIMAL(10,2)[3][]", "NUMERIC(10, 2)[][]"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE"),
        ("STRUCT(x INTEGER, y VARCHAR)", "NULL"),
        ("MAP(VARCHAR, INTEGER)", "NULL"),
    ],
)
def test_types_of_duckdb(text: str, type_: str) -> None:
    found = type_of(text)
    named = "NULL" if isinstance(found, sa.types.NullType) else found.compile(dialect=postgresql.dialect())
    assert named == type_


def test_labels_of_duckdb() -> None:
    found = type_of("ENUM('a', 'b''c', 'd, e')")
    assert isinstance(found, sa.Enum)
    assert found.enums == ["a", "b'c", "d, e"]


class OracleFault:
    def __init__(self, full_code: str, isrecoverable: bool) -> None:
        self.full_code, self.isrecoverable = full_code, isrecoverable


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("08S01", "hunter2"), SourceUnavailable, "source: Exception 08S01"),
        (("42S02", "hunter2"), SourceError, "source: Exception 42S02"),
        ((OracleFault("ORA-03113", True), "hunter2"), SourceUnavailable, "source: Exception ORA-03113"),
        ((OracleFault("ORA-00942", False), "hunter2"), SourceError, "source: Exception ORA-00942"),
        (("hunter2",), SourceError, "source: Exception"),
    ],
)
def test_errors_of_drivers_that_are_not_installed_here(arguments: tuple[Any, ...], kind: type, says: str) -> None:
    with pytest.raises(SourceError) as raised, reading("source"):
        raise sa.exc.DBAPIError("SELECT hunter2", {}, Exception(*arguments))
    assert type(raised.value) is kind
    assert str(raised.value) == says


@pytest.mark.parametrize(
    ("error", "whole", "kind"),
    [
        (psycopg.errors.QueryCanceled("hunter2"), False, SourceError),
        (psycopg.errors.QueryCanceled("hunter2"), True, SourceUnavailable),
        (psycopg.errors.SerializationFailure("hunter2"), True, SourceUnavailable),
        (psycopg.errors.InsufficientPrivilege("hunter2"), True, SourceError),
        (psycopg.errors.AdminShutdown("hunter2"), False, SourceUnavailable),
    ],
)
def test_what_postgresql_has_ended_is_tried_again_at_once_where_nothing_goes_on_without_it(
    error: psycopg.Error, whole: bool, kind: type
) -> None:
    with pytest.raises(SourceError) as raised, postgres.reading("source", whole=whole):
        raise error
    assert type(raised.value) is kind
    assert "hunter2" not in str(raised.value)
