"""Parts of the YAML section of a `postgres_wal` connector: options of tables, batches, messages and more. No I/O."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cdc import names, patterns
from cdc.settings import Duration, Model, Pattern, Size
from cdc.table_settings import ColumnSettings
from cdc.transforms.settings import OutboxSettings, Step


class TableOptions(ColumnSettings):
    """What may be set for one table or pattern of tables."""

    unchanged: Literal["reselect", "mark", "placeholder"] | None = None
    """TOAST values the server does not send: `reselect` reads the current value and flags it, `mark`
    only names the columns, `placeholder` puts a text in their place as Debezium does. Default: reselect
    on compacted topics."""
    truncates: Literal["skip", "fan_out"] | None = None
    """TRUNCATE of the table: `skip`, or `fan_out` one marker to every partition."""
    where: Annotated[str, Field(min_length=1)] | None = None
    """SQL predicate, a row filter of the publication: readers have only the rows that it holds for. Its columns must be
    in the replica identity."""
    snapshot_where: Annotated[str, Field(min_length=1)] | None = None
    """SQL predicate: snapshots read only rows that it holds for (`created_at > now() - interval '1 year'`);
    the stream and a heal do not look at it."""
    snapshot_select: Annotated[str, Field(min_length=1)] | None = None
    """SQL query: snapshots read its rows instead of the table's, in its order; it must have the table's columns.
    The stream and a heal do not look at it."""
    topic: Annotated[str, Field(min_length=1)] | None = None
    """Of its events, if not `{name}.{schema}.{table}`: a text in which these stand for the bridge's and the table's
    names, and named groups of the entry, where that is a regular expression (`(?P<shard>\\d+)`), as `{shard}`."""
    schema_changes: Literal["follow", "additive", "stop"] | None = None
    """When the table's columns change: `follow`; `additive`: go on only if columns that may be NULL came and types
    grew; or `stop`."""
    transforms: list[Step] | None = None
    """Steps that each event goes through, in order; instead of the connector's."""
    outbox: OutboxSettings | None = None
    """The table is an outbox: its inserted rows are messages, routed to topics by a column."""
    format: str | None = None
    """Of the table's keys and values, if not the connector's."""
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


class MessageSettings(Model):
    """Which logical messages are published: `include` or `exclude`, not both; all without either."""

    include: list[Pattern] | None = None
    """Prefixes and patterns of them, regular expressions too."""
    exclude: list[Pattern] | None = None
    """All but these."""

    @model_validator(mode="after")
    def _one_of_both(self) -> MessageSettings:
        if self.include is not None and self.exclude is not None:
            raise ValueError("give include or exclude, not both")
        return self

    def wants(self, prefix: str) -> bool:
        """Whether messages of this prefix are published."""
        if self.include is not None:
            return bool(patterns.matching(self.include, prefix))
        return not patterns.matching(self.exclude or (), prefix)


class HeartbeatSettings(Model):
    """A record that says that the connector is alive, published also when nothing changes."""

    interval: Annotated[Duration, Field(gt=0)] = 10.0
    """How often."""
    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,120}$")] = "__debezium-heartbeat"
    """Of its topic, which the bridge's name ends: `__debezium-heartbeat.shop`."""

    def topic(self, bridge: str) -> str:
        """The topic; `bridge` is the bridge's name."""
        return names.heartbeat_topic(bridge, self.topic_prefix)


class StartFrom(Model):
    """The offset of a Debezium connector that was stopped for good: the first start goes on there, with its slot."""

    lsn: Annotated[int, Field(ge=0)] | None = None
    """Of the last change that it published; None: none behind `lsn_commit`."""
    lsn_commit: Annotated[int, Field(ge=0)] | None = None
    """Where the commit before that change ended; None: no transaction was published whole."""


class RetainedWalSettings(Model):
    """What to do about WAL that the server keeps because of the connector."""

    warn_at: Size = 5 * 1024**3
    """From so much on `cdc status` and the log warn, and say why it is kept."""
    drop_slot_at: Annotated[Size, Field(ge=32 * 1024 * 1024)] | None = None
    """At so much, for half a minute, the slot is dropped to save the server's disk: the connector has a gap then,
    which `cdc heal` mends. Not set: never."""
