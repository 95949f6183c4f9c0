"""Reading topics to their ends: committed records only, from the first one on. Touches Kafka's consumer interface.

`read_committed` alone would stop at the last stable offset, which another connector's open
transaction may hold back behind our own last record. So the end is asked of
`read_uncommitted`, and reading goes on, committed records only, until it is passed (as Kafka
Connect's KafkaBasedLog does).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from cdc.connector import Stopped
from cdc.errors import BrokerUnavailable, PublishError
from cdc.kafka import client
from cdc.position import load
from cdc.settings import KafkaSettings

PATIENCE_SECONDS = 90.0
"""Without progress. Longer than a transaction may stay open: the last stable offset moves on by then."""

ANSWER_SECONDS = 30.0
PAUSE_SECONDS = 0.1

AT_ONCE = 10_000
"""Records taken from librdkafka at a time."""

QUEUE_KBYTES = 8192
"""What librdkafka may hold in memory beside that, by its own count."""

Ends: TypeAlias = tuple[int, int]


def read_documents(kafka: KafkaSettings, topic: str, stopping: Callable[[], bool]) -> dict[bytes, dict[str, Any]]:
    """The newest committed document of every key on a one-partition compacted topic.

    Raises:
        BrokerUnavailable: the end was not reached in time.
        PublishError: a document cannot be read; names topic, partition and offset.
    """
    documents: dict[bytes, dict[str, Any]] = {}
    for messages in committed(kafka, topic, 1, stopping):
        for message in messages:
            _note(documents, message, topic)
    return documents


def committed(
    kafka: KafkaSettings, topic: str, partitions: int, stopping: Callable[[], bool], last: int | None = None
) -> Iterator[list[Message]]:
    """Every committed record that is on the topic now, some at a time; each partition in order.

    Args:
        kafka, topic, partitions: what to read.
        stopping: asked meanwhile.
        last: only from so many offsets before each partition's end.

    Raises:
        Stopped: `stopping` said so.
        BrokerUnavailable: an end was not reached in time.
    """
    ends = _ends(kafka, topic, partitions, stopping)
    if last is not None:
        ends = {partition: (max(low, high - last), high) for partition, (low, high) in ends.items()}
    unread = {partition for partition, (low, high) in ends.items() if high > low}
    if not unread:
        return
    consumer = _consumer(kafka, topic, "read_committed")
    try:
        consumer.assign([TopicPartition(topic, partition, ends[partition][0]) for partition in sorted(unread)])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while unread:
            if stopping():
                raise Stopped
            if time.monotonic() > deadline:
                first = min(unread)
                raise BrokerUnavailable(
                    f"topic {topic} [{first}]: the end {ends[first][1]} was not reached",
                    hint="if it stays so, a transaction hangs in Kafka: `kafka-transactions.sh find-hanging` names it",
                )
            records: list[Message] = []
            for message in consumer.consume(AT_ONCE, 0.2):
                partition, reached = int(message.partition() or 0), int(message.offset() or 0)
                error = message.error()
                if error is None:
                    records.append(message)
                    reached += 1
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise BrokerUnavailable(f"topic {topic}: {error.str()}")
                if reached >= ends[partition][1]:
                    unread.discard(partition)
            if records:
                deadline = time.monotonic() + PATIENCE_SECONDS
                yield records
    finally:
        consumer.close()


def _note(documents: dict[bytes, dict[str, Any]], message: Message, topic: str) -> None:
    key, value = message.key(), message.value()
    if key is None:
        return
    if value is None:
        documents.pop(key, None)
        return
    try:
        documents[key] = load(value)
    except ValueError as error:
        raise PublishError(
            f"topic {topic} [0] at offset {message.offset()}: {error}",
            hint="an older release cannot read what a newer one stored; upgrade this copy",
        ) from error


def _ends(kafka: KafkaSettings, topic: str, partitions: int, stopping: Callable[[], bool]) -> dict[int, Ends]:
    """First offset, and the one behind the last record, of every partition."""
    consumer = _consumer(kafka, topic, "read_uncommitted")
    try:
        return {partition: _end(consumer, topic, partition, stopping) for partition in range(partitions)}
    finally:
        consumer.close()


def _end(consumer: Consumer, topic: str, partition: int, stopping: Callable[[], bool]) -> Ends:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_SECONDS)
            return int(low), int(high)
        except KafkaException as error:
            # A topic that was just made: its leader is named before it knows.
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > deadline:
                raise BrokerUnavailable(f"topic {topic}: its end cannot be read: {error.args[0].str()}") from error
        if stopping():
            raise Stopped
        time.sleep(PAUSE_SECONDS)


def _consumer(kafka: KafkaSettings, topic: str, isolation: str) -> Consumer:
    return client(
        Consumer,
        kafka,
        **{
            "group.id": topic,  # not joined; a name that the bridge's ACLs cover
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": QUEUE_KBYTES,
        },
    )
