"""What is on the topics, for any consumer that reads committed records only. Touches Kafka.

A plain confluent-kafka consumer; nothing of the bridge is used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Event:
    """One record of an event topic.

    Args:
        topic, partition, offset: where it is.
        key: the key's JSON, None for a table without key.
        value: the envelope, None for a tombstone.
        headers: name → value.
    """

    topic: str
    partition: int
    offset: int
    key: dict[str, Any] | None
    value: dict[str, Any] | None
    headers: dict[str, str | bytes | None]

    @property
    def op(self) -> str:
        """c, u, d, r, t, or `tombstone`."""
        return "tombstone" if self.value is None else str(self.value["op"])

    @property
    def position(self) -> str | None:
        """`cdc.pos`; a tombstone has none."""
        return None if self.value is None else str(self.value["cdc"]["pos"])


def consumer(bootstrap_servers: str, **more: Any) -> Consumer:
    """A consumer that reads committed records from the beginning."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "the-judge",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "queued.min.messages": 200_000,
            "fetch.queue.backoff.ms": 5,
            **more,
        }
    )


def messages(bootstrap_servers: str, topics: Sequence[str]) -> Iterator[Message]:
    """Every committed record that is there now, each partition in order.

    An open transaction holds its partition's end back: end it before (stop the bridge).
    """
    reader = consumer(bootstrap_servers)
    try:
        known = reader.list_topics(timeout=30).topics
        unread = {(topic, partition) for topic in topics for partition in known[topic].partitions}
        reader.assign([TopicPartition(topic, partition, 0) for topic, partition in sorted(unread)])
        last = time.monotonic()
        while unread:
            for message in reader.consume(10_000, 1.0):
                last = time.monotonic()
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard((str(message.topic()), int(message.partition() or 0)))
                else:
                    raise KafkaException(error)
            if time.monotonic() - last > QUIET_SECONDS:
                raise TimeoutError(f"the ends of {sorted(unread)} are not reached")
    finally:
        reader.close()


def await_key(bootstrap_servers: str, topic: str, key: dict[str, Any], seconds: float) -> None:
    """Wait until a committed record with this key is on the topic."""
    deadline = time.monotonic() + seconds
    reader = consumer(bootstrap_servers, **{"enable.partition.eof": False})
    try:
        partitions = reader.list_topics(topic, timeout=30).topics[topic].partitions
        reader.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        while not any(_has_key(message, key) for message in reader.consume(10_000, 0.2)):
            assert time.monotonic() < deadline, f"{key} is not on {topic} within {seconds:g} s"
    finally:
        reader.close()


def _has_key(message: Message, key: dict[str, Any]) -> bool:
    written = message.key()
    return message.error() is None and written is not None and orjson.loads(written) == key


def events(bootstrap_servers: str, topics: Sequence[str]) -> list[Event]:
    """`messages`, parsed."""
    return [event(message) for message in messages(bootstrap_servers, topics)]


def event(message: Message) -> Event:
    """One record, parsed."""
    key, value = message.key(), message.value()
    return Event(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        key=None if key is None else orjson.loads(key),
        value=None if value is None else orjson.loads(value),
        headers=dict(message.headers() or ()),
    )


def topics_of(bootstrap_servers: str, prefix: str) -> list[str]:
    """Event topics of a bridge: all but its own."""
    reader = consumer(bootstrap_servers)
    try:
        names = reader.list_topics(timeout=30).topics
    finally:
        reader.close()
    return sorted(name for name in names if name.startswith(f"{prefix}.") and not name.startswith(f"{prefix}.cdc."))
