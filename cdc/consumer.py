"""Consumes event topics for a sink: read_committed, in batches, positions kept by the target. Touches Kafka.

A thread of its own fetches the next batch while the last one is applied. What the sink has to
do comes out of `tasks()`, one thing at a time, in order: take partitions, apply a batch, let
partitions go. librdkafka's rebalance waits for the answer.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from typing import Any, Final, TypeAlias

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from cdc import names, sink_gaps
from cdc.errors import BrokerUnavailable, CdcError, Gap, Interrupted, PublishError
from cdc.kafka import SOCKET_TIMEOUT, SOCKET_TIMEOUT_MS, kafka_config
from cdc.settings import Settings, SinkBatchSettings, SinkSettings
from cdc.sink import Event, EventBatch, Held, Offset, TopicFacts, TopicPartition
from cdc.sink_gaps import Found
from cdc.subscription import subscription
from cdc.topic_watch import Seen, TopicWatch

TICK: Final = 0.25
"""Seconds after which `tasks` yields None when there is nothing to do."""

CHUNK: Final = 1000
"""Messages taken from librdkafka at a time."""

COMMIT_SECONDS: Final = 5.0
"""How often offsets are committed to Kafka, where only lag tools look at them."""

_PATIENCE: Final = 30.0

_PROPERTIES: Final[Mapping[str, Any]] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    # An offset that is gone is a gap, never a reason to begin elsewhere.
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "cooperative-sticky",
    "topic.metadata.refresh.interval.ms": 2_000,  # a topic that is made later is found soon
}

_DEFAULTS: Final[Mapping[str, Any]] = {
    # How long the partitions of a killed member rest; librdkafka's own thread sends the heartbeats.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 2_000,
    SOCKET_TIMEOUT: SOCKET_TIMEOUT_MS,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 8_192,
    # Compressed bytes; in memory they are ten times as many.
    "max.partition.fetch.bytes": 131_072,
    "fetch.max.bytes": 2_097_152,
    # The default of a second makes a full queue an idle one.
    "fetch.queue.backoff.ms": 5,
}

_DENIED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
_LOGIN: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED})
_HARMLESS: Final = frozenset({
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # not made yet; the metadata will tell
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._TRANSPORT,  # of one broker; librdkafka tries again
})  # fmt: skip


class _Closing(Exception):
    """The consumer is being closed while its thread waits."""


@dataclass(slots=True)
class Assigned:
    """Partitions to take, and their topics as they are; `go_on` tells from where."""

    partitions: frozenset[TopicPartition]
    seen: Seen
    _answer: Queue[Mapping[TopicPartition, Held]] = field(default_factory=lambda: Queue(1))

    def go_on(self, held: Mapping[TopicPartition, Held]) -> None:
        """What the target knows of each partition; without an offset it is read from its beginning."""
        self._answer.put(held)


@dataclass(slots=True)
class Revoked:
    """Partitions to let go; `done` when nothing of them is under way."""

    partitions: frozenset[TopicPartition]
    _answer: Queue[None] = field(default_factory=lambda: Queue(1))

    def done(self) -> None:
        self._answer.put(None)


Task: TypeAlias = Assigned | Revoked | EventBatch


class EventConsumer:
    """One member of a sink's consumer group.

    Args:
        settings: the bridge's settings.
        name: the sink's name.
        section: the sink's section.
        member: a name of its own in the group, kept over restarts (static membership, KIP-345): a member
            that was killed gets its partitions back when it returns, not when its session ends.
    """

    def __init__(self, settings: Settings, name: str, section: SinkSettings, member: str | None = None) -> None:
        self.group = names.group_id(settings.name, name)
        self.watch = TopicWatch(settings.kafka)
        self._sink = name
        self._limits: SinkBatchSettings = section.batch
        self._subscription = [subscription(topic) for topic in section.topics]
        self._inbox: Queue[Task] = Queue(1)
        self._failure: Exception | None = None
        self._idle = threading.Event()
        self._closing = threading.Event()
        self._problem: CdcError | None = None
        self._pending = _Pending()
        self._ends: dict[TopicPartition, Offset] = {}
        self._fetched: dict[TopicPartition, Offset] = {}
        self._passed: dict[TopicPartition, Offset] = {}
        self._highs: dict[TopicPartition, Offset] = {}
        self._applied: Mapping[TopicPartition, Offset] = {}
        self._looked = self._committed = self._handed_over = time.monotonic()
        own = re.escape(settings.name)
        self._consumer = Consumer(
            kafka_config(
                settings.kafka,
                **{
                    **{key: value for key, value in _DEFAULTS.items() if key not in settings.kafka.properties},
                    **_PROPERTIES,
                    "group.id": self.group,
                    **({"group.instance.id": member} if member else {}),
                    "topic.blacklist": rf"^{own}\.cdc\.,^{own}\.transaction$,^{own}\.message$",
                    "error_cb": self._note_error,
                },
            )
        )
        self._thread = threading.Thread(target=self._fetch, name="consumer", daemon=True)

    def tasks(self, stop: threading.Event) -> Iterator[Task | None]:
        """What to do, in order, until `stop` is set; None now and then.

        Raises:
            Gap: something of a partition can no longer be read.
            BrokerUnavailable, PublishError: Kafka cannot be reached, or refuses.
        """
        self._thread.start()
        self.watch.start()
        while not stop.is_set():
            self._idle.set()
            try:
                task = self._inbox.get(timeout=TICK)
            except Empty:
                if self._failure is not None:
                    raise self._failure from None
                yield None
                continue
            self._idle.clear()
            yield task

    def applied(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """The target has these partitions up to here. Kafka is told now and then; nothing depends on it."""
        self._applied = offsets

    def end_at_assignment(self, partition: TopicPartition) -> Offset | None:
        """The partition's high watermark when it was assigned; None while it is being asked for."""
        return self._ends.get(partition)

    def lag(self, partition: TopicPartition, applied: Offset) -> int:
        """Records from `applied` to the partition's end as last heard, without asking.

        Transaction markers behind the last event count as applied once they were passed.
        """
        reached = self.reached(partition, applied)
        return max(0, max(self._highs.get(partition, 0), self._ends.get(partition, 0)) - reached)

    def reached(self, partition: TopicPartition, applied: Offset) -> Offset:
        """`applied`, and the transaction markers behind it that were passed."""
        if self._fetched.get(partition, 0) <= applied:
            return max(applied, self._passed.get(partition, 0))
        return applied

    def close(self) -> None:
        """Leave the group and give back connections."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)
        self.watch.close()

    def _fetch(self) -> None:
        """The fetching thread."""
        try:
            self._consumer.subscribe(
                self._subscription, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._closing.is_set():
                self._collect()
                self._hand_over()
                self._look_around()
        except _Closing:
            pass
        except CdcError as error:
            self._failure = error
        except KafkaException as error:
            self._failure = _refusal(self.group, error.args[0])
        except Exception as error:
            self._failure = error
        finally:
            self._tell_kafka()
            self._consumer.close()

    def _collect(self) -> None:
        """Take messages until the batch is full, or the sink is idle and there are no more for now."""
        limits = self._limits
        self._take(self._consumer.consume(1, 0.1))
        while self._pending.events and not self._closing.is_set():
            before = len(self._pending.events)
            room = limits.rows - before
            if room <= 0 or self._pending.size >= limits.bytes:
                return
            self._take(self._consumer.consume(min(room, CHUNK), limits.linger))
            if len(self._pending.events) == before and self._idle.is_set():
                return

    def _take(self, messages: Sequence[Message]) -> None:
        if self._problem is not None:
            raise self._problem
        pending, size = self._pending, 0
        append, next_offsets = pending.events.append, pending.next_offsets
        for message in messages:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            error = message.error()
            if error is not None or topic is None or partition is None or offset is None:
                self._look_at(error, (topic or "", partition or 0), offset)
                continue
            key, value = message.key(), message.value()
            size += len(key or b"") + len(value or b"")
            headers = message.headers()
            append(Event(topic, partition, offset, key, value, message.timestamp()[1], headers))  # type: ignore[arg-type]
            next_offsets[topic, partition] = offset + 1
        pending.size += size

    def _look_at(self, error: KafkaError | None, partition: TopicPartition, offset: Offset | None) -> None:
        code = error.code() if error is not None else None
        if code == KafkaError._PARTITION_EOF and offset is not None:
            self._passed[partition] = offset
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            held = Held(self._fetched.get(partition, 0))
            low, high = self._watermarks(partition)
            if held.next_offset == -1:
                raise Interrupted(f"{partition[0]} [{partition[1]}]: its beginning expired before anything was read")
            raise sink_gaps.gap(self._sink, partition, held, Found(TopicFacts("", 0), low, high)) or Gap(
                f"sink {self._sink}, {partition[0]} [{partition[1]}]: Kafka no longer has the offset to go on from",
                hint=sink_gaps.hint(self._sink),
            )
        elif error is not None and code not in _HARMLESS:
            raise _refusal(self.group, error)

    def _hand_over(self) -> None:
        """Give the batch to the sink, and with it the markers that were passed; alone, those can wait."""
        pending, self._pending = self._pending, _Pending()
        if not pending.events and time.monotonic() - self._handed_over < COMMIT_SECONDS:
            return
        moved = {p: offset for p, offset in self._passed.items() if offset > self._fetched.get(p, -1)}
        next_offsets = {**moved, **pending.next_offsets}
        for partition in moved.keys() & pending.next_offsets.keys():
            next_offsets[partition] = max(moved[partition], pending.next_offsets[partition])
        if next_offsets:
            self._fetched.update(next_offsets)
            self._put(EventBatch(pending.events, next_offsets))
            self._handed_over = time.monotonic()

    def _look_around(self) -> None:
        """Once a second: the ends of partitions as librdkafka last heard them; now and then a commit.

        Here, as confluent-kafka (2.16) waits for a running `consume` in most calls from other threads.
        """
        now = time.monotonic()
        if now - self._looked < 1.0:
            return
        self._looked = now
        for partition in list(self._ends):
            found = self._consumer.get_watermark_offsets(KafkaPartition(*partition), cached=True)
            if found is not None and found[1] >= 0:
                self._highs[partition] = int(found[1])
        if now - self._committed >= COMMIT_SECONDS:
            self._committed = now
            self._tell_kafka()

    def _tell_kafka(self) -> None:
        told = [KafkaPartition(topic, partition, offset) for (topic, partition), offset in self._applied.items()]
        with contextlib.suppress(KafkaException):  # a rebalance, or no broker: lag tools have to wait
            if told:
                self._consumer.commit(offsets=told, asynchronous=True)

    def _on_assign(self, consumer: Consumer, assigned: list[KafkaPartition]) -> None:
        partitions = frozenset((each.topic, each.partition) for each in assigned)
        seen = self.watch.look(partitions)
        task = Assigned(partitions, seen)
        self._put(task)
        held = self._answer(task._answer)
        positions = []
        for partition in sorted(partitions):
            topic, number = partition
            low, high = self._watermarks(partition)
            found = Found(seen.topics.get(topic, TopicFacts("", 0)), low, high, seen.deletes_kept.get(topic))
            gap = sink_gaps.gap(self._sink, partition, held[partition], found)
            if gap is not None:
                raise gap
            offset = held[partition].next_offset
            self._ends[partition] = high
            self._fetched[partition] = -1 if offset is None else offset
            positions.append(KafkaPartition(topic, number, OFFSET_BEGINNING if offset is None else offset))
        consumer.incremental_assign(positions)

    def _on_revoke(self, consumer: Consumer, revoked: list[KafkaPartition]) -> None:
        if self._closing.is_set():
            return
        task = Revoked(frozenset((each.topic, each.partition) for each in revoked))
        self._pending.drop(task.partitions)
        for partition in task.partitions:
            for known in (self._passed, self._fetched, self._ends, self._highs):
                known.pop(partition, None)
        self._put(task)
        self._answer(task._answer)

    def _on_lost(self, consumer: Consumer, lost: list[KafkaPartition]) -> None:
        """The group's coordinator gave this member up, or was away for too long: a new member joins in its place.

        librdkafka (2.16) would join again by itself; but its next commit of offsets, still under the
        lost identity, fences a static member for good, and now and then it was seen to join no more.
        """
        self._on_revoke(consumer, lost)
        self._problem = Interrupted(f"group {self.group}: Kafka has not heard of this member for too long")

    def _watermarks(self, partition: TopicPartition) -> tuple[Offset, Offset]:
        """The partition's first offset and its end."""
        try:
            low, high = self._consumer.get_watermark_offsets(KafkaPartition(*partition), timeout=_PATIENCE)
        except KafkaException as error:
            raise _refusal(self.group, error.args[0]) from None
        return int(low), int(high)

    def _put(self, task: Task) -> None:
        while not self._closing.is_set():
            try:
                self._inbox.put(task, timeout=TICK)
                return
            except Full:
                continue
        raise _Closing

    def _answer(self, queue: Queue[Any]) -> Any:
        while not self._closing.is_set():
            try:
                return queue.get(timeout=TICK)
            except Empty:
                continue
        raise _Closing

    def _note_error(self, error: KafkaError) -> None:
        if error.code() not in _HARMLESS:
            self._problem = _refusal(self.group, error)


class _Pending:
    """The batch that is being collected."""

    __slots__ = ("events", "next_offsets", "size")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.next_offsets: dict[TopicPartition, Offset] = {}
        self.size = 0

    def drop(self, partitions: frozenset[TopicPartition]) -> None:
        """Forget what is of partitions that are no longer ours."""
        self.events[:] = [event for event in self.events if (event.topic, event.partition) not in partitions]
        for partition in partitions:
            self.next_offsets.pop(partition, None)


def _refusal(group: str, error: KafkaError) -> CdcError:
    what = f"group {group}: Kafka"
    if error.code() == KafkaError._MAX_POLL_EXCEEDED:
        return Interrupted(f"{what} took the partitions back, as the target held a batch up for too long")
    if error.code() in (KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID):
        return Interrupted(f"{what} says that another member has this one's name")
    if error.code() in _DENIED:
        return PublishError(f"{what} refuses: {error.str()}", hint="`cdc check` lists the ACLs that are needed")
    if error.code() in _LOGIN:
        return PublishError(f"{what} refuses the login: {error.str()}")
    return BrokerUnavailable(f"{what} cannot be reached: {error.str()}")
