"""Rows that readers do not have become records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from cdc.event import BY_KEY, Record
from cdc.formats.debezium_json import SourceInfo, polled_tail

from .forms import TopicForm
from .known import Change
from .rows import Polled


class Events:
    """The records of one table, in one pass.

    Args:
        polled: the table.
        source: for the envelope.
        unknown: of each column, in order, what stands for a value that is not known.
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
        unknown: Mapping[str, object],
        form: TopicForm,
        position: str,
        read_us: int,
        now_ns: int,
        *,
        first: bool,
    ) -> None:
        self._topic = polled.topic
        self._unknown = unknown
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
            row = {name: held.get(name, unknown) for name, unknown in self._unknown.items()}
            written, value = form.key(key), form.deleted(orjson.dumps(row), tail)
            records += [(self._topic, written, value, BY_KEY, 0, None), (self._topic, written, None, BY_KEY, 0, None)]
        return records
