"""The sink's loop on real Kafka and PostgreSQL: groups, kills, refused events, lag."""

from __future__ import annotations

import os
import random
import signal
from datetime import UTC, datetime
from typing import Any

from cdc.errors import RowRefused
from tests.sink_events import column, described, key, position, value
from tests.sink_line import COLUMNS, MakeBridge, records


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
    letters = records(orders, f"{orders.name}.cdc.dead-letters")
    assert sorted(int(dict(letter.headers())["cdc.offset"]) for letter in letters) == [3, 13, 23, 33, 43, 50]
    first = next(letter for letter in letters if dict(letter.headers())["cdc.offset"] == b"3")
    assert (first.key(), first.value()) == (key(id=3), value("u", {"id": 3, "n": 1003}, position(4)))
    headers = dict(first.headers())
    assert headers.pop("cdc.at") < datetime.now(UTC).isoformat().encode()
    assert len(headers.pop("cdc.by")) == 16
    assert headers == {
        "cdc.sink": b"target",
        "cdc.topic": orders.topic.encode(),
        "cdc.partition": b"0",
        "cdc.offset": b"3",
        "cdc.reason": b"CheckViolation (23514), constraint orders_n_check",
    }


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
