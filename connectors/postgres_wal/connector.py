"""The connector: lock, start, batches, confirm. Puts the rooms of this package together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog

from cdc import names
from cdc.connector import Stopped
from cdc.errors import Gap, Refused, SourceError
from cdc.event import Batch, Record
from cdc.failpoints import reach
from cdc.position import Position
from cdc.settings import Settings
from cdc.transforms.stage import Stage

from . import catalog, handover, slot
from .beside import Beside
from .capture import Capture
from .commands import Commands
from .ledger import Ledger
from .opening import Opening, temporary_prefix
from .pgoutput import position_text
from .position import Origin, WalPosition, from_stored, healing, intent, is_healing, is_intent
from .rate import Rate
from .reader import Reader
from .replication import ReplicationConnection, ReplicationError
from .retention import Retention
from .sessions import Sessions
from .settings import PostgresWalSettings
from .snapshot import Turn
from .snapshots import Opened, Snapshots
from .transactions import Transactions
from .transforms import Chains

LOCK_SECONDS = 1.0
"""How often a copy that waits asks for the lock."""

QUERY_SECONDS = 5
"""Longest catalog query while streaming: shorter than the session timeout, which waits meanwhile."""

ROWS_PER_TURN = 2000
"""Rows of a snapshot taken from one of its readers before the others have their turn."""

LAST_ORDINAL = 9_999_999_999
"""Sorts behind every row of a transaction."""


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
        application = f"cdc {settings.name}.{name}"
        self._sessions = Sessions(
            settings.databases[section.database],
            application,
            section.session_timeout,
            self._subject,
            section.handling.quirks,
        )
        self._log = structlog.get_logger().bind(connector=name)
        self._stopping = False
        self._state = "starting"
        self._connection: ReplicationConnection | None = None
        self._system: slot.System | None = None
        self._found: Capture | None = None
        self._stored: Position | None = None
        self._stored_revision = 0
        self._ledger = Ledger(with_ranges=section.publishes_every_change)
        self._stage: Stage | None = None
        self._reader: Reader | None = None
        self._healing = False
        self._handed_over: slot.Slot | None = None
        self._retention = Retention(section.retained_wal, self._slot, name)
        self._commands: Commands | None = None
        self._status: dict[str, Any] = {}
        self._rate = Rate()

    @contextmanager
    def lock(self) -> Iterator[None]:
        self._state = "waiting"
        try:
            self._connection = connection = self._sessions.replication()
            key = names.lock_key(self._settings.name, self._name)
            told = False
            while connection.execute(f"SELECT pg_try_advisory_lock({key})") != [("t",)]:
                if not told:
                    self._log.info("waiting: another copy of this connector holds the source's lock")
                    told = self._status["waited"] = True
                connection.wait(LOCK_SECONDS, readable=False)
                self._check_stop()
            self._state = "starting"
            reach("stream.after_lock")
            yield
        finally:
            self._close()

    def start(self, stored: Position | None) -> None:
        if stored is not None and not is_intent(stored):
            with_ranges = self._section.publishes_every_change
            self._ledger = Ledger(stored.ledger, anew=is_healing(stored), with_ranges=with_ranges)
            self._stored_revision = self._ledger.revision
        self._found = capture = self._look()
        slot.end_abandoned(capture.session, temporary_prefix(self._slot), self._subject)
        found = slot.find_slot(capture.session, self._slot, self._subject)
        self._stored = stored
        self._healing = self._ledger.healing or (stored is not None and is_healing(stored))
        if stored is not None and is_healing(stored):
            return
        if stored is None or is_intent(stored):
            ours = stored is not None and stored == self._intent()
            if stored is None and self._section.start_from is not None:
                if found is None:
                    raise Gap(f"{self._subject}: replication slot {self._slot}, to start from, is gone")
                handover.check(found, self._slot, self._section.start_from, self._subject)
                self._handed_over = found
                return
            if found is not None and not ours:
                raise Gap(
                    f"{self._subject}: replication slot {self._slot} exists, but no position is stored on "
                    f"{names.offsets_topic(self._settings.name)}: what it was read up to is not known"
                )
            self._stored = stored if ours else None
            return
        self._status["position"] = stored.order
        if self._ledger.healing:
            # What was compared before is not known any more.
            for table in self._ledger.unfinished():
                self._ledger.start_over(table)
        if self._finished():
            return
        position = from_stored(stored)
        slot.check_timeline(self._replication, self._identified, position, self._subject)
        slot.check_slot(found, self._slot, position, self._identified.flushed, self._subject)
        capture.check(position.origin.publication_oid)

    def batches(self) -> Iterator[Batch]:
        if self._finished():
            return
        stored = self._stored
        opened: Opened | None = None
        if self._handed_over is not None:
            start = self._after_debezium(self._handed_over)
        elif stored is None or is_intent(stored) or is_healing(stored):
            if stored is None:
                # Stored before the slot is made: a slot found with it alone is our own unfinished start.
                yield from self._given([Batch([], self._intent())])
            start, opened = self._first_start()
        else:
            start = from_stored(stored)
            start = start.at(self._origin(start.origin.generation))
            self._capture.revise()
            self._capture.cover()
        reader = self._start_reader(start, opened)
        yield from self._given(iter(reader.mailbox.take, None))
        if self._finished():
            self._drop_finished_slot()

    def _given(self, batches: Iterable[Batch | None]) -> Iterator[Batch]:
        """The batches behind transforms, and when each was given away: that tells whether Kafka takes them."""
        for batch in batches:
            assert batch is not None
            if self._stage is not None:
                batch = self._stage.batch(batch)
            self._rate.count(len(batch.records))
            self._retention.publishing_since = time.monotonic()
            yield batch
            self._retention.publishing_since = None

    def confirm(self, position: Position) -> None:
        reach("stream.before_confirm")
        self._stored = position
        if position.ledger is not None:
            self._stored_revision = position.ledger["revision"]
            self._healing = position.ledger["healing"]
        if self._reader is not None and not is_intent(position):
            self._reader.confirmed = from_stored(position).end_lsn
        self._status["position"] = position.order or None
        reach("stream.after_confirm")

    def healing(self) -> bool:
        return self._healing

    def inherited(self) -> Sequence[str]:
        tables = self._capture.tables if self._handed_over is not None else ()
        return [self._section.topic_of_table(self._settings.name, table.schema, table.name) for table in tables]

    def heal_position(self, stored: Position | None) -> Position:
        return healing(stored)

    def gone(self, topic: str, keys: Sequence[bytes]) -> list[Record]:
        assert self._reader is not None
        table, transaction = self._reader.snapshots.read_from(topic)
        # Behind all that was committed before the rows, and before the rows: one may have come from another partition.
        before = replace(transaction, commit_lsn=transaction.commit_lsn - 1)
        records: list[Record] = []
        encoder = table.planned.another_encoder()  # the planned one is the reader's
        encoder.begin(before)
        encoder.gone(keys, LAST_ORDINAL, records)
        return records if self._stage is None else self._stage.gone(topic, records)

    def ask(self, action: str, tables: Sequence[str]) -> str:
        if self._reader is None or self._commands is None:
            raise Refused(f"{self._subject} is {self._state}: it takes commands once it streams")
        return self._commands.ask(action, tables, self._reader.wake)

    def stop(self) -> None:
        self._stopping = True
        if self._reader is not None:
            self._reader.stop()
        elif self._connection is not None:
            self._connection.wake()

    def status(self) -> dict[str, Any]:
        reader = self._reader
        status = {
            "state": self._state,
            "slot": self._slot,
            "publication": self._publication,
            "position": None,
            "lag_seconds": None,
            "lag_bytes": None,
            "retained_wal_bytes": None,
            **self._status,
            "rate": self._rate.a_second(),
            "events": self._rate.events,
            "snapshot": None,
        }
        if reader is not None:
            status["lag_seconds"] = reader.lag_seconds()
            status["lag_bytes"] = max(0, reader.server_lsn - reader.confirmed)
            status["snapshot"] = snapshot = reader.snapshots.as_json()
            if snapshot is None and self._ledger.revision > self._stored_revision:
                status["snapshot"] = {"percent": 100.0, "waiting_for": "Kafka", "paused": False}
            status["state"] = "snapshotting" if snapshot is not None and not snapshot["paused"] else "streaming"
            status["healing"] = self._healing
            status["refused_tables"] = dict(self._capture.refused)
        return status

    def _look(self) -> Capture:
        """Connect to the catalog; what is captured, and whether the server can be read from."""
        self._stage = Chains(self._settings, self._name, self._section).stage()
        session = self._sessions.catalog()
        try:
            slot.check_server(session, self._subject)
            with catalog.reading(self._subject):
                session.execute(f"SET statement_timeout = '{QUERY_SECONDS}s'")
            self._system = slot.identify(self._replication)
            return Capture(
                self._settings, self._name, self._section, session, self._publication, self._ledger, self._subject
            )
        except BaseException:
            session.close()
            raise

    def _first_start(self) -> tuple[WalPosition, Opened | None]:
        """Publication, slot and the readers of its exported snapshot, in this order."""
        connection, capture = self._replication, self._capture
        if slot.find_slot(capture.session, self._slot, self._subject) is not None:
            slot.drop_slot(connection, self._slot, each_second=self._check_stop)
        generation = self._stored.state.get("generation", 0) if self._stored is not None else 0
        origin = self._origin(generation)
        if self._healing:
            self._ledger.heal(capture.names)
        else:
            capture.revise()
        lsn, exported = self._opening.with_slot(connection, capture.session, self._slot)
        capture.cover()
        start = WalPosition(origin, lsn, 0, whole=False, end_lsn=lsn)
        wanted = self._ledger.unfinished()
        return start, Opened(lsn, self._opening.reader(exported, wanted)) if wanted else None

    def _after_debezium(self, found: slot.Slot) -> WalPosition:
        """Where Debezium stopped."""
        offset = self._section.start_from
        assert offset is not None
        origin = handover.take_over(
            self._capture, self._ledger, self._publication, lambda: self._origin(0), self._subject
        )
        return handover.position(self._sessions, found, self._slot, origin, offset, self._keep_lock)

    def _keep_lock(self) -> None:
        """Called each second of a long wait: the server ends a session that is idle for long."""
        self._check_stop()
        self._replication.execute("SELECT 1")

    def _intent(self) -> Position:
        return intent(self._identified.identifier, self._slot)

    def _finished(self) -> bool:
        """`snapshot: only`, and every table's rows are published."""
        return self._section.snapshot == "only" and self._capture.names <= self._ledger.done()

    def _drop_finished_slot(self) -> None:
        """Nothing is read from it any more; it would only hold back WAL."""
        self._replication.close()
        slot.drop_free_slot(self._capture.session, self._slot, self._subject)

    def _origin(self, generation: int) -> Origin:
        """Make the publication, or add tables to it; says what positions belong to from now on."""
        publication = self._capture.publish()
        system = self._identified
        return Origin(system.identifier, system.timeline, self._slot, self._publication, publication.oid, generation)

    def _start_reader(self, start: WalPosition, opened: Opened | None) -> Reader:
        connection, capture, section = self._replication, self._capture, self._section
        transactions = Transactions(
            start,
            capture.plan,
            section.batch,
            capture.descriptions(),
            Beside.of(section, self._settings.name, capture.planner.source),
        )
        snapshots = Snapshots(
            self._ledger,
            transactions,
            open=lambda wanted: self._opening.later(self._slot, wanted),
            by_key=capture.by_key,
            filtered=capture.filtered,
            hold_all=section.snapshot == "only",
            marked=section.snapshot_markers,
            publication=lambda: capture.publication,
            wake=connection.wake,
            turn=Turn(min(ROWS_PER_TURN, section.batch.rows), section.batch.bytes // 8),
            generation=start.origin.generation,
        )
        if opened is not None:
            snapshots.begin_tracking({name for name in self._ledger.unfinished() if capture.by_key(name)})
            snapshots.expect(opened)
        self._commands = commands = Commands(
            self._ledger,
            captured=lambda: capture.names,
            changed=snapshots.changed,
            stored=lambda: self._stored_revision,
            healing=self.healing,
            subject=self._subject,
        )
        reader = Reader(
            connection,
            capture.session,
            transactions,
            self._ledger,
            snapshots,
            batch=section.batch,
            heartbeat=section.heartbeat.interval if section.heartbeat is not None else None,
            idle_interval=section.idle_interval,
            session_timeout=section.session_timeout,
            each_look=commands.obey,
            each_tick=self._tick,
            ends_with_snapshot=section.snapshot == "only",
            subject=self._subject,
        )
        reach("stream.before_start")
        try:
            slot.start_replication(connection, self._slot, start.end_lsn, self._publication)
        except SourceError as error:
            snapshots.close()
            if isinstance(error, ReplicationError):
                raise slot.lost(error, self._slot, start, self._subject) from error
            raise
        reach("stream.after_start")
        self._reader = reader
        self._tick()
        self._log.info("replication started", slot=self._slot, position=position_text(start.commit_lsn, start.ordinal))
        reader.start()
        if self._stopping:
            reader.stop()
        return reader

    def _tick(self) -> None:
        """Every idle interval, in the reader's thread: is the source still as it must be?"""
        capture = self._capture
        before = self._ledger.revision
        capture.look()
        if self._reader is not None:
            if self._ledger.revision != before:
                self._reader.snapshots.changed()
            self._retention.held_for = self._reader.snapshots.held_for
        self._status.update(self._retention.look(capture.session, self._replication.close))

    @property
    def _opening(self) -> Opening:
        return Opening(self._settings, self._name, self._section, self._sessions, self._ledger, self._check_stop)

    @property
    def _capture(self) -> Capture:
        assert self._found is not None, "start() comes first"
        return self._found

    @property
    def _identified(self) -> slot.System:
        assert self._system is not None, "start() comes first"
        return self._system

    @property
    def _replication(self) -> ReplicationConnection:
        assert self._connection is not None, "lock() comes first"
        return self._connection

    def _check_stop(self) -> None:
        if self._stopping:
            raise Stopped

    def _close(self) -> None:
        self._stopping = True  # whatever waits in a thread ends
        if self._reader is not None:
            self._reader.stop()
            self._reader.join()
            self._reader.snapshots.close()
        if self._found is not None:
            self._found.session.close()
        if self._connection is not None:
            self._connection.close()
        self._reader = self._found = self._connection = None
