"""A member looks at its topics while it reads them, and stops where something was missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence, Set
from typing import Any

import pytest

from cdc import sink_loop
from cdc.consumer import Assigned
from cdc.errors import Gap
from cdc.sink import Event, EventBatch, Held, Offset, TopicFacts, TopicPartition
from cdc.sink_loop import _Part
from cdc.topic_watch import Seen

ORDERS = "shop.public.orders"
P = (ORDERS, 0)
FACTS = TopicFacts("first", 1)


class Target:
    """A sink that keeps what it is told; with `adopts` the number of partitions is all the same to it."""

    def __init__(self, held: Held, *, adopts: bool = False) -> None:
        self.held, self.adopts = held, adopts
        self.batches: list[EventBatch] = []

    def own(self, partitions: Set[TopicPartition], topics: Mapping[str, TopicFacts]) -> Mapping[TopicPartition, Held]:
        facts = topics[ORDERS] if self.adopts else self.held.topic
        return dict.fromkeys(partitions, Held(self.held.next_offset, facts, self.held.age))

    def topics(self) -> Set[str]:
        return {ORDERS}

    def apply(self, batch: EventBatch) -> None:
        self.batches.append(batch)

    def apply_again(self, partition: TopicPartition, events: Sequence[Event]) -> None:
        raise AssertionError

    def release(self, partitions: Set[TopicPartition]) -> None: ...

    def status(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...


class Consumer:
    """Stands for the consumer, and for what its watch saw."""

    def __init__(self) -> None:
        self.watch = self
        self.seen = Seen()
        self.partitions: frozenset[TopicPartition] = frozenset()
        self.there: Mapping[str, TopicFacts] = {ORDERS: FACTS}

    def look(self, partitions: Set[TopicPartition], more: Sequence[str] = ()) -> Seen:
        return Seen(topics=self.there)

    def lag(self, partition: TopicPartition, applied: Offset) -> int:
        return 0

    def reached(self, partition: TopicPartition, applied: Offset) -> Offset:
        return applied

    def end_at_assignment(self, partition: TopicPartition) -> Offset | None:
        return None

    def applied(self, offsets: Mapping[TopicPartition, Offset]) -> None: ...


def member(target: Target) -> tuple[_Part, Consumer]:
    """A member that owns the partition."""
    consumer = Consumer()
    part = _Part("billing", target, consumer, None)  # type: ignore[arg-type]
    part.do(Assigned(frozenset({P}), Seen(0.0, {ORDERS: FACTS})))
    return part, consumer


def sees(part: _Part, consumer: Consumer, end: Offset = 5, facts: TopicFacts | None = FACTS) -> None:
    """The watch looks again."""
    topics = {ORDERS: facts} if facts else {}
    consumer.seen = Seen(time.monotonic(), topics, {P: end}, {ORDERS: 100.0})
    part.do(None)


def test_who_is_behind_for_longer_than_deletes_are_kept_stops() -> None:
    part, consumer = member(Target(Held(5, FACTS, 101.0)))
    sees(part, consumer, end=5)  # idle until now
    sees(part, consumer, end=9)
    part, consumer = member(Target(Held(5, FACTS, 101.0)))
    with pytest.raises(Gap, match="offsets 5 to 8 are not applied"):
        sees(part, consumer, end=9)


def test_another_topic_stops_it() -> None:
    part, consumer = member(Target(Held(5, FACTS)))
    with pytest.raises(Gap, match="was deleted and made anew"):
        sees(part, consumer, facts=TopicFacts("second", 1))


def test_more_partitions_stop_it_unless_they_are_all_the_same_to_the_target() -> None:
    more = TopicFacts("first", 2)
    part, consumer = member(Target(Held(5, FACTS), adopts=True))
    sees(part, consumer, facts=more)
    part, consumer = member(Target(Held(5, FACTS)))
    with pytest.raises(Gap, match="has 2 partitions and had 1"):
        sees(part, consumer, facts=more)


def test_a_topic_that_is_missing_twice_is_gone() -> None:
    """Once, a broker that has just started may not know it yet."""
    part, consumer = member(Target(Held(5, FACTS)))
    sees(part, consumer, facts=None)
    sees(part, consumer)
    sees(part, consumer, facts=None)
    with pytest.raises(Gap, match="was deleted"):
        sees(part, consumer, facts=None)


def test_a_topic_that_was_deleted_before_is_found_by_what_the_target_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_loop, "LOOK_AGAIN_SECONDS", (0.0, 0.0))
    part, consumer = member(Target(Held(5, FACTS)))
    running = threading.Event()
    part.look_for_deleted(["shop.*"], running)
    consumer.there = {}
    part.look_for_deleted(["other.*"], running)
    with pytest.raises(Gap, match=f"topic {ORDERS} was deleted"):
        part.look_for_deleted(["shop.*"], running)


def test_an_idle_member_tells_the_target_that_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_loop, "AGE_SECONDS", 0.0)
    target = Target(Held(5, FACTS, 50.0))
    part, consumer = member(target)
    sees(part, consumer)
    told = target.batches[-1]
    assert (told.events, told.next_offsets) == ([], {P: 5})
    assert 0 <= told.ages[P] < 50
