"""A `sql_poll` connector on databases that are not PostgreSQL, to real Kafka and on into a service's table."""

from __future__ import annotations

from typing import Any

import pytest

from cdc.prove.observed import messages
from cdc.schemas import TableSchema
from cdc.testing.servers import KafkaServer
from tests.connector_line import Line
from tests.poll_sources import Source

POLL = {"type": "sql_poll", "schedule": "100ms", "idle_interval": "200ms"}

NUMBERED = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "duckdb": "INTEGER PRIMARY KEY DEFAULT nextval('numbers')",
    "mariadb": "INT PRIMARY KEY AUTO_INCREMENT",
}


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, source: Source) -> Line:
    return Line(prefix, kafka, source.url)


def _ops(line: Line, source: Source) -> list[tuple[str, Any]]:
    found = [event for event in line.events("t", source.schema) if event is not None]
    return [(event["op"], (event["after"] or event["before"])["id"]) for event in found]


def _filled(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT, name VARCHAR(9), changed TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
        "INSERT INTO t (id, n, name) VALUES (1, 1, 'one'), (2, 2, 'it''s'), (3, 3, NULL)",
    )


MODES: dict[str, dict[str, Any]] = {
    "full": {"mode": "full"},
    "updated_at": {
        "mode": "updated_at", "column": "changed", "look_back": "10m", "deletes": "compare", "compare_every": "300ms"
    },
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_rows_then_changes_then_deletes_and_nothing_twice_after_a_restart(
    line: Line, source: Source, mode: str
) -> None:
    _filled(source)
    tables = [{f"{source.schema}.t": MODES[mode]}]
    with line.running(tables, **POLL) as until:
        until(lambda: len(_ops(line, source)) == 3)
    source.execute(
        "UPDATE t SET n = 10, changed = CURRENT_TIMESTAMP WHERE id = 2", "INSERT INTO t (id, n) VALUES (4, 4)"
    )
    with line.running(tables, **POLL) as until:
        until(lambda: len(_ops(line, source)) == 5)
    source.execute("DELETE FROM t WHERE id = 1")
    with line.running(tables, **POLL) as until:
        until(lambda: len(_ops(line, source)) == 6)
    found = _ops(line, source)
    assert found[:3] == [("r", 1), ("r", 2), ("r", 3)]
    assert sorted(found[3:5]) == [("c", 4), ("u", 2)]
    assert found[5:] == [("d", 1)]
    assert line.events("t", source.schema)[-1] is None


def test_rows_that_are_only_added_are_read_by_their_number(line: Line, source: Source) -> None:
    if source.kind == "duckdb":
        source.execute("CREATE SEQUENCE numbers")
    source.execute(f"CREATE TABLE t (id {NUMBERED[source.kind]}, n INTEGER)", "INSERT INTO t (n) VALUES (1), (2)")
    tables = [{f"{source.schema}.t": {"mode": "incrementing", "column": "id", "look_back": "500ms"}}]
    with line.running(tables, **POLL) as until:
        until(lambda: len(_ops(line, source)) == 2)
        until(lambda: line.connector.status()["tables"][f"{source.schema}.t"]["rows_read"] == 0)
    source.execute("INSERT INTO t (n) VALUES (3)")
    with line.running(tables, **POLL) as until:
        until(lambda: len(_ops(line, source)) == 3)
    assert sorted(id for _, id in _ops(line, source)) == [1, 2, 3]


def test_deletes_come_from_a_log(line: Line, source: Source) -> None:
    _filled(source)
    if source.kind == "duckdb":
        source.execute("CREATE SEQUENCE numbers")
    source.execute(f"CREATE TABLE gone (_seq {NUMBERED[source.kind]}, id INTEGER NOT NULL)")
    log = {"deletes": "log", "delete_log": f"{source.schema}.gone"}
    tables = [{f"{source.schema}.t": {"mode": "updated_at", "column": "changed", "look_back": "1s", **log}}]
    with line.running(tables, **POLL) as until:
        until(lambda: len(_ops(line, source)) == 3)
    source.execute("INSERT INTO gone (id) VALUES (1), (2)", "DELETE FROM t WHERE id = 1")  # 2 is there again
    with line.running(tables, **POLL) as until:
        until(lambda: len(_ops(line, source)) == 4)
    assert _ops(line, source)[3:] == [("d", 1)]


def test_a_key_in_other_letters_is_another_key_to_readers(prefix: str, kafka: KafkaServer, maria: Source) -> None:
    """'a' and 'A' are equal to MariaDB; each is what some event had as its key."""
    line = Line(prefix, kafka, maria.url)
    maria.execute("CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, n INT, changed TIMESTAMP DEFAULT CURRENT_TIMESTAMP)")
    maria.execute("CREATE TABLE gone (_seq INT PRIMARY KEY AUTO_INCREMENT, id VARCHAR(9) NOT NULL)")
    maria.execute("INSERT INTO t (id, n) VALUES ('a', 1), ('b', 1)")
    log = {"deletes": "log", "delete_log": f"{maria.schema}.gone"}
    tables = [{f"{maria.schema}.t": {"mode": "updated_at", "column": "changed", "look_back": "10m", **log}}]
    with line.running(tables, **POLL) as until:
        until(lambda: len(_ops(line, maria)) == 2)
        maria.execute(
            "DELETE FROM t",
            "INSERT INTO gone (id) VALUES ('a'), ('b')",
            "INSERT INTO t (id, n) VALUES ('A', 1), ('b', 2)",
        )
        until(lambda: len(_ops(line, maria)) == 5)
    assert sorted(_ops(line, maria)[2:]) == [("c", "A"), ("d", "a"), ("u", "b")]


@pytest.mark.parametrize("zone", ["+00:00", "-05:00", "SYSTEM"])
@pytest.mark.parametrize("written", ["now(6)", "utc_timestamp(6)"])
def test_a_datetime_is_written_in_utc_or_in_the_servers_zone(
    prefix: str, kafka: KafkaServer, maria: Source, zone: str, written: str
) -> None:
    line = Line(prefix, kafka, maria.url)
    maria.execute("CREATE TABLE t (id INT PRIMARY KEY, changed DATETIME(6) NOT NULL)")
    tables = [{f"{maria.schema}.t": {"mode": "updated_at", "column": "changed", "look_back": "1s"}}]
    before = "SET GLOBAL time_zone = 'SYSTEM'"
    maria.execute(f"SET GLOBAL time_zone = '{zone}'")
    try:
        with line.running(tables, **POLL) as until:
            for id in range(1, 4):
                maria.execute(f"SET time_zone = '{zone}'", f"INSERT INTO t VALUES ({id}, {written})")
                until(lambda id=id: id in [key for _, key in _ops(line, maria)])  # type: ignore[misc]
    finally:
        maria.execute(before)


def test_a_column_of_a_query_that_was_null_everywhere_gets_its_type_with_its_first_value(
    prefix: str, kafka: KafkaServer, sqlite: Source
) -> None:
    line = Line(prefix, kafka, sqlite.url)
    sqlite.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO t VALUES (1, NULL)")
    query = {"query": "SELECT id, n * 2 AS twice FROM t", "message_key": ["id"]}
    with line.running([{f"{sqlite.schema}.q": query}], **POLL) as until:
        until(lambda: len(line.events("q", sqlite.schema)) == 1)
        sqlite.execute("INSERT INTO t VALUES (2, 21)")
        until(lambda: len(line.events("q", sqlite.schema)) == 2)
    rows = [event["after"] for event in line.events("q", sqlite.schema) if event is not None]
    assert rows == [{"id": 1, "twice": None}, {"id": 2, "twice": 42}]
    found = messages(kafka.bootstrap_servers, [f"{prefix}.cdc.schemas"])
    forms = [TableSchema.from_bytes(message.value() or b"").columns[1].form for message in found]
    assert forms == ["string", "int64"]
