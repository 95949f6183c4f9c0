"""What a poll of PostgreSQL goes through: rows that move, tables that are swapped or broken, ends in the middle."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from cdc.publisher import Publisher
from cdc.testing.servers import KafkaServer
from tests.connector_line import Line, ids
from tests.databases import Database

POLL = {"type": "sql_poll", "schedule": "100ms", "idle_interval": "200ms"}

XMIN = [{"public.t": {"mode": "snapshot_xmin"}}]

SLOWLY = {"page": {"rows": 100, "blocks": 1}, "rows_per_second": 1000, "state": "snapshotting"}
"""A first pass over many blocks takes some seconds."""


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


def _filled(database: Database, rows: int = 3000) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int, note text)")
    database.execute(f"INSERT INTO t SELECT g, 0, repeat('x', 200) FROM generate_series(1, {rows}) g")


def _positions(line: Line, id: int) -> list[tuple[str, int]]:
    found = [event for event in line.events("t") if event is not None and event["after"]["id"] == id]
    return [(event["cdc"]["pos"], event["after"]["n"]) for event in found]


def test_a_row_that_is_read_twice_in_a_pass_is_newer_the_second_time(line: Line, database: Database) -> None:
    _filled(database)
    with line.running(XMIN, **POLL, **SLOWLY) as until:
        until(lambda: bool(_positions(line, 1)))
        database.execute("UPDATE t SET n = 42 WHERE id = 1")  # to the last block
        until(lambda: [n for _, n in _positions(line, 1)] == [0, 42])
        until(lambda: line.connector.status()["snapshot"] is None)
    (first, _), (second, _) = _positions(line, 1)
    assert first < second


@pytest.mark.parametrize("rewrite", ["VACUUM FULL t", "CLUSTER t USING t_pkey"])
def test_rows_that_a_rewrite_moves_to_blocks_that_were_read_are_not_missed(
    line: Line, database: Database, rewrite: str
) -> None:
    _filled(database)
    database.execute("DELETE FROM t WHERE id <= 1000")
    with line.running(XMIN, **POLL, **SLOWLY) as until:
        until(lambda: len(line.events("t")) > 100)
        database.execute(rewrite)
        until(lambda: len(line.events("t")) >= 2000)
        until(lambda: line.connector.status()["snapshot"] is None)
    assert sorted(ids(line.events("t"), "r")) == list(range(1001, 3001))


def test_a_table_that_takes_another_ones_place_is_read_whole(line: Line, database: Database) -> None:
    _filled(database, 2)
    database.execute("CREATE TABLE next (LIKE t INCLUDING ALL); INSERT INTO next VALUES (1, 7), (3, 7)")
    with line.running([{"public.t": {"mode": "snapshot_xmin", "deletes": "compare"}}], **POLL) as until:
        until(lambda: len(line.events("t")) == 2)
        database.execute("BEGIN; ALTER TABLE t RENAME TO old; ALTER TABLE next RENAME TO t; COMMIT")
        until(lambda: len(line.events("t")) == 6)  # a delete has a tombstone
    last = {
        (event["after"] or event["before"])["id"]: event["after"] for event in line.events("t") if event is not None
    }
    assert {id: row and row["n"] for id, row in last.items()} == {1: 7, 2: None, 3: 7}


def test_a_table_that_cannot_be_read_stops_no_other_and_shows_no_value(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE a (id int PRIMARY KEY, n numeric(5,2)); INSERT INTO a VALUES (1, 1), (2, 'NaN')")
    database.execute("CREATE TABLE b (id int PRIMARY KEY, n text); INSERT INTO b VALUES (1, 'alice@example.com')")
    database.execute("CREATE VIEW b_numbers AS SELECT id, n::int AS n FROM b")
    _filled(database, 1)
    tables: list[Any] = ["public.a", "public.t", {"public.b_numbers": {"message_key": ["id"]}}]
    with line.running(tables, **POLL, decimal="precise", state="snapshotting") as until:
        until(lambda: ids(line.events("t"), "r") == [1])
        until(lambda: set(line.connector.status()["refused_tables"]) == {"public.a", "public.b_numbers"})
        database.execute("UPDATE a SET n = 2 WHERE id = 2")
        until(lambda: set(line.connector.status()["refused_tables"]) == {"public.b_numbers"})
        refused = line.connector.status()["refused_tables"]["public.b_numbers"]
        database.execute("INSERT INTO t VALUES (2)")
        until(lambda: ids(line.events("t"), "c") == [2])
    assert sorted(ids(line.events("a"), "r")) == [1, 2]
    assert "alice" not in refused
    assert "22P02" in refused


def test_what_comes_to_match_later_and_cannot_be_polled_stops_nothing(
    line: Line, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.sql_poll.connector.FIND_SECONDS", 0.0)
    _filled(database, 1)
    with line.running(["public.*"], **POLL) as until:
        until(lambda: ids(line.events("t"), "r") == [1])
        database.execute("CREATE TABLE keyless (id int); CREATE TABLE later (id int PRIMARY KEY)")
        database.execute("INSERT INTO later VALUES (1)")
        until(lambda: ids(line.events("later"), "r") == [1])
        assert "has no primary key" in line.connector.status()["refused_tables"]["public.keyless"]
        database.execute("DROP TABLE later")
        database.execute("INSERT INTO t VALUES (2)")
        until(lambda: ids(line.events("t"), "c") == [2])


def test_one_that_is_given_up_between_two_polls_ends_at_once(line: Line, database: Database) -> None:
    _filled(database, 1)
    settings = line.settings(["public.t"], type="sql_poll", schedule="1h")
    connector, publisher = line.made(settings), Publisher(settings, "w")
    with connector.lock():
        connector.start(publisher.take_over())
        batches = connector.batches()
        for batch in batches:
            last = any(record[0].endswith(".t") for record in batch.records)
            publisher.publish(batch)
            if last:
                break
        began = time.monotonic()
        batches.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 5
    publisher.close()


def test_a_child_that_inherits_is_not_read_with_its_parent(line: Line, database: Database) -> None:
    _filled(database, 1)
    database.execute("CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (1, 1), (2, 2)")
    with line.running(XMIN, **POLL) as until:
        until(lambda: ids(line.events("t"), "r") == [1])
        database.execute("INSERT INTO t VALUES (3)")
        until(lambda: ids(line.events("t"), "c") == [3])
    assert ids(line.events("t"), "r") == [1]


def test_a_pass_that_windows_cut_short_finds_deletes_all_the_same(
    line: Line, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window begins behind every page."""
    ends: list[datetime] = []
    monkeypatch.setattr(
        "connectors.sql_poll.connector.SqlPollConnector._took",
        lambda *_: ends.append(datetime.now(UTC) + timedelta(milliseconds=300)),
    )
    paused: list[datetime] = []

    def window(_: object, now: datetime) -> datetime | None:
        if not ends or ends[-1] <= now:
            return None
        paused.append(now)
        return ends[-1]

    monkeypatch.setattr("connectors.sql_poll.schedule.Schedule.paused", window)
    _filled(database, 300)
    tables = [{"public.t": {"mode": "full"}}]
    with line.running(tables, **POLL, page={"rows": 100}, state="snapshotting") as until:
        until(lambda: len(ids(line.events("t"), "r")) == 300)
        until(lambda: line.connector.status()["snapshot"] is None)
        database.execute("DELETE FROM t WHERE id = 1")
        until(lambda: None in line.events("t"))
        assert line.connector.status()["tables"]["public.t"]["compared_at"] is not None
    assert len(paused) >= 6


def test_a_pass_that_was_begun_before_a_restart_leaves_deletes_to_the_next_and_says_so(
    line: Line, database: Database
) -> None:
    _filled(database, 300)
    tables = [{"public.t": {"mode": "full"}}]
    with line.running(tables, **POLL) as until:
        until(lambda: len(ids(line.events("t"), "r")) == 300)
    database.execute("DELETE FROM t WHERE id = 300; INSERT INTO t SELECT g, 1, 'y' FROM generate_series(0, -50, -1) g")
    with line.running(tables, **POLL, page={"rows": 20}, rows_per_second=5) as until:
        until(lambda: len(ids(line.events("t"), "c")) >= 20)
    assert None not in line.events("t")
    with structlog.testing.capture_logs() as logs, line.running(tables, **POLL) as until:
        until(lambda: any("begun before a restart" in log["event"] for log in logs))
        until(lambda: None in line.events("t"))


def test_a_pass_that_goes_on_after_the_clock_was_set_back_begins_anew(
    line: Line, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int, at timestamptz NOT NULL DEFAULT now())")
    database.execute("INSERT INTO t SELECT g, 0 FROM generate_series(1, 100) g")
    tables = [{"public.t": {"mode": "updated_at", "column": "at"}}]
    with line.running(tables, **POLL) as until:
        until(lambda: len(ids(line.events("t"), "r")) == 100)
    database.execute("UPDATE t SET n = 1, at = now()")
    with line.running(tables, **POLL, page={"rows": 20}, rows_per_second=5) as until:
        until(lambda: len(ids(line.events("t"), "u")) >= 20)
    assert len(ids(line.events("t"), "u")) < 100
    monkeypatch.setattr("connectors.sql_poll.clock.Look.set_back", lambda self, before: True)
    with line.running(tables, **POLL) as until:
        until(lambda: len(ids(line.events("t"), "u")) == 100)


def test_a_column_that_is_added_is_in_the_events_of_the_very_next_poll(line: Line, database: Database) -> None:
    _filled(database, 2)
    with line.running(["public.t"], type="sql_poll", schedule="1h") as until:
        until(lambda: ids(line.events("t"), "r") == [1, 2])
        database.execute("ALTER TABLE t ADD COLUMN price numeric(9,2) DEFAULT 1.50")
        line.connector.ask("poll", [])
        until(lambda: ids(line.events("t"), "u") == [1, 2])
    assert [event["after"]["price"] for event in line.events("t")[2:] if event is not None] == ["1.50", "1.50"]
