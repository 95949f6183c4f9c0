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

_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


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
    """Every record that is there now and was committed, each partition in order.

    A commit may be answered before its marker is in every partition, and one that is behind still hides the
    records: so the end is where it is for a reader of uncommitted records. It is waited for; a transaction that
    stays open ends in a TimeoutError.
    """
    reader = consumer(bootstrap_servers)
    try:
        known = reader.list_topics(timeout=30).topics
        ends = _ends(bootstrap_servers, [(topic, number) for topic in topics for number in known[topic].partitions])
        unread = {partition for partition, end in ends.items() if end}
        reader.assign([TopicPartition(topic, partition, 0) for topic, partition in sorted(unread)])
        last = time.monotonic()
        while unread:
            for message in reader.consume(10_000, 1.0):
                error = message.error()
                at, reached = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
                if error is None:
                    last = time.monotonic()
                    reached += 1
                    yield message
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if reached >= ends[at]:
                    unread.discard(at)
            if time.monotonic() - last > QUIET_SECONDS:
                raise TimeoutError(f"the ends of {sorted(unread)} are not reached")
    finally:
        reader.close()


def _ends(bootstrap_servers: str, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Where each partition ends, records of open transactions included."""
    reader = consumer(bootstrap_servers, **{"isolation.level": "read_uncommitted"})
    try:
        return {one: _end(reader, one) for one in partitions}
    finally:
        reader.close()


def _end(reader: Consumer, partition: tuple[str, int]) -> int:
    """Where a partition ends; a leader that is only just being made is waited for."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        try:
            return int(reader.get_watermark_offsets(TopicPartition(*partition), timeout=30)[1])
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def await_key(bootstrap_servers: str, topic: str, key: dict[str, Any], seconds: float) -> None:
    """Wait until a committed record with this key is on the topic."""
    deadline = time.monotonic() + seconds
    reader = consumer(bootstrap_servers, **{"enable.partition.eof": False})
    try:
        # Until its first event there is no topic.
        while not (partitions := reader.list_topics(topic, timeout=30).topics[topic].partitions):
            assert time.monotonic() < deadline, f"there is no {topic} within {seconds:g} s"
            time.sleep(0.2)
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
