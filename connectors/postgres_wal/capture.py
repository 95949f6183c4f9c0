"""What is captured: tables, their publication and the ledger, at the start and ever after. Touches the database.

Tables that match come and go while the connector runs. A new one is added to the publication
first, and its rows are read by a snapshot made after that; never the reverse.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from cdc.config.consistency import nothing_matches
from cdc.errors import CdcError, ConfigError
from cdc.failpoints import reach
from cdc.settings import Settings

from . import catalog
from .ledger import Ledger
from .publication import check_publication, ensure_publication
from .settings import PostgresWalSettings
from .tables import Planner


class Capture:
    """The captured tables of one connector. For one thread at a time: the session is the reader's while that runs.

    Args:
        settings: all settings.
        name, section: the connector's name and section.
        session: for catalog queries.
        publication: the publication's name.
        ledger: kept in line with what is captured.
        subject: what to call the connector in errors.
    Raises: ConfigError: settings that do not fit the tables that there are.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        section: PostgresWalSettings,
        session: catalog.Session,
        publication: str,
        ledger: Ledger,
        subject: str,
    ) -> None:
        self._settings = settings
        self._name = name
        self._section = section
        self.session = session
        self._publication_name = publication
        self._found: catalog.Publication | None = None
        self._ledger = ledger
        self._subject = subject
        self.planner = Planner(settings, name, section, session, subject)
        self.tables = catalog.captured_tables(session, section.tables, subject)
        self.refused: dict[str, str] = {}
        self._by_key: dict[str, bool] = {}
        self._check_matched()
        self._plan(self.tables)

    @property
    def names(self) -> set[str]:
        """Full names of the captured tables."""
        return {table.full_name for table in self.tables}

    @property
    def publication(self) -> catalog.Publication:
        """As it was when `publish` or `look` last saw it."""
        assert self._found is not None, "publish() comes first"
        return self._found

    def by_key(self, table: str) -> bool:
        """Whether the rows of a table can be told by their key, and read by it."""
        return self._by_key.get(table, False)

    def filtered(self, table: str) -> bool:
        """Whether only some of a table's rows are wanted in its snapshot."""
        return any(one.full_name == table and one.options.snapshot_where is not None for one in self.tables)

    def publish(self) -> catalog.Publication:
        """Make the publication, or add the tables that it lacks.

        Raises: SourceError with the SQL for the owner; SourceUnavailable.
        """
        reach("snapshot.before_publication")
        self._found = ensure_publication(
            self.session, self._publication_name, self.tables, self._subject, create=self._section.create
        )
        reach("snapshot.after_publication")
        return self._found

    def revise(self) -> None:
        """Bring the ledger in line: forget tables that are gone, expect the rows of new ones."""
        self._ledger.keep(self.names)
        self._ledger.trust(self.publication)
        new = self.names - self._ledger.done() - self._ledger.unfinished()
        if new and self._section.snapshot == "never":
            self._ledger.finish(new, self.publication)
        elif new:
            self._ledger.expect(new)

    def look(self) -> None:
        """Take in tables that came, let go those that went, and check the publication.

        Raises: Gap, SourceUnavailable, SourceError.
        """
        found = catalog.matching(self.session, self._section.tables, self._subject)
        known = {table.full_name: table.oid for table in self.tables}
        if found != {**known, **{name: found[name] for name in self.refused.keys() & found.keys()}}:
            self._take_in()
        self.check(self.publication.oid)

    def check(self, publication_oid: int) -> None:
        """The publication must be as it was for every table that is published. Raises: Gap."""
        expected = {
            (table.schema, table.name): published
            for table in self.tables
            if (published := self._ledger.published(table.full_name)) is not None
        }
        check_publication(self.session, self._publication_name, publication_oid, expected, self._subject)

    def _take_in(self) -> None:
        known = {table.full_name: table.oid for table in self.tables}
        found = catalog.captured_tables(self.session, self._section.tables, self._subject)
        self.refused = {name: why for name, why in self.refused.items() if name in {t.full_name for t in found}}
        # One that was made again is a gap if the first one's rows are published, else just another table.
        kept = [
            table
            for table in found
            if known.get(table.full_name) == table.oid
            or (table.full_name in known and self._ledger.published(table.full_name) is not None)
        ]
        new = [table for table in found if table not in kept and table.full_name not in self.refused]
        gone = known.keys() - {table.full_name for table in kept}
        self._ledger.keep(known.keys() - gone)
        if gone:
            structlog.get_logger().info("tables are gone", tables=sorted(gone))
        accepted = [table for table in new if self._accept(table)]
        self.tables = sorted(kept + accepted, key=lambda table: (table.schema, table.name))
        self.revise()

    def _accept(self, table: catalog.Table) -> bool:
        """Whether a new table can be captured; what is wrong with one is told and stops no other."""
        try:
            self._plan([table])
            self._found = ensure_publication(
                self.session, self._publication_name, [table], self._subject, create=self._section.create
            )
        except CdcError as error:
            structlog.get_logger().warning(
                "a new table is not captured", table=table.full_name, error=error.message, hint=error.hint
            )
            if not error.retriable:
                self.refused[table.full_name] = error.message
            return False
        structlog.get_logger().info("a new table is captured", table=table.full_name)
        return True

    def _plan(self, tables: Sequence[catalog.Table]) -> None:
        """Wrong settings and missing grants are told before anything is made. Raises: ConfigError, SourceError."""
        if self._section.snapshot != "never":
            catalog.check_readable(self.session, tables, self._subject)
        for planned in self.planner.plan_all(tables):
            self._by_key[planned.full_name] = planned.by_key

    def _check_matched(self) -> None:
        wrong = catalog.unmatched(self._section.tables, self.tables)
        if wrong:
            existing = catalog.all_tables(self.session, self._subject)
            raise ConfigError(
                [nothing_matches(self._settings, self._name, entry, existing) for entry in wrong],
                hint="names are schema.table, as psql shows them; a partition is captured through its parent",
            )
