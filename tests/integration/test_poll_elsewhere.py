"""A `sql_poll` connector on databases that are not PostgreSQL, to real Kafka and on into a service's table."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from cdc.errors import SourceError
from cdc.prove.observed import messages
from cdc.schemas import TableSchema
from cdc.settings import DatabaseSettings
from cdc.testing.servers import KafkaServer
from connectors.sql_poll.generic_source import GenericSource
from connectors.sql_poll.settings import SqlPollSettings
from tests.connector_line import Line
from tests.poll_sources import SETTINGS, Source

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


def test_a_statement_that_takes_too_long_for_mariadb_is_ended_and_stops_no_other_table(
    prefix: str, kafka: KafkaServer, maria: Source
) -> None:
    line = Line(prefix, kafka, maria.url)
    maria.execute("CREATE TABLE a (id INT PRIMARY KEY, slow INT)", "INSERT INTO a VALUES (1, 0), (2, 1), (3, 0)")
    maria.execute("CREATE VIEW dawdling AS SELECT id, IF(slow, SLEEP(600), 0) AS slept FROM a")
    _filled(maria)
    tables = [{f"{maria.schema}.dawdling": {"message_key": ["id"]}}, f"{maria.schema}.t"]
    poll: dict[str, Any] = {**POLL, "statement_timeout": "700ms", "state": "snapshotting"}
    with structlog.testing.capture_logs() as logs, line.running(tables, **poll) as until:
        until(lambda: f"{maria.schema}.dawdling" in line.connector.status()["refused_tables"])
        until(lambda: len(_ops(line, maria)) == 3)
        maria.execute("INSERT INTO t (id, n) VALUES (4, 4)")
        until(lambda: len(_ops(line, maria)) == 4)
        maria.execute("UPDATE a SET slow = 0")
        until(lambda: len(line.events("dawdling", maria.schema)) == 3)
        until(lambda: not line.connector.status()["refused_tables"])
    [said] = [log for log in logs if log["event"] == "a table is not polled"]
    assert said["error"] == f"{maria.schema}.dawdling: OperationalError 1969: a statement took too long"
    assert "statement_timeout" in said["hint"]


@pytest.mark.parametrize(
    ("section", "isolation"),
    [
        ({}, "REPEATABLE-READ"),
        ({"isolation": "repeatable_read"}, "REPEATABLE-READ"),
        ({"isolation": "read_committed"}, "READ-COMMITTED"),
    ],
)
def test_mariadb_sees_a_session_that_only_reads_with_the_isolation_that_is_set(
    prefix: str, kafka: KafkaServer, maria: Source, section: dict[str, Any], isolation: str
) -> None:
    """What the settings say, and what InnoDB says of the transaction that reads."""
    line = Line(prefix, kafka, maria.url)
    maria.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    query = (
        "SELECT t.id, @@tx_isolation AS isolation, @@tx_read_only AS read_only, "
        "(SELECT CONCAT(trx_isolation_level, trx_is_read_only) FROM information_schema.innodb_trx"
        " WHERE trx_mysql_thread_id = connection_id()) AS seen FROM t"
    )
    tables = [{f"{maria.schema}.q": {"query": query, "message_key": ["id"]}}]
    with line.running(tables, **{**POLL, "schedule": "1h"}, **section) as until:
        until(lambda: len(line.events("q", maria.schema)) == 1)
    [event] = line.events("q", maria.schema)
    assert event is not None
    assert (event["after"]["isolation"], event["after"]["read_only"]) == (isolation, 1)
    assert event["after"]["seen"] == isolation.replace("-", " ") + "1"


def test_a_session_that_polls_cannot_write(source: Source) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    databases = {"x": DatabaseSettings.model_validate({"url": source.url})}
    section = SqlPollSettings.model_validate({"database": "x", "tables": [f"{source.schema}.t"]})
    polled = GenericSource(SETTINGS.model_copy(update={"databases": databases}), "poll", section)
    for statement in ("INSERT INTO t VALUES (1)", "CREATE TABLE other (id INT PRIMARY KEY)"):
        with pytest.raises(SourceError), polled.connect() as connection, connection.begin():
            connection.exec_driver_sql(statement)
    with polled.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one() == 0
