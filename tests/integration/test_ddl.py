"""DDL text from a real source: whose, in which order, exactly once; and nothing of it where no trigger is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest

from cdc.connector import Connector
from cdc.errors import SchemaChanged
from cdc.event import Batch
from cdc.pipeline import run_connector
from cdc.prove.observed import messages, topics_of
from cdc.publisher import Publisher
from cdc.schema_reader import SchemaReader
from cdc.schemas import Statement, TableSchema, read
from cdc.testing.databases import fresh_database
from cdc.testing.servers import KafkaServer, PostgresServer
from connectors.postgres_wal import ddl
from connectors.postgres_wal.check import check
from tests.connector_line import Cut, Line, ids
from tests.databases import Database


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


def told(line: Line) -> list[TableSchema | Statement]:
    """All that is on the schemas topic, in order; of descriptions those that are kept for ever."""
    found = messages(line.kafka.bootstrap_servers, [f"{line.name}.cdc.schemas"])
    return [read(message.value() or b"") for message in found if b"@" in (message.key() or b"")]


def texts(line: Line) -> list[str]:
    return [one.ddl for one in told(line) if isinstance(one, Statement)]


def session(database: Database, *statements: str) -> None:
    """Each statement sent alone, in one session."""
    with database.connect() as connection:
        for statement in statements:
            connection.execute(statement)


IN_BETWEEN = (
    "BEGIN",
    "INSERT INTO t VALUES (1, 1)",
    "ALTER TABLE t ADD note text DEFAULT 'é'",
    "SAVEPOINT s",
    "ALTER TABLE t ADD never int",
    "ROLLBACK TO s",
    "INSERT INTO t VALUES (2, 2, 'b')",
    "ALTER TABLE t RENAME note TO remark",
    "COMMENT ON COLUMN t.remark IS 'said'",
    "ALTER TABLE t ALTER n TYPE bigint",
    "CREATE TABLE t2 (id int PRIMARY KEY)",
    "INSERT INTO t VALUES (3, 3, 'c')",
    "INSERT INTO t2 VALUES (1)",
    "SAVEPOINT s",
    "ALTER TABLE t ADD more int",
    "RELEASE s",
    "INSERT INTO t VALUES (4, 4, 'd', 4)",
    "DROP TABLE t2",
    "COMMIT",
)
"""A transaction of rows and DDL."""

OF_IT = [IN_BETWEEN[at] for at in (2, 7, 8, 9, 10, 14, 17)]


@pytest.mark.every_postgres
def test_ddl_is_told_in_order_with_the_forms_of_rows(line: Line, database: Database) -> None:
    session(database, "CREATE TABLE t (id int PRIMARY KEY, n int)", ddl.SETUP)
    with line.running(["public.t*"]) as until:
        session(database, *IN_BETWEEN)
        session(database, "BEGIN", "ALTER TABLE t ADD never int", "INSERT INTO t VALUES (9, 9, '', 9)", "ROLLBACK")
        session(database, "CREATE TABLE other (id int)", "CREATE TEMP TABLE t3 (id int)", "CREATE INDEX ON t (n)")
        session(database, "ALTER TABLE t DROP remark")
        until(lambda: len(texts(line)) == len(OF_IT) + 1)
        assert ids(line.events("t"), "c") == [1, 2, 3, 4]
    forms = [one.ddl if isinstance(one, Statement) else [column.name for column in one.columns] for one in told(line)]
    assert (
        forms[1:]
        == [  # the first is the snapshot's
            OF_IT[0],
            ["id", "n", "note"],
            *OF_IT[1:5],
            ["id", "n", "remark"],
            OF_IT[5],
            ["id", "n", "remark", "more"],
            OF_IT[6],
            "ALTER TABLE t DROP remark",
        ]
    )
    places = {event["after"]["id"]: event["cdc"]["pos"] for event in line.events("t") if event is not None}
    added, renamed, *_, dropped, last = (one for one in told(line) if isinstance(one, Statement))
    assert added.position == places[1]
    assert renamed.position == places[2]
    assert added.ts_ms == dropped.ts_ms < last.ts_ms
    assert not any(one.cut for one in (added, last))
    assert [(one.table, one.before) for one in dropped.tables] == [(None, "public.t2")]
    assert (added.command, dropped.command) == ("ALTER TABLE", "DROP TABLE")


class Dying(Publisher):
    """Stores one batch that has something, and ends."""

    def publish(self, batch: Batch) -> None:
        some = bool(batch.records)
        super().publish(batch)
        if some:
            raise Cut("cut off by the test")


@pytest.mark.every_postgres
def test_a_connector_that_dies_behind_each_record_tells_each_statement_once(line: Line, database: Database) -> None:
    session(database, "CREATE TABLE t (id int PRIMARY KEY, n int)", ddl.SETUP)
    section = {"batch": {"rows": 1}}
    with line.running(["public.t*"], **section):
        pass
    session(database, *IN_BETWEEN, "INSERT INTO t VALUES (5, 5, 'e')")
    settings = line.settings(["public.t*"], **section)
    for deaths in range(1, 30):  # noqa: B007
        with suppress(Cut):
            run_connector(_made(line), Dying(settings, "w"))
        if 5 in ids(line.events("t"), "c"):
            break
    assert deaths > len(OF_IT), "it died between statements, too"
    assert texts(line) == OF_IT
    assert ids(line.events("t"), "c") == [1, 2, 3, 4, 5]


def _made(line: Line) -> Connector:
    return line.made(line.settings(["public.t*"], batch={"rows": 1}))


@pytest.mark.every_postgres
def test_a_table_is_told_by_the_names_before_and_behind_a_statement(line: Line, database: Database) -> None:
    session(
        database,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TYPE mood AS ENUM ('so')",
        'CREATE SCHEMA "Odd" CREATE TABLE "Ta.ble" (id int PRIMARY KEY, feels mood)',
        "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        ddl.SETUP,
        ddl.SETUP,
    )
    statements = (
        "ALTER TABLE t RENAME TO gone",  # out of what is captured
        "ALTER TABLE gone RENAME TO t1",  # into it
        "ALTER TABLE gone_is_told ADD a int",
        'ALTER SCHEMA "Odd" RENAME TO odd',
        "DROP TYPE mood CASCADE",  # and a column of a table with it
        "CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (1) TO (9)",
        "ALTER TABLE parts ADD n int",
        "DROP TABLE parts1",
        "DROP TABLE parts, t1",
        "DROP SCHEMA odd CASCADE",
    )
    entries = ["public.t*", "public.parts*", "[Oo]dd.*"]
    with line.running(entries) as until:
        session(database, "CREATE TABLE gone_is_told (id int)", *statements)
        until(lambda: len(texts(line)) == 7)
        found = [one for one in told(line) if isinstance(one, Statement)]
    assert [(one.ddl, sorted((table.before, table.table) for table in one.tables)) for one in found] == [
        (statements[0], [("public.t", "public.gone")]),
        (statements[1], [("public.gone", "public.t1")]),
        (statements[3], [("Odd.Ta.ble", "odd.Ta.ble")]),
        (statements[4], [("odd.Ta.ble", "odd.Ta.ble")]),
        (statements[6], [("public.parts", "public.parts")]),
        (statements[8], [("public.parts", None), ("public.t1", None)]),
        (statements[9], [("odd.Ta.ble", None)]),
    ]
    assert all(table.oid for one in found for table in one.tables)


def test_without_triggers_nothing_is_told_and_messages_of_others_make_nothing(line: Line, database: Database) -> None:
    session(database, "CREATE TABLE t (id int PRIMARY KEY)")
    with line.running(["public.t"], transaction_metadata=True) as until:
        session(database, "ALTER TABLE t ADD n int", "SELECT pg_logical_emit_message(true, 'theirs', 'x')")
        session(database, "SELECT pg_logical_emit_message(false, 'theirs', 'x')", "INSERT INTO t VALUES (1, 1)")
        until(lambda: ids(line.events("t"), "c") == [1])
        assert not texts(line)
        # Made while it runs, they are heard at once; and what is told is in no transaction's count.
        session(database, ddl.SETUP, "ALTER TABLE t ADD m int", "INSERT INTO t VALUES (2, 2, 2)")
        until(lambda: ids(line.events("t"), "c") == [1, 2])
        assert texts(line) == ["ALTER TABLE t ADD m int"]
    ends = messages(line.kafka.bootstrap_servers, [f"{line.name}.transaction"])
    counts = [orjson.loads(message.value() or b"")["event_count"] for message in ends]
    assert counts == [None, 1, None, 1]
    assert not published(line)


def published(line: Line) -> list[str]:
    """Prefixes of the messages that are."""
    topic = f"{line.name}.message"
    if topic not in topics_of(line.kafka.bootstrap_servers, line.name):
        return []
    found = messages(line.kafka.bootstrap_servers, [topic])
    return [orjson.loads(message.value() or b"")["message"]["prefix"] for message in found]


def test_messages_that_are_published_have_no_ddl_and_forged_ddl_stops_nothing(line: Line, database: Database) -> None:
    session(database, "CREATE TABLE t (id int PRIMARY KEY)", ddl.SETUP)
    forged = ["", "x", '{"command": 1}', '{"command": "DROP", "tables": [{}], "text": "", "cut": true}']
    with line.running(["public.t"], messages={}) as until:
        for content in forged:
            for transactional in (True, False):
                session(database, f"SELECT pg_logical_emit_message({transactional}, '{ddl.PREFIX}', '{content}')")
        session(database, "ALTER TABLE t ADD n int", "SELECT pg_logical_emit_message(true, 'mine', 'x')")
        until(lambda: published(line) == ["mine"])
    assert texts(line) == ["ALTER TABLE t ADD n int"]


def test_what_stops_at_a_change_has_told_it_once(line: Line, database: Database) -> None:
    session(database, "CREATE TABLE t (id int PRIMARY KEY)", ddl.SETUP)
    with line.running([{"public.t": {"schema_changes": "stop"}}]):
        pass
    session(database, "BEGIN", "INSERT INTO t VALUES (1)", "ALTER TABLE t ADD n int", "INSERT INTO t VALUES (2)", "END")
    for _ in range(2):
        with (
            pytest.raises(SchemaChanged, match="column n"),
            line.running([{"public.t": {"schema_changes": "stop"}}]) as until,
        ):
            until(lambda: False)
        assert texts(line) == ["ALTER TABLE t ADD n int"]
    with line.running(["public.t"]) as until:
        until(lambda: ids(line.events("t"), "c") == [1, 2])
    assert texts(line) == ["ALTER TABLE t ADD n int"]


def test_sinks_read_past_ddl(line: Line, database: Database) -> None:
    session(database, "CREATE TABLE t (id int PRIMARY KEY)", ddl.SETUP)
    with line.running(["public.t"]) as until:
        session(database, "INSERT INTO t VALUES (1)", "ALTER TABLE t ADD n int", "INSERT INTO t VALUES (2, 2)")
        session(database, "ALTER TABLE t DROP n")
        until(lambda: len(texts(line)) == 2)
    reader = SchemaReader(line.settings(["public.t"]))
    assert reader.refresh()
    versions = reader.versions(f"{line.name}.public.t")
    reader.close()
    assert [[column.name for column in one.columns] for one in versions] == [["id"], ["id", "n"]]


@pytest.mark.every_postgres
def test_no_statement_fails_because_of_its_text(line: Line, database: Database) -> None:
    """A role that may write no message but make tables, a long text, and what runs in several transactions."""
    long = "-- " + "é" * ddl.TEXT_BYTES
    session(
        database,
        ddl.SETUP,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, bytea"
        f"{', boolean' if database.server.version[0] >= 17 else ''}) FROM public",
        f"CREATE ROLE {line.name} LOGIN; GRANT CREATE ON SCHEMA public TO {line.name}",
    )
    with line.running(["public.*"]) as until:
        session(database, f"SET ROLE {line.name}", "CREATE TABLE theirs (id int)")
        session(database, "CREATE INDEX CONCURRENTLY i ON t (id)", "REINDEX TABLE CONCURRENTLY t", "VACUUM FULL t")
        session(database, f"ALTER TABLE t ADD n int {long}")
        until(lambda: len(texts(line)) == 1)
    (one,) = (one for one in told(line) if isinstance(one, Statement))
    assert one.cut
    assert len(one.ddl.encode()) in (ddl.TEXT_BYTES, ddl.TEXT_BYTES - 1)
    assert database.rows("SELECT to_regclass('theirs') IS NOT NULL") == [(True,)]
    session(database, f"DROP OWNED BY {line.name}; DROP ROLE {line.name}")


def test_the_text_is_right_in_a_database_of_another_encoding(
    prefix: str, kafka: KafkaServer, postgres: PostgresServer
) -> None:
    latin = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    with fresh_database(postgres, f"{prefix}_latin", latin) as database:
        line = Line(prefix, kafka, database)
        session(database, "CREATE TABLE t (id int PRIMARY KEY)", ddl.SETUP)
        with line.running(["public.t"]) as until:
            session(database, "ALTER TABLE t ADD é int")
            until(lambda: texts(line) == ["ALTER TABLE t ADD é int"])


def test_check_shows_the_sql_until_it_was_run(line: Line, database: Database) -> None:
    session(database, "CREATE TABLE t (id int PRIMARY KEY)")
    settings = line.settings(["public.t"])

    def found() -> Any:
        section: Any = settings.connectors["w"]
        (one,) = (one for one in check(settings, "w", section) if one.subject.endswith(": DDL"))
        return one

    assert found().level == "note"
    session(database, found().mend)
    assert found().level == "ok"
    session(database, "ALTER EVENT TRIGGER cdc_ddl_drop DISABLE")
    assert found().level == "note"
