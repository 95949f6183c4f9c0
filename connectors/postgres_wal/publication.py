"""The publication: made where allowed, checked at every start and ever after. Touches the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from cdc.errors import ConfigError, Gap, Problem, SourceError, SourceUnavailable

from .catalog import Publication, Session, Table, find_publication, unidentified
from .settings import PostgresWalSettings

OPERATIONS = {"c": "insert", "u": "update", "d": "delete", "t": "truncate"}
"""What may be published, by Debezium's letters."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the publication should be.

    Args:
        name: its name.
        create: whether it is made where it is missing, and changed where it is not so.
        all_tables: whether it is made for all tables; one that is there may have some only.
        via_root: whether changes of partitions are those of the table that is partitioned.
        operations: what it publishes; more is left out by the encoder, but its transactions are seen.
    """

    name: str
    create: bool = True
    all_tables: bool = False
    via_root: bool = True
    operations: tuple[str, ...] = tuple(OPERATIONS.values())

    @classmethod
    def by(cls, section: PostgresWalSettings, name: str) -> Wanted:
        """As a connector's section says; `name` is the publication's."""
        return cls(
            name,
            section.create,
            section.publication_tables == "all",
            section.publish_via_root,
            tuple(operation for letter, operation in OPERATIONS.items() if letter not in section.skipped_operations),
        )

    @property
    def identifier(self) -> str:
        return sql.Identifier(self.name).as_string()

    def statement(self, tables: Sequence[Table]) -> str:
        """What makes it; for us, or to show to the tables' owner."""
        listed = "ALL TABLES" if self.all_tables else f"TABLE {_listed(tables)}"
        form = self._via_root if len(self.operations) == len(OPERATIONS) else self._form
        return f"CREATE PUBLICATION {self.identifier} FOR {listed} WITH ({form})"

    def addition(self, tables: Sequence[Table]) -> str:
        """What adds tables to it."""
        return f"ALTER PUBLICATION {self.identifier} ADD TABLE {_listed(tables)}"

    def removal(self, table: Table) -> str:
        """What takes a table out of it."""
        return f"ALTER PUBLICATION {self.identifier} DROP TABLE {table.identifier.as_string()}"

    def correction(self) -> str:
        """What gives it its form."""
        return f"ALTER PUBLICATION {self.identifier} SET ({self._form})"

    def wrong_form(self, found: Publication) -> str | None:
        """What is not as it should be."""
        unpublished = set(self.operations) - found.operations
        if unpublished:
            return f"does not publish {', '.join(sorted(unpublished))}"
        if found.via_root == self.via_root:
            return None
        return "does not publish through partition roots" if self.via_root else "does not publish partitions themselves"

    @property
    def _form(self) -> str:
        # As Debezium's `buildPublishOptionValue`: of transactions that have only the rest nothing is sent then.
        return f"publish = '{', '.join(self.operations)}', {self._via_root}"

    @property
    def _via_root(self) -> str:
        return f"publish_via_partition_root = {str(self.via_root).lower()}"


def ensure_publication(
    connection: Session, wanted: Wanted, tables: Sequence[Table], subject: str, renewed: Sequence[Table] = ()
) -> Publication:
    """Make the publication, or add the tables and operations that it lacks, where that is allowed.

    Args:
        renewed: those of the tables that get the row filter of the settings, or lose one, if they are there already.
    Raises:
        SourceError with the exact SQL for the owner.
        ConfigError: a row filter that has no effect, or would make the server refuse updates; nothing is changed.
    """
    with connection.transaction():
        found = _ensured(connection, wanted, tables, subject, renewed)
        if wanted.create:
            for table in tables:
                if table.options.where is not None:
                    _check_filter(connection, wanted, table, subject)
    return found


def _check_filter(connection: Session, wanted: Wanted, table: Table, subject: str) -> None:
    columns = unidentified(connection, wanted.name, table.oid, subject)
    if columns:
        listed = ", ".join(columns)
        raise ConfigError(
            [
                Problem(
                    f"table {table.full_name}: `where` looks at {listed}, which is not in the replica identity: "
                    "the server would refuse every UPDATE and DELETE of the table"
                )
            ],
            hint=f"ALTER TABLE {table.identifier.as_string()} REPLICA IDENTITY FULL, or an index that has {listed}",
        )


def _check_filters_count(publication: Publication, wanted: Wanted, tables: Sequence[Table]) -> None:
    filtered = {(table.schema, table.name): table for table in tables if table.options.where is not None}
    problems = [
        Problem(
            f"table {filtered[key].full_name}: `where` has no effect: publication {wanted.name} has "
            + ("all tables" if publication.all_tables else f"all tables of schema {key[0]}")
        )
        for key in sorted(filtered.keys() & publication.whole)
    ]
    if problems:
        raise ConfigError(problems, hint="a publication that lists the table by its name, or no `where`")


def _ensured(
    connection: Session, wanted: Wanted, tables: Sequence[Table], subject: str, renewed: Sequence[Table]
) -> Publication:
    publication = find_publication(connection, wanted.name, subject)
    if publication is None:
        _change(connection, wanted, wanted.statement(tables), subject)
    else:
        lacking = [table for table in tables if (table.schema, table.name) not in publication.tables]
        if lacking:
            _change(connection, wanted, wanted.addition(lacking), subject)
        _check_filters_count(publication, wanted, tables)
        for table in renewed:
            where, key = table.options.where, (table.schema, table.name)
            if table in lacking or key in publication.whole:
                continue
            if (key in publication.filtered) is (where is not None) and (where is None or not wanted.create):
                continue  # as it should be, or the owner gave it a filter, and which one is the owner's affair
            _change(connection, wanted, f"{wanted.removal(table)}; {wanted.addition([table])}", subject)
    publication = _found(connection, wanted.name, subject)
    if wanted.wrong_form(publication):
        _change(connection, wanted, wanted.correction(), subject)
        publication = _found(connection, wanted.name, subject)
    return publication


def _listed(tables: Sequence[Table]) -> str:
    return ", ".join(
        table.identifier.as_string() + (f" WHERE ({table.options.where})" if table.options.where else "")
        for table in tables
    )


def _found(connection: Session, name: str, subject: str) -> Publication:
    publication = find_publication(connection, name, subject)
    if publication is None:
        raise SourceError(f"{subject}: publication {name} is gone again")
    return publication


def check_publication(
    connection: Session, wanted: Wanted, oid: int, expected: Mapping[tuple[str, str], str], subject: str
) -> None:
    """The publication must be as it was streamed from, for every table that was captured.

    On PostgreSQL 18 changes of a dropped publication are skipped silently. One for all tables has
    neither row filters nor column lists, and a table that is made again is in it from its first row on.

    Args:
        expected: (schema, table) → its fingerprint when it was captured.
    Raises: Gap.
    """
    since = "changes since then may not have been sent"
    name = wanted.name
    publication = find_publication(connection, name, subject)
    if publication is None:
        raise Gap(f"{subject}: publication {name} was dropped; {since}")
    if publication.oid != oid:
        raise Gap(f"{subject}: publication {name} was dropped and made again; {since}")
    wrong = wanted.wrong_form(publication)
    if wrong:
        raise Gap(f"{subject}: publication {name} {wrong} any more; {since}")
    if publication.all_tables:
        return
    removed = [".".join(table) for table in sorted(expected.keys() - publication.tables.keys())]
    if removed:
        raise Gap(f"{subject}: publication {name} no longer has {', '.join(removed)}; {since}")
    changed = sorted(".".join(table) for table, before in expected.items() if publication.tables[table] != before)
    if changed:
        what = "was out of it, made again, or has another row filter or column list"
        raise Gap(f"{subject}: publication {name}: {', '.join(changed)} {what}; {since}")


def _change(connection: Session, wanted: Wanted, statement: str, subject: str) -> None:
    if not wanted.create:
        raise SourceError(f"{subject}: the publication is not as needed", hint=f"the owner runs: {statement};")
    try:
        connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        who = "a superuser" if " FOR ALL TABLES " in statement else "the tables' owner"
        raise SourceError(
            f"{subject}: may not change the publication: {error.diag.message_primary}",
            hint=f"{who} runs: {statement};",
        ) from error
    except psycopg.errors.QueryCanceled as error:
        raise SourceUnavailable(f"{subject}: other sessions hold the tables; tried again: {statement}") from error
    except psycopg.Error as error:
        raise SourceError(f"{subject}: {error.diag.message_primary}", hint=f"statement: {statement};") from error
