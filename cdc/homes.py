"""Whether event topics are still the ones that events were put on. Touches Kafka's admin interface.

A topic that was deleted and made again is empty, and keys move when partitions are added: a
connector that went on would never say what is missing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from cdc import topics
from cdc.errors import BrokerUnavailable, Gap, PublishError
from cdc.stored import Home

BEGIN = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
END = OffsetSpec.latest()  # type: ignore[no-untyped-call]
"""Of a partition: its first offset, and the one behind its last record."""

LOOK_SECONDS = 1.0
"""How often topics are looked at while events are published, at most."""

SHARE = 100
"""… and so many times longer than a look takes: it costs one percent of a thread's time at most."""


def look(admin: AdminClient, names: Iterable[str]) -> dict[str, Home]:
    """The topics of these names that exist, as they are now.

    Raises: BrokerUnavailable, PublishError.
    """
    wanted = list(names)
    if not wanted:
        return {}
    found: dict[str, Home] = {}
    futures = admin.describe_topics(TopicCollection(wanted), request_timeout=topics.TIMEOUT)
    for name, future in futures.items():
        try:
            described = topics.answer(name, future)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise topics.refused(name, error.args[0]) from error
        found[name] = Home(str(described.topic_id), len(described.partitions))
    return found


def difference(subject: str, name: str, before: Home, now: Home | None) -> Gap | None:
    """What is missing on a topic, by what it was and what it is."""
    table = f" of table {before.table}" if before.table else ""
    if now is None:
        return Gap(f"{subject}: topic {name}{table} was deleted, with all its events", lasting=False)
    if now.id != before.id:
        return Gap(f"{subject}: topic {name}{table} was deleted and made again; its events are missing", lasting=False)
    if now.partitions != before.partitions:
        return Gap(
            f"{subject}: topic {name}{table} has {now.partitions} partitions, it had {before.partitions}: "
            "keys moved away from their earlier events",
            lasting=False,
        )
    return None


def check(admin: AdminClient, subject: str, homes: Mapping[str, Home]) -> None:
    """Raises: Gap when one of these topics is not as it was; BrokerUnavailable, PublishError."""
    found = look(admin, homes)
    for name, before in homes.items():
        gap = difference(subject, name, before, found.get(name))
        if gap is not None:
            raise gap


def with_events(admin: AdminClient, names: Iterable[str]) -> list[str]:
    """Those of the topics that hold events. Raises: BrokerUnavailable, PublishError."""
    partitions = [
        TopicPartition(name, partition)
        for name, home in look(admin, names).items()
        for partition in range(home.partitions)
    ]
    ends = offsets_at(admin, partitions, END)
    starts = offsets_at(admin, partitions, BEGIN)
    return sorted({name for (name, partition), end in ends.items() if end > starts[name, partition]})


def offsets_at(
    admin: AdminClient,
    partitions: Iterable[TopicPartition],
    of: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[tuple[str, int], int]:
    """The offset that `of` asks for, by topic and partition. Raises: BrokerUnavailable, PublishError."""
    asked = dict.fromkeys(partitions, of)
    if not asked:
        return {}
    found = {}
    for partition, future in admin.list_offsets(
        asked, isolation_level=isolation, request_timeout=topics.TIMEOUT
    ).items():
        try:
            found[partition.topic, partition.partition] = int(topics.answer(partition.topic, future).offset)
        except KafkaException as error:
            raise topics.refused(partition.topic, error.args[0]) from error
    return found


class Watch:
    """Looks at topics now and then, from a thread of its own, until `close()`.

    Args:
        look: raises Gap when something is missing.
        found: called when it did, from the thread.
        seconds: between two looks, at least.
    """

    def __init__(self, look: Callable[[], None], found: Callable[[], None], seconds: float = LOOK_SECONDS) -> None:
        self._look, self._found, self._seconds = look, found, seconds
        self._ended = threading.Event()
        self.gap: Gap | None = None
        self._thread = threading.Thread(target=self._run, name="topics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join(topics.TIMEOUT)

    def _run(self) -> None:
        pause = self._seconds
        while not self._ended.wait(pause):
            began = time.monotonic()
            try:
                self._look()
            except Gap as gap:
                self.gap = gap
                self._found()
                return
            except (BrokerUnavailable, PublishError):
                pass  # The publisher meets the same, and says so.
            pause = max(self._seconds, SHARE * (time.monotonic() - began))
