"""A server that works for long is waited for; one that is gone without a word is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from cdc.connections import WatchedConnection
from cdc.testing.proxy import Proxy
from cdc.testing.servers import PostgresServer
from cdc.testing.system import HOST, wait_for
from tests.databases import Database


class Hasty(WatchedConnection):
    silent_seconds = 0.5


@contextmanager
def connection(port: int, database: Database) -> Iterator[Hasty]:
    url = f"postgresql://postgres@{HOST}:{port}/{database.name}"
    with Hasty.connect(url, autocommit=True, application_name="cdc test") as made:
        yield made


def test_a_statement_that_takes_long_is_waited_for(postgres: PostgresServer, database: Database) -> None:
    with connection(postgres.port, database) as made:
        assert made.execute("SELECT pg_sleep(2), 1").fetchone() == ("", 1)


def test_a_lock_that_another_holds_is_waited_for(postgres: PostgresServer, database: Database) -> None:
    database.execute("CREATE TABLE held (id int)")
    with connection(postgres.port, database) as made, database.connect() as holder:
        with holder.transaction():
            holder.execute("LOCK TABLE held")
            copied = threading.Thread(target=made.execute, args=("INSERT INTO held VALUES (1)",))
            copied.start()
            copied.join(2)
            assert copied.is_alive()
        copied.join(10)
    assert database.rows("SELECT id FROM held") == [(1,)]


def test_a_server_that_is_gone_without_a_word_ends_the_wait_and_keeps_no_lock(
    postgres: PostgresServer, database: Database
) -> None:
    database.execute("CREATE TABLE held (id int)")
    with Proxy(postgres.port) as proxy, connection(proxy.port, database) as made:
        made.execute("BEGIN")
        made.execute("LOCK TABLE held")
        proxy.lose()
        proxy.resume()
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            made.execute("INSERT INTO held VALUES (1)")
        assert time.monotonic() - began < 10
        assert made.broken
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'cdc test'"
        assert wait_for(lambda: database.rows(query) == [], 10)
    assert database.rows("SELECT id FROM held") == []


def test_a_server_that_does_not_answer_at_all_ends_the_wait(postgres: PostgresServer, database: Database) -> None:
    with Proxy(postgres.port) as proxy, connection(proxy.port, database) as made:
        proxy.stall()
        with pytest.raises(psycopg.OperationalError):
            made.execute("SELECT 1")


def test_a_large_copy_and_its_rows_pass_unharmed(postgres: PostgresServer, database: Database) -> None:
    database.execute("CREATE TABLE rows (id int, text text)")
    with connection(postgres.port, database) as made, made.cursor() as cursor:
        with cursor.copy("COPY rows FROM STDIN") as copy:
            for number in range(200_000):
                copy.write(f"{number}\tsome text that is long enough\n")
        assert len(cursor.execute("SELECT * FROM rows").fetchall()) == 200_000
