"""A consumer that nobody here wrote: Debezium's JDBC sink connector makes the source's table of our topics.

It needs Kafka Connect's schemas in every record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cdc.testing.servers import KafkaServer, PostgresServer, maven_jars
from cdc.testing.system import wait_for
from tests.compare import debezium as debezium_process
from tests.compare import jdbc_sink
from tests.compare.debezium import Debezium
from tests.conftest import needed_for
from tests.connector_line import Line
from tests.databases import Database, fresh_database
from tests.sink_line import Bridge, Member

COLUMNS = {
    "id": "bigint PRIMARY KEY",
    "small": "smallint",
    "number": "int NOT NULL DEFAULT 7",
    "price": "numeric(12,2)",
    "rate": "double precision",
    "coarse": "real",
    "paid": "boolean",
    "note": "text",
    "short": "varchar(20)",
    "picture": "bytea",
    "day": "date",
    "clock": "time",
    "at": "timestamp",
    "coarse_at": "timestamp(3)",
    "zoned": "timestamptz",
    "who": "uuid",
    "what": "jsonb",
    "mood": "mood",
    "tags": "text[]",
    "numbers": "int[]",
}

ROW = (
    "({id}, {id}, 1000 + {id}, 12.34 * {id}, 0.1 * {id}, 1.5, {id} % 2 = 0, 'ünï 😀 \"q\"' || {id}, NULL, '\\x00ff10', "
    "'2024-02-29', '23:59:59.123456', '1969-12-31 23:59:59.5', '2024-01-02 03:04:05.678', '2024-01-02 03:04:05+05:30', "
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{{\"a\": [1, null]}}', 'sad', '{{a,\"b c\"}}', '{{1,2}}')"
)


def fill(database: Database) -> None:
    """The table, with rows for the snapshot."""
    definitions = ", ".join(f"{name} {definition}" for name, definition in COLUMNS.items())
    database.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    database.execute(f"CREATE TABLE t ({definitions})")
    for number in (1, 2, 3, 4):
        database.execute(f"INSERT INTO t VALUES {ROW.format(id=number)}")


def change(database: Database) -> None:
    """What is streamed: all kinds of changes."""
    for number in (5, 6):
        database.execute(f"INSERT INTO t VALUES {ROW.format(id=number)}")
    database.execute("UPDATE t SET price = -0.01, note = NULL, tags = NULL WHERE id = 1")
    database.execute("UPDATE t SET id = 70 WHERE id = 2")
    database.execute("DELETE FROM t WHERE id IN (3, 5)")


def rows(database: Database, table: str) -> list[tuple[Any, ...]]:
    """Each value as the text of its column's type in the source: the JDBC sink has types of its own for some."""
    types = {
        name: definition.split(" ")[0] if "double" not in definition else definition
        for name, definition in COLUMNS.items()
    }
    columns = ", ".join(f"{name}::text::{kind}::text" for name, kind in types.items())
    return database.rows(f"SELECT {columns} FROM {table} ORDER BY id")


@pytest.fixture
def target(postgres: PostgresServer, prefix: str) -> Iterator[Database]:
    with needed_for("Debezium's JDBC sink"):
        for pom, name in ((debezium_process.POM, "debezium"), (jdbc_sink.POM, "jdbc-sink")):
            maven_jars(pom, name)
    with fresh_database(postgres, f"{prefix}target") as fresh:
        fresh.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
        yield fresh


def by_bridge(prefix: str, kafka: KafkaServer, database: Database) -> None:
    line = Line(prefix, kafka, database)
    line.policy = "delete"
    with line.running(["public.t"], compatibility="debezium", format="debezium-json-schemas") as until:
        change(database)
        until(lambda: len(line.events("t")) >= 14)


def by_debezium(prefix: str, kafka: KafkaServer, database: Database, folder: Path, form: str = "schemas") -> Any:
    """Debezium's own events, on the topic that ours would be on; `plain` or with `schemas`. Returns its offset."""
    topic = f"{prefix}.public.t"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    emitted = records(prefix, database, folder)
    for record in emitted:
        if record["topic"] == topic:
            producer.produce(topic, key=record[form]["key"], value=record[form]["value"])
    assert producer.flush(30) == 0
    return emitted[-1]["offset"]


def records(prefix: str, database: Database, folder: Path) -> list[dict[str, Any]]:
    """What Debezium emits of the table and its changes."""
    settings = {
        "topic.prefix": prefix,
        "plugin.name": "pgoutput",
        "slot.name": prefix,
        "publication.name": prefix,
        "slot.drop.on.stop": "false",
        "table.include.list": "public.t",
        "database.hostname": "127.0.0.1",
        "database.port": str(database.server.port),
        "database.user": "postgres",
        "database.dbname": database.name,
    }
    with Debezium(folder) as debezium, database.connect() as session:
        debezium.start(settings)
        debezium.wait_for_streaming(session, prefix)
        change(database)
        database.execute("SELECT pg_logical_emit_message(false, 'compare_marker', '')")
        debezium.wait_for_marker()
        return debezium.stop()


@pytest.mark.parametrize("writer", ["debezium", "bridge"])
def test_debezium_s_jdbc_sink_makes_the_same_table_of_our_events(
    writer: str, prefix: str, kafka: KafkaServer, database: Database, target: Database, tmp_path: Path
) -> None:
    fill(database)
    if writer == "bridge":
        by_bridge(prefix, kafka, database)
    else:
        by_debezium(prefix, kafka, database, tmp_path)
    topic = f"{prefix}.public.t"
    said = jdbc_sink.read_topics(kafka.bootstrap_servers, [topic], database.server.port, target.name, tmp_path)
    found = rows(target, topic.replace(".", "_"))
    assert found == rows(database, "t"), said
    assert [row[0] for row in found] == ["1", "4", "6", "70"]


@pytest.mark.parametrize("form", ["plain", "schemas"])
def test_our_sink_makes_the_same_table_of_topics_that_debezium_began_and_the_bridge_goes_on_with(
    form: str,
    prefix: str,
    kafka: KafkaServer,
    database: Database,
    target: Database,
    member: Callable[..., Member],
    tmp_path: Path,
) -> None:
    """The bridge describes the table, on the topic of its own that sinks need."""
    fill(database)
    stopped_at = by_debezium(prefix, kafka, database, tmp_path, form)
    line = Line(prefix, kafka, database)
    line.policy = "delete"
    style = "debezium-json-schemas" if form == "schemas" else "debezium-json"
    began = len(line.events("t"))
    left = {
        "slot": prefix,
        "publication": prefix,
        "start_from": {name: stopped_at[name] for name in ("lsn", "lsn_commit")},
    }
    with line.running(["public.t"], compatibility="debezium", format=style, **left) as until:
        database.execute(f"INSERT INTO t VALUES {ROW.format(id=8)}")
        database.execute("UPDATE t SET note = 'changed', picture = NULL WHERE id = 1")
        database.execute("DELETE FROM t WHERE id = 4")
        until(lambda: len(line.events("t")) >= began + 4)
    sink = Bridge.__new__(Bridge)
    sink.name, sink.kafka, sink.database, sink.topic = prefix, kafka, target, f"{prefix}.public.t"
    started = member(sink)

    def applied() -> bool:
        assert started.error is None, started.error
        return bool(target.rows("SELECT to_regclass('t') IS NOT NULL")[0][0]) and rows(target, "t") == rows(
            database, "t"
        )

    assert wait_for(applied, 60, 0.2), (rows(target, "t"), rows(database, "t"), started.status)
    assert [row[0] for row in rows(target, "t")] == ["1", "6", "70", "8"]
