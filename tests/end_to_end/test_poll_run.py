"""A connector that polls, as an operator has it: checked, run, polled on demand, in a gap, healed."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from cdc.prove.bridge import Bridge
from cdc.prove.observed import events, topics_of
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer


@pytest.fixture
def bridge(database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path) -> Bridge:
    database.execute("CREATE TABLE orders (id int PRIMARY KEY, note text)")
    database.execute("INSERT INTO orders SELECT g, 'first' FROM generate_series(1, 50) g")
    connector = {
        "type": "sql_poll",
        "database": "w",
        "schedule": "1h",
        "tables": {"public.orders": {"mode": "snapshot_xmin", "deletes": "compare"}},
    }
    document = {
        "name": prefix,
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
        "databases": {"w": {"url": database.url()}},
        "topics": {"defaults": {"partitions": 2, "replication_factor": 1}},
        "connectors": {"source": connector},
    }
    return Bridge(tmp_path, document)


def test_it_is_checked_run_polled_on_demand_and_healed(
    bridge: Bridge, database: Database, kafka: KafkaServer, prefix: str
) -> None:
    topic = f"{prefix}.public.orders"

    def rows() -> dict[int, str]:
        found: dict[int, str] = {}
        if topic in topics_of(kafka.bootstrap_servers, prefix):
            for event in events(kafka.bootstrap_servers, [topic]):
                assert event.key is not None
                if event.value is None or event.value["after"] is None:
                    found.pop(event.key["id"], None)
                else:
                    found[event.key["id"]] = event.value["after"]["note"]
        return found

    def even() -> bool:
        return rows() == dict(database.rows("SELECT id, note FROM orders"))

    with bridge:
        checked = bridge.cdc("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "reads all of it" in checked.stdout
        bridge.start()
        bridge.until("streaming")
        eventually(even, 60, "the rows are on the topic")
        listen = bridge.address().removeprefix("http://")

        database.execute("UPDATE orders SET note = 'second' WHERE id = 1; INSERT INTO orders VALUES (51, 'new')")
        polled = bridge.cdc("poll", "source", "--listen", listen)
        assert polled.returncode == 0, polled.stderr
        assert "public.orders" in polled.stdout
        eventually(even, 60, "what was polled on demand is on the topic")
        refused = bridge.cdc("snapshot", "--listen", listen, "public.orders")
        assert refused.returncode != 0
        assert "Traceback" not in refused.stderr

        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        admin.delete_topics([topic])[topic].result(30)
        bridge.until("gap")
        database.execute("DELETE FROM orders WHERE id = 2")
        assert bridge.cdc("heal", "source", "--listen", listen).returncode == 3
        healed = bridge.cdc("heal", "source", "--yes", "--listen", listen)
        assert healed.returncode == 0, healed.stdout + healed.stderr
        bridge.until("streaming")
        eventually(even, 60, "the topic has all rows again")
        assert bridge.stop() == 0
        assert "Traceback" not in bridge.log
