"""`cdc check` of a sink: what is missing, with the line that mends it. Touches the target, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from cdc import patterns
from cdc.databases import masked
from cdc.errors import CdcError, SinkError
from cdc.plugins import Finding
from cdc.schema_reader import SchemaReader
from cdc.settings import Settings
from sinks.postgres import catalog
from sinks.postgres.create import connect
from sinks.postgres.failures import translated
from sinks.postgres.offsets import APPLICATION, NAME
from sinks.postgres.settings import PostgresSinkSettings
from sinks.postgres.sink import typed
from sinks.postgres.tables import Target, text, wanted

Connection = psycopg.Connection[Any]


def check(settings: Settings, name: str, section: PostgresSinkSettings) -> Iterator[Finding]:
    """Connection, rights and tables of the sink `name`."""
    database = settings.databases[section.database]
    subject = f"sink {name}"
    try:
        with connect(database, f"{APPLICATION} check") as connection:
            connection.execute(catalog.SESSION)
            yield Finding("ok", f"{subject}: database", f"connected to {masked(database.url)}")
            yield from _rights(connection, subject, section)
            yield from _tables(connection, subject, settings, section)
    except psycopg.Error as error:
        told = translated(error, masked(database.url))
        yield Finding("error", f"{subject}: database", told.message, told.hint)


def _rights(connection: Connection, subject: str, section: PostgresSinkSettings) -> Iterator[Finding]:
    schema = section.target_schema
    found = connection.execute(
        "SELECT current_user::text, current_database()::text, "
        "(SELECT has_schema_privilege(oid, 'USAGE') AND (NOT %s OR has_schema_privilege(oid, 'CREATE')) "
        "FROM pg_namespace WHERE nspname = %s)",
        [section.create, schema],
    ).fetchone()
    assert found is not None
    role, database, usable = found
    user = sql.Identifier(role)
    if not _may_create_temporary_tables(connection):
        grant = sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(sql.Identifier(database), user)
        yield _missing(f"{subject}: temporary tables", f"role {role} may not create them", grant)
    if usable is None:
        grant = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(schema), user)
        yield _missing(f"{subject}: schema", f"schema {schema} does not exist", grant)
        return
    if not usable:
        rights = "USAGE, CREATE" if section.create else "USAGE"
        grant = sql.SQL(f"GRANT {rights} ON SCHEMA {{}} TO {{}}").format(sql.Identifier(schema), user)
        yield _missing(f"{subject}: schema", f"role {role} lacks {rights} on schema {schema}", grant)
    lacking = catalog.offsets_statements(connection, schema)
    if lacking and not section.create:
        what = "the table of offsets is missing, or not as this release needs it"
        yield Finding("error", f"{subject}: {NAME}", what, " ".join(f"{text(statement)};" for statement in lacking))
    if catalog.existing(connection, schema, NAME) is not None:
        yield from _writable(connection, f"{subject}: {NAME}", schema, NAME, user)


def _tables(
    connection: Connection, subject: str, settings: Settings, section: PostgresSinkSettings
) -> Iterator[Finding]:
    reader = SchemaReader(settings)
    try:
        reader.refresh()
    except CdcError:
        yield Finding("note", f"{subject}: tables", "not looked at, as Kafka does not answer")
        return
    finally:
        reader.close()
    if not _may_create_temporary_tables(connection):
        yield Finding("note", f"{subject}: tables", "not looked at, as temporary tables are needed for that")
        return
    described = [topic for topic in reader.topics() if patterns.matching(section.topics, topic)]
    if not described:
        yield Finding("note", f"{subject}: tables", "none is described yet; a connector does that when it starts")
    for topic in described:
        mark = section.deletes == "mark"
        try:
            target = wanted(reader.versions(topic), section.target_schema, section.tables.get(topic), mark)
            yield from _table(connection, subject, typed(connection, target), section)
        except SinkError as error:
            yield Finding("error", f"{subject}: topic {topic}", error.message, error.hint)


def _table(connection: Connection, subject: str, target: Target, section: PostgresSinkSettings) -> Iterator[Finding]:
    subject = f"{subject}: table {target.full_name}"
    there = catalog.existing(connection, target.schema, target.name)
    statements = catalog.statements_for(connection, target)
    owned = there is None or _owned(connection, target)
    if statements and not (section.create and owned):
        what = "is missing" if there is None else f"is not as {target.topic} needs it"
        yield Finding("error", subject, what, " ".join(f"{text(statement)};" for statement in statements))
    elif statements:
        yield Finding("note", subject, "will be created" if there is None else "will be altered when the sink starts")
    if there is not None:
        role = connection.execute("SELECT current_user::text").fetchone()
        assert role is not None
        yield from _writable(connection, subject, target.schema, target.name, sql.Identifier(role[0]))
    if not statements:
        yield Finding("ok", subject, f"fits {target.topic}")


def _may_create_temporary_tables(connection: Connection) -> bool:
    return connection.execute("SELECT has_database_privilege(current_database(), 'TEMPORARY')").fetchone() == (True,)


def _owned(connection: Connection, target: Target) -> bool:
    found = connection.execute(
        "SELECT pg_has_role(c.relowner, 'MEMBER') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s",
        [target.schema, target.name],
    ).fetchone()
    return bool(found and found[0])


def _writable(connection: Connection, subject: str, schema: str, name: str, user: sql.Identifier) -> Iterator[Finding]:
    table = sql.Identifier(schema, name)
    rights = ("SELECT", "INSERT", "UPDATE", "DELETE")
    found = connection.execute(
        "SELECT array_agg(r) FROM unnest(%s::text[]) r WHERE NOT has_table_privilege(%s, r)",
        [list(rights), table.as_string(None)],
    ).fetchone()
    lacking = (found[0] if found else None) or []
    if lacking:
        grant = sql.SQL(f"GRANT {', '.join(rights)} ON {{}} TO {{}}").format(table, user)
        yield _missing(subject, f"{', '.join(lacking)} not granted", grant)


def _missing(subject: str, what: str, mend: sql.Composed) -> Finding:
    return Finding("error", subject, what, f"{text(mend)};")
