"""Streaming and snapshot rate, CPU and memory beside `pg_recvlogical` and COPY, same data, same run.

    python -m benchmarks.connector [--rows 500000] [--rounds 3] [--broker kafka|embedded] [--format NAME]

Each round runs, in turn: pg_recvlogical to /dev/null; the connector to nowhere; the connector
to the broker, exactly once; COPY to /dev/null; the snapshot to nowhere and to the broker.
A first round is not counted: in it the JVM of a broker that has just started compiles its code. Medians and ratios
are printed at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import psycopg

from cdc import compiled
from cdc.testing.servers import EmbeddedBroker, KafkaServer, PostgresServer
from tests.schema_registry import running

TABLE = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL, status int NOT NULL, amount numeric(12,2),
    currency text, note text, paid boolean, created_at timestamptz, updated_at timestamptz, attrs jsonb)
"""
ROWS = """
INSERT INTO orders SELECT g, mod(g, 10000), mod(g, 7), mod(g, 100000) / 100.0, 'EUR', 'order number ' || g,
    mod(g, 2) = 0, now(), now(), '{"channel": "web", "items": 3}' FROM generate_series(%s::bigint, %s::bigint) g
"""
ROWS_PER_TRANSACTION = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--format", default="debezium-json", help="of events; avro with the tests' schema registry")
    arguments = parser.parse_args()
    broker = KafkaServer() if arguments.broker == "kafka" else EmbeddedBroker()
    figures: dict[str, list[dict[str, Any]]] = {}
    with PostgresServer() as postgres, broker, running() as registry, tempfile.TemporaryDirectory() as folder:
        written = f"format: {arguments.format}"
        more = f"schema_registry: {{url: '{registry.url}'}}\n"
        for number in range(arguments.rounds + 1):
            bench = Round(postgres, broker.bootstrap_servers, Path(folder), number, arguments.rows, written, more)
            for name, result in bench.run():
                if number:
                    figures.setdefault(name, []).append(result)
                print(f"round {number or 'that is not counted'}: {name}: {orjson.dumps(result).decode()}", flush=True)
    report(figures)


class Round:
    """One database, one bridge name, all measurements once."""

    def __init__(
        self,
        postgres: PostgresServer,
        bootstrap: str,
        folder: Path,
        number: int,
        rows: int,
        written: str,
        more: str,
    ) -> None:
        self.postgres, self.rows = postgres, rows
        self.written, self.more = written, more
        self.database = f"bench{number}"
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self.database}")
        self.url = postgres.url(self.database)
        self.folder = folder
        self.bootstrap = bootstrap

    def run(self) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(TABLE)
            for target in ("null", "kafka"):
                child(self.config(f"stream{target}", snapshot="never"), "null", 0, stop_at_once=True)
            connection.execute("CREATE PUBLICATION peer FOR TABLE orders")
            connection.execute("SELECT pg_create_logical_replication_slot('peer', 'pgoutput')")
            for first in range(0, self.rows, ROWS_PER_TRANSACTION):
                connection.execute(ROWS, [first + 1, first + ROWS_PER_TRANSACTION])
            connection.execute("VACUUM ANALYZE orders")
            end = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
            assert end is not None
            yield "pg_recvlogical", self.pg_recvlogical(str(end[0]))
            connection.execute("SELECT pg_drop_replication_slot('peer')")
            for target in ("null", "kafka"):
                yield f"stream to {target}", child(self.config(f"stream{target}", snapshot="never"), target, self.rows)
            yield "COPY", self.copy()
            for target in ("null", "kafka"):
                yield f"snapshot to {target}", child(self.config(f"snap{target}", snapshot="only"), target, self.rows)
            for (slot,) in connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall():
                connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])

    def config(self, name: str, snapshot: str) -> Path:
        path = self.folder / f"{self.database}{name}.yaml"
        path.write_text(
            f"name: {self.database}{name}\n"
            f"kafka: {{bootstrap_servers: '{self.bootstrap}'}}\n"
            f"databases: {{warehouse: {{url: '{self.url}'}}}}\n"
            "topics: {defaults: {partitions: 6, replication_factor: 1}}\n"
            f"connectors: {{warehouse: {{type: postgres_wal, database: warehouse, tables: [public.orders], "
            f"snapshot: {snapshot}, {self.written}}}}}\n{self.more}"
        )
        return path

    def pg_recvlogical(self, end: str) -> dict[str, Any]:
        program = str(self.postgres.bin_dir / "pg_recvlogical")
        command = [program, "-d", self.url, "--slot", "peer", "--start", "-f", "/dev/null", "--endpos", end]
        return timed([*command, "-o", "proto_version=1", "-o", "publication_names=peer"], self.rows)

    def copy(self) -> dict[str, Any]:
        psql = str(self.postgres.bin_dir / "psql")
        return timed([psql, self.url, "-qc", "COPY orders TO STDOUT", "-o", "/dev/null"], self.rows)


def child(config: Path, target: str, events: int, *, stop_at_once: bool = False) -> dict[str, Any]:
    """Run `benchmarks.child`; its figures with a rate."""
    command = [sys.executable, "-m", "benchmarks.child", str(config), "warehouse", target, str(events)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    if stop_at_once:
        return {}
    figures: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    assert figures["events"] >= events, figures
    return {"rows_per_second": round(events / figures["seconds"]), **figures}


def timed(command: list[str], rows: int) -> dict[str, Any]:
    """Run a program to its end: rate and CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PGOPTIONS": ""})
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rows_per_second": round(rows / seconds), "seconds": seconds, "cpu": cpu}


def report(figures: dict[str, list[dict[str, Any]]]) -> None:
    """Medians, and ratios beside the server's own tools."""
    print(f"\n{compiled.summary()}")
    rate = {name: statistics.median(r["rows_per_second"] for r in runs) for name, runs in figures.items()}
    cpu = {name: statistics.median(r["cpu"] for r in runs) for name, runs in figures.items()}
    for name in rate:
        peer = "COPY" if "snapshot" in name or name == "COPY" else "pg_recvlogical"
        rss = max((r.get("rss_mb", 0) for r in figures[name]), default=0)
        memory = f", peak RSS {rss} MB" if rss else ""
        ratio = f"{rate[name] / rate[peer]:.2f} x {peer}"
        print(f"{name:20} {rate[name]:>9,.0f} rows/s  {ratio:24} CPU {cpu[name]:.1f} s{memory}")


if __name__ == "__main__":
    main()
