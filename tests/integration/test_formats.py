"""Each format from a database through real Kafka into a sink's table, shown and healed; and a registry that says no."""

from __future__ import annotations

import json
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

ROWS = 40
SECONDS = 120.0


class Case:
    """A bridge whose connector writes `orders` in a format, and whose sink makes the table again elsewhere."""

    def __init__(self, database: Database, kafka: KafkaServer, prefix: str, folder: Path, registry: SchemaRegistry):
        self.database, self.kafka, self.prefix, self.folder, self.registry = database, kafka, prefix, folder, registry
        self.topic = f"{prefix}.public.orders"
        database.execute(
            "CREATE TABLE orders (id int PRIMARY KEY, note text, amount numeric(10, 2), rate real, at timestamptz, "
            "tags text[], raw bytea); CREATE SCHEMA target; "
            "INSERT INTO orders SELECT i, 'first', i * 1.5, i / 3.0, now(), ARRAY['a', NULL], '\\x0001' "
            f"FROM generate_series(1, {ROWS}) i; ANALYZE orders"
        )

    def bridge(self, written: str) -> Bridge:
        document = {
            "name": self.prefix,
            "kafka": {"bootstrap_servers": self.kafka.bootstrap_servers},
            "schema_registry": {"url": self.registry.url},
            "databases": {"w": {"url": self.database.url()}},
            "topics": {"defaults": {"partitions": 2, "replication_factor": 1}},
            "connectors": {
                "source": {
                    "type": "postgres_wal",
                    "database": "w",
                    "tables": {"public.orders": {"format": written}},
                    "idle_interval": "1s",
                }
            },
            "sinks": {"copy": {"type": "postgres", "database": "w", "topics": [self.topic], "schema": "target"}},
            "server": {"listen": "127.0.0.1:1"},
        }
        return Bridge(self.folder, document)

    def is_even(self) -> bool:
        if self.database.rows("SELECT to_regclass('target.orders')") == [(None,)]:
            return False
        columns = "id, note, amount, rate, at, tags, raw"
        query = "SELECT {} FROM {} ORDER BY id"
        return self.database.rows(query.format(columns, "orders")) == self.database.rows(
            query.format(columns, "target.orders")
        )

    def records(self) -> list[Any]:
        return list(messages(self.kafka.bootstrap_servers, [self.topic]))


@pytest.fixture
def case(database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path) -> Iterator[Case]:
    with running() as registry:
        yield Case(database, kafka, prefix, tmp_path, registry)


CHANGES = (
    "UPDATE orders SET note = 'changed' WHERE id = 1; DELETE FROM orders WHERE id BETWEEN 11 AND 20; "
    "UPDATE orders SET id = 2001 WHERE id = 2; INSERT INTO orders (id, note) VALUES (1001, 'new')"
)
"""Two new rows, one changed, eleven gone."""


@pytest.mark.parametrize("written", ["json", "avro"])
def test_a_table_is_copied_shown_and_healed_in_every_format(case: Case, written: str) -> None:
    with case.bridge(written) as bridge:
        bridge.start()
        bridge.until("streaming", seconds=SECONDS)
        eventually(case.is_even, SECONDS, "the snapshot is copied")
        case.database.execute(CHANGES)
        eventually(case.is_even, SECONDS, "changes are copied")
        assert bridge.stop() == 0

        shown = bridge.cdc("tail", case.topic, "--until-end").stdout
        assert 'insert     1001  id=1001 note="new"' in shown
        assert "delete     11" in shown
        assert "tombstone  11" in shown
        told = [
            json.loads(line) for line in bridge.cdc("tail", case.topic, "--until-end", "--json").stdout.splitlines()
        ]
        assert {record["key"]["id"] for record in told} >= {1, 11, 1001, 2001}
        check = bridge.cdc("check")
        assert (f"{case.registry.url} answers; 2 subjects" in check.stdout) == (written == "avro")

        before = len(case.records())
        case.database.execute(f"SELECT pg_drop_replication_slot('cdc_{case.prefix}_source')")
        case.database.execute(
            "UPDATE orders SET note = 'again' WHERE id = 1; DELETE FROM orders WHERE id BETWEEN 21 AND 30"
        )
        healed = bridge.cdc("heal", "source", "--yes", seconds=SECONDS)
        assert healed.returncode == 0, healed.stdout + healed.stderr
        assert len(case.records()) - before == 1 + 2 * 10
        bridge.start()
        bridge.until("streaming", seconds=SECONDS)
        eventually(case.is_even, SECONDS, "what was healed is copied")


def test_flattened_rows_are_what_debezium_s_unwrap_makes(case: Case) -> None:
    with case.bridge("json") as bridge:
        bridge.start()
        bridge.until("streaming", seconds=SECONDS)
        case.database.execute("UPDATE orders SET note = 'x' WHERE id = 7; DELETE FROM orders WHERE id = 7")
        eventually(lambda: len(case.records()) == ROWS + 3, SECONDS, "changes are published")
        mine = [record for record in case.records() if json.loads(record.key()) == {"id": 7}]
        values = [None if record.value() is None else json.loads(record.value()) for record in mine]
        assert [value and (value["__op"], value["__deleted"]) for value in values] == [
            ("r", "false"),
            ("u", "false"),
            ("d", "true"),
            None,
        ]
        assert list(values[0]) == [
            *("id", "note", "amount", "rate", "at", "tags", "raw"),
            *("__deleted", "__op", "__pos"),
        ]


def test_a_connector_waits_for_its_registry_and_stops_at_an_incompatible_schema(case: Case) -> None:
    case.registry.failing = 503
    with case.bridge("avro") as bridge:
        bridge.start()
        eventually(
            lambda: "schema registry" in str(bridge.connector().get("error")), SECONDS, "it says what it waits for"
        )
        assert case.registry.schemas == []
        case.registry.failing = None
        bridge.until("streaming", seconds=SECONDS)
        eventually(case.is_even, SECONDS, "the snapshot is copied")

        case.database.execute(
            "ALTER TABLE orders ALTER COLUMN rate TYPE text; INSERT INTO orders (id, rate) VALUES (5000, 'many')"
        )
        bridge.until("failed", seconds=SECONDS)
        error = str(bridge.connector()["error"])
        assert f"subject {case.topic}-value" in error
        assert "Value.rate was null or float, is null or string" in error
        assert all(record.value() is None or b"many" not in record.value() for record in case.records())
