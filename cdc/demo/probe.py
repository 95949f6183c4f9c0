"""Measures how long a committed change takes until a service's table shows it. Touches both databases.

One session commits a numbered note on an order of its own at a steady pace, whether or not the
last one has arrived; another watches the service's table for the newest number. So a stall of a
second counts for every change that was committed in it, not once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from math import ceil

import psycopg

from cdc.demo.warehouse import PROBE_ORDER

LOOK_EVERY = 0.004
"""Seconds between two looks while a note is under way: the resolution of what is measured."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One change: when its commit had returned (`time.monotonic()`), and seconds until it was visible."""

    committed: float
    seconds: float


class Probe:
    """`start`, read `arrivals` at any time, then `stop`.

    Args:
        warehouse, service: URLs of the databases.
        pace: changes per second.
    """

    def __init__(self, warehouse: str, service: str, *, pace: float = 20.0) -> None:
        self.arrivals: list[Arrival] = []
        self._warehouse, self._service, self._pace = warehouse, service, pace
        self._underway: deque[tuple[int, float]] = deque()
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(each,), name=f"probe {each.__name__}", daemon=True)
            for each in (self._write, self._watch)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Arrival]:
        """End both sessions. What is under way still is not waited for.

        Raises:
            Exception: what ended a session early.
        """
        self._over.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self._failure is not None:
            raise self._failure
        return self.arrivals

    @contextmanager
    def held(self) -> Iterator[None]:
        """While inside, nothing new is committed."""
        with self._turn:
            yield

    @property
    def under_way(self) -> int:
        """Changes that are committed and not visible yet."""
        return len(self._underway)

    def first_after(self, moment: float) -> Arrival | None:
        """The first change committed after `moment` (`time.monotonic()`) that has arrived."""
        return next((arrival for arrival in self.arrivals if arrival.committed > moment), None)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._failure = error

    def _write(self) -> None:
        with psycopg.connect(self._warehouse, autocommit=True) as connection:
            due = time.monotonic()
            for number in count(1):
                with self._turn:
                    connection.execute(
                        "UPDATE sales.orders SET note = %s, updated_at = clock_timestamp() WHERE order_id = %s",
                        [f"probe {number}", PROBE_ORDER],
                    )
                    self._underway.append((number, time.monotonic()))
                due = max(due + 1 / self._pace, time.monotonic())
                if self._over.wait(due - time.monotonic()):
                    return

    def _watch(self) -> None:
        with psycopg.connect(self._service, autocommit=True) as connection:
            while not self._over.wait(LOOK_EVERY):
                if not self._underway:
                    continue
                row = connection.execute("SELECT note FROM orders WHERE order_id = %s", [PROBE_ORDER]).fetchone()
                seen, now = _number(row[0] if row else None), time.monotonic()
                while self._underway and self._underway[0][0] <= seen:
                    _, committed = self._underway.popleft()
                    self.arrivals.append(Arrival(committed, now - committed))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max of at least one value."""
    ordered = sorted(seconds)
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: ordered[ceil(rank * len(ordered)) - 1] for name, rank in ranks.items()}


def _number(note: str | None) -> int:
    return int(note.removeprefix("probe ")) if note and note.startswith("probe ") else 0
