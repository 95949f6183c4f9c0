"""Compares a service's table with the warehouse's, row by row, every column as text. Reads both databases.

Nothing of the bridge is used here: plain SQL on both sides, ordered by key, both results streamed
and merged. So it holds two rows in memory, whatever the tables hold.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg import Connection, sql

Row = tuple[str | None, ...]

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the warehouse and what a service calls it.

    Args:
        source, target: (schema, table).
        key: names of the columns that identify a row.
    """

    source: tuple[str, str]
    target: tuple[str, str]
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same: its key, and the positions of the columns that differ."""

    kind: Literal["missing", "extra", "differs"]
    key: Row
    columns: tuple[int, ...] = ()


@dataclass(slots=True)
class Comparison:
    """What came out for one table.

    Args:
        rows: rows of the source.
        missing, extra, differs: rows that the target lacks, has besides, or has otherwise.
        examples: the first few of them, as "kind key: columns".
        seconds: how long it took.
    """

    table: Table
    rows: int = 0
    missing: int = 0
    extra: int = 0
    differs: int = 0
    examples: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        return not (self.missing or self.extra or self.differs)


def compare(source: Connection[Any], target: Connection[Any], table: Table) -> Comparison:
    """Compare one table, every column that the source has.

    Raises:
        psycopg.Error: the target lacks the table or a column.
    """
    started = time.monotonic()
    columns = _columns(source, table.source)
    result = Comparison(table)
    with (
        source.transaction(),
        target.transaction(),
        # Closed first: a COPY that was left in the middle would keep the transaction from ending.
        closing(_rows(source, table.source, table.key, columns)) as ours,
        closing(_rows(target, table.target, table.key, columns)) as theirs,
    ):
        rows = _Counted(ours)
        for difference in differences(rows, theirs, len(table.key)):
            setattr(result, difference.kind, getattr(result, difference.kind) + 1)
            if len(result.examples) < EXAMPLES:
                names = ", ".join(columns[i - len(table.key)] for i in difference.columns)
                result.examples.append(f"{difference.kind} {difference.key}" + (f": {names}" if names else ""))
    result.rows = rows.count
    result.seconds = time.monotonic() - started
    return result


def differences(source: Iterable[Row], target: Iterable[Row], key_width: int) -> Iterator[Difference]:
    """Merge two streams of rows, both ordered by their first `key_width` values."""
    ours, theirs = iter(source), iter(target)
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        if mine == other:
            mine, other = next(ours, None), next(theirs, None)
        elif other is None or (mine is not None and _order(mine, key_width) < _order(other, key_width)):
            assert mine is not None
            yield Difference("missing", mine[:key_width])
            mine = next(ours, None)
        elif mine is None or _order(other, key_width) < _order(mine, key_width):
            yield Difference("extra", other[:key_width])
            other = next(theirs, None)
        else:
            columns = tuple(i for i, (a, b) in enumerate(zip(mine, other, strict=True)) if a != b)
            yield Difference("differs", mine[:key_width], columns)
            mine, other = next(ours, None), next(theirs, None)


def _order(row: Row, key_width: int) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in row[:key_width])


def _columns(connection: Connection[Any], table: tuple[str, str]) -> list[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        " ORDER BY ordinal_position",
        table,
    ).fetchall()
    return [name for (name,) in rows]


def _write_values_alike(connection: Connection[Any]) -> None:
    connection.execute(
        "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';"
        " SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL work_mem = '64MB'"
    )


def _rows(
    connection: Connection[Any], table: tuple[str, str], key: tuple[str, ...], columns: list[str]
) -> Generator[Row, None, None]:
    """The key as text, then all columns as text, in the key's order.

    The "C" collation orders UTF-8 by bytes, which is how Python orders strings: by code point.
    """
    keys = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in key]
    values = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns]
    order = [sql.SQL('{} COLLATE "C"').format(each) for each in keys]
    query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT").format(
        sql.SQL(", ").join(keys + values), sql.Identifier(*table), sql.SQL(", ").join(order)
    )
    _write_values_alike(connection)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        yield from copy.rows()


class _Counted:
    """An iterable that remembers how many items were taken."""

    def __init__(self, items: Iterable[Row]) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for item in self._items:
            self.count += 1
            yield item
