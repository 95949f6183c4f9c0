"""Tables and queries of SQLite, DuckDB and MariaDB become rows of the same forms as PostgreSQL's."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cdc.errors import ConfigError, ProtocolError, SourceError, SourceUnavailable
from connectors.sql_poll.described import describe_table
from tests.databases import Database
from tests.poll_sources import KEY, Source, described, kept, paged, quoted


def test_values_of_mariadb(maria: Source, database: Database) -> None:
    maria.execute(
        "CREATE TABLE t (id int PRIMARY KEY, flag bool, tiny tinyint, small smallint unsigned, medium mediumint,"
        " large bigint unsigned, price decimal(12,2), single float, wide double, name varchar(20), letters text,"
        " raw varbinary(4), day date, at time, at6 time(6), made datetime, made6 datetime(6), moment timestamp(3) NULL,"
        " born year, one bit(1), many bit(10), mood enum('good','so ''so'), flags set('a','b'), uid uuid, place point)",
        "INSERT INTO t VALUES (1, true, -128, 65535, -8388608, 18446744073709551615, 12.50, 16777217, 0.1, 'Zoë',"
        " '\U0001f600 %%', x'00ff', '2016-11-04', '11:51:30', '11:51:30.123456', '2016-11-04 13:51:30',"
        " '1969-12-31 23:59:59.999999', '2016-11-04 11:51:30.120', 2016, b'1', b'1000000001', 'so ''so', 'a,b',"
        " '123E4567-E89B-12D3-A456-426614174000', NULL)",
        "INSERT INTO t (id) VALUES (2)",
    )
    assert maria.rows("t")[0] == {
        "id": 1, "flag": True, "tiny": -128, "small": 65535, "medium": -8388608, "large": "18446744073709551615",
        "price": "12.50", "single": 16777216.0, "wide": 0.1, "name": "Zoë", "letters": "\U0001f600 %", "raw": "AP8=",
        "day": 17109, "at": 42690000, "at6": 42690123456, "made": 1478267490000, "made6": -1,
        "moment": "2016-11-04T11:51:30.120Z", "born": 2016, "one": True, "many": "AQI=", "mood": "so 'so",
        "flags": "a,b", "uid": "123e4567-e89b-12d3-a456-426614174000", "place": None,
    }  # fmt: skip
    assert set(maria.rows("t")[1].values()) == {2, None}
    assert described(maria.columns("t")) == {
        "id": ("int32", "integer", None), "flag": ("boolean", "boolean", None), "tiny": ("int16", "smallint", None),
        "small": ("int32", "integer", None), "medium": ("int32", "integer", None),
        "large": ("string", "numeric(20,0)", None), "price": ("string", "numeric(12,2)", None),
        "single": ("float32", "real", None), "wide": ("float64", "double precision", None),
        "name": ("string", "text", None), "letters": ("string", "text", None), "raw": ("bytes", "bytea", None),
        "day": ("int32", "date", "Date"), "at": ("int32", "time(0) without time zone", "Time"),
        "at6": ("int64", "time without time zone", "MicroTime"),
        "made": ("int64", "timestamp(0) without time zone", "Timestamp"),
        "made6": ("int64", "timestamp without time zone", "MicroTimestamp"),
        "moment": ("string", "timestamp(3) with time zone", "ZonedTimestamp"), "born": ("int32", "integer", None),
        "one": ("boolean", "bit(1)", None), "many": ("bytes", "bit(10)", "Bits"), "mood": ("string", "text", "Enum"),
        "flags": ("string", "text", None), "uid": ("string", "uuid", "Uuid"), "place": ("string", "text", None),
    }  # fmt: skip
    columns = maria.columns("t")
    assert columns["mood"].parameters == {"labels": ["good", "so 'so"]}
    assert (columns["price"].type, columns["price"].nullable, columns["id"].nullable) == ("DECIMAL(12, 2)", True, False)
    kept(database, columns, maria.rows("t"))


def test_a_day_that_is_none_in_mariadb_is_null_or_the_first_where_null_is_not_allowed(maria: Source) -> None:
    maria.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a date, b date NOT NULL, c datetime, d timestamp NOT NULL)",
        "SET sql_mode = ''",
        "INSERT INTO t VALUES (1, '0000-00-00', '2020-00-01', '0000-00-00 00:00:00', '0000-00-00 00:00:00')",
    )
    assert maria.rows("t") == [{"id": 1, "a": None, "b": 0, "c": None, "d": "1970-01-01T00:00:00Z"}]


def test_values_of_duckdb(duck: Source, database: Database) -> None:
    duck.execute(
        "CREATE TYPE mood AS ENUM ('good', 'so ''so')",
        "CREATE TABLE t (id integer PRIMARY KEY, flag boolean, tiny utinyint, small usmallint, whole uinteger,"
        " large ubigint, huge hugeint, price decimal(12,2), single float, wide double, name varchar, raw blob,"
        " day date, clock time, made timestamp, made_s timestamp_s, moment timestamptz, span interval, uid uuid,"
        " doc json, feeling mood, numbers integer[], days date[], matrix integer[][], pair"
        " struct(x integer, y varchar), bits bit)",
        "INSERT INTO t VALUES (1, true, 255, 65535, 4294967295, 18446744073709551615,"
        " 170141183460469231731687303715884105727, 12.50, 0.1, 0.1, 'Zoë', '\\x00\\xFF', '2016-11-04', '24:00:00',"
        " '2016-11-04 11:51:30.123456', '2016-11-04 11:51:30', '2016-11-04 13:51:30.12+02', '1 month -1 day 2 seconds',"
        " '123E4567-E89B-12D3-A456-426614174000', '{\"a\": 1.00}', 'so ''so', [1, NULL], ['2016-11-04'], [[1], [2]],"
        " {'x': 1, 'y': 'a'}, '1000000001')",
        "INSERT INTO t (id, wide, day, made, moment) VALUES (2, 'NaN', 'infinity', '-infinity', 'infinity')",
        "INSERT INTO t (id, wide, day, made, moment) VALUES"
        " (3, '-Infinity', '0045-03-15 (BC)', '9999-12-31 23:59:59.999999', '12000-01-01 00:00:00+00')",
    )
    first, second, third = duck.rows("t")
    assert first == {
        "id": 1, "flag": True, "tiny": 255, "small": 65535, "whole": 4294967295, "large": "18446744073709551615",
        "huge": "170141183460469231731687303715884105727", "price": "12.50", "single": 0.1, "wide": 0.1, "name": "Zoë",
        "raw": "AP8=", "day": 17109, "clock": 86400000000, "made": 1478260290123456, "made_s": 1478260290000,
        "moment": "2016-11-04T11:51:30.120000Z", "span": 2629800000000 - 86400000000 + 2000000,
        "uid": "123e4567-e89b-12d3-a456-426614174000", "doc": '{"a": 1.00}', "feeling": "so 'so", "numbers": [1, None],
        "days": [17109], "matrix": [[1], [2]], "pair": "{'x': 1, 'y': a}", "bits": "AQI=",
    }  # fmt: skip
    assert (second["wide"], second["day"], second["made"], second["moment"]) == (
        "NaN", 2147483647, -9223372036832400000, "infinity",
    )  # fmt: skip
    assert (third["wide"], third["day"], third["made"], third["moment"]) == (
        "-Infinity", -735525, 253402300799999999, "+12000-01-01T00:00:00.000000Z",
    )  # fmt: skip
    columns = described(duck.columns("t"))
    assert columns["numbers"] == ("array", "integer[]", None)
    assert columns["huge"] == ("string", "numeric(39,0)", None)
    assert columns["made_s"] == ("int64", "timestamp(0) without time zone", "Timestamp")
    assert columns["moment"] == ("string", "timestamp with time zone", "ZonedTimestamp")
    assert columns["span"] == ("int64", "interval", "MicroDuration")
    assert columns["pair"] == ("string", "text", None)
    kept(database, duck.columns("t"), duck.rows("t"))


def test_values_of_sqlite(sqlite: Source, database: Database) -> None:
    sqlite.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, flag boolean, large bigint, price decimal(12,2), wide real, name"
        " varchar(20), raw blob, day date, at time, made datetime, doc json, uid uuid, odd whatever, bare)",
        "INSERT INTO t VALUES (1, 1, 9223372036854775807, 12.5, 0.1, 'Zoë', x'00ff', '2016-11-04', '11:51:30',"
        " '2016-11-04T11:51:30.123456', '{\"a\": 1}', '123E4567-E89B-12D3-A456-426614174000', 'x', 7)",
        "INSERT INTO t (id, price, wide, made, bare) VALUES (2, 1000000, 9e999, '2016-11-04 11:51:30+02:00', 'y')",
    )
    first, second = sqlite.rows("t")
    assert first == {
        "id": 1, "flag": True, "large": 9223372036854775807, "price": "12.5", "wide": 0.1, "name": "Zoë",
        "raw": "AP8=", "day": 17109, "at": 42690000000, "made": 1478260290123456, "doc": '{"a": 1}',
        "uid": "123e4567-e89b-12d3-a456-426614174000", "odd": "x", "bare": "7",
    }  # fmt: skip
    assert (second["price"], second["wide"], second["made"], second["bare"]) == (
        "1000000", "Infinity", 1478253090000000, "y",
    )  # fmt: skip
    assert described(sqlite.columns("t"))["price"] == ("string", "numeric", None)
    kept(database, sqlite.columns("t"), sqlite.rows("t"))


def test_a_value_that_is_not_of_its_columns_type_is_named_without_being_shown(sqlite: Source) -> None:
    sqlite.execute("CREATE TABLE t (id integer PRIMARY KEY, made datetime)", "INSERT INTO t VALUES (1, 'hunter2')")
    with pytest.raises(ProtocolError, match=r"table main\.t: column made has a value without a form") as refused:
        sqlite.rows("t")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("decimal", "form", "value", "free"),
    [
        ("string", "string", "12.50", "12.50"),
        ("double", "float64", 12.5, 12.5),
        ("precise", "bytes", "BOI=", {"scale": 1, "value": "fQ=="}),
    ],
)
def test_decimals_have_the_form_that_is_asked_for(
    maria: Source, sqlite: Source, decimal: str, form: str, value: Any, free: Any
) -> None:
    for source in (maria, sqlite):
        source.execute(
            "CREATE TABLE t (id integer PRIMARY KEY, price decimal(12,2))",
            "INSERT INTO t VALUES (1, '12.50'), (2, '-0.01')",
        )
    assert maria.rows("t", decimal)[0]["price"] == value
    assert maria.columns("t", decimal)["price"].form == form
    # SQLite holds a column to no scale, and stores a number.
    assert sqlite.rows("t", decimal)[0]["price"] == ("12.5" if decimal == "string" else free)


KEYS = {
    "maria": ("decimal(10,2)", "datetime(6)", "varbinary(8)", "bigint unsigned", "varchar(20)"),
    "duck": ("decimal(10,2)", "timestamptz", "uuid", "ubigint", "varchar"),
    "sqlite": ("real", "datetime", "blob", "integer", "text"),
}


@pytest.mark.parametrize("by_row", [True, False])
def test_a_table_is_paged_by_keys_of_any_type(source: Source, by_row: bool) -> None:
    kinds = KEYS[{"mariadb": "maria", "duckdb": "duck"}.get(source.kind, source.kind)]
    columns = ", ".join(f"k{at} {kind}" for at, kind in enumerate(kinds))
    third = "'123e4567-e89b-12d3-a456-42661417400{}'" if source.kind == "duckdb" else "x'0{}ff'"
    rows = [
        f"({n / 2}, '2016-11-04 11:51:30.12345{n}', {third.format(n % 3)}, {n}, 'it''s %% {n}')".replace(
            "%%", "%%" if source.kind == "mariadb" else "%"
        )
        for n in range(7)
    ]
    source.execute(
        f"CREATE TABLE t ({columns}, PRIMARY KEY (k0, k1, k2, k3, k4))", f"INSERT INTO t VALUES {', '.join(rows)}"
    )
    (found,) = source.found({f"{source.schema}.t": {}})
    keys = paged(source, found, by_row=by_row)
    assert [json.loads(key)["k4"] for key in keys] == [f"it's % {n}" for n in range(7)]
    for leading in ("k1", "k2", "k3"):
        key = [leading, *(f"k{n}" for n in range(5) if f"k{n}" != leading)]
        (found,) = source.found({f"{source.schema}.t": {"message_key": key}})
        assert len(set(paged(source, found, by_row=by_row))) == 7


def test_names_and_patterns_find_tables_and_the_more_specific_wins(source: Source) -> None:
    source.execute(
        "CREATE TABLE orders (id integer PRIMARY KEY, a integer)",
        "CREATE TABLE order_lines (id integer PRIMARY KEY, a integer)",
        "CREATE TABLE customers (id integer PRIMARY KEY)",
        "CREATE VIEW order_view AS SELECT * FROM orders",
    )
    tables = {f"{source.schema}.order*": {}, f"{source.schema}.orders": {"columns": {"exclude": ["a"]}}}
    found = {polled.table: polled.columns for polled, _, _ in source.found(tables)}
    assert found == {"orders": ("id",), "order_lines": ("id", "a")}
    view = {f"{source.schema}.order_view": {"message_key": ["id"]}}
    assert [polled.topic for polled, _, _ in source.found(view)] == [f"shop.{source.schema}.order_view"]


def test_wrong_entries_are_told_all_at_once(source: Source) -> None:
    source.execute("CREATE TABLE orders (id integer PRIMARY KEY, a integer)", "CREATE TABLE log (a integer)")
    schema = source.schema
    tables = {
        f"{schema}.ordres": {},
        f"{schema}.log": {},
        f"{schema}.orders": {"mask": {"b": "hmac"}, "message_key": ["idd"]},
    }
    with pytest.raises(ConfigError) as refused:
        source.found(tables)
    said = str(refused.value)
    assert f'connectors.poll.tables."{schema}.ordres": no table has this name (did you mean {schema}.orders?)' in said
    assert f"table {schema}.log has no primary key" in said
    assert f"table {schema}.orders has no column b (mask)" in said
    assert f"table {schema}.orders has no column idd (message_key) (did you mean id?)" in said


def test_names_that_need_quotes(source: Source) -> None:
    table, column = quoted(source, "Order: lines"), quoted(source, "a:b %(x)s")
    spelled = [name.replace("%", "%%") if source.kind == "mariadb" else name for name in (table, column)]
    source.execute(
        f"CREATE TABLE {spelled[0]} (id integer PRIMARY KEY, {spelled[1]} integer, {quoted(source, 'select')} integer)",
        f"INSERT INTO {spelled[0]} VALUES (1, 2, 3)",
    )
    assert source.rows("Order: lines") == [{"id": 1, "a:b %(x)s": 2, "select": 3}]


def test_a_query_is_read_like_a_table(source: Source) -> None:
    source.execute(
        "CREATE TABLE orders (id integer PRIMARY KEY, price decimal(10,2), made timestamp, name varchar(20))",
        "INSERT INTO orders VALUES (1, 1.50, '2016-11-04 11:51:30', 'a:b'), (2, NULL, NULL, NULL)",
    )
    query = "SELECT id AS number, price, made, name FROM orders WHERE coalesce(name, '') NOT LIKE '%x:y%'"
    expected = {
        "mariadb": ("1.50", "2016-11-04T11:51:30Z"),
        "duckdb": ("1.50", 1478260290000000),
        "sqlite": (1.5, "2016-11-04 11:51:30"),
    }
    price, made = expected[source.kind]
    assert source.rows("cheap", query=query, message_key=["number"]) == [
        {"number": 1, "price": price, "made": made, "name": "a:b"},
        {"number": 2, "price": None, "made": None, "name": None},
    ]
    (found,) = source.found({f"{source.schema}.cheap": {"query": query, "message_key": ["number"]}})
    assert paged(source, found, by_row=False) == [b'{"number":1}', b'{"number":2}']


def test_a_query_has_the_types_that_mariadb_tells(maria: Source) -> None:
    maria.execute(
        "CREATE TABLE t (id bigint unsigned PRIMARY KEY, flag bool, price decimal(12,2), raw blob, at time(3),"
        " made datetime(3), doc text, single float)",
        "INSERT INTO t VALUES (18446744073709551615, true, 12.50, x'00ff', '11:51:30.5', '2016-11-04 11:51:30.5', 'a',"
        " 0.1)",
    )
    options: dict[str, Any] = {"query": "SELECT * FROM t", "message_key": ["id"]}
    assert described(maria.columns("q", **options)) == described(maria.columns("t"))
    assert maria.rows("q", **options) == maria.rows("t")


def test_columns_are_left_out_masked_and_truncated_before_anything_else_sees_them(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, email varchar(20), price decimal(10,2), day date, name varchar(20),"
        " note varchar(20), gone varchar(20))",
        "INSERT INTO t VALUES (1, 'a@b.c', 12.25, '2016-11-04', 'Zoë', 'hunter2', 'x'), (2, NULL, NULL, NULL, NULL,"
        " NULL, 'x')",
    )
    options: dict[str, Any] = {
        "columns": {"exclude": ["gone", "id"]},
        "mask": {"id": "hmac", "email": "hmac", "price": "hmac", "day": "hmac", "note": {"constant": "***"}},
        "truncate": {"name": 2},
    }
    digest = {
        name: hmac.digest(KEY, text.encode(), "sha256").hex()
        for name, text in {"id": "1", "email": "a@b.c", "price": "12.25", "day": "2016-11-04"}.items()
    }
    rows = source.rows("t", **options)
    assert {**digest, "name": "Zo", "note": "***"} in rows
    assert {"id": hmac.digest(KEY, b"2", "sha256").hex()} | dict.fromkeys(list(rows[0])[1:]) in rows
    assert set(described(source.columns("t", **options)).values()) == {("string", "text", None)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"truncate": {"a": 1}}, "column a is not text, only text can be truncated"),
        ({"mask": {"id": {"constant": "x"}}}, "key column id cannot be masked by a constant"),
        ({"message_key": ["b"], "truncate": {"b": 1}}, "key column b cannot be truncated"),
    ],
)
def test_settings_that_a_column_cannot_fulfil(source: Source, options: dict[str, Any], says: str) -> None:
    source.execute("CREATE TABLE t (id integer PRIMARY KEY, a integer, b varchar(9))")
    with pytest.raises(ConfigError, match=says):
        source.rows("t", **options)


def test_a_key_that_is_null_is_refused(source: Source) -> None:
    source.execute("CREATE TABLE t (a integer, b integer)", "INSERT INTO t VALUES (1, NULL)")
    with pytest.raises(ProtocolError, match=r"a column of its key \(b\) is NULL"):
        source.rows("t", message_key=["b"])


def refused(source: Source, statement: str) -> str:
    with pytest.raises(SourceError) as error, source.connect() as connection:
        connection.exec_driver_sql(statement)
    assert not error.value.retriable
    return str(error.value)


def test_errors_are_told_by_class_and_code_and_never_by_a_message_that_may_hold_values(source: Source) -> None:
    said = refused(source, "SELECT hunter2 FROM nowhere")
    assert "hunter2" not in said
    known = {
        "mariadb": "ProgrammingError 1146",
        "sqlite": "OperationalError SQLITE_ERROR",
        "duckdb": "CatalogException",
    }
    assert said == f"{source.kind}: {known[source.kind]}"


def test_a_table_that_is_not_there_is_told_so(source: Source) -> None:
    with source.connect() as connection, pytest.raises(sa.exc.NoSuchTableError):
        describe_table(connection, source.schema, "nowhere")


def test_a_database_that_is_not_there_may_come_back(maria: Source, sqlite: Source, duck: Source) -> None:
    for gone in (
        Source("mariadb", "mariadb+pymysql://root:hunter2@127.0.0.1:1/shop", "shop"),
        Source("sqlite", sqlite.url + ".gone", "main"),
        Source("duckdb", duck.url + ".gone", "main"),
    ):
        with pytest.raises(SourceUnavailable) as error, gone.connect():
            pass
        assert "hunter2" not in str(error.value)


def test_a_connection_that_was_killed_may_come_back(maria: Source) -> None:
    def be_killed() -> None:
        with maria.connect() as connection:
            number = connection.exec_driver_sql("SELECT connection_id()").scalar_one()
            maria.execute(f"KILL {number}")
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(SourceUnavailable):
        be_killed()


def test_sqlite_makes_no_file_and_duckdb_does_not_write(sqlite: Source, duck: Source, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SourceUnavailable), Source("sqlite", f"sqlite:///{tmp_path}/no.db", "main").connect():
        pass
    assert sorted(tmp_path.iterdir()) == before
    assert refused(duck, "CREATE TABLE t (a integer)") == "duckdb: InvalidInputException"
