"""`make demo` tells the truth: its comparison sees every difference, and the whole of it ends with 0."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from psycopg import Connection
from ruamel.yaml import YAML

from cdc.demo.bridge import cdc_command
from cdc.demo.compare import Difference, Row, Table, compare, differences
from cdc.demo.probe import percentiles
from cdc.demo.stage import with_database
from cdc.demo.view import Frame, picture, progress
from cdc.demo.warehouse import KEYS, Extent, close_the_books, fill
from cdc.demo.writers import ACTIONS, NEVER, Writers
from cdc.testing.servers import KafkaServer, PostgresServer

Pair: TypeAlias = tuple[Connection[Any], Connection[Any]]

EXTENT = Extent.of(2_000)

STATUS: dict[str, dict[str, Any]] = {
    "connectors": {"warehouse": {"state": "snapshotting", "lag_bytes": 2048, "snapshot": {"percent": 40.0}}},
    "sinks": {"billing": {"state": "live", "lag_events": 7, "rate": 12.0}},
}


@pytest.fixture(scope="module")
def filled(postgres: PostgresServer) -> str:
    """A warehouse that the others are copied from; nobody may be connected to it then."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE demo_filled")
    with psycopg.connect(postgres.url("demo_filled"), autocommit=True) as connection:
        fill(connection, EXTENT, seed=3)
    return "demo_filled"


@pytest.fixture(scope="module")
def databases(postgres: PostgresServer, filled: str) -> Iterator[Pair]:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE demo_copied TEMPLATE {filled}")
    with psycopg.connect(postgres.url(filled)) as source, psycopg.connect(postgres.url("demo_copied")) as target:
        yield source, target


@pytest.fixture
def pair(databases: Pair) -> Iterator[Pair]:
    """Two equal warehouses; what a test changes there is rolled back."""
    yield databases
    for connection in databases:
        connection.rollback()


def of(table: str) -> Table:
    return Table(("sales", table), ("sales", table), KEYS[table])


def test_equal_streams_have_no_difference() -> None:
    rows: list[Row] = [("1", "1", "a"), ("2", "2", None)]
    assert list(differences(rows, list(rows), 1)) == []
    assert list(differences([], [], 1)) == []


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ([("1", "a")], [], [Difference("missing", ("1",))]),
        ([], [("1", "a")], [Difference("extra", ("1",))]),
        ([("1", "a")], [("1", "b")], [Difference("differs", ("1",), (1,))]),
        ([("1", None)], [("1", "")], [Difference("differs", ("1",), (1,))]),
        ([("1", "a")], [("1", "a"), ("1", "a")], [Difference("extra", ("1",))]),
        ([("1", "a"), ("3", "c")], [("2", "b"), ("3", "c")],
         [Difference("missing", ("1",)), Difference("extra", ("2",))]),
        ([("1", "a")], [("1", "a"), (None, "a")], [Difference("extra", (None,))]),
        ([("10", "a"), ("9", "a")], [("10", "a"), ("8", "a")],
         [Difference("extra", ("8",)), Difference("missing", ("9",))]),
    ],
)  # fmt: skip
def test_every_kind_of_difference_is_found(source: list[Row], target: list[Row], expected: list[Difference]) -> None:
    assert list(differences(source, target, 1)) == expected


def test_streams_are_merged_without_being_held() -> None:
    taken = 0

    def many() -> Iterator[Row]:
        nonlocal taken
        for i in range(10**9):
            taken += 1
            yield (f"{i:010}",)

    assert next(differences(many(), [], 1)) == Difference("missing", ("0000000000",))
    assert taken <= 2


@pytest.mark.parametrize("table", KEYS)
def test_equal_tables_are_equal(pair: Pair, table: str) -> None:
    comparison = compare(*pair, of(table))
    assert comparison.equal
    assert comparison.rows >= getattr(EXTENT, table)


@pytest.mark.parametrize(
    ("table", "change", "found"),
    [
        ("orders", "UPDATE sales.orders SET note = 'x' WHERE order_id = 7", "differs ('7',): note"),
        ("orders", "UPDATE sales.orders SET delivery = NULL WHERE order_id = 7", "differs ('7',): delivery"),
        ("orders", "UPDATE sales.orders SET note = '' WHERE order_id = 7", "differs ('7',): note"),
        ("orders", "UPDATE sales.orders SET updated_at = updated_at + interval '1 microsecond' WHERE order_id = 7",
         "differs ('7',): updated_at"),
        ("orders", "UPDATE sales.orders SET total = total + 0.01 WHERE order_id = 7", "differs ('7',): total"),
        ("orders", "DELETE FROM sales.orders WHERE order_id = 7", "missing ('7',)"),
        ("orders", "UPDATE sales.orders SET order_id = -1 WHERE order_id = 7", "extra ('-1',)"),
        ("products", "UPDATE sales.products SET description = description || ' ' WHERE product_id = 4",
         "differs ('4',): description"),
        ("products", "UPDATE sales.products SET rating = rating + 1e-12 WHERE product_id = 4",
         "differs ('4',): rating"),
        ("products", "UPDATE sales.products SET weight_kg = weight_kg::numeric(30, 20) WHERE product_id = 4",
         "differs ('4',): weight_kg"),
        ("order_lines", "UPDATE sales.order_lines SET discounts = '{1.00}' WHERE order_id = 7 AND line_no = 1",
         "differs ('7', '1'): discounts"),
        ("payments", "DELETE FROM sales.payments WHERE payment_id = 9", "missing ('9', "),
    ],
)  # fmt: skip
def test_one_changed_row_makes_tables_unequal(pair: Pair, table: str, change: str, found: str) -> None:
    source, target = pair
    assert target.execute(change).rowcount == 1
    comparison = compare(source, target, of(table))
    assert not comparison.equal
    assert any(example.startswith(found) for example in comparison.examples)


def test_a_column_that_the_service_lacks_is_an_error(pair: Pair) -> None:
    source, target = pair
    target.execute("ALTER TABLE sales.orders DROP COLUMN coupons")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        compare(source, target, of("orders"))


def test_the_same_seed_fills_the_same_values(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        for seed, name in ((3, "demo_one"), (3, "demo_again"), (4, "demo_other")):
            admin.execute(f"CREATE DATABASE {name}")
            with psycopg.connect(postgres.url(name), autocommit=True) as connection:
                fill(connection, EXTENT, seed=seed)
    totals = []
    for name in ("demo_one", "demo_again", "demo_other"):
        with psycopg.connect(postgres.url(name)) as connection:
            totals.append(
                connection.execute("SELECT string_agg(total::text, ',' ORDER BY order_id) FROM sales.orders").fetchone()
            )
    assert totals[0] == totals[1] != totals[2]


def test_the_sessions_do_everything_and_never_commit_what_they_roll_back(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE demo_written")
    with psycopg.connect(postgres.url("demo_written"), autocommit=True) as connection:
        fill(connection, EXTENT, seed=3)
        writers = Writers(postgres.url("demo_written"), EXTENT, seed=5, sessions=3, pace=10_000)
        writers.start()
        seen = threading.Event()
        while len(writers.tally.actions) < len(ACTIONS):
            seen.wait(0.01)
        tally = writers.stop()
        assert tally.committed > tally.rolled_back > 0
        assert connection.execute("SELECT count(*) FROM sales.orders WHERE note = %s", [NEVER]).fetchone() == (0,)
        added = connection.execute("SELECT max(order_id) > %s FROM sales.orders", [EXTENT.orders]).fetchone()
        assert added == (True,)


def test_a_session_that_fails_is_not_silent(postgres: PostgresServer) -> None:
    writers = Writers(postgres.url("postgres"), EXTENT, seed=5, sessions=1)
    writers.start()
    with pytest.raises(psycopg.errors.UndefinedTable):
        _wait_for_commits(writers)
    with pytest.raises(psycopg.errors.UndefinedTable):
        writers.stop()


def test_closing_the_books_touches_every_table(pair: Pair) -> None:
    source, _ = pair
    moment, touched = close_the_books(source, sample=30)
    assert touched == dict.fromkeys(KEYS, 30)
    for table in KEYS:
        shown = source.execute(f"SELECT count(*) FROM sales.{table} WHERE updated_at = %s", [moment]).fetchone()
        assert shown == (30,)


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles([0.3]) == {"p50": 0.3, "p95": 0.3, "p99": 0.3, "max": 0.3}
    assert percentiles([i / 100 for i in range(100, 0, -1)]) == {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def test_a_password_goes_into_no_url() -> None:
    assert (
        with_database("postgresql://u:p@h:5/old?sslmode=require", "new") == "postgresql://u:p@h:5/new?sslmode=require"
    )


def test_every_worker_is_shown_before_and_after_there_are_figures() -> None:
    assert progress(Frame()) == "starting"
    assert "warehouse snapshotting 2 KiB" in progress(Frame(status=STATUS))
    assert "billing live 7 events" in progress(Frame(status=STATUS))
    picture(Frame(), 0.0)
    picture(Frame(status=STATUS, latency={"p50": 0.01}, kills=("connector warehouse",)), 1.0)


@contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    """`cdc demo` as somebody without a terminal runs it."""
    command = [*cdc_command(), "demo", "--seconds", "4", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """The lines up to the first with these words."""
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    pytest.fail(f"{words!r} was never said; but:\n{''.join(lines)}")


def folder_of(lines: list[str]) -> Path:
    [line] = [line for line in lines if "settings:" in line]
    return Path(line.split()[-1]).parent


def test_the_demo_ends_well_through_two_kills_and_leaves_nothing() -> None:
    with demo("--rows", "5000") as process:
        lines = read_until(process, "ALL EQUAL")
        assert process.wait() == 0
    for words in ("kill -9", "is back after"):
        assert sum(words in line for line in lines) == 2
    assert sum("rows, equal" in line for line in lines) == len(KEYS)
    assert not folder_of(lines).exists()


def test_a_demo_on_given_servers_tells_a_difference_and_drops_what_it_made(
    postgres: PostgresServer, kafka: KafkaServer
) -> None:
    options = ("--rows", "2000", "--postgres", postgres.url(), "--kafka", kafka.bootstrap_servers)
    with demo(*options) as process:
        lines = read_until(process, "up to date")
        settings = YAML().load(folder_of(lines) / "bridge.yaml")
        with psycopg.connect(settings["databases"]["billing"]["url"]) as billing:
            billing.execute("CREATE TEMP TABLE odd AS SELECT * FROM payments LIMIT 1")
            billing.execute("UPDATE odd SET payment_id = -1")
            billing.execute("INSERT INTO payments SELECT * FROM odd")
        lines += read_until(process, "NOT EQUAL")
        read_until(process, "dropped the databases")
        assert process.wait() == 1
    assert any("billing.payments" in line and "1 too many" in line for line in lines)
    with psycopg.connect(postgres.url()) as connection:
        databases = connection.execute("SELECT FROM pg_database WHERE datname LIKE 'cdc_demo_%'").fetchall()
        slots = connection.execute("SELECT FROM pg_replication_slots WHERE database LIKE 'cdc_demo_%'").fetchall()
    assert not databases
    assert not slots
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    groups = [group.group_id for group in admin.list_consumer_groups().result().valid]
    assert not [name for name in [*admin.list_topics().topics, *groups] if name.startswith("cdc_demo_")]


def test_an_interrupted_demo_leaves_nothing() -> None:
    with demo("--rows", "2000") as process:
        folder = folder_of(read_until(process, "starting the bridge"))
        process.send_signal(signal.SIGINT)
        read_until(process, "everything was stopped and removed")
        assert process.wait() == 130
    assert not folder.exists()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in listed


def _wait_for_commits(writers: Writers) -> None:
    seen = threading.Event()
    while writers.tally.committed == 0:
        seen.wait(0.01)
