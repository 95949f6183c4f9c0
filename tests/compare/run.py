"""Random tables through Debezium and through the bridge, from the same database, and every event compared.

Both take their snapshot of the same rows, then both stream while the tables change. Starts processes, connects to
PostgreSQL and Kafka.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any, Final

import orjson
import psycopg

from cdc.config import parse
from cdc.debezium.translate import translate
from cdc.settings import Settings
from cdc.testing.servers import EmbeddedBroker, PostgresServer
from tests.compare.debezium import Debezium, DebeziumFailed
from tests.compare.difference import Form, differences
from tests.compare.kinds import PRELUDE
from tests.compare.normalise import normal, normal_header
from tests.compare.options import random_options
from tests.compare.tables import Table, random_table
from tests.conformance.bridge import Bridge
from tests.conformance.play import recorded

TABLES: Final = 40
"""Of one batch: one run of both connectors."""

PREFIX: Final = "conf"  # `recorded` leaves the bridge's own topics out by it
DATABASE: Final = "compare"
SLOTS: Final = ("compare_debezium", "compare_bridge")
SECONDS: Final = 60.0


@dataclass
class Result:
    """What came of it.

    Args:
        tables, events: compared.
        failed_statements: SQL that PostgreSQL refused; a few are.
        differences: in words: seed, options, the table's SQL, both events.
    """

    tables: int = 0
    events: int = 0
    failed_statements: int = 0
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Batch:
    """Tables and settings that both connectors run with, all from the seed and its number."""

    name: str
    options: dict[str, str]
    schemas: bool
    tables: list[Table]


def batch(seed: int, number: int, tables: int = TABLES) -> Batch:
    """A batch, the same whoever asks for it."""
    random = Random(f"{seed}/{number}")
    options, schemas = random_options(random), random.random() < 0.5
    return Batch(f"seed {seed}, batch {number}", options, schemas, [random_table(random, n) for n in range(tables)])


def compare(batches: Iterator[Batch], server: PostgresServer, folder: Path) -> Result:
    """Run them, one after the other.

    Args:
        batches: what to compare.
        server: with logical replication, in UTC; nobody else uses it.
        folder: for files of Debezium's.
    """
    result = Result()
    with Debezium(folder) as debezium:
        for one in batches:
            try:
                theirs, ours = _events(one, server, debezium, result)
            except DebeziumFailed as error:
                result.differences.append(f"{one.name}, {one.options}: {error}")
                continue
            _differences(one, theirs, ours, result)
    return result


def _events(
    one: Batch, server: PostgresServer, debezium: Debezium, result: Result
) -> tuple[dict[str, list[tuple[Form, Form]]], dict[str, list[Form]]]:
    """The events of both, by topic."""
    given = {
        "topic.prefix": PREFIX,
        "plugin.name": "pgoutput",
        "database.hostname": "127.0.0.1",
        "database.port": str(server.port),
        "database.user": "postgres",
        "database.dbname": DATABASE,
        **one.options,
    }
    with EmbeddedBroker() as broker, _database(server, one, result) as session:
        bridge = Bridge(_settings(one, given, server, broker))
        debezium.start({**given, "slot.name": SLOTS[0], "publication.name": SLOTS[0]})
        try:
            debezium.wait_for_streaming(session, SLOTS[0])
            bridge.start()
            try:
                for table in one.tables:
                    _run(session, table.stream, result)
                session.execute("ROLLBACK")
                lsn = session.execute("SELECT pg_logical_emit_message(false, 'compare_marker', '')").fetchone()
                debezium.wait_for_marker()
                query = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
                bridge.wait(lambda: session.execute(query, [*lsn, bridge.slot]).fetchone() == (True,), "drained")
            finally:
                bridge.stop()
        finally:
            theirs = debezium.stop()
        return _theirs(theirs, one.schemas), _ours(recorded(broker))


def _settings(one: Batch, given: dict[str, str], server: PostgresServer, broker: EmbeddedBroker) -> Settings:
    """Those that the bridge makes of Debezium's."""
    enabled = str(one.schemas).lower()
    own = {"slot.name": SLOTS[1], "publication.name": SLOTS[1]}
    converters = {f"{part}.converter.schemas.enable": enabled for part in ("key", "value", "header")}
    translation = translate("compare", {**given, **own, **converters})
    document = translation.document
    document["kafka"] = {"bootstrap_servers": broker.bootstrap_servers}
    (database,) = document["databases"].values()
    database.clear()
    database["url"] = server.url(DATABASE)
    (connector,) = document["connectors"].values()
    connector["idle_interval"] = "50ms"
    return parse(orjson.dumps(document).decode(), translation.salts)


@contextmanager
def _database(server: PostgresServer, one: Batch, result: Result) -> Iterator[psycopg.Connection[Any]]:
    """A session of a fresh database with the tables."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0 LOCALE 'C.UTF-8'".encode())
        try:
            with psycopg.connect(server.url(DATABASE), autocommit=True, prepare_threshold=None) as session:
                for statement in PRELUDE:
                    session.execute(statement.encode())
                for table in one.tables:
                    session.execute(table.create[0].encode())
                    _run(session, table.create[1:], result)
                yield session
        finally:
            deadline = monotonic() + SECONDS
            while admin.execute("SELECT 1 FROM pg_replication_slots WHERE active").fetchone():
                if monotonic() > deadline:
                    raise TimeoutError("a replication slot stays in use")
                sleep(0.02)
            admin.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
            admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())


def _run(session: psycopg.Connection[Any], statements: list[str], result: Result) -> None:
    for statement in statements:
        try:
            session.execute(statement.encode())
        except psycopg.Error:  # a key that is there already, a value that is out of range once it is rounded
            result.failed_statements += 1


def _is_marker(value: str | None) -> bool:
    return value is not None and '"prefix":"compare_marker"' in value


def _theirs(records: list[dict[str, Any]], schemas: bool) -> dict[str, list[tuple[Form, Form]]]:
    """Each event with its headers in both spellings."""
    found: dict[str, list[tuple[Form, Form]]] = {}
    for record in records:
        form = record["schemas" if schemas else "plain"]
        if _is_marker(form["value"]):
            continue
        key, value = normal(form["key"]), normal(form["value"])
        headers = [(name, normal_header(name, text)) for name, text in form["headers"]]
        half = len(headers) // 2
        found.setdefault(record["topic"], []).append(((key, value, headers[half:]), (key, value, headers[:half])))
    return found


def _ours(records: list[dict[str, Any]]) -> dict[str, list[Form]]:
    found: dict[str, list[Form]] = {}
    for record in records:
        headers = [(each["key"], normal_header(each["key"], each["value"])) for each in record["headers"]]
        form = normal(record["key"]), normal(record["value"]), headers
        if _is_marker(record["value"]):
            continue
        found.setdefault(record["topic"], []).append(form)
    return found


def _spelled_as(either: tuple[Form, Form], our: Form) -> Form:
    """Debezium's event, each header in the spelling that we have, if it is one of the two."""
    (key, value, simple), (_, _, json) = either
    headers = [json_ if json_ in our[2] else simple_ for simple_, json_ in zip(simple, json, strict=True)]
    return key, value, headers


def _differences(
    one: Batch, theirs: dict[str, list[tuple[Form, Form]]], ours: dict[str, list[Form]], result: Result
) -> None:
    """The first difference of each topic, with the SQL that leads to it."""
    result.tables += len(one.tables)
    for topic in sorted(theirs.keys() | ours.keys()):
        result.events += len(theirs.get(topic, ()))
        for number, (either, our) in enumerate(zip_longest(theirs.get(topic, ()), ours.get(topic, ()))):
            their = _spelled_as(either, our) if either and our else either and either[0]
            if their == our:
                continue
            words = "".join(f"  {member}\n" for member in differences(their, our))
            result.differences.append(
                f"{one.name}, schemas {one.schemas}, {one.options}, topic {topic}, event {number}:\n{words}"
                + "".join(f"{table.sql()}\n" for table in one.tables if topic in table.topics(PREFIX))
            )
            break
