"""Any database that SQLAlchemy reads, as a source. Touches the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

import sqlalchemy as sa

from cdc import __version__
from cdc.databases import engine, masked
from cdc.errors import SourceError
from cdc.formats.debezium_json import SourceInfo
from cdc.plugins import Finding
from cdc.settings import Settings

from .clock import DeclaredClock
from .described import describe, describe_table
from .entries import Entries, Refuse, There, column_of
from .generic import Described, GenericRows, reading
from .modes import Full, Incrementing, mode_of
from .reflect import column, tables
from .rows import Polled
from .settings import PolledTable, SqlPollSettings
from .source import DeleteLog, Found, Identity
from .stored import SourceType

COMPARES_ROWS = frozenset({"sqlite", "duckdb"})
"""Databases that know `(a, b) > (1, 2)`, and use an index for it."""

_ISOLATION = {
    "mysql": {"repeatable_read": "REPEATABLE READ", "read_committed": "READ COMMITTED"},
    "mariadb": {"repeatable_read": "REPEATABLE READ", "read_committed": "READ COMMITTED"},
    "mssql": {"repeatable_read": "REPEATABLE READ", "read_committed": "READ COMMITTED"},
    "oracle": {"repeatable_read": "SERIALIZABLE", "read_committed": "READ COMMITTED"},
}
"""What each calls it; the others have one kind only."""

LOG_NUMBER = "_seq"
"""The column that a log of deletes goes by."""


class GenericSource:
    """See `Source`. There is no lock: of two copies the later one fences the earlier one at Kafka.

    Args:
        settings: all settings.
        name, section: the connector's.
    Raises: ConfigError: the driver is not installed.
    """

    def __init__(self, settings: Settings, name: str, section: SqlPollSettings) -> None:
        self._settings, self._name, self._section = settings, name, section
        self._subject = f"connector {name}"
        self._engine = engine(settings.databases[section.database], f"cdc {settings.name}.{name}")
        self._kind = self._engine.dialect.name
        self.stays = self._kind not in ("sqlite", "duckdb")
        # Of a file its name, as DuckDB calls it.
        self._database = PurePath(masked(settings.databases[section.database].url).rpartition("/")[2]).stem

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(self._settings.name, self._database, __version__, self._kind)

    def lock(self, wait: Callable[[float], None], lost: Callable[[], None]) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        with reading(self._subject), self._engine.connect() as connection:
            isolation = _ISOLATION.get(self._kind, {}).get(self._section.isolation)
            if isolation is not None:
                connection = connection.execution_options(isolation_level=isolation)
            for statement in self._session(connection):
                connection.exec_driver_sql(statement)
            connection.rollback()
            yield connection

    def find(self, connection: sa.Connection, refuse: Refuse) -> Sequence[Found]:
        with connection.begin(), reading(self._subject):
            entries = Entries(self._settings, self._name, self._section)

            def make(entry: str, one: There) -> Found:
                query = entries.options(entry).query
                described, primary = describe(connection, one.schema, one.table, query)
                columns = [column(one, self._kind) for one in described]
                return self._found(connection, entries.polled(entry, one, columns, primary), described)

            return entries.each(tables(connection, self._section.tables), make, reading, refuse)

    def reading(self, subject: str) -> AbstractContextManager[None]:
        return reading(subject)

    def identity(self, connection: sa.Connection, found: Found) -> Identity:
        return []

    def still(self, connection: sa.Connection, found: Found) -> bool:
        polled = found.polled
        with reading(polled.name):
            return describe(connection, polled.schema, polled.table, polled.options.query)[0] == found.form

    def now_us(self, connection: sa.Connection) -> int:
        # Its sessions are in UTC, but for SQL Server's; a file's clock is ours.
        asked = sa.func.sysutcdatetime() if self._kind == "mssql" else sa.func.now()
        now = connection.execute(sa.select(asked)).scalar_one()
        moment = datetime.fromisoformat(now) if isinstance(now, str) else now
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)

    def busy(self, connection: sa.Connection) -> str | None:
        return None

    def advise(self, connection: sa.Connection, found: Found, what: str) -> Iterator[Finding]:
        if self._kind not in _ISOLATION:
            return
        yield Finding("note", what, "no lock keeps a second copy from polling too: Kafka fences the earlier one")

    def _session(self, connection: sa.Connection) -> Iterator[str]:
        """What makes a session read only and its statements end, and has its times in UTC."""
        seconds = self._section.statement_timeout
        if self._kind in ("mysql", "mariadb"):
            yield "SET SESSION TRANSACTION READ ONLY"
            if connection.dialect.is_mariadb:  # type: ignore[attr-defined]
                yield f"SET SESSION max_statement_time = {seconds}"
            else:
                yield f"SET SESSION max_execution_time = {round(seconds * 1000)}"
        elif self._kind == "sqlite":
            yield "PRAGMA query_only = ON"
        elif self._kind == "oracle":
            # Else its times are told, and compared, in the zone of the machine that we are on.
            yield "ALTER SESSION SET TIME_ZONE = '+00:00'"

    def _found(self, connection: sa.Connection, polled: Polled, described: tuple[Described, ...]) -> Found:
        page = self._section.page
        if (name := polled.options.column) is not None:
            column_of(polled, name, self._subject)
            [kind] = (one for one in described if one.name == name)
            if polled.options.mode == "updated_at" and not isinstance(kind.type, sa.DateTime):
                raise SourceError(
                    f"{self._subject}: table {polled.name}: column {name} ({kind.sql}) is no time",
                    hint="mode updated_at goes by such a column",
                )
        mode = mode_of(
            polled,
            DeclaredClock(polled.options.look_back or 0.0),
            rows=page.rows,
            blocks=page.blocks,
            regclass="",
            by_row=self._kind in COMPARES_ROWS,
        )
        return Found(polled, self._rows(polled, described), mode, self._log(connection, polled, described), described)

    def _rows(self, polled: Polled, described: Sequence[Described]) -> GenericRows:
        secret = self._section.mask_key
        key = secret.get_secret_value().encode() if secret is not None else None
        section = self._section
        return GenericRows(
            polled,
            described,
            self._kind,
            decimal=section.decimal,
            format=section.format_of(polled.options),
            mask_key=key,
        )

    def _written(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A text, to be compared by its characters."""
        match self._kind:
            case "oracle":
                return text  # it does
            case "mssql":
                return text.collate("Latin1_General_BIN2")
            case _:
                return sa.func.hex(sa.cast(text, sa.CHAR))

    def _log(self, connection: sa.Connection, polled: Polled, described: Sequence[Described]) -> DeleteLog | None:
        """The log of a table's deletes: the keys that it has, and the table has not."""
        options = polled.options
        if options.deletes != "log" or options.delete_log is None:
            return None
        schema, _, table = options.delete_log.partition(".")
        try:
            there = describe_table(connection, schema, table)[0]
        except sa.exc.NoSuchTableError:
            there = ()
        missing = {*polled.key, LOG_NUMBER} - {column.name for column in there}
        if missing:
            what = f"has no column {', '.join(sorted(missing))}" if there else "is not there"
            raise SourceError(
                f"{self._subject}: table {polled.name}: delete_log {schema}.{table} {what}",
                hint=f"a table with the columns {', '.join(polled.key)} and a {LOG_NUMBER} that grows by itself, "
                "and a trigger that writes the keys of deleted rows to it",
            )
        number = next(column for column in there if column.name == LOG_NUMBER)
        columns = [sa.column(name, polled.source.c[name].type) for name in polled.key]
        columns.append(sa.column(LOG_NUMBER, SourceType(number.sql)))
        log = sa.table(table, *columns, schema=schema).alias("_cdc_log")
        pairs = [(polled.source.c[one.name], log.c[one.name], one) for one in described if one.name in polled.key]
        same = [here == there for here, there, _ in pairs]
        # Equal, and written alike: where case does not matter, 'a' and 'A' are still two keys to readers.
        text = [(here, there) for here, there, one in pairs if isinstance(one.type, sa.String)]
        same += [self._written(here) == self._written(there) for here, there in text]
        absent = sa.select(log).where(~sa.exists().select_from(polled.source).where(*same)).subquery("gone")
        asked = PolledTable(mode="incrementing", column=LOG_NUMBER, look_back=options.look_back, mask=options.mask)
        gone = replace(polled, source=absent, columns=polled.key, options=asked)
        rows = self._rows(gone, [column for column in described if column.name in polled.key])
        full = Full(gone, self._section.page.rows, self._kind in COMPARES_ROWS)
        return DeleteLog(gone, rows, Incrementing(full, LOG_NUMBER, DeclaredClock(options.look_back or 0.0)))
