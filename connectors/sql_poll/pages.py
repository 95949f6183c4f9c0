"""A table in pieces, each read in a transaction of its own: by key, or by blocks of its heap. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa

Place = list[Any]
"""Where a page ends, as JSON."""

Condition = sa.ColumnElement[bool]
Column = sa.ColumnElement[Any]


class Pages(Protocol):
    """The pieces of one pass over a table."""

    @property
    def extras(self) -> Sequence[Column]:
        """What has to be selected to know where a page ends."""
        ...

    def select(self, source: sa.FromClause, place: Place | None) -> sa.Select[Any]:
        """The page behind a place; None: the first."""
        ...

    def end(self, place: Place | None, rows: int, last: Sequence[Any]) -> Place | None:
        """Where the page behind a place ended; None: it was the last one.

        Args:
            rows: that it had.
            last: the extras of its last row.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyPages:
    """Pieces of at most so many rows, in an order that no two rows share a place in.

    A row that changes its place meanwhile is read twice, or, if it goes back, by the pass after this one.

    Args:
        order: the columns; none of them is NULL.
        rows: of a page, at most.
        where: which rows at all.
        by_row: whether the database compares rows, `(a, b) > (1, 2)`, and uses an index for it.
    """

    order: Sequence[Column]
    rows: int
    where: Sequence[Condition] = ()
    by_row: bool = True

    @property
    def extras(self) -> Sequence[Column]:
        return self.order

    def select(self, source: sa.FromClause, place: Place | None) -> sa.Select[Any]:
        found = sa.select().select_from(source).where(*self.where).order_by(*self.order).limit(self.rows)
        return found if place is None else found.where(behind(self.order, place, by_row=self.by_row))

    def end(self, place: Place | None, rows: int, last: Sequence[Any]) -> Place | None:
        return list(last) if rows >= self.rows else None


@dataclass(frozen=True, slots=True)
class BlockPages:
    """Pieces of so many blocks, of the table and of each of its partitions (PostgreSQL).

    Args:
        blocks: of the largest heap among them, when the pass began.
        size: blocks of a page.
        where: which rows at all.
    """

    blocks: int
    size: int
    where: Sequence[Condition] = ()
    extras: Sequence[Column] = field(default=(), init=False)

    def select(self, source: sa.FromClause, place: Place | None) -> sa.Select[Any]:
        first = place[0] if place else 0
        bounds: list[Condition] = [sa.literal_column(f"ctid >= '({first},0)'::tid", sa.Boolean())]
        if first + self.size < self.blocks:
            bounds.append(sa.literal_column(f"ctid < '({first + self.size},0)'::tid", sa.Boolean()))
        return sa.select().select_from(source).where(*bounds, *self.where)

    def end(self, place: Place | None, rows: int, last: Sequence[Any]) -> Place | None:
        reached = (place[0] if place else 0) + self.size
        return [reached] if reached < self.blocks else None


def behind(order: Sequence[Column], place: Sequence[Any], *, by_row: bool = True) -> Condition:
    """The condition that a row comes behind a place, in the order of some columns."""
    if by_row:
        return sa.tuple_(*order) > sa.tuple_(
            *(bound(column, value) for column, value in zip(order, place, strict=True))
        )
    either = []
    for count, column in enumerate(order):
        equal = [one == bound(one, value) for one, value in zip(order[:count], place, strict=False)]
        either.append(sa.and_(*equal, column > bound(column, place[count])))
    return sa.or_(*either)


def bound(column: Column, value: Any) -> Column:
    """A stored value, as something to compare a column with."""
    return value if isinstance(value, sa.ColumnElement) else sa.literal(value, column.type)
