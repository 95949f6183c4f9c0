"""How many events were given away, and how many a second of late. Pure but for the clock."""

from __future__ import annotations

import time
from collections import deque

RATE_SECONDS = 10.0
"""Over which the rate is taken."""


class Rate:
    """Counts; may be asked from any thread."""

    def __init__(self) -> None:
        self.events = 0
        self._given: deque[tuple[float, int]] = deque()

    def count(self, events: int) -> None:
        """So many were given away now."""
        self._given.append((time.monotonic(), events))
        self.events += events

    def a_second(self) -> float:
        """Events a second of late."""
        now = time.monotonic()
        while self._given and now - self._given[0][0] > RATE_SECONDS:
            self._given.popleft()
        return round(sum(count for _, count in list(self._given)) / RATE_SECONDS, 1)
