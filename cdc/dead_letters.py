"""Events that a target refuses, put aside on `{name}.cdc.dead-letters`. Touches Kafka's producer interface.

An event put aside twice (a crash between here and the target's commit) has the same topic,
partition and offset in its headers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from cdc import names, topics
from cdc.errors import BrokerUnavailable, PublishError, RowRefused
from cdc.kafka import kafka_config
from cdc.settings import Settings
from cdc.sink import Event, EventBatch

PATIENCE: Final = 30.0
"""Seconds Kafka may take to store refused events."""


class DeadLetters:
    """Where one sink's refused events go.

    Args:
        settings: the bridge's settings.
        sink: the sink's name.
    """

    def __init__(self, settings: Settings, sink: str) -> None:
        self._settings = settings
        self._sink = sink
        self._topic = names.dead_letters_topic(settings.name)
        self._producer: Producer | None = None
        self._failure: KafkaError | None = None
        self._log = structlog.get_logger("cdc.sink")
        self.count = 0

    def put(self, batch: EventBatch, refusal: RowRefused) -> EventBatch:
        """Store the refused events of a batch, surely; the batch without them.

        Raises:
            BrokerUnavailable, PublishError: they are not stored; the batch must not be applied.
        """
        refusals = {(r.topic, r.partition, r.offset): r for r in (refusal, *refusal.others)}
        kept: list[Event] = []
        for event in batch.events:
            found = refusals.get((event.topic, event.partition, event.offset))
            if found is None:
                kept.append(event)
            else:
                self._produce(event, found)
        self._flush()
        self.count += len(refusals)
        self._log.warning(
            "events put aside", topic=self._topic, count=len(refusals), first=refusal.message, reason=refusal.reason
        )
        return replace(batch, events=kept)

    def _produce(self, event: Event, refusal: RowRefused) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            *(event.headers or ()),
            ("cdc.sink", self._sink.encode()),
            ("cdc.topic", event.topic.encode()),
            ("cdc.partition", str(event.partition).encode()),
            ("cdc.offset", str(event.offset).encode()),
            ("cdc.reason", refusal.reason.encode()),
        ]
        producer = self._connected()
        while True:
            try:
                producer.produce(self._topic, event.value, event.key, timestamp=event.timestamp, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)

    def _connected(self) -> Producer:
        if self._producer is None:
            own = topics.own_topics(self._settings)[self._topic]
            topics.ensure(AdminClient(kafka_config(self._settings.kafka)), {self._topic: own})
            self._producer = Producer(
                kafka_config(
                    self._settings.kafka,
                    **{
                        "acks": "all",
                        "enable.idempotence": True,
                        "compression.type": "lz4",
                        "partitioner": "murmur2_random",
                        "message.max.bytes": 1_000_000_000,
                        "delivery.report.only.error": True,
                        "on_delivery": self._note,
                    },
                )
            )
        return self._producer

    def _flush(self) -> None:
        try:
            left = self._connected().flush(PATIENCE)
        except KafkaException as error:
            self._failure, left = error.args[0], 0
        if left:
            raise BrokerUnavailable(f"topic {self._topic}: refused events were not stored in {PATIENCE:.0f} s")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise PublishError(f"topic {self._topic}: refused events cannot be stored: {failure.str()}")

    def _note(self, error: KafkaError | None, _: Message) -> None:
        self._failure = self._failure or error
