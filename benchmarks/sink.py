"""The sink's rate, from a topic on a real broker into a table, at 676 bytes an event.

    python -m benchmarks.sink [--rows 500000] [--rounds 3] [--broker kafka|embedded] [--fsync]

Each round consumes the topic twice with a new group: into an empty table (inserts), then again
with later positions (updates of every row). One worker process, whose CPU and memory are shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import SecretStr

from cdc import compiled
from cdc.testing.servers import EmbeddedBroker, KafkaServer, PostgresServer
from tests.sink_events import column, described, key, position, value

COLUMNS = [
    column("id", "bigint"),
    column("customer_id", "bigint"),
    column("status", "integer"),
    column("amount", "numeric(12,2)"),
    column("currency", "text"),
    column("note", "text"),
    column("paid", "boolean"),
    column("created_at", "timestamptz"),
    column("updated_at", "timestamptz"),
    column("attrs", "jsonb"),
]
PARTITIONS = 6
ROWS_PER_TRANSACTION = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--fsync", action="store_true", help="let PostgreSQL sync its log at each commit")
    chosen = parser.parse_args()
    broker = KafkaServer() if chosen.broker == "kafka" else EmbeddedBroker()
    figures: dict[str, list[dict[str, Any]]] = {}
    with PostgresServer(settings={"fsync": "on" if chosen.fsync else "off"}) as postgres, broker:
        for number in range(chosen.rounds):
            for what, result in _round(postgres, broker.bootstrap_servers, number, chosen.rows):
                figures.setdefault(what, []).append(result)
                print(f"round {number + 1}: {what}: {json.dumps(result)}", flush=True)
    print(compiled.summary())
    for what, results in figures.items():
        rate = statistics.median(result["rows_per_second"] for result in results)
        peak = max(result["rss_mb"] for result in results)
        cpu = statistics.median(result["cpu_seconds"] for result in results)
        print(f"{what}: {rate:,.0f} rows/s, {cpu} s CPU of the worker, at most {peak} MB (medians of {len(results)})")


def _round(postgres: PostgresServer, bootstrap: str, number: int, rows: int) -> Any:
    name = f"bench{number}"
    topic = f"{name}.public.orders"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    topics = [NewTopic(topic, PARTITIONS, 1), NewTopic(f"{name}.cdc.schemas", 1, 1)]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(topics).values():
        future.result()
    for pass_, what in enumerate(("inserts", "updates")):
        _produce(bootstrap, name, topic, rows, pass_)
        yield what, _consume(name, bootstrap, postgres.url(name), rows)


def _produce(bootstrap: str, name: str, topic: str, rows: int, pass_: int) -> None:
    """The events of one pass, in transactions as the connector makes them."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": name,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 200_000,
        }
    )
    producer.init_transactions()
    for first in range(0, rows, ROWS_PER_TRANSACTION):
        producer.begin_transaction()
        if first == pass_ == 0:
            producer.produce(f"{name}.cdc.schemas", described(topic, COLUMNS).to_bytes(), b"public.orders")
        for g in range(first, min(rows, first + ROWS_PER_TRANSACTION)):
            row = {
                "id": g,
                "customer_id": g % 10_000,
                "status": g % 7,
                "amount": f"{g % 100_000 / 100:.2f}",
                "currency": "EUR",
                "note": f"order number {g}, pass {pass_}",
                "paid": g % 2 == 0,
                "created_at": "2026-11-23T03:10:20.123456Z",
                "updated_at": "2026-11-23T03:10:20.123456Z",
                "attrs": '{"items": 3, "channel": "web"}',
            }
            pos = position(1_000_000 * (pass_ + 1) + g)
            producer.produce(topic, value("u" if pass_ else "c", row, pos), key(id=g))
        producer.commit_transaction()


def _consume(name: str, bootstrap: str, url: str, rows: int) -> dict[str, Any]:
    """One worker in a process of its own, until it has applied so many rows."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sink", "--worker", name, bootstrap, url, str(rows)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _worker(name: str, bootstrap: str, url: str, rows: int) -> None:
    import resource

    from cdc.settings import DatabaseSettings, KafkaSettings, Settings
    from cdc.sink_loop import run_sink
    from sinks.postgres import plugin
    from sinks.postgres.settings import PostgresSinkSettings

    section = PostgresSinkSettings(database="target", topics=[f"{name}.public.orders"])
    settings = Settings(
        name=name,
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        databases={"target": DatabaseSettings(url=SecretStr(url))},
        sinks={"target": section},
    )
    stop = threading.Event()
    seen: dict[str, float] = {}

    def report(status: dict[str, Any]) -> None:
        now = time.monotonic()
        if status["events"]:
            seen.setdefault("first", now)
            seen.setdefault("first_events", status["events"])
        if status["events"] >= rows and "last" not in seen:
            seen["last"] = now
            stop.set()

    run_sink(settings, "target", plugin.create(settings, "target", section), stop, report)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    counted = rows - seen["first_events"]
    print(
        json.dumps(
            {
                "rows_per_second": round(counted / (seen["last"] - seen["first"])),
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
                "rss_mb": usage.ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _worker(*sys.argv[2:5], int(sys.argv[5]))
    else:
        main()
