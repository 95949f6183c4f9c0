"""What readers of a topic have: key → digest of the row, on disk; read from the topic at each start.

What is read again is told by it, so that nothing is published twice, however often it is read; and what is new, what
changed and what is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cdc.fold import Message, Spool

from .forms import TopicForm


class Change(NamedTuple):
    """A row that readers do not have as it is."""

    key: bytes
    row: bytes
    new: bool


class Known:
    """Of one topic. For one thread at a time.

    Args:
        spool: the file; several share it.
        number: unlike the others'.
    Raises: SpoolFull, here and everywhere.
    """

    def __init__(self, spool: Spool, number: int) -> None:
        self._spool = spool
        name = f"known_{number}"
        with spool.writing() as execute:
            # "WITHOUT ROWID": the key is the tree, so that a row is one entry.
            execute(f"CREATE TABLE {name} (key BLOB PRIMARY KEY, digest BLOB, met INTEGER) WITHOUT ROWID")
        self._get = f"SELECT digest FROM {name} WHERE key = ?"
        self._put = f"INSERT OR REPLACE INTO {name} VALUES (?, ?, ?)"
        self._delete = f"DELETE FROM {name} WHERE key = ?"
        self._unmet = f"SELECT key FROM {name} WHERE met <> ? AND key > ? ORDER BY key LIMIT ?"
        self._count = f"SELECT count(*) FROM {name}"

    def load(self, messages: Iterable[Message], form: TopicForm) -> None:
        """Take in records of the topic, each partition in order.

        Raises: ConfigError: keys are written otherwise than the form writes them.
        """
        with self._spool.writing() as execute:
            for message in messages:
                key = message.key()
                held = None if key is None else form.held(key, message.value())
                if held is None:
                    continue
                key, digest = held
                if digest is None:
                    execute(self._delete, (key,))
                else:
                    execute(self._put, (key, digest, 0))

    def changes(self, rows: Iterable[tuple[bytes, bytes, bytes]], met: int) -> list[Change]:
        """Those rows that readers do not have as they are; from now on they do.

        Args:
            rows: keys and rows, as JSON, with the rows' digests.
            met: the pass that meets them; above 0.
        """
        changed: list[Change] = []
        with self._spool.writing() as execute:
            for key, row, digest in rows:
                had = execute(self._get, (key,)).fetchone()
                if had is None or had[0] != digest:
                    changed.append(Change(key, row, had is None))
                execute(self._put, (key, digest, met))
        return changed

    def having(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those keys that readers have, each once."""
        with self._spool.writing() as execute:
            return [key for key in dict.fromkeys(keys) if execute(self._get, (key,)).fetchone() is not None]

    def forget(self, keys: Iterable[bytes]) -> None:
        """From now on readers do not have them."""
        with self._spool.writing() as execute:
            for key in keys:
                execute(self._delete, (key,))

    def unmet(self, met: int, behind: bytes, limit: int) -> Sequence[bytes]:
        """So many of the keys that a pass has not met, in order, behind a key."""
        with self._spool.writing() as execute:
            return [key for (key,) in execute(self._unmet, (met, behind, limit))]

    def __len__(self) -> int:
        with self._spool.writing() as execute:
            return int(execute(self._count).fetchone()[0])
