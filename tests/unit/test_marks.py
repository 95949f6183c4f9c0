"""Which rows of a snapshot are the first and the last, where tables are empty or have one row too."""

from __future__ import annotations

import orjson
import pytest

from cdc.event import Record
from cdc.formats.debezium_json import Transaction
from connectors.postgres_wal.catalog import Table
from connectors.postgres_wal.marks import Marks
from connectors.postgres_wal.opening import in_order
from connectors.postgres_wal.options import TableOptions
from connectors.postgres_wal.ranges import SnapshotTable, Whole
from connectors.postgres_wal.transactions import begin_table
from tests.unit.test_transactions import RELATION, planned

TRANSACTION = Transaction(100, 0, 7, 0, "true", 0, 0)

FIRST, LAST = "first_in_data_collection", "last_in_data_collection"


def table(name: str) -> SnapshotTable:
    return SnapshotTable(planned(RELATION), Table(1, "public", name, "d", ("id",), (), -1, TableOptions()), {})


class Reading:
    """A snapshot of tables with so many rows each."""

    def __init__(self, *counts: int) -> None:
        self.tables = [table(f"t{number}") for number in range(len(counts))]
        self.counts = counts
        self.marks = Marks(TRANSACTION, self.tables)
        self.records: list[Record] = []
        self.finished: list[tuple[str, int]] = []
        """Tables that were finished, and how many rows were appended then."""
        for one in self.tables:
            begin_table(one.planned, TRANSACTION)

    def read(self) -> list[str]:
        for one, count in zip(self.tables, self.counts, strict=True):
            encode = self.marks.encoding(one)
            for number in range(count):
                encode(b"%d\tn\n" % number, self.records)
            self.marks.table_read(one, Whole(one, (), 0), lambda of, _: self._finish(of))
        self.marks.end(self.records)
        return [orjson.loads(value or b"")["source"]["snapshot"] for _, _, value, *_ in self.records]

    def _finish(self, of: SnapshotTable) -> None:
        self.finished.append((of.full_name, len(self.records)))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((), []),
        ((0, 0), []),
        ((1,), ["last"]),
        ((2,), ["first", "last"]),
        ((3, 0, 1), ["first", "true", LAST, "last"]),
        ((2, 0), ["first", "last"]),
        ((1, 1), ["first", "last"]),
        ((0, 3), [FIRST, "true", "last"]),
        ((0, 1, 2, 0), [LAST, FIRST, "last"]),
    ],
)
def test_rows_say_where_they_are(counts: tuple[int, ...], words: list[str]) -> None:
    assert Reading(*counts).read() == words


def test_a_table_is_finished_once_all_its_rows_are_appended() -> None:
    reading = Reading(2, 0, 1, 0)
    reading.read()
    assert reading.finished == [("public.t0", 2), ("public.t1", 2), ("public.t2", 3), ("public.t3", 3)]


def test_tables_are_read_in_the_order_of_the_settings_then_of_names() -> None:
    tables = [table(name).table for name in ("c", "B", "a", "d")]
    names = [one.name for one in in_order(["/public.[cd]/", "*.a", "public.*"], tables)]
    assert names == ["c", "d", "a", "B"]
