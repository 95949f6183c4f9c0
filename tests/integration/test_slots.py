"""Slots never fill the disk: idle databases are confirmed, what holds WAL back is named, and a limit holds."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdc.prove.bridge import Bridge
from cdc.prove.waiting import Broken, eventually
from cdc.testing.databases import Database, fresh_database
from cdc.testing.servers import KafkaServer, PostgresServer
from connectors.postgres_wal import retention
from connectors.postgres_wal.catalog import connect
from connectors.postgres_wal.retention import find
from connectors.postgres_wal.writers import oldest_writer

MIB = 1024 * 1024

HELD = """
SELECT (pg_current_wal_lsn() - restart_lsn)::bigint, (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint,
       confirmed_flush_lsn::text
FROM pg_replication_slots WHERE slot_name = %s
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    # No checkpoint shall come to help: what is let go of is let go of by the bridge.
    settings = {"max_wal_size": "8GB", "checkpoint_timeout": "1h", "max_prepared_transactions": "5"}
    with PostgresServer(settings=settings) as server:
        yield server


@pytest.fixture
def database(server: PostgresServer, prefix: str) -> Iterator[Database]:
    with fresh_database(server, prefix) as fresh:
        fresh.execute("CREATE TABLE orders (id bigint PRIMARY KEY, note text); INSERT INTO orders VALUES (1, 'first')")
        yield fresh


@pytest.fixture
def neighbour(server: PostgresServer, prefix: str) -> Iterator[Database]:
    """Another database of the same server: the bridge has nothing to do with it."""
    with fresh_database(server, f"{prefix}_neighbour") as fresh:
        fresh.execute("CREATE TABLE busy (id bigint GENERATED ALWAYS AS IDENTITY, note text)")
        yield fresh


class Slot:
    """The slot of the bridge's connector `source`, as the server sees it."""

    def __init__(self, connection: psycopg.Connection[Any], prefix: str) -> None:
        self.name = f"cdc_{prefix}_source"
        self._connection = connection

    def _held(self) -> Any:
        return self._connection.execute(HELD, [self.name]).fetchone()

    @property
    def there(self) -> bool:
        return self._held() is not None

    @property
    def retained(self) -> int:
        return int(self._held()[0])

    @property
    def unconfirmed(self) -> int:
        return int(self._held()[1])

    def confirmed_past(self, lsn: str) -> bool:
        query = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
        row = self._connection.execute(query, [lsn, self.name]).fetchone()
        return bool(row and row[0])


@pytest.fixture
def slot(database: Database, prefix: str) -> Iterator[Slot]:
    with closing(database.connect()) as connection:
        yield Slot(connection, prefix)


@pytest.fixture
def bridge(tmp_path: Path, prefix: str, database: Database, kafka: KafkaServer) -> Iterator[Callable[..., Bridge]]:
    """A function that starts the bridge, with more settings of its connector."""
    bridges: list[Bridge] = []

    def start(kafka: KafkaServer = kafka, until: str = "streaming", **section: Any) -> Bridge:
        connector = {"type": "postgres_wal", "database": "warehouse", "tables": ["public.*"], "idle_interval": "1s"}
        document = {
            "name": prefix,
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
            "databases": {"warehouse": {"url": database.url()}},
            "topics": {
                "defaults": {"partitions": 1, "replication_factor": 1},
                f"{prefix}.public.audit": {"cleanup_policy": "delete"},
            },
            "connectors": {"source": {**connector, **section}},
        }
        bridges.append(bridge := Bridge(tmp_path, document))
        bridge.start()
        bridge.until(until)
        if until == "streaming":
            eventually(
                lambda: (c := bridge.connector())["position"] and not c["snapshot"], 30, "the snapshot is stored"
            )
        return bridge

    yield start
    for one in bridges:
        if one.running:
            one.kill()


def write_wal(database: Database, mib: int, each: Callable[[], None] = lambda: None) -> str:
    """Let the database write so much WAL, in transactions of 8 MiB; returns where it is then."""
    with database.connect() as connection:
        for number in range(mib // 8):
            with connection.transaction():
                connection.execute("SELECT pg_logical_emit_message(%s, '', repeat('x', 8*1024*1024))", [number % 2 > 0])
                connection.execute("INSERT INTO busy (note) SELECT 'x' FROM generate_series(1, 10)")
            each()
        row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


def warning(bridge: Bridge, says: str, seconds: float) -> dict[str, Any]:
    """Wait until the status warns so; the connector's status."""

    def warned() -> Mapping[str, Any] | None:
        shown = bridge.connector()
        return shown if re.search(says, shown.get("wal_warning") or "") else None

    try:
        return dict(eventually(warned, seconds, f"a warning: {says}"))
    except Broken as broken:
        raise Broken(f"{broken}; the connector says {bridge.connector()}") from None


def warnings_in(log: str) -> list[str]:
    return [line for line in log.splitlines() if '"level":"warning"' in line and "holds back" in line]


def test_an_idle_database_lets_go_of_what_a_busy_neighbour_writes(
    bridge: Callable[..., Bridge], slot: Slot, neighbour: Database, record_property: Callable[[str, object], None]
) -> None:
    running = bridge(idle_interval="10s")
    held: list[int] = []
    began = time.monotonic()

    def at_16_mib_a_second() -> None:
        held.append(slot.retained)
        due = began + len(held) * 0.5
        if due > time.monotonic():
            threading.Event().wait(due - time.monotonic())

    end = write_wal(neighbour, 1024, at_16_mib_a_second)
    wrote = time.monotonic()
    eventually(lambda: slot.confirmed_past(end), 12, "confirmed within 10 s of the last change")
    record_property(
        "1 GB of a neighbour",
        f"written in {wrote - began:.0f} s, at worst {max(held) / MIB:.0f} MiB retained; "
        f"confirmed {time.monotonic() - wrote:.1f} s after it",
    )
    assert max(held) < 32 * MIB
    shown = running.connector()
    assert (shown["state"], shown["wal_warning"], shown["wal_held_by"]) == ("streaming", None, None)


def test_a_long_transaction_is_named_as_long_as_it_holds_wal_back(
    bridge: Callable[..., Bridge], slot: Slot, neighbour: Database
) -> None:
    running = bridge(retained_wal={"warn_at": "40MiB"})
    with neighbour.connect(autocommit=False, application_name="report") as writer:
        writer.execute("INSERT INTO busy (note) VALUES ('open for long')")
        write_wal(neighbour, 64)
        shown = warning(running, rf"transaction of pid {writer.info.backend_pid} \(report\) is open, for ", 60)
        assert shown["state"] == "streaming"
        assert shown["retained_wal_bytes"] > 64 * MIB
        assert slot.unconfirmed < MIB, "an open transaction never holds back what is confirmed"
        writer.commit()
    eventually(lambda: running.connector()["wal_warning"] is None, 40, "the warning ends")
    assert len([line for line in warnings_in(running.log) if "pid" in line]) == 1, "told once, not at each look"


def test_prepared_transactions_and_roles_that_see_little(server: PostgresServer, database: Database) -> None:
    with closing(connect(database.url(), "test")) as session:
        assert oldest_writer(session, "test") is None
        database.execute("BEGIN; INSERT INTO orders VALUES (2, 'x'); PREPARE TRANSACTION 'half'")
        try:
            found = oldest_writer(session, "test")
            assert found is not None
            assert found.name == "prepared transaction 'half'"
            assert found.seconds is not None
        finally:
            database.execute("ROLLBACK PREPARED 'half'")
        with database.connect(autocommit=False, application_name="other") as writer:
            writer.execute("INSERT INTO orders VALUES (2, 'x')")
            database.execute("CREATE ROLE little LOGIN")
            try:
                with closing(connect(database.url("little"), "test")) as little:
                    found = oldest_writer(little, "test")
                assert found is not None
                assert str(writer.info.backend_pid) in found.name
                assert found.seconds is None
            finally:
                database.execute("DROP ROLE little")


def test_kafka_away_is_named_by_the_connector_and_by_the_watch_after_it(
    bridge: Callable[..., Bridge], kafka: KafkaServer, database: Database
) -> None:
    with KafkaServer(kafka.jars) as own:
        running = bridge(own, retained_wal={"warn_at": "40MiB"}, batch={"rows": 1000})
        own.stop()
        database.execute("INSERT INTO orders SELECT i, repeat('x', 1000) FROM generate_series(10, 70000) AS i")
        shown = warning(running, "Kafka has not stored a batch for", 40)
        assert shown["state"] == "streaming"
        assert shown["unconfirmed_seconds"] > 0
        shown = warning(running, "nobody reads the slot: Kafka at .* does not answer", 150)
        assert shown["state"] in ("retrying", "waiting", "starting")
        assert shown["watch"]["state"] == "watching"
        assert shown["retained_wal_bytes"] > 40 * MIB
        own.start()
        running.until("streaming", seconds=60)
        eventually(lambda: running.connector()["wal_warning"] is None, 60, "the warning ends")
        assert running.connector()["watch"] is None


def test_a_table_without_a_key_that_is_read_before_the_stream_goes_on_is_named(
    bridge: Callable[..., Bridge], database: Database, neighbour: Database
) -> None:
    database.execute("CREATE TABLE audit AS SELECT i AS id FROM generate_series(1, 50000) AS i")
    running = bridge(until="snapshotting", retained_wal={"warn_at": "40MiB"}, batch={"rows": 1})
    write_wal(neighbour, 48)
    shown = warning(running, "the stream waits for the rows of public.audit, which has no key", 30)
    assert shown["state"] == "snapshotting"


def test_the_slot_of_a_connector_in_a_gap_is_watched_and_dropped_at_the_limit(
    bridge: Callable[..., Bridge], slot: Slot, database: Database, neighbour: Database
) -> None:
    running = bridge(retained_wal={"warn_at": "40MiB", "drop_slot_at": "64MiB"})
    database.execute(f'DROP PUBLICATION "{running.connector()["publication"]}"')
    running.until("gap")
    write_wal(neighbour, 48)
    shown = warning(running, "nobody reads the slot: .*publication .* was dropped", 30)
    assert shown["state"] == "gap"
    write_wal(neighbour, 32)
    passed = time.monotonic()
    eventually(lambda: not slot.there, 60, "the slot is dropped")
    assert time.monotonic() - passed > retention.GRACE_SECONDS - 11, "not for a burst"
    error = eventually(lambda: (e := running.connector()["error"]) and "drop_slot_at" in e["message"] and e, 10, "told")
    assert re.search(r"changes from \w+/\w+ to \w+/\w+ \(now\) are missing", error["message"])
    assert error["hint"].startswith("`cdc heal source`")
    assert running.cdc("status", "--listen", running.address()).returncode == 3


def test_a_running_connector_drops_its_own_slot_at_the_limit(
    bridge: Callable[..., Bridge], slot: Slot, neighbour: Database
) -> None:
    running = bridge(retained_wal={"warn_at": "40MiB", "drop_slot_at": "64MiB"})
    with neighbour.connect(autocommit=False) as writer:
        pid = writer.info.backend_pid
        writer.execute("INSERT INTO busy (note) VALUES ('open for long')")
        write_wal(neighbour, 96)
        running.until("gap", seconds=90)
    assert not slot.there
    error = running.connector()["error"]
    assert re.search(rf"transaction of pid {pid} .*drop_slot_at: 64.0 MiB", error["message"])
    assert not list(running.workers(kind="connector")), "it is not started again"


def test_a_slot_that_another_copy_reads_is_never_dropped_by_a_watch(
    bridge: Callable[..., Bridge], slot: Slot, database: Database, neighbour: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge()
    monkeypatch.setattr(retention, "GRACE_SECONDS", 0.0)
    limits = retention.RetainedWalSettings(warn_at=MIB, drop_slot_at=32 * MIB)
    with neighbour.connect(autocommit=False) as writer, closing(connect(database.url(), "test")) as session:
        writer.execute("INSERT INTO busy (note) VALUES ('open')")
        write_wal(neighbour, 48)
        looking = retention.Retention(limits, slot.name, "source", why="it is down here")
        assert looking.look(session)["retained_wal_bytes"] > 32 * MIB
        held = find(session, slot.name, "test")
    assert held is not None
    assert held.active
