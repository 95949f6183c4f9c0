"""Routers, outbox and flattening, taken over from a Debezium connector: topics have what Debezium itself puts there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Message

from cdc.config import parse
from cdc.debezium.text import text_of
from cdc.debezium.translate import translate
from cdc.prove.observed import messages, topics_of
from cdc.testing.servers import KafkaServer, maven_jars
from tests.compare.debezium import POM, Debezium
from tests.compare.normalise import normal_header
from tests.conformance.bridge import Bridge
from tests.conftest import needed_for
from tests.databases import Database

TABLES = """
CREATE TABLE orders_1 (id int PRIMARY KEY, what text);
CREATE TABLE orders_2 (id int PRIMARY KEY, what text);
CREATE TABLE customers (id int PRIMARY KEY, name text);
ALTER TABLE customers REPLICA IDENTITY FULL;
CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload jsonb, tenant text);
"""

CHANGES = """
INSERT INTO orders_1 VALUES (1, 'a');
INSERT INTO orders_2 VALUES (1, 'b');
UPDATE orders_1 SET what = 'c';
DELETE FROM orders_2;
INSERT INTO customers VALUES (1, 'x'), (2, 'y');
UPDATE customers SET name = 'z' WHERE id = 1;
DELETE FROM customers WHERE id = 2;
INSERT INTO outbox VALUES
  ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'order', '7', 'OrderCreated', '{"id": 7, "lines": [{"item": "x"}]}', 'acme');
DELETE FROM outbox;
"""

Event = tuple[Any, Any, list[tuple[str, str | None]]]
"""Key, value, headers."""

MATCHES = "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"

PHYSICAL = "__dbz__physicalTableIdentifier"


def transforms(prefix: str) -> dict[str, str]:
    return {
        "transforms": "route,box,flat",
        "transforms.route.type": "io.debezium.transforms.ByLogicalTableRouter",
        "transforms.route.topic.regex": r"(.*)orders_\d+",
        "transforms.route.topic.replacement": "$1orders",
        "transforms.box.type": "io.debezium.transforms.outbox.EventRouter",
        "transforms.box.predicate": "isOutbox",
        "transforms.box.table.expand.json.payload": "true",
        "transforms.box.table.fields.additional.placement": "type:header:eventType,tenant:envelope",
        "transforms.box.route.topic.replacement": f"{prefix}.events.${{routedByValue}}",
        "transforms.flat.type": "io.debezium.transforms.ExtractNewRecordState",
        "transforms.flat.predicate": "isCustomer",
        "transforms.flat.delete.tombstone.handling.mode": "rewrite-with-tombstone",
        "transforms.flat.add.fields": "op",
        "predicates": "isOutbox,isCustomer",
        "predicates.isOutbox.type": MATCHES,
        "predicates.isOutbox.pattern": rf"{prefix}\.public\.outbox",
        "predicates.isCustomer.type": MATCHES,
        "predicates.isCustomer.pattern": r".*\.customers",
    }


def test_topics_have_what_debezium_puts_there(
    prefix: str, kafka: KafkaServer, database: Database, tmp_path: Path
) -> None:
    with needed_for("transforms beside Debezium's own"):
        maven_jars(POM, "debezium")
    database.execute(TABLES)
    properties = {
        "topic.prefix": prefix,
        "plugin.name": "pgoutput",
        "database.hostname": "127.0.0.1",
        "database.port": str(database.server.port),
        "database.user": "postgres",
        "database.dbname": database.name,
        "snapshot.mode": "no_data",
        "publication.autocreate.mode": "filtered",
        "schema.include.list": "public",
        **transforms(prefix),
    }
    given = {**properties, "value.converter.schemas.enable": "false", "topic.creation.default.replication.factor": "1"}
    translation = translate("shop", {**given, "slot.name": f"{prefix}_b", "publication.name": f"{prefix}_b"})
    assert (translation.wrong, translation.lost) == ([], [])
    bridge = Bridge(parse(text_of(translation, "shop.json"), {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}))
    with Debezium(tmp_path) as debezium, database.connect() as session:
        debezium.start({**properties, "slot.name": f"{prefix}_d", "publication.name": f"{prefix}_d"})
        debezium.wait_for_streaming(session, f"{prefix}_d")
        bridge.start()
        try:
            for change in CHANGES.split(";\n"):
                session.execute(change.encode())
            session.execute("SELECT pg_logical_emit_message(false, 'compare_marker', '')")
            debezium.wait_for_marker()
            theirs = by_topic(emitted(record) for record in debezium.stop())
            del theirs[f"{prefix}.message"]
            bridge.wait(lambda: count(kafka, prefix) == sum(map(len, theirs.values())), "publishes")
        finally:
            bridge.stop()
    ours = by_topic(map(published, messages(kafka.bootstrap_servers, list(theirs))))
    for _, value, _ in ours[f"{prefix}.public.customers"]:
        if value is not None:
            del value["__pos"]
    for _, value, _ in ours[f"{prefix}.public.orders"]:
        for row in (value["before"], value["after"]) if value is not None else ():
            if row is not None:
                del row[PHYSICAL]
    assert theirs.keys() == {f"{prefix}.{topic}" for topic in ("public.orders", "public.customers", "events.order")}
    assert ours == theirs


def count(kafka: KafkaServer, prefix: str) -> int:
    topics = topics_of(kafka.bootstrap_servers, prefix)
    return sum(
        1 for _ in messages(kafka.bootstrap_servers, [topic for topic in topics if topic != f"{prefix}.message"])
    )


def by_topic(events: Iterable[tuple[str, Event]]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for topic, event in events:
        found.setdefault(topic, []).append(event)
    return found


def emitted(record: dict[str, Any]) -> tuple[str, Event]:
    """A record of Debezium's, its headers as Connect writes them by default."""
    form = record["plain"]
    headers = form["headers"][len(form["headers"]) // 2 :]
    return record["topic"], (parsed(form["key"]), parsed(form["value"]), [told(*header) for header in headers])


def published(message: Message) -> tuple[str, Event]:
    headers = [(name, written.decode()) for name, written in message.headers() or () if isinstance(written, bytes)]
    key, value = ((written or b"").decode() for written in (message.key(), message.value()))
    return str(message.topic()), (parsed(key), parsed(value), [told(*header) for header in headers])


def parsed(text: str | None) -> Any:
    """Without what each of the two has of its own: when it was processed, and by which version."""
    value = orjson.loads(text) if text else None
    if isinstance(value, dict) and "source" in value:
        for name in ("ts_ms", "ts_us", "ts_ns"):
            value.pop(name, None)
        del value["source"]["version"]
    return value


def told(name: str, value: str) -> tuple[str, str | None]:
    return name, normal_header(name, value)
