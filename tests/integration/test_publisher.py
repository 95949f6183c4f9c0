"""The publisher on real Kafka: events and position together or not at all, whoever else is about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from cdc.config import parse
from cdc.connector import Stopped
from cdc.errors import Fenced, PublishError, RecordTooLarge
from cdc.event import BY_KEY, EVERY_PARTITION, Batch, EventTopic, Record
from cdc.position import Position
from cdc.prove.observed import messages
from cdc.publisher import Publisher
from cdc.settings import Settings
from cdc.testing.servers import KafkaServer

PARTITIONS = 4
VALUE = "a-value-not-to-be-shown"


def settings_of(kafka: KafkaServer, prefix: str, topics: str = "") -> Settings:
    return parse(
        f"name: {prefix}\nkafka: {{bootstrap_servers: '{kafka.bootstrap_servers}'}}\n"
        f"topics:\n  defaults: {{partitions: {PARTITIONS}, replication_factor: 1}}\n{topics}"
        "databases: {d: {url: postgresql://h/d}}\n"
        "connectors: {source: {type: postgres_wal, database: d, tables: [public.t]}, "
        "other: {type: postgres_wal, database: d, tables: [public.o]}}\n"
    )


@pytest.fixture
def settings(kafka: KafkaServer, prefix: str) -> Settings:
    return settings_of(kafka, prefix)


@pytest.fixture
def copy(settings: Settings) -> Iterator[Callable[..., Publisher]]:
    """Makes publishers of one connector, as copies of a bridge would have them."""
    made: list[Publisher] = []

    def make(connector: str = "source", chosen: Settings = settings) -> Publisher:
        made.append(Publisher(chosen, connector))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


def batch(prefix: str, first: int, last: int, **more: Any) -> Batch:
    topic = f"{prefix}.public.t"
    records: list[Record] = [
        (topic, b'{"id":%d}' % number, b'{"v":%d}' % number, BY_KEY, 0, None) for number in range(first, last + 1)
    ]
    return Batch(records, position(last), [EventTopic(topic, "public.t", ("id",))], **more)


def position(number: int, ledger: dict[str, Any] | None = None) -> Position:
    return Position(f"{number:010}", {"at": number}, ledger)


def numbers(kafka: KafkaServer, prefix: str) -> list[int]:
    """What a reader of committed records sees, by number."""
    found = messages(kafka.bootstrap_servers, [f"{prefix}.public.t"])
    return sorted(int((message.key() or b"")[6:-1]) for message in found)


def test_before_the_first_batch_there_is_no_position(copy: Callable[..., Publisher]) -> None:
    assert copy().take_over() is None


def test_events_and_position_come_back_together(
    copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str
) -> None:
    one = copy()
    one.take_over()
    one.publish(batch(prefix, 1, 3))
    one.publish(Batch([], position(7, {"tables": {"public.t": "done"}})))
    one.publish(Batch([], position(8)))
    stored = copy().take_over()
    assert stored == Position("0000000008", {"at": 8}, {"tables": {"public.t": "done"}})
    assert numbers(kafka, prefix) == [1, 2, 3]


def test_connectors_have_positions_of_their_own(copy: Callable[..., Publisher], prefix: str) -> None:
    one, other = copy(), copy("other")
    one.take_over()
    other.take_over()
    one.publish(Batch([], position(1)))
    other.publish(Batch([], position(2)))
    assert [copy(name).take_over() for name in ("source", "other")] == [position(1), position(2)]


def test_a_copy_that_was_taken_over_publishes_nothing_more(
    copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str
) -> None:
    old, new = copy(), copy()
    old.take_over()
    old.publish(batch(prefix, 1, 2))
    assert new.take_over() == position(2)
    with pytest.raises(Fenced):
        old.publish(batch(prefix, 3, 4))
    new.publish(batch(prefix, 3, 5))
    with pytest.raises((Fenced, PublishError)):
        old.publish(batch(prefix, 6, 6))
    assert numbers(kafka, prefix) == [1, 2, 3, 4, 5]
    assert copy().take_over() == position(5)


def test_what_a_dead_copy_had_not_committed_is_never_seen(
    copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str
) -> None:
    one = copy()
    one.take_over()
    one.publish(batch(prefix, 1, 2))
    one.close()
    dead = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"{prefix}.cdc-source-0"})
    dead.init_transactions()
    dead.begin_transaction()
    dead.produce(f"{prefix}.public.t", b"{}", b'{"id":3}')
    dead.flush()
    two = copy()
    assert two.take_over() == position(2)
    two.publish(batch(prefix, 3, 3))
    assert numbers(kafka, prefix) == [1, 2, 3]


def test_a_position_behind_another_connectors_open_transaction_is_waited_for(
    copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str
) -> None:
    one = copy()
    one.take_over()
    one.publish(Batch([], position(1)))
    other = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"{prefix}.cdc-other-0"})
    other.init_transactions()
    other.begin_transaction()
    other.produce(f"{prefix}.cdc.offsets", b"{}", b"open", partition=0)
    other.flush()
    one.publish(Batch([], position(2)))
    two = copy()
    with ThreadPoolExecutor() as pool:
        stored = pool.submit(two.take_over)
        _until_fenced(one)
        # The new copy has begun to take over, and its own last record is behind the open transaction.
        assert not stored.done()
        other.abort_transaction()
        assert stored.result(60) == position(2)


def _until_fenced(publisher: Publisher) -> None:
    with suppress(Fenced):
        while True:
            publisher.publish(Batch([], position(2)))


def test_keys_are_partitioned_as_the_java_client_does(
    copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str
) -> None:
    one = copy()
    one.take_over()
    one.publish(batch(prefix, 1, 500))
    for message in messages(kafka.bootstrap_servers, [f"{prefix}.public.t"]):
        assert message.partition() == (_murmur2(message.key() or b"") & 0x7FFFFFFF) % PARTITIONS


def _murmur2(data: bytes) -> int:
    """As org.apache.kafka.common.utils.Utils has it."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_topics_are_made_as_declared(copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str) -> None:
    declared = (
        f"  {prefix}.public.t: {{partitions: 2, cleanup_policy: delete, retention: 1h, retention_bytes: 1GB, "
        "min_insync_replicas: 1, max_message_bytes: 2MiB}\n"
    )
    one = copy(chosen=settings_of(kafka, prefix, declared))
    one.take_over()
    one.publish(batch(prefix, 1, 1))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    found = {topic: _configuration(admin, topic) for topic in _topics(admin, prefix)}
    assert _topics(admin, prefix)[f"{prefix}.public.t"] == 2
    assert (
        found[f"{prefix}.public.t"].items()
        >= {
            "cleanup.policy": "delete",
            "retention.ms": "3600000",
            "retention.bytes": "1000000000",
            "max.message.bytes": str(2 * 1024 * 1024),
        }.items()
    )
    assert {topic: config["cleanup.policy"] for topic, config in found.items() if ".cdc." in topic} == {
        f"{prefix}.cdc.offsets": "compact",
        f"{prefix}.cdc.schemas": "compact",
        f"{prefix}.cdc.dead-letters": "delete",
    }


def _topics(admin: AdminClient, prefix: str) -> dict[str, int]:
    topics = admin.list_topics(timeout=30).topics
    return {name: len(topic.partitions) for name, topic in topics.items() if name.startswith(f"{prefix}.")}


def _configuration(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(timeout=30)
    return {name: entry.value for name, entry in config.items()}


def test_an_event_too_large_sends_nothing_and_shows_no_value(
    copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str
) -> None:
    one = copy()
    one.take_over()
    one.publish(batch(prefix, 1, 1))
    large = batch(prefix, 2, 3)
    topic, key, _, *rest = large.records[1]
    value = (VALUE * 50_000).encode()
    with pytest.raises(RecordTooLarge) as raised:
        one.publish(Batch([large.records[0], (topic, key, value, *rest)], large.position))  # type: ignore[list-item]
    for part in ("table public.t (key id)", topic, "max.message.bytes", "1048588", str(len(value) // 1000)):
        assert part in str(raised.value)
    assert VALUE not in str(raised.value)
    assert copy().take_over() == position(1)
    assert numbers(kafka, prefix) == [1]


def test_the_largest_event_that_fits_is_sent(copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str) -> None:
    one = copy()
    one.take_over()
    topic = f"{prefix}.public.t"
    # Nothing that compression could make smaller.
    value = bytes((index * index * 7 + index // 3) % 251 for index in range(1_048_588 - 200))
    records: list[Record] = [(topic, b'{"id":%d}' % number, value, BY_KEY, 0, None) for number in (1, 2)]
    one.publish(Batch(records, position(2), [EventTopic(topic, "public.t", ("id",))]))
    assert numbers(kafka, prefix) == [1, 2]


def test_a_batch_larger_than_the_clients_queue_is_one_transaction(
    copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str
) -> None:
    one = copy()
    one.take_over()
    topic = f"{prefix}.public.t"
    value = b"x" * 2000  # 30,000 of them are twice the queue's 32 MiB
    records: list[Record] = [(topic, b'{"id":%d}' % n, value, BY_KEY, 0, None) for n in range(30_000)]
    one.publish(Batch(records, position(1), [EventTopic(topic, "public.t", ("id",))]))
    assert numbers(kafka, prefix) == list(range(30_000))


def test_a_truncate_marker_is_on_every_partition_once(
    copy: Callable[..., Publisher], kafka: KafkaServer, prefix: str
) -> None:
    one = copy()
    one.take_over()
    topic = f"{prefix}.public.t"
    record: Record = (topic, b"k", b"{}", EVERY_PARTITION, 0, None)
    one.publish(Batch([record], position(1), [EventTopic(topic, "public.t", ())]))
    found = [message.partition() or 0 for message in messages(kafka.bootstrap_servers, [topic])]
    assert sorted(found) == list(range(PARTITIONS))


def test_a_broker_that_restarts_is_waited_for_and_nothing_is_lost_or_doubled(prefix: str) -> None:
    with KafkaServer() as kafka:
        one = Publisher(settings_of(kafka, prefix), "source")
        one.take_over()
        one.publish(batch(prefix, 1, 100))
        stop = threading.Event()
        published: list[int] = []

        def work() -> None:
            while not stop.is_set():
                first = 101 + 10 * len(published)
                one.publish(batch(prefix, first, first + 9))
                published.append(first)

        with ThreadPoolExecutor() as pool:
            working = pool.submit(work)
            _wait(lambda: len(published) > 3, working)
            kafka.kill()
            seen = len(published)
            kafka.start()
            _wait(lambda: len(published) > seen + 3, working)
            stop.set()
            working.result(60)
        last = 100 + 10 * len(published)
        assert numbers(kafka, prefix) == list(range(1, last + 1))
        again = Publisher(settings_of(kafka, prefix), "source")
        assert again.take_over() == position(last)
        again.close()


def test_a_stop_is_noticed_while_the_broker_is_away(prefix: str) -> None:
    with KafkaServer() as kafka:
        one = Publisher(settings_of(kafka, prefix), "source")
        one.take_over()
        one.publish(batch(prefix, 1, 1))
        kafka.stop()
        asked = threading.Event()

        def stopping() -> bool:
            asked.set()
            return True

        one.stop_when(stopping)
        with pytest.raises(Stopped):
            one.publish(batch(prefix, 2, 2))
        assert asked.is_set()
        one.close()


def _wait(fact: Callable[[], bool], working: Any) -> None:
    pause = threading.Event()
    for _ in range(1200):
        if fact():
            return
        if working.done():
            working.result()
        pause.wait(0.05)
    raise AssertionError("it does not go on")
