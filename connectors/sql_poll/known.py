"""What readers of a topic have: key → digest of the row, on disk; read from the topic at each start.

What is read again is told by it, so that nothing is published twice, however often it is read; and what is new, what
changed and what is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from cdc.fold import Message, Spool

NEW_ROW: Final = b'{"before":null,"after":{'
AFTER: Final = len(NEW_ROW) - 1
BEHIND: Final = b',"source":{"version":'


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
        self._delete = f"DELETE FROM {name} WHERE key = ? RETURNING 1"
        self._unmet = f"SELECT key FROM {name} WHERE met <> ? AND key > ? ORDER BY key LIMIT ?"
        self._count = f"SELECT count(*) FROM {name}"

    def load(self, messages: Iterable[Message]) -> None:
        """Take in records of the topic, each partition in order."""
        with self._spool.writing() as execute:
            for message in messages:
                key, value = message.key(), message.value()
                if key is None:
                    continue
                digest = None if value is None else digest_of(value)
                if digest is None:
                    execute(self._delete, (key,)).fetchall()
                else:
                    execute(self._put, (key, digest, 0))

    def changes(self, rows: Iterable[tuple[bytes, bytes]], met: int) -> list[Change]:
        """Those rows that readers do not have as they are; from now on they do.

        Args:
            rows: keys and rows, as JSON.
            met: the pass that meets them; above 0.
        """
        changed: list[Change] = []
        with self._spool.writing() as execute:
            for key, row in rows:
                digest = blake2b(row, digest_size=16).digest()
                had = execute(self._get, (key,)).fetchone()
                if had is None or had[0] != digest:
                    changed.append(Change(key, row, had is None))
                execute(self._put, (key, digest, met))
        return changed

    def gone(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those keys that readers have; from now on they do not."""
        with self._spool.writing() as execute:
            return [key for key in keys if execute(self._delete, (key,)).fetchall()]

    def unmet(self, met: int, behind: bytes, limit: int) -> Sequence[bytes]:
        """So many of the keys that a pass has not met, in order, behind a key."""
        with self._spool.writing() as execute:
            return [key for (key,) in execute(self._unmet, (met, behind, limit))]

    def __len__(self) -> int:
        with self._spool.writing() as execute:
            return int(execute(self._count).fetchone()[0])


def digest_of(value: bytes) -> bytes | None:
    """Of the row in an event, or None if the event says that it is gone."""
    end = value.rfind(BEHIND)
    if value.startswith(NEW_ROW) and end > 0:
        return blake2b(value[AFTER:end], digest_size=16).digest()
    try:
        after = orjson.loads(value)["after"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return b""
    return None if after is None else blake2b(orjson.dumps(after), digest_size=16).digest()
