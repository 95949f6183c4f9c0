"""The connector: lock, start, batches, confirm. Puts the rooms of this package together."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from cdc import names
from cdc.config.consistency import nothing_matches
from cdc.connector import Stopped
from cdc.databases import conninfo
from cdc.errors import ConfigError, Gap
from cdc.event import Batch
from cdc.formats.debezium_json import Transaction
from cdc.position import Position
from cdc.settings import Settings

from . import catalog, slot
from .ledger import Ledger
from .pgoutput import position_text
from .position import Origin, WalPosition, from_stored, intent, is_intent
from .reader import Reader
from .replication import ReplicationConnection, ReplicationError
from .settings import PostgresWalSettings
from .snapshot import SnapshotReader, SnapshotTable
from .tables import Planner
from .transactions import Transactions
from .types import SESSION_SETTINGS

LOCK_SECONDS = 1.0
"""How often a copy that waits asks for the lock."""

QUERY_SECONDS = 5
"""Longest catalog query while streaming: shorter than the session timeout, which waits meanwhile."""

IDLE_TIMEOUT = "120s"
"""Longer than any step of a start between two commands on the replication connection."""

RATE_SECONDS = 10.0


@dataclass(slots=True)
class Source:
    """The source as it was found at the start.

    Args:
        session: for catalog queries; the reader's thread has it while it runs.
        system: which cluster, timeline and LSN.
        tables: what is captured.
        planner: plans relations.
        publication: what is streamed; None until it was made or found.
    """

    session: catalog.Session
    system: slot.System
    tables: list[catalog.Table]
    planner: Planner
    publication: catalog.Publication | None = None


class PostgresWalConnector:
    """Reads the write-ahead log of one PostgreSQL database; see `cdc.connector.Connector`.

    Args:
        settings: all settings.
        name, section: the connector's name and section.
    """

    def __init__(self, settings: Settings, name: str, section: PostgresWalSettings) -> None:
        self._settings = settings
        self._name = name
        self._section = section
        self._subject = f"connector {name}"
        self._slot = section.slot or names.slot_name(settings.name, name)
        self._publication = section.publication or names.publication_name(settings.name, name)
        self._database = settings.databases[section.database]
        self._log = structlog.get_logger().bind(connector=name)
        self._stopping = False
        self._state = "starting"
        self._connection: ReplicationConnection | None = None
        self._found: Source | None = None
        self._stored: Position | None = None
        self._ledger = Ledger()
        self._reader: Reader | None = None
        self._status: dict[str, Any] = {}
        self._published: deque[tuple[float, int]] = deque()
        self._events = 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        self._state = "waiting"
        try:
            self._connection = connection = self._connect_replication()
            key = slot.lock_key(self._settings.name, self._name)
            told = False
            while connection.execute(f"SELECT pg_try_advisory_lock({key})") != [("t",)]:
                if not told:
                    self._log.info("waiting: another copy of this connector holds the source's lock")
                    told = True
                connection.wait(LOCK_SECONDS, readable=False)
                self._check_stop()
            self._state = "starting"
            yield
        finally:
            self._close()

    def start(self, stored: Position | None) -> None:
        self._found = source = self._look()
        found = slot.find_slot(source.session, self._slot, self._subject)
        if stored is None or is_intent(stored):
            ours = stored is not None and stored == self._intent()
            if found is not None and not ours:
                raise Gap(
                    f"{self._subject}: replication slot {self._slot} exists, but no position is stored on "
                    f"{names.offsets_topic(self._settings.name)}: what it was read up to is not known",
                    hint="if nobody needs it, drop the slot to begin again: "
                    f"SELECT pg_drop_replication_slot('{self._slot}');",
                )
            self._stored = stored if ours else None
            return
        self._stored = stored
        self._status["position"] = stored.order
        self._ledger = Ledger(stored.ledger)
        if self._finished():
            return
        position = from_stored(stored)
        slot.check_timeline(self._replication, source.system, position, self._subject)
        slot.check_slot(found, self._slot, position, source.system.flushed, self._subject)
        self._check_publication(position.origin.publication_oid)

    def batches(self) -> Iterator[Batch]:
        if self._finished():
            return
        if self._stored is None or is_intent(self._stored):
            if self._stored is None:
                # Stored before the slot is made: a slot found with it alone is our own unfinished start.
                yield Batch([], self._intent())
            start, snapshot = self._first_start()
            yield Batch([], start.stored(self._ledger.as_json()))
        else:
            start, snapshot = from_stored(self._stored), None
            start = start.at(self._publish())
            if self._revise_ledger():
                yield Batch([], start.stored(self._ledger.as_json()))
        self._start_reader(start, snapshot)
        reader = self._reader
        assert reader is not None
        while (batch := reader.mailbox.take()) is not None:
            self._published.append((time.monotonic(), len(batch.records)))
            self._events += len(batch.records)
            yield batch
        if self._finished():
            self._drop_finished_slot()

    def confirm(self, position: Position) -> None:
        if self._reader is not None and not is_intent(position):
            self._reader.confirmed = from_stored(position).end_lsn
        self._status["position"] = position.order or None

    def stop(self) -> None:
        self._stopping = True
        if self._reader is not None:
            self._reader.stop()
        elif self._connection is not None:
            self._connection.wake()

    def status(self) -> dict[str, Any]:
        reader = self._reader
        snapshot = reader.snapshot if reader is not None else None
        status = {
            "state": self._state,
            "slot": self._slot,
            "publication": self._publication,
            "position": None,
            "lag_seconds": None,
            "lag_bytes": None,
            "retained_wal_bytes": None,
            **self._status,
            "rate": self._rate(),
            "events": self._events,
            "snapshot": snapshot.progress.as_json() if snapshot is not None else None,
        }
        if reader is not None and snapshot is None:
            status["lag_seconds"] = reader.lag_seconds()
            status["lag_bytes"] = max(0, reader.server_lsn - reader.confirmed)
        return status

    def _look(self) -> Source:
        """Connect to the catalog; what is captured, and whether the server can be read from."""
        section = self._section
        session = catalog.connect(self._conninfo(), self._subject)
        try:
            slot.check_server(session, self._subject)
            with catalog.reading(self._subject):
                session.execute(f"SET statement_timeout = '{QUERY_SECONDS}s'")
            tables = catalog.captured_tables(session, section.tables, self._subject)
            self._check_matched(session, tables)
            planner = Planner(self._settings, self._name, section, session, self._subject)
            planner.plan_all(tables)  # wrong settings are told before anything is made
            return Source(session, slot.identify(self._replication), tables, planner)
        except BaseException:
            session.close()
            raise

    def _first_start(self) -> tuple[WalPosition, SnapshotReader | None]:
        """Publication, slot and the readers of its exported snapshot, in this order."""
        connection, section, source = self._replication, self._section, self._source
        if slot.find_slot(source.session, self._slot, self._subject) is not None:
            slot.drop_slot(connection, self._slot, each_second=self._check_stop)
        origin = self._publish()
        lsn, exported = slot.create_slot(
            connection, source.session, self._slot, self._subject, each_second=self._check_stop
        )
        start = WalPosition(origin, lsn, 0, whole=False, end_lsn=lsn)
        wanted = {table.full_name for table in source.tables}
        snapshot = None if section.snapshot == "never" else self._open_snapshot(exported, wanted)
        self._ledger.mark(wanted, "done" if snapshot is None else "pending", self._published_by)
        return start, snapshot

    def _intent(self) -> Position:
        return intent(self._source.system.identifier, self._slot)

    def _finished(self) -> bool:
        """`snapshot: only`, and every table's rows are published."""
        return self._section.snapshot == "only" and bool(self._ledger.done()) and not self._unfinished()

    def _revise_ledger(self) -> bool:
        """Bring it in line with what is captured now; whether that changed it."""
        captured = {table.full_name for table in self._source.tables}
        changed = self._ledger.keep(captured)
        if self._section.snapshot == "never" and captured - self._ledger.done():
            self._ledger.mark(captured - self._ledger.done(), "done", self._published_by)
            changed = True
        return changed

    def _drop_finished_slot(self) -> None:
        """Nothing is read from it any more; it would only hold back WAL."""
        self._replication.close()
        slot.drop_free_slot(self._source.session, self._slot, self._subject)

    def _publish(self) -> Origin:
        """Make the publication, or add tables to it; says what positions belong to from now on."""
        source = self._source
        publication = slot.ensure_publication(
            source.session, self._publication, source.tables, self._subject, create=self._section.create
        )
        source.publication = publication
        system = source.system
        return Origin(system.identifier, system.timeline, self._slot, self._publication, publication.oid)

    def _start_reader(self, start: WalPosition, snapshot: SnapshotReader | None) -> None:
        connection, source = self._replication, self._source
        transactions = Transactions(
            start, source.planner.plan, self._section.batch, names.schemas_topic(self._settings.name)
        )
        self._reader = reader = Reader(
            connection,
            source.session,
            transactions,
            batch=self._section.batch,
            idle_interval=self._section.idle_interval,
            session_timeout=self._section.session_timeout,
            each_tick=self._tick,
            subject=self._subject,
        )
        try:
            slot.start_replication(connection, self._slot, start.end_lsn, self._publication)
        except ReplicationError as error:
            raise slot.lost(error, self._slot, start, self._subject) from error
        self._tick()
        self._log.info("replication started", slot=self._slot, position=position_text(start.commit_lsn, start.ordinal))
        lsn = start.end_lsn
        unfinished = self._unfinished()
        if snapshot is None and unfinished:
            lsn, snapshot = self._later_snapshot(unfinished, reader)
        self._state = "streaming" if snapshot is None else "snapshotting"
        reader.start(partial(self._read, reader, snapshot, lsn))
        if self._stopping:
            reader.stop()

    def _read(self, reader: Reader, snapshot: SnapshotReader | None, lsn: int) -> None:
        """The reader thread's work: up to the snapshot, the snapshot, and on from there."""
        if snapshot is not None:
            reader.transactions.hold(lsn)
            reader.stream()
            now = time.time_ns()
            transaction = Transaction(
                commit_lsn=lsn,
                commit_time_us=now // 1000,
                xid=0,
                last_commit_lsn=0,
                snapshot="true",
                now_ns=now,
                timestamp_ms=now // 1_000_000,
            )
            reader.read_snapshot(snapshot, self._table_done, transaction)
            self._state = "streaming"
        if self._section.snapshot != "only":
            reader.stream()

    def _later_snapshot(self, tables: Set[str], reader: Reader) -> tuple[int, SnapshotReader]:
        """A new snapshot for tables that the first one did not finish, or that came later.

        The stream is held meanwhile: it goes on up to the new snapshot's LSN, and no further
        until those rows are published.
        """
        exporter = self._connect_replication()
        try:
            # A name of its own each time: the server may still be making a killed copy's.
            name = f"{self._slot[:46]}_snapshot_{secrets.token_hex(3)}"
            lsn, exported = slot.create_slot(
                exporter, self._source.session, name, self._subject, temporary=True, each_second=reader.wait_each_second
            )
            return lsn, self._open_snapshot(exported, tables)
        finally:
            exporter.close()

    def _open_snapshot(self, exported: str, wanted: Set[str]) -> SnapshotReader:
        def describe(session: catalog.Session) -> list[SnapshotTable]:
            # Once more, as the snapshot sees them: making the slot may have taken hours.
            found = catalog.captured_tables(session, self._section.tables, self._subject)
            tables = [table for table in found if table.full_name in wanted]
            planned = self._source.planner.plan_all(tables)
            return [SnapshotTable(one, table) for one, table in zip(planned, tables, strict=True)]

        readers = self._section.snapshot_readers
        snapshot = SnapshotReader(self._conninfo(), exported, describe, readers, self._subject)
        self._log.info("snapshot begins", tables=len(snapshot.tables), readers=readers)
        return snapshot

    def _unfinished(self) -> set[str]:
        """Tables whose rows are not all published: the snapshot was cut short, or they are new."""
        if self._section.snapshot == "never":
            return set()
        return {table.full_name for table in self._source.tables} - self._ledger.done()

    def _table_done(self, table: SnapshotTable) -> Mapping[str, Any]:
        self._ledger.mark({table.table.full_name}, "done", self._published_by)
        return self._ledger.as_json()

    def _tick(self) -> None:
        """Every idle interval, in the reader's thread: is the source still as it must be?"""
        source = self._source
        self._check_publication(self._published_by.oid)
        found = slot.find_slot(source.session, self._slot, self._subject)
        if found is not None:
            self._status["retained_wal_bytes"] = found.retained_bytes
            self._status["safe_wal_bytes"] = found.safe_bytes
            self._status["wal_status"] = found.status

    def _check_publication(self, oid: int) -> None:
        source = self._source
        expected = {
            (table.schema, table.name): published
            for table in source.tables
            if (published := self._ledger.published(table.full_name)) is not None
        }
        slot.check_publication(source.session, self._publication, oid, expected, self._subject)

    def _check_matched(self, session: catalog.Session, tables: list[catalog.Table]) -> None:
        wrong = catalog.unmatched(self._section.tables, tables)
        if wrong:
            existing = catalog.all_tables(session, self._subject)
            raise ConfigError(
                [nothing_matches(self._settings, self._name, entry, existing) for entry in wrong],
                hint="names are schema.table, as psql shows them; a partition is captured through its parent",
            )

    def _connect_replication(self) -> ReplicationConnection:
        info = conninfo(self._database, replication=True, application_name=self._application)
        connection = ReplicationConnection(info, self._subject)
        timeout = round(self._section.session_timeout * 1000)
        watched = {
            "wal_sender_timeout": str(timeout),
            # Before streaming nothing else would end the session of a copy that hangs with the lock.
            "idle_session_timeout": IDLE_TIMEOUT,
            "idle_in_transaction_session_timeout": IDLE_TIMEOUT,
        }
        for setting, value in {**SESSION_SETTINGS, **watched}.items():
            connection.execute(f"SET {setting} = '{value}'")
        return connection

    def _conninfo(self) -> str:
        return conninfo(self._database, application_name=self._application)

    @property
    def _application(self) -> str:
        return f"cdc {self._settings.name}.{self._name}"

    @property
    def _published_by(self) -> catalog.Publication:
        assert self._source.publication is not None, "_publish() comes first"
        return self._source.publication

    @property
    def _source(self) -> Source:
        assert self._found is not None, "start() comes first"
        return self._found

    @property
    def _replication(self) -> ReplicationConnection:
        assert self._connection is not None, "lock() comes first"
        return self._connection

    def _check_stop(self) -> None:
        if self._stopping:
            raise Stopped

    def _rate(self) -> float:
        now = time.monotonic()
        while self._published and now - self._published[0][0] > RATE_SECONDS:
            self._published.popleft()
        return round(sum(count for _, count in list(self._published)) / RATE_SECONDS, 1)

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.stop()
            self._reader.join()
        if self._found is not None:
            self._found.session.close()
        if self._connection is not None:
            self._connection.close()
        self._reader = self._found = self._connection = None
