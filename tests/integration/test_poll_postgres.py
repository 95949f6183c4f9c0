"""A `sql_poll` connector on real PostgreSQL and Kafka: what each mode publishes, once, whatever commits when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, cast

import psycopg
import pytest

from cdc.errors import ConfigError, SourceError
from cdc.prove.observed import messages
from cdc.schemas import TableSchema
from cdc.testing.servers import KafkaServer
from connectors.sql_poll.check import check
from connectors.sql_poll.settings import SqlPollSettings
from tests.connector_line import Line, ids
from tests.databases import Database

Until = Callable[[Callable[[], bool]], None]

TABLE = """
CREATE TABLE t (
    id int PRIMARY KEY, n int, at timestamptz NOT NULL DEFAULT now(), _tx xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.at := now(); NEW._tx := pg_current_xact_id(); RETURN NEW; END$$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE t_deleted (id int NOT NULL, _tx xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO t_deleted (id) VALUES (OLD.id); RETURN NULL; END$$;
CREATE TRIGGER note AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
"""

MODES: dict[str, dict[str, Any]] = {
    "snapshot_xmin": {"mode": "snapshot_xmin", "deletes": "compare", "compare_every": "300ms"},
    "tx_column": {"mode": "tx_column", "column": "_tx", "deletes": "log", "delete_log": "public.t_deleted"},
    "updated_at": {"mode": "updated_at", "column": "at", "deletes": "compare", "compare_every": "300ms"},
    "full": {"mode": "full"},
}

every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


@pytest.fixture
def polling(line: Line) -> Callable[..., AbstractContextManager[Until]]:
    def start(table: dict[str, Any], name: str = "public.t", **section: Any) -> AbstractContextManager[Until]:
        return line.running([{name: table}], type="sql_poll", schedule="100ms", idle_interval="200ms", **section)

    return start


@pytest.fixture
def filled(database: Database) -> Iterator[psycopg.Connection[Any]]:
    database.execute(TABLE)
    with database.connect() as connection:
        connection.execute("INSERT INTO t SELECT g, g FROM generate_series(1, 5) g")
        yield connection


def ops(line: Line) -> list[tuple[str, int]]:
    """Operation and key of all events but tombstones, in order."""
    found = [event for event in line.events("t") if event is not None]
    return [(event["op"], (event["after"] or event["before"])["id"]) for event in found]


@every_mode
def test_rows_then_changes_then_deletes_and_nothing_twice(
    line: Line, polling: Any, filled: psycopg.Connection[Any], mode: str
) -> None:
    with polling(MODES[mode]) as until:
        until(lambda: len(ops(line)) == 5)
        filled.execute("INSERT INTO t VALUES (6, 6)")
        until(lambda: len(ops(line)) == 6)
        filled.execute("UPDATE t SET n = 10 WHERE id <= 2")
        until(lambda: len(ops(line)) == 8)
        filled.execute("DELETE FROM t WHERE id = 3")
        until(lambda: len(ops(line)) == 9)
    assert ops(line) == [*(("r", id) for id in range(1, 6)), ("c", 6), ("u", 1), ("u", 2), ("d", 3)]
    assert line.events("t")[-1] is None


@every_mode
def test_stopped_and_started_it_publishes_what_came_meanwhile_and_nothing_again(
    line: Line, polling: Any, filled: psycopg.Connection[Any], mode: str
) -> None:
    with polling(MODES[mode]) as until:
        until(lambda: len(ops(line)) == 5)
    filled.execute("UPDATE t SET n = 11 WHERE id = 1; INSERT INTO t VALUES (7, 7)")
    with polling(MODES[mode]) as until:
        until(lambda: len(ops(line)) == 7)
        filled.execute("UPDATE t SET n = 12 WHERE id = 1")
        until(lambda: len(ops(line)) == 8)
    assert sorted(ops(line)[5:7]) == [("c", 7), ("u", 1)]
    assert ops(line)[7:] == [("u", 1)]


def test_a_table_may_be_given_another_mode(line: Line, polling: Any, filled: psycopg.Connection[Any]) -> None:
    """What the last mode knew says nothing to the next: all rows are compared with what readers have."""
    expected = 5
    with polling({"mode": "full"}) as until:
        until(lambda: len(ops(line)) == expected)
    for mode in (*MODES, "updated_at", "snapshot_xmin"):
        filled.execute("UPDATE t SET n = n + 1 WHERE id = 1")
        expected += 1
        with polling(MODES[mode]) as until:
            until(lambda expected=expected: len(ops(line)) == expected)  # type: ignore[misc]
    assert {id for _, id in ops(line)[5:]} == {1}


@every_mode
def test_what_is_committed_late_is_not_lost(
    line: Line, database: Database, polling: Any, filled: psycopg.Connection[Any], mode: str
) -> None:
    """Written before others, committed after many polls; in a subtransaction, in one that was rolled back, prepared."""
    with polling(MODES[mode]) as until, database.connect() as late, database.connect() as prepared:
        until(lambda: len(ops(line)) == 5)
        prepared.execute("BEGIN; INSERT INTO t VALUES (101, 1); PREPARE TRANSACTION 'late'")
        late.execute("BEGIN; INSERT INTO t VALUES (100, 1); SAVEPOINT a; UPDATE t SET n = 99 WHERE id = 4")
        late.execute("SAVEPOINT b; INSERT INTO t VALUES (102, 1); ROLLBACK TO b; RELEASE a")
        for id in (10, 11, 12):
            filled.execute("INSERT INTO t VALUES (%s, 1)", [id])
            until(lambda id=id: ("c", id) in ops(line))  # type: ignore[misc]
        late.execute("COMMIT")
        until(lambda: {("c", 100), ("u", 4)} <= set(ops(line)))
        prepared.execute("COMMIT PREPARED 'late'")
        until(lambda: ("c", 101) in ops(line))
    assert sorted(ops(line)[5:]) == [("c", 10), ("c", 11), ("c", 12), ("c", 100), ("c", 101), ("u", 4)]


def test_an_incrementing_id_is_passed_when_no_hole_below_can_be_filled(
    line: Line, database: Database, polling: Any
) -> None:
    database.execute("CREATE TABLE t (id bigserial PRIMARY KEY, n int)")
    options = {"mode": "incrementing", "column": "id"}
    with polling(options) as until, database.connect() as late, database.connect() as writer:
        late.execute("BEGIN; INSERT INTO t (n) VALUES (1)")
        writer.execute("BEGIN; INSERT INTO t (n) VALUES (2); ROLLBACK")
        for id in (3, 4, 5):
            writer.execute("INSERT INTO t (n) VALUES (3)")
            until(lambda id=id: ("r", id) in ops(line) or ("c", id) in ops(line))  # type: ignore[misc]
        late.execute("COMMIT")
        until(lambda: any(id == 1 for _, id in ops(line)))
        until(lambda: line.connector.status()["tables"]["public.t"]["rows_read"] == 0)
    assert sorted(id for _, id in ops(line)) == [1, 3, 4, 5]
    with polling(options) as until:
        database.execute("INSERT INTO t (n) VALUES (6)")
        until(lambda: ("c", 6) in ops(line))
    assert sorted(id for _, id in ops(line)) == [1, 3, 4, 5, 6]


def test_a_deleted_row_that_comes_back_is_a_new_one(line: Line, polling: Any, filled: psycopg.Connection[Any]) -> None:
    with polling(MODES["tx_column"]) as until:
        until(lambda: len(ops(line)) == 5)
        filled.execute("DELETE FROM t WHERE id = 1")
        until(lambda: ("d", 1) in ops(line))
        filled.execute("INSERT INTO t VALUES (1, 1)")
        until(lambda: ("c", 1) in ops(line))
        filled.execute("BEGIN; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (2, 22); COMMIT")
        until(lambda: ("u", 2) in ops(line))
    assert ops(line)[5:] == [("d", 1), ("c", 1), ("u", 2)]


def test_a_first_pass_is_read_in_pages_and_goes_on_where_it_was(line: Line, database: Database, polling: Any) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n text)")
    database.execute("INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g")
    page = {"rows": 100, "blocks": 2}
    with polling({"mode": "full"}, page=page, rows_per_second=300, state="snapshotting") as until:
        until(lambda: len(ops(line)) >= 100)
    first = len(ops(line))
    assert first < 5000
    with polling({"mode": "full"}, page=page) as until:
        until(lambda: len(ops(line)) >= 5000)
        until(lambda: line.connector.status()["snapshot"] is None)
    assert sorted(ops(line)) == [("r", id) for id in range(1, 5001)]


def test_a_query_is_polled_like_a_table(line: Line, polling: Any, filled: psycopg.Connection[Any]) -> None:
    filled.execute("CREATE TABLE names (id int PRIMARY KEY, name text); INSERT INTO names VALUES (1, 'one: a 100% b')")
    query = "SELECT t.id, names.name FROM t JOIN names USING (id) WHERE name LIKE 'o%'"
    with polling({"query": query, "message_key": ["id"]}, "public.named") as until:
        until(lambda: len(line.events("named")) == 1)
        filled.execute("INSERT INTO names VALUES (2, 'other')")
        until(lambda: len(line.events("named")) == 2)
    rows = [event["after"] for event in line.events("named") if event is not None]
    assert rows == [{"id": 1, "name": "one: a 100% b"}, {"id": 2, "name": "other"}]


ALL_TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE t (id int PRIMARY KEY, a smallint, b bigint, c real, d double precision, e numeric(12,2), f numeric,
    g text, h varchar(9), i char(4), j boolean, k bytea, l date, m time, n time(2), o timestamp, p timestamp(3),
    q timestamptz, r interval, s uuid, t jsonb, u mood, v int[], w text[], x inet, y bit(5), z int4range,
    twice int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO t VALUES (1, -3, 2^62, 1.5, 'NaN', 12.50, 1e-20, E'a\\tb\\\\c\\n"ü"', 'v', 'c', true, '\\x00ff',
    '2024-02-29',
    '12:34:56.789', '12:34:56.78', 'infinity', '2024-01-01 00:00:00.5', '2024-06-01 12:00+02', '1 day 3 hours',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, null]}', 'glad', '{1,NULL,3}', '{"a b",NULL}', '10.0.0.1',
    B'10101', '[1,5)');
INSERT INTO t (id) VALUES (2);
"""


def test_events_and_descriptions_are_those_of_the_write_ahead_log(
    line: Line, kafka: KafkaServer, database: Database, prefix: str
) -> None:
    database.execute(ALL_TYPES)
    with line.running([{"public.t": {"mode": "snapshot_xmin"}}], type="sql_poll", schedule="100ms") as until:
        until(lambda: len(line.events("t")) == 2)
    other = Line(f"{prefix}-wal", kafka, database)
    with other.running(["public.t"]) as until:
        until(lambda: len(other.events("t")) == 2)

    def seen(one: Line) -> list[Any]:
        return sorted((event["after"] for event in one.events("t") if event), key=lambda row: row["id"])

    def described(one: Line) -> list[Any]:
        found = messages(kafka.bootstrap_servers, [f"{one.name}.cdc.schemas"])
        schemas = [TableSchema.from_bytes(message.value() or b"") for message in found]
        return [(c.name, c.type, c.target_type, c.form, c.semantic, c.nullable) for c in schemas[-1].columns]

    assert seen(line) == seen(other)
    assert described(line) == described(other)


def test_a_table_without_key_is_refused_with_its_line(line: Line, database: Database, polling: Any) -> None:
    database.execute("CREATE TABLE t (id int)")
    with pytest.raises(ConfigError) as refused, polling({"mode": "full"}) as until:
        until(lambda: False)
    assert "has no primary key" in str(refused.value)


def test_what_is_missing_in_one_table_stops_no_other_and_is_told_with_its_sql(
    line: Line, database: Database, polling: Any
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    database.execute("CREATE TABLE other (id int PRIMARY KEY)")
    tables = [{"public.t": {"mode": "full"}}, {"public.other": {"mode": "tx_column", "column": "_tx"}}]
    with line.running(tables, type="sql_poll", schedule="100ms") as until:
        until(lambda: ids(line.events("t"), "r") == [1])
        assert "has no column _tx" in line.connector.status()["refused_tables"]["public.other"]


def test_a_sequence_with_a_cache_is_refused(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id bigserial PRIMARY KEY); ALTER SEQUENCE t_id_seq CACHE 20")
    database.execute("CREATE TABLE other (id int PRIMARY KEY)")
    tables = [{"public.t": {"mode": "incrementing", "column": "id"}}, "public.other"]
    with line.running(tables, type="sql_poll", schedule="100ms", idle_interval="100ms") as until:
        until(lambda: "CACHE 20" in line.connector.status()["refused_tables"].get("public.t", ""))


@pytest.mark.parametrize("server_zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("zone", ["UTC", "the server's"])
def test_a_timestamp_without_zone_is_written_in_utc_or_in_the_servers_zone(
    line: Line, database: Database, polling: Any, server_zone: str, zone: str
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamp NOT NULL)")
    database.execute(f"ALTER DATABASE {database.name} SET TimeZone = '{server_zone}'")
    stamp = f"now() AT TIME ZONE '{'UTC' if zone == 'UTC' else server_zone}'"
    with polling({"mode": "updated_at", "column": "at"}) as until, database.connect() as writer:
        for id in range(1, 4):
            writer.execute(f"INSERT INTO t VALUES ({id}, {stamp})")
            until(lambda id=id: id in [key for _, key in ops(line)])  # type: ignore[misc]


def test_a_key_that_is_written_in_another_way_is_another_key_to_readers(
    line: Line, database: Database, polling: Any
) -> None:
    """1.0 and 1.00 are equal to PostgreSQL; each is what some event had as its key."""
    database.execute("CREATE TABLE t (id numeric PRIMARY KEY, _tx xid8 NOT NULL DEFAULT pg_current_xact_id())")
    database.execute("CREATE TABLE gone (id numeric NOT NULL, _tx xid8 NOT NULL DEFAULT pg_current_xact_id())")
    database.execute("INSERT INTO t VALUES (1.0), (2.0)")
    options = {"mode": "tx_column", "column": "_tx", "deletes": "log", "delete_log": "public.gone"}
    with polling(options) as until:
        until(lambda: len(ops(line)) == 2)
        database.execute(
            "BEGIN; DELETE FROM t; INSERT INTO gone VALUES (1.0), (2.0); INSERT INTO t VALUES (1.00), (2.0); END"
        )
        until(lambda: ("d", "1.0") in ops(line))
    assert sorted(ops(line)[2:]) == [("c", "1.00"), ("d", "1.0"), ("u", "2.0")]


BLIND = """
DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
"""


def test_a_role_that_cannot_see_whether_the_server_is_busy_is_told_so(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database.execute(BLIND.format(role="cdc_blind"))
    line.url = database.url("cdc_blind")
    settings = line.settings(["public.t"], type="sql_poll", busy={"active_sessions": 5})
    findings = list(check(settings, "w", cast(SqlPollSettings, settings.connectors["w"])))
    [error] = [finding for finding in findings if finding.level == "error"]
    assert "may not see whether the server is busy" in error.message
    assert error.mend == 'GRANT pg_read_all_stats TO "cdc_blind"; or remove busy'
    with (
        pytest.raises(SourceError, match="busy"),
        line.running(["public.t"], type="sql_poll", schedule="100ms", busy={"active_sessions": 5}) as until,
    ):
        until(lambda: False)


def test_a_busy_server_is_left_alone_until_it_is_not(line: Line, database: Database, polling: Any) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    with database.connect() as one, ThreadPoolExecutor() as thread:
        working = thread.submit(one.execute, "SELECT pg_sleep(600)")
        with polling({"mode": "full"}, busy={"active_sessions": 1}, state="snapshotting") as until:
            until(lambda: "are at work" in (line.connector.status()["put_off"] or ""))
            assert line.events("t") == []
            one.cancel()
            with pytest.raises(psycopg.errors.QueryCanceled):
                working.result()
            until(lambda: ids(line.events("t"), "r") == [1])
