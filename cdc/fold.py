"""What readers of a topic have: key → digest of the row, on disk. Touches one file.

The file is a SQLite database without a journal, unlinked as soon as it is open: it is of no use
to another process, and a kill leaves nothing behind.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

import orjson

from cdc.errors import SpoolFull
from cdc.formats.contract import Reader
from cdc.formats.payload import Payloads, payload_of
from cdc.partitions import partition_of
from cdc.settings import SpoolSettings

UNKNOWN: Final = b""
"""The digest of a row that events do not tell whole."""

ROW: Final = "r"
TRUNCATE: Final = "t"
"""`op` of a row of a snapshot, and of a truncate."""

PAGE_BYTES: Final = 4096
CACHE_KIBIBYTES: Final = 16_384


class Message(Protocol):
    """A record as the consumer gives it."""

    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def partition(self) -> int | None: ...


class Spool:
    """The file that folds share.

    Args:
        settings: its folder and how large it may become.
    Raises: SpoolFull.
    """

    def __init__(self, settings: SpoolSettings) -> None:
        self._settings = settings
        self._topics = 0
        try:
            with tempfile.TemporaryDirectory(prefix="cdc-", dir=settings.folder) as folder:
                # Of one thread at a time, whichever that is.
                self._database = sqlite3.connect(Path(folder, "fold.db"), isolation_level=None, check_same_thread=False)
                with self.writing() as execute:
                    for pragma in (
                        f"page_size = {PAGE_BYTES}",
                        "journal_mode = OFF",
                        "synchronous = OFF",
                        "locking_mode = EXCLUSIVE",
                        f"cache_size = -{CACHE_KIBIBYTES}",
                        f"max_page_count = {max(settings.quota // PAGE_BYTES, 1)}",
                    ):
                        execute(f"PRAGMA {pragma}")
                    # One transaction for good: nothing is ever read back, and a commit would write pages out.
                    execute("BEGIN EXCLUSIVE")
                    execute("CREATE TABLE begun (it)")
        except OSError as error:
            raise SpoolFull(
                f"spool.folder {settings.folder or tempfile.gettempdir()}: {error.strerror}",
                hint="name a folder that exists and may be written, with room, under `spool:`",
            ) from error

    def fold(self) -> Fold:
        """A new, empty fold."""
        self._topics += 1
        return Fold(self, f"fold_{self._topics}")

    def close(self) -> None:
        """Give the file up."""
        self._database.close()

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """The database's `execute`. Raises: SpoolFull."""
        try:
            yield self._database.execute
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise
            folder = self._settings.folder or tempfile.gettempdir()
            raise SpoolFull(
                f"spool: keys and digests of the topics do not fit in {folder}: its disk is full, or the quota of "
                f"{self._settings.quota} bytes is used up",
                hint="make room or raise `spool.quota`; the next start begins anew, and nothing is lost",
            ) from error


class Execute(Protocol):
    def __call__(self, statement: str, parameters: Sequence[object] = ..., /) -> sqlite3.Cursor: ...


class Fold:
    """One topic's keys; those that were taken are no longer there. Made by `Spool.fold`.

    Keys on another partition than theirs (`strays`: partitions were added) are kept apart. A row has one key
    however that is spelled: with or without its schema, or with another one.
    """

    def __init__(self, spool: Spool, name: str) -> None:
        self._spool = spool
        self._payloads = Payloads()
        with spool.writing() as execute:
            # "WITHOUT ROWID": the key is the tree, so that a row is one entry. `spelled`: the event's key, if not that.
            execute(
                f"CREATE TABLE {name} "
                "(key BLOB PRIMARY KEY, digest BLOB, partition INTEGER, spelled BLOB) WITHOUT ROWID"
            )
            execute(
                f"CREATE TABLE {name}_strays (key BLOB, partition INTEGER, PRIMARY KEY (key, partition)) WITHOUT ROWID"
            )
        self._drop = (f"DROP TABLE {name}", f"DROP TABLE {name}_strays")
        self._put = f"INSERT OR REPLACE INTO {name} VALUES (?, ?, ?, ?)"
        self._take = f"DELETE FROM {name} WHERE key = ? RETURNING digest"
        self._truncate = f"DELETE FROM {name} WHERE partition = ?"
        self._clear = f"DELETE FROM {name}"
        self._some = f"SELECT coalesce(spelled, key) FROM {name} LIMIT ?"
        self._count = f"SELECT count(*) FROM {name}"
        self._stray = f"INSERT OR REPLACE INTO {name}_strays VALUES (?, ?)"
        self._found = f"DELETE FROM {name}_strays WHERE key = ? AND partition = ?"
        self._stray_too = f"INSERT OR IGNORE INTO {name} VALUES (?, x'', -1, ?)"
        self._all_strays = f"SELECT key FROM {name}_strays"
        self._strays = f"SELECT key, partition FROM {name}_strays LIMIT ?"

    def load(self, messages: Iterable[Sequence[Message]], partitions: int = 0, reader: Reader | None = None) -> None:
        """Fold what is on the topic, each partition in order.

        Args:
            partitions: how many there are, where keys may be on another one than theirs; else 0.
            reader: of what is on the topic; keys are kept as it makes them.
        Raises: SpoolFull; ValueError: a record that it cannot read.
        """
        for some in messages:
            with self._spool.writing() as execute:
                for message in some:
                    self._load(execute, message, partitions, reader)
        with self._spool.writing() as execute:
            for (stray,) in execute(self._all_strays):
                execute(self._stray_too, self._named(stray))

    def _load(self, execute: Execute, message: Message, partitions: int, reader: Reader | None) -> None:
        key, value, partition = message.key(), message.value(), message.partition() or 0
        on_topic = key
        if reader is not None:
            key = None if key is None else reader.key(key)
            value = None if value is None else reader.value(value)
        if key is None:
            if value is not None and read(value)[0] == TRUNCATE:
                execute(self._truncate, (partition,))
            return
        digest = None if value is None else digest_of(value)
        if partitions and on_topic is not None and partition_of(on_topic, partitions) != partition:
            execute(self._found if digest is None else self._stray, (key, partition))
        elif digest is None:
            execute(self._take, self._named(key)[:1]).fetchall()
        else:
            plain, spelled = self._named(key)
            execute(self._put, (plain, digest, partition, spelled))

    def _named(self, key: bytes) -> tuple[bytes, bytes | None]:
        """The key without its schema, and as it is spelled if that is something else."""
        plain = self._payloads.of(key) or b""
        return plain, None if plain == key else key

    def take(self, key: bytes) -> bytes | None:
        """The digest of a key's row, once; None if there is no row. Raises: SpoolFull."""
        with self._spool.writing() as execute:
            found = execute(self._take, self._named(key)[:1]).fetchall()
        return found[0][0] if found else None

    def clear(self) -> None:
        """All rows are gone: the table was truncated, and readers were told."""
        with self._spool.writing() as execute:
            execute(self._clear)

    def some(self, limit: int) -> list[bytes]:
        """So many of the keys that were not taken."""
        with self._spool.writing() as execute:
            return [key for (key,) in execute(self._some, (limit,))]

    def strays(self, limit: int) -> list[tuple[bytes, int]]:
        """So many keys, each with a partition that it is on and does not belong to."""
        with self._spool.writing() as execute:
            return [(key, partition) for key, partition in execute(self._strays, (limit,))]

    def found(self, key: bytes, partition: int) -> None:
        """A stray key was dealt with."""
        with self._spool.writing() as execute:
            execute(self._found, (key, partition))

    def __len__(self) -> int:
        with self._spool.writing() as execute:
            return int(execute(self._count).fetchone()[0])

    def drop(self) -> None:
        """Free its pages, for other topics."""
        with self._spool.writing() as execute:
            for statement in self._drop:
                execute(statement)


def digest_of(value: bytes) -> bytes | None:
    """The row behind an event: 16 bytes that two equal rows share, UNKNOWN, or None if the row is gone."""
    return read(value)[1]


def read(value: bytes) -> tuple[str, bytes | None]:
    """`op` of an event ("" for what is none), and the digest of the row behind it."""
    try:
        document = payload_of(orjson.loads(value))
        op, after = document["op"], document["after"]
        ours = document.get("cdc") or {}
        unknown = ours.get("unchanged")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return "", UNKNOWN
    if after is None:
        return op, None
    return op, UNKNOWN if unknown else blake2b(orjson.dumps(after), digest_size=16).digest()
