"""Rows that readers do not have become records. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson

from cdc.event import BY_KEY, Record
from cdc.formats.debezium_json import SourceInfo, polled_tail
from cdc.schemas import Column, TableSchema

from .forms import TopicForm
from .known import Change
from .rows import Polled

_ZEROS: Final = {
    "int16": 0,
    "int32": 0,
    "int64": 0,
    "float32": 0.0,
    "float64": 0.0,
    "boolean": False,
    "array": [],
    "struct": {"scale": 0, "value": "AA=="},
}

_TIMES: Final = {
    "io.debezium.time.ZonedTime": "00:00:00Z",
    "io.debezium.time.ZonedTimestamp": "1970-01-01T00:00:00Z",
    "org.apache.kafka.connect.data.Decimal": "AA==",
}


class Events:
    """The records of one table, in one pass.

    Args:
        polled: the table.
        source: for the envelope.
        schema: its columns.
        form: of the topic's records.
        position: `cdc.pos` of all of them.
        read_us: when the pass began, by the source's clock, µs since the Unix epoch.
        now_ns: the same by ours, ns.
        first: whether the table's rows are read for the first time.
    """

    def __init__(
        self,
        polled: Polled,
        source: SourceInfo,
        schema: TableSchema,
        form: TopicForm,
        position: str,
        read_us: int,
        now_ns: int,
        *,
        first: bool,
    ) -> None:
        self._topic = polled.topic
        self._key = polled.key
        self._columns = schema.columns
        self._first, self._form = first, form
        snapshot, where = "true" if first else "false", (source, polled.schema, polled.table)
        self._tails = {
            op: form.tail(polled_tail(*where, read_us, now_ns, position, op, snapshot), op, position) for op in "crud"
        }

    def changed(self, changes: Iterable[Change]) -> list[Record]:
        """Records of rows: `r` in the first pass, then `c` of new ones, `u` of others; nobody knows what was before."""
        form, topic = self._form, self._topic
        new, old = (self._tails["r"], self._tails["r"]) if self._first else (self._tails["c"], self._tails["u"])
        return [
            (topic, form.key(change.key), form.changed(change.row, new if change.new else old), BY_KEY, 0, None)
            for change in changes
        ]

    def gone(self, keys: Iterable[bytes]) -> list[Record]:
        """A delete and a tombstone for each key; `before` has the key, and of other columns what stands for unknown."""
        records: list[Record] = []
        form, tail = self._form, self._tails["d"]
        for key in keys:
            held = orjson.loads(key)
            row = {column.name: held[column.name] if column.name in held else _zero(column) for column in self._columns}
            written, value = form.key(key), form.deleted(orjson.dumps(row), tail)
            records += [(self._topic, written, value, BY_KEY, 0, None), (self._topic, written, None, BY_KEY, 0, None)]
        return records


def _zero(column: Column) -> object:
    """What stands for an unknown value: null, or where that is not allowed, as Debezium has it."""
    if column.nullable:
        return None
    if column.semantic in _TIMES:
        return _TIMES[column.semantic]
    return _ZEROS.get(column.form, "0" if "precision" in column.parameters else "")
