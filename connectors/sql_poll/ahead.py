"""Makes the next while the last is used: a generator in a thread of its own, one item ahead. Pure threading."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

TICK = 0.2


class _End:
    """Behind the last item; with what the generator raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(make: Callable[[], Iterator[T]], stop: Callable[[], None]) -> Iterator[T]:
    """The items of `make()`, which runs in a thread; what it raises is raised here.

    Args:
        make: the generator; it is closed, in its thread, when this one is.
        stop: lets it end soon, whatever it waits for; called when this one is closed.
    """
    queue: Queue[T | _End] = Queue(1)
    closed = threading.Event()

    def give(item: T | _End) -> bool:
        while not closed.is_set():
            try:
                queue.put(item, timeout=TICK)
                return True
            except Full:
                continue
        return False

    def run() -> None:
        items = make()
        try:
            for item in items:
                if not give(item):
                    return
            give(_End(None))
        except BaseException as error:
            give(_End(error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = queue.get(timeout=TICK)
            except Empty:
                continue
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        closed.set()
        stop()
        thread.join()
