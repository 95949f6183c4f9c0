"""Reads descriptions of tables from the schemas topic. Touches Kafka's consumer interface.

It reads uncommitted records too: a description is of something that was committed in the
source, so it is true even if its Kafka transaction was aborted; and waiting for committed
ones could be held up by another connector's open transaction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from cdc import names
from cdc.errors import BrokerUnavailable, SinkError
from cdc.kafka import kafka_config
from cdc.schemas import TableSchema, read
from cdc.settings import Settings

PATIENCE: Final = 30.0
"""Seconds Kafka may take to give what it says it has."""


class SchemaReader:
    """Descriptions by event topic, oldest first; `refresh` reads what was added."""

    def __init__(self, settings: Settings) -> None:
        self._partition = TopicPartition(names.schemas_topic(settings.name), 0)
        self._next = 0
        self._exists = False
        self._versions: dict[str, list[TableSchema]] = {}
        self._consumer = Consumer(
            kafka_config(
                settings.kafka,
                **{
                    "group.id": f"{settings.name}.cdc.schemas",  # required, but nothing is joined or committed
                    "enable.auto.commit": False,
                    "isolation.level": "read_uncommitted",
                    "auto.offset.reset": "earliest",
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 10,
                },
            )
        )

    def refresh(self) -> bool:
        """Read to the end that the topic has now; whether a description was added.

        Raises:
            BrokerUnavailable: Kafka does not answer.
            SinkError: a record that a newer release wrote.
        """
        end = self._end()
        changed = False
        if end <= self._next:
            return False
        self._consumer.assign([TopicPartition(self._partition.topic, 0, self._next)])
        try:
            deadline = time.monotonic() + PATIENCE
            while self._next < end:
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(
                        f"topic {self._partition.topic}: its end was not reached within {PATIENCE} s"
                    )
                for message in self._consumer.consume(1000, 0.01):
                    changed |= self._read(message)
        finally:
            # A fetch that waits for more would hold up the next question for the end: a broker
            # answers a connection's requests one after the other.
            self._consumer.unassign()
        return changed

    def topics(self) -> list[str]:
        """The topics that are described, in order."""
        return sorted(self._versions)

    def versions(self, topic: str) -> Sequence[TableSchema]:
        """The topic's descriptions, by their positions; empty if there is none."""
        return tuple(self._versions.get(topic, ()))

    def close(self) -> None:
        """Give back the connection."""
        self._consumer.close()

    def _end(self) -> int:
        topic = self._partition.topic
        try:
            # Of a topic that is not there librdkafka would ask for the end until the patience is over.
            if not self._exists and self._consumer.list_topics(topic, PATIENCE).topics[topic].error is not None:
                return 0
            self._exists = True
            _, high = self._consumer.get_watermark_offsets(self._partition, timeout=PATIENCE)
        except KafkaException as error:
            reason = error.args[0].str()
            raise BrokerUnavailable(f"topic {topic}: its end cannot be read: {reason}") from None
        return int(high)

    def _read(self, message: Message) -> bool:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._next = max(self._next, message.offset() or 0)
                return False
            raise BrokerUnavailable(f"topic {self._partition.topic}: {error.str()}")
        self._next = (message.offset() or 0) + 1
        value = message.value()
        if value is None:
            return False
        try:
            found = read(value)
        except (ValueError, KeyError, TypeError):
            raise SinkError(
                f"topic {self._partition.topic} at offset {message.offset()}: not a description this release knows",
                hint="an older release cannot read what a newer one wrote; upgrade this copy",
            ) from None
        return isinstance(found, TableSchema) and self._add(found)

    def _add(self, added: TableSchema) -> bool:
        """Keep a version; the same description again, at a later position, is no new one."""
        versions = self._versions.setdefault(added.topic, [])
        if versions and replace(added, position=versions[-1].position) == versions[-1]:
            return False
        versions[:] = [version for version in versions if version.position < added.position] + [added]
        return True
