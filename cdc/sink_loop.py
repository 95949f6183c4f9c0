"""The sink's loop. Touches nothing itself: consumer, sink and dead letters do."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Set
from typing import Any, Final

from cdc import patterns, sink_gaps
from cdc.consumer import Assigned, EventConsumer, Revoked, Task
from cdc.errors import Gap, RowRefused
from cdc.put_aside import PutAside
from cdc.settings import Settings
from cdc.sink import EventBatch, Held, Sink, TopicFacts, TopicPartition
from cdc.sink_gaps import Completeness, Found
from cdc.sink_progress import Progress
from cdc.topic_watch import Seen

LOOK_AGAIN_SECONDS: Final = (0.5, 1.0, 2.0)
"""How often and when a topic that is missing at the start is looked for again."""

AGE_SECONDS: Final = 30.0
"""How often the target is told that idle partitions are still wholly applied."""


def run_sink(
    settings: Settings,
    name: str,
    sink: Sink,
    stop: threading.Event,
    report: Callable[[dict[str, Any]], None],
    *,
    member: str | None = None,
) -> None:
    """Consume and apply, as one member of the sink's group, until `stop` is set.

    Args:
        settings, name: the bridge's settings, and which of its sinks.
        sink: writes the target; closed in the end.
        stop: ends the loop behind the batch that is being applied.
        report: is given the member's status after each step, and when there is nothing to do.
        member: of the group; the one that comes back under the same name gets its partitions at once.

    Raises:
        CdcError: the worker starts over when it is `retriable`; the way back is the same as
            after a crash: the offsets that the target holds.
    """
    # Tuples by the thousand and no cycles among them: the collector would walk them for nothing.
    gc.set_threshold(100_000, 20, 20)
    section = settings.sinks[name]
    put_aside = None
    if section.on_refused == "dead_letter":
        put_aside = PutAside(settings, name, wait=section.after_dead_letter == "wait")
    consumer = EventConsumer(settings, name, section, member)
    part = _Part(name, sink, consumer, put_aside)
    try:
        part.look_for_deleted(section.topics, stop)
        for task in consumer.tasks(stop):
            part.do(task)
            report(part.status())
    finally:
        consumer.close()
        if put_aside is not None:
            put_aside.close()
        sink.close()


class _Part:
    """One member's part of the topics, from when it takes partitions until it lets them go."""

    def __init__(self, name: str, sink: Sink, consumer: EventConsumer, put_aside: PutAside | None) -> None:
        self._name, self._sink, self._consumer, self._put_aside = name, sink, consumer, put_aside
        self._progress = Progress(consumer.lag, consumer.end_at_assignment)
        self._completeness = Completeness()
        self._topics: dict[str, TopicFacts] = {}
        self._missing: Counter[str] = Counter()
        self._looked = 0.0
        self._told_ages = time.monotonic()

    def look_for_deleted(self, subscribed: Collection[str], stop: threading.Event) -> None:
        """Topics that are gone are assigned to nobody.

        One that is missing is looked for again: a broker may not know yet what was made a moment ago.

        Raises:
            Gap: something was applied of one.
        """
        known = sorted(topic for topic in self._sink.topics() if patterns.matching(subscribed, topic))
        for pause in (*LOOK_AGAIN_SECONDS, None):
            there = self._consumer.watch.look((), known).topics
            missing = [topic for topic in known if topic not in there]
            if not missing or (pause is not None and stop.wait(pause)):
                return
        raise sink_gaps.deleted(self._name, missing[0])

    def do(self, task: Task | None) -> None:
        """One thing after the other."""
        if isinstance(task, Assigned):
            self._take(task)
        elif isinstance(task, Revoked):
            self._let_go(task)
        elif task is not None:
            self._apply(task)
        self._look()
        self._tell_ages()
        if self._put_aside is not None:
            self._put_aside.settle(self._sink)

    def status(self) -> dict[str, Any]:
        """What `cdc status` shows of the member."""
        dead_letters = self._put_aside.count if self._put_aside is not None else 0
        return {**self._sink.status(), **self._progress.status(), "dead_letters": dead_letters}

    def _take(self, task: Assigned) -> None:
        held = self._sink.own(task.partitions, task.seen.topics)
        offsets = {partition: each.next_offset for partition, each in held.items()}
        if self._put_aside is not None:
            self._put_aside.own(offsets)
        self._topics.update(task.seen.topics)
        self._looked = max(self._looked, task.seen.asked_at)
        self._progress.owns(offsets)
        self._completeness.owns(held, time.monotonic())
        self._watch()
        task.go_on(held)

    def _let_go(self, task: Revoked) -> None:
        self._sink.release(task.partitions)
        if self._put_aside is not None:
            self._put_aside.release(task.partitions)
        self._progress.let_go(task.partitions)
        self._completeness.let_go(task.partitions)
        self._watch()
        task.done()

    def _apply(self, batch: EventBatch) -> None:
        """Apply the batch; refused events are put aside first, if they may be."""
        now = time.monotonic()
        self._completeness.reaches(batch, now, time.time())
        batch.ages = self._completeness.ages(batch.next_offsets, now)
        left = batch
        while True:
            if self._put_aside is not None:
                left = self._put_aside.hold_back(left)
            try:
                self._sink.apply(left)
                break
            except RowRefused as refusal:
                if self._put_aside is None:
                    raise
                left = self._put_aside.refused(left, refusal)
        self._progress.applied(batch)
        self._consumer.applied(self._progress.offsets)

    def _watch(self) -> None:
        self._consumer.watch.partitions = frozenset(self._progress.partitions)

    def _look(self) -> None:
        """Whether the topics are still what they were, and nothing of them was missed.

        Raises:
            Gap: a topic is another, or gone; deletes may have been missed.
        """
        seen = self._consumer.watch.seen
        if seen.asked_at <= self._looked:
            return
        self._looked = seen.asked_at
        reached = {p: self._consumer.reached(p, offset) for p, offset in self._progress.partitions.items()}
        self._completeness.reached(reached)
        self._completeness.heard(seen.ends, seen.asked_at)
        owned = {topic for topic, _ in reached}
        self._missing = Counter({topic: self._missing[topic] + 1 for topic in owned - seen.topics.keys()})
        for topic, times in self._missing.items():
            if times > 1 and any(reached[p] for p in reached if p[0] == topic):
                raise sink_gaps.deleted(self._name, topic)
        changed = {topic for topic in owned & seen.topics.keys() if seen.topics[topic] != self._topics[topic]}
        if changed:
            self._compare({p for p in reached if p[0] in changed}, seen)
        for partition, age in self._completeness.ages(reached, time.monotonic()).items():
            offset, kept = reached[partition], seen.deletes_kept.get(partition[0])
            found = Found(self._topics[partition[0]], offset, max(offset, seen.ends.get(partition, 0)), kept)
            self._stop_at(sink_gaps.gap(self._name, partition, Held(offset, None, age), found))

    def _compare(self, partitions: Set[TopicPartition], seen: Seen) -> None:
        """Topics are not what they were: whether they are others, or merely have more partitions than before."""
        for partition, held in self._sink.own(partitions, seen.topics).items():
            offset, topic = held.next_offset or 0, seen.topics[partition[0]]
            self._stop_at(sink_gaps.gap(self._name, partition, held, Found(topic, offset, offset)))
            self._topics[partition[0]] = topic

    @staticmethod
    def _stop_at(gap: Gap | None) -> None:
        if gap is not None:
            raise gap

    def _tell_ages(self) -> None:
        now = time.monotonic()
        if now - self._told_ages < AGE_SECONDS:
            return
        self._told_ages = now
        offsets = self._progress.offsets
        if offsets:
            self._sink.apply(EventBatch([], offsets, self._completeness.ages(offsets, now)))
