"""Messages, transactions and heartbeats from a real server: what its LSNs mean, and nothing twice over restarts."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import pytest

from cdc.prove.observed import messages, topics_of
from cdc.testing.servers import KafkaServer
from tests.connector_line import Line, ids
from tests.databases import Database


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


def values(line: Line, topic: str) -> list[dict[str, Any]]:
    """What is on a topic, in order."""
    found = messages(line.kafka.bootstrap_servers, [topic])
    return [orjson.loads(message.value() or b"null") for message in found]


def prefixes(line: Line) -> list[str]:
    topic = f"{line.name}.message"
    if topic not in topics_of(line.kafka.bootstrap_servers, line.name):
        return []
    return [value["message"]["prefix"] for value in values(line, topic)]


def arrived(line: Line, count: int) -> bool:
    return len(prefixes(line)) >= count


def emit(database: Database, prefix: str, *, transactional: bool = False) -> None:
    database.execute(f"SELECT pg_logical_emit_message({transactional}, '{prefix}', 'content')")


@pytest.mark.every_postgres
def test_messages_are_published_once_over_restarts(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    wanted: list[str] = []
    for number in range(3):
        emit(database, f"down {number}")
        wanted += [f"down {number}"] if number else []
        with line.running(["public.t"], messages={}) as until:
            for transactional in (False, True):
                emit(database, f"{number} {transactional}", transactional=transactional)
            with database.connect(autocommit=False) as session:
                session.execute("INSERT INTO t VALUES (%s)", [number])
                session.execute("SELECT pg_logical_emit_message(true, 'within', '')")
                session.execute("SELECT pg_logical_emit_message(false, 'before', '')")
            with database.connect(autocommit=False) as session:
                session.execute("SELECT pg_logical_emit_message(true, 'lost', '')")
                session.execute("SELECT pg_logical_emit_message(false, 'kept', '')")
                session.rollback()
            wanted += [f"{number} False", f"{number} True", "before", "within", "kept"]
            until(partial(arrived, line, len(wanted)))
    assert prefixes(line) == wanted
    assert ids(line.events("t"), "c") == [0, 1, 2]


@pytest.mark.every_postgres
def test_what_a_message_says_of_its_place(line: Line, database: Database) -> None:
    """The next record begins where a message ends; that it does not begin before is what positions lean on."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with line.running(["public.t"], messages={}) as until:
        with database.connect() as session:
            emitted = session.execute("SELECT pg_logical_emit_message(false, 'p', '')::text").fetchone()
        assert emitted is not None
        until(lambda: prefixes(line) == ["p"])
    (value,) = values(line, f"{line.name}.message")
    high, low = emitted[0].split("/")
    end = int(high, 16) << 32 | int(low, 16)
    assert end - 64 < value["source"]["lsn"] <= end
    assert orjson.loads(value["source"]["sequence"]) == [str(value["source"]["lsn"])] * 2
    assert value["source"]["txId"] is None


def test_transactions_have_a_begin_and_an_end_with_counts(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with line.running(["public.t"], transaction_metadata=True, batch={"rows": 1}) as until:
        database.execute("INSERT INTO t VALUES (1)")
        with database.connect(autocommit=False) as session:
            session.execute("INSERT INTO t SELECT generate_series(2, 4)")
        until(lambda: ids(line.events("t"), "c") == [1, 2, 3, 4])
        topic = f"{line.name}.transaction"
        until(lambda: len(values(line, topic)) == 4)
    told = [(value["status"], value["event_count"]) for value in values(line, topic)]
    assert told == [("BEGIN", None), ("END", 1), ("BEGIN", None), ("END", 3)]
    orders = [event["transaction"]["total_order"] for event in line.events("t") if event is not None]
    assert orders == [1, 1, 2, 3]


def test_heartbeats_come_from_an_idle_source(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    topic = f"beat.{line.name}"
    with line.running(["public.t"], heartbeat={"interval": "100ms", "topic_prefix": "beat"}) as until:
        until(lambda: topic in topics_of(line.kafka.bootstrap_servers, "beat") and len(values(line, topic)) >= 3)
    found = list(messages(line.kafka.bootstrap_servers, [topic]))
    assert {message.key() for message in found} == {b'{"serverName":"%b"}' % line.name.encode()}
    assert {message.partition() for message in found} == {0}


def test_rows_say_which_are_the_first_and_the_last_and_a_cut_begins_anew(line: Line, database: Database) -> None:
    for table, rows in (("a", 3), ("b", 0), ("c", 2)):
        database.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
        database.execute(f"INSERT INTO {table} SELECT generate_series(1, {rows})")
    marked = {"snapshot_markers": True, "batch": {"rows": 1}}
    cut = iter([False, False, True])
    line.run(["public.*"], lambda batch: next(cut, True), **marked)
    with line.running(["public.*"], **marked) as until:
        until(lambda: ids(line.events("c"), "r")[-2:] == [1, 2])
        database.execute("INSERT INTO a VALUES (4)")
        until(lambda: ids(line.events("a"), "c") == [4])
    said = [event["source"]["snapshot"] for event in line.events("c") if event is not None]
    assert said[-1] == "last"
    assert set(ids(line.events("a"), "r")) == {1, 2, 3}
