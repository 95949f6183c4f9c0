"""Polled tables in each format, from PostgreSQL and from SQLite: rows, changes, deletes, and nothing twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc.prove.bridge import Bridge
from cdc.prove.observed import messages
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer
from tests.schema_registry import SchemaRegistry, running

SECONDS = 120.0
ROWS = 30
COLUMNS = "id, note, amount, rate"
FIRST = f"""
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {ROWS})
INSERT INTO orders SELECT i, 'a "quoted" \\ grün ' || i, i * 1.5, i * 1e20 / 3 FROM g
"""
CHANGES = (
    "UPDATE orders SET note = NULL, rate = 1e-7 WHERE id = 1",
    "DELETE FROM orders WHERE id BETWEEN 11 AND 15",
    "INSERT INTO orders VALUES (1001, 'new', 0.01, 0.1)",
)


class Case:
    """A bridge that polls `orders` in a format, and whose sink makes the table again in PostgreSQL."""

    def __init__(
        self, kind: str, database: Database, kafka: KafkaServer, prefix: str, folder: Path, registry: SchemaRegistry
    ) -> None:
        self.kind, self.database, self.kafka, self.prefix, self.folder = kind, database, kafka, prefix, folder
        self.registry = registry
        self.file = folder / "shop.db"
        schema = {"postgres": "public", "sqlite": "main"}[kind]
        self.table, self.topic = f"{schema}.orders", f"{prefix}.{schema}.orders"
        self.database.execute("CREATE SCHEMA target")
        self.execute("CREATE TABLE orders (id int PRIMARY KEY, note text, amount numeric(12,2), rate double precision)")
        self.execute(FIRST)

    def execute(self, *statements: str) -> None:
        if self.kind == "postgres":
            self.database.execute("; ".join(statements))
            return
        with sqlite3.connect(self.file) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self) -> list[tuple[Any, ...]]:
        query = f"SELECT {COLUMNS} FROM orders ORDER BY id"
        if self.kind == "postgres":
            found = self.database.rows(query)
        else:
            with sqlite3.connect(self.file) as connection:
                found = connection.execute(query).fetchall()
        return [(number, note, float(amount), rate) for number, note, amount, rate in found]

    def is_even(self) -> bool:
        if self.database.rows("SELECT to_regclass('target.orders')") == [(None,)]:
            return False
        found = self.database.rows(f"SELECT {COLUMNS} FROM target.orders ORDER BY id")
        return [(number, note, float(amount), rate) for number, note, amount, rate in found] == self.rows()

    def bridge(self, written: str) -> Bridge:
        url = self.database.url() if self.kind == "postgres" else f"sqlite:///{self.file}"
        document = {
            "name": self.prefix,
            "kafka": {"bootstrap_servers": self.kafka.bootstrap_servers},
            "schema_registry": {"url": self.registry.url},
            "databases": {"shop": {"url": url}, "target": {"url": self.database.url()}},
            "topics": {"defaults": {"partitions": 2, "replication_factor": 1}},
            "connectors": {
                "source": {
                    "type": "sql_poll",
                    "database": "shop",
                    "schedule": "1s",
                    "tables": {self.table: {"mode": "full"}},
                    "format": written,
                    "idle_interval": "1s",
                }
            },
            "sinks": {"copy": {"type": "postgres", "database": "target", "topics": [self.topic], "schema": "target"}},
            "server": {"listen": "127.0.0.1:1"},
        }
        return Bridge(self.folder, document)

    def records(self) -> list[Any]:
        try:
            return list(messages(self.kafka.bootstrap_servers, [self.topic]))
        except KeyError:  # it is not there yet
            return []

    def polls(self, bridge: Bridge) -> str | None:
        told = bridge.connector().get("tables", {}).get(self.table, {})
        return told.get("polled_at")


@pytest.fixture
def postgres_case(database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path) -> Iterator[Case]:
    with running() as registry:
        yield Case("postgres", database, kafka, prefix, tmp_path, registry)


@pytest.fixture(params=["postgres", "sqlite"])
def case(
    request: pytest.FixtureRequest, database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path
) -> Iterator[Case]:
    with running() as registry:
        yield Case(request.param, database, kafka, prefix, tmp_path, registry)


@pytest.mark.parametrize("written", ["debezium-json-schemas", "json", "avro"])
def test_a_polled_table_is_made_again_and_no_row_comes_twice(case: Case, written: str) -> None:
    with case.bridge(written) as bridge:
        bridge.start()
        eventually(case.is_even, SECONDS, "the first rows are in the target")
        assert len(case.records()) == ROWS
        _begins(case.records()[0].value(), written)
        # What readers have is read from the topic again: a row that is read back otherwise would be published anew.
        bridge.kill()
        bridge.start()
        _polled_twice(case, bridge)
        assert len(case.records()) == ROWS
        case.execute(*CHANGES)
        eventually(case.is_even, SECONDS, "the changes are in the target")
        assert len(case.records()) == ROWS + 2 + 2 * 5
        bridge.stop()


def test_a_row_that_a_format_refuses_holds_up_no_row_before_it(postgres_case: Case) -> None:
    case = postgres_case
    case.execute("ALTER TABLE orders ADD tags int[]", "UPDATE orders SET tags = '{{1,2},{3,4}}' WHERE id = 20")
    with case.bridge("avro") as bridge:
        bridge.start()
        eventually(lambda: bool(bridge.connector().get("refused_tables")), SECONDS, "the refused row is told")
        assert "20" not in str(bridge.connector()["refused_tables"])
        eventually(lambda: len(case.records()) == 19, SECONDS, "the rows before it are on the topic")
        case.execute("UPDATE orders SET tags = '{1,2}' WHERE id = 20")
        eventually(case.is_even, SECONDS, "all rows are in the target")
        assert len(case.records()) == ROWS
        bridge.stop()


@pytest.mark.parametrize("written", ["json", "avro"])
def test_a_deleted_row_is_told_whatever_its_columns_are(postgres_case: Case, written: str) -> None:
    case = postgres_case
    case.execute("ALTER TABLE orders ADD place point NOT NULL DEFAULT '(1,2)', ADD raw bytea NOT NULL DEFAULT ''")
    with case.bridge(written) as bridge:
        bridge.start()
        eventually(case.is_even, SECONDS, "the first rows are in the target")
        case.execute(*CHANGES[1:2])
        eventually(case.is_even, SECONDS, "the deletes are in the target")
        bridge.stop()


def test_a_format_with_the_same_keys_goes_on_where_the_other_one_stopped(case: Case) -> None:
    for written, events in (("json", ROWS), ("debezium-json", 2 + 2 * 5)):
        before = len(case.records()) if written != "json" else 0
        with case.bridge(written) as bridge:
            bridge.start()
            _polled_twice(case, bridge)
            case.execute(*CHANGES[: 3 if before else 0])
            eventually(case.is_even, SECONDS, "all is in the target")
            assert len(case.records()) - before == events
            bridge.stop()


def test_a_format_with_other_keys_is_refused_on_a_topic_that_holds_some(case: Case) -> None:
    with case.bridge("json") as bridge:
        bridge.start()
        eventually(case.is_even, SECONDS, "the first rows are in the target")
        bridge.stop()
    with case.bridge("avro") as bridge:
        bridge.start()
        eventually(lambda: bridge.connector().get("state") == "failed", SECONDS, "it is refused")
        assert "its topic holds keys that were written in another format" in bridge.connector()["error"]["message"]
        bridge.stop()
    assert len(case.records()) == ROWS


def _begins(value: bytes, written: str) -> None:
    beginning = {"debezium-json-schemas": b'{"schema":{"type":"struct"', "json": b'{"id":', "avro": b"\0\0\0\0"}
    assert value.startswith(beginning[written])


def _polled_twice(case: Case, bridge: Bridge) -> None:
    for _ in range(2):
        before = case.polls(bridge)
        eventually(lambda before=before: case.polls(bridge) not in (None, before), SECONDS, "a poll has ended")
