"""A seeded load: concurrent sessions that do to the tables whatever may be done to them. Touches Postgres.

Sessions insert, update, delete, change keys, copy, truncate, change a table's columns, roll
back to savepoints and altogether, write several tables in one transaction, keep some
transactions open while others commit, and prepare some to commit or roll them back later.
What is rolled back carries the text `NEVER`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Any, Final

import psycopg
from psycopg import sql

from cdc.prove.warehouse import REGIONS, body

NEVER: Final = "never committed"

REFUSALS = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UniqueViolation,
)
"""What any program that writes beside others must be ready for."""

Cursor = psycopg.Cursor[Any]


class Load:
    """Sessions that write until they are stopped, whatever becomes of their server meanwhile.

    Args:
        url: asked at each connection for the URL of the database, its tables made and filled.
        seed: of every choice; the interleaving of the sessions is the server's.
        sessions: how many.
        pause: mean seconds between a session's transactions.
        linger: the longest a transaction is kept open, seconds.
    """

    def __init__(
        self, url: Callable[[], str], seed: int, *, sessions: int = 5, pause: float = 0.04, linger: float = 4.0
    ) -> None:
        self._url = url
        self._stop = threading.Event()
        self._may_write = threading.Event()
        self._may_write.set()
        self._still = [threading.Event() for _ in range(sessions)]
        self._failures: list[BaseException] = []
        self._prepares = False
        self._alters = False
        self._serial = count(1)
        self.tally: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._session, args=(Random(f"{seed}/{number}"), still, pause, linger), daemon=True)
            for number, still in enumerate(self._still)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every session end its transaction. Raises what a session failed with."""
        self.abandon()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self._failures:
            raise self._failures[0]
        with psycopg.connect(self._url(), autocommit=True) as connection:
            self._settle(connection, Random(0))

    def alter(self) -> None:
        """From now on tables are altered and truncated too; before, a snapshot could begin anew for ever."""
        self._alters = True

    def abandon(self) -> None:
        """Let every session end, and do not wait for it."""
        self._stop.set()
        self._may_write.set()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No session is in a transaction in here."""
        self._may_write.clear()
        for still, thread in zip(self._still, self._threads, strict=True):
            while thread.is_alive() and not still.wait(0.05):
                pass
        try:
            yield
        finally:
            self._may_write.set()

    def _session(self, rng: Random, still: threading.Event, pause: float, linger: float) -> None:
        try:
            while not self._stop.is_set():
                try:
                    with psycopg.connect(
                        self._url(), cursor_factory=psycopg.ClientCursor, connect_timeout=5, autocommit=False
                    ) as connection:
                        connection.execute("SET lock_timeout = '2s'")
                        allowed = connection.execute("SHOW max_prepared_transactions").fetchone()
                        self._prepares = allowed != ("0",)
                        connection.commit()
                        self._write(connection, rng, still, pause, linger)
                except psycopg.OperationalError:
                    # The server went, and the connection with it: what it had committed then, the witness knows.
                    self.tally["disconnected"] += 1
                    if not self._may_write.is_set():
                        still.set()
                    self._stop.wait(0.1)
        except BaseException as error:
            self._failures.append(error)

    def _write(
        self, connection: psycopg.Connection[Any], rng: Random, still: threading.Event, pause: float, linger: float
    ) -> None:
        while not self._stop.wait(rng.expovariate(1 / pause)):
            still.clear()
            if not self._may_write.is_set():
                still.set()
                self._may_write.wait()
                continue
            try:
                self._transaction(connection, rng, linger)
            except REFUSALS:
                connection.rollback()
                self.tally["refused"] += 1

    def _transaction(self, connection: psycopg.Connection[Any], rng: Random, linger: float) -> None:
        actions = rng.choices([*ACTIONS, *ALTERATIONS] if self._alters else ACTIONS, k=rng.choice((1, 1, 1, 2, 4)))
        with connection.cursor() as cursor:
            for action in actions:
                action(cursor, rng)
            if rng.random() < 0.1:
                _never(cursor, rng)
                connection.rollback()
                self.tally["rolled back"] += 1
                return
            if rng.random() < 0.02:
                self._stop.wait(rng.uniform(linger / 4, linger))
                self.tally["kept open"] += 1
            if self._prepares and rng.random() < 0.03:
                cursor.execute(f"PREPARE TRANSACTION 'load-{next(self._serial)}-{rng.getrandbits(48)}'")
                self.tally["prepared"] += 1
                return
            connection.commit()
        self.tally["committed"] += 1
        self.tally.update(action.__name__ for action in actions)
        if self._prepares and rng.random() < 0.05:
            self._settle(connection, rng)

    def _settle(self, connection: psycopg.Connection[Any], rng: Random) -> None:
        """Commit what was prepared, or roll it back: mine, another session's, that of one which was cut off."""
        connection.autocommit = True
        for (name,) in connection.execute(
            "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE 'load-%' ORDER BY gid"
        ).fetchall():
            end = "COMMIT" if rng.random() < 0.7 else "ROLLBACK"
            try:
                connection.execute(sql.SQL("{} PREPARED {}").format(sql.SQL(end), sql.Literal(name)))
                self.tally[f"{end.lower()} prepared"] += 1
            except (psycopg.errors.UndefinedObject, psycopg.errors.ObjectNotInPrerequisiteState):
                pass  # another session was quicker
        connection.autocommit = False


def add(cursor: Cursor, rng: Random) -> None:
    for _ in range(rng.randint(1, 5)):
        cursor.execute(
            "INSERT INTO items VALUES (nextval('ids'), %s, %s, %s, %s, %s)",
            [f"new {rng.random()}", rng.randint(0, 10**8) / 100, rng.random() < 0.5, _words(rng), "2024-02-29"],
        )


def change(cursor: Cursor, rng: Random) -> None:
    cursor.execute(
        f"UPDATE items SET price = price + 1, note = %s, version = DEFAULT WHERE {_some('items', rng, 'id')}",
        [_words(rng)],
    )


def pay(cursor: Cursor, rng: Random) -> None:
    """Two rows of full identity, a line in the table without key."""
    cursor.execute(
        "UPDATE accounts SET balance = balance - %s, tags = tags || %s::text, version = DEFAULT "
        f"WHERE {_some('accounts', rng, 'id', 2)}",
        [rng.randint(1, 99), rng.choice("xyz")],
    )
    cursor.execute("INSERT INTO audit VALUES ('pay', %s, clock_timestamp())", [_words(rng)])


def rewrite(cursor: Cursor, rng: Random) -> None:
    """Rows with values out of line: mostly left as they are, sometimes replaced, sometimes NULL."""
    for table in ("docs", "sheets"):
        some = _some(table, rng, "id", 2)
        if rng.random() < 0.7:
            cursor.execute(f"UPDATE {table} SET title = %s, version = DEFAULT WHERE {some}", [_words(rng)])
        else:
            new = None if rng.random() < 0.2 else body(rng)
            cursor.execute(f"UPDATE {table} SET body = %s, version = DEFAULT WHERE {some}", [new])


def delete(cursor: Cursor, rng: Random) -> None:
    table, *key = rng.choice(
        (("items", "id"), ("sales.lines", "line_no, order_id"), ("docs", "id"), ("accounts", "id"))
    )
    cursor.execute(f"DELETE FROM {table} WHERE {_some(table, rng, key[0])}")


def bring_back(cursor: Cursor, rng: Random) -> None:
    """Rows under low keys, which were there before or are there now."""
    at = rng.randint(1, 60)
    cursor.execute(
        "INSERT INTO items (id, name) SELECT i, 'again' FROM generate_series(%s, %s) i ON CONFLICT DO NOTHING",
        [at, at + 3],
    )
    cursor.execute("INSERT INTO docs VALUES (%s, 'again', %s) ON CONFLICT DO NOTHING", [at % 20 + 1, body(rng)])


def move(cursor: Cursor, rng: Random) -> None:
    """Key changes, of one key column or the other, of rows with values out of line, and across partitions."""
    for table, change in rng.sample(
        [
            ("items", "id = nextval('ids')"),
            ("accounts", "id = nextval('ids')"),
            ("docs", "id = nextval('ids')"),
            ("sheets", "id = nextval('ids')"),
            ("sales.lines", "line_no = line_no + 10"),
            ("sales.lines", "order_id = nextval('ids'), quantity = quantity + 1"),
            ("sales.visits", f"region = '{rng.choice(REGIONS)}'"),
        ],
        2,
    ):
        key = {"sales.lines": "line_no, order_id", "sales.visits": "region, id"}.get(table, "id")
        cursor.execute(f"UPDATE {table} SET {change}, version = DEFAULT WHERE {_some(table, rng, key)}")


def take_place(cursor: Cursor, rng: Random) -> None:
    """One row goes, another takes its key, in one transaction."""
    cursor.execute(f"DELETE FROM items WHERE {_some('items', rng, 'id')} RETURNING id")
    for (gone,) in cursor.fetchall():
        some = _some("items", rng, "id")
        cursor.execute(f"UPDATE items SET id = %s, version = DEFAULT WHERE {some} AND id <> %s", [gone, gone])


def to_and_fro(cursor: Cursor, rng: Random) -> None:
    """The same key inserted, changed and deleted again and again in one transaction."""
    cursor.execute("SELECT nextval('ids')")
    (key,) = cursor.fetchone() or (0,)
    for _ in range(rng.randint(1, 3)):
        cursor.execute("INSERT INTO items (id, name) VALUES (%s, 'short')", [key])
        cursor.execute("UPDATE items SET name = 'lived', version = DEFAULT WHERE id = %s", [key])
        cursor.execute("DELETE FROM items WHERE id = %s", [key])


def order(cursor: Cursor, rng: Random) -> None:
    """Several tables in one transaction."""
    cursor.execute("SELECT nextval('ids')")
    (number,) = cursor.fetchone() or (0,)
    lines = rng.randint(1, 6)
    cursor.execute(
        "INSERT INTO sales.lines SELECT %s, 1, i, jsonb_build_object('o', %s::text) FROM generate_series(1, %s) i",
        [number, _words(rng), lines],
    )
    cursor.execute(
        "INSERT INTO sales.visits VALUES (%s, %s, %s)", [number, rng.choice((*REGIONS, "africa")), _words(rng)]
    )
    cursor.execute("INSERT INTO accounts VALUES (%s, %s, %s, '{}', now())", [number, _words(rng), lines])
    cursor.execute("INSERT INTO audit VALUES ('order', %s, now())", [_words(rng)])


def copy(cursor: Cursor, rng: Random) -> None:
    """Rows that share one LSN."""
    count = rng.randint(5, 80)
    cursor.execute("SELECT nextval('ids'), setval('ids', currval('ids') + %s)", [count])
    (first, _) = cursor.fetchone() or (0, 0)
    with cursor.copy("COPY items (id, name, price) FROM STDIN") as rows:
        for number in range(count):
            rows.write_row((first + number, f"copied {rng.random()}", number))
    if rng.random() < 0.5:
        with cursor.copy("COPY audit (who, what) FROM STDIN") as rows:
            for _ in range(count):
                rows.write_row(("copy", _words(rng)))


def tidy(cursor: Cursor, rng: Random) -> None:
    """Updates and deletes in the table without key."""
    chosen = f"SELECT ctid FROM audit ORDER BY version OFFSET {rng.randint(0, 50)} LIMIT 2 FOR UPDATE SKIP LOCKED"
    some = f"ctid = ANY (ARRAY({chosen}))"
    if rng.random() < 0.5:
        cursor.execute(f"DELETE FROM audit WHERE {some}")
    else:
        cursor.execute(f"UPDATE audit SET what = %s, version = DEFAULT WHERE {some}", [_words(rng)])


def savepoints(cursor: Cursor, rng: Random) -> None:
    add(cursor, rng)
    cursor.execute("SAVEPOINT one")
    _never(cursor, rng)
    cursor.execute("SAVEPOINT two")
    _never(cursor, rng)
    cursor.execute("RELEASE two")
    cursor.execute("ROLLBACK TO one")
    cursor.execute("SAVEPOINT three")
    change(cursor, rng)
    cursor.execute("RELEASE three")
    pay(cursor, rng)


def transfer(cursor: Cursor, rng: Random) -> None:
    """Money moves between two accounts; the sum of all stays what it is."""
    cursor.execute(
        "SELECT id FROM vault WHERE id >= %s ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED", [rng.randint(1, 49)]
    )
    amount = rng.choice((-1, 1)) * rng.randint(1, 500)
    accounts = [account for (account,) in cursor.fetchall()]
    if len(accounts) == 2:
        for account, change in zip(accounts, (amount, -amount), strict=True):
            cursor.execute(
                "UPDATE vault SET balance = balance + %s, moves = moves + 1, version = DEFAULT WHERE id = %s",
                [change, account],
            )


def draft(cursor: Cursor, rng: Random) -> None:
    """A table that is emptied now and then, meanwhile."""
    cursor.execute("INSERT INTO scratch SELECT nextval('ids'), %s FROM generate_series(1, 3)", [_words(rng)])
    cursor.execute(
        f"UPDATE scratch SET what = %s, version = DEFAULT WHERE {_some('scratch', rng, 'id')}", [_words(rng)]
    )


def grow(cursor: Cursor, rng: Random) -> None:
    """A table whose columns come and go, meanwhile."""
    cursor.execute(f"UPDATE shapes SET size = size + 1, version = DEFAULT WHERE {_some('shapes', rng, 'id', 3)}")
    cursor.execute("INSERT INTO shapes (id, size) VALUES (nextval('ids'), %s)", [rng.randint(1, 10**6)])


def empty(cursor: Cursor, rng: Random) -> None:
    if rng.random() < 0.1:
        cursor.execute("TRUNCATE scratch")
    draft(cursor, rng)


def reshape(cursor: Cursor, rng: Random) -> None:
    """Columns come, go and become wider."""
    grow(cursor, rng)
    if rng.random() > 0.1:
        return
    cursor.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = 'shapes'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    columns = dict(cursor.fetchall())
    extra = sorted(name for name in columns if name.startswith("extra"))
    if columns["size"] == "integer" and rng.random() < 0.2:
        cursor.execute("ALTER TABLE shapes ALTER size TYPE bigint")
    elif len(extra) > 2:
        cursor.execute(sql.SQL("ALTER TABLE shapes DROP COLUMN {}").format(sql.Identifier(rng.choice(extra))))
    else:
        # Without default: rows that are there get no event, and no value.
        new = f"extra_{rng.getrandbits(32):08x}"
        cursor.execute(sql.SQL("ALTER TABLE shapes ADD COLUMN {} text").format(sql.Identifier(new)))
        cursor.execute(
            sql.SQL("UPDATE shapes SET {} = %s, version = DEFAULT WHERE {}").format(
                sql.Identifier(new), sql.SQL(_some("shapes", rng, "id", 3))
            ),
            [_words(rng)],
        )


ACTIONS: list[Callable[[Cursor, Random], None]] = [
    add, change, pay, rewrite, delete, bring_back, move, take_place, to_and_fro, order, copy, tidy, savepoints,
    transfer, transfer, draft, grow,
]  # fmt: skip

ALTERATIONS = [empty, reshape]


def _never(cursor: Cursor, rng: Random) -> None:
    cursor.execute("INSERT INTO items (id, name) VALUES (nextval('ids'), %s)", [NEVER])
    cursor.execute(f"UPDATE items SET name = %s WHERE {_some('items', rng, 'id')}", [NEVER])
    cursor.execute("INSERT INTO audit (who, what) VALUES ('never', %s)", [NEVER])
    cursor.execute(f"UPDATE docs SET title = %s WHERE {_some('docs', rng, 'id')}", [NEVER])


def _some(table: str, rng: Random, key: str, count: int = 1) -> str:
    """A condition for a few rows that nobody else has locked: often the same low keys, for long histories."""
    if key == "id":
        floor = f"id >= {rng.randint(1, 60) if rng.random() < 0.4 else rng.randint(1, 3000)}"
    else:
        column = {"sales.lines": "order_id", "sales.visits": "id"}[table]
        floor = f"{column} >= {rng.randint(1, 30) if rng.random() < 0.4 else rng.randint(1, 3000)}"
    return f"({key}) IN (SELECT {key} FROM {table} WHERE {floor} ORDER BY {key} LIMIT {count} FOR UPDATE SKIP LOCKED)"


def _words(rng: Random) -> str:
    return " ".join(
        rng.choice(("plain", "it's", '"quoted"', "back\\slash", "tab\there", "žluťoučký", "🙂", "null"))
        for _ in range(3)
    )
