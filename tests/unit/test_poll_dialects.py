"""SQL Server and Oracle, polled without them: what their drivers are sent, and what is made of the answers.

SQLAlchemy's dialects are the real ones; only the drivers are stood in for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, oracle

from cdc.errors import CdcError
from connectors.sql_poll.entries import There
from connectors.sql_poll.generic import Described
from connectors.sql_poll.generic_source import GenericSource
from connectors.sql_poll.pages import KeyPages
from connectors.sql_poll.source import Found
from tests.poll_drivers import STARTS, Constant, Driver, Moving, made, names, source

QUERY = "SELECT * FROM orders WHERE note LIKE 'x:%'"

EAST = timezone(timedelta(hours=2))


def number(name: str, precision: int, scale: int, type_: Any = Decimal) -> tuple[Any, ...]:
    return (name, type_, None, None, precision, scale, True)


def typed(**columns: Any) -> list[tuple[Any, ...]]:
    return [(name, type_, None, None, None, None, True) for name, type_ in columns.items()]


DESCRIBED: dict[str, list[tuple[Any, ...]]] = {
    "pyodbc": [
        *typed(ID=int, AT=datetime, NAME=str, FLAG=bool, RATIO=float, DAY=date, NOON=time, RAW=bytearray, GUID=UUID),
        number("PRICE", 12, 2),
    ],
    "oracledb": [
        number("ID", 10, 0, Constant("DB_TYPE_NUMBER")),
        *typed(
            AT=Constant("DB_TYPE_TIMESTAMP"),
            NAME=Constant("DB_TYPE_VARCHAR"),
            NOTE=Constant("DB_TYPE_CLOB"),
            RATIO=Constant("DB_TYPE_BINARY_DOUBLE"),
            DAY=Constant("DB_TYPE_DATE"),
            ZONED=Constant("DB_TYPE_TIMESTAMP_TZ"),
            RAW=Constant("DB_TYPE_RAW"),
        ),
        number("PRICE", 12, 2, Constant("DB_TYPE_NUMBER")),
        number("ANY", 0, -127, Constant("DB_TYPE_NUMBER")),
    ],
}
"""As `cursor.description` has them."""

ROW: dict[str, tuple[Any, ...]] = {
    "pyodbc": (
        1, datetime(2026, 1, 2, 3, 4, 5, 678900), "it's", True, 0.1, date(2026, 1, 2), time(12), b"\0\xff",
        UUID(int=5), Decimal("1.50"),
    ),
    "oracledb": (
        Decimal(1), datetime(2026, 1, 2, 3, 4, 5, 678900), "it's", "long", 0.1, datetime(2026, 1, 2),
        datetime(2026, 1, 2, 5, 4, 5, tzinfo=EAST), b"\0\xff", Decimal("1.50"), Decimal("0.001"),
    ),
}  # fmt: skip
"""What the driver gives."""

MOMENT = 1767323045678900

EVENT: dict[str, dict[str, Any]] = {
    "pyodbc": {
        "ID": 1, "AT": MOMENT, "NAME": "it's", "FLAG": True, "RATIO": 0.1, "DAY": 20455, "NOON": 43200000000,
        "RAW": "AP8=", "GUID": str(UUID(int=5)), "PRICE": "1.50",
    },
    "oracledb": {
        "ID": "1", "AT": MOMENT, "NAME": "it's", "NOTE": "long", "RATIO": 0.1, "DAY": 1767312000000000,
        "ZONED": "2026-01-02T03:04:05.000000Z", "RAW": "AP8=", "PRICE": "1.50", "ANY": "0.001",
    },
}  # fmt: skip

PAGES = {
    "pyodbc": (
        f"SELECT TOP 2 {{columns}}, q.[ID] AS [ID_1] FROM ({QUERY} ) AS q ORDER BY q.[ID]",
        f"SELECT TOP 2 {{columns}}, q.[ID] AS [ID_1] FROM ({QUERY} ) AS q WHERE q.[ID] > ? ORDER BY q.[ID]",
    ),
    "oracledb": (
        f'SELECT {{columns}}, q."ID" AS "ID_1" FROM ({QUERY} ) q ORDER BY q."ID" FETCH FIRST 2 ROWS ONLY',
        f'SELECT {{columns}}, q."ID" AS "ID_1" FROM ({QUERY} ) q WHERE q."ID" > :param_1 ORDER BY q."ID"'
        " FETCH FIRST 2 ROWS ONLY",
    ),
}

every_driver = pytest.mark.parametrize("name", ["pyodbc", "oracledb"])


def polled(name: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Driver, GenericSource]:
    """A source with the query `dbo.q`, whose answer is described."""
    driver = made(monkeypatch, name)
    driver.answers = [*STARTS[name], (r"WHERE 1 = 0$", (DESCRIBED[name], []))]
    table = {"query": QUERY, "message_key": ["ID"], **options}
    return driver, source(driver, tables={"dbo.q": table}, page={"rows": 2})


def found(polls: GenericSource, connection: sa.Connection) -> Found:
    refused: list[CdcError] = []
    made = polls.find(connection, lambda _, error: refused.append(error))
    assert not refused, refused
    [one] = made
    return one


def quoted(name: str, columns: Sequence[str]) -> str:
    return ", ".join(f"q.[{one}] AS [{one}]" if name == "pyodbc" else f'q."{one}" AS "{one}"' for one in columns)


@every_driver
@pytest.mark.parametrize("isolation", ["repeatable_read", "read_committed"])
def test_a_session_has_the_isolation_that_is_set_and_oracles_is_in_utc(
    name: str, isolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = made(monkeypatch, name)
    driver.answers = STARTS[name]
    with source(driver, isolation=isolation).connect():
        sent = [statement for statement, _ in driver.sent if not statement.upper().startswith("SELECT")]
    said = {
        ("pyodbc", "repeatable_read"): ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"],
        ("pyodbc", "read_committed"): ["SET TRANSACTION ISOLATION LEVEL READ COMMITTED"],
        ("oracledb", "repeatable_read"): ["ALTER SESSION SET ISOLATION_LEVEL=SERIALIZABLE"],
        ("oracledb", "read_committed"): ["ALTER SESSION SET ISOLATION_LEVEL=READ COMMITTED"],
    }
    in_utc = ["ALTER SESSION SET TIME_ZONE = '+00:00'"] if name == "oracledb" else []
    assert sent == said[name, isolation] + in_utc


@every_driver
def test_a_query_is_described_by_what_the_driver_tells(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, polls = polled(name, monkeypatch)
    with polls.connect() as connection:
        columns = found(polls, connection).rows.describe("1").columns
    micro, milli = "timestamp without time zone", "time without time zone"
    text, raw, price = ("string", "text"), ("bytes", "bytea"), ("string", "numeric(12,2)")
    expected = {
        "pyodbc": [
            ("int64", "bigint"), ("int64", micro), text, ("boolean", "boolean"), ("float64", "double precision"),
            ("int32", "date"), ("int64", milli), raw, ("string", "uuid"), price,
        ],
        "oracledb": [
            ("string", "numeric(10,0)"), ("int64", micro), text, text, ("float64", "double precision"),
            ("int64", micro), ("string", "timestamp with time zone"), raw, price, ("string", "numeric"),
        ],
    }  # fmt: skip
    assert [(column.form, column.target_type) for column in columns] == expected[name]


@every_driver
def test_pages_are_asked_for_as_the_dialect_writes_them_and_rows_become_events(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, polls = polled(name, monkeypatch)
    key = ROW[name][0]
    selected = names(*EVENT[name], "ID_1")
    driver.answers += [
        (r"> (\?|:param_1) ORDER", (selected, [])),
        ("ORDER BY", (selected, [(*ROW[name], key)] * 2)),
    ]
    with polls.connect() as connection:
        one = found(polls, connection)
        driver.sent.clear()
        opened = one.mode.open(connection, None, whole=True)
        assert opened is not None
        place: list[Any] | None = None
        rows = []
        while True:
            with connection.begin():
                page = list(
                    one.rows.read(connection, opened.pages.extras, opened.pages.select(one.polled.source, place))
                )
            rows += [(json.loads(key), json.loads(row)) for key, row, _ in page]
            place = opened.pages.end(place, len(page), one.rows.stored(page[-1][2]) if page else ())
            if place is None:
                break
            place = json.loads(json.dumps(place))
        first, second = driver.sent
    columns = quoted(name, list(EVENT[name]))
    assert [first[0], second[0]] == [page.format(columns=columns) for page in PAGES[name]]
    assert second[1] == ((1,) if name == "pyodbc" else {"param_1": Decimal(1)})
    assert rows == [({"ID": EVENT[name]["ID"]}, EVENT[name])] * 2


@every_driver
def test_changes_are_looked_for_since_the_declared_bound_before_the_servers_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, polls = polled(name, monkeypatch, mode="updated_at", column="AT", look_back="10m")
    driver.answers += [("CURRENT_TIMESTAMP", (names("now"), [(datetime(2026, 1, 2, 3),)])), ("ORDER BY", (names(), []))]
    with polls.connect() as connection:
        one = found(polls, connection)
        first = one.mode.open(connection, None, whole=False)
        assert first is not None
        assert first.whole
        second = one.mode.open(connection, first.watermark, whole=False)
        assert second is not None
        with connection.begin():
            assert (
                list(one.rows.read(connection, second.pages.extras, second.pages.select(one.polled.source, None))) == []
            )
        statement, parameters = driver.sent[-1]
    assert re.search(r"WHERE q\.(\[AT\] >= \?|\"AT\" >= :param_1) ORDER BY q\..AT., q\..ID.", statement), statement
    assert next(iter(parameters.values() if isinstance(parameters, dict) else parameters)) == datetime(
        2026, 1, 2, 2, 49, 59
    )


@every_driver
def test_numbers_are_passed_only_when_the_declared_bound_is_over(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, polls = polled(name, monkeypatch, mode="incrementing", column="ID", look_back="10m")
    now = [datetime(2026, 1, 2, 3)]
    driver.answers += [
        ("CURRENT_TIMESTAMP", (names("now"), Moving(now))),
        (r"SELECT max", (names("max"), [(7,)])),
        ("ORDER BY", (names(), [])),
    ]
    with polls.connect() as connection:
        one = found(polls, connection)
        first = one.mode.open(connection, None, whole=False)
        assert first is not None
        assert (first.watermark["passed"], first.watermark["waiting"]) == (None, 7)
        now[0] += timedelta(minutes=11)
        second = one.mode.open(connection, first.watermark, whole=False)
        assert second is not None
        assert second.watermark["passed"] == 7
        third = one.mode.open(connection, second.watermark, whole=False)
    assert third is None


@every_driver
def test_the_source_tells_its_time_in_utc(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, polls = polled(name, monkeypatch)
    asked = r"sysutcdatetime\(\)" if name == "pyodbc" else "CURRENT_TIMESTAMP"
    driver.answers.append((asked, (names("now"), [(datetime(2026, 1, 2, 3, 4, 5),)])))
    with polls.connect() as connection:
        assert polls.now_us(connection) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp() * 1_000_000


TYPES: dict[str, tuple[sa.types.TypeEngine[Any], sa.types.TypeEngine[Any]]] = {
    "pyodbc": (mssql.NVARCHAR(20), mssql.DATETIME2()),  # type: ignore[no-untyped-call]
    "oracledb": (oracle.VARCHAR2(20), oracle.TIMESTAMP()),
}


LOG = {
    "pyodbc": (
        "SELECT TOP 2 gone.id AS id, gone._seq FROM (SELECT _cdc_log.id AS id, _cdc_log._seq AS _seq"
        " FROM dbo.gone AS _cdc_log WHERE NOT (EXISTS (SELECT * FROM dbo.t WHERE dbo.t.id = _cdc_log.id"
        " AND (dbo.t.id COLLATE Latin1_General_BIN2) = (_cdc_log.id COLLATE Latin1_General_BIN2)))) AS gone"
        " WHERE gone._seq > ? ORDER BY gone._seq"
    ),
    "oracledb": (
        'SELECT gone.id AS id, gone."_seq" FROM (SELECT "_cdc_log".id AS id, "_cdc_log"."_seq" AS "_seq"'
        ' FROM dbo.gone "_cdc_log" WHERE NOT (EXISTS (SELECT * FROM dbo.t WHERE dbo.t.id = "_cdc_log".id'
        ' AND dbo.t.id = "_cdc_log".id))) gone WHERE gone."_seq" > :param_1 ORDER BY gone."_seq"'
        " FETCH FIRST 2 ROWS ONLY"
    ),
}


@every_driver
def test_keys_in_a_log_of_deletes_are_those_that_the_table_has_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = made(monkeypatch, name)
    text, moment = TYPES[name]
    key, log_key = Described("id", "text", False, text), Described("id", "text", False, text)
    there = {
        "t": ((key, Described("at", "time", False, moment)), ("id",)),
        "gone": ((log_key, Described("_seq", "number", False, sa.BigInteger())), ()),
    }
    module = "connectors.sql_poll.generic_source"
    monkeypatch.setattr(f"{module}.tables", lambda connection, entries: [There("dbo", "t", False)])
    monkeypatch.setattr(f"{module}.describe", lambda connection, schema, table, query: there[table])
    monkeypatch.setattr(f"{module}.describe_table", lambda connection, schema, table: there[table])
    driver.answers = [*STARTS[name], ("ORDER BY", (names("id", "_seq"), [("a", 1), ("b", 2)]))]
    options = {"mode": "updated_at", "column": "at", "look_back": "1m", "deletes": "log", "delete_log": "dbo.gone"}
    polls = source(driver, tables={"dbo.t": options}, page={"rows": 2})
    with polls.connect() as connection:
        log = found(polls, connection).log
        assert log is not None
        pages = KeyPages([log.polled.source.c["_seq"]], 2, (), by_row=False)
        with connection.begin():
            read = list(log.rows.read(connection, pages.extras, pages.select(log.polled.source, [0])))
        assert driver.sent[-1][0] == LOG[name]
    assert [json.loads(key) for key, _, _ in read] == [{"id": "a"}, {"id": "b"}]
