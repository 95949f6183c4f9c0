"""The publication: made where allowed, checked at every start and ever after. Touches the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from cdc.errors import Gap, SourceError, SourceUnavailable

from .catalog import Publication, Session, Table, find_publication


def publication_sql(name: str, tables: Sequence[Table]) -> str:
    """The statement that makes the publication; for us, or to show to the tables' owner."""
    listed = ", ".join(table.identifier.as_string() for table in tables)
    return (
        f"CREATE PUBLICATION {sql.Identifier(name).as_string()} FOR TABLE {listed} "
        "WITH (publish_via_partition_root = true)"
    )


def ensure_publication(
    connection: Session,
    name: str,
    tables: Sequence[Table],
    subject: str,
    *,
    create: bool,
) -> Publication:
    """Make the publication, or add the tables and operations that it lacks, where that is allowed.

    Raises: SourceError with the exact SQL for the owner.
    """
    publication = find_publication(connection, name, subject)
    if publication is None:
        _change(connection, publication_sql(name, tables), subject, create)
    else:
        lacking = [table for table in tables if (table.schema, table.name) not in publication.tables]
        if lacking:
            listed = ", ".join(table.identifier.as_string() for table in lacking)
            quoted = sql.Identifier(name).as_string()
            _change(connection, f"ALTER PUBLICATION {quoted} ADD TABLE {listed}", subject, create)
    publication = _found(connection, name, subject)
    if _wrong_form(publication):
        quoted = sql.Identifier(name).as_string()
        options = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"
        _change(connection, f"ALTER PUBLICATION {quoted} SET ({options})", subject, create)
        publication = _found(connection, name, subject)
    return publication


def _found(connection: Session, name: str, subject: str) -> Publication:
    publication = find_publication(connection, name, subject)
    if publication is None:
        raise SourceError(f"{subject}: publication {name} is gone again")
    return publication


def _wrong_form(publication: Publication) -> str | None:
    unpublished = {"insert", "update", "delete", "truncate"} - publication.operations
    if unpublished:
        return f"does not publish {', '.join(sorted(unpublished))}"
    return None if publication.via_root else "does not publish through partition roots"


def check_publication(
    connection: Session, name: str, oid: int, expected: Mapping[tuple[str, str], str], subject: str
) -> None:
    """The publication must be as it was streamed from, for every table that was captured.

    On PostgreSQL 18 changes of a dropped publication are skipped silently.

    Args:
        expected: (schema, table) → its fingerprint when it was captured.
    Raises: Gap.
    """
    since = "changes since then may not have been sent"
    publication = find_publication(connection, name, subject)
    if publication is None:
        raise Gap(f"{subject}: publication {name} was dropped; {since}")
    if publication.oid != oid:
        raise Gap(f"{subject}: publication {name} was dropped and made again; {since}")
    wrong = _wrong_form(publication)
    if wrong:
        raise Gap(f"{subject}: publication {name} {wrong} any more; {since}")
    removed = [".".join(table) for table in sorted(expected.keys() - publication.tables.keys())]
    if removed:
        raise Gap(f"{subject}: publication {name} no longer has {', '.join(removed)}; {since}")
    changed = sorted(".".join(table) for table, before in expected.items() if publication.tables[table] != before)
    if changed:
        what = "was out of it, made again, or has another row filter or column list"
        raise Gap(f"{subject}: publication {name}: {', '.join(changed)} {what}; {since}")


def _change(connection: Session, statement: str, subject: str, allowed: bool) -> None:
    if not allowed:
        raise SourceError(f"{subject}: the publication is not as needed", hint=f"the owner runs: {statement};")
    try:
        connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        raise SourceError(
            f"{subject}: may not change the publication: {error.diag.message_primary}",
            hint=f"the tables' owner runs: {statement};",
        ) from error
    except psycopg.errors.QueryCanceled as error:
        raise SourceUnavailable(f"{subject}: other sessions hold the tables; tried again: {statement}") from error
    except psycopg.Error as error:
        raise SourceError(f"{subject}: {error.diag.message_primary}", hint=f"statement: {statement};") from error
