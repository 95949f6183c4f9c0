"""A `sql_poll` connector on databases that are not PostgreSQL, to real Kafka and on into a service's table."""

from __future__ import annotations

from typing import Any

import pytest

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


def _ops(line: Line, source: Source) -> list[tuple[str, int]]:
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
