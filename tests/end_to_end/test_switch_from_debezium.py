"""From Debezium in Kafka Connect to the bridge, while writers go on: every change is on its topic once."""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cdc.holdings import LAST_RECORDS
from cdc.prove.bridge import Bridge
from cdc.prove.observed import await_key, consumer, messages
from cdc.prove.truth import Row, Transaction, Witness
from cdc.testing.servers import KafkaServer, maven_jars
from cdc.testing.system import wait_for
from tests.compare.connect import KafkaConnect
from tests.compare.debezium import POM
from tests.conftest import needed_for
from tests.databases import Database

SECONDS = 60.0
NAME = "inventory"

BEFORE = 20
"""Rows that are there before Debezium, whose snapshot reads them."""

ENOUGH = 600
"""Records of `accounts` after which something else happens."""

TABLES = f"""
CREATE SEQUENCE ids START 1000;
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
CREATE TABLE lines (number int GENERATED ALWAYS AS IDENTITY, what text);
CREATE TABLE written (id int PRIMARY KEY);
INSERT INTO accounts SELECT generate_series(1, {BEFORE}), 0;
"""
"""Each change of a row gives it a value that it never had."""

MANY = f"""
INSERT INTO accounts SELECT nextval('ids'), 0 FROM generate_series(1, {4 * LAST_RECORDS});
INSERT INTO lines (what) SELECT 'many' FROM generate_series(1, {2 * LAST_RECORDS});
"""
"""More than the bridge looks back on any partition: what it gave up may lie behind all that Debezium published."""

POINTS = ("publisher.before_commit", "publisher.after_commit", "stream.after_confirm")
"""Where the bridge's worker is killed too, while it catches up."""

LAST = -1
"""Of `written`, when all is over."""

Mark = tuple[str, int | None, tuple[tuple[str, Any], ...] | None]
"""What is compared of an event: operation, transaction, row after it."""

Keyed = dict[tuple[str, Any], list[Mark]]
"""(table, id) → events in order; of a table without key all are under None."""


@pytest.fixture
def connect(kafka: KafkaServer, prefix: str) -> Iterator[KafkaConnect]:
    with needed_for("switching from Debezium itself"):
        maven_jars(POM, "debezium")
    with KafkaConnect(kafka.bootstrap_servers, f"{prefix}-connect", flush_ms=4000) as running:
        yield running


class Writers:
    """Sessions that write until they are stopped."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(Random(number),), daemon=True) for number in range(3)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._failures == []

    def _run(self, random: Random) -> None:
        try:
            with self._database.connect(autocommit=False) as session:
                while not self._stop.wait(random.expovariate(20)):
                    try:
                        for action in random.choices(ACTIONS, WEIGHTS, k=random.choice((1, 1, 2, 4))):
                            action(session.cursor(), random)
                    except psycopg.errors.DeadlockDetected:
                        session.rollback()
                    if random.random() < 0.05:
                        session.rollback()
                    session.commit()
        except BaseException as error:
            self._failures.append(error)


Cursor = psycopg.Cursor[Any]


def insert(cursor: Cursor, random: Random) -> None:
    cursor.execute(f"INSERT INTO accounts SELECT nextval('ids'), 0 FROM generate_series(1, {random.randint(1, 5)})")


def update(cursor: Cursor, random: Random) -> None:
    cursor.execute(f"UPDATE accounts SET balance = nextval('ids') WHERE {some(random, 5)}")


def delete(cursor: Cursor, random: Random) -> None:
    cursor.execute(f"DELETE FROM accounts WHERE {some(random, 2)}")


def move(cursor: Cursor, random: Random) -> None:
    """A delete, a tombstone and a create."""
    cursor.execute(f"UPDATE accounts SET id = nextval('ids') WHERE {some(random, 1)}")


def copy(cursor: Cursor, random: Random) -> None:
    """Rows that share an LSN."""
    with cursor.copy("COPY lines (what) FROM STDIN") as rows:
        for _ in range(random.randint(1, 30)):
            rows.write_row([f"{random.random()}"])


def much(cursor: Cursor, random: Random) -> None:
    """So that Debezium is stopped within a transaction, now and then."""
    cursor.execute("INSERT INTO written SELECT nextval('ids') FROM generate_series(1, 200)")


ACTIONS: list[Callable[[Cursor, Random], None]] = [insert, update, delete, move, copy, much]
WEIGHTS = [6, 8, 2, 2, 3, 1]


def some(random: Random, count: int) -> str:
    return f"id IN (SELECT id FROM accounts ORDER BY hashint4(id + {random.randrange(1000)}) LIMIT {count})"


class Topics:
    """What is on them, one for each table, under the names that Debezium gives them."""

    def __init__(self, kafka: KafkaServer, prefix: str) -> None:
        self._servers = kafka.bootstrap_servers
        self._names = {f"{prefix}.public.{table}": table for table in ("accounts", "lines", "written")}
        self._accounts, _, self._written = self._names
        admin = AdminClient({"bootstrap.servers": self._servers})
        # Where an event without key goes, nobody can say of several partitions.
        for future in admin.create_topics([NewTopic(f"{prefix}.public.lines", 1, 1)]).values():
            future.result(SECONDS)

    def messages(self) -> Iterator[tuple[str, Message]]:
        for message in messages(self._servers, list(self._names)):
            yield self._names[str(message.topic())], message

    def count(self) -> int:
        """Of `accounts`; a transaction's end counts too. 0 while the topic is being made."""
        reader = consumer(self._servers)
        try:
            there = reader.list_topics(self._accounts, timeout=SECONDS).topics[self._accounts].partitions
            return sum(reader.get_watermark_offsets(TopicPartition(self._accounts, one))[1] for one in there)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            return 0
        finally:
            reader.close()

    def grow(self) -> None:
        """Wait until `ENOUGH` more records are there."""
        wanted = self.count() + ENOUGH
        assert wait_for(lambda: self.count() >= wanted, SECONDS, 0.2), f"{self.count()} records, and not {wanted}"

    def end(self) -> None:
        """Wait for what was written last."""
        await_key(self._servers, self._written, {"id": LAST}, SECONDS)

    def events(self) -> tuple[int, Keyed]:
        """How many rows of Debezium's snapshot there are, and all other events."""
        read, found, partitions = 0, defaultdict(list), dict[tuple[str, Any], int]()
        for table, message in self.messages():
            key, value = orjson.loads(message.key() or b"null"), orjson.loads(message.value() or b"null")
            at = table, key and key["id"]
            assert partitions.setdefault(at, message.partition() or 0) == message.partition(), "a key has one partition"
            if value is not None and value["op"] == "r":
                read += 1
            elif value is None:
                found[at].append(mark("tombstone", None, None))
            else:
                found[at].append(mark(value["op"], value["source"]["txId"], value["after"]))
        return read, found


def mark(op: str, xid: int | None, after: Row | None) -> Mark:
    return op, xid, None if after is None else tuple(sorted(after.items()))


def committed(transactions: Iterable[Transaction]) -> Keyed:
    """The events that there have to be, by an account that neither Debezium nor the bridge has part in."""
    wanted: Keyed = defaultdict(list)
    for transaction in transactions:
        for change in transaction.changes:
            table, old, new = change.table.removeprefix("public."), change.old, change.new
            if old is not None:  # it goes, or its key
                wanted[table, old["id"]] += [mark("d", transaction.xid, None), mark("tombstone", None, None)]
            if new is not None:
                op = "u" if change.kind == "UPDATE" and old is None else "c"
                wanted[table, new.get("id")].append(mark(op, transaction.xid, new))
    return wanted


def differences(found: Keyed, wanted: Keyed) -> list[str]:
    """Lost, twice, disordered: in words."""
    told = []
    for at in sorted(found.keys() | wanted.keys(), key=str):
        there, due = found.get(at, []), wanted.get(at, [])
        if lost := Counter(due) - Counter(there):
            told.append(f"{at}: lost {dict(lost)}")
        if more := Counter(there) - Counter(due):
            told.append(f"{at}: twice, or never committed: {dict(more)}")
        if there != due and not lost and not more:
            told.append(f"{at}: in another order: {there}, and not {due}")
    return told


class Taken(Bridge):
    """Runs the YAML as `cdc import-debezium` wrote it."""

    def _write_settings(self) -> None:
        pass


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_the_bridge_goes_on_where_debezium_ended(
    end: str,
    prefix: str,
    kafka: KafkaServer,
    database: Database,
    connect: KafkaConnect,
    tmp_path: Path,
    record_property: Callable[[str, str], None],
) -> None:
    database.execute(TABLES)
    topics = Topics(kafka, prefix)
    connect.add(
        NAME,
        {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "topic.prefix": prefix,
            "plugin.name": "pgoutput",
            "slot.name": prefix,
            "publication.name": prefix,
            "publication.autocreate.mode": "filtered",
            "table.include.list": "public.accounts,public.lines,public.written",
            "database.hostname": "127.0.0.1",
            "database.port": str(database.server.port),
            "database.user": "postgres",
            "database.password": "any",
            "database.dbname": database.name,
            "topic.creation.default.partitions": "3",
            "topic.creation.default.replication.factor": "1",
        },
    )
    assert wait_for(lambda: topics.count() == BEFORE, SECONDS, 0.5), connect.log.read_text()
    program = database.server.bin_dir / "pg_recvlogical"
    witness = Witness(database.url(), f"{prefix}_witness", {}, program, tmp_path)
    (tmp_path / "connector.json").write_text(connect.described(NAME))
    points = tmp_path / "failpoints"
    points.mkdir()
    environment = {
        "SOURCE_PASSWORD": "any",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "CDC_FAILPOINTS": str(points),
    }
    if end == "stopped":
        environment["CDC_CONNECTORS__INVENTORY__BATCH__ROWS"] = "300"
    else:  # all that is there is one batch, most of which Kafka has when it is given up
        environment["CDC_CONNECTORS__INVENTORY__BATCH__LINGER"] = "1s"
        environment["CDC_KAFKA__PROPERTIES"] = '{"queue.buffering.max.messages": 500}'
    with Taken(tmp_path, {}, environment=environment) as bridge:
        with Writers(database):
            topics.grow()
            offset = connect.stop_connector(NAME) if end == "stopped" else killed(connect, topics)
            if end == "killed":
                database.execute(MANY)
            (tmp_path / "offset.json").write_text(offset)
            written = bridge.cdc("import-debezium", "connector.json", "--offset", "offset.json", "-o", "cdc.yaml")
            assert written.returncode == 0, written.stderr
            for point in POINTS:
                (points / point).touch()
            bridge.start()
            topics.grow()
        database.execute(f"INSERT INTO written VALUES ({LAST})")
        topics.end()
        assert bridge.stop() == 0
    wanted = committed(witness.transactions(database.url(), []))
    read, found = topics.events()
    assert differences(found, wanted) == []
    assert read == BEFORE
    left_out = sum(map(int, re.findall(r'"left_out":(\d+)', bridge.log)))
    assert left_out > 0 or end == "stopped"
    assert list(points.iterdir()) == []
    record_property(
        f"Debezium {end}, and gone on with", f"{sum(map(len, wanted.values()))} events, {left_out} left out"
    )


def killed(connect: KafkaConnect, topics: Topics) -> str:
    """Kill it when it has published what its stored offset does not say; returns that."""
    connector_offset = connect.stored_offset(NAME)

    def stored_anew() -> bool:
        return connect.stored_offset(NAME) != connector_offset

    assert wait_for(stored_anew, SECONDS, 0.1)
    topics.grow()
    connect.kill()
    offset = connect.stored_offset(NAME)
    assert offset is not None
    return offset
