"""Sessions that keep writing to the warehouse, as its applications do. Touches the warehouse's database only.

Each session is a thread with a connection and a random generator of its own. Their transactions mix
inserts, updates, deletes, keys that change, rows that move to another partition, several tables,
savepoints, and some that are rolled back at the end.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psycopg
from psycopg import Connection, Cursor, errors

from cdc.demo.warehouse import Extent

NEVER = "never committed"
"""The note of orders that are always rolled back: no service may ever show one."""


class _ChangedMind(Exception):
    """The application rolls its transaction back."""


@dataclass(slots=True)
class Shift:
    """One session's cursor, dice, and an idea of which keys exist."""

    cursor: Cursor[Any]
    random: Random
    extent: Extent
    rows: int = 0

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement, count the rows it changed, and return those it gives back."""
        self.cursor.execute(statement, values)
        if not statement.startswith("SELECT"):
            self.rows += self.cursor.rowcount
        return self.cursor.fetchall() if self.cursor.description else []

    def an_order(self) -> int | None:
        """Lock some existing order that nobody else holds."""
        found = self.run(
            "SELECT order_id FROM sales.orders WHERE order_id >= %s ORDER BY order_id LIMIT 1 FOR UPDATE SKIP LOCKED",
            self.random.randint(1, self.extent.orders),
        )
        return found[0][0] if found else None

    def a_product(self) -> int:
        return self.random.randint(1, self.extent.products)


def place_order(shift: Shift) -> None:
    """An order with its lines, sometimes paid at once: three tables in one transaction."""
    lines = sorted({shift.a_product() for _ in range(shift.random.randint(1, 5))})
    order = _insert_order(shift, note=None)
    for line_no, product in enumerate(lines, start=1):
        shift.run(
            "INSERT INTO sales.order_lines VALUES (%s, %s, %s, %s, %s, %s::numeric(5,2)[], clock_timestamp())",
            order, line_no, product, shift.random.randint(1, 9), shift.random.randint(1, 4_000_000) / 10_000,
            shift.random.choice(["{}", "{5.00}", "{2.50,7.25}"]),
        )  # fmt: skip
    shift.run(
        "UPDATE sales.products SET stock = stock - 1, updated_at = clock_timestamp() WHERE product_id = ANY(%s)", lines
    )
    if shift.random.random() < 0.3:
        _pay(shift, order)


def pay_order(shift: Shift) -> None:
    if order := shift.an_order():
        _pay(shift, order)


def change_lines(shift: Shift) -> None:
    """New quantities, and the order's total with them."""
    if order := shift.an_order():
        shift.run(
            "UPDATE sales.order_lines SET quantity = quantity + 1, discounts = discounts || 1.25,"
            " updated_at = clock_timestamp() WHERE order_id = %s AND cardinality(discounts) < 5",
            order,
        )
        shift.run(
            "UPDATE sales.orders SET total = total * 1.07, note = %s, updated_at = clock_timestamp()"
            " WHERE order_id = %s",
            shift.random.choice([None, "änderung: \t'größer'", 'says "soon"\n', "\\N is not null", ""]), order,
        )  # fmt: skip


def cancel_order(shift: Shift) -> None:
    """The order goes, and its lines and payments with it."""
    if order := shift.an_order():
        shift.run("DELETE FROM sales.orders WHERE order_id = %s", order)


def renumber_order(shift: Shift) -> None:
    """The key changes, and so do those of its lines."""
    if order := shift.an_order():
        shift.run(
            "UPDATE sales.orders SET order_id = nextval(pg_get_serial_sequence('sales.orders', 'order_id')),"
            " updated_at = clock_timestamp() WHERE order_id = %s",
            order,
        )


def correct_payment(shift: Shift) -> None:
    """The day changes: often another partition, always another key."""
    shift.run(
        "UPDATE sales.payments SET paid_on = paid_on - %s, updated_at = clock_timestamp() WHERE payment_id = %s",
        shift.random.choice([1, 30, 60]), shift.random.randint(1, shift.extent.payments),
    )  # fmt: skip


def reprice(shift: Shift) -> None:
    """Many products at once; their long descriptions stay as they are."""
    first = shift.a_product()
    shift.run(
        "UPDATE sales.products SET price = round(price * 1.03, 2), updated_at = clock_timestamp()"
        " WHERE product_id BETWEEN %s AND %s",
        first, first + shift.random.randint(1, 40),
    )  # fmt: skip


def describe_product(shift: Shift) -> None:
    """Tags, attributes, and now and then a new description."""
    shift.run(
        "UPDATE sales.products SET tags = tags || %s::text,"
        " attributes = attributes || jsonb_build_object('seen', %s::int),"
        " description = CASE WHEN %s THEN repeat(md5(product_id::text || %s), 80) ELSE description END,"
        " updated_at = clock_timestamp() WHERE product_id = %s AND cardinality(tags) < 12",
        shift.random.choice(["promo", None, "a,b", '"']), shift.random.randint(0, 999), shift.random.random() < 0.3,
        str(shift.random.random()), shift.a_product(),
    )  # fmt: skip


def stock_product(shift: Shift) -> None:
    """A product comes in; another that nobody ordered goes."""
    shift.run(
        "INSERT INTO sales.products (sku, name, description, price, stock, tags, attributes, updated_at)"
        " VALUES (%s, 'novelty', 'Not seen before.', %s, 10, '{new}', '{}', clock_timestamp())",
        f"NEW-{shift.random.randint(0, 10**9)}", shift.random.randint(100, 50_000) / 100,
    )  # fmt: skip
    shift.run(
        "DELETE FROM sales.products WHERE product_id = (SELECT product_id FROM sales.products AS p"
        " WHERE product_id > %s AND NOT EXISTS (SELECT FROM sales.order_lines WHERE product_id = p.product_id)"
        " ORDER BY product_id LIMIT 1 FOR UPDATE SKIP LOCKED)",
        shift.extent.products,
    )


def change_mind(shift: Shift) -> None:
    """Everything an order needs, rolled back at the last moment."""
    _insert_order(shift, note=NEVER)
    shift.run("UPDATE sales.products SET stock = -1 WHERE product_id = %s", shift.a_product())
    raise _ChangedMind


def change_part_of_mind(shift: Shift) -> None:
    """A savepoint is rolled back, the rest of the transaction commits."""
    before = shift.rows
    shift.run("SAVEPOINT maybe")
    _insert_order(shift, note=NEVER)
    shift.run("ROLLBACK TO SAVEPOINT maybe")
    shift.rows = before
    _insert_order(shift, note="second thoughts")


ACTIONS: dict[Callable[[Shift], None], int] = {
    place_order: 34,
    pay_order: 18,
    change_lines: 14,
    describe_product: 8,
    change_mind: 6,
    correct_payment: 5,
    cancel_order: 4,
    stock_product: 4,
    reprice: 3,
    renumber_order: 2,
    change_part_of_mind: 2,
}
"""What a session does, and how often in a hundred."""


def _insert_order(shift: Shift, note: str | None) -> int:
    delivery = shift.random.choice([None, '{"carrier": "van", "floors": [1, 2.50, null]}', "{}"])
    rows = shift.run(
        "INSERT INTO sales.orders (customer_id, status, placed_at, total, currency, coupons, delivery, reference, note,"
        " updated_at) VALUES"
        " (%s, 'placed', clock_timestamp(), %s, %s, %s, %s, gen_random_uuid(), %s, clock_timestamp())"
        " RETURNING order_id",
        shift.random.randint(1, shift.extent.customers), shift.random.randint(0, 10**7) / 100,
        shift.random.choice(["EUR", "USD"]), shift.random.choice([None, [], ["SPRING"], ["a b", "{,}", ""]]),
        delivery, note,
    )  # fmt: skip
    order: int = rows[0][0]
    return order


def _pay(shift: Shift, order: int) -> None:
    shift.run(
        "INSERT INTO sales.payments (paid_on, order_id, amount, method, paid_at, details, updated_at)"
        " SELECT current_date, order_id, total, %s, clock_timestamp(), jsonb_build_object('fee', 0.30),"
        " clock_timestamp() FROM sales.orders WHERE order_id = %s",
        shift.random.choice(["card", "transfer"]), order,
    )  # fmt: skip
    shift.run("UPDATE sales.orders SET status = 'paid', updated_at = clock_timestamp() WHERE order_id = %s", order)


@dataclass(slots=True)
class Tally:
    """What the sessions have done so far."""

    committed: int = 0
    rolled_back: int = 0
    rows: int = 0
    actions: Counter[str] = field(default_factory=Counter)


class Writers:
    """The sessions, all together: `start`, then `stop`.

    Args:
        url: of the warehouse.
        extent: how many rows there were at first.
        seed: session n rolls its dice with seed + n.
        sessions: how many there are.
        pace: transactions per second and session; a session that is late does not catch up.
    """

    def __init__(self, url: str, extent: Extent, seed: int, *, sessions: int = 4, pace: float = 60.0) -> None:
        self._url, self._extent, self._pace = url, extent, pace
        self._over = threading.Event()
        self._tallies = [Tally() for _ in range(sessions)]
        self._turns = [threading.Lock() for _ in range(sessions)]
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(n, Random(seed + n)), name=f"session {n}", daemon=True)
            for n in range(sessions)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> Tally:
        """End all sessions after the transaction they are in.

        Raises:
            Exception: what ended a session early.
        """
        self._over.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        return self.tally

    @contextmanager
    def held(self) -> Iterator[None]:
        """While inside, no session is in a transaction."""
        with ExitStack() as turns:
            for turn in self._turns:
                turns.enter_context(turn)
            yield

    @property
    def tally(self) -> Tally:
        """The sums over all sessions, at any time.

        Raises:
            Exception: what ended a session early.
        """
        if self._failure is not None:
            raise self._failure
        total = Tally()
        for each in self._tallies:
            total.committed += each.committed
            total.rolled_back += each.rolled_back
            total.rows += each.rows
            total.actions.update(each.actions)
        return total

    def _guarded(self, session: int, random: Random) -> None:
        try:
            with psycopg.connect(self._url) as connection:
                self._work(connection, session, random)
        except Exception as error:
            self._failure = error

    def _work(self, connection: Connection[Any], session: int, random: Random) -> None:
        shift = Shift(connection.cursor(), random, self._extent)
        due = time.monotonic()
        while not self._over.is_set():
            with self._turns[session]:
                self._transact(connection, shift, self._tallies[session])
            due = max(due + 1 / self._pace, time.monotonic())
            self._over.wait(due - time.monotonic())

    def _transact(self, connection: Connection[Any], shift: Shift, tally: Tally) -> None:
        [action] = shift.random.choices(list(ACTIONS), list(ACTIONS.values()))
        shift.rows = 0
        try:
            action(shift)
            connection.commit()
            tally.committed += 1
            tally.rows += shift.rows
        except (_ChangedMind, errors.DeadlockDetected, errors.IntegrityError):
            connection.rollback()
            tally.rolled_back += 1
        tally.actions[action.__name__] += 1
