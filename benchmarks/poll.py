"""Polling: a first backlog, changed rows, and polls at which nothing had changed; rate, CPU of both sides, memory.

    python -m benchmarks.poll [--rows 1000000] [--changed 100000] [--modes full,tx_column] [--broker kafka|embedded]

Of each mode, on a table of its own: all rows are published; then some are updated by one statement and published;
then nothing changes but a row of another table. CPU of the source is that of all processes of its server.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from cdc import compiled
from cdc.prove.bridge import Bridge
from cdc.prove.waiting import eventually
from cdc.testing.servers import EmbeddedBroker, KafkaServer, PostgresServer

TABLE = """
CREATE TABLE {t} (id bigint PRIMARY KEY, customer_id bigint NOT NULL, status int NOT NULL, amount numeric(12,2),
    currency text, note text, paid boolean, created_at timestamptz, updated_at timestamptz, attrs jsonb{more});
INSERT INTO {t} SELECT g, mod(g, 10000), mod(g, 7), mod(g, 100000) / 100.0, 'EUR', 'order number ' || g,
    mod(g, 2) = 0, now(), now(), '{{"channel": "web", "items": 3}}' FROM generate_series(1::bigint, {rows}) g;
CREATE INDEX ON {t} (updated_at, id);
"""

MODES: dict[str, dict[str, Any]] = {
    "snapshot_xmin": {"mode": "snapshot_xmin"},
    "tx_column": {"mode": "tx_column", "column": "_tx"},
    "updated_at": {"mode": "updated_at", "column": "updated_at"},
    "incrementing": {"mode": "incrementing", "column": "id"},
    "full": {"mode": "full"},
}

SECONDS = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=100_000)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    arguments = parser.parse_args()
    broker = KafkaServer() if arguments.broker == "kafka" else EmbeddedBroker()
    print(f"{compiled.summary()}\n{arguments.rows:,} rows, {arguments.changed:,} changed")
    with PostgresServer() as postgres, broker:
        for mode in arguments.modes.split(","):
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(postgres, broker.bootstrap_servers, Path(folder), mode, arguments.rows)
                for line in bench.run(arguments.changed):
                    print(f"{mode:14} {line}", flush=True)


class Bench:
    """One mode, in a database of its own."""

    def __init__(self, postgres: PostgresServer, bootstrap: str, folder: Path, mode: str, rows: int) -> None:
        self.postgres, self.mode, self.rows = postgres, mode, rows
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE bench_{mode}")
        self.url = postgres.url(f"bench_{mode}")
        connector = {
            "type": "sql_poll",
            "database": "warehouse",
            "schedule": "500ms",
            "tables": {"public.orders": MODES[mode]},
        }
        document = {
            "name": f"bench-{mode.replace('_', '-')}",
            "kafka": {"bootstrap_servers": bootstrap},
            "databases": {"warehouse": {"url": self.url}},
            "topics": {"defaults": {"partitions": 6, "replication_factor": 1}},
            "connectors": {"source": connector},
        }
        self.bridge = Bridge(folder, document)

    def run(self, changed: int) -> Iterator[str]:
        """Lines of figures."""
        more = ", _tx xid8 NOT NULL DEFAULT pg_current_xact_id()" if self.mode == "tx_column" else ""
        with psycopg.connect(self.url, autocommit=True) as connection, self.bridge as bridge:
            connection.execute(TABLE.format(t="orders", rows=self.rows, more=more))
            if more:
                connection.execute("CREATE INDEX ON orders (_tx, id)")
            connection.execute("VACUUM ANALYZE orders")
            connection.execute("CREATE TABLE other (id int)")
            bridge.start()
            yield self._pass("backlog", self.rows)
            if self.mode == "incrementing":
                connection.execute(
                    "INSERT INTO orders SELECT id + %s, customer_id, status, amount, currency, note, paid, created_at, "
                    "updated_at, attrs FROM orders WHERE id <= %s",
                    [self.rows, changed],
                )
            else:
                tx = ", _tx = pg_current_xact_id()" if more else ""
                connection.execute(
                    f"UPDATE orders SET status = status + 1, updated_at = now(){tx} WHERE id <= %s", [changed]
                )
            yield self._pass("changed", changed)
            idle = []
            for number in range(5):
                before = self._told()["polled_at"]
                connection.execute("INSERT INTO other VALUES (%s)", [number])
                eventually(lambda before=before: self._told()["polled_at"] != before, SECONDS, "another poll")  # type: ignore[misc]
                idle.append(self._told()["seconds"])
            yield f"nothing changed {sorted(idle)[2] * 1000:>9,.1f} ms a poll"

    def _pass(self, what: str, events: int) -> str:
        seen, server = self._events(), self._server_cpu()
        eventually(lambda: self._events() > seen, SECONDS, "the first of them")
        first, began = self._events(), time.monotonic()
        eventually(lambda: self._events() - seen >= events, SECONDS, what)
        seconds = time.monotonic() - began
        [worker] = self.bridge.workers(kind="connector")
        cpu = self._server_cpu() - server
        return (
            f"{what:15} {(seen + events - first) / seconds:>9,.0f} rows/s  {seconds:6.1f} s  CPU of the source "
            f"{cpu:.1f} s, of the worker so far {_cpu(worker):.1f} s  peak RSS {_peak(worker) / 1e6:.0f} MB"
        )

    def _events(self) -> int:
        return int(self.bridge.connector().get("events") or 0)

    def _told(self) -> dict[str, Any]:
        return dict(self.bridge.connector().get("tables", {}).get("public.orders", {}))

    def _server_cpu(self) -> float:
        """Seconds of all processes of the server, those that have ended included."""
        return _cpu(self.postgres.pid, children=True) + sum(map(_cpu, _children(self.postgres.pid)))


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _stat(int(entry.name), 1) == parent:
            yield int(entry.name)


def _stat(pid: int, place: int) -> int:
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[place])
    except OSError:
        return 0


def _cpu(pid: int, *, children: bool = False) -> float:
    places = (11, 12, 13, 14) if children else (11, 12)
    return sum(_stat(pid, place) for place in places) / float(os.sysconf("SC_CLK_TCK"))


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
