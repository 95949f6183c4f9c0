"""Opens snapshots: a slot exports one, and readers import it. Touches the database."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

from cdc.failpoints import reach
from cdc.patterns import matches
from cdc.settings import Settings

from . import catalog, slot
from .ledger import Ledger
from .ranges import SnapshotTable
from .replication import ReplicationConnection
from .sessions import Sessions
from .settings import PostgresWalSettings
from .snapshot import SnapshotReader
from .snapshots import Opened
from .tables import Planner

BLOCK = 8192
"""Bytes, unless the server was built otherwise; ranges are larger or smaller then."""


def temporary_prefix(slot_name: str) -> str:
    """What the temporary slots of a connector begin with."""
    return f"{slot_name[:46]}_snapshot_"


def in_order(entries: Iterable[str], tables: Iterable[catalog.Table]) -> list[catalog.Table]:
    """Tables in the order that they are read in: by the entries that match them, then by name.

    Debezium's is the same: `RelationalSnapshotChangeEventSource.addSignalingCollectionAndSort`.
    """
    sorted_by_name = sorted(tables, key=lambda table: table.full_name)
    ordered = [table for entry in entries for table in sorted_by_name if matches(entry, table.full_name)]
    return list({table.full_name: table for table in ordered}.values())


@dataclass(frozen=True, slots=True)
class Opening:
    """How one connector opens snapshots.

    Args:
        settings: all settings.
        name, section: the connector's name and section.
        sessions: connections.
        ledger: what is published of the tables already; while it heals, all rows are wanted.
        check_stop: raises when it is time to end.
    """

    settings: Settings
    name: str
    section: PostgresWalSettings
    sessions: Sessions
    ledger: Ledger
    check_stop: Callable[[], None]

    def with_slot(
        self, connection: ReplicationConnection, session: catalog.Session, slot_name: str, *, temporary: bool = False
    ) -> tuple[int, str]:
        """Make a slot that exports a snapshot; waits for running writers.

        Returns: the LSN as of which it sees the database, and its name.
        Raises: SourceError, SourceUnavailable, and what `check_stop` raises.
        """
        reach("snapshot.before_slot")
        made = slot.create_slot(
            connection, session, slot_name, self.sessions.subject, temporary=temporary, each_second=self.check_stop
        )
        reach("snapshot.after_slot")
        return made

    def later(self, slot_name: str, wanted: Set[str]) -> Opened:
        """A snapshot beside the stream; may be called in a thread of its own.

        Args:
            slot_name: of the connector; the temporary slot's begins with it.
            wanted: tables.
        """
        with self.sessions.catalog() as session:
            exporter = self.sessions.replication()
            try:
                # A name of its own each time: the server may still be making a killed copy's.
                name = f"{temporary_prefix(slot_name)}{secrets.token_hex(3)}"
                lsn, exported = self.with_slot(exporter, session, name, temporary=True)
                return Opened(lsn, self.reader(exported, wanted))
            except BaseException:
                exporter.cancel()
                raise
            finally:
                exporter.close()

    def reader(self, exported: str, wanted: Set[str]) -> SnapshotReader:
        """Readers that have imported the snapshot; its exporter is free afterwards."""
        subject = self.sessions.subject

        def describe(session: catalog.Session) -> list[SnapshotTable]:
            # Once more, as the snapshot sees them: making the slot may have taken hours.
            # Debezium's snapshot has generated columns, its stream has not.
            found = catalog.captured_tables(
                session, self.section.tables, subject, self.section.partitions, generated=self.section.quirks
            )
            tables = [table for table in in_order(self.section.tables, found) if table.full_name in wanted]
            # The publication's own: rows that are read and rows that are streamed are chosen by the same.
            filters = catalog.row_filters(session, self.section.publication_name(self.settings, self.name), subject)
            planner = Planner(self.settings, self.name, self.section, session, subject)
            return [
                SnapshotTable(
                    planned,
                    table,
                    self.ledger.heaps(table.full_name) if planned.by_key else {},
                    where=_both(
                        filters.get(table.full_name), None if self.ledger.healing else table.options.snapshot_where
                    ),
                    select=None if self.ledger.healing else table.options.snapshot_select,
                    in_one_piece=self.section.snapshot_markers,
                )
                for planned, table in zip(planner.plan_all(tables), tables, strict=True)
            ]

        reach("snapshot.before_import")
        reader = SnapshotReader(
            self.sessions.catalog,
            exported,
            describe,
            readers=self.section.snapshot_readers,
            range_blocks=max(1, self.section.snapshot_range // BLOCK),
            marked=self.section.snapshot_markers,
            subject=subject,
        )
        reach("snapshot.after_import")
        return reader


def _both(*predicates: str | None) -> str | None:
    """One predicate of several."""
    return " AND ".join(f"({one})" for one in predicates if one is not None) or None
