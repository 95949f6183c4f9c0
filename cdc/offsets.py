"""Reading the offsets topic to its end. Touches Kafka's consumer interface.

`read_committed` alone would stop at the last stable offset, which another connector's open
transaction may hold back behind our own last record. So the end is asked of
`read_uncommitted`, and reading goes on, committed records only, until it is passed (as Kafka
Connect's KafkaBasedLog does).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cdc.connector import Stopped
from cdc.errors import BrokerUnavailable, PublishError
from cdc.kafka import client
from cdc.position import load
from cdc.settings import KafkaSettings

PATIENCE_SECONDS = 90.0
"""Longer than a transaction may stay open: the last stable offset moves on by then."""


def read_documents(kafka: KafkaSettings, topic: str, stopping: Callable[[], bool]) -> dict[bytes, dict[str, Any]]:
    """The newest committed document of every key on a one-partition compacted topic.

    Raises:
        BrokerUnavailable: the end was not reached in time.
        PublishError: a document cannot be read; names topic, partition and offset.
    """
    end = _end_offset(kafka, topic)
    documents: dict[bytes, dict[str, Any]] = {}
    consumer = _consumer(kafka, topic, "read_committed")
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        deadline = time.monotonic() + PATIENCE_SECONDS
        reached = 0
        while reached < end:
            if stopping():
                raise Stopped
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"topic {topic}: read up to {reached}, the end {end} was not reached",
                    hint="if it stays so, a transaction hangs in Kafka: `kafka-transactions.sh find-hanging` names it",
                )
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    reached = max(reached, message.offset() or 0)
                elif error is not None:
                    raise BrokerUnavailable(f"topic {topic}: {error.str()}")
                else:
                    reached = (message.offset() or 0) + 1
                    _note(documents, message, topic)
    finally:
        consumer.close()
    return documents


def _note(documents: dict[bytes, dict[str, Any]], message: Any, topic: str) -> None:
    key, value = message.key(), message.value()
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


def _end_offset(kafka: KafkaSettings, topic: str) -> int:
    consumer = _consumer(kafka, topic, "read_uncommitted")
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30.0)
    except KafkaException as error:
        raise BrokerUnavailable(f"topic {topic}: its end cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()
    return int(high)


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
        },
    )
