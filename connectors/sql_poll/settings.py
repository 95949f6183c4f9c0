"""The YAML section of a `sql_poll` connector. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from cdc import drivers, patterns
from cdc.databases import kind
from cdc.formats import contract
from cdc.settings import ConnectorSettings, Duration, Model, Settings, Size, Wrong
from cdc.table_settings import Asterisks, ColumnSettings, Hashed, ListToo, listed_tables

from . import due

Mode = Literal["snapshot_xmin", "tx_column", "updated_at", "incrementing", "full"]

NEEDS_COLUMN: tuple[Mode, ...] = ("tx_column", "updated_at", "incrementing")

_ONLY = {
    "statement_timeout": ("mysql", "mariadb"),
    "isolation": ("mysql", "mariadb", "mssql", "oracle"),
    "session_timeout": (),
}
"""Settings that not every database can do, and those beside PostgreSQL that can."""

WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class PolledTable(ColumnSettings):
    """How one table, pattern of tables or query is polled."""

    mode: Mode = "full"
    """How changes are found: `snapshot_xmin` and `tx_column` (PostgreSQL), `updated_at`, `incrementing`, or `full`."""
    column: Annotated[str, Field(min_length=1)] | None = None
    """The column that `tx_column` (an xid8), `updated_at` (a time) or `incrementing` (a number) goes by."""
    look_back: Duration | None = None
    """`updated_at` and `incrementing`: no transaction is open for longer than this. Where it is not set, PostgreSQL is
    asked which are open; elsewhere it must be set, and what commits later is missed."""
    query: Annotated[str, Field(min_length=1)] | None = None
    """A SELECT that is polled in place of a table; `message_key` names the columns of its key."""
    deletes: Literal["none", "log", "compare"] | None = None
    """`none`: not captured; `log`: from the table that `delete_log` names; `compare`: the keys that are there are
    compared with those that readers have, every `compare_every`. `full` always compares."""
    delete_log: Annotated[str, Field(min_length=1)] | None = None
    """`schema.table` that a trigger writes deleted keys to; `cdc check` prints its SQL."""
    compare_every: Duration = 3600.0
    """How often all keys are compared."""
    format: str | None = None
    """Of the table's keys and values, if not the connector's."""


class PageSettings(Model):
    """How much is read in one transaction of the source."""

    rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """At most this many rows; the next page is read in a transaction of its own."""
    blocks: Annotated[int, Field(ge=1)] = 16_384
    """`snapshot_xmin`: so many blocks (8 kB) of the table in one transaction."""
    bytes: Size = 8 * 1024 * 1024
    """About so many bytes of keys and values are published at once, at most."""


class BusySettings(Model):
    """When a poll, or its next page, is put off because the source has enough to do (PostgreSQL)."""

    active_sessions: Annotated[int, Field(ge=1)] | None = None
    """More sessions than this are at work."""
    replication_lag: Duration | None = None
    """A standby, or the source, if it is one, is further behind than this."""


class SqlPollSettings(ConnectorSettings):
    """A connector that polls by SQL, on a schedule: needs no write-ahead log, and any database."""

    databases: ClassVar[frozenset[str]] = drivers.KINDS

    type: Literal["sql_poll"] = "sql_poll"
    """The kind of connector."""
    database: str
    """A name under `databases:`."""
    tables: Annotated[dict[str, PolledTable], BeforeValidator(listed_tables), Field(min_length=1), ListToo()]
    """Names (`public.orders`) and patterns (`sales.*`), with how they are polled; the most specific entry wins."""
    schedule: Annotated[str, Field(min_length=1)] = "1m"
    """How often: a duration (`5s`), or a cron line of five fields (`*/5 8-18 * * mon-fri`)."""
    time_zone: str = "UTC"
    """Of a cron line and of `not_between`."""
    jitter: Duration = 0.0
    """Each poll begins up to so much later, at random."""
    not_between: tuple[str, ...] = ()
    """Times of day at which no poll begins or goes on to its next page: `02:00-04:30`, `22:00-06:00`."""
    format: str = "debezium-json"
    """Of keys and values, one that is installed: `debezium-json`, `debezium-json-schemas`, `json`, `avro`. See
    docs/formats.md."""
    decimal: Literal["string", "double", "precise"] = "string"
    """Numerics as `string` (exact), `double`, or `precise` (Connect Decimal, base64)."""
    mask_key: SecretStr | None = None
    """The key of `mask: hmac`."""
    mask_key_file: str | None = None
    """File that holds the key of `mask: hmac`."""
    page: PageSettings = PageSettings()
    """How much is read in one transaction of the source."""
    rows_per_second: Annotated[int, Field(ge=1)] | None = None
    """No more than this are read, on average over a page."""
    statement_timeout: Duration = 300.0
    """A statement that takes longer is ended by the source (PostgreSQL, MySQL, MariaDB)."""
    isolation: Literal["read_committed", "repeatable_read"] = "repeatable_read"
    """Of the transactions that read."""
    busy: BusySettings = BusySettings()
    """When a poll is put off."""
    idle_interval: Duration = 60.0
    """How often a place is stored at which nothing had changed."""
    session_timeout: Duration = 10.0
    """After this long without a sign of life the server frees our lock (PostgreSQL)."""

    @field_validator("schedule", mode="before")
    @classmethod
    def _duration_or_cron(cls, value: Any) -> Any:
        value = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        if isinstance(value, str):
            due.read(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is no time zone; such as Europe/Berlin")
        return value

    @field_validator("not_between")
    @classmethod
    def _windows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for window in value:
            if WINDOW.fullmatch(window) is None:
                raise ValueError("must be times of day, such as 02:00-04:30")
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def captured(self) -> Sequence[str]:
        return list(self.tables)

    def format_of(self, options: PolledTable) -> str:
        """Of a table's topic."""
        return options.format or self.format

    def formats(self) -> Set[str]:
        return {self.format, *map(self.format_of, self.tables.values())}

    def wrongs(self, settings: Settings, name: str) -> Iterator[Wrong]:
        database = settings.databases.get(self.database)
        elsewhere = "" if database is None else kind(database).replace("postgresql", "")
        if elsewhere and self.busy != BusySettings():
            yield Wrong(("busy",), f"needs PostgreSQL, and this is {elsewhere}", "remove it")
        for setting, kinds in _ONLY.items():
            if elsewhere and elsewhere not in kinds and setting in self.model_fields_set:
                yield Wrong((setting,), f"has no effect on {elsewhere}", "remove it")
        yield from contract.wrongs_of(settings, self.format, ("format",))
        for table, options in self.tables.items():
            if options.format is not None:
                yield from contract.wrongs_of(settings, options.format, ("tables", table, "format"))
            wrongs = [
                *self._table_wrongs(table, options),
                *(_elsewhere_wrongs(options, elsewhere) if elsewhere else ()),
            ]
            for wrong in wrongs:
                yield Wrong(("tables", table, *wrong.path), wrong.message, wrong.suggestion)

    def _table_wrongs(self, table: str, options: PolledTable) -> Iterator[Wrong]:
        if "." not in table and not patterns.is_pattern(table):
            yield Wrong((), "must be schema.table", f"such as public.{table}")
        if patterns.is_expression(table):
            yield Wrong((), "is a regular expression, which only postgres_wal reads", "name patterns with * and ?")
        if options.mode in NEEDS_COLUMN and options.column is None:
            yield Wrong(("mode",), f"{options.mode} goes by a column", "add column: NAME")
        if options.mode not in NEEDS_COLUMN and options.column is not None:
            yield Wrong(("column",), f"has no effect with mode {options.mode}", "remove it")
        if options.look_back is not None and options.mode not in ("updated_at", "incrementing"):
            yield Wrong(("look_back",), f"has no effect with mode {options.mode}", "remove it")
        if options.query is not None:
            yield from self._query_wrongs(table, options)
        if options.deletes == "log" and options.delete_log is None:
            yield Wrong(("deletes",), "needs the table that a trigger writes", "add delete_log: SCHEMA.TABLE")
        if options.delete_log is not None and "." not in options.delete_log:
            yield Wrong(("delete_log",), "must be schema.table", f"such as public.{options.delete_log}")
        if options.delete_log is not None and options.deletes != "log":
            yield Wrong(("delete_log",), "has no effect without deletes: log", "add deletes: log")
        if options.mode == "full" and options.deletes == "none":
            yield Wrong(("deletes",), "full finds deletes without being asked", "remove it")
        if "hmac" in options.mask.values() and self.mask_key is None:
            yield Wrong(("mask",), "hmac needs a key", "add mask_key_file to the connector")

    def _query_wrongs(self, table: str, options: PolledTable) -> Iterator[Wrong]:
        if ";" in (options.query or ""):
            yield Wrong(("query",), "must be one SELECT, without a semicolon", "remove it")
        if patterns.is_pattern(table):
            yield Wrong(("query",), "belongs to one name, which its topic gets", "give it under a name of its own")
        if options.mode == "snapshot_xmin":
            yield Wrong(("mode",), "snapshot_xmin reads tables, and this is a query", "choose full or another mode")
        if not options.message_key:
            yield Wrong(("query",), "has no primary key", "add message_key: [COLUMN, …]")


def _elsewhere_wrongs(options: PolledTable, database: str) -> Iterator[Wrong]:
    """What only PostgreSQL can do."""
    if options.mode in ("snapshot_xmin", "tx_column"):
        yield Wrong(("mode",), f"{options.mode} needs PostgreSQL, and this is {database}", "such as updated_at or full")
    for setting, pattern in options.expressions():
        message = f"{pattern} is a regular expression, which needs PostgreSQL, and this is {database}"
        yield Wrong((setting,), message, "name the columns")
    if any(isinstance(mask, Asterisks | Hashed) for mask in options.mask.values()):
        yield Wrong(("mask",), f"asterisks and hash need PostgreSQL, and this is {database}", "hmac, or a constant")
    if options.look_back is None and (options.mode in ("updated_at", "incrementing") or options.deletes == "log"):
        message = f"{database} does not tell which transactions are open: what commits late could be missed"
        yield Wrong(("mode",), message, "add look_back: the longest that a transaction may be open")
