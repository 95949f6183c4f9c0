"""The contract of a sink: writes a target. Nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
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


@dataclass(slots=True)
class EventBatch:
    """Events in order per partition, and the offset behind them for each partition touched.

    Args:
        events: may be empty (only offsets moved: transaction markers, compaction).
        next_offsets: where to go on, for every partition that moved.
    """

    events: list[Event]
    next_offsets: dict[TopicPartition, Offset]


class Sink(Protocol):
    """Writes events to one target; one member of a consumer group.

    Threads: all calls from one thread, `status` from any. Errors: `cdc.errors` only; after
    one, nothing of the failed call is in the target.
    """

    def own(self, partitions: Set[TopicPartition]) -> Mapping[TopicPartition, Offset | None]:
        """Take partitions from whoever had them (a new epoch); say where to go on.

        Returns the next offset per partition, None where nothing was ever applied.
        """
        ...

    def apply(self, batch: EventBatch) -> None:
        """Rows and offsets, all or nothing.

        Raises:
            NotOwner: a partition was taken by another member; nothing was applied.
            RowRefused: the target refuses one event; nothing was applied.
            TargetUnavailable: try again later.
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
