"""One connector in a process of its own, to Kafka or to nowhere; prints what it took as JSON.

    python -m benchmarks.child CONFIG CONNECTOR kafka|null EVENTS

Ends when so many events were published (or the connector ended by itself).
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from cdc.config import load
from cdc.event import Batch
from cdc.pipeline import run_connector
from cdc.plugins import connector_plugins
from cdc.position import Position
from cdc.publisher import Publisher
from cdc.settings import Settings


class Counting(Publisher):
    """Counts what is published, and stops the connector behind the last event."""

    def __init__(self, settings: Settings, connector: str, discard: bool, events: int) -> None:
        super().__init__(settings, connector)
        self._discard = discard
        self._wanted = events
        self.events = self.batches = self.bytes = 0
        self.first = self.last = 0.0
        self.cpu = 0.0
        self.stop: Callable[[], None] = lambda: None

    def take_over(self) -> Position | None:
        stored = super().take_over()
        self.first = time.monotonic()
        return stored

    def publish(self, batch: Batch) -> None:
        rows = [len(record[2] or b"") for record in batch.records if not record[0].endswith(".cdc.schemas")]
        if not self._discard or not batch.records:
            super().publish(batch)
        self.events += len(rows)
        self.bytes += sum(rows)
        self.batches += bool(rows)
        if rows:
            self.last = time.monotonic()
            self.cpu = time.process_time()
        if self.events >= self._wanted and batch.position.order:  # an intent has no order yet
            self.stop()


def main() -> None:
    config, name, target, events = sys.argv[1:]
    settings = load(Path(config))
    section = settings.connectors[name]
    connector = connector_plugins()[section.type].create(settings, name, section)
    publisher = Counting(settings, name, target == "null", int(events))
    publisher.stop = connector.stop
    began = time.monotonic()
    started_cpu = time.process_time()
    run_connector(connector, publisher)
    figures = {
        "events": publisher.events,
        "batches": publisher.batches,
        "bytes_per_event": publisher.bytes // max(1, publisher.events),
        "seconds": publisher.last - publisher.first,
        "start_seconds": publisher.first - began,
        "cpu": publisher.cpu - started_cpu,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
