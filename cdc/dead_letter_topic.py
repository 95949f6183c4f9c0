"""Writes and reads the topic `{name}.cdc.dead-letters`, one partition that never expires. Touches Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from cdc import names, topics
from cdc.errors import BrokerUnavailable, PublishError
from cdc.event import Headers
from cdc.kafka import kafka_config
from cdc.settings import Settings
from cdc.sink import Event, Offset

PATIENCE: Final = 30.0
"""Seconds Kafka may take to store, or to give what it says it has."""


class DeadLetterTopic:
    """The topic of one bridge; made with the first record that is put. For one thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = names.dead_letters_topic(settings.name)
        self._producer: Producer | None = None
        self._consumer: Consumer | None = None
        self._failure: KafkaError | None = None
        self._exists = False

    def put(self, headers: Headers, key: bytes | None = None, value: bytes | None = None, timestamp: int = 0) -> None:
        """Add a record; `flush` says whether it is stored."""
        producer = self._producing()
        while True:
            try:
                producer.produce(self.name, value, key, timestamp=timestamp, headers=headers)
                return
            except BufferError:
                producer.poll(0.1)

    def flush(self) -> None:
        """Wait until all that was put is stored.

        Raises:
            BrokerUnavailable, PublishError: it is not.
        """
        if self._producer is None:
            return
        try:
            left = self._producer.flush(PATIENCE)
        except KafkaException as error:
            self._failure, left = error.args[0], 0
        if left:
            raise BrokerUnavailable(f"topic {self.name}: dead letters were not stored in {PATIENCE:.0f} s")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise PublishError(f"topic {self.name}: dead letters cannot be stored: {failure.str()}")

    def end(self) -> Offset:
        """The topic's end; 0 when there is none.

        Raises: BrokerUnavailable.
        """
        consumer = self._consuming()
        try:
            # Of a topic that is not there librdkafka would ask for the end until the patience is over.
            if not self._exists and consumer.list_topics(self.name, PATIENCE).topics[self.name].error is not None:
                return 0
            self._exists = True
            _, high = consumer.get_watermark_offsets(TopicPartition(self.name, 0), timeout=PATIENCE)
        except KafkaException as error:
            reason = error.args[0].str()
            raise BrokerUnavailable(f"topic {self.name}: its end cannot be read: {reason}") from None
        return int(high)

    def read(self, start: Offset, end: Offset) -> Iterator[Event]:
        """The records from one offset to before another.

        Raises: BrokerUnavailable.
        """
        if start >= end:
            return
        consumer = self._consuming()
        consumer.assign([TopicPartition(self.name, 0, start)])
        deadline = time.monotonic() + PATIENCE
        try:
            while start < end:
                for message in consumer.consume(min(1000, end - start), 0.05):
                    start, deadline = self._behind(message), time.monotonic() + PATIENCE
                    if message.error() is None and start <= end:
                        yield _event(message)
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(f"topic {self.name}: its end was not reached in {PATIENCE:.0f} s")
        finally:
            # A fetch that waits for more would hold up the next question for the end.
            consumer.unassign()

    def close(self) -> None:
        """Give back connections."""
        if self._consumer is not None:
            self._consumer.close()

    def _behind(self, message: Message) -> Offset:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise BrokerUnavailable(f"topic {self.name}: {error.str()}")
        return (message.offset() or 0) + (1 if error is None else 0)

    def _producing(self) -> Producer:
        if self._producer is None:
            own = topics.own_topics(self.settings)[self.name]
            topics.ensure(AdminClient(kafka_config(self.settings.kafka)), {self.name: own})
            self._producer = Producer(
                kafka_config(
                    self.settings.kafka,
                    **{
                        "acks": "all",
                        "enable.idempotence": True,
                        "compression.type": "lz4",
                        "message.max.bytes": 1_000_000_000,
                        "delivery.report.only.error": True,
                        "on_delivery": self._note,
                    },
                )
            )
        return self._producer

    def _consuming(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(
                kafka_config(
                    self.settings.kafka,
                    **{
                        "group.id": f"{self.settings.name}.cdc.dead-letters",  # required; never joined
                        "enable.auto.commit": False,
                        "auto.offset.reset": "earliest",
                        "enable.partition.eof": True,
                        "fetch.wait.max.ms": 10,
                        "queued.max.messages.kbytes": 4096,
                    },
                )
            )
        return self._consumer

    def _note(self, error: KafkaError | None, _: Message) -> None:
        self._failure = self._failure or error


def _event(message: Message) -> Event:
    offset, headers = message.offset() or 0, message.headers()
    return Event(message.topic() or "", 0, offset, message.key(), message.value(), message.timestamp()[1], headers)  # type: ignore[arg-type]
