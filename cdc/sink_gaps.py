"""What a sink can no longer read, and as of when it has everything. Pure; times are passed in.

A compacted topic forgets a delete `delete.retention.ms` after it was compacted first. So who has
everything up to some time has nothing to fear for that long; who was away for longer, and has something
left to read, may have missed deletes. A sink that was merely idle has nothing left to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from cdc.errors import Gap
from cdc.sink import EventBatch, Held, Offset, TopicFacts, TopicPartition


@dataclass(frozen=True, slots=True)
class Found:
    """A partition as Kafka has it.

    Args:
        topic: its topic.
        low, high: its first offset and its end.
        deletes_kept: seconds for which its topic keeps deletes; None: it is not compacted.
    """

    topic: TopicFacts
    low: Offset
    high: Offset
    deletes_kept: float | None = None


def gap(sink: str, partition: TopicPartition, held: Held, found: Found) -> Gap | None:
    """What of a partition can no longer be read, if anything was applied of it before.

    Args:
        sink: its name, for the hint.
        partition: which.
        held: what the target knows of it.
        found: what Kafka says of it.
    """
    what = _missing(held, found)
    if what is None:
        return None
    topic, number = partition
    return Gap(f"sink {sink}, {topic} [{number}]: {what}", hint=hint(sink), lasting=False)


def hint(sink: str) -> str:
    """What a person can do about a sink's gap."""
    return f"`cdc heal {sink}` says what a rebuild from the topic would do, and with --yes does it"


def deleted(sink: str, topic: str) -> Gap:
    """A topic of which something was applied is gone."""
    return Gap(
        f"sink {sink}: topic {topic} was deleted, with what was not applied of it", hint=hint(sink), lasting=False
    )


def _missing(held: Held, found: Found) -> str | None:
    offset, before, now = held.next_offset, held.topic, found.topic
    if offset is None:
        return None
    if offset and before is not None and before.id and now.id and before.id != now.id:
        return (
            f"the topic was deleted and made anew (its id was {before.id}, and is {now.id}): the next offset, "
            f"{offset}, is the old one's, and what that held from there on is lost"
        )
    if offset < found.low:
        return (
            f"it should go on at offset {offset}, but the partition holds {found.low} to {found.high}: "
            f"events {offset} to {found.low - 1} expired or were deleted"
        )
    if offset > found.high:
        return (
            f"it should go on at offset {offset}, but the partition holds {found.low} to {found.high}: "
            "the topic was made anew, or lost its last records"
        )
    if offset and before is not None and before.partitions and before.partitions != now.partitions:
        return (
            f"the topic has {now.partitions} partitions and had {before.partitions}: keys have moved, and a delete "
            "may be read before older events of its key"
        )
    return _forgotten_deletes(offset, found.high, held.age, found.deletes_kept)


def _forgotten_deletes(offset: Offset, end: Offset, age: float, kept: float | None) -> str | None:
    if kept is None or age <= kept or offset >= end:
        return None
    return (
        f"offsets {offset} to {end - 1} are not applied, and what they are may have been written up to "
        f"{age:.0f} s ago, but the topic keeps deletes for {kept:.0f} s only (delete.retention.ms): "
        "deletes among them may be gone already"
    )


class Completeness:
    """As of when each partition that is owned is wholly applied."""

    def __init__(self) -> None:
        self._complete: dict[TopicPartition, float] = {}
        self._offsets: dict[TopicPartition, Offset] = {}
        self._marks: dict[TopicPartition, tuple[Offset, float]] = {}

    def owns(self, held: Mapping[TopicPartition, Held], now: float) -> None:
        """Partitions were taken.

        Args:
            held: what the target knows of them.
            now: seconds, by the clock of all calls.
        """
        for partition, each in held.items():
            # A reader from the beginning misses only what was gone before it began.
            self._complete[partition] = now - each.age if each.next_offset else now
            self._offsets[partition] = each.next_offset or 0
            self._marks.pop(partition, None)

    def let_go(self, partitions: Set[TopicPartition]) -> None:
        """Partitions went to another member."""
        for partition in partitions:
            for known in (self._complete, self._offsets, self._marks):
                known.pop(partition, None)

    def heard(self, ends: Mapping[TopicPartition, Offset], asked_at: float) -> None:
        """Kafka told where partitions end, no earlier than when it was asked."""
        for partition in ends.keys() & self._complete.keys():
            if self._offsets[partition] >= ends[partition]:
                self._marks[partition] = (ends[partition], asked_at)
                self._settle(partition)
            else:
                self._marks.setdefault(partition, (ends[partition], asked_at))

    def reaches(self, batch: EventBatch, now: float, wall_clock: float) -> None:
        """A batch is going to be applied.

        What is behind an event on its partition was not written before it. So an event's own time counts
        too; it is the source's, and never later than when it was written.
        """
        self.reached(batch.next_offsets)
        if batch.events:
            last = batch.events[-1]
            written = now - max(0.0, wall_clock - last.timestamp / 1000)
            partition = last.topic, last.partition
            if partition in self._complete:
                self._complete[partition] = max(self._complete[partition], written)

    def reached(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Partitions are applied up to these offsets, or hold nothing but markers before them."""
        for partition, offset in offsets.items():
            if partition in self._complete:
                self._offsets[partition] = max(offset, self._offsets[partition])
                self._settle(partition)

    def ages(self, partitions: Iterable[TopicPartition], now: float) -> dict[TopicPartition, float]:
        """`Held.age` of partitions."""
        return {p: max(0.0, now - self._complete[p]) for p in partitions if p in self._complete}

    def _settle(self, partition: TopicPartition) -> None:
        mark = self._marks.get(partition)
        if mark is not None and self._offsets[partition] >= mark[0]:
            self._complete[partition] = max(self._complete[partition], mark[1])
            del self._marks[partition]
