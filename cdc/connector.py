"""The contract of a connector: reads a source. Nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from cdc.event import Batch, Record
from cdc.position import Position


class Connector(Protocol):
    """Reads one source's changes, in commit order, from a stored position on.

    Threads: `stop`, `status`, `ask` and `confirm` may be called from any thread; all else from
    one. Errors: `cdc.errors` only. A crash between any two calls must lose nothing: the next
    copy is given the last position that was published and goes on behind it.
    """

    def lock(self) -> AbstractContextManager[None]:
        """Wait until this copy alone may read the source; hold that while inside.

        A holder that hangs must lose the lock within a bounded time. Ends early, without the
        lock, by raising `Stopped` after `stop()`.
        """
        ...

    def start(self, stored: Position | None) -> None:
        """Check that the source still has everything behind `stored` (None: first start).

        Raises:
            Gap: something is missing for good, or may be.
        """
        ...

    def batches(self) -> Iterator[Batch]:
        """Yield bounded batches in order; never waits on Kafka; ends after `stop()`.

        When the iterator is resumed, the batch it yielded last is stored and was confirmed.
        """
        ...

    def confirm(self, position: Position) -> None:
        """`position` is stored: the source may forget everything up to it."""
        ...

    def healing(self) -> bool:
        """Whether a gap is being mended: what `batches` yields has to be compared with the topics.

        Known once `start` has returned.
        """
        ...

    def inherited(self) -> Sequence[str]:
        """Topics of tables on which somebody else published, who is gone on from; known once `start` has returned.

        Asked only where the section `goes_on`.
        """
        ...

    def heal_position(self, stored: Position | None) -> Position:
        """What is to be stored so that the next start heals; called after `lock`, instead of `start`.

        Raises:
            Refused: there is nothing to heal, or it cannot be.
        """
        ...

    def gone(self, topic: str, keys: Sequence[bytes]) -> list[Record]:
        """Events that delete these keys, which the snapshot that `Batch.complete` told of does not have."""
        ...

    def ask(self, action: str, tables: Sequence[str]) -> str:
        """Take a command: `snapshot` (of tables, again); `pause`, `resume` or `cancel` snapshots; `poll` tables now.

        A connector refuses what does not fit the way it reads.

        Args:
            tables: names and patterns of `schema.table`; none: all of them.
        Returns: a sentence that says what is going to happen.
        Raises:
            Refused: it cannot be done, and why.
        """
        ...

    def status(self) -> dict[str, Any]:
        """What `cdc status` shows, as JSON values.

        state (`waiting`, `starting`, `snapshotting` or `streaming`), position, lag_seconds,
        lag_bytes, rate (events/s), events, retained_wal_bytes, snapshot (None or rows, total,
        percent, rate, seconds_left), waited (whether `lock` had to wait for another copy), and what else
        the connector likes to tell.
        """
        ...

    def stop(self) -> None:
        """Let `lock` and `batches` end soon. May be called from a signal handler."""
        ...


class Stopped(Exception):
    """`stop()` was called while waiting; not an error."""
