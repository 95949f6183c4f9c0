"""The connector beside real servers: what it finds at a start, what it refuses, and what it makes."""

from __future__ import annotations

import psycopg
import pytest

from cdc import names
from cdc.errors import Gap
from cdc.formats.postgres.relation import Relation
from cdc.testing.servers import KafkaServer
from connectors.postgres_wal.catalog import captured_tables, connect
from connectors.postgres_wal.options import TableOptions
from connectors.postgres_wal.pgoutput import parse as parse_message
from tests.connector_line import Line, ids
from tests.databases import Database


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


TAMPERING = {
    "out of it for a while": "ALTER PUBLICATION {p} DROP TABLE t; ALTER PUBLICATION {p} ADD TABLE t",
    "made again": "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); ALTER PUBLICATION {p} ADD TABLE t",
    "a row filter": "ALTER PUBLICATION {p} SET TABLE t WHERE (id > 10)",
    "fewer operations": "ALTER PUBLICATION {p} SET (publish = 'insert')",
    "dropped": "DROP PUBLICATION {p}",
    "replaced": "DROP PUBLICATION {p}; CREATE PUBLICATION {p} FOR TABLE t WITH (publish_via_partition_root = true)",
}


@pytest.mark.parametrize("how", TAMPERING)
@pytest.mark.parametrize("running", [False, True], ids=["while stopped", "while running"])
def test_a_publication_that_was_tampered_with_is_a_gap(line: Line, database: Database, how: str, running: bool) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    publication = names.publication_name(line.name, "w")

    def tamper() -> None:
        for statement in TAMPERING[how].format(p=publication).split("; "):
            database.execute(statement)

    with pytest.raises(Gap, match=publication):  # noqa: PT012 - either of the two runs finds it
        with line.running(["public.t"]) as until:
            if running:
                tamper()
                until(lambda: False)
        tamper()
        with line.running(["public.t"]) as until:
            until(lambda: False)


def test_a_table_that_was_not_captured_for_a_while_is_read_again(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database.execute("CREATE TABLE other (id int PRIMARY KEY)")
    database.execute("INSERT INTO t VALUES (1)")
    with line.running(["public.t", "public.other"]):
        pass
    with line.running(["public.other"]) as until:
        database.execute("INSERT INTO t VALUES (2)")
        database.execute("INSERT INTO other VALUES (1)")
        until(lambda: ids(line.events("other"), "c") == [1])
    with line.running(["public.t", "public.other"]) as until:
        until(lambda: sorted(ids(line.events("t"), "r")) == [1, 1, 2])


def test_snapshot_only_ends_and_leaves_no_slot(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database.execute("INSERT INTO t SELECT generate_series(1, 100)")
    slots = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{names.slot_name(line.name, 'w')}'"
    for _ in range(2):  # the second start finds nothing to do
        with line.running(["public.t"], snapshot="only") as until:
            until(lambda: database.rows(slots) == [(0,)] and len(line.events("t")) == 100)
    assert sorted(ids(line.events("t"), "r")) == list(range(1, 101))


def test_a_changed_key_begins_with_its_unchanged_values_even_where_they_are_only_marked(
    line: Line, database: Database
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int, body text)")
    database.execute("ALTER TABLE t ALTER body SET STORAGE EXTERNAL")
    with line.running(["public.t"], unchanged="mark") as until:
        database.execute("INSERT INTO t VALUES (1, 1, repeat('x', 5000))")
        database.execute("UPDATE t SET n = 2")
        database.execute("UPDATE t SET id = 2")
        until(lambda: ids(line.events("t"), "c") == [1, 2])
    (update,) = [event for event in line.events("t") if event is not None and event["op"] == "u"]
    assert update["cdc"]["unchanged"] == ["body"]
    created = [event for event in line.events("t") if event is not None and event["op"] == "c"][-1]
    assert created["after"]["body"] == "x" * 5000
    assert created["cdc"]["reselected"] == ["body"]


KEYS = {
    "default": "CREATE TABLE t (a int, b int, c int, PRIMARY KEY (b, a))",
    "with included columns": "CREATE TABLE t (a int, b int, c int, PRIMARY KEY (b) INCLUDE (a))",
    "full": "CREATE TABLE t (a int PRIMARY KEY, b int); ALTER TABLE t REPLICA IDENTITY FULL",
    "an index": "CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL); CREATE UNIQUE INDEX i ON t (b) INCLUDE (a); "
    "ALTER TABLE t REPLICA IDENTITY USING INDEX i",
    "generated columns": "CREATE TABLE t (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a + 1) STORED, c text)",
}


@pytest.mark.every_postgres
@pytest.mark.parametrize("how", KEYS)
def test_the_catalog_describes_a_table_as_the_stream_does(database: Database, how: str) -> None:
    for statement in KEYS[how].split("; "):
        database.execute(statement)
    database.execute("CREATE PUBLICATION p FOR TABLE t")
    database.execute("SELECT pg_create_logical_replication_slot('" + database.name + "_s', 'pgoutput')")
    columns = "(a, b)" if how in ("default", "an index", "with included columns") else "(a)"
    values = "(2, 2)" if columns == "(a, b)" else "(2)"
    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute(f"INSERT INTO t {columns} VALUES {values}".encode())
        messages = connection.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, 'proto_version', '1', "
            "'publication_names', 'p')",
            [database.name + "_s"],
        ).fetchall()
    streamed = [parse_message(bytes(data), 0) for (data,) in messages if bytes(data)[:1] == b"R"]
    with connect(database.url(), "test") as session:
        (table,) = captured_tables(session, {"public.t": TableOptions()}, "test")
    assert isinstance(streamed[0], Relation)
    assert table.relation() == streamed[0]
