"""Servers that crash, and sessions of them that end: PostgreSQL, Kafka, the service's database. Touches them."""

from __future__ import annotations

import os
import signal
import time
from random import Random
from time import sleep

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from cdc.prove.fault import OWN_SERVERS, Fault, Setting, own_postgres
from cdc.prove.observed import topics_of
from cdc.prove.stage import Stage
from cdc.prove.waiting import eventually
from cdc.testing.servers import KafkaServer, PostgresServer

TRANSACTION_TIMEOUT = 60.0
"""Seconds; the connector's."""


def kill_kafka(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 1))
    stage.kafka.kill()
    sleep(rng.choice((0.0, rng.uniform(0, 4))))
    stage.kafka.start()
    stage.struck()


def crash_postgres(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 1))
    stage.source.server.stop("immediate")
    sleep(rng.choice((0.0, rng.uniform(0, 3))))
    stage.source.server.start()
    stage.struck()


def terminate_walsender(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 1))

    def terminated() -> bool:
        found = stage.source.rows(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
            "WHERE plugin = 'pgoutput' AND active_pid IS NOT NULL AND database = current_database()"
        )
        return found == [(True,)]

    eventually(terminated, 60, "there is a walsender to terminate")
    stage.struck()


def restart_target(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 1))
    stage.target.server.stop(rng.choice(("fast", "immediate")))
    sleep(rng.choice((0.0, rng.uniform(0, 3))))
    stage.target.server.start()
    stage.struck()


def time_transaction_out(stage: Stage, rng: Random) -> None:
    """Stop the connector in the middle of a Kafka transaction until Kafka has ended that."""
    deadline = time.monotonic() + 60
    while True:
        sleep(rng.uniform(0, 0.3))
        worker = eventually(lambda: next(stage.bridge.workers(kind="connector"), 0), 60, "a connector runs")
        os.kill(worker, signal.SIGSTOP)
        try:
            if time.monotonic() > deadline or _has_open_transaction(stage):
                eventually(
                    lambda: not _has_open_transaction(stage), TRANSACTION_TIMEOUT + 60, "Kafka ends the transaction"
                )
                break
        finally:
            os.kill(worker, signal.SIGCONT)
    stage.struck()


def _has_open_transaction(stage: Stage) -> bool:
    """Whether committed records end before all records do, on any topic of the bridge."""
    servers = stage.kafka.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": servers})
    described = admin.list_topics(timeout=30).topics
    partitions = [TopicPartition(t, p) for t in topics_of(servers, stage.name) for p in described[t].partitions]
    ends: list[int] = []
    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        wanted = {partition: OffsetSpec.latest() for partition in partitions}  # type: ignore[no-untyped-call]
        answers = admin.list_offsets(wanted, isolation_level=level, request_timeout=30)
        ends.append(sum(answer.result().offset for answer in answers.values()))
    return ends[0] < ends[1]


def _kafka_that_looks_often() -> KafkaServer:
    return KafkaServer(settings={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"})


FAULTS = (
    Fault("kafka-killed", "SIGKILL of the one broker, and its restart", kill_kafka, needs=OWN_SERVERS),
    Fault(
        "postgres-crashed",
        "immediate stop of the source's server, and its restart",
        crash_postgres,
        needs=(own_postgres,),
        setting=Setting(source=PostgresServer),
    ),
    Fault("walsender-terminated", "pg_terminate_backend of the walsender", terminate_walsender),
    Fault(
        "target-restarted",
        "fast or immediate stop of the service's server, and its restart",
        restart_target,
        needs=(own_postgres,),
        setting=Setting(target=PostgresServer),
    ),
    Fault(
        "transaction-timeout",
        "the connector sleeps in a Kafka transaction until that times out",
        time_transaction_out,
        needs=OWN_SERVERS,
        setting=Setting(kafka=_kafka_that_looks_often, sessions=5),
        most=2,
    ),
)
