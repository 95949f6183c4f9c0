"""The sink's loop. Touches nothing itself: consumer, sink and dead letters do."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

from cdc.consumer import Assigned, EventConsumer, Revoked
from cdc.dead_letters import DeadLetters
from cdc.errors import RowRefused
from cdc.settings import Settings
from cdc.sink import EventBatch, Sink
from cdc.sink_progress import Progress


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
    dead_letters = DeadLetters(settings, name) if section.on_refused == "dead_letter" else None
    consumer = EventConsumer(settings, name, section, member)
    progress = Progress(consumer.lag, consumer.end_at_assignment)
    try:
        for task in consumer.tasks(stop):
            if isinstance(task, Assigned):
                offsets = dict(sink.own(task.partitions))
                progress.owns(offsets)
                task.go_on(offsets)
            elif isinstance(task, Revoked):
                sink.release(task.partitions)
                progress.let_go(task.partitions)
                task.done()
            elif task is not None:
                _apply(sink, task, dead_letters)
                progress.applied(task)
                consumer.applied(progress.offsets)
            report({**sink.status(), **progress.status(), "dead_letters": dead_letters.count if dead_letters else 0})
    finally:
        consumer.close()
        sink.close()


def _apply(sink: Sink, batch: EventBatch, dead_letters: DeadLetters | None) -> None:
    """Apply the batch; refused events are put aside first, if they may be."""
    while True:
        try:
            return sink.apply(batch)
        except RowRefused as refusal:
            if dead_letters is None:
                raise
            batch = dead_letters.put(batch, refusal)
