"""How a poll spares its source: bounded in time and rows, unable to write, at rest in windows."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from cdc.errors import Refused
from cdc.prove.observed import messages
from cdc.testing.servers import KafkaServer
from tests.connector_line import Line, ids, still
from tests.databases import Database

POLL = {"type": "sql_poll", "schedule": "100ms", "idle_interval": "200ms"}


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


DAWDLES = """
CREATE TABLE a (id int PRIMARY KEY, slow boolean NOT NULL DEFAULT false);
CREATE FUNCTION dawdle(slow boolean) RETURNS boolean LANGUAGE plpgsql STABLE AS
    $$BEGIN IF slow THEN PERFORM pg_sleep(600); END IF; RETURN slow; END$$;
CREATE VIEW dawdling AS SELECT id, dawdle(slow) AS slow FROM a;
CREATE TABLE t (id int PRIMARY KEY);
"""

CANCELLED = "public.dawdling: canceling statement due to statement timeout (SQLSTATE 57014)"


def test_a_statement_that_takes_too_long_is_ended_by_the_server_and_made_up_for(line: Line, database: Database) -> None:
    database.execute(DAWDLES)
    database.execute("INSERT INTO a SELECT g, g = 5 FROM generate_series(1, 8) g; INSERT INTO t VALUES (1)")
    tables = [{"public.dawdling": {"message_key": ["id"]}}, "public.t"]
    section: dict[str, Any] = {"statement_timeout": "700ms", "page": {"rows": 2}, "state": "snapshotting"}
    with structlog.testing.capture_logs() as logs, line.running(tables, **POLL, **section) as until:
        until(lambda: line.connector.status()["refused_tables"] == {"public.dawdling": CANCELLED})
        assert ids(line.events("dawdling"), "r") == [1, 2, 3, 4]  # the pages before
        sleeping = "SELECT max(now() - query_start) < '5s' FROM pg_stat_activity WHERE query LIKE 'COPY%dawd%'"
        time.sleep(2)
        assert database.rows(sleeping) == [(True,)]
        database.execute("INSERT INTO t VALUES (2)")
        until(lambda: ids(line.events("t"), "c") == [2])  # others go on
        database.execute("INSERT INTO a VALUES (9); UPDATE a SET slow = false")
        until(lambda: not line.connector.status()["refused_tables"])
        until(lambda: len(line.events("dawdling")) >= 9)
        database.execute("INSERT INTO a VALUES (10)")
        until(lambda: ids(line.events("dawdling"), "c") == [10])
    assert ids(line.events("dawdling"), "r") == list(range(1, 10))
    [said] = [log for log in logs if log["event"] == "a table is not polled"]
    assert (said["table"], said["error"]) == ("public.dawdling", CANCELLED)
    assert "raise that, read less at once (page.rows, page.blocks)" in said["hint"]
    assert "statement_timeout" in said["hint"]


def test_a_lock_that_is_held_ends_a_statement_and_stops_no_other_table(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    with (
        database.connect(autocommit=False) as owner,
        line.running(["public.a", "public.t"], **POLL, statement_timeout="500ms") as until,
    ):
        until(lambda: ids(line.events("a"), "r") + ids(line.events("t"), "r") == [1, 1])
        owner.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE; INSERT INTO a VALUES (2)")
        until(lambda: "statement timeout" in line.connector.status()["refused_tables"].get("public.a", ""))
        database.execute("INSERT INTO t VALUES (2)")
        until(lambda: ids(line.events("t"), "c") == [2])
        owner.commit()
        until(lambda: ids(line.events("a"), "c") == [2])
        until(lambda: not line.connector.status()["refused_tables"])


WHAT_THE_SERVER_SEES = """
SELECT g AS id, now()::text AS began, current_setting('transaction_isolation') AS isolation,
    current_setting('transaction_read_only') AS read_only
FROM generate_series(1, 25) g
"""


@pytest.mark.parametrize(
    ("section", "isolation"),
    [
        ({}, "repeatable read"),
        ({"isolation": "repeatable_read"}, "repeatable read"),
        ({"isolation": "read_committed"}, "read committed"),
    ],
)
def test_each_page_is_read_in_a_transaction_of_its_own_of_the_isolation_that_is_set(
    line: Line, section: dict[str, Any], isolation: str
) -> None:
    query = {"query": WHAT_THE_SERVER_SEES, "message_key": ["id"]}
    poll = {**POLL, "schedule": "1h"}
    with line.running([{"public.q": query}], **poll, **section, page={"rows": 10}) as until:
        until(lambda: len(line.events("q")) == 25)
    rows = [event["after"] for event in line.events("q") if event is not None]
    assert {(row["isolation"], row["read_only"]) for row in rows} == {(isolation, "on")}
    pages: dict[str, list[int]] = {}
    for row in rows:
        pages.setdefault(row["began"], []).append(row["id"])
    assert list(pages.values()) == [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))]


def test_what_is_polled_cannot_write(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE written (id int)")
    database.execute(
        "CREATE FUNCTION note(id int) RETURNS int LANGUAGE sql AS 'INSERT INTO written VALUES (id) RETURNING id'"
    )
    query = {"query": "SELECT note(id) AS id FROM t", "message_key": ["id"]}
    with line.running([{"public.q": query}], **POLL, state="snapshotting") as until:
        until(lambda: "25006" in line.connector.status()["refused_tables"].get("public.q", ""))
    assert database.rows("SELECT count(*) FROM written") == [(0,)]


def arrivals(line: Line, *tables: str) -> list[float]:
    """When the rows came on their topics, seconds."""
    topics = [f"{line.name}.public.{table}" for table in tables]
    found = messages(line.kafka.bootstrap_servers, topics)
    return sorted(message.timestamp()[1] / 1000 for message in found if message.value() is not None)


def most_in(moments: list[float], seconds: float) -> int:
    """The most that came within so long."""
    best = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] > seconds:
            first += 1
        best = max(best, last - first + 1)
    return best


def test_a_backlog_is_read_at_the_rate_that_is_set(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n text)")
    database.execute("INSERT INTO t SELECT g, repeat('x', 50) FROM generate_series(1, 6000) g")
    limit, page = 1000, 100
    section: dict[str, Any] = {"rows_per_second": limit, "page": {"rows": page}, "state": "snapshotting"}
    with line.running(["public.t"], **POLL, **section) as until:
        until(lambda: len(line.events("t")) == 6000)
    moments = arrivals(line, "t")
    # From the first page on until the last one came.
    rate = (6000 - page) / (moments[-page] - moments[0])
    assert 0.6 * limit <= rate <= 1.05 * limit, rate
    # Of no three seconds more either, but for a page at their begin and one that waited for Kafka.
    assert most_in(moments, 3.0) <= 3 * limit * 1.05 + 2 * page


def test_many_small_tables_and_polls_after_polls_keep_to_the_rate_together(line: Line, database: Database) -> None:
    tables = [f"t{number}" for number in range(8)]
    for table in tables:
        database.execute(
            f"CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} SELECT generate_series(1, 200)"
        )
    poll: dict[str, Any] = {**POLL, "schedule": "1ms", "rows_per_second": 400, "state": "snapshotting"}
    with line.running([f"public.{table}" for table in tables], **poll) as until:
        until(lambda: sum(len(line.events(table)) for table in tables) == 1600)
        moments = arrivals(line, *tables)
        rate = (1600 - 200) / (moments[-200] - moments[0])
        assert 0.6 * 400 <= rate <= 1.05 * 400, rate
        # Read again and again, nothing has changed: no faster than that either.
        before = database.rows("SELECT sum(seq_tup_read + idx_tup_fetch)::int FROM pg_stat_user_tables")[0][0]
        time.sleep(5)
        after = database.rows("SELECT sum(seq_tup_read + idx_tup_fetch)::int FROM pg_stat_user_tables")[0][0]
        assert after - before <= 5 * 400 * 1.5 + 400


def window_around_now() -> str:
    now = datetime.now(UTC)
    return f"{now - timedelta(minutes=1):%H:%M}-{now + timedelta(minutes=10):%H:%M}"


def test_in_a_window_nothing_is_polled_but_on_demand_and_what_is_named_alone(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY)")
    database.execute("INSERT INTO a VALUES (1); INSERT INTO t VALUES (1)")
    section: dict[str, Any] = {"not_between": [window_around_now()], "state": "snapshotting"}
    with line.running(["public.a", "public.t"], **POLL, **section) as until:
        until(lambda: line.connector.status()["next_poll"] is not None)
        until_window = datetime.fromisoformat(line.connector.status()["next_poll"]) - datetime.now(UTC)
        assert timedelta(minutes=8) < until_window < timedelta(minutes=11)
        assert still(lambda: line.events("a") + line.events("t")) == []
        assert line.connector.ask("poll", ["public.t"]) == "polling public.t now"
        until(lambda: ids(line.events("t"), "r") == [1])
        assert still(lambda: line.events("a")) == []
        with pytest.raises(Refused, match=r"polls no table public\.b"):
            line.connector.ask("poll", ["public.b"])
        assert line.connector.ask("poll", []) == "polling public.a, public.t now"
        until(lambda: ids(line.events("a"), "r") == [1])
        database.execute("INSERT INTO t VALUES (2)")
        assert still(lambda: ids(line.events("t"), "c")) == []


def test_a_window_that_begins_lets_no_page_begin_until_it_ends(
    line: Line, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    window: list[datetime] = []
    monkeypatch.setattr(
        "connectors.sql_poll.schedule.Schedule.paused",
        lambda self, now: max([one for one in window if one > now], default=None),
    )
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 2000)")
    slowly: dict[str, Any] = {"page": {"rows": 20}, "rows_per_second": 500, "state": "snapshotting"}
    with line.running(["public.t"], **{**POLL, "schedule": "1h"}, **slowly) as until:
        until(lambda: len(line.events("t")) >= 40)
        end = datetime.now(UTC) + timedelta(seconds=5)
        window.append(end)
        time.sleep(0.7)
        before = still(lambda: len(line.events("t")))
        assert before < 2000
        assert datetime.fromisoformat(line.connector.status()["next_poll"]) == end.replace(microsecond=0)
        until(lambda: len(line.events("t")) > before)
        assert datetime.now(UTC) >= end
        until(lambda: len(line.events("t")) == 2000)  # though the schedule says in an hour
    assert sorted(ids(line.events("t"), "r")) == list(range(1, 2001))


def test_runs_that_were_missed_are_made_up_for_by_one(line: Line, database: Database) -> None:
    """A lock holds one poll up, for six of them; each poll's time is what it selects."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    query = {"query": "SELECT id, extract(epoch FROM clock_timestamp())::float8 AS at FROM t", "message_key": ["id"]}
    with (
        database.connect(autocommit=False) as owner,
        line.running([{"public.q": query}], **{**POLL, "schedule": "500ms"}) as until,
    ):
        until(lambda: len(line.events("q")) >= 3)
        owner.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        time.sleep(3)
        owner.commit()
        released = time.time()
        until(lambda: len([event for event in line.events("q") if event and event["after"]["at"] > released]) >= 4)
    polled = [event["after"]["at"] for event in line.events("q") if event is not None]
    late = [at for at in polled if at >= released - 0.2]
    # The one that waited, one for all that were missed, and then by the schedule again: two in each second.
    assert len([at for at in late if at < late[0] + 1.4]) <= 4
    assert late[3] - late[1] > 0.8
