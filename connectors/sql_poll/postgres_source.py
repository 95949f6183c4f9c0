"""A PostgreSQL database as a source. Touches the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from cdc import __version__, drivers, names
from cdc.connections import WatchedConnection
from cdc.databases import conninfo
from cdc.errors import SourceError
from cdc.formats.debezium_json import SourceInfo
from cdc.formats.postgres.types import SESSION_SETTINGS
from cdc.plugins import Finding
from cdc.settings import Settings

from . import heaps
from .advice import delete_log_sql, missing_triggers, scan_note, tx_column_sql
from .clock import PostgresClock
from .entries import Entries, Refuse, There, column_of
from .lock import advisory_lock
from .modes import Full, Incrementing, TxColumn, UpdatedAt, mode_of
from .postgres import Described, PgColumn, PostgresRows, describe, driver, reading, regclass, tables
from .rows import Polled
from .settings import PolledTable, SqlPollSettings
from .source import DeleteLog, Found, Identity

_BUSY = sa.text("""
SELECT (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend'),
       greatest(
           (SELECT extract(epoch FROM max(r.replay_lag)) FROM pg_stat_replication r
            -- The figure stays for a while when a standby has caught up; and logical subscribers are none.
            WHERE r.replay_lsn <> r.sent_lsn AND NOT EXISTS (
                SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')),
           CASE WHEN pg_is_in_recovery() AND pg_last_wal_replay_lsn() <> pg_last_wal_receive_lsn()
                THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END,
           0)::float8,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), current_user::text
""")

KEY_TYPES = """
SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = ANY (%s)
"""

_DRAWS = """s.seqrelid IN (
    SELECT to_regclass(pg_get_serial_sequence(%(table)s, %(column)s))::oid
    UNION
    SELECT d.refobjid FROM pg_attrdef v JOIN pg_attribute a ON a.attrelid = v.adrelid AND a.attnum = v.adnum
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = v.oid AND d.refclassid = 'pg_class'::regclass
    WHERE v.adrelid = to_regclass(%(table)s) AND a.attname = %(column)s
)"""
"""Whether a column draws from a sequence, by being its owner or by its default."""

_CLIENTS_MAKE = f"""
SELECT FROM pg_class WHERE oid = to_regclass(%(table)s) AND relkind IN ('r', 'p')
AND NOT EXISTS (SELECT FROM pg_sequence s WHERE {_DRAWS})
"""

_SEQUENCE = f"""
SELECT s.seqrelid::regclass::text,
       CASE WHEN s.seqcache > 1 THEN 'has CACHE ' || s.seqcache || ': a session draws numbers that others pass first'
            WHEN s.seqincrement < 0 THEN 'counts down'
            ELSE 'begins anew when it has ended (CYCLE)' END,
       CASE WHEN s.seqcache > 1 THEN 'CACHE 1' WHEN s.seqincrement < 0 THEN 'INCREMENT 1' ELSE 'NO CYCLE' END
FROM pg_sequence s
WHERE (s.seqcache > 1 OR s.seqincrement < 0 OR s.seqcycle) AND {_DRAWS}
"""

_TYPES: dict[str, dict[int, str]] = {
    "tx_column": {5069: "xid8"},
    "updated_at": {1114: "timestamp", 1184: "timestamptz"},
    "incrementing": {20: "bigint", 21: "smallint", 23: "integer"},
}
"""Mode → OID of a type and its name, that its column may have."""


class PostgresSource:
    """See `Source`.

    Args:
        settings: all settings.
        name, section: the connector's.
        check: called while rows are read; raises when it is time to stop.
    """

    stays = True

    def __init__(self, settings: Settings, name: str, section: SqlPollSettings, check: Callable[[], None]) -> None:
        self._settings, self._name, self._section = settings, name, section
        self._subject, self._check = f"connector {name}", check
        self._database = settings.databases[section.database]
        self._application = f"cdc {settings.name}.{name}"
        self._dbname = ""
        self._engine = drivers.postgres_engine(self._session)

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(self._settings.name, self._dbname, __version__)

    def lock(self, wait: Callable[[float], None], lost: Callable[[], None]) -> AbstractContextManager[None]:
        return advisory_lock(
            conninfo(self._database, application_name=self._application),
            names.lock_key(self._settings.name, self._name),
            self._section.session_timeout,
            self._subject,
            wait=wait,
            lost=lost,
        )

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        isolation = self._section.isolation.replace("_", " ").upper()
        with reading(self._subject, whole=True), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level=isolation, postgresql_readonly=True)

    def find(self, connection: sa.Connection, refuse: Refuse) -> Sequence[Found]:
        with connection.begin(), reading(self._subject, whole=True):
            session = driver(connection)
            self._dbname = session.info.dbname
            standby = session.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
            entries = Entries(self._settings, self._name, self._section)
            there = tables(session)

            def make(entry: str, one: There) -> Found:
                with session.transaction():
                    described = describe(session, one.schema, one.table, entries.options(entry).query)
                    columns = [sa.column(name, PgColumn(oid)) for name, oid, _ in described]
                    polled = entries.polled(entry, one, columns, there.get(one, ()))
                    return self._found(session, polled, described, standby=standby)

            return entries.each(list(there), make, reading, refuse)

    def reading(self, subject: str) -> AbstractContextManager[None]:
        return reading(subject)

    def identity(self, connection: sa.Connection, found: Found) -> Identity:
        if found.polled.options.query is not None:
            return []
        return heaps.files(connection, regclass(found.polled))

    def advise(self, connection: sa.Connection, found: Found, what: str) -> Iterator[Finding]:
        options = found.polled.options
        if options.mode == "snapshot_xmin":
            yield scan_note(connection, regclass(found.polled), what)
        if options.query is None:
            yield from missing_triggers(connection, found.polled, regclass(found.polled), what)
        if isinstance(found.mode, UpdatedAt | Incrementing):
            found.mode.clock.look(connection)
        if options.mode == "incrementing" and options.query is None:
            with connection.begin():
                asked = {"table": regclass(found.polled), "column": options.column}
                clients_make = driver(connection).execute(_CLIENTS_MAKE, asked).fetchone() is not None
            if clients_make:
                message = f"column {options.column} draws from no sequence: numbers made by clients come in any order, "
                message += "and one below those that were passed is missed"
                yield Finding("warning", what, message, "another mode, unless no number comes after a larger one")

    def still(self, connection: sa.Connection, found: Found) -> bool:
        polled = found.polled
        return describe(driver(connection), polled.schema, polled.table, polled.options.query) == found.form

    def now_us(self, connection: sa.Connection) -> int:
        return int(connection.execute(sa.text("SELECT (extract(epoch FROM now()) * 1000000)::bigint")).scalar_one())

    def busy(self, connection: sa.Connection) -> str | None:
        limits = self._section.busy
        if limits.active_sessions is None and limits.replication_lag is None:
            return None
        with connection.begin():
            active, lag, allowed, user = connection.execute(_BUSY).one()
        if not allowed:
            # Others' sessions and standbys would look as if they did nothing.
            raise SourceError(
                f"{self._subject}: role {user} may not see whether the server is busy",
                hint=f'GRANT pg_read_all_stats TO "{user}"; or remove busy',
            )
        if limits.active_sessions is not None and active > limits.active_sessions:
            return f"{active} sessions are at work, more than {limits.active_sessions}"
        if limits.replication_lag is not None and lag > limits.replication_lag:
            return f"a standby is {lag:.0f} s behind, more than {limits.replication_lag:g} s"
        return None

    def _session(self) -> psycopg.Connection[Any]:
        session = WatchedConnection.connect(
            conninfo(self._database, application_name=self._application), autocommit=True
        )
        more = {
            "statement_timeout": str(round(self._section.statement_timeout * 1000)),
            # Values are written into statements as this says.
            "standard_conforming_strings": "on",
        }
        for setting, value in {**SESSION_SETTINGS, **more}.items():
            session.execute(f"SET {setting} = '{value}'")
        session.autocommit = False
        return session

    def _found(self, session: psycopg.Connection[Any], polled: Polled, described: Described, *, standby: bool) -> Found:
        options, page = polled.options, self._section.page
        if options.column is not None:
            self._check_column(polled, described, options.column)
        asks = options.mode == "tx_column" or (options.mode in ("updated_at", "incrementing") and not options.look_back)
        if standby and (asks or options.deletes == "log"):
            raise SourceError(
                f"{self._subject}: table {polled.name}: a standby does not tell which transactions are open",
                hint="name the primary, or choose mode snapshot_xmin or full, with deletes: compare",
            )
        if options.mode == "incrementing" and options.column is not None:
            self._check_sequence(session, polled, options.column)
        rows = self._rows(session, polled, described)
        clock = PostgresClock(self._subject, options.look_back)
        mode = mode_of(polled, clock, rows=page.rows, blocks=page.blocks, regclass=regclass(polled), by_row=True)
        return Found(polled, rows, mode, self._log(session, polled), described)

    def _rows(self, session: psycopg.Connection[Any], polled: Polled, described: Described) -> PostgresRows:
        return PostgresRows(polled, described, session, self._settings, self._section, self._check)

    def _check_column(self, polled: Polled, described: Described, column: str) -> None:
        """The column that a mode goes by. Raises: SourceError."""
        options = polled.options
        adds = options.mode == "tx_column" and options.query is None
        column_of(polled, column, self._subject, tx_column_sql(polled, column) if adds else None)
        oid = next(oid for name, oid, _ in described if name == column)
        wanted = _TYPES.get(options.mode, {})
        if wanted and oid not in wanted:
            raise SourceError(
                f"{self._subject}: table {polled.name}: column {column} is no {' or '.join(wanted.values())}",
                hint=f"mode {options.mode} goes by such a column",
            )

    def _check_sequence(self, session: psycopg.Connection[Any], polled: Polled, column: str) -> None:
        """Numbers that a session keeps for itself are drawn long before they are used. Raises: SourceError."""
        if polled.options.query is not None:
            return
        found = session.execute(_SEQUENCE, {"table": regclass(polled), "column": column}).fetchone()
        if found is not None:
            sequence, what, mend = found
            raise SourceError(
                f"{self._subject}: table {polled.name}: sequence {sequence} {what}",
                hint=f"ALTER SEQUENCE {sequence} {mend}; and end all sessions that hold numbers; or another mode",
            )

    def _log(self, session: psycopg.Connection[Any], polled: Polled) -> DeleteLog | None:
        """The log of a table's deletes: the keys that it has, and the table has not."""
        if polled.options.deletes != "log" or polled.options.delete_log is None:
            return None
        schema, _, table = polled.options.delete_log.partition(".")
        there = session.execute("SELECT to_regclass(%s)", [sql.Identifier(schema, table).as_string()]).fetchone()
        described = describe(session, schema, table, None) if there != (None,) else ()
        missing = {*polled.key, "_tx"} - {name for name, _, _ in described}
        if missing:
            what = f"has no column {', '.join(sorted(missing))}" if described else "is not there"
            raise SourceError(
                f"{self._subject}: table {polled.name}: delete_log {schema}.{table} {what}",
                hint=_delete_log_sql(session, polled, schema),
            )
        columns = [sa.column(name, polled.source.c[name].type) for name in polled.key]
        log = sa.table(table, *columns, sa.column("_tx", _type_of(described, "_tx")), schema=schema).alias("_cdc_log")
        # Equal, and written alike: 1.0 and 1.00, or citext in other letters, are two keys to readers.
        pairs = [(polled.source.c[name], log.c[name]) for name in polled.key]
        same = [here == there for here, there in pairs]
        same += [_written(here) == _written(there) for here, there in pairs]
        absent = sa.select(log).where(~sa.exists().select_from(polled.source).where(*same)).subquery("gone")
        options = PolledTable(mode="tx_column", column="_tx", mask=polled.options.mask)
        gone = replace(polled, source=absent, columns=polled.key, options=options)
        chosen = tuple(column for column in described if column[0] in polled.key)
        rows = self._rows(session, gone, chosen)
        return DeleteLog(gone, rows, TxColumn(Full(gone, self._section.page.rows, True), "_tx"))


def _delete_log_sql(session: psycopg.Connection[Any], polled: Polled, schema: str) -> str:
    types = dict(session.execute(KEY_TYPES, [regclass(polled), list(polled.key)]).fetchall())
    there = session.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema]).fetchone() is not None
    known = {name: types.get(name, "text") for name in polled.key}
    return delete_log_sql(polled, known, session.info.user, schema_there=there)


def _written(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.cast(column, sa.Text).collate("C")


def _type_of(described: Described, column: str) -> sa.types.TypeEngine[Any]:
    return PgColumn(next(oid for name, oid, _ in described if name == column))
