"""The contract of a sink: writes a target. Nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

TopicPartition = tuple[str, int]
Offset = int


class Event(NamedTuple):
    """One consumed record: a tuple, for speed.

    Args:
        topic, partition, offset: where it is.
        key, value: bytes as on the wire, or None.
        timestamp: ms since the epoch.
        headers: name and bytes, or None.
    """

    topic: str
    partition: int
    offset: Offset
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes]] | None = None


class TopicFacts(NamedTuple):
    """What tells a topic from another of the same name.

    Args:
        id: given by the broker when the topic is made (KIP-516); "" where a broker has none.
        partitions: how many there are.
    """

    id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a target knows of a partition.

    Args:
        next_offset: where to go on; None where nothing was ever applied.
        topic: the topic that offset is of; None where it was never told.
        age: seconds, by the target's clock, since everything that the partition then held was applied.
    """

    next_offset: Offset | None = None
    topic: TopicFacts | None = None
    age: float = 0.0


@dataclass(slots=True)
class EventBatch:
    """Events in order per partition, and the offset behind them for each partition touched.

    Args:
        events: may be empty (only offsets moved: transaction markers, compaction).
        next_offsets: where to go on, for every partition that moved, or whose age is told.
        ages: `Held.age` of partitions, once this batch is applied.
    """

    events: list[Event]
    next_offsets: dict[TopicPartition, Offset]
    ages: Mapping[TopicPartition, float] = field(default_factory=dict)


class Sink(Protocol):
    """Writes events to one target; one member of a consumer group.

    Threads: all calls from one thread, `status` from any. Errors: `cdc.errors` only; after
    one, nothing of the failed call is in the target.
    """

    def own(self, partitions: Set[TopicPartition], topics: Mapping[str, TopicFacts]) -> Mapping[TopicPartition, Held]:
        """Take partitions from whoever had them (a new epoch), or again; say where to go on.

        Args:
            partitions: to take.
            topics: as they are now. What was told first is held as long as the offset is: it is
                the caller who compares. A number of partitions that changes nothing for the
                target (no order between them matters) is taken over here.
        """
        ...

    def topics(self) -> Set[str]:
        """Topics of which something was applied, by any member."""
        ...

    def apply(self, batch: EventBatch) -> None:
        """Rows, offsets and ages, all or nothing.

        Raises:
            NotOwner: a partition was taken by another member; nothing was applied.
            RowRefused: the target refuses one event; nothing was applied.
            TargetUnavailable: try again later.
        """
        ...

    def apply_again(self, partition: TopicPartition, events: Sequence[Event]) -> None:
        """Events of a partition that is owned which were put aside before, in order; its offset stays.

        Once each, also when the call is repeated after a crash and the one before it was another.

        Raises: as `apply`.
        """
        ...

    def release(self, partitions: Set[TopicPartition]) -> None:
        """These partitions are no longer ours; forget what is held for them."""
        ...

    def status(self) -> dict[str, Any]:
        """What `cdc status` shows of the target, as JSON values."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...
