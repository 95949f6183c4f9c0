"""The YAML section of a `postgres_wal` connector. No I/O."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from cdc.settings import ConnectorSettings, Duration, Model, Size


class ColumnChoice(Model):
    """Which columns are published: `include` or `exclude`, not both. Key columns always are."""

    include: list[str] | None = None
    exclude: list[str] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ColumnChoice:
        if self.include is not None and self.exclude is not None:
            raise ValueError("give include or exclude, not both")
        return self


class Constant(Model):
    """Mask: every value (NULL stays NULL) becomes this text."""

    constant: str


class TableOptions(Model):
    """What may be set for one table or pattern of tables.

    Args:
        columns: which columns are published.
        mask: column → `hmac` (HMAC-SHA-256 hex, keyed by the connector's `mask_key`) or a constant.
        truncate: column → at most this many characters.
        message_key: columns of the event key instead of the primary key.
        unchanged: TOAST values the server does not send: `reselect` reads the current value
            and flags it, `mark` only names the columns. Default: reselect on compacted topics.
        truncates: TRUNCATE of the table: `skip`, or `fan_out` one marker to every partition.
        timestamp: of the record: `commit` time or `append` (when the broker gets it). Default:
            append where the topic expires by time, else commit.
    """

    columns: ColumnChoice = ColumnChoice()
    mask: dict[str, Literal["hmac"] | Constant] = {}
    truncate: dict[str, Annotated[int, Field(ge=0)]] = {}
    message_key: list[str] | None = None
    unchanged: Literal["reselect", "mark"] | None = None
    truncates: Literal["skip", "fan_out"] | None = None
    timestamp: Literal["commit", "append"] | None = None


class BatchSettings(Model):
    """When a batch closes: idle after `linger`, busy at `rows` or `bytes`."""

    rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    bytes: Size = 16 * 1024 * 1024
    linger: Duration = 0.002


def _tables(value: Any) -> Any:
    """Accept a list of names, patterns and one-key mappings as well as a mapping to options."""
    if isinstance(value, list):
        tables: dict[str, Any] = {}
        for item in value:
            if isinstance(item, dict):
                tables.update(item)
            else:
                tables[str(item)] = {}
        return tables
    if isinstance(value, dict):
        return {name: options or {} for name, options in value.items()}
    return value


class PostgresWalSettings(ConnectorSettings):
    """A connector that reads PostgreSQL's write-ahead log by logical replication.

    Args:
        database: a name under `databases:`.
        tables: names (`public.orders`) and patterns (`sales.*`, `public.audit_?`), as a list or
            as a mapping to options; the most specific entry that matches a table wins.
        snapshot: `initial` (rows first, then the stream), `never`, or `only`.
        snapshot_readers: parallel COPY connections.
        slot, publication: names, if not derived from the bridge's and the connector's.
        create: make slot and publication when they are missing.
        mask_key, mask_key_file: the key of `mask: hmac`.
        decimal: numerics as `string` (exact), `double`, or `precise` (Connect Decimal, base64).
        unchanged, truncates, timestamp: defaults of the table options of that name.
        batch: when a batch closes.
        idle_interval: how often an idle source's position is stored and confirmed.
        session_timeout: after this long without a sign of life the server frees our lock.
    """

    type: Literal["postgres_wal"] = "postgres_wal"
    database: str
    tables: Annotated[dict[str, TableOptions], BeforeValidator(_tables), Field(min_length=1)]
    snapshot: Literal["initial", "never", "only"] = "initial"
    snapshot_readers: Annotated[int, Field(ge=1, le=32)] = 4
    slot: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,63}$")] | None = None
    publication: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    create: bool = True
    mask_key: SecretStr | None = None
    mask_key_file: str | None = None
    decimal: Literal["string", "double", "precise"] = "string"
    unchanged: Literal["reselect", "mark"] | None = None
    truncates: Literal["skip", "fan_out"] = "skip"
    timestamp: Literal["commit", "append"] | None = None
    batch: BatchSettings = BatchSettings()
    idle_interval: Duration = 10.0
    session_timeout: Duration = 10.0
