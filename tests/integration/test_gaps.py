"""Every gap is found, at a start and while the connector runs; told, remembered, and mended by difference.

Real PostgreSQL and Kafka; a connector runs in a thread of the test, started again as the supervisor would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event as Flag
from threading import Thread
from time import monotonic
from typing import Any

import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from cdc import heal, names
from cdc.config import parse
from cdc.errors import CdcError, Gap
from cdc.pipeline import run_connector
from cdc.plugins import connector_plugins
from cdc.prove.observed import Event, events
from cdc.prove.waiting import eventually
from cdc.publisher import Publisher
from cdc.testing.databases import Database, fresh_database
from cdc.testing.servers import KafkaServer, PostgresServer
from cdc.testing.standby import PostgresStandby

SECONDS = 60.0
ROWS = 300
CONNECTOR = "w"


class Line:
    """Two tables, a connector, and what readers of its topics have."""

    def __init__(self, prefix: str, kafka: KafkaServer, database: Database) -> None:
        self.prefix, self.kafka, self.database = prefix, kafka, database
        self.topic, self.offsets = f"{prefix}.public.t", names.offsets_topic(prefix)
        self.topics = [self.topic, f"{prefix}.public.u"]
        self.filters: dict[str, str] = {}
        self.slot = self.publication = names.slot_name(prefix, CONNECTOR)
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        database.execute(
            "CREATE TABLE t (id int PRIMARY KEY, note text); CREATE TABLE u (id int PRIMARY KEY, note text); "
            f"INSERT INTO t SELECT i, 'first' FROM generate_series(1, {ROWS}) i; INSERT INTO u VALUES (1, 'first')"
        )

    def settings(self) -> Any:
        document = {
            "name": self.prefix,
            "kafka": {"bootstrap_servers": self.kafka.bootstrap_servers},
            "databases": {"warehouse": {"url": self.database.url()}},
            "topics": {"defaults": {"partitions": 2, "replication_factor": 1}},
            "connectors": {
                CONNECTOR: {
                    "type": "postgres_wal",
                    "database": "warehouse",
                    "tables": ["public.t", "public.u"],
                    "idle_interval": "500ms",
                }
            },
        }
        return parse(json.dumps(document), {})

    @contextmanager
    def running(self) -> Iterator[Callable[[Callable[[], bool]], None]]:
        """Run the connector, again and again where it may be; the yielded function waits for a fact.

        That function raises what the connector ended with for good.
        """
        stop, ended = Flag(), []
        current: list[Any] = []

        def run() -> None:
            while not stop.is_set():
                settings = self.settings()
                connector = connector_plugins()["postgres_wal"].create(settings, CONNECTOR, settings.connectors["w"])
                publisher = Publisher(settings, CONNECTOR)
                publisher.stop_when(stop.is_set)
                current[:] = [connector]
                try:
                    run_connector(connector, publisher)
                except CdcError as error:
                    if not error.retriable:
                        ended.append(error)
                        return
                except BaseException as error:
                    ended.append(error)
                    raise

        def until(fact: Callable[[], bool]) -> None:
            deadline = monotonic() + SECONDS
            while not fact():
                if ended:
                    raise ended[0]
                assert monotonic() < deadline, current[0].status()
                thread.join(0.05)

        thread = Thread(target=run, daemon=True)
        thread.start()
        try:
            yield until
        finally:
            stop.set()
            for connector in current:
                connector.stop()
            thread.join(SECONDS)

    def publish_all(self) -> None:
        """Run until readers have what the tables have, and stop."""
        with self.running() as until:
            until(self.is_even)

    def insert(self, number: int, note: str = "later") -> None:
        self.database.execute(f"INSERT INTO t VALUES ({number}, '{note}')")

    def events(self) -> list[Event]:
        there = self.admin.list_topics(timeout=10).topics
        return events(self.kafka.bootstrap_servers, [topic for topic in self.topics if topic in there])

    def differs(self) -> set[tuple[str, str, int]]:
        """What a heal has to publish: (topic, op, id)."""
        found = set()
        for topic in self.topics:
            name = topic.rpartition(".")[2]
            table = dict(self.database.rows(f"SELECT id, note FROM {name} WHERE {self.filters.get(name, 'true')}"))
            there = fold([event for event in self.events() if event.topic == topic])
            found |= {(topic, "r", number) for number in table if there.get(number) != table[number]}
            found |= {(topic, "d", number) for number in there.keys() - table.keys()}
        return found

    def is_even(self) -> bool:
        return not self.differs()

    def heal(self) -> list[tuple[str, str, int]]:
        """`cdc heal --yes` where no bridge runs; returns what it published."""
        before = {(event.topic, event.partition, event.offset) for event in self.events()}
        heal.begin(self.settings(), CONNECTOR)
        heal.run(self.settings(), CONNECTOR, lambda text: None)
        return [
            (event.topic, event.op, event.key["id"])
            for event in self.events()
            if (event.topic, event.partition, event.offset) not in before and event.key and event.op != "tombstone"
        ]

    def confirmed(self) -> Any:
        """What the slot says is confirmed; None without one."""
        query = f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{self.slot}'"
        return self.database.rows(query)

    def free_slot(self, then: str) -> None:
        """Run a statement on the slot at a moment when nobody reads it."""

        def done() -> bool:
            with self.database.connect() as session:
                session.execute(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s",
                    [self.slot],
                )
                try:
                    session.execute(then.format(slot=self.slot).encode())
                except psycopg.errors.ObjectInUse:
                    return False
            return True

        eventually(done, SECONDS, "the slot is free")

    def make_again(self, topic: str, partitions: int) -> None:
        self.delete(topic)
        new = NewTopic(topic, partitions, 1, config={"cleanup.policy": "compact"})
        self.admin.create_topics([new])[topic].result(30)

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(30)
        eventually(lambda: topic not in self.admin.list_topics(timeout=10).topics, 30, "the topic is gone")

    def empty(self, topic: str) -> None:
        """As a retention would, or somebody with kafka-delete-records."""
        entry = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(30)
        everything = TopicPartition(topic, 0, -1)

        def emptied() -> bool:
            try:
                self.admin.delete_records([everything])[everything].result(30)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.POLICY_VIOLATION:  # not heard of the new policy yet
                    raise
                return False
            return True

        eventually(emptied, SECONDS, "the topic is emptied")

    def forget(self, kind: str) -> None:
        """End one of the connector's documents."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers})
        producer.produce(
            self.offsets, key=json.dumps({"connector": "w", "kind": kind}, separators=(",", ":")), value=None
        )
        assert producer.flush(30) == 0


def fold(found: list[Event]) -> dict[int, Any]:
    """What a reader has that takes the newest position of each key."""
    rows: dict[int, tuple[str, Any]] = {}
    for event in found:
        if event.value is not None and event.key is not None:
            number, at = event.key["id"], str(event.position)
            if number not in rows or rows[number][0] <= at:
                rows[number] = (at, event.value["after"] and event.value["after"]["note"])
    return {number: note for number, (_, note) in rows.items() if note is not None}


@dataclass(frozen=True)
class Harm:
    """What somebody does, and what is said of it."""

    do: Callable[[Line], None]
    said: str
    again: bool = True
    """Whether the connector is started again to find it while it runs."""


def sql(statements: str) -> Callable[[Line], None]:
    def do(line: Line) -> None:
        for statement in statements.format(p=line.publication).split("; "):
            line.database.execute(statement)

    return do


MISSING = r"changes from [0-9A-F]+/[0-9A-F]+ to [0-9A-F]+/[0-9A-F]+"
DROP = "SELECT pg_drop_replication_slot('{slot}')"
LSN = r"[0-9A-F]+/[0-9A-F]+"


def invalidate(line: Line) -> None:
    """More WAL than max_slot_wal_keep_size, then a checkpoint."""
    line.free_slot("SELECT 1")
    with line.database.connect() as session:
        session.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        session.execute("SELECT pg_reload_conf()")

        def lost() -> bool:
            session.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
            for _ in range(3):
                session.execute("SELECT pg_logical_emit_message(false, 'x', 'x'), pg_switch_wal()")
            session.execute("CHECKPOINT")
            query = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{line.slot}'"
            return session.execute(query.encode()).fetchone() == ("lost",)

        try:
            eventually(lost, SECONDS, "the slot is lost")
        finally:
            session.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            session.execute("SELECT pg_reload_conf()")


def make_slot_again(line: Line) -> None:
    line.free_slot(DROP)
    line.insert(9000, "lost")
    line.database.execute(f"SELECT pg_create_logical_replication_slot('{line.slot}', 'pgoutput')")


def advance(line: Line) -> None:
    line.free_slot("SELECT 1")
    line.insert(9000, "lost")
    line.free_slot("SELECT pg_replication_slot_advance('{slot}', pg_current_wal_insert_lsn())")


def add_partitions(line: Line) -> None:
    line.admin.create_partitions([NewPartitions(line.topic, 5)])[line.topic].result(30)


ADVANCED = f"was advanced to {LSN}.*{MISSING}"
AGAIN = "DROP PUBLICATION {p}; CREATE PUBLICATION {p} FOR TABLE t, u WITH (publish_via_partition_root = true)"
OUT = "ALTER PUBLICATION {p} DROP TABLE t; INSERT INTO t VALUES (9000, 'lost'); ALTER PUBLICATION {p} ADD TABLE t"
ANOTHER = "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, note text); ALTER PUBLICATION {p} ADD TABLE t"
HOME = r"topic .*public\.t of table public\.t"

HARMS = {
    "slot dropped": Harm(lambda line: line.free_slot(DROP), f"replication slot .* is gone; {MISSING}"),
    "slot invalidated": Harm(invalidate, f"replication slot .* was invalidated.*{MISSING}"),
    "slot made again": Harm(make_slot_again, ADVANCED),
    "slot advanced": Harm(advance, ADVANCED),
    "publication dropped": Harm(sql("DROP PUBLICATION {p}"), "publication .* was dropped"),
    "publication replaced": Harm(sql(AGAIN), "dropped and made again"),
    "table out of it for a while": Harm(sql(OUT), r"public\.t was out of it"),
    "row filter": Harm(sql("ALTER PUBLICATION {p} SET TABLE t WHERE (id > 10), u"), r"public\.t .*row filter"),
    "fewer operations": Harm(sql("ALTER PUBLICATION {p} SET (publish = 'insert')"), "does not publish delete"),
    "table made again": Harm(sql(ANOTHER), r"public\.t .*made again"),
    "offsets topic deleted": Harm(lambda line: line.delete(line.offsets), r"cdc\.offsets"),
    "offsets topic made again": Harm(lambda line: line.make_again(line.offsets, 1), r"cdc\.offsets"),
    "offsets topic emptied": Harm(lambda line: line.empty(line.offsets), r"cdc\.offsets"),
    "ledger gone": Harm(lambda line: line.forget("ledger"), r"cdc\.offsets has lost records: the ledger", again=False),
    "event topic deleted": Harm(lambda line: line.delete(line.topic), f"{HOME} was deleted"),
    "event topic made again": Harm(lambda line: line.make_again(line.topic, 2), f"{HOME} was deleted and made again"),
    "partitions added": Harm(add_partitions, "has 5 partitions, it had 2: keys moved"),
}

WAYS = [(how, running) for how, harm in HARMS.items() for running in (False, True) if harm.again or not running]


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


def found_gap(line: Line, how: str, running: bool) -> Gap:
    """Do the harm, and what the connector says of it."""
    harm = HARMS[how]
    line.publish_all()
    with pytest.raises(Gap) as raised:  # noqa: PT012 - either finds it
        if running:
            with line.running() as until:
                line.insert(1000)
                until(line.is_even)
                harm.do(line)
                with suppress(psycopg.Error):
                    line.insert(1001)
                until(lambda: False)
        harm.do(line)
        with line.running() as until:
            until(lambda: False)
    return raised.value


@pytest.mark.parametrize(("how", "running"), WAYS, ids=[f"{how}, {'running' if r else 'at start'}" for how, r in WAYS])
def test_a_gap_is_told_remembered_and_mended(line: Line, how: str, running: bool) -> None:
    gap = found_gap(line, how, running)
    assert gap.exit_code == 3
    assert "`cdc heal w`" in (gap.hint or "")
    if not running:  # while it runs, the way the worker ended may be seen first
        assert re.search(HARMS[how].said, gap.message), gap.message

    # Life goes on at the source, and nothing of it is published or confirmed until somebody heals.
    line.database.execute("INSERT INTO t VALUES (2000, 'came'); INSERT INTO t VALUES (2, 'new') "
                          "ON CONFLICT (id) DO UPDATE SET note = 'new'; DELETE FROM t WHERE id = 3")  # fmt: skip
    before, confirmed = len(line.events()), line.confirmed()
    with pytest.raises(Gap, match=r"connector w: "), line.running() as until:
        until(lambda: False)
    assert len(line.events()) == before
    assert line.confirmed() == confirmed
    plan = heal.plan(line.settings(), CONNECTOR)
    assert plan.gap is not None
    assert [table.table for table in plan.tables] == ["public.t", "public.u"]

    if how == "row filter":
        line.filters["t"] = "id > 10"  # one that the owner has set holds for the heal too
    wanted = line.differs()
    published = line.heal()
    assert line.is_even()
    assert len(published) == len(set(published))
    if how == "partitions added":
        assert set(published) >= wanted
    else:
        assert set(published) == wanted

    # And from there on as ever.
    line.insert(3000)
    line.publish_all()


def test_a_filter_that_was_put_back_is_no_way_out(line: Line) -> None:
    line.publish_all()
    with pytest.raises(Gap, match="row filter"), line.running() as until:  # noqa: PT012
        line.database.execute(f"ALTER PUBLICATION {line.publication} SET TABLE t WHERE (id > 10), u")
        until(lambda: False)
    line.database.execute(f"ALTER PUBLICATION {line.publication} SET TABLE t, u")
    with pytest.raises(Gap, match="row filter"), line.running() as until:
        until(lambda: False)


def test_everything_of_the_connector_forgotten_is_a_gap_if_there_are_events(line: Line) -> None:
    line.publish_all()
    line.delete(line.offsets)
    line.database.execute(f"SELECT pg_drop_replication_slot('{line.slot}'); DELETE FROM t WHERE id = 7")
    with pytest.raises(Gap, match=r"no position is stored on .*, but there are events on"), line.running() as until:
        until(lambda: False)
    assert line.heal() == [(line.topic, "d", 7)]


def test_a_wrong_address_is_mended_by_the_right_one(line: Line, kafka: KafkaServer) -> None:
    line.publish_all()
    right = line.database
    with PostgresServer() as other, fresh_database(other, line.prefix) as wrong:
        wrong.execute("CREATE TABLE t (id int PRIMARY KEY, note text); CREATE TABLE u (id int PRIMARY KEY, note text)")
        line.database = wrong
        with pytest.raises(Gap, match="this is another cluster: system identifier") as raised, line.running() as until:
            until(lambda: False)
        assert "cdc heal w" in (raised.value.hint or "")
    line.database = right
    line.insert(5000)
    line.publish_all()


def test_another_cluster_is_taken_over_by_a_heal_though_its_positions_are_lower(line: Line) -> None:
    line.database.execute("SELECT pg_switch_wal(), pg_logical_emit_message(false, 'x', 'x')")
    line.database.execute("SELECT pg_switch_wal(), pg_logical_emit_message(false, 'x', 'x')")
    line.database.execute("UPDATE t SET note = 'before' WHERE id = 1")
    line.publish_all()
    with PostgresServer() as other, fresh_database(other, line.prefix) as restored:
        restored.execute(
            "CREATE TABLE t (id int PRIMARY KEY, note text); CREATE TABLE u (id int PRIMARY KEY, note text); "
            "INSERT INTO t VALUES (1, 'restored'), (2, 'first'); INSERT INTO u VALUES (1, 'first')"
        )
        line.database = restored
        with pytest.raises(Gap), line.running() as until:
            until(lambda: False)
        wanted = line.differs()
        assert set(line.heal()) == wanted
        assert line.is_even()
        line.insert(5000)
        line.publish_all()


def test_a_standby_that_was_promoted_without_our_last_changes_is_a_gap(prefix: str, kafka: KafkaServer) -> None:
    with PostgresServer() as primary, fresh_database(primary, prefix) as database:
        line = Line(prefix, kafka, database)
        line.publish_all()
        with PostgresStandby(primary) as standby:
            standby.catch_up()
            standby.stop()
            line.insert(6000)
            line.publish_all()
            primary.kill()
            standby.start()
            standby.promote()
            line.database = Database(prefix, standby)
            with pytest.raises(Gap, match="left timeline 1 at"), line.running() as until:
                until(lambda: False)
            assert line.differs() == {(line.topic, "d", 6000)}
            assert line.heal() == [(line.topic, "d", 6000)]
            line.insert(6001)
            line.publish_all()
        primary.start()
