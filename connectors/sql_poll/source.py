"""What differs between databases, behind one door. Nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from cdc.errors import CdcError
from cdc.formats.debezium_json import SourceInfo
from cdc.plugins import Finding

from .modes import Mode
from .rows import Polled, Rows

Identity = list[list[int]]
"""What a table is: OID and file of each of its heaps. Another OID: another table; another file: its rows elsewhere.

Empty where the database does not tell.
"""


@dataclass(frozen=True, slots=True)
class DeleteLog:
    """A table that a trigger writes the keys of deleted rows to.

    Args:
        polled: the log, with the columns of the key.
        rows, mode: how it is read.
    """

    polled: Polled
    rows: Rows
    mode: Mode


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is polled, as it is now.

    Args:
        polled: which, and what of it.
        rows, mode: how it is read.
        log: of its deletes, if there is one.
        form: equal as long as its columns are.
    """

    polled: Polled
    rows: Rows
    mode: Mode
    log: DeleteLog | None
    form: object


class Source(Protocol):
    """One database."""

    stays: bool
    """Whether a connection may be kept from poll to poll; one to a file may keep its owner out."""

    def lock(self, wait: Callable[[float], None], lost: Callable[[], None]) -> AbstractContextManager[None]:
        """Until this copy alone may poll; see `lock.advisory_lock`. Without one there is Kafka's fence."""
        ...

    def connect(self) -> AbstractContextManager[sa.Connection]:
        """A connection that reads only. Raises: SourceUnavailable, SourceError."""
        ...

    def find(self, connection: sa.Connection, refuse: Callable[[str, CdcError], None]) -> Sequence[Found]:
        """What the settings name.

        Args:
            refuse: told of each table, or entry of the settings, that cannot be polled, and why.
        Raises: SourceUnavailable, SourceError.
        """
        ...

    def advise(self, connection: sa.Connection, found: Found, what: str) -> Iterable[Finding]:
        """What `cdc check` says of a table, beside what holds for every database.

        Args:
            what: what to call it.
        Raises: SourceUnavailable, SourceError.
        """
        ...

    def still(self, connection: sa.Connection, found: Found) -> bool:
        """Whether a table still has the columns that it had. Raises: SourceUnavailable, SourceError."""
        ...

    def identity(self, connection: sa.Connection, found: Found) -> Identity:
        """What a table is now. Raises: SourceUnavailable, SourceError."""
        ...

    def reading(self, subject: str) -> AbstractContextManager[None]:
        """Turns the driver's errors into ours, without values."""
        ...

    def now_us(self, connection: sa.Connection) -> int:
        """Its clock, µs since the Unix epoch."""
        ...

    def busy(self, connection: sa.Connection) -> str | None:
        """Why it should not be polled now; None: it may. Raises: SourceUnavailable, SourceError: not allowed to see."""
        ...

    @property
    def info(self) -> SourceInfo:
        """For the envelope."""
        ...
