"""Events and descriptions as the connector makes them, for tests of sinks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cdc.schemas import Column, TableSchema


def position(lsn: int, ordinal: int = 1) -> str:
    return f"{lsn >> 32:08X}/{lsn & 0xFFFFFFFF:08X}/{ordinal:010}"


def value(
    op: str,
    after: Mapping[str, Any] | None,
    pos: str,
    *,
    before: Mapping[str, Any] | None = None,
    unchanged: Sequence[str] = (),
    gone: bool = False,
    lsn: int = 28276152,
) -> bytes:
    """An event's value; about 400 bytes more than its row."""
    ts = 1_795_396_579_909
    source = {
        "version": "0.1.0",
        "connector": "postgresql",
        "name": "shop",
        "ts_ms": ts,
        "snapshot": "true" if op == "r" else "false",
        "db": "warehouse",
        "sequence": f'["{lsn}","{lsn}"]',
        "ts_us": ts * 1000,
        "ts_ns": ts * 1_000_000,
        "schema": "public",
        "table": "orders",
        "txId": 758,
        "lsn": lsn,
        "xmin": None,
        "origin": None,
        "origin_lsn": None,
    }
    ours: dict[str, Any] = {"pos": pos}
    if unchanged:
        ours["unchanged"] = list(unchanged)
        if gone:
            ours["gone"] = True
    times = {"ts_ms": ts, "ts_us": ts * 1000, "ts_ns": ts * 1_000_000}
    return orjson.dumps(
        {"before": before, "after": after, "source": source, "transaction": None, "op": op, **times, "cdc": ours}
    )


def key(**columns: Any) -> bytes:
    return orjson.dumps(columns)


_FORMS: Mapping[str, tuple[str, str | None]] = {
    "smallint": ("int16", None),
    "integer": ("int32", None),
    "bigint": ("int64", None),
    "real": ("float32", None),
    "double precision": ("float64", None),
    "boolean": ("boolean", None),
    "bytea": ("bytes", None),
    "date": ("int32", "io.debezium.time.Date"),
    "time(3)": ("int32", "io.debezium.time.Time"),
    "time": ("int64", "io.debezium.time.MicroTime"),
    "timestamp(3)": ("int64", "io.debezium.time.Timestamp"),
    "timestamp": ("int64", "io.debezium.time.MicroTimestamp"),
    "timestamptz": ("string", "io.debezium.time.ZonedTimestamp"),
    "interval": ("int64", "io.debezium.time.MicroDuration"),
    "bit(1)": ("boolean", None),
}


def column(name: str, type_: str, **more: Any) -> Column:
    """A column of a type, in the form its values have by default."""
    form, semantic = _FORMS.get(type_, ("string", None))
    items = None
    if type_.endswith("[]"):
        form, items = "array", column(name, type_[:-2])
    return Column(
        **{
            "name": name,
            "type": type_,
            "target_type": type_,
            "form": form,
            "semantic": semantic,
            "items": items,
            **more,
        }
    )


def described(
    topic: str,
    columns: Sequence[Column],
    key: Sequence[str] = ("id",),
    table: str = "public.orders",
    pos: str = "",
    oid: int = 7,
) -> TableSchema:
    """A description of a table."""
    return TableSchema(table=table, topic=topic, columns=tuple(columns), key=tuple(key), position=pos, oid=oid)
