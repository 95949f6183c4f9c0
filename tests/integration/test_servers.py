"""The servers that all other tests stand on: they keep their data, and they go when they should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cdc.testing.cluster import KafkaCluster
from cdc.testing.servers import Broker, EmbeddedBroker, KafkaServer, PostgresServer, installed_postgres
from cdc.testing.sweeper import alive
from cdc.testing.system import wait_for
from tests.databases import Database, fresh_database

STARTS_AND_IS_ENDED = """
import os, signal, sys
from cdc.testing.servers import EmbeddedBroker, PostgresServer
servers = PostgresServer(), EmbeddedBroker()
for server in servers:
    server.start()
    print(server.pid, server.folder, flush=True)
os.kill(os.getpid(), int(sys.argv[1]))
"""


def test_postgresql_18_17_and_16_are_installed() -> None:
    assert {18, 17, 16} <= {installation.version[0] for installation in installed_postgres()}


@pytest.mark.every_postgres
def test_a_database_is_ready_for_logical_decoding(database: Database) -> None:
    assert database.rows("SHOW wal_level") == [("logical",)]
    assert database.rows("SELECT current_setting('server_version_num')::int / 10000") == [(database.server.version[0],)]


def test_a_database_is_dropped_with_its_slots(postgres: PostgresServer, prefix: str) -> None:
    with fresh_database(postgres, prefix) as database:
        database.execute(f"SELECT pg_create_logical_replication_slot('{prefix}', 'pgoutput')")
    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", [prefix]).rowcount == 0
        assert connection.execute("SELECT FROM pg_replication_slots WHERE slot_name = %s", [prefix]).rowcount == 0


def test_postgres_keeps_what_was_committed_before_a_kill() -> None:
    with PostgresServer() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
            server.kill()
        server.start()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT id FROM kept").fetchall() == [(1,)]


def test_postgres_asks_for_a_password_when_it_was_given_one() -> None:
    with PostgresServer(password="a b/@:") as server:
        assert psycopg.connect(server.url()).execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url(password="other"))


def test_kafka_keeps_what_was_committed_before_a_kill(kafka: KafkaServer) -> None:
    with KafkaServer(kafka.jars) as server:
        write_one(server, "kept")
        # Killed between a commit's answer and its marker, a lone broker (4.3.1) may never write that marker.
        assert read_one(server, "kept") == b"value"
        server.kill()
        server.start()
        assert read_one(server, "kept", group="again") == b"value"


def test_the_small_broker_keeps_what_was_committed_before_a_stop() -> None:
    with EmbeddedBroker() as server:
        write_one(server, "kept")
        server.restart()
        assert read_one(server, "kept") == b"value"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
def test_servers_and_folders_go_with_the_process_that_started_them(end: signal.Signals) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STARTS_AND_IS_ENDED, str(int(end))], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    started = [line.split() for line in ran.stdout.decode().splitlines()]
    assert len(started) == 2
    for pid, folder in started:
        assert wait_for(lambda pid=int(pid): not alive(pid), timeout=15)
        assert wait_for(lambda folder=Path(folder): not folder.exists(), timeout=15)


def test_a_server_that_can_not_start_shows_the_end_of_its_log() -> None:
    with (
        pytest.raises(Exception, match="unrecognized configuration parameter"),
        PostgresServer(settings={"nonsense": "1"}),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")
def test_postgres_runs_as_another_user_than_root() -> None:
    with PostgresServer() as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def write_one(broker: Broker, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"value")
    producer.commit_transaction(30)


def read_one(broker: Broker | KafkaCluster, topic: str, group: str = "reader") -> bytes | None:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    try:
        message = consumer.poll(30)
        return message.value() if message else None
    finally:
        consumer.close()
