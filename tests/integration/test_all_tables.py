"""A publication for all tables, partitions with topics of their own: what is published, and what is no gap then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cdc import names
from cdc.errors import ConfigError, Gap
from cdc.testing.servers import KafkaServer
from tests.connector_line import Line, ids
from tests.databases import Database

ALL = {"publication_tables": "all"}


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


def test_a_table_that_is_made_later_is_published_from_its_first_row_on_and_not_read(
    line: Line, database: Database
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database.execute("INSERT INTO t VALUES (1)")
    with line.running(["public.*"], **ALL) as until:
        database.execute("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)")
        database.execute("CREATE SCHEMA other; CREATE TABLE other.t (id int); INSERT INTO other.t VALUES (1)")
        until(lambda: line.connector.status()["snapshot"] is None and ids(line.events("u"), "c") == [1])
    database.execute("CREATE TABLE v (id int PRIMARY KEY); INSERT INTO v VALUES (1)")
    with line.running(["public.*"], **ALL) as until:
        database.execute("INSERT INTO u VALUES (2)")
        until(lambda: ids(line.events("u"), "c") == [1, 2] and ids(line.events("v"), "c") == [1])
        _tick(line, database, until)
    assert ids(line.events("t"), "r") == [1]
    assert ids(line.events("u"), "r") == ids(line.events("v"), "r") == []


def test_a_table_that_the_settings_name_later_is_read(line: Line, database: Database) -> None:
    for table in "tu":
        database.execute(f"CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} VALUES (1)")
    with line.running(["public.t"], **ALL):
        pass
    with line.running(["public.t", "public.u"], **ALL) as until:
        until(lambda: ids(line.events("u"), "r") == [1])


@pytest.mark.parametrize("running", [True, False])
def test_a_table_that_only_came_to_match_is_read(line: Line, database: Database, running: bool) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE SCHEMA other")
    database.execute("CREATE TABLE other.u (id int PRIMARY KEY); INSERT INTO other.u VALUES (1)")
    database.execute("CREATE UNLOGGED TABLE v (id int PRIMARY KEY); INSERT INTO v VALUES (1)")
    matched = "ALTER TABLE other.u SET SCHEMA public; ALTER TABLE v SET LOGGED; ALTER TABLE other.w SET SCHEMA public"
    with line.running(["public.*"], **ALL) as until:
        database.execute("CREATE TABLE other.w (id int PRIMARY KEY); INSERT INTO other.w VALUES (1)")
        _tick(line, database, until)
        if running:
            database.execute(matched)
            until(lambda: all(ids(line.events(table), "r") == [1] for table in "uvw"))
    if not running:
        database.execute(matched)
        with line.running(["public.*"], **ALL) as until:
            until(lambda: all(ids(line.events(table), "r") == [1] for table in "uvw"))


def test_a_table_that_is_made_again_goes_on_as_the_first_one_did(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with line.running(["public.t"], **ALL) as until:
        database.execute("INSERT INTO t VALUES (1)")
        database.execute("DROP TABLE t; CREATE TABLE t (id bigint PRIMARY KEY, other date); INSERT INTO t VALUES (2)")
        until(lambda: ids(line.events("t"), "c") == [1, 2])
        _tick(line, database, until)
    database.execute("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (3)")
    with line.running(["public.t"], **ALL) as until:
        until(lambda: ids(line.events("t"), "c") == [1, 2, 3])
    assert ids(line.events("t"), "r") == []


def test_a_publication_for_all_tables_that_was_replaced_is_a_gap(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    publication = names.publication_name(line.name, "w")
    with line.running(["public.t"], **ALL):
        pass
    database.execute(f"DROP PUBLICATION {publication}; CREATE PUBLICATION {publication} FOR TABLE t")
    with pytest.raises(Gap, match=publication), line.running(["public.t"], **ALL) as until:
        until(lambda: False)


@pytest.mark.parametrize("objects", ["ALL TABLES", "TABLES IN SCHEMA public"])
def test_a_new_table_that_the_owners_publication_has_already_is_captured(
    line: Line, database: Database, objects: str
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    _publication(line, database, objects)
    with line.running(["public.*"]) as until:
        database.execute("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)")
        until(lambda: 1 in (*ids(line.events("u"), "r"), *ids(line.events("u"), "c")))
        _tick(line, database, until)
        assert not line.connector.status()["refused_tables"]


def test_a_new_table_keeps_the_filter_that_the_owner_gave_it(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with line.running(["public.*"]) as until:
        publication = names.publication_name(line.name, "w")
        database.execute(
            f"CREATE TABLE u (id int PRIMARY KEY); ALTER PUBLICATION {publication} ADD TABLE u WHERE (id > 1)"
        )
        database.execute("INSERT INTO u VALUES (1), (2)")
        until(lambda: 2 in (*ids(line.events("u"), "r"), *ids(line.events("u"), "c")))
        filters = database.rows("SELECT prqual IS NOT NULL FROM pg_publication_rel WHERE prrelid = 'u'::regclass")
        assert filters == [(True,)]


@pytest.mark.parametrize("objects", ["ALL TABLES", "TABLES IN SCHEMA public"])
def test_a_filter_that_would_have_no_effect_is_refused(line: Line, database: Database, objects: str) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    _publication(line, database, objects)
    tables = [{"public.t": {"where": "id > 1"}}]
    with pytest.raises(ConfigError, match=r"`where` has no effect.* has all tables"), line.running(tables) as until:
        until(lambda: False)


def test_a_new_table_that_cannot_be_published_stops_no_other(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with line.running(["public.*"], **ALL) as until:
        database.execute("CREATE TABLE keyless (n int); INSERT INTO keyless VALUES (1)")
        database.execute("INSERT INTO t VALUES (1)")
        until(lambda: ids(line.events("t"), "c") == [1])
        until(lambda: "public.keyless" in line.connector.status()["refused_tables"])
    database.execute("ALTER TABLE keyless ADD PRIMARY KEY (n)")
    with line.running(["public.*"], **ALL) as until:
        # What was passed over is read.
        until(lambda: [event["after"] for event in line.events("keyless") if event] == [{"n": 1}])


def test_partitions_have_topics_of_their_own(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    database.execute("CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1)")
    with line.running(["public.p*"], publish_via_root=False) as until:
        database.execute("INSERT INTO p VALUES (2)")
        until(lambda: ids(line.events("p_low"), "c") == [2])
        database.execute("CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (11)")
        until(lambda: 11 in (*ids(line.events("p_high"), "r"), *ids(line.events("p_high"), "c")))
    assert ids(line.events("p_low"), "r") == [1]
    assert line.events("p") == []


def test_partitions_published_otherwise_than_before_are_a_gap(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with line.running(["public.t"]):
        pass
    with pytest.raises(Gap, match="partitions"), line.running(["public.t"], publish_via_root=False) as until:
        until(lambda: False)


def test_only_chosen_tables_are_read(line: Line, database: Database) -> None:
    for table in "tu":
        database.execute(f"CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} VALUES (1)")
    with line.running(["public.*"], snapshot_tables=["/.*\\.U/"]) as until:
        until(lambda: ids(line.events("u"), "r") == [1])
        for table in "tu":
            database.execute(f"INSERT INTO {table} VALUES (2)")
        until(lambda: ids(line.events("u"), "c") == ids(line.events("t"), "c") == [2])
    assert ids(line.events("t"), "r") == []


def _publication(line: Line, database: Database, objects: str) -> None:
    publication = names.publication_name(line.name, "w")
    database.execute(f"CREATE PUBLICATION {publication} FOR {objects} WITH (publish_via_partition_root)")


def _tick(line: Line, database: Database, until: Callable[[Callable[[], bool]], None]) -> None:
    """Wait until the connector has looked at its tables again: only then an idle source's position is stored."""
    ((now,),) = database.rows("SELECT pg_current_wal_insert_lsn()::text")
    slot = names.slot_name(line.name, "w")
    confirmed = f"SELECT confirmed_flush_lsn > '{now}' FROM pg_replication_slots WHERE slot_name = '{slot}'"
    database.execute("SELECT pg_log_standby_snapshot()")
    until(lambda: database.rows(confirmed) == [(True,)])
