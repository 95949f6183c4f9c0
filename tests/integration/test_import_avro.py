"""A Debezium connector with Confluent's Avro converters, taken over: Avro on its topics, and a sink that copies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cdc.debezium.text import text_of
from cdc.debezium.translate import translate
from cdc.prove.bridge import Bridge
from cdc.prove.observed import messages
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer
from tests.schema_registry import running

SECONDS = 60.0

ROWS = "SELECT id, price, long FROM {} ORDER BY id"

TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, price numeric(10, 2) NOT NULL, long text);
ALTER TABLE orders ALTER long SET STORAGE EXTERNAL;
CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload jsonb);
CREATE SCHEMA target;
INSERT INTO orders SELECT i, i, repeat('x', 9000) FROM generate_series(1, 3) i;
"""

CHANGES = """
UPDATE orders SET price = 1.5 WHERE id = 1; DELETE FROM orders WHERE id = 2;
INSERT INTO outbox VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{}', '7', 'made', '{{"id": 7}}');
"""


def test_a_connector_with_avro_goes_on_as_one(
    database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(TABLES)
    for variable, value in (
        ("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers),
        ("SOURCE_PASSWORD", "none"),
        ("SOURCE_USER", "postgres"),
        ("SCHEMA_REGISTRY_PASSWORD", "hunter2"),
    ):
        monkeypatch.setenv(variable, value)
    with running("me:hunter2") as registry:
        converters = {
            f"{kind}.converter{option}": value
            for kind in ("key", "value")
            for option, value in (
                ("", "io.confluent.connect.avro.AvroConverter"),
                (".schema.registry.url", registry.url),
                (".basic.auth.credentials.source", "USER_INFO"),
                (".basic.auth.user.info", "me:hunter2"),
            )
        }
        translation = translate(
            "source",
            {
                "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
                "database.hostname": "127.0.0.1",
                "database.port": str(database.server.port),
                "database.user": "${file:/opt/secrets:user}",
                "database.password": "${file:/opt/secrets:password}",
                "database.dbname": database.name,
                "topic.prefix": prefix,
                "plugin.name": "pgoutput",
                "slot.name": prefix,
                "publication.name": prefix,
                "publication.autocreate.mode": "filtered",
                "table.include.list": "public.orders,public.outbox",
                "topic.creation.default.replication.factor": "1",
                "transforms": "box",
                "transforms.box.type": "io.debezium.transforms.outbox.EventRouter",
                "transforms.box.predicate": "isOutbox",
                "transforms.box.route.topic.replacement": f"{prefix}.${{routedByValue}}",
                "predicates": "isOutbox",
                "predicates.isOutbox.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
                "predicates.isOutbox.pattern": rf"{prefix}\.public\.outbox",
                **converters,
            },
        )
        assert (translation.wrong, translation.lost) == ([], [])
        topic, made = f"{prefix}.public.orders", f"{prefix}.made"
        document = YAML(typ="safe", pure=True).load(text_of(translation, "shop.json"))
        sink = {"type": "postgres", "database": "source", "topics": [topic], "schema": "target"}
        with Bridge(tmp_path, {**document, "sinks": {"copy": sink}, "server": {"listen": "127.0.0.1:1"}}) as bridge:
            bridge.start()
            bridge.until("streaming", seconds=SECONDS)
            database.execute(CHANGES.format("made"))
            eventually(
                lambda: (
                    database.rows("SELECT to_regclass('target.orders')") != [(None,)]
                    and database.rows(ROWS.format("target.orders")) == database.rows(ROWS.format("orders"))
                ),
                SECONDS,
                "changes are copied",
            )
            eventually(lambda: bool([*messages(kafka.bootstrap_servers, [made])]), SECONDS, "a message is published")
            assert bridge.stop() == 0
            shown = bridge.cdc("tail", topic, "--until-end", "--json").stdout
        values = [json.loads(line)["value"] for line in shown.splitlines()]
        assert [value and value["op"] for value in values] == ["r", "r", "r", "u", "d", None]
        assert values[3]["after"]["long"] == "__debezium_unavailable_value"
        assert "cdc" not in values[3]
        records = [*messages(kafka.bootstrap_servers, [topic])]
        assert {record.key()[:1] for record in records} == {b"\0"}
        assert sorted(registry.subjects) == [f"{topic}-key", f"{topic}-value"]
        (message,) = messages(kafka.bootstrap_servers, [made])
        assert (message.key(), message.value()) == (b'"7"', b'"{\\"id\\": 7}"')
