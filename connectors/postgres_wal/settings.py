"""The YAML section of a `postgres_wal` connector. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from cdc import databases, names, patterns
from cdc.settings import ConnectorSettings, Duration, Model, Settings, Size, Wrong
from cdc.table_settings import ColumnSettings, ListToo, listed_tables


class TableOptions(ColumnSettings):
    """What may be set for one table or pattern of tables."""

    unchanged: Literal["reselect", "mark"] | None = None
    """TOAST values the server does not send: `reselect` reads the current value and flags it, `mark`
    only names the columns. Default: reselect on compacted topics."""
    truncates: Literal["skip", "fan_out"] | None = None
    """TRUNCATE of the table: `skip`, or `fan_out` one marker to every partition."""
    snapshot_where: Annotated[str, Field(min_length=1)] | None = None
    """SQL predicate: snapshots read only rows that it holds for (`created_at > now() - interval '1 year'`);
    the stream and a heal do not look at it."""
    timestamp: Literal["commit", "append"] | None = None
    """Of the record: `commit` time or `append` (when the broker gets it). Default: append where the
    topic expires by time, else commit."""


class BatchSettings(Model):
    """When a batch closes: idle after `linger`, busy at `rows` or `bytes`."""

    rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """At most this many events."""
    bytes: Size = 16 * 1024 * 1024
    """At most about this many bytes of keys and values."""
    linger: Duration = 0.002
    """How long an idle source's batch waits for more."""


class RetainedWalSettings(Model):
    """What to do about WAL that the server keeps because of the connector."""

    warn_at: Size = 5 * 1024**3
    """From so much on `cdc status` and the log warn, and say why it is kept."""
    drop_slot_at: Annotated[Size, Field(ge=32 * 1024 * 1024)] | None = None
    """At so much, for half a minute, the slot is dropped to save the server's disk: the connector has a gap then,
    which `cdc heal` mends. Not set: never."""


class PostgresWalSettings(ConnectorSettings):
    """A connector that reads PostgreSQL's write-ahead log by logical replication."""

    type: Literal["postgres_wal"] = "postgres_wal"
    """The kind of connector."""
    database: str
    """A name under `databases:`."""
    tables: Annotated[dict[str, TableOptions], BeforeValidator(listed_tables), Field(min_length=1), ListToo()]
    """Names (`public.orders`) and patterns (`sales.*`, `public.audit_?`), as a list or as a mapping to
    options; the most specific entry that matches a table wins."""
    snapshot: Literal["initial", "never", "only"] = "initial"
    """`initial` (rows first, then the stream), `never`, or `only`."""
    snapshot_readers: Annotated[int, Field(ge=1, le=32)] = 4
    """Parallel COPY connections."""
    snapshot_range: Size = 64 * 1024 * 1024
    """A table is read in pieces of so many bytes of its heap; after a crash finished ones are not read again."""
    slot: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,63}$")] | None = None
    """Name of the replication slot, if not derived from the bridge's and the connector's name."""
    publication: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Name of the publication, if not derived likewise."""
    create: bool = True
    """Make the publication when it is missing, and add tables to it. The slot is always made."""
    mask_key: SecretStr | None = None
    """The key of `mask: hmac`."""
    mask_key_file: str | None = None
    """File that holds the key of `mask: hmac`."""
    decimal: Literal["string", "double", "precise"] = "string"
    """Numerics as `string` (exact), `double`, or `precise` (Connect Decimal, base64)."""
    unchanged: Literal["reselect", "mark"] | None = None
    """Default of the tables' `unchanged`."""
    truncates: Literal["skip", "fan_out"] = "skip"
    """Default of the tables' `truncates`."""
    timestamp: Literal["commit", "append"] | None = None
    """Default of the tables' `timestamp`."""
    batch: BatchSettings = BatchSettings()
    """When a batch closes."""
    idle_interval: Duration = 10.0
    """How often an idle source's position is stored and confirmed."""
    session_timeout: Duration = 10.0
    """After this long without a sign of life the server frees our lock."""
    retained_wal: RetainedWalSettings = RetainedWalSettings()
    """What to do about WAL that the server keeps because of the connector."""

    def captured(self) -> Sequence[str]:
        return list(self.tables)

    def wrongs(self, settings: Settings, name: str) -> Iterator[Wrong]:
        for table, options in self.tables.items():
            if "." not in table and not patterns.is_pattern(table):
                yield Wrong(("tables", table), "must be schema.table", f"such as public.{table}")
            yield from self._column_wrongs(table, options)
        yield from self._shared(settings, name)

    def _column_wrongs(self, table: str, options: TableOptions) -> Iterator[Wrong]:
        excluded = options.columns.exclude or []
        for column, mask in options.mask.items():
            if mask == "hmac" and self.mask_key is None:
                yield Wrong(("tables", table, "mask", column), "needs a key", "add mask_key_file to the connector")
            if column in options.truncate:
                message = "is masked already, truncating has no effect"
                yield Wrong(("tables", table, "truncate", column), message, "remove one of them")
        for column in options.message_key or []:
            if column in excluded:
                message = f"holds {column}, which columns.exclude leaves out"
                yield Wrong(("tables", table, "message_key"), message, "remove it from one of them")
        for kind, columns in (("mask", options.mask), ("truncate", options.truncate)):
            for column in columns:
                if column in excluded:
                    yield Wrong(("tables", table, kind, column), "is left out by columns.exclude", "remove one of them")

    def _shared(self, settings: Settings, name: str) -> Iterator[Wrong]:
        """A slot belongs to one connector of a server, a publication to one of a database."""
        own = settings.databases.get(self.database)
        for other_name, other in settings.connectors.items():
            if other_name == name:
                return  # the later of two says so
            if own is None or not isinstance(other, PostgresWalSettings) or other.database not in settings.databases:
                continue
            theirs = settings.databases[other.database]
            slot = self.slot_name(settings, name)
            if databases.server(own) == databases.server(theirs) and slot == other.slot_name(settings, other_name):
                yield Wrong(("slot",), f"slot {slot} belongs to connector {other_name} already", "give another name")
            publication = self.publication_name(settings, name)
            if own == theirs and publication == other.publication_name(settings, other_name):
                message = f"publication {publication} belongs to connector {other_name} already"
                yield Wrong(("publication",), message, "give another name")

    def slot_name(self, settings: Settings, name: str) -> str:
        """The slot of the connector `name` that has this section."""
        return self.slot or names.slot_name(settings.name, name)

    def publication_name(self, settings: Settings, name: str) -> str:
        """The publication of the connector `name` that has this section."""
        return self.publication or names.publication_name(settings.name, name)
