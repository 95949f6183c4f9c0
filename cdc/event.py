"""What is sent: records, the batches that carry them, and what topics they need. Touches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cdc.position import Position

BY_KEY = -1
"""Partition: let the partitioner choose by key (murmur2, as the Java client)."""

EVERY_PARTITION = -2
"""Partition: one copy of the record on every partition (a truncate marker)."""

Headers: TypeAlias = list[tuple[str, str | bytes | None]]

Record: TypeAlias = tuple[str, bytes | None, bytes | None, int, int, Headers | None]
"""(topic, key, value, partition, timestamp in ms or 0 for now, headers): a plain tuple, for speed."""


@dataclass(frozen=True, slots=True)
class EventTopic:
    """An event topic that a batch needs, and what to call it in an error.

    Args:
        topic: its name.
        table: the source's name of the table, "schema.table".
        key_columns: names of the key's columns; empty for a table without key.
        distinct: whether no two rows have the same key.
        rows: whether it holds a table's rows; else what `table` says in words.
        format: of keys and values on it: an entry point of `cdc.formats`.
    """

    topic: str
    table: str
    key_columns: tuple[str, ...]
    distinct: bool = True
    rows: bool = True
    format: str = "debezium-json"


@dataclass(slots=True)
class Batch:
    """Events in order, and the position behind them. May hold no records.

    Args:
        records: what to publish, in order.
        position: where the connector stands once they are stored.
        topics: event topics seen for the first time (or changed) in this batch.
        complete: topics whose snapshot rows are all in this batch or before it.
    """

    records: list[Record]
    position: Position
    topics: Sequence[EventTopic] = field(default_factory=tuple)
    complete: Sequence[str] = ()
