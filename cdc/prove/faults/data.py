"""What the data itself may do: rows that do not fit, columns that change, transactions of any size. Touches servers."""

from __future__ import annotations

import threading
from random import Random
from time import sleep

import psycopg
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from psycopg import sql

from cdc import failpoints
from cdc.prove.fault import Fault, Setting, own_postgres
from cdc.prove.faults.processes import kill_worker
from cdc.prove.observed import messages
from cdc.prove.stage import Stage
from cdc.prove.waiting import Broken, eventually
from cdc.prove.warehouse import DOCS
from cdc.testing.servers import PostgresServer

SMALL = 40_000
"""Bytes of the largest event that the topic takes at first."""

AT_DEAD_LETTERS = tuple(name for name in failpoints.SINK if name.endswith(("put_aside", "settled")))
"""Where the sink is killed when it puts a row aside, and when that is tried again."""

MEBIBYTE = 1024 * 1024
RETAINED_LIMIT = 32 * MEBIBYTE
NEIGHBOUR_SECONDS = 20.0


def limit_docs(stage: Stage) -> None:
    stage.yaml["topics"][stage.line.topic(DOCS)] = {"max_message_bytes": SMALL}


def exceed_topic(stage: Stage, rng: Random) -> None:
    """An event that is too large stops the connector, loudly; once the topic takes it, nothing is missing."""
    size = SMALL * 2 * 4**stage.round  # more than the last round's limit
    with stage.source.connect() as connection:
        connection.execute(
            "INSERT INTO docs VALUES (nextval('ids'), 'large', %s)", [f"{rng.getrandbits(4 * size):0{size}x}"]
        )
    eventually(lambda: stage.bridge.state() == "failed", 180, "the connector says that an event is too large")
    said = str(stage.bridge.connector().get("error"))
    if "public.docs" not in said or "max.message.bytes" not in said:
        raise Broken(f"the connector failed, and did not say why: {said}")
    topic, limit = stage.line.topic(DOCS), size * 2
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": stage.kafka.bootstrap_servers})
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(30)
    stage.yaml["topics"][topic] = {"max_message_bytes": limit}
    stage.bridge.stop()
    stage.struck()
    stage.bridge.start()


def dead_letters(stage: Stage) -> None:
    stage.yaml["sinks"]["copy"] |= {"on_refused": "dead_letter", "after_dead_letter": "wait"}


def poison_aside(stage: Stage, rng: Random) -> None:
    """The target refuses a row: it is put aside, the others go on; allowed and retried, it comes."""
    failpoint = AT_DEAD_LETTERS[stage.round % len(AT_DEAD_LETTERS)]
    if failpoint.endswith("put_aside"):
        stage.arm(failpoint)
    number = _poison(stage)
    topic = f"{stage.name}.cdc.dead-letters"

    def put_aside() -> bool:
        letters = [message.value() for message in messages(stage.kafka.bootstrap_servers, [topic])]
        return any(letter is not None and f'"id":{number},'.encode() in letter for letter in letters)

    eventually(put_aside, 180, "the row is on the topic of dead letters")
    mark = stage.mark()
    eventually(lambda: stage.arrived(mark), 180, "other rows go on")
    _cure(stage, number)
    if not failpoint.endswith("put_aside"):
        stage.arm(failpoint)
    retried = stage.bridge.cdc("dead-letters", "retry", "--all")
    if retried.returncode:
        raise Broken(f"cdc dead-letters retry: {retried.stderr}")
    eventually(lambda: not stage.armed(failpoint), 180, f"failpoint {failpoint} is reached")
    stage.note(f"killed at {failpoint}")


def poison_stops(stage: Stage, rng: Random) -> None:
    """The target refuses a row: the sink stops and says so, the connector goes on; allowed, it comes."""
    number = _poison(stage)

    def refused() -> bool:
        return bool(stage.bridge.status().get("sinks", {}).get("copy", {}).get("state") == "failed")

    eventually(refused, 180, "the sink says that its target refuses a row")
    if stage.bridge.state() != "streaming":
        raise Broken(f"the sink failed, and the connector is {stage.bridge.state()}")
    _cure(stage, number)
    stage.bridge.stop()
    stage.struck()
    stage.bridge.start()


def _poison(stage: Stage) -> int:
    with stage.target.connect() as connection:
        connection.execute("ALTER TABLE items ADD CONSTRAINT wholesome CHECK (name <> 'poison') NOT VALID")
    with stage.source.connect() as connection:
        row = connection.execute("INSERT INTO items (id, name) VALUES (nextval('ids'), 'poison') RETURNING id")
        return int((row.fetchone() or (0,))[0])


def _cure(stage: Stage, number: int) -> None:
    with stage.target.connect() as connection:
        connection.execute("ALTER TABLE items DROP CONSTRAINT wholesome")
    with stage.source.connect() as connection:
        connection.execute("UPDATE items SET name = 'cured', version = DEFAULT WHERE id = %s", [number])
    stage.struck()


REWRITES = (
    "VACUUM FULL docs",
    "TRUNCATE scratch",
    "ALTER TABLE shapes ALTER size TYPE bigint",
    "CLUSTER sheets USING sheets_pkey",
    "ALTER TABLE items ADD COLUMN extra_{n} text",
    "ALTER TABLE shapes ADD COLUMN extra_{n} integer",
    "UPDATE docs SET title = 'other ' || id, version = DEFAULT",
    "UPDATE items SET price = price + 1, version = DEFAULT WHERE id % 3 = 0",
    "ALTER TABLE shapes ALTER COLUMN extra_{n} TYPE bigint",
    "ALTER TABLE shapes DROP COLUMN extra_{n}",
    "VACUUM FULL items",
)


def change_tables(stage: Stage, rng: Random) -> None:
    """All that rewrites or changes tables, one after the other, each between rows that come and go."""
    for statement in REWRITES:
        _patiently(stage, statement.format(n=stage.round))
        sleep(rng.uniform(0, 0.3))
    stage.struck()


def change_tables_in_snapshot(stage: Stage, rng: Random) -> None:
    eventually(stage.bridge.reads, 180, "a snapshot is read")
    change_tables(stage, rng)
    if rng.random() < 0.5 and not stage.bridge.snapshot_done():
        stage.bridge.kill()
        stage.struck()
        stage.bridge.start()


def _patiently(stage: Stage, statement: str) -> None:
    """Run a statement that needs a lock which others hold now and then."""

    def done() -> bool:
        try:
            with stage.source.connect(options="-c lock_timeout=3s") as connection:
                connection.execute(statement)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            return False
        return True

    eventually(done, 180, statement)


def commit_much(stage: Stage, rng: Random) -> None:
    """One transaction of very many rows; the connector and the sink are killed while it passes."""
    writing = threading.Thread(target=stage.write_bulk)
    writing.start()
    writing.join()
    stage.note(f"one transaction of {stage.bulk_rows:,} rows")
    for kind in ("connector", "sink", "connector"):
        sleep(rng.uniform(1, 4))
        kill_worker(stage, kind)


def be_a_busy_neighbour(stage: Stage, rng: Random) -> None:
    """Another database of the server writes much, ours nothing: WAL is not retained for our slot."""
    neighbour = f"{stage.source.name}_neighbour"
    with stage.source.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(neighbour)))
    try:
        with psycopg.connect(stage.source.server.url(neighbour), autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE noise AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 1000) g"
            )
            began = stage.source.rows("SELECT pg_current_wal_lsn()")[0][0]
            while _written(stage, began) < stage.neighbour_bytes:
                connection.execute("CREATE TABLE more AS SELECT n.*, i FROM noise n, generate_series(1, 30) i")
                connection.execute("DROP TABLE more")
        stage.struck()
        eventually(lambda: _retained(stage) < RETAINED_LIMIT, NEIGHBOUR_SECONDS, "the slot retains less than 32 MiB")
        written = _written(stage, began) // MEBIBYTE
        stage.note(f"{written:,} MiB of WAL written by a neighbour, {_retained(stage) / MEBIBYTE:.1f} MiB retained")
    finally:
        with stage.source.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(neighbour)))


def _written(stage: Stage, since: str) -> int:
    return int(stage.source.rows(f"SELECT pg_current_wal_lsn() - '{since}'::pg_lsn")[0][0])


def _retained(stage: Stage) -> int:
    query = (
        "SELECT pg_current_wal_lsn() - restart_lsn FROM pg_replication_slots "
        "WHERE plugin = 'pgoutput' AND database = current_database()"
    )
    return int(stage.source.rows(query)[0][0])


FAULTS = (
    Fault(
        "event-too-large",
        "an event over its topic's size limit: the connector stops and says so, until the topic takes it",
        exceed_topic,
        setting=Setting(prepare=limit_docs),
        most=3,
    ),
    Fault(
        "poison-row",
        "the target refuses a row: put aside as a dead letter, later retried; the sink is killed at each step of it",
        poison_aside,
        setting=Setting(prepare=dead_letters),
        rounds=len(AT_DEAD_LETTERS),
        most=len(AT_DEAD_LETTERS),
    ),
    Fault(
        "poison-row-stops",
        "the target refuses a row: the sink stops and says so, until the row is allowed",
        poison_stops,
        most=3,
    ),
    Fault(
        "ddl-in-stream",
        "columns added, dropped, widened, tables rewritten and truncated under load",
        change_tables,
        most=5,
    ),
    Fault(
        "ddl-in-snapshot",
        "the same while the snapshot is read, with or without a kill",
        change_tables_in_snapshot,
        setting=Setting(items=12_000, begin="started", fresh=True),
        most=10,
    ),
    Fault(
        "huge-transaction-killed",
        "one transaction of very many rows; connector and sink are killed while it passes",
        commit_much,
        most=1,
        patience=900,
    ),
    Fault(
        "busy-neighbour",
        "an idle database, and a neighbour on the same server that writes much",
        be_a_busy_neighbour,
        needs=(own_postgres,),
        setting=Setting(source=PostgresServer, quiet=True),
        most=1,
    ),
)
