"""Which row of a snapshot is the first and the last, of a table and of all: `source.snapshot`. Pure.

One row is held back, as only the one behind it tells whether it was the last. The rules are Debezium's:
`RelationalSnapshotChangeEventSource.SnapshotMarkerResolver`, and `EventDispatcher`, whose buffer of one event
makes the last row the `last`, also where the tables behind it are empty. Only a row of the first table is `first`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cdc.event import Record
from cdc.formats.debezium_json import Transaction

from .ranges import Piece, SnapshotTable
from .transactions import begin_table

Finished = Callable[[SnapshotTable, Piece | None], None]
"""Called when the last row of a piece was appended, and with None for a table that has none."""


@dataclass(slots=True)
class _Held:
    """A row that was read and not encoded."""

    table: SnapshotTable
    line: bytes
    first: bool


class Marks:
    """The rows of one snapshot, one table after the other.

    Args:
        transaction: what its events have in common.
        tables: in the order that they are read in.
    """

    def __init__(self, transaction: Transaction, tables: Sequence[SnapshotTable]) -> None:
        self._transaction = transaction
        self._first = tables[0] if tables else None
        self._last = tables[-1] if tables else None
        self._held: _Held | None = None
        self._current: SnapshotTable | None = None
        self._read: list[tuple[SnapshotTable, Piece, Finished]] = []

    def encoding(self, table: SnapshotTable) -> Callable[[bytes, list[Record]], int]:
        """How a row of a table becomes an event: the row before it is appended."""

        def encode(line: bytes, records: list[Record]) -> int:
            held, self._held = self._held, _Held(table, line, self._current is not table)
            self._current = table
            return 0 if held is None else self._append(held, records, last=held.table is not table)

        return encode

    def table_read(self, table: SnapshotTable, piece: Piece, finished: Finished) -> None:
        """All rows of a table were given. It is finished once the one that is held back is appended."""
        self._read.append((table, piece, finished))
        if self._held is None:
            self._settle()

    def end(self, records: list[Record]) -> int:
        """All rows of all tables were given; returns the bytes appended."""
        held, self._held = self._held, None
        if held is not None:
            return self._encode(held, "last", records)
        self._settle()
        return 0

    def _append(self, held: _Held, records: list[Record], *, last: bool) -> int:
        if last and held.table is self._last:
            word = "last"
        elif held.first and held.table is self._first:
            word = "first"
        elif last:
            word = "last_in_data_collection"
        else:
            word = "first_in_data_collection" if held.first else "true"
        return self._encode(held, word, records)

    def _encode(self, held: _Held, word: str, records: list[Record]) -> int:
        planned = held.table.planned
        if word != "true":
            begin_table(planned, replace(self._transaction, snapshot=word))
        size = planned.encoder.encode_copy(held.line, records)
        if word != "true":
            begin_table(planned, self._transaction)
        if self._held is None or self._held.table is not held.table:
            self._settle()
        return size

    def _settle(self) -> None:
        """The tables that were read have all their rows appended."""
        read, self._read = self._read, []
        for table, piece, finished in read:
            finished(table, piece)
