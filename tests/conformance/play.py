"""A case, played once: database, bridge and steps, and what is on the topics in the end. Touches servers."""

from __future__ import annotations

import json
from pathlib import Path
from time import sleep
from typing import Any

import orjson
import psycopg

from cdc import names
from cdc.config import parse
from cdc.debezium.translate import translate
from cdc.prove.observed import consumer, messages
from cdc.settings import Settings
from cdc.testing.servers import EmbeddedBroker, PostgresServer
from tests.conformance.bridge import Bridge
from tests.conformance.cases import Case
from tests.conformance.sessions import Sessions

DATABASE, PREFIX, MARKER = "conformance", "conf", "conformance_marker"

SERVER = {"timezone": "UTC", "autovacuum": "off", "wal_writer_delay": "10ms", "max_prepared_transactions": "10"}
"""Settings of the PostgreSQL server, over those of all tests."""

INTERNAL = ("__consumer_offsets", "__transaction_state")


def play(case: Case, server: PostgresServer, *, schemas: bool) -> list[dict[str, Any]]:
    """Run a case on a broker and in a database of its own.

    Args:
        case: what to run.
        server: where its database is made; no other case uses it meanwhile.
        schemas: whether Kafka Connect's schemas are in every record.

    Returns:
        The records of all topics but the bridge's own, in order within each topic.
    """
    with EmbeddedBroker() as broker:
        _fresh(server)
        sessions = Sessions(server.url(DATABASE))
        try:
            for step in case.setup:
                sessions.run(step)
            # What was set for the database holds for sessions that begin behind it.
            sessions.close()
            _stream(case, sessions, Bridge(settings(case, server, broker, schemas=schemas)), server)
        finally:
            sessions.close()
        return recorded(broker)


def settings(case: Case, server: PostgresServer, broker: EmbeddedBroker, *, schemas: bool) -> Settings:
    """What `cdc import-debezium` makes of the case's settings, with the addresses of its servers."""
    enabled = str(schemas).lower()
    given = {
        "topic.prefix": PREFIX,
        "plugin.name": "pgoutput",
        "database.hostname": "localhost",
        "database.user": "postgres",
        "database.dbname": DATABASE,
        "key.converter.schemas.enable": enabled,
        "value.converter.schemas.enable": enabled,
        **case.connector,
    }
    translation = translate("conformance", given)
    assert not translation.wrong, translation.wrong
    document = translation.document
    document["kafka"] = {"bootstrap_servers": broker.bootstrap_servers}
    (database,) = document["databases"].values()
    database.clear()
    database["url"] = server.url(DATABASE)
    (connector,) = document["connectors"].values()
    connector["idle_interval"] = "50ms"
    return parse(orjson.dumps(document).decode(), translation.salts)


def _stream(case: Case, sessions: Sessions, bridge: Bridge, server: PostgresServer) -> None:
    markers = 0

    def drain() -> None:
        """Write a marker, and wait until all up to it is published and confirmed."""
        nonlocal markers
        markers += 1
        emitted = (
            sessions.session()
            .execute("SELECT pg_logical_emit_message(false, %s, %s)", [MARKER, str(markers)])
            .fetchone()
        )
        assert emitted is not None
        with psycopg.connect(server.url(), autocommit=True) as watching:
            query = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
            slot = bridge.slot
            bridge.wait(lambda: watching.execute(query, [emitted[0], slot]).fetchone() == (True,), "drained")

    bridge.start()
    try:
        for step in case.stream:
            if not isinstance(step, dict):
                sessions.run(step)
            elif step.get("drain"):
                drain()
            elif "sleep_ms" in step:
                sleep(step["sleep_ms"] / 1000)
            elif step.get("restart"):
                drain()
                bridge.stop()
                for down in step.get("while_down", []):
                    sessions.run(down)
                bridge.start()
            else:
                sessions.run(step)
        drain()
        sleep(case.linger_ms / 1000)
    finally:
        bridge.stop()


def _fresh(server: PostgresServer) -> None:
    """The database, empty and without slots."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            with psycopg.connect(server.url(DATABASE), autocommit=True) as there:
                for (prepared,) in there.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
                    there.execute(psycopg.sql.SQL("ROLLBACK PREPARED {}").format(psycopg.sql.Literal(prepared)))
        while admin.execute("SELECT 1 FROM pg_replication_slots WHERE active").fetchone():
            sleep(0.01)
        admin.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())
        admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0 LOCALE 'C.UTF-8'".encode())


def recorded(broker: EmbeddedBroker) -> list[dict[str, Any]]:
    """What a reader of committed records sees, in the form of the golden files."""
    reader = consumer(broker.bootstrap_servers)
    try:
        found = reader.list_topics(timeout=30).topics
    finally:
        reader.close()
    topics = [name for name in sorted(found) if name not in (*names.own_topics(PREFIX), *INTERNAL)]
    records: dict[str, list[dict[str, Any]]] = {topic: [] for topic in topics}
    for message in messages(broker.bootstrap_servers, topics):
        records[str(message.topic())].append(
            {
                "topic": message.topic(),
                "key": _text(message.key()),
                "value": _text(message.value()),
                "headers": [{"key": name, "value": _text(value)} for name, value in message.headers() or ()],
            }
        )
    return [record for topic in topics for record in records[topic]]


def _text(written: bytes | None) -> str | None:
    return None if written is None else written.decode()


def write(records: list[dict[str, Any]], file: Path) -> None:
    """A record a line, as the golden files have them."""
    lines = ",\n".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records)
    file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
