"""Each mode of polling loses nothing that a poll can see, in a run in which classic pollers lose rows.

A short run by default; `CDC_POLL_CHANGES=500000 CDC_POLL_LATE=30` for the full one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdc.prove.bridge import Bridge
from cdc.prove.observed import Event, await_key, event, messages
from cdc.prove.waiting import Broken, eventually
from cdc.testing.clock import Clock, no_clock
from cdc.testing.servers import KafkaServer, PostgresServer
from tests.databases import Database, fresh_database
from tests.polling.check import LOST, Truth, Verdict, check
from tests.polling.load import NEVER, Load
from tests.polling.naive import Naive
from tests.polling.tables import ALONE, ITEMS, LOG

pytestmark = pytest.mark.skipif(no_clock() is not None, reason=str(no_clock()))

CHANGES = int(os.environ.get("CDC_POLL_CHANGES", "20000"))
LATE = float(os.environ.get("CDC_POLL_LATE", "5"))
SECONDS = max(40.0, 8 * LATE)
"""Changes are spread over so many seconds at least."""

SEED = int(os.environ.get("CDC_POLL_SEED", "1"))

KILLS = 12

PATIENCE = max(60.0, CHANGES / 2_000)

AT = {"mode": "updated_at", "column": "updated_at"}

COMPARE = {"deletes": "compare", "compare_every": "5s"}

CONNECTORS: dict[str, dict[str, dict[str, Any]]] = {
    "xmin": {"items_xmin": {"mode": "snapshot_xmin", **COMPARE}, "items_xmin_alone": {"mode": "snapshot_xmin"}},
    "tx": {
        "items_tx": {"mode": "tx_column", "column": "_tx", "deletes": "log", "delete_log": "public.items_tx_deleted"}
    },
    "at": {"items_at": {**AT, **COMPARE}, "items_at_alone": AT},
    "ids": {LOG: {"mode": "incrementing", "column": "id"}},
}
"""Connector → its tables, and how they are polled."""

Record = Callable[[str, object], None]


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock() as clock:
        yield clock


@pytest.fixture
def database(clock: Clock, prefix: str) -> Iterator[Database]:
    """On a server that lives by `clock`."""
    with PostgresServer(environment=clock.environment()) as server, fresh_database(server, prefix) as database:
        yield database


@pytest.fixture
def load(database: Database, clock: Clock) -> Iterator[Load]:
    with Load(database.url(), SEED, changes=CHANGES, seconds=SECONDS, late=LATE, clock=clock) as load:
        load.prepare()
        yield load


@pytest.fixture
def bridge(prefix: str, kafka: KafkaServer, database: Database, tmp_path: Path) -> Iterator[Bridge]:
    document = {
        "name": prefix,
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
        "databases": {"warehouse": {"url": database.url()}},
        "topics": {"defaults": {"partitions": 3, "replication_factor": 1}},
        "connectors": {
            name: {
                "type": "sql_poll",
                "database": "warehouse",
                "schedule": "500ms",
                "tables": {f"public.{table}": options for table, options in tables.items()},
            }
            for name, tables in CONNECTORS.items()
        },
    }
    with Bridge(tmp_path, document) as bridge:
        yield bridge


@pytest.mark.timeout(900 + 3 * SECONDS + CHANGES / 250)
def test_every_mode_loses_nothing_that_classic_pollers_lose(
    bridge: Bridge, load: Load, kafka: KafkaServer, prefix: str, database: Database, record_property: Record
) -> None:
    bridge.start()
    with Naive(database.url()) as naive:
        load.start()
        load.wait()
        verdicts = _verdicts(bridge, load, kafka, prefix)
        naive.finish()
    assert bridge.stop() == 0
    _tell(record_property, "polled", load, verdicts, naive)
    _judge(load, verdicts, naive)
    assert all(verdict.passed > 0 for table, verdict in verdicts.items() if table != LOG)
    assert all(_deletes(verdicts))


@pytest.mark.timeout(900 + 3 * SECONDS + CHANGES / 250)
def test_every_mode_loses_nothing_though_its_workers_are_killed(
    bridge: Bridge, load: Load, kafka: KafkaServer, prefix: str, database: Database, record_property: Record
) -> None:
    bridge.start()
    for name in CONNECTORS:
        eventually(lambda name=name: bridge.state(name) == "streaming", PATIENCE, f"{name} polls")  # type: ignore[misc]
    with Naive(database.url()) as naive:
        load.start()
        kills = _kill_at_random(bridge, load)
        load.wait()
        verdicts = _verdicts(bridge, load, kafka, prefix)
        naive.finish()
    assert bridge.stop() == 0
    _tell(record_property, f"polled through {kills} kills", load, verdicts, naive)
    _judge(load, verdicts, naive)
    assert kills >= 5
    # On a busy machine a short load may be over before one that was killed is up again.
    assert any(_deletes(verdicts))


def _kill_at_random(bridge: Bridge, load: Load) -> int:
    """Kill connectors while the load runs; returns how many.

    In turns: one that is killed again and again is left down for longer each time, and sees nothing. On a busy machine
    one may not be up again by its turn; that is killed now and then all the same.
    """
    rng = Random(SEED)
    kills = 0
    turn: list[str] = []
    while load.running:
        seconds = SECONDS / KILLS * rng.uniform(0.3, 1.3)
        with suppress(Broken):
            eventually(lambda: not load.running, seconds, "the load ends")
        turn = turn or rng.sample(sorted(CONNECTORS), len(CONNECTORS))
        name = turn.pop()
        if bridge.state(name) != "streaming" and rng.random() < 0.7:
            continue
        for worker in bridge.workers(kind=name):
            os.kill(worker, signal.SIGKILL)
            kills += 1
    return kills


def _verdicts(bridge: Bridge, load: Load, kafka: KafkaServer, prefix: str) -> dict[str, Verdict]:
    """Judge each topic when a last row of its table is on it, again and again until nothing is left to come."""
    item, logged = load.mark()
    verdicts = {}
    for name, table in ((name, table) for name, tables in CONNECTORS.items() for table in tables):
        topic = f"{prefix}.public.{table}"
        try:
            await_key(kafka.bootstrap_servers, topic, {"id": logged if table == LOG else item}, PATIENCE)
        except AssertionError as missing:
            told = bridge.connector(name)
            raise AssertionError(f"{missing}; {told}; the end of its log:\n{bridge.log[-3000:]}") from None
        verdicts[table] = _settled(kafka, topic, _truth(load, table))
    return verdicts


def _truth(load: Load, table: str) -> Truth:
    return Truth(
        rows=load.final_rows(table),
        lives=load.lives(table),
        deleted=load.deleted_ids(table),
        deletes=table not in ALONE,
        never=NEVER if table in ITEMS else None,
    )


def _settled(kafka: KafkaServer, topic: str, truth: Truth) -> Verdict:
    """Only deletes may come behind the last row; they are waited for."""
    deadline = time.monotonic() + PATIENCE
    while True:
        verdict = check(_events(kafka, topic), truth)
        if not any(verdict.faults[kind] for kind in LOST) or time.monotonic() > deadline:
            return verdict
        time.sleep(0.5)


def _events(kafka: KafkaServer, topic: str) -> Iterator[Event]:
    return map(event, messages(kafka.bootstrap_servers, [topic]))


def _tell(record: Record, what: str, load: Load, verdicts: dict[str, Verdict], naive: Naive) -> None:
    tally = ", ".join(f"{count:,} {how}" for how, count in sorted(load.record.tally.items()))
    record(what, f"{load.record.changes:,} changes of each table in transactions: {tally}; up to {LATE:g} s late")
    for tables in CONNECTORS.values():
        for table, options in tables.items():
            how = f"{options['mode']}, deletes: {options.get('deletes', 'none')}"
            record(f"{what}: {how}", str(verdicts[table]))
    rows, log = load.final_rows("items_at"), load.final_rows(LOG)
    for how, lost, of in (
        ("updated_at > last", naive.lost_rows(rows), rows),
        ("id > last", naive.lost_ids(log), log),
    ):
        record(f"{what}: classic {how}", f"{len(lost):,} of {len(of):,} rows lost in {naive.polls:,} polls")


def _deletes(verdicts: dict[str, Verdict]) -> list[int]:
    """How many came of each table of which they are captured."""
    return [verdict.deletes for table, verdict in verdicts.items() if table not in (LOG, *ALONE)]


def _judge(load: Load, verdicts: dict[str, Verdict], naive: Naive) -> None:
    assert {table: dict(verdict.faults) for table, verdict in verdicts.items()} == {table: {} for table in verdicts}
    assert naive.lost_rows(load.final_rows("items_at")), "no row came late: the run has shown nothing"
    assert naive.lost_ids(load.final_rows(LOG)), "no number came late: the run has shown nothing"
