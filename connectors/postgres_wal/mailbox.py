"""One batch handed from the reader's thread to the worker's. Pure threading.

A rendezvous: while the worker publishes one batch the reader fills the next, and keeps it until
the worker asks. No more than those two are ever held.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition

from cdc.event import Batch


class Mailbox:
    """Where reader and worker meet.

    Args:
        wake: tells the reader that the worker waits for a batch.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = Condition()
        self._batch: Batch | None = None
        self._ended = False
        self._error: BaseException | None = None
        self.wanted = False

    def take(self) -> Batch | None:
        """Wait for the next batch; None when there will be none. Raises what the reader failed with."""
        with self._changed:
            self.wanted = True
            self._wake()
            self._changed.wait_for(lambda: self._batch is not None or self._ended)
            self.wanted = False
            if self._batch is None:
                if self._error is not None:
                    raise self._error
                return None
            batch, self._batch = self._batch, None
        return batch

    def offer(self, batch: Batch) -> bool:
        """Hand a batch to the waiting worker; False while it is not waiting."""
        with self._changed:
            if not self.wanted:
                return False
            self._batch = batch
            self.wanted = False
            self._changed.notify()
        return True

    def end(self, error: BaseException | None = None) -> None:
        """There will be no further batch; a worker that waits gets the error."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify()
