"""What is polled and what the write-ahead log says make the same table of a service; workers are killed meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random
from typing import Any

from cdc.prove.bridge import Bridge
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer

TABLE = """
CREATE TABLE orders (
    id bigint PRIMARY KEY, status text NOT NULL, amount numeric(12,2), paid boolean, note text, attrs jsonb,
    tags text[], placed timestamptz NOT NULL DEFAULT now(), day date, took interval, raw bytea
);
INSERT INTO orders SELECT g, 'new', g / 3.0, g % 2 = 0, repeat('note ' || g, g % 40), '{"a": 1}', '{a,b}',
    '2024-01-01'::timestamptz + g * interval '1 hour', '2024-01-01', interval '90 minutes', '\\x00ff'
    FROM generate_series(1, 2000) g
"""

CHANGES = (
    "UPDATE orders SET status = 'paid', paid = true, amount = amount + 0.01 WHERE id %% 7 = %(n)s %% 7",
    "INSERT INTO orders (id, status, note) SELECT g, 'late', NULL FROM generate_series(%(n)s * 100, %(n)s * 100 + 9) g "
    "ON CONFLICT DO NOTHING",
    "DELETE FROM orders WHERE id %% 53 = %(n)s %% 53",
    "UPDATE orders SET id = id + 1000000 WHERE id = (SELECT min(id) FROM orders)",
    "UPDATE orders SET note = repeat('long ', 2000) WHERE id %% 101 = %(n)s",
)

KINDS: dict[str, dict[str, Any]] = {
    "log": {"type": "postgres_wal", "tables": ["public.orders"]},
    "polled": {
        "type": "sql_poll",
        "schedule": "300ms",
        "tables": {"public.orders": {"mode": "snapshot_xmin", "deletes": "compare", "compare_every": "1s"}},
    },
}


def _bridge(kind: str, name: str, kafka: KafkaServer, source: Database, target: Database, folder: Path) -> Bridge:
    target.execute(f"CREATE SCHEMA {kind}")
    folder.mkdir()
    return Bridge(
        folder,
        {
            "name": f"{name}-{kind}",
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
            "databases": {"warehouse": {"url": source.url()}, "service": {"url": target.url()}},
            "topics": {"defaults": {"partitions": 3, "replication_factor": 1}},
            "connectors": {"source": {"database": "warehouse", **KINDS[kind]}},
            "sinks": {
                "copy": {
                    "type": "postgres",
                    "database": "service",
                    "schema": kind,
                    "topics": [f"{name}-{kind}.public.orders"],
                }
            },
        },
    )


def test_the_same_table_comes_of_a_poll_and_of_the_log(
    database: Database, target: Database, kafka: KafkaServer, prefix: str, tmp_path: Path
) -> None:
    rng = Random(1)
    database.execute(TABLE)
    with (
        _bridge("log", prefix, kafka, database, target, tmp_path / "log") as log,
        _bridge("polled", prefix, kafka, database, target, tmp_path / "polled") as polled,
    ):
        for bridge in (log, polled):
            bridge.start()
        for bridge in (log, polled):
            bridge.until("streaming", seconds=120)
        with database.connect() as connection:
            for number in range(1, 31):
                connection.execute(rng.choice(CHANGES), {"n": number})
                if number % 10 == 0:
                    for worker in list(polled.workers()):
                        os.kill(worker, signal.SIGKILL)

        wanted = database.rows("SELECT o::text FROM orders o ORDER BY id")

        def equal(schema: str) -> bool:
            return target.rows(f"SELECT to_regclass('{schema}.orders')") != [(None,)] and (
                target.rows(f"SELECT ({COLUMNS})::text FROM {schema}.orders o ORDER BY id") == wanted
            )

        eventually(lambda: equal("log"), 120, "the log's table is the source's")
        eventually(lambda: equal("polled"), 120, "the polled table is the source's")
        assert [polled.stop(), log.stop()] == [0, 0]


COLUMNS = "ROW(id, status, amount, paid, note, attrs, tags, placed, day, took, raw)"
