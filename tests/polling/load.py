"""A seeded load that pollers fear: what commits late, what is rolled back, equal times, holes. Touches Postgres.

Each transaction writes the same keys to all tables, the locks in the same order, and chooses rows that nobody has
locked: no session ever waits for another. What is rolled back carries the text `NEVER`. Meanwhile the server's clock is
set ahead and back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from math import inf
from random import Random
from typing import Any, Final, Self

import psycopg
from psycopg.rows import dict_row

from cdc.testing.clock import Clock
from tests.polling.record import Life, Record, Written
from tests.polling.tables import ITEMS, LOG, SCHEMA

NEVER: Final = "never committed"

WRITERS: Final = 8

SIZES: Final = (1, 1, 1, 2, 3, 5, 10, 40)
"""Rows of one statement."""

CROWD: Final = 70
"""Subtransactions: more than the 64 that PostgreSQL keeps at hand for a session."""

CLOCK: Final = (0.5, -1.0, -0.15, -0.4)
"""How the clock is set, one after the other, in terms of `late`: ahead once, and back."""

Row = Mapping[str, Any]
Connection = psycopg.Connection[Any]


@dataclass(slots=True)
class _Transaction:
    """One that is open, or prepared.

    Args:
        connection: in autocommit mode; the transaction is begun and ended by statements.
        commits: how it will end.
        written: by it.
        due: when it ends, monotonic seconds.
        prepared: its name once it is prepared.
    """

    connection: Connection
    commits: bool
    written: Written = field(default_factory=Written)
    due: float = 0.0
    prepared: str = ""


class Load:
    """Eight sessions that write, beside each of them one that keeps a transaction open.

    Args:
        url: of a database without the tables; `prepare` makes them.
        seed: of every choice; the interleaving of sessions is the server's.
        changes: it ends when so many changes are committed in each table.
        seconds: over which they are spread, at least; 0: as fast as it goes.
        late: the longest that a transaction is open, seconds.
        clock: the server's.
    """

    def __init__(
        self, url: str, seed: int, *, changes: int, seconds: float, late: float, clock: Clock | None = None
    ) -> None:
        self._url, self._changes, self._seconds, self._late = url, changes, seconds, late
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._began = 0.0
        self._failures: list[BaseException] = []
        self.record = Record()
        self.serial = count(1)
        self.top = 1
        self._threads = [
            threading.Thread(target=self._run, args=(number, Random(f"{seed}/{number}")), daemon=True)
            for number in range(WRITERS)
        ]
        if clock is not None:
            self._threads.append(threading.Thread(target=self._set, args=(clock,), daemon=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def prepare(self, rows: int = 1_000) -> None:
        """Make the tables, with some rows in them."""
        with self._connect() as connection:
            connection.execute(SCHEMA)
            self._in_one(connection, lambda hand: hand.add(rows))

    def start(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Wait until all is committed. Raises what a session failed with."""
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def mark(self) -> tuple[int, int]:
        """Add a last row to every table; returns its id in those of items, and in the log."""
        with self._connect() as connection:
            written = self._in_one(connection, lambda hand: hand.add(1))
        [(_, key)] = written.effects
        return key, written.logged[0]

    def final_rows(self, table: str) -> dict[int, Row]:
        """All rows of a table by id, straight from the database. Raises AssertionError: our own record has others."""
        with self._connect() as connection:
            found = connection.cursor(row_factory=dict_row).execute(f"SELECT * FROM {table}").fetchall()
        rows: dict[int, Row] = {row["id"]: row for row in found}
        assert rows.keys() == (self.record.logged if table == LOG else self.record.present()), f"{table}: a bad record"
        return rows

    def lives(self, table: str) -> dict[int, Life]:
        """Ids whose insert was committed, and from when to when each was certainly there."""
        return dict.fromkeys(self.record.logged, (0.0, inf)) if table == LOG else self.record.lives()

    def inserted_ids(self, table: str) -> set[int]:
        """Ids whose insert was committed."""
        return set(self.lives(table))

    def deleted_ids(self, table: str) -> set[int]:
        """Ids whose delete was committed, and that did not come back."""
        return set() if table == LOG else self.record.deleted()

    def _connect(self) -> Connection:
        return psycopg.connect(self._url, autocommit=True)

    def _in_one(self, connection: Connection, write: Callable[[Hand], None]) -> Written:
        transaction = self._begin(connection, commits=True)
        write(Hand(self, transaction, Random(0), []))
        self._end(transaction, [])
        return transaction.written

    def _run(self, number: int, rng: Random) -> None:
        gone: list[int] = []
        late: _Transaction | None = None
        try:
            with self._connect() as connection, self._connect() as beside:
                while not self._stop.is_set() and self.record.changes < self._changes:
                    if late is None and self._late:
                        late = self._open_late(beside, rng, gone, f"late-{number}-{next(self.serial)}")
                    elif late is not None and time.monotonic() >= late.due:
                        self._end_late(late, rng, gone)
                        late = None
                    if self._ahead_of_plan():
                        self._stop.wait(0.02)
                    else:
                        self._short(connection, rng, gone)
                if late is not None:
                    self._end_late(late, rng, gone)
        except BaseException as error:
            self._failures.append(error)
            self._stop.set()

    def _set(self, clock: Clock) -> None:
        """Set the clock now and then, in equal parts of the load."""
        offset = 0
        for number, move in enumerate(CLOCK, start=1):
            while self.record.changes < self._changes * number / (len(CLOCK) + 1):
                if self._stop.wait(0.02):
                    return
            # By more than what clocks may differ by in any case.
            offset += round(move * self._late) + (2 if move > 0 else -2)
            clock.move(offset)
            with self._lock:
                self.record.tally["times the clock was set " + ("ahead" if move > 0 else "back")] += 1

    def _ahead_of_plan(self) -> bool:
        planned = self._changes * (time.monotonic() - self._began) / self._seconds if self._seconds else self._changes
        return self.record.changes > planned

    def _short(self, connection: Connection, rng: Random, gone: list[int]) -> None:
        transaction = self._begin(connection, commits=rng.random() < 0.9)
        hand = Hand(self, transaction, rng, gone)
        if rng.random() < 0.01:
            hand.crowd()
        for _ in range(rng.choice((1, 1, 2, 4))):
            hand.act()
        self._end(transaction, gone)

    def _open_late(self, connection: Connection, rng: Random, gone: list[int], name: str) -> _Transaction:
        """Write early; some go on as prepared transactions, which no session shows."""
        transaction = self._begin(connection, commits=rng.random() < 0.8)
        transaction.due = time.monotonic() + self._late * rng.uniform(0.1, 1.0)
        hand = Hand(self, transaction, rng, gone)
        for _ in range(rng.randint(1, 3)):
            hand.act()
        if rng.random() < 0.1:
            connection.execute(f"PREPARE TRANSACTION '{name}'")
            transaction.prepared = name
        return transaction

    def _end_late(self, transaction: _Transaction, rng: Random, gone: list[int]) -> None:
        if not transaction.prepared and rng.random() < 0.5:
            Hand(self, transaction, rng, gone).act()
        with self._lock:
            self.record.tally["prepared" if transaction.prepared else "late"] += 1
        self._end(transaction, gone)

    def _begin(self, connection: Connection, *, commits: bool) -> _Transaction:
        connection.execute("BEGIN")
        return _Transaction(connection, commits)

    def _end(self, transaction: _Transaction, gone: list[int]) -> None:
        """Commit or roll back; keys that are gone now may be used again by this session."""
        end = "COMMIT" if transaction.commits else "ROLLBACK"
        asked = time.time()
        transaction.connection.execute(f"{end} PREPARED '{transaction.prepared}'" if transaction.prepared else end)
        answered = time.time()
        born: set[int] = set()
        with self._lock:
            self.record.tally["committed" if transaction.commits else "rolled back"] += 1
            if transaction.commits:
                born, died = self.record.committed(transaction.written, asked, answered)
                gone += sorted(died)
        gone += [key for key in transaction.written.revived if key not in born]


class Hand:
    """Writes in one transaction.

    Args:
        load: that it belongs to.
        transaction: begun.
        rng: of every choice.
        gone: keys that this session has deleted, and may bring back.
    """

    def __init__(self, load: Load, transaction: _Transaction, rng: Random, gone: list[int]) -> None:
        self._load, self._rng, self._gone = load, rng, gone
        self._execute = transaction.connection.execute
        self._written = transaction.written
        self._never = not transaction.commits

    def act(self, depth: int = 0) -> None:
        """One of all that may be done."""
        size = self._rng.choice(SIZES)
        match self._rng.choices(range(8), (5, 8, 2, 1, 3, 1, 1, 3 if depth < 2 else 0))[0]:
            case 0:
                self.add(size)
            case 1:
                self._change(self._some(size))
            case 2:
                keys = self._some(size)
                for _ in range(3):
                    self._change(keys)
            case 3:
                self._touch(self._some(size))
            case 4:
                self._remove(self._some(min(size, 20)))
            case 5:
                keys = self._some(min(size, 5))
                self._remove(keys)
                self._insert(keys)
            case 6:
                self._revive(size)
            case _:
                self._nest(depth)

    def add(self, size: int) -> None:
        """Rows under new keys."""
        found = self._execute("SELECT nextval('ids') FROM generate_series(1, %s)", [size]).fetchall()
        keys = [key for (key,) in found]
        self._load.top = max(self._load.top, keys[-1])
        self._insert(keys)

    def crowd(self) -> None:
        """One row in each of many subtransactions."""
        for number, key in enumerate(self._some(CROWD)):
            with self._savepoint(keep=number % 5 != 0):
                self._change([key])

    def _nest(self, depth: int) -> None:
        with self._savepoint(keep=self._rng.random() < 0.6):
            for _ in range(self._rng.randint(1, 2)):
                self.act(depth + 1)

    @contextmanager
    def _savepoint(self, *, keep: bool) -> Any:
        """What is written within; released or rolled back in the end."""
        held, never = self._written.savepoint(), self._never
        self._never = never or not keep
        self._execute("SAVEPOINT s")
        yield
        self._execute("RELEASE s" if keep else "ROLLBACK TO s")
        self._never = never
        if not keep:
            self._execute("RELEASE s")
            self._written.back_to(held)

    def _some(self, size: int) -> list[int]:
        """Keys that nobody has locked; they are locked now. A few keys are asked for more often than others."""
        start = self._rng.randint(1, 50 if self._rng.random() < 0.2 else self._load.top)
        query = f"SELECT id FROM {ITEMS[0]} WHERE id >= %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"
        return [key for (key,) in self._execute(query, [start, size]).fetchall()]

    def _insert(self, keys: Sequence[int]) -> None:
        numbers = self._log(len(keys))
        statement = "INSERT INTO {} (id, n, note) SELECT *, %s FROM unnest(%s::bigint[], %s::bigint[])"
        self._everywhere(statement, [self._note(), keys, numbers], len(keys))
        self._written.effects += [("insert", key) for key in keys]

    def _change(self, keys: Sequence[int]) -> None:
        numbers = self._log(len(keys))
        statement = (
            "UPDATE {} i SET n = t.n, note = %s FROM unnest(%s::bigint[], %s::bigint[]) t(id, n) WHERE i.id = t.id"
        )
        self._everywhere(statement, [self._note(), keys, numbers], len(keys))
        self._written.effects += [("update", key) for key in keys]

    def _touch(self, keys: Sequence[int]) -> None:
        """New versions of rows that are as they were."""
        self._log(len(keys))
        self._everywhere("UPDATE {} SET n = n WHERE id = ANY (%s)", [keys], len(keys))
        self._written.effects += [("update", key) for key in keys]

    def _remove(self, keys: Sequence[int]) -> None:
        self._log(len(keys))
        self._everywhere("DELETE FROM {} WHERE id = ANY (%s)", [keys], len(keys))
        self._written.effects += [("delete", key) for key in keys]

    def _revive(self, size: int) -> None:
        """Rows under keys that were deleted once."""
        keys = [self._gone.pop(self._rng.randrange(len(self._gone))) for _ in range(min(size, len(self._gone)))]
        self._written.revived += keys
        self._insert(keys)

    def _log(self, size: int) -> list[int]:
        """Add rows to the log; returns numbers that were never used before."""
        numbers = [next(self._load.serial) for _ in range(size)]
        query = f"INSERT INTO {LOG} (n) SELECT unnest(%s::bigint[]) RETURNING id"
        self._written.logged += [key for (key,) in self._execute(query, [numbers]).fetchall()]
        return numbers

    def _everywhere(self, statement: str, values: Sequence[Any], rows: int) -> None:
        for table in ITEMS:
            done = self._execute(statement.format(table), values).rowcount
            assert done == rows, f"{table}: {done} rows instead of {rows}"

    def _note(self) -> str:
        return NEVER if self._never else f"note {self._rng.randint(0, 9)}"
