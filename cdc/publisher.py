"""Exactly-once publishing and the stored position. Touches Kafka's producer interface.

The rules are those of KIP-98 and KIP-618: one transactional id per connector task;
`init_transactions` before the stored position is read; events and position in one
transaction. Whatever is not plainly retriable ends the producer, and the caller starts over
from the stored position.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from cdc import names, topics
from cdc.connector import Stopped
from cdc.errors import BrokerUnavailable, Fenced, Gap, Interrupted, PublishError, RecordTooLarge
from cdc.event import EVERY_PARTITION, Batch, EventTopic
from cdc.failpoints import reach
from cdc.holdings import Holdings
from cdc.homes import Watch
from cdc.kafka import SOCKET_TIMEOUT, SOCKET_TIMEOUT_MS, client
from cdc.position import Position
from cdc.settings import Settings
from cdc.stored import Home

CALL_SECONDS = 1.0
"""How long one call into librdkafka may block, so that a stop is noticed."""

PATIENCE_SECONDS = 20.0
"""How long nothing may go on before the connector starts over, on new connections; below the transaction timeout."""

TRANSACTION_TIMEOUT_MS = 60_000

BATCH_SIZE = 1_000_000
"""Bytes of one record batch; below the broker's default limit of 1,048,588."""

RECORD_OVERHEAD = 96
"""Bytes a record batch and a record add at most to key and value (message format 2)."""

PRODUCER_PROPERTIES: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
    # murmur2 over the key's bytes, as the Java client partitions: co-partitioned readers agree.
    "partitioner": "murmur2_random",
    "delivery.report.only.error": True,
    # Sizes are checked against each topic's own limit before `produce`.
    "message.max.bytes": 1_000_000_000,
}

QUEUE = "queue.buffering.max.kbytes"

TUNABLE_PROPERTIES: dict[str, Any] = {
    "compression.type": "lz4",
    "linger.ms": 20,  # a commit does not wait for it
    "queue.buffering.max.messages": 500_000,
    QUEUE: 16_384,
    SOCKET_TIMEOUT: SOCKET_TIMEOUT_MS,
}
"""Good defaults; what stands under `kafka.properties` wins."""


class Publisher:
    """The Kafka side of one connector.

    Args:
        settings: the bridge's settings.
        connector: the connector's name; its positions are stored under it.
    """

    def __init__(self, settings: Settings, connector: str) -> None:
        self.settings = settings
        self.connector = connector
        self._offsets_topic = names.offsets_topic(settings.name)
        self._producer: Producer | None = None
        self._admin = client(AdminClient, settings.kafka)
        self._limits: dict[str, int] = {}
        declared = [t.max_message_bytes for t in settings.topics.values() if t.max_message_bytes]
        self._batch_size = min([BATCH_SIZE, *declared])
        queue = settings.kafka.properties.get(QUEUE, TUNABLE_PROPERTIES[QUEUE])
        self._queue_bytes = int(queue) * 1024
        self._open = False
        self._tables: dict[str, EventTopic] = {}
        self._holdings = Holdings(settings, connector, self._admin, self.stopping)
        self._watch: Watch | None = None
        self._refused: KafkaError | None = None
        self._asked: Callable[[], bool] = lambda: False

    def stop_when(self, stopping: Callable[[], bool]) -> None:
        """Ask `stopping` while waiting for Kafka; raise Stopped when it says True."""
        self._asked = stopping

    def stopping(self) -> bool:
        """Whether it is time to stop."""
        return self._asked()

    def take_over(self) -> Position | None:
        """Fence every older producer of this connector, then read its stored position.

        Returns: None before the first batch was ever published.
        Raises: BrokerUnavailable, PublishError.
        """
        self._reach_broker()
        topics.ensure(self._admin, topics.own_topics(self.settings))
        own = topics.existing_configuration(self._admin, topics.own_topics(self.settings))
        self._limits.update({name: int(config["max.message.bytes"]) for name, config in own.items()})
        group = self.settings.name
        declared = self.settings.kafka.properties
        self._producer = client(
            Producer,
            self.settings.kafka,
            **PRODUCER_PROPERTIES,
            **{name: value for name, value in TUNABLE_PROPERTIES.items() if name not in declared},
            **{
                "transactional.id": names.transactional_id(group, self.connector),
                "batch.size": self._batch_size,
                "on_delivery": self._note_refusal,
            },
        )
        reach("publisher.before_init")
        self._patiently(self._producer.init_transactions)
        reach("publisher.after_init")
        stored = self._holdings.read()
        reach("publisher.after_read_position")
        return stored.position

    def look(self) -> Position | None:
        """What is stored, without taking over: for who holds the source's lock and publishes nothing.

        Raises: BrokerUnavailable, PublishError.
        """
        self._reach_broker()
        return self._holdings.read().position

    def check(self) -> None:
        """Whether all that was stored is there, and all event topics are the ones that were published to.

        Raises: Gap; BrokerUnavailable, PublishError.
        """
        self._holdings.check()

    @property
    def goes_on(self) -> bool:
        """Whether somebody else published on its topics before."""
        return self.settings.connectors[self.connector].goes_on()

    def inherit(self, topics: Sequence[str]) -> None:
        """On these topics there may be events already, which are not published again: see `Holdings.ahead`."""
        self._holdings.inherited = topics

    def watch(self, found: Callable[[], None]) -> None:
        """Go on checking, from a thread; once something is missing nothing is published any more.

        Args:
            found: called then, from the thread.
        """
        self._watch = self._holdings.watch(found)

    def check_watch(self) -> None:
        """Raises: Gap that `watch` found."""
        if self._watch is not None and self._watch.gap is not None:
            raise self._watch.gap

    def remember(self, gap: Gap) -> None:
        """Have every start raise this gap, until a heal begins; as far as Kafka can be reached."""
        if gap.lasting and self._holdings.known and self._producer is not None and not self._open:
            try:
                self._store([self._holdings.stored.gap_record(gap)])
            except PublishError as error:
                structlog.get_logger().warning("the gap could not be stored", error=error.message)

    def begin_heal(self, position: Position) -> None:
        """Store the position of a heal; the topics are taken as they are now.

        Raises: Interrupted, Fenced, BrokerUnavailable: nothing was stored, or it is not known.
        """
        self._holdings.accept()
        stored = self._holdings.stored
        self._store([*stored.records(position), stored.gap_record(None)])

    def publish(self, batch: Batch) -> None:
        """Store events and position in one transaction, or raise and store nothing a reader sees.

        The batch's records are gone afterwards.

        Raises:
            RecordTooLarge: an event does not fit its topic; nothing was sent.
            Interrupted, Fenced, BrokerUnavailable: start over from the stored position.
        """
        self.check_watch()
        if batch.topics:
            self.prepare(batch.topics)
        for topic in batch.complete:
            self._holdings.stored.settle(topic)
        if ahead := self._holdings.ahead():
            if self._holdings.stored.position is None and ahead.changed:
                # Else those of a transaction that is given up lie behind Debezium's, too many to look past.
                self._store(self._holdings.stored.ahead_records())
            batch.records[:] = ahead.rest(batch.records, lambda topic: self.home(topic).partitions)
            if not ahead:
                structlog.get_logger().info("all is passed that Debezium had published", left_out=ahead.left_out)
        self._check_sizes(batch)
        reach("publisher.before_begin")
        self._begin()
        producer = self._transactional
        produce = producer.produce
        # Taken out one by one: librdkafka has its own copy, and a failed batch is never sent again.
        records = batch.records
        records.reverse()
        take = records.pop
        try:
            while records:
                topic, key, value, partition, timestamp, headers = take()
                if partition == EVERY_PARTITION:
                    for each in range(self.home(topic).partitions):
                        self._produce(topic, key, value, each, timestamp, headers)
                    continue
                try:
                    produce(topic, value, key, partition, None, None, timestamp, headers)
                except BufferError:
                    self._produce(topic, key, value, partition, timestamp, headers)
            reach("publisher.after_records")
            for key, position in self._holdings.stored.records(batch.position):
                self._produce(self._offsets_topic, key, position, 0, 0, None)
        except KafkaException as error:
            raise self._given_up(error.args[0]) from error
        reach("publisher.before_commit")
        self._patiently(producer.commit_transaction)
        reach("publisher.after_commit")
        self._open = False

    def prepare(self, needed: Iterable[EventTopic]) -> None:
        """Create event topics as declared and learn what they are like, before a transaction is open.

        Raises: Gap: a topic is not the one that was published to; BrokerUnavailable, PublishError.
        """
        new = {event_topic.topic: event_topic for event_topic in needed}
        unknown = {name: event_topic for name, event_topic in new.items() if name not in self._limits}
        if unknown:
            for topic, config in self._holdings.prepare(unknown).items():
                self._limits[topic] = int(config["max.message.bytes"])
                self._check_batch_size(topic)
        self._tables.update(new)

    def home(self, topic: str) -> Home:
        """What is stored of an event topic that was prepared."""
        return self._holdings.home(topic)

    def expires(self, topic: str) -> bool:
        """Whether old events of a prepared topic go away by time or size."""
        return self._holdings.expires(topic)

    def close(self) -> None:
        """Throw the producer away; what it had not committed is aborted, by the next one at the latest."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._producer is not None:
            if self._open:
                # Else readers of committed records would wait until the transaction times out.
                with suppress(KafkaException):
                    self._producer.abort_transaction(CALL_SECONDS)
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer = None

    def _reach_broker(self) -> None:
        try:
            self._admin.list_topics(timeout=topics.TIMEOUT)
        except KafkaException as error:
            raise self._away(error.args[0]) from error

    def _away(self, error: KafkaError | None) -> BrokerUnavailable:
        reason = f": {error.str()}" if error else ""
        return BrokerUnavailable(
            f"Kafka at {self.settings.kafka.bootstrap_servers} does not answer{reason}",
            hint="nothing is lost: the connector goes on from its stored position when Kafka is back",
        )

    def _produce(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, timestamp: int, headers: Any
    ) -> None:
        """Produce, waiting while librdkafka's bounded queue is full."""
        assert self._producer is not None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._producer.produce(topic, value, key, partition, None, None, timestamp, headers)
                return
            except BufferError:
                self._producer.poll(0.05)
                self._check_waiting(deadline, None)

    def _patiently(self, call: Callable[[float], Any]) -> None:
        """Repeat a transactional call while librdkafka says that repeating is right."""
        assert self._producer is not None
        left = len(self._producer)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                call(CALL_SECONDS)
                return
            except KafkaException as raised:
                error = raised.args[0]
                if not error.retriable():
                    raise self._given_up(error) from raised
                if len(self._producer) < left:  # slow, and not away
                    left, deadline = len(self._producer), time.monotonic() + PATIENCE_SECONDS
                self._check_waiting(deadline, error)

    def _check_waiting(self, deadline: float, error: KafkaError | None) -> None:
        if self.stopping():
            raise Stopped
        if time.monotonic() > deadline:
            raise self._away(error)

    def _given_up(self, error: KafkaError) -> PublishError:
        """What a failed transactional call means; the producer is of no use any more."""
        if error.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
            return Fenced(f"connector {self.connector}: fenced by a newer producer, or its transaction timed out")
        if error.code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
            return PublishError(
                f"connector {self.connector}: Kafka allows no transactions of {TRANSACTION_TIMEOUT_MS // 1000} s",
                hint=f"raise transaction.max.timeout.ms of the brokers to {TRANSACTION_TIMEOUT_MS} or more",
            )
        refused = self._refused
        if refused is not None and not refused.retriable() and refused.code() not in _PURGED:
            return Interrupted(f"Kafka refused an event: {refused.str()}")
        if error.code() in _AUTHORIZATION:
            return PublishError(
                f"connector {self.connector}: not allowed to publish: {error.str()}",
                hint="`cdc check` lists the ACLs that are needed",
            )
        return Interrupted(f"connector {self.connector}: transaction given up: {error.str()}")

    def _note_refusal(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None and self._refused is None:
            self._refused = error

    def _check_batch_size(self, topic: str) -> None:
        if self._limits[topic] < self._batch_size:
            raise PublishError(
                f"topic {topic}: its max.message.bytes is {self._limits[topic]}, "
                f"but records are sent in batches of up to {self._batch_size} bytes",
                hint=f"declare max_message_bytes for {topic} under `topics:`, so that batches are kept below it",
            )

    def _check_sizes(self, batch: Batch) -> None:
        """Refuse what a topic would refuse, before it aborts the whole transaction."""
        limits = self._limits
        small = min(limits.values()) // 2
        for topic, key, value, _, _, headers in batch.records:
            if value is not None and len(value) > small:
                size = len(value) + len(key or b"") + RECORD_OVERHEAD
                size += sum(len(name) + len(content or b"") + 8 for name, content in headers or ())
                limit, setting, place = limits[topic], "max.message.bytes", topic
                if self._queue_bytes < limit:
                    limit, setting, place = self._queue_bytes, f"1024 * {QUEUE}", "kafka.properties"
                if size > limit:
                    table = self._tables.get(topic)
                    where = f"table {table.table} (key {', '.join(table.key_columns) or 'none'})" if table else topic
                    raise RecordTooLarge(
                        f"{where}: an event of {size} bytes does not fit topic {topic}: {setting} is {limit}",
                        hint=f"raise {setting} of {place}, or leave out, truncate or mask the large column",
                    )

    def _begin(self) -> None:
        try:
            self._transactional.begin_transaction()
            self._open = True
        except KafkaException as error:
            raise self._given_up(error.args[0]) from error

    def _store(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Put documents on the offsets topic, in a transaction of their own."""
        self._begin()
        try:
            for key, value in records:
                self._produce(self._offsets_topic, key, value, 0, 0, None)
        except KafkaException as error:
            raise self._given_up(error.args[0]) from error
        self._patiently(self._transactional.commit_transaction)
        self._open = False

    @property
    def _transactional(self) -> Producer:
        assert self._producer is not None, "take_over comes first"
        return self._producer


_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
_AUTHORIZATION = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)
