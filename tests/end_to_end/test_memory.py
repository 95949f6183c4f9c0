"""A transaction of any size passes through bounded memory, each row exactly once."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from cdc.prove.bridge import Bridge
from cdc.prove.observed import messages
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer

ROWS = int(os.environ.get("CDC_ROWS", "2000000"))
LIMIT = 150_000_000

TABLE = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL, status int NOT NULL, amount numeric(12,2),
    currency text, note text, paid boolean, created_at timestamptz, updated_at timestamptz, attrs jsonb)
"""
FILL = """
INSERT INTO orders SELECT g, mod(g, 10000), mod(g, 7), mod(g, 100000) / 100.0, 'EUR', 'order number ' || g,
    mod(g, 2) = 0, now(), now(), '{"channel": "web", "items": 3}' FROM generate_series(1, %s) g
"""


def test_a_transaction_of_two_million_rows_fits_into_150_megabytes_and_comes_exactly_once(
    database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database.execute(TABLE)
    settings = {
        "name": prefix,
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
        "databases": {"warehouse": {"url": database.url()}},
        "topics": {"defaults": {"partitions": 3, "replication_factor": 1}},
        "connectors": {"source": {"type": "postgres_wal", "database": "warehouse", "tables": ["public.orders"]}},
    }
    with Bridge(tmp_path, settings) as bridge:
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
        [same_worker] = bridge.workers(kind="connector")
        peak = _peak_memory(worker)
        assert bridge.stop() == 0
    seen = bytearray(ROWS + 1)
    others = 0
    for message in messages(kafka.bootstrap_servers, [f"{prefix}.public.orders"]):
        key = message.key() or b""
        number = int(key[6:-1])
        if key != b'{"id":%d}' % number or not 1 <= number <= ROWS or seen[number]:
            others += 1
        else:
            seen[number] = 1
    with capsys.disabled():
        print(f"\n  {ROWS:,} rows in one transaction: {peak / 1e6:.0f} MB, {ROWS / seconds:,.0f} rows/s")
    assert (seen.count(1), others) == (ROWS, 0)
    assert same_worker == worker
    assert peak < LIMIT


def _confirmed(database: Database, lsn: str) -> bool:
    """Whether the server was told that everything up to an LSN is stored."""
    query = f"SELECT 1 FROM pg_replication_slots WHERE database = current_database() AND confirmed_flush_lsn >= '{lsn}'"
    return bool(database.rows(query))


def _peak_memory(process: int) -> int:
    """The largest resident set a process ever had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
