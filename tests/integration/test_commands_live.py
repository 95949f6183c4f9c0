"""A running bridge is told something: to read tables again, to pause, to go on; a YAML with another table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from cdc.prove.bridge import Bridge
from cdc.prove.observed import messages, topics_of
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer


class Running:
    """A bridge with two connectors, `orders` and `stock`, and what it published."""

    def __init__(self, folder: Path, prefix: str, database: Database, kafka: KafkaServer) -> None:
        self.prefix, self.kafka = prefix, kafka
        connector = {"type": "postgres_wal", "database": "warehouse", "idle_interval": "1s"}
        self.document: dict[str, Any] = {
            "name": prefix,
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
            "databases": {"warehouse": {"url": database.url()}},
            "topics": {"defaults": {"partitions": 1, "replication_factor": 1}},
            "connectors": {
                "orders": {**connector, "tables": ["public.orders"]},
                "stock": {**connector, "tables": ["public.stock"]},
            },
            "server": {"token": "s3cret"},
        }
        self.bridge = Bridge(folder, self.document)

    def rows(self, table: str, operation: str = "r") -> list[int]:
        """Keys of the events with this operation on the table's topic."""
        topic = f"{self.prefix}.public.{table}"
        if topic not in topics_of(self.kafka.bootstrap_servers, self.prefix):
            return []
        values = [orjson.loads(message.value() or b"{}") for message in messages(self.kafka.bootstrap_servers, [topic])]
        return sorted(value["after"]["id"] for value in values if value.get("op") == operation)

    def snapshot(self, *arguments: str) -> tuple[int, str]:
        done = self.bridge.cdc("snapshot", *arguments, "--listen", self.bridge.address())
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def running(tmp_path: Path, prefix: str, database: Database, kafka: KafkaServer) -> Iterator[Running]:
    for table in ("orders", "stock", "later"):
        database.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, note text)")
        database.execute(f"INSERT INTO {table} SELECT i, 'x' FROM generate_series(1, 20) AS i")
    running = Running(tmp_path, prefix, database, kafka)
    with running.bridge as bridge:
        bridge.start()
        eventually(lambda: {bridge.state("orders"), bridge.state("stock")} == {"streaming"}, 60, "both stream")
        eventually(lambda: running.rows("orders") == running.rows("stock") == [*range(1, 21)], 60, "first snapshots")
        yield running


def test_tables_are_read_again_beside_the_stream(running: Running, database: Database) -> None:
    database.execute("UPDATE orders SET note = 'newer' WHERE id = 1; DELETE FROM orders WHERE id = 2")
    code, shown = running.snapshot("public.orders", "--wait")
    assert code == 0, shown
    assert shown.splitlines()[-1] == "orders: done"
    assert running.rows("orders") == sorted([*range(1, 21), 1, *range(3, 21)])
    assert running.rows("stock") == [*range(1, 21)]


def test_a_snapshot_is_paused_over_a_crash_and_goes_on_when_told(running: Running, database: Database) -> None:
    assert running.snapshot("--pause", "--connector", "orders")[0] == 0
    assert running.snapshot("orders")[0] == 0
    shown = running.bridge.connector("orders")["snapshot"]
    assert shown["paused"] is True
    running.bridge.kill()
    running.bridge.start()
    eventually(lambda: (running.bridge.connector("orders").get("snapshot") or {}).get("paused"), 60, "still paused")
    database.execute("INSERT INTO orders VALUES (21, 'streamed meanwhile')")
    eventually(lambda: running.rows("orders", "c") == [21], 30, "the stream goes on")
    assert running.rows("orders") == [*range(1, 21)]
    code, said = running.snapshot("--resume", "--connector", "orders", "--wait")
    assert code == 0, said
    assert set(running.rows("orders")) >= set(range(1, 21))
    assert len(running.rows("orders")) >= 40


def test_what_cannot_be_read_again_is_said(running: Running, database: Database) -> None:
    code, said = running.snapshot("public.later")
    assert (code, "no connector captures public.later" in said) == (2, True)
    database.execute(f'DROP PUBLICATION "{running.bridge.connector("orders")["publication"]}"')
    eventually(lambda: running.bridge.state("orders") == "gap", 30, "gap")
    code, said = running.snapshot("public.orders")
    assert (code, "it is in state gap" in said) == (3, True)


def test_a_table_that_is_added_to_the_yaml_is_read_without_a_restart_of_the_bridge(running: Running) -> None:
    pid, stock = running.bridge.pid, running.bridge.connector("stock")["pid"]
    running.document["connectors"]["orders"]["tables"].append("public.later")
    running.bridge.config.write_text(json.dumps(running.document))
    eventually(lambda: running.rows("later") == [*range(1, 21)], 60, "the rows of the added table")
    assert (running.bridge.pid, running.bridge.connector("stock")["pid"]) == (pid, stock)
    assert running.rows("orders") == [*range(1, 21)], "what was read is not read again"
