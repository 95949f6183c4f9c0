"""What is captured: tables, their publication and the ledger, at the start and ever after. Touches the database.

Tables that match come and go while the connector runs. A new one is added to the publication
first, and its rows are read by a snapshot made after that; never the reverse. Where the publication
is for all tables, a new one is published from its first row on, and nothing of it is read, as with Debezium; one that
was there before under a name that did not match is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from cdc import names
from cdc.config.consistency import nothing_matches
from cdc.errors import CdcError, ConfigError, Gap
from cdc.failpoints import reach
from cdc.formats.postgres.relation import Relation
from cdc.patterns import is_pattern, matching
from cdc.settings import Settings

from . import catalog
from .descriptions import Descriptions
from .drift import Form, changes, refusal
from .ledger import Ledger
from .publication import Wanted, check_publication, ensure_publication
from .settings import PostgresWalSettings
from .tables import PlannedTable, Planner


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
        self._wanted = Wanted.by(section, publication)
        self._found: catalog.Publication | None = None
        self._ledger = ledger
        self._subject = subject
        self.planner = Planner(settings, name, section, session, subject)
        self.tables = self._captured()
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
        return any(
            one.full_name == table and (one.options.snapshot_where or one.options.snapshot_select)
            for one in self.tables
        )

    def descriptions(self) -> Descriptions:
        """What a stream from here on tells of the tables."""
        ledger = self._ledger
        topic = names.schemas_topic(self._settings.name)
        return Descriptions(topic, ledger.describe, self.admit, ledger.described, self.captures)

    def captures(self, table: str, partition: bool) -> bool:
        """Whether a table of this name, which may be a partition, is captured when there is one."""
        return not (partition and self._section.partitions == "roots") and bool(matching(self._section.tables, table))

    def waiting(self) -> set[str]:
        """Tables of which nothing was ever published: the stream's events of them wait for the snapshot's rows too."""
        return {name for name in self._ledger.untouched() if not self.by_key(name) and not self.filtered(name)}

    def plan(self, relation: Relation) -> PlannedTable | None:
        """A relation of the stream as it is encoded; None when it is not captured.

        Raises: ConfigError, Refused: it cannot be, though it was found fit before.
        """
        try:
            return self.planner.plan(relation)
        except CdcError as error:
            name = f"{relation.schema}.{relation.name}"
            if error.retriable or not self.publication.all_tables or name in self.names:
                raise
            # Made a moment ago and published at once: it stops no other.
            self._refuse(name, error)
            self._ledger.miss(name)
            return None

    def admit(self, table: PlannedTable, position: str) -> None:
        """Note the columns of a table whose rows come next in this form.

        Raises: SchemaChanged: they are others than its policy lets through.
        """
        # The catalogue may not have a column any more that older WAL has.
        table.numbers = {**self._ledger.numbers(table.full_name), **table.numbers}
        self._ledger.number(table.full_name, {name: table.numbers.get(name, 0) for name in table.column_names})
        before = self._ledger.watched(table.full_name)
        if table.numbered is not None and before is not None:
            refused = refusal(table.full_name, table.policy, position, changes(Form.from_json(before), table.numbered))
            if refused is not None:
                raise refused
        self._ledger.watch(table.full_name, None if table.numbered is None else table.numbered.as_json())

    def publish(self) -> catalog.Publication:
        """Make the publication, or add the tables that it lacks.

        Raises: SourceError with the SQL for the owner; SourceUnavailable.
        """
        reach("snapshot.before_publication")
        unpublished = [table for table in self.tables if self._ledger.published(table.full_name) is None]
        renewed = [one for one in unpublished if self._ledger.filter(one.full_name) != one.options.where]
        self._found = ensure_publication(self.session, self._wanted, self.tables, self._subject, renewed)
        self._ledger.note_filters({table.full_name: table.options.where for table in unpublished})
        reach("snapshot.after_publication")
        return self._found

    def revise(self) -> None:
        """Bring the ledger in line: forget tables that are gone, expect the rows of new ones."""
        self._ledger.keep(self.names)
        self._ledger.trust(self.publication)
        new = self.names - self._ledger.done() - self._ledger.unfinished()
        unread = {name for name in new if not self._reads(name)}
        if self.publication.all_tables:
            unread |= self._ledger.came({one.full_name: one.oid for one in self.tables if one.full_name in new})
        if unread:
            self._ledger.finish(unread, self.publication)
        if new - unread:
            self._ledger.expect(new - unread)

    def cover(self) -> None:
        """The slot is there: what the publication has is streamed from here on."""
        # Before it is looked which tables there are: what is made meanwhile is above it, and new.
        newest = catalog.newest_table(self.session, self._subject)
        if self.publication.all_tables and self._changed():
            # Made before the slot was: these are read.
            self._take_in()
        self._ledger.cover(self._section.tables, newest)

    def look(self) -> None:
        """Take in tables that came, let go those that went, and check the publication.

        Raises: Gap, SourceUnavailable, SourceError.
        """
        newest = catalog.newest_table(self.session, self._subject)
        if self._changed():
            self._take_in()
        if self.publication.all_tables:
            # One that is not captured may get a name that is, and then its rows have to be read.
            self._ledger.cover(self._section.tables, newest)
        self.check(self.publication.oid)

    def check(self, publication_oid: int) -> None:
        """The publication must be as it was for every table that is published. Raises: Gap."""
        changed = {one.full_name for one in self.tables if self._ledger.filter(one.full_name) != one.options.where}
        for name in sorted(changed):
            begun = not self._ledger.healing and name in self._ledger.unfinished() - self.waiting()
            if begun or self._ledger.published(name) is not None:
                raise Gap(
                    f"{self._subject}: table {name} has another `where` than its rows were published by: "
                    "readers lack rows, or have some that they should not",
                    lasting=False,
                )
        expected = {
            (table.schema, table.name): published
            for table in self.tables
            if (published := self._ledger.published(table.full_name)) is not None
        }
        check_publication(self.session, self._wanted, publication_oid, expected, self._subject)

    def _changed(self) -> bool:
        """Whether other tables match than those that are known."""
        section = self._section
        found = catalog.matching(self.session, section.tables, self._subject, section.partitions)
        known = {table.full_name: table.oid for table in self.tables}
        return found != {**known, **{name: found[name] for name in self.refused.keys() & found.keys()}}

    def _captured(self) -> list[catalog.Table]:
        section = self._section
        return catalog.captured_tables(self.session, section.tables, self._subject, section.partitions)

    def _reads(self, table: str) -> bool:
        """Whether a snapshot reads the table's rows."""
        chosen = self._section.snapshot_tables
        return self._section.snapshot != "never" and (chosen is None or bool(matching(chosen, table)))

    def _take_in(self) -> None:
        known = {table.full_name: table.oid for table in self.tables}
        found = self._captured()
        self.refused = {name: why for name, why in self.refused.items() if name in {t.full_name for t in found}}
        # One that was made again is a gap if the first one's rows are published, else just another table; where all
        # tables are published it goes on as the first one did.
        kept = [
            table
            for table in found
            if known.get(table.full_name) == table.oid
            or (
                table.full_name in known
                and self._ledger.published(table.full_name) is not None
                and (not self.publication.all_tables or self._accept(table))
            )
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
            told = table.options.where or self._ledger.filter(table.full_name)
            renewed = [table] if told else []  # else a filter that it has is the owner's
            self._found = ensure_publication(self.session, self._wanted, [table], self._subject, renewed)
            self._ledger.note_filters({table.full_name: table.options.where})
        except CdcError as error:
            self._refuse(table.full_name, error)
            return False
        structlog.get_logger().info("a new table is captured", table=table.full_name)
        return True

    def _refuse(self, table: str, error: CdcError) -> None:
        structlog.get_logger().warning("a new table is not captured", table=table, error=error.message, hint=error.hint)
        if not error.retriable:
            self.refused[table] = error.message

    def _plan(self, tables: Sequence[catalog.Table]) -> None:
        """Wrong settings and missing grants are told before anything is made. Raises: ConfigError, SourceError."""
        catalog.check_readable(self.session, [one for one in tables if self._reads(one.full_name)], self._subject)
        for planned in self.planner.plan_all(tables):
            self._by_key[planned.full_name] = planned.by_key

    def _check_matched(self) -> None:
        wrong = [
            entry
            for entry in catalog.unmatched(self._section.tables, self.tables)
            if not (
                is_pattern(entry) and self._section.publication_tables == "all"
            )  # it may come, and is published then
        ]
        if wrong:
            existing = catalog.all_tables(self.session, self._subject, self._section.partitions)
            raise ConfigError(
                [nothing_matches(self._settings, self._name, entry, existing) for entry in wrong],
                hint="names are schema.table, as psql shows them; a partition is captured through its parent",
            )
