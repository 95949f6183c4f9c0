"""Servers that crash, and sessions of them that end: PostgreSQL, Kafka, the service's database. Touches them."""

from __future__ import annotations

from random import Random
from time import sleep

from cdc.prove.fault import OWN_SERVERS, Fault, Setting, own_postgres
from cdc.prove.stage import Stage
from cdc.prove.waiting import eventually
from cdc.testing.servers import PostgresServer


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

    eventually(terminated, 180, "there is a walsender to terminate")
    stage.struck()


def restart_target(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 1))
    stage.target.server.stop(rng.choice(("fast", "immediate")))
    sleep(rng.choice((0.0, rng.uniform(0, 3))))
    stage.target.server.start()
    stage.struck()


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
)
