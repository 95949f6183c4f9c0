"""Polling: a first backlog, changed rows, and polls at which nothing had changed; rate, CPU of both sides, memory.

    python -m benchmarks.poll [--rows 1000000] [--changed 100000] [--modes full,tx_column] [--broker kafka|embedded]

Of each mode, one after the other on the same table: all rows are published; then some, spread evenly, are changed by
one statement and published (`incrementing`: added); then nothing changes but a row of another table. A rate is that of
a pass, from its begin until its last batch is handed to Kafka. CPU of the source is that of all processes of its
server meanwhile; autovacuum is off. With 10,000,000 rows it takes 15 GB of disk, and each mode about as long as 400 s.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient

from cdc import compiled
from cdc.prove.bridge import Bridge
from cdc.prove.waiting import Broken
from cdc.testing.servers import EmbeddedBroker, KafkaServer, PostgresServer

TABLE = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL, status int NOT NULL, amount numeric(12,2),
    currency text, note text, paid boolean, created_at timestamptz, updated_at timestamptz, attrs jsonb,
    _tx xid8 NOT NULL DEFAULT pg_current_xact_id());
INSERT INTO orders SELECT g, mod(g, 10000), mod(g, 7), mod(g, 100000) / 100.0, 'EUR', 'order number ' || g,
    mod(g, 2) = 0, now(), now(), '{"channel": "web", "items": 3}' FROM generate_series(1::bigint, %s) g;
CREATE INDEX ON orders (updated_at, id);
CREATE INDEX ON orders (_tx, id);
CREATE TABLE other (id int);
"""

MODES: dict[str, dict[str, Any]] = {
    "snapshot_xmin": {"mode": "snapshot_xmin"},
    "tx_column": {"mode": "tx_column", "column": "_tx"},
    "updated_at": {"mode": "updated_at", "column": "updated_at"},
    "full": {"mode": "full"},
    "incrementing": {"mode": "incrementing", "column": "id"},
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
    with PostgresServer(settings={"autovacuum": "off", "max_wal_size": "4GB"}) as postgres, broker:
        began = time.monotonic()
        for statement in filter(str.strip, (TABLE % arguments.rows).split(";")):
            _execute(postgres, statement)
        print(f"table made in {time.monotonic() - began:.0f} s", flush=True)
        for mode in arguments.modes.split(","):
            # Of the modes before there are old versions of rows.
            _execute(postgres, "VACUUM ANALYZE orders")
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(postgres, broker.bootstrap_servers, Path(folder), mode)
                for line in bench.run(arguments.changed):
                    print(f"{mode:14} {line}", flush=True)


def _execute(postgres: PostgresServer, statement: str) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(statement.encode())


class Bench:
    """One mode."""

    def __init__(self, postgres: PostgresServer, bootstrap: str, folder: Path, mode: str) -> None:
        self.postgres, self.bootstrap, self.mode = postgres, bootstrap, mode
        self.name = f"bench-{mode.replace('_', '-')}"
        connector = {
            "type": "sql_poll",
            "database": "warehouse",
            "schedule": "1d",  # and whenever it is asked to
            "tables": {"public.orders": {**MODES[mode], "columns": {"exclude": ["_tx"]}}},
        }
        document = {
            "name": self.name,
            "kafka": {"bootstrap_servers": bootstrap},
            "databases": {"warehouse": {"url": postgres.url()}},
            "topics": {"defaults": {"partitions": 6, "replication_factor": 1}},
            "connectors": {"source": connector},
        }
        self.bridge = Bridge(folder, document)

    def run(self, changed: int) -> Iterator[str]:
        """Lines of figures. In the end its topics are deleted."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection, self.bridge as bridge:
            [[rows, top]] = connection.execute("SELECT count(*), max(id) FROM orders").fetchall()
            server = self._server_cpu()
            bridge.start()
            yield self._pass("backlog", rows, server)
            if self.mode == "incrementing":
                self._poll()  # numbers are passed by the next poll, which reads them again
            began = time.monotonic()
            if self.mode == "incrementing":
                connection.execute(
                    "INSERT INTO orders SELECT id + %s, customer_id, status, amount, currency, note, paid, created_at, "
                    "updated_at, attrs FROM orders WHERE id <= %s",
                    [top, changed],
                )
            else:
                connection.execute(
                    "UPDATE orders SET status = status + 1, updated_at = now(), _tx = pg_current_xact_id() "
                    "WHERE mod(id, %s) = 0",
                    [rows // changed],
                )
                changed = rows // (rows // changed)
            yield f"changed in {time.monotonic() - began:.0f} s"
            server = self._server_cpu()
            self._poll()
            yield self._pass("changed", changed, server)
            idle, server = [], self._server_cpu()
            for number in range(1 if self.mode == "full" else 5):  # it reads all rows each time
                connection.execute("INSERT INTO other VALUES (%s)", [number])
                self._poll()
                idle.append(self._told()["seconds"])
            cpu = (self._server_cpu() - server) / len(idle)
            yield f"nothing changed {statistics.median(idle) * 1000:>9,.1f} ms a poll, CPU of the source {cpu:.2f} s"
            bridge.stop()
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        topics = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith(f"{self.name}.")]
        for deleted in admin.delete_topics(topics).values():
            deleted.result()

    def _poll(self) -> None:
        """Poll now, and wait for the end of it."""
        before = time.time()
        time.sleep(1.0)  # it is told by the second
        listen = self.bridge.address().removeprefix("http://")
        asked = self.bridge.cdc("poll", "source", "--listen", listen)
        assert asked.returncode == 0, asked.stderr

        def polled() -> bool:
            at = self._told().get("polled_at")
            return at is not None and datetime.fromisoformat(at).timestamp() > before

        _until(polled)

    def _pass(self, what: str, events: int, server: float) -> str:
        """Figures of the pass that ends now.

        Args:
            events: that it publishes.
            server: CPU of the source's server by its begin.
        """
        _until(lambda: self._told().get("polled_at") is not None)
        cpu, told = self._server_cpu() - server, self._told()
        [worker] = self.bridge.workers(kind="connector")
        assert told["events"] == events, told
        seconds = told["seconds"]
        return (
            f"{what:15} {events / seconds:>9,.0f} rows/s  {seconds:6.1f} s, {told['rows_read']:,} read  CPU of "
            f"the source {cpu:.1f} s, of the worker so far {_cpu(worker):.1f} s  peak RSS {_peak(worker) / 1e6:.0f} MB"
        )

    def _told(self) -> dict[str, Any]:
        return dict(self.bridge.connector().get("tables", {}).get("public.orders", {}))

    def _server_cpu(self) -> float:
        """Seconds of all processes of the server, those that have ended included."""
        return _cpu(self.postgres.pid, children=True) + sum(map(_cpu, _children(self.postgres.pid)))


def _until(fact: Callable[[], bool]) -> None:
    """Ask seldom: the machine has other things to do."""
    deadline = time.monotonic() + SECONDS
    while not fact():
        if time.monotonic() > deadline:
            raise Broken(f"a poll takes more than {SECONDS:g} s")
        time.sleep(0.2)


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
