"""Transforms and outbox tables from a real database to a real Kafka."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from cdc import heal
from cdc.errors import Gap, TransformFailed
from cdc.prove.observed import Event, events, messages, topics_of
from cdc.testing.servers import KafkaServer
from cdc.transforms import Event as Transformed
from tests.connector_line import Line
from tests.databases import Database

STEPS = [{"rename": {"id": "number"}}, {"drop": ["secret"]}, {"set": {"region": "eu"}}]


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    made = types.ModuleType("shop_transforms")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def on(line: Line, *topics: str) -> list[Event]:
    there = topics_of(line.kafka.bootstrap_servers, line.name)
    return events(line.kafka.bootstrap_servers, [topic for topic in topics if topic in there])


def shown(found: Sequence[Event]) -> list[tuple[str, Any]]:
    """Operation and key of each event; a tombstone's is empty."""
    return [("" if event.value is None else event.value["op"], event.key) for event in found]


def test_steps_hold_for_the_snapshot_the_stream_changed_keys_and_a_restart(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, secret text)")
    database.execute("INSERT INTO t VALUES (1, 'hunter2')")
    tables = [{"public.t": {"transforms": STEPS}}]
    topic = f"{line.name}.public.t"
    with line.running(tables) as until:
        database.execute("INSERT INTO t VALUES (2, 'hunter2')")
        database.execute("UPDATE t SET id = 3 WHERE id = 2")
        until(lambda: len(on(line, topic)) == 5)
    with line.running(tables) as until:
        database.execute("DELETE FROM t WHERE id = 3")
        until(lambda: len(on(line, topic)) == 7)
    found = on(line, topic)
    one, two, three = ({"number": number} for number in (1, 2, 3))
    assert shown(found) == [("r", one), ("c", two), ("d", two), ("", two), ("c", three), ("d", three), ("", three)]
    assert found[0].value["after"] == {"number": 1, "region": "eu"}
    assert [column["name"] for column in described(line)[-1]["columns"]] == ["number", "region"]


def described(line: Line) -> list[dict[str, Any]]:
    """All descriptions of tables, in order."""
    found = messages(line.kafka.bootstrap_servers, [f"{line.name}.cdc.schemas"])
    return [orjson.loads(message.value() or b"") for message in found]


def test_rows_are_routed_to_topics_that_only_they_name(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, tenant text)")
    database.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    database.execute("INSERT INTO t VALUES (1, 'a')")
    route = {"field": "tenant", "pattern": "(?P<tenant>[a-z]+)", "topic": f"{line.name}.{{tenant}}.t"}
    a, b, own = f"{line.name}.a.t", f"{line.name}.b.t", f"{line.name}.public.t"
    with line.running([{"public.t": {"transforms": [{"route": route}]}}]) as until:
        database.execute("INSERT INTO t VALUES (2, 'b'), (3, 'NONE')")
        database.execute("DELETE FROM t WHERE id = 1")
        until(lambda: len(on(line, a)) == 3 and len(on(line, own)) == 1)
    assert shown(on(line, a)) == [("r", {"id": 1}), ("d", {"id": 1}), ("", {"id": 1})]
    assert shown(on(line, b)) == [("c", {"id": 2})]
    assert {schema["topic"] for schema in described(line)} == {a, b, own}


def test_a_function_that_raises_stops_the_connector_and_loses_nothing(
    line: Line, database: Database, module: types.ModuleType
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    database.execute("CREATE TABLE other (id int PRIMARY KEY)")

    def ratio(event: Transformed) -> Transformed | None:
        event.value["after"]["n"] = 100 // event.row["n"]
        return event

    module.ratio = ratio  # type: ignore[attr-defined]
    tables = ["public.other", {"public.t": {"transforms": [{"python": "shop_transforms:ratio"}]}}]
    with line.running(tables) as until:
        database.execute("INSERT INTO t VALUES (1, 50)")
        until(lambda: len(line.events("t")) == 1)
    database.execute("INSERT INTO other VALUES (1)")
    database.execute("INSERT INTO t VALUES (2, 0)")
    database.execute("INSERT INTO t VALUES (3, 10)")
    with (
        pytest.raises(TransformFailed, match=r"public\.t: .*shop_transforms:ratio: ZeroDivisionError"),
        line.running(tables) as until,
    ):
        until(lambda: False)
    assert len(line.events("t")) == 1

    def careful(event: Transformed) -> Transformed | None:
        return ratio(event) if event.row["n"] else None

    module.ratio = careful  # type: ignore[attr-defined]
    with line.running(tables) as until:
        until(lambda: len(line.events("t")) == 2)
    assert [event and event["after"] for event in line.events("t")] == [{"id": 1, "n": 2}, {"id": 3, "n": 10}]
    assert len(line.events("other")) == 1


def test_events_are_published_once_though_most_of_a_batch_is_left_out(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    tables = [{"public.t": {"transforms": [{"filter": {"include": {"n": 1}}}]}}]
    with line.running(tables, batch={"rows": 7}):
        pass
    database.execute("INSERT INTO t SELECT n, (n % 10 = 0)::int FROM generate_series(1, 5000) AS n")
    with line.running(tables, batch={"rows": 7}) as until:
        until(lambda: len(line.events("t")) >= 3)
    assert len(line.events("t")) < 500, "it was stopped within the transaction"
    with line.running(tables, batch={"rows": 7}) as until:
        until(lambda: len(line.events("t")) >= 500)
        database.execute("INSERT INTO t VALUES (5001, 1)")
        until(lambda: line.events("t")[-1]["after"]["id"] == 5001)  # type: ignore[index]
    assert [event["after"]["id"] for event in line.events("t") if event] == [*range(10, 5001, 10), 5001]


def test_a_heal_compares_what_the_transforms_make_and_deletes_what_is_gone(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, secret text)")
    database.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 3) AS n")
    tables = [{"public.t": {"transforms": STEPS}}]
    topic = f"{line.name}.public.t"
    with line.running(tables) as until:
        until(lambda: len(on(line, topic)) == 3)
    (slot,) = database.rows("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
    database.execute(f"SELECT pg_drop_replication_slot('{slot[0]}')")
    database.execute("DELETE FROM t WHERE id = 2")
    database.execute("INSERT INTO t VALUES (4, 'x')")
    with pytest.raises(Gap), line.running(tables) as until:
        until(lambda: False)
    heal.begin(line.settings(tables), "w")
    with line.running(tables) as until:
        until(lambda: len(on(line, topic)) >= 6)
        database.execute("INSERT INTO t VALUES (5, 'x')")
        until(lambda: ("c", {"number": 5}) in shown(on(line, topic)))
    found = on(line, topic)
    assert sorted(shown(found[3:6]), key=str) == sorted(
        [("r", {"number": 4}), ("d", {"number": 2}), ("", {"number": 2})], key=str
    )
    (delete,) = (event for event in found if event.value is not None and event.value["op"] == "d")
    assert delete.value["before"]["number"] == 2


def test_rows_of_an_outbox_are_messages_on_topics_of_their_own(line: Line, database: Database) -> None:
    line.policy = "delete"
    database.execute(
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload jsonb)"
    )
    outbox = {
        "topic": f"{line.name}.events.{{routedByValue}}",
        "placement": [{"column": "type", "to": "header", "name": "eventType"}],
        "expand_json": True,
    }
    number = "00000000-0000-0000-0000-00000000000"
    database.execute(f"""INSERT INTO outbox VALUES ('{number}0', 'order', 'o0', 'Placed', '{{"n": 0}}')""")
    with line.running([{"public.outbox": {"outbox": outbox}}]) as until:
        database.execute(f"""INSERT INTO outbox VALUES ('{number}1', 'order', 'o1', 'Placed', '{{"n": 1}}')""")
        database.execute(f"""INSERT INTO outbox VALUES ('{number}2', 'user', 'u1', 'Left', '{{"n": 2}}')""")
        database.execute("UPDATE outbox SET type = 'Gone'")
        database.execute("DELETE FROM outbox")
        database.execute(f"""INSERT INTO outbox VALUES ('{number}3', 'order', 'o1', 'Paid', '{{"n": 3}}')""")
        until(lambda: len(on(line, f"{line.name}.events.order")) == 3)
    orders = on(line, f"{line.name}.events.order")
    assert [(event.key, event.value["n"]) for event in orders] == [("o0", 0), ("o1", 1), ("o1", 3)]
    assert orders[2].headers == {"id": f"{number}3".encode(), "eventType": b"Paid"}
    assert topics_of(line.kafka.bootstrap_servers, line.name) == [
        f"{line.name}.events.order",
        f"{line.name}.events.user",
    ]
