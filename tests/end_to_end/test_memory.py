"""A transaction and a table of any size pass through bounded memory, each row exactly once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdc.prove.bridge import Bridge
from cdc.prove.observed import messages
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer

ROWS = 2_000_000
SNAPSHOT_ROWS = 5_000_000
LIMIT = 150_000_000

Record = Callable[[str, object], None]

TABLE = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL, status int NOT NULL, amount numeric(12,2),
    currency text, note text, paid boolean, created_at timestamptz, updated_at timestamptz, attrs jsonb)
"""
FILL = """
INSERT INTO orders SELECT g, mod(g, 10000), mod(g, 7), mod(g, 100000) / 100.0, 'EUR', 'order number ' || g,
    mod(g, 2) = 0, now(), now(), '{"channel": "web", "items": 3}' FROM generate_series(1, %s) g
"""


def test_a_transaction_of_two_million_rows_fits_into_150_megabytes_and_comes_exactly_once(
    database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path, record_property: Record
) -> None:
    database.execute(TABLE)
    with Bridge(tmp_path, _settings(prefix, kafka, database)) as bridge:
        bridge.start()
        bridge.until("streaming")
        [worker] = bridge.workers(kind="connector")
        with database.connect() as connection:
            connection.execute(FILL, [ROWS])
            committed = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        began = time.monotonic()
        assert committed is not None
        eventually(lambda: _confirmed(database, committed[0]), 240, "the transaction is stored and confirmed")
        seconds = time.monotonic() - began
        peak = _peak_memory(bridge, worker)
        assert bridge.stop() == 0
    record_property("a transaction", _in_words(ROWS, peak, seconds))
    assert _seen_once(kafka, prefix, ROWS)
    assert peak < LIMIT


def test_a_snapshot_of_five_million_rows_fits_into_150_megabytes_and_comes_exactly_once(
    database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path, record_property: Record
) -> None:
    database.execute(TABLE)
    with database.connect() as connection:
        connection.execute(FILL, [SNAPSHOT_ROWS])
    with Bridge(tmp_path, _settings(prefix, kafka, database)) as bridge:
        began = time.monotonic()
        bridge.start()
        bridge.until("snapshotting")
        [worker] = bridge.workers(kind="connector")
        bridge.until("streaming", seconds=400)
        seconds = time.monotonic() - began
        peak = _peak_memory(bridge, worker)
        assert bridge.stop() == 0
    record_property("a snapshot", _in_words(SNAPSHOT_ROWS, peak, seconds))
    assert _seen_once(kafka, prefix, SNAPSHOT_ROWS)
    assert peak < LIMIT


def _settings(name: str, kafka: KafkaServer, database: Database) -> dict[str, Any]:
    return {
        "name": name,
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
        "databases": {"warehouse": {"url": database.url()}},
        "topics": {"defaults": {"partitions": 3, "replication_factor": 1}},
        "connectors": {"source": {"type": "postgres_wal", "database": "warehouse", "tables": ["public.orders"]}},
    }


def _seen_once(kafka: KafkaServer, name: str, rows: int) -> bool:
    """Whether the topic has the keys 1 to `rows`, once each, and nothing else."""
    seen = bytearray(rows + 1)
    for message in messages(kafka.bootstrap_servers, [f"{name}.public.orders"]):
        key = message.key() or b""
        number = int(key[6:-1])
        if key != b'{"id":%d}' % number or not 1 <= number <= rows or seen[number]:
            return False
        seen[number] = 1
    return seen.count(1) == rows


def _in_words(rows: int, peak: int, seconds: float) -> str:
    return f"{rows:,} rows: {peak / 1e6:.0f} MB, {rows / seconds:,.0f} rows/s"


def _confirmed(database: Database, lsn: str) -> bool:
    """Whether the server was told that everything up to an LSN is stored."""
    query = f"SELECT 1 FROM pg_replication_slots WHERE database = current_database() AND confirmed_flush_lsn >= '{lsn}'"
    return bool(database.rows(query))


def _peak_memory(bridge: Bridge, worker: int) -> int:
    """The largest resident set that the connector ever had, in bytes; it must still be the same process."""
    assert list(bridge.workers(kind="connector")) == [worker]
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
