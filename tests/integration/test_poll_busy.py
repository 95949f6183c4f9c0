"""Polls are put off while a standby lags, and done when it has caught up: on real pairs of servers."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import psycopg
import pytest
import structlog
from psycopg.conninfo import make_conninfo
from psycopg.pq import ExecStatus

from cdc.testing.databases import fresh_database
from cdc.testing.servers import KafkaServer, PostgresServer
from cdc.testing.standby import PostgresStandby
from cdc.testing.system import wait_for
from connectors.sql_poll.check import check
from connectors.sql_poll.settings import SqlPollSettings
from tests.connector_line import Line, ids, still
from tests.databases import Database

POLL = {"type": "sql_poll", "schedule": "100ms", "idle_interval": "200ms"}

Pair = tuple[PostgresServer, PostgresStandby]


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with PostgresServer() as primary, PostgresStandby(primary) as standby:
        yield primary, standby


@pytest.fixture
def primary_database(pair: Pair, prefix: str) -> Iterator[Database]:
    with fresh_database(pair[0], prefix) as fresh:
        yield fresh


@contextmanager
def standing_still(standby: PostgresStandby) -> Iterator[None]:
    """The standby goes on receiving, and replays nothing."""
    with psycopg.connect(standby.url(), autocommit=True) as session:
        session.execute("SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
        assert wait_for(lambda: session.execute(state).fetchone() == (True,), 30)
        try:
            yield
        finally:
            session.execute("SELECT pg_wal_replay_resume()")


def put_off(line: Line) -> str:
    return str(line.connector.status()["put_off"] or "")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.sql_poll.connector.BUSY_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_poll_is_put_off_while_a_standby_lags_and_done_when_it_has_caught_up(
    prefix: str, kafka: KafkaServer, pair: Pair, primary_database: Database
) -> None:
    line, database = Line(prefix, kafka, primary_database), primary_database
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    pair[1].catch_up()
    busy: dict[str, Any] = {"busy": {"replication_lag": "2s"}}
    with structlog.testing.capture_logs() as logs, line.running(["public.t"], **POLL, **busy) as until:
        until(lambda: ids(line.events("t"), "r") == [1])
        assert put_off(line) == ""
        with standing_still(pair[1]):
            database.execute("CREATE TABLE written_to_lag ()")
            until(lambda: re.fullmatch(r"a standby is \d+ s behind, more than 2 s", put_off(line)) is not None)
            first = put_off(line)
            database.execute("INSERT INTO t VALUES (2)")
            assert still(lambda: ids(line.events("t"), "c")) == []
            until(lambda: put_off(line) != first)  # it falls further behind
            settings = line.settings(["public.t"], type="sql_poll", **busy)
            findings = list(check(settings, "w", cast(SqlPollSettings, settings.connectors["w"])))
            assert any("polls are put off now: a standby is" in finding.message for finding in findings)

            line.connector.ask("poll", [])
            until(lambda: ids(line.events("t"), "c") == [2])
            database.execute("INSERT INTO t VALUES (3)")
            assert still(lambda: ids(line.events("t"), "c")) == [2]
        until(lambda: ids(line.events("t"), "c") == [2, 3])
        until(lambda: put_off(line) == "")
    assert [log["why"] for log in logs if log["event"] == "poll put off"]


@pytest.mark.usefixtures("impatient")
def test_a_pass_over_many_pages_is_left_where_it_is_while_a_standby_lags(
    prefix: str, kafka: KafkaServer, pair: Pair, primary_database: Database
) -> None:
    line, database = Line(prefix, kafka, primary_database), primary_database
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 4000)")
    pair[1].catch_up()
    slowly: dict[str, Any] = {"page": {"rows": 50}, "rows_per_second": 500, "busy": {"replication_lag": "500ms"}}
    with line.running(["public.t"], **POLL, **slowly, state="snapshotting") as until:
        until(lambda: len(line.events("t")) >= 50)
        with standing_still(pair[1]):
            database.execute("CREATE TABLE written_to_lag ()")
            until(lambda: "behind" in put_off(line))
            time.sleep(0.5)  # the page that was read goes on to the topic
            assert still(lambda: len(line.events("t"))) < 4000
        until(lambda: len(line.events("t")) == 4000)
        until(lambda: put_off(line) == "")
    assert sorted(ids(line.events("t"), "r")) == list(range(1, 4001))


@pytest.mark.usefixtures("impatient")
def test_a_source_that_is_a_standby_itself_is_left_alone_while_it_lags(
    prefix: str, kafka: KafkaServer, pair: Pair, primary_database: Database
) -> None:
    line, database = Line(prefix, kafka, primary_database), primary_database
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
    pair[1].catch_up()
    line.url = pair[1].url(database.name)
    with line.running(["public.t"], **POLL, busy={"replication_lag": "1s"}) as until:
        until(lambda: ids(line.events("t"), "r") == [1])
        until(lambda: put_off(line) == "")
        with standing_still(pair[1]):
            database.execute("UPDATE t SET n = 2")
            until(lambda: re.fullmatch(r"a standby is \d+ s behind, more than 1 s", put_off(line)) is not None)
            still(lambda: bool(put_off(line)))
        until(lambda: ids(line.events("t"), "u") == [1])
        until(lambda: put_off(line) == "")


class Subscriber:
    """A logical subscriber that has applied nothing yet, and says so whenever it is asked to."""

    def __init__(self, database: Database) -> None:
        database.execute("CREATE PUBLICATION late FOR ALL TABLES")
        database.rows("SELECT pg_create_logical_replication_slot('late', 'pgoutput')")
        self._connection = psycopg.pq.PGconn.connect(make_conninfo(database.url(), replication="database").encode())
        started = b"START_REPLICATION SLOT late LOGICAL 0/0 (proto_version '1', publication_names 'late')"
        assert self._connection.exec_(started).status == ExecStatus.COPY_BOTH

    def report(self) -> None:
        self._connection.put_copy_data(struct.pack("!cqqqqb", b"r", 1, 1, 1, 0, 0))
        self._connection.flush()

    def close(self) -> None:
        self._connection.finish()


@pytest.mark.usefixtures("impatient")
def test_a_logical_subscriber_that_is_late_is_no_standby(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0)")
    lag = "SELECT count(*) FROM pg_stat_replication WHERE replay_lag > '1s' AND replay_lsn <> sent_lsn"
    with closing(Subscriber(database)) as subscriber:

        def lags() -> bool:
            database.execute("UPDATE t SET id = id - 1")
            subscriber.report()
            return database.rows(lag) == [(1,)]

        assert wait_for(lags, 60, pause=0.2)
        with line.running(["public.t"], **POLL, busy={"replication_lag": "500ms"}) as until:
            until(lambda: len(line.events("t")) == 1)
            assert put_off(line) == ""
        assert database.rows(lag) == [(1,)]
