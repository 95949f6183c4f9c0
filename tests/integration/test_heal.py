"""`cdc heal` as an operator uses it: a plan, a heal beside workers that go on, and one that is killed at every step."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cdc.failpoints import HEAL
from cdc.prove.bridge import Bridge
from cdc.prove.observed import Event, events, topics_of
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer

ROWS = 500
SECONDS = 120.0


class Case:
    """A bridge with two connectors, `source` (orders) and `other` (items)."""

    def __init__(self, database: Database, kafka: KafkaServer, prefix: str, folder: Path) -> None:
        self.database, self.kafka, self.prefix, self.folder = database, kafka, prefix, folder
        self.slot = f"cdc_{prefix}_source"
        for table in ("orders", "items"):
            database.execute(
                f"CREATE TABLE {table} (id int PRIMARY KEY, note text); "
                f"INSERT INTO {table} SELECT i, 'first' FROM generate_series(1, {ROWS}) i; ANALYZE {table}"
            )

    def bridge(self) -> Bridge:
        def connector(table: str) -> dict[str, Any]:
            return {"type": "postgres_wal", "database": "w", "tables": [f"public.{table}"], "idle_interval": "1s"}

        document = {
            "name": self.prefix,
            "kafka": {"bootstrap_servers": self.kafka.bootstrap_servers},
            "databases": {"w": {"url": self.database.url()}},
            "topics": {"defaults": {"partitions": 2, "replication_factor": 1}},
            "connectors": {"source": connector("orders"), "other": connector("items")},
            "server": {"listen": "127.0.0.1:1"},  # where nobody answers; `cdc run` is told another
        }
        return Bridge(self.folder, document, environment={"CDC_FAILPOINTS": str(self.folder)})

    def events(self, table: str) -> list[Event]:
        servers, topic = self.kafka.bootstrap_servers, f"{self.prefix}.public.{table}"
        return events(servers, [topic]) if topic in topics_of(servers, self.prefix) else []

    def is_even(self, table: str) -> bool:
        rows: dict[int, Any] = {}
        for event in sorted(self.events(table), key=lambda event: str(event.position)):
            if event.value is not None and event.key is not None:
                rows[event.key["id"]] = event.value["after"] and event.value["after"]["note"]
        there = {number: note for number, note in rows.items() if note is not None}
        return there == dict(self.database.rows(f"SELECT id, note FROM {table}"))

    def lose_the_slot(self, bridge: Bridge) -> None:
        """The bridge streams, stops, and while it is away its slot goes and the table changes."""
        bridge.start()
        bridge.until("streaming", seconds=SECONDS)
        eventually(lambda: self.is_even("orders") and self.is_even("items"), SECONDS, "the snapshots are published")
        assert bridge.stop() == 0
        self.database.execute(f"SELECT pg_drop_replication_slot('{self.slot}')")
        self.database.execute(
            "UPDATE orders SET note = 'changed' WHERE id = 1; DELETE FROM orders WHERE id BETWEEN 11 AND 30; "
            "INSERT INTO orders VALUES (1001, 'new')"
        )


@pytest.fixture
def case(database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path) -> Case:
    return Case(database, kafka, prefix, tmp_path)


def test_a_running_bridge_is_told_to_heal_and_the_others_go_on(case: Case) -> None:
    with case.bridge() as bridge:
        case.lose_the_slot(bridge)
        bridge.start()
        bridge.until("gap", seconds=SECONDS)
        eventually(lambda: bridge.state("other") == "streaming", SECONDS, "the other connector streams")
        assert bridge.cdc("status", "--listen", bridge.address()).returncode == 3
        assert "`cdc heal source`" in bridge.connector()["error"]["hint"]

        before = len(case.events("orders"))
        plan = bridge.cdc("heal", "source")
        assert plan.returncode == 3, plan.stderr
        assert f"replication slot {case.slot} is gone; changes from" in plan.stdout
        assert re.search(rf"public\.orders → {case.prefix}\.public\.orders, about \d+ rows: by difference", plan.stdout)
        told = json.loads(bridge.cdc("heal", "source", "--json").stdout)
        assert [table["how"] for table in told["tables"]] == ["difference"]
        assert len(case.events("orders")) == before
        assert bridge.state() == "gap"

        healed = bridge.cdc("heal", "source", "--yes", "--listen", bridge.address(), seconds=SECONDS)
        assert healed.returncode == 0, healed.stdout + healed.stderr
        assert "source: healed" in healed.stdout
        bridge.until("streaming", seconds=SECONDS)
        assert case.is_even("orders")
        assert len(case.events("orders")) - before == 2 + 2 * 20
        case.database.execute("INSERT INTO items VALUES (2000, 'x'); INSERT INTO orders VALUES (2000, 'x')")
        eventually(lambda: case.is_even("orders") and case.is_even("items"), SECONDS, "both go on")
        # One that runs is left alone.
        refused = bridge.cdc("heal", "other")
        assert refused.returncode == 3
        assert "connector other runs" in refused.stderr


def test_a_heal_that_is_killed_at_every_step_ends_well(case: Case) -> None:
    with case.bridge() as bridge:
        case.lose_the_slot(bridge)
        for name in HEAL:
            (case.folder / name).touch()
        codes = []
        while not codes or codes[-1] != 0:
            codes.append(bridge.cdc("heal", "source", "--yes", seconds=SECONDS).returncode)
            assert len(codes) <= len(HEAL) + 1, codes
        assert codes == [-9] * len(HEAL) + [0]
        assert [name for name in HEAL if (case.folder / name).exists()] == []
        assert case.is_even("orders")
        assert bridge.cdc("heal", "source").stdout == "source: nothing is missing\n"
        bridge.start()
        bridge.until("streaming", seconds=SECONDS)
        case.database.execute("INSERT INTO orders VALUES (2000, 'x')")
        eventually(lambda: case.is_even("orders"), SECONDS, "it goes on")


def test_a_name_that_is_not_there_is_suggested(case: Case) -> None:
    with case.bridge() as bridge:
        shown = bridge.cdc("heal", "sorce")
        assert shown.returncode == 2
        assert "did you mean source?" in shown.stderr
        assert bridge.cdc("heal", "source", "topic").returncode == 2
