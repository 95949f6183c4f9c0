"""The sink's loop on real Kafka and PostgreSQL: groups, kills, gaps, refused events, lag."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cdc.errors import CdcError, Gap, RowRefused
from cdc.testing.servers import KafkaServer
from cdc.testing.system import wait_for
from tests.databases import Database
from tests.sink_events import column, described, key, position, value
from tests.sink_worker import run, settings_of

COLUMNS = [column("id", "bigint"), column("n", "bigint")]


class Bridge:
    """A bridge's topics on a broker, a connector's part played by the test, and sink members."""

    def __init__(self, name: str, kafka: KafkaServer, database: Database, partitions: int) -> None:
        self.name, self.kafka, self.database = name, kafka, database
        self.topic = f"{name}.public.orders"
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        self.create(self.topic, partitions)
        self.create(f"{name}.cdc.schemas")
        self._lsn = 0
        self.producer = Producer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "transactional.id": name,
                "partitioner": "murmur2_random",
                "logger": __import__("logging").getLogger("test"),
            }
        )
        self.producer.init_transactions(30)

    def create(self, topic: str, partitions: int = 1) -> None:
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)

    def describe(self, **more: Any) -> None:
        with self.transaction():
            schema = described(self.topic, COLUMNS, **more)
            self.producer.produce(f"{self.name}.cdc.schemas", schema.to_bytes(), schema.table.encode())

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[None]:
        self.producer.begin_transaction()
        yield
        self.producer.commit_transaction(30) if commit else self.producer.abort_transaction(30)

    def put(self, id: int, n: int, *, partition: int = -1, of: bytes | None = b"") -> None:
        self._lsn += 1
        of = key(id=id) if of == b"" else of
        self.producer.produce(self.topic, value("u", {"id": id, "n": n}, position(self._lsn)), of, partition=partition)

    def settings(self, **section: Any) -> dict[str, Any]:
        return {
            "name": self.name,
            "bootstrap": self.kafka.bootstrap_servers,
            "url": self.database.url(),
            "topics": [self.topic],
            **section,
        }

    def rows(self, query: str = "SELECT id, n FROM orders ORDER BY id") -> list[Any]:
        with self.database.connect() as connection:
            if connection.execute("SELECT to_regclass('orders')").fetchone() == (None,):
                return []
            return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]

    def until(self, fact: Callable[[], bool], timeout: float = 40.0) -> None:
        assert wait_for(fact, timeout, 0.05), self.rows("SELECT count(*) FROM orders")


class Member:
    """A member in a thread of this process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.status: dict[str, Any] = {"state": "starting"}
        self.error: CdcError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(settings,))
        self._thread.start()

    def _run(self, settings: dict[str, Any]) -> None:
        try:
            run(settings_of(**settings), self._stop, lambda status: setattr(self, "status", status))
        except CdcError as error:
            self.error = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def failed(self) -> CdcError:
        self._thread.join(40)
        assert self.error is not None
        return self.error


MakeBridge = Callable[..., Bridge]


@pytest.fixture
def bridge(prefix: str, kafka: KafkaServer, database: Database) -> MakeBridge:
    return lambda partitions=3: Bridge(prefix, kafka, database, partitions)


@pytest.fixture
def member() -> Iterator[Callable[..., Member]]:
    with ExitStack() as stack:

        def start(bridge: Bridge, **section: Any) -> Member:
            started = Member(bridge.settings(**section))
            stack.callback(started.stop)
            return started

        yield start


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    with ExitStack() as stack:

        def start(bridge: Bridge, **section: Any) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "tests.sink_worker", json.dumps(bridge.settings(**section))]
            started = subprocess.Popen(command)

            def end() -> None:
                started.kill()
                started.wait()

            stack.callback(end)
            return started

        yield start


def test_committed_events_reach_the_table_and_aborted_ones_never_do(bridge: MakeBridge, member: Any) -> None:
    orders = bridge()
    orders.describe()
    sink = member(orders)
    with orders.transaction():
        orders.put(1, 10)
    with orders.transaction(commit=False):
        orders.put(2, 666)
        orders.producer.flush()
    with orders.transaction():
        orders.put(3, 30)
    orders.until(lambda: orders.rows() == [(1, 10), (3, 30)])
    orders.until(lambda: sink.status["state"] == "live" and sink.status["lag_events"] == 0)
    assert sink.status["events"] == 2
    assert sink.status["lag_seconds"] == 0


def test_a_description_that_comes_with_its_events_is_there_in_time(bridge: MakeBridge, member: Any) -> None:
    orders = bridge()
    orders.describe()
    member(orders)
    with orders.transaction():
        orders.put(1, 10)
    orders.until(lambda: orders.rows() == [(1, 10)])
    with orders.transaction():
        wider = described(orders.topic, [*COLUMNS, column("at", "timestamp")], pos=position(2))
        orders.producer.produce(f"{orders.name}.cdc.schemas", wider.to_bytes(), b"public.orders")
        data = value("u", {"id": 1, "n": 11, "at": 1_000_000}, position(2))
        orders.producer.produce(orders.topic, data, key(id=1))
    orders.until(lambda: orders.rows() == [(1, 11)])
    assert orders.rows("SELECT at::text FROM orders") == [("1970-01-01 00:00:01",)]


def test_patterns_take_tables_and_never_the_bridges_own_topics(bridge: MakeBridge, member: Any) -> None:
    orders = bridge()
    orders.describe()
    sink = member(orders, topics=[f"{orders.name}.*"])
    with orders.transaction():
        orders.put(1, 10)
    orders.until(lambda: orders.rows() == [(1, 10)])
    assert {partition.partition("[")[0] for partition in sink.status["partitions"]} == {orders.topic}


def test_killed_at_any_moment_every_event_is_applied_once(bridge: MakeBridge, process: Any) -> None:
    """A table without key gets a row for each event: what is lost or comes twice can be counted."""
    orders = bridge(6)
    orders.describe(key=())
    total, chance = 0, random.Random(7)
    worker = process(orders, batch={"rows": 200}, member="one")
    for kill in range(10):
        for _ in range(5):
            with orders.transaction():
                for _ in range(400):
                    orders.put(total, kill, of=None)
                    total += 1
        seen = len(orders.rows("SELECT FROM orders"))
        target = seen + chance.randrange(1, max(2, total - seen))
        orders.until(lambda target=target: len(orders.rows("SELECT FROM orders")) >= target)  # type: ignore[misc]
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker = process(orders, batch={"rows": 200}, member="one")
    with orders.transaction():  # for the last worker: the one before may have left nothing to do
        orders.put(total, kill, of=None)
        total += 1
    orders.until(lambda: len(orders.rows("SELECT FROM orders")) >= total)
    assert orders.rows("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM orders") == [
        (total, total, 0, total - 1)
    ]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0


def test_members_share_partitions_and_take_over_from_one_that_hangs(bridge: MakeBridge, process: Any) -> None:
    orders = bridge(6)
    orders.describe(key=())
    first, second = process(orders), process(orders)

    def owners() -> list[Any]:
        return orders.rows("SELECT backend, count(*) FROM cdc_offsets GROUP BY 1")

    with orders.transaction():
        for n in range(1000):
            orders.put(n, 1, of=None)
    orders.until(lambda: len(orders.rows()) == 1000)
    orders.until(lambda: sorted(count for _, count in owners()) == [3, 3])
    os.kill(second.pid, signal.SIGSTOP)
    with orders.transaction():
        for n in range(1000, 2000):
            orders.put(n, 1, of=None)
    orders.until(lambda: len(orders.rows()) == 2000)
    os.kill(second.pid, signal.SIGCONT)
    with orders.transaction():
        for n in range(2000, 3000):
            orders.put(n, 1, of=None)
    orders.until(lambda: len(orders.rows()) == 3000)
    assert orders.rows("SELECT count(DISTINCT id) FROM orders") == [(3000,)]
    assert first.poll() is None


def test_a_refused_event_stops_the_sink_and_names_its_place(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    with orders.transaction():
        orders.put(1, 10)
        orders.producer.produce(orders.topic, b"{", key(id=2))
    error = member(orders).failed()
    assert isinstance(error, RowRefused)
    assert (error.topic, error.partition, error.offset) == (orders.topic, 0, 1)
    assert orders.rows() == []


def test_refused_events_go_to_the_dead_letters_and_the_others_on(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    orders.database.execute("CREATE TABLE orders (id bigint PRIMARY KEY, n bigint CHECK (n < 100))")
    sink = member(orders, on_refused="dead_letter")
    with orders.transaction():
        for n in range(50):
            orders.put(n, n + (1000 if n % 10 == 3 else 0))
        orders.producer.produce(orders.topic, b"{", key(id=99))
    orders.until(lambda: len(orders.rows()) == 45)
    orders.until(lambda: sink.status["dead_letters"] == 6)
    letters = _all(orders, f"{orders.name}.cdc.dead-letters")
    assert sorted(int(dict(letter.headers())["cdc.offset"]) for letter in letters) == [3, 13, 23, 33, 43, 50]
    first = next(letter for letter in letters if dict(letter.headers())["cdc.offset"] == b"3")
    assert (first.key(), first.value()) == (key(id=3), value("u", {"id": 3, "n": 1003}, position(4)))
    assert dict(first.headers()) == {
        "cdc.sink": b"target",
        "cdc.topic": orders.topic.encode(),
        "cdc.partition": b"0",
        "cdc.offset": b"3",
        "cdc.reason": b"CheckViolation (23514), constraint orders_n_check",
    }


def test_offsets_that_expired_while_the_sink_was_away_are_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    with orders.transaction():
        orders.put(1, 10)
    sink = member(orders)
    orders.until(lambda: orders.rows() == [(1, 10)])
    sink.stop()
    with orders.transaction():
        orders.put(2, 20)
        orders.put(3, 30)
    gone = TopicPartition(orders.topic, 0, 4)
    orders.admin.delete_records([gone])[gone].result(30)
    error = member(orders).failed()
    assert isinstance(error, Gap)
    assert f"{orders.topic} [0]" in error.message
    assert "holds 4 to" in error.message
    assert error.exit_code == 3


def test_a_topic_that_was_made_anew_is_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    with orders.transaction():
        for n in range(10):
            orders.put(n, n)
    sink = member(orders)
    orders.until(lambda: len(orders.rows()) == 10)
    sink.stop()
    orders.admin.delete_topics([orders.topic])[orders.topic].result(30)
    wait_for(lambda: orders.topic not in orders.admin.list_topics(timeout=10).topics, 20)
    orders.create(orders.topic)
    error = member(orders).failed()
    assert isinstance(error, Gap)
    assert "it should go on at offset 1" in error.message


def test_a_sink_waits_for_a_topic_that_is_not_there_yet(bridge: MakeBridge, member: Any) -> None:
    orders = bridge()
    orders.describe()
    other = f"{orders.name}.public.later"
    sink = member(orders, topics=[other], tables={other: "orders"})
    orders.create(other)
    with orders.transaction():
        schema = described(other, COLUMNS, table="public.later")
        orders.producer.produce(f"{orders.name}.cdc.schemas", schema.to_bytes(), b"public.later")
        orders.producer.produce(other, value("c", {"id": 1, "n": 1}, position(1)), key(id=1))
    orders.until(lambda: orders.rows() == [(1, 1)])
    assert sink.error is None


def _all(bridge: Bridge, topic: str) -> list[Any]:
    consumer = Consumer(
        {"bootstrap.servers": bridge.kafka.bootstrap_servers, "group.id": "test", "enable.partition.eof": True}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        found: list[Any] = []
        while True:
            for message in consumer.consume(100, 0.5):
                if message.error():
                    return found
                found.append(message)
    finally:
        consumer.close()
