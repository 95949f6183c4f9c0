"""`cdc check` for a postgres_wal connector: what is missing, and the line that mends it. Reads only."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from cdc import names, patterns
from cdc.config.consistency import keyless_on_compacted, nothing_matches
from cdc.databases import conninfo
from cdc.errors import CdcError
from cdc.patterns import most_specific
from cdc.plugins import Finding
from cdc.settings import Settings

from . import catalog, ddl, slot
from .publication import Wanted, ensure_publication
from .replication import ReplicationConnection
from .settings import PostgresWalSettings
from .writers import oldest_writer

FIXED_MINORS = {15: 13, 16: 9, 17: 5}
"""First minor release that decodes correctly around concurrent DDL (PostgreSQL release notes, May 2025)."""

LONG_TRANSACTION_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Checked:
    """What every check is given."""

    connection: catalog.Session
    settings: Settings
    name: str
    section: PostgresWalSettings
    subject: str
    tables: list[catalog.Table]

    def finding(self, level: Any, what: str, message: str, mend: str | None = None) -> Finding:
        return Finding(level, f"{self.subject}: {what}", message, mend)

    def one(self, query: str, *parameters: Any) -> tuple[Any, ...]:
        with catalog.reading(self.subject):
            row = self.connection.execute(query.encode(), parameters or None).fetchone()
        return row if row is not None else ()


def check(settings: Settings, name: str, section: PostgresWalSettings) -> Iterator[Finding]:
    """Connect as the connector would and look at everything it needs; changes nothing."""
    subject = f"connector {name}"
    database = settings.databases[section.database]
    application = f"cdc {settings.name}.{name} check"
    try:
        connection = catalog.connect(conninfo(database, application_name=application), subject)
    except CdcError as error:
        yield Finding("error", f"{subject}: connection", error.message, error.hint)
        return
    with connection:
        try:
            tables = catalog.captured_tables(connection, section.tables, subject, section.partitions)
            checked = Checked(connection, settings, name, section, subject, tables)
            for part in CHECKS:
                yield from part(checked)
        except CdcError as error:
            yield Finding("error", subject, error.message, error.hint)
    yield from _replication(settings, name, section)


def _replication(settings: Settings, name: str, section: PostgresWalSettings) -> Iterator[Finding]:
    subject = f"connector {name}: replication connection"
    info = conninfo(settings.databases[section.database], replication=True, application_name="cdc check")
    try:
        ReplicationConnection(info, subject).close()
    except CdcError as error:
        yield Finding("error", subject, error.message, error.hint)
    else:
        yield Finding("ok", subject, "allowed")


def _server(checked: Checked) -> Iterator[Finding]:
    version = checked.connection.info.server_version
    try:
        slot.check_server(checked.connection, checked.subject)
    except CdcError as error:
        yield checked.finding("error", "server", error.message, error.hint)
    else:
        yield checked.finding("ok", "server", f"PostgreSQL {version // 10000}.{version % 10000}, wal_level logical")
    fixed = FIXED_MINORS.get(version // 10000)
    if fixed is not None and version % 10000 < fixed:
        message = f"{version // 10000}.{version % 10000} can lose changes around concurrent DDL when decoding"
        yield checked.finding("warning", "server", message, f"upgrade to {version // 10000}.{fixed} or later")


def _room(checked: Checked) -> Iterator[Finding]:
    if slot.find_slot(checked.connection, _slot_name(checked), checked.subject) is not None:
        return
    limits = {"max_replication_slots": "pg_replication_slots", "max_wal_senders": "pg_stat_replication"}
    for setting, used in limits.items():
        most, now = checked.one(f"SELECT current_setting('{setting}')::int, (SELECT count(*) FROM {used})")
        if now >= most:
            mend = f"ALTER SYSTEM SET {setting} = {most + 5}; then restart the server"
            yield checked.finding("error", setting, f"all {most} are in use", mend)


def _tables(checked: Checked) -> Iterator[Finding]:
    for entry in catalog.unmatched(checked.section.tables, checked.tables):
        if patterns.is_pattern(entry) and checked.section.publication_tables == "all":
            continue
        existing = catalog.all_tables(checked.connection, checked.subject, checked.section.partitions)
        problem = nothing_matches(checked.settings, checked.name, entry, existing)
        yield checked.finding("error", "tables", str(problem))
    for table in checked.tables:
        (allowed,) = checked.one("SELECT has_table_privilege(%s, 'SELECT')", table.oid)
        if not allowed:
            (role,) = checked.one("SELECT quote_ident(current_user)")
            schema = psycopg.sql.Identifier(table.schema).as_string()
            quoted = table.identifier.as_string()
            mend = f"GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {quoted} TO {role};"
            yield checked.finding("error", table.full_name, "may not be read, which the snapshot needs", mend)
        yield from _identity(checked, table)


TOASTABLE_QUERY = """
SELECT coalesce(string_agg(quote_ident(attname), ', ' ORDER BY attnum), '')
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attstorage IN ('x', 'e')
"""


def _identity(checked: Checked, table: catalog.Table) -> Iterator[Finding]:
    entry = most_specific(checked.section.tables, table.full_name) or ""
    topic = checked.section.topic_of(checked.settings.name, entry, table.schema, table.name)
    quoted = table.identifier.as_string()
    if not table.primary_key and table.options.message_key is None:
        if table.identity in ("d", "n"):
            message = "no primary key or replica identity: once published, its UPDATEs and DELETEs are refused"
            yield checked.finding("error", table.full_name, message, f"ALTER TABLE {quoted} REPLICA IDENTITY FULL;")
        keyless = keyless_on_compacted(checked.settings, checked.name, entry, table.full_name, topic)
        if keyless is not None:
            yield checked.finding("error", table.full_name, str(keyless))
    elif table.identity == "n":
        message = "REPLICA IDENTITY NOTHING: the server refuses its UPDATEs and DELETEs once published"
        yield checked.finding("error", table.full_name, message, f"ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT;")
    (toastable,) = checked.one(TOASTABLE_QUERY, table.oid)
    if toastable and table.identity != "f":
        message = f"values of {toastable} that are stored out of line and not changed by an UPDATE are not sent"
        mend = f"they are read again and flagged; to have them always: ALTER TABLE {quoted} REPLICA IDENTITY FULL;"
        yield checked.finding("note", table.full_name, message, mend)


def _publication(checked: Checked) -> Iterator[Finding]:
    wanted = Wanted.by(checked.section, checked.section.publication_name(checked.settings, checked.name))
    name = wanted.name
    found = catalog.find_publication(checked.connection, name, checked.subject)
    statement = wanted.statement(checked.tables) if checked.tables else ""
    if found is not None:
        missing = [t for t in checked.tables if (t.schema, t.name) not in found.tables]
        if not missing:
            yield checked.finding("ok", "publication", f"{name} has all {len(checked.tables)} tables")
            return
        statement = wanted.addition(missing)
    elif not statement:
        return
    if wanted.all_tables and found is None:
        by_whom, may = "a superuser", checked.one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    else:
        by_whom = "the tables' owner"
        may = checked.one(
            "SELECT has_database_privilege(current_database(), 'CREATE') AND "
            "coalesce(bool_and(pg_has_role(c.relowner, 'MEMBER')), true) FROM pg_class c WHERE c.oid = ANY (%s)",
            [table.oid for table in checked.tables],
        )
    if checked.section.create and may == (True,):
        yield checked.finding("ok", "publication", f"{name} will be made or extended at the start")
    else:
        yield checked.finding("error", "publication", f"{name} must be made by {by_whom}", f"{statement};")


def _filters(checked: Checked) -> Iterator[Finding]:
    """Row filters are tried on a publication that is never committed."""
    tables = [table for table in checked.tables if table.options.where is not None]
    if not tables or not checked.section.create:
        return
    wanted = Wanted(f"cdc_check_{secrets.token_hex(4)}", via_root=checked.section.publish_via_root)
    for table in tables:
        try:
            with checked.connection.transaction(force_rollback=True):
                checked.connection.execute("SET LOCAL lock_timeout = '2s'")
                ensure_publication(checked.connection, wanted, [table], checked.subject)
        except CdcError as error:
            yield checked.finding("error", f"{table.full_name}: where", error.message, error.hint)
        else:
            yield checked.finding("ok", f"{table.full_name}: where", "its columns are in the replica identity")


def _slot(checked: Checked) -> Iterator[Finding]:
    name = _slot_name(checked)
    found = slot.find_slot(checked.connection, name, checked.subject)
    if found is None:
        writer = oldest_writer(checked.connection, checked.subject)
        seconds = (writer.seconds or 0.0) if writer else 0.0
        level = "warning" if seconds > LONG_TRANSACTION_SECONDS else "ok"
        waits = f"; it waits for {writer.name}, writing for {seconds:.0f} s" if writer else ""
        yield checked.finding(level, "slot", f"{name} will be made at the start{waits}")
        return
    if found.status == "lost":
        yield checked.finding("error", "slot", f"{name} was invalidated: the WAL behind it is gone")
        return
    retained = (found.retained_bytes or 0) // 1024**2
    safe = "" if found.safe_bytes is None else f", {found.safe_bytes // 1024**2} MiB more are safe"
    level = "ok" if found.status in ("reserved", None) else "warning"
    yield checked.finding(level, "slot", f"{name} retains {retained} MiB of WAL{safe}")


def _kept(checked: Checked) -> Iterator[Finding]:
    """The server's own limit holds when nothing of the bridge runs."""
    if checked.one("SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'") == ("-1",):
        message = "not set: while no `cdc run` runs, nothing limits the WAL that the slot keeps"
        mend = "ALTER SYSTEM SET max_slot_wal_keep_size = '100GB'; SELECT pg_reload_conf();"
        yield checked.finding("note", "max_slot_wal_keep_size", message, mend)


TRIGGERS_QUERY = "SELECT count(*) FROM pg_event_trigger WHERE evtname = ANY (%s) AND evtenabled <> 'D'"


def _ddl(checked: Checked) -> Iterator[Finding]:
    """Without it all goes on, but for the text."""
    if checked.one(TRIGGERS_QUERY, list(ddl.TRIGGERS)) == (len(ddl.TRIGGERS),):
        yield checked.finding("ok", "DDL", "its text is told")
        return
    message = "its text is not told: for that a superuser of the source makes two event triggers"
    yield checked.finding("note", "DDL", message, ddl.SETUP)


def _slot_name(checked: Checked) -> str:
    return checked.section.slot or names.slot_name(checked.settings.name, checked.name)


CHECKS: tuple[Callable[[Checked], Iterable[Finding]], ...] = (
    _server,
    _room,
    _tables,
    _publication,
    _filters,
    _slot,
    _kept,
    _ddl,
)
