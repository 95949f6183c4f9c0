"""How far a sink member is, in the words of `cdc status`. Pure; the clock is passed in."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Set
from typing import Any, Final

from cdc.sink import EventBatch, Offset, TopicPartition

RATE_SECONDS: Final = 10.0
"""The time over which a rate is told."""

SMALL_LAG_SECONDS: Final = 10.0
"""A member that is not further behind is live."""


class Progress:
    """What a member owns and has applied.

    Args:
        lag: (partition, next offset) → events behind that are there already.
        end: a partition's end when it was assigned, None while that is not known.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        lag: Callable[[TopicPartition, Offset], int],
        end: Callable[[TopicPartition], Offset | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lag, self._end, self._clock = lag, end, clock
        self._next: dict[TopicPartition, Offset] = {}
        self._behind: set[TopicPartition] = set()
        self._joined = False
        self._newest = 0.0
        self._events = 0
        self._recent: deque[tuple[float, int]] = deque()

    @property
    def offsets(self) -> dict[TopicPartition, Offset]:
        """The next offset of every partition that is owned and was ever read."""
        return {partition: offset for partition, offset in self._next.items() if offset}

    @property
    def partitions(self) -> dict[TopicPartition, Offset]:
        """The next offset of every partition that is owned, 0 where nothing was read."""
        return dict(self._next)

    def owns(self, offsets: dict[TopicPartition, Offset | None]) -> None:
        """Partitions were taken."""
        self._joined = True
        self._next.update({partition: offset or 0 for partition, offset in offsets.items()})
        self._behind.update(offsets)

    def let_go(self, partitions: Set[TopicPartition]) -> None:
        """Partitions went to another member."""
        for partition in partitions:
            self._next.pop(partition, None)
        self._behind -= partitions

    def applied(self, batch: EventBatch) -> None:
        """A batch is in the target."""
        self._next.update(batch.next_offsets)
        if batch.events:
            self._newest = batch.events[-1].timestamp / 1000
            self._events += len(batch.events)
            self._recent.append((self._clock(), len(batch.events)))

    def status(self) -> dict[str, Any]:
        """state, events, rate (events/s), lag_events, lag_seconds, partitions."""
        now = self._clock()
        lags = {partition: self._lag(partition, offset) for partition, offset in self._next.items()}
        ends = {partition: self._end(partition) for partition in self._behind}
        self._behind = {p for p, end in ends.items() if end is None or (lags[p] > 0 and self._next[p] < end)}
        events_behind = sum(lags.values())
        seconds_behind = max(0.0, now - self._newest) if events_behind and self._newest else 0.0
        live = not self._behind and seconds_behind <= SMALL_LAG_SECONDS
        return {
            "state": "starting" if not self._joined else "live" if live else "catching_up",
            "events": self._events,
            "rate": round(self._rate(now), 1),
            "lag_events": events_behind,
            "lag_seconds": round(seconds_behind, 3),
            "partitions": {
                f"{topic}[{partition}]": {"next_offset": offset, "lag_events": lags[topic, partition]}
                for (topic, partition), offset in sorted(self._next.items())
            },
        }

    def _rate(self, now: float) -> float:
        while self._recent and self._recent[0][0] < now - RATE_SECONDS:
            self._recent.popleft()
        return sum(count for _, count in self._recent) / RATE_SECONDS
