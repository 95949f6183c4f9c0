"""How values and envelopes are written, as the settings ask; the words are Debezium's. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

Decimals: TypeAlias = Literal["string", "double", "precise"]
TimePrecision: TypeAlias = Literal[
    "adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds"
]
Binaries: TypeAlias = Literal["bytes", "base64", "base64-url-safe", "hex"]
Intervals: TypeAlias = Literal["numeric", "string"]
Hstores: TypeAlias = Literal["json", "map"]
UnknownTypes: TypeAlias = Literal["text", "bytes", "skip"]
Adjustment: TypeAlias = Literal["none", "avro", "avro_unicode"]


@dataclass(frozen=True, slots=True)
class Handling:
    """What may be chosen about the form of values.

    Args:
        decimal: numerics and money as `string`, `double` or `precise`.
        time_precision: Debezium's `time.precision.mode`.
        binary: bytea as `bytes` (base64 in JSON), or as a string: `base64`, `base64-url-safe`, `hex`.
        interval: as `numeric` microseconds or as an ISO 8601 `string`.
        hstore: as a `json` string or a `map`.
        money_fraction_digits: of `money`.
        unknown_types: types of which Debezium knows nothing: their `text`, its `bytes`, or `skip` the column.
        quirks: whether to do what Debezium hardly means, too: see docs/debezium.md.
    """

    decimal: Decimals = "string"
    time_precision: TimePrecision = "adaptive"
    binary: Binaries = "bytes"
    interval: Intervals = "numeric"
    hstore: Hstores = "json"
    money_fraction_digits: int = 2
    unknown_types: UnknownTypes = "text"
    quirks: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """What may be chosen about events around their values.

    Args:
        with_cdc: whether values have the member `cdc`.
        format: of keys and values on the topic: an entry point of `cdc.formats`.
        flat: whether values are the row's members and behind them what happened: see `cdc.formats.flat`.
        with_schemas: whether keys, values and headers are `{"schema": …, "payload": …}`.
        tombstones: whether a delete is followed by one.
        context_headers: headers of every event, as Debezium's `__debezium.context.*`; empty: none.
        placeholder: what stands for a TOAST value that is not known; None: the member is left out.
        skipped: operations that are not published: any of c, u, d, t.
        schema_names, field_names: how names that Avro would refuse are changed.
        propagated: columns (patterns of "schema.table.column") whose schema tells their source type.
        propagated_types: types ("schema.table.type") whose columns do.
    """

    with_cdc: bool = True
    format: str = "debezium-json"
    flat: bool = False
    with_schemas: bool = False
    tombstones: bool = True
    context_headers: tuple[tuple[str, str], ...] = ()
    placeholder: str | None = None
    skipped: frozenset[str] = field(default_factory=frozenset)
    schema_names: Adjustment = "none"
    field_names: Adjustment = "none"
    propagated: tuple[str, ...] = ()
    propagated_types: tuple[str, ...] = ()


RUN: Final = str(uuid4())
"""This process's, for `runId`."""


def context_headers(bridge: str) -> tuple[tuple[str, str], ...]:
    """Debezium's headers under `extended.headers.enabled`: who made the event, and in which run."""
    context = {"connectorLogicalName": bridge, "taskId": "0", "connectorName": "postgresql", "runId": RUN}
    return tuple((f"__debezium.context.{name}", value) for name, value in context.items())


DEBEZIUM_DEFAULTS: Final[dict[str, Any]] = {
    "decimal": "precise",
    "unknown_types": "skip",
    "quirks": True,
    "cdc_member": False,
    "context_headers": True,
    "unchanged": "placeholder",
    "truncates": "skip",
    "messages": {},
    "snapshot_markers": True,
    "publication_tables": "all",
    "publish_via_root": False,
    "timestamp": "append",
}
"""What `compatibility: debezium` sets where the settings do not; all else is Debezium's default anyway."""
