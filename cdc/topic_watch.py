"""Looks at topics while a sink reads them: their identity, their ends, how long they keep deletes.

Touches Kafka's admin interface; a thread of its own looks again every few seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from cdc import homes, topics
from cdc.errors import CdcError
from cdc.kafka import client
from cdc.settings import KafkaSettings
from cdc.sink import Offset, TopicFacts
from cdc.sink import TopicPartition as Partition

LOOK_SECONDS: Final = 5.0
"""How often topics are looked at."""

CONFIG_SECONDS: Final = 60.0
"""How often their configuration is."""

_END: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]

_NO_ID: Final = "A" * 22
"""The id of all zeros, in base64: the broker has no ids."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What Kafka said at one moment.

    Args:
        asked_at: when it was asked, by `time.monotonic()`.
        topics: those there are, of the ones asked for.
        ends: the end of each partition asked for.
        deletes_kept: seconds for which each topic keeps a delete; absent: it is not compacted.
    """

    asked_at: float = 0.0
    topics: Mapping[str, TopicFacts] = field(default_factory=dict)
    ends: Mapping[Partition, Offset] = field(default_factory=dict)
    deletes_kept: Mapping[str, float] = field(default_factory=dict)


class TopicWatch:
    """Looks at topics when asked to, and by itself at those of `partitions`."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._admin: AdminClient = client(AdminClient, kafka)
        self._configs: dict[str, tuple[float, float | None]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="topics", daemon=True)
        self.partitions: frozenset[Partition] = frozenset()
        """What the thread looks at; set it whenever it changes."""
        self.seen = Seen()
        """What the thread saw last."""

    def start(self) -> None:
        """Begin to look by itself."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=topics.TIMEOUT)

    def look(self, partitions: Collection[Partition], more: Iterable[str] = ()) -> Seen:
        """What Kafka says now of these partitions, their topics, and more topics.

        Raises:
            BrokerUnavailable, PublishError: Kafka does not answer, or refuses.
        """
        asked_at = time.monotonic()
        found = facts(self._admin, {topic for topic, _ in partitions} | set(more))
        there = sorted(p for p in partitions if p[0] in found and p[1] < found[p[0]].partitions)
        kept = {topic: seconds for topic in found if (seconds := self._deletes_kept(topic, asked_at)) is not None}
        return Seen(asked_at, found, offsets(self._admin, there, _END), kept)

    def _deletes_kept(self, topic: str, now: float) -> float | None:
        known = self._configs.get(topic)
        if known is None or now - known[0] >= CONFIG_SECONDS:
            known = self._configs[topic] = (now, deletes_kept(self._admin, topic))
        return known[1]

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            with contextlib.suppress(CdcError):  # the consumer meets the same, and says so
                self.seen = self.look(self.partitions)


def facts(admin: AdminClient, names: Iterable[str]) -> dict[str, TopicFacts]:
    """Those of the topics that exist. Raises: BrokerUnavailable, PublishError."""
    return {
        name: TopicFacts("" if home.id == _NO_ID else home.id, home.partitions)
        for name, home in homes.look(admin, sorted(names)).items()
    }


def offsets(admin: AdminClient, partitions: Iterable[Partition], which: OffsetSpec) -> dict[Partition, Offset]:
    """The beginning, or the end for a read_committed consumer, of each partition.

    Compaction stays behind that end, so nothing behind it can be missed.

    Raises: BrokerUnavailable, PublishError.
    """
    asked = [TopicPartition(*partition) for partition in partitions]
    return homes.offsets_at(admin, asked, which, IsolationLevel.READ_COMMITTED)


def deletes_kept(admin: AdminClient, topic: str) -> float | None:
    """Seconds for which the topic keeps a delete; None: it is not compacted.

    Raises: BrokerUnavailable, PublishError.
    """
    config = topics.existing_configuration(admin, [topic])[topic]
    return int(config["delete.retention.ms"]) / 1000 if "compact" in config.get("cleanup.policy", "") else None
