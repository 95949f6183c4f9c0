"""A batch's rows of one table → the least that has to be written: the last state of each key. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cdc.formats.payload import Payloads
from sinks.postgres.decode import AFTER_ALL, DELETE, Row, Wholeness, is_older


class Group(NamedTuple):
    """What rows must have in common to be written by one statement.

    Args:
        columns: the columns that are written; others keep their values, or their default.
        wholeness: of the events. Unless they are whole, what they leave out is not known, and the
            row must be there already, or gone in the source too.
    """

    columns: tuple[str, ...]
    wholeness: Wholeness


@dataclass(slots=True)
class Changes:
    """What a batch does to a table.

    Args:
        deletes: one per key; they come before the writes.
        writes: one row per key, by group.
    """

    deletes: list[Row] = field(default_factory=list)
    writes: dict[Group, list[Row]] = field(default_factory=dict)


def merge(rows: Iterable[Row]) -> Changes:
    """Keep the last state of each key; an older event never wins, whatever came last."""
    deletes: dict[bytes | None, Row] = {}
    images: dict[bytes | None, Row] = {}
    keys = Payloads()
    for row in rows:
        key = keys.of(row.event.key)  # a schema that changed makes no other row
        image = images.get(key)
        if row.op != DELETE:
            earlier = image or deletes.get(key)
            if earlier is not None and earlier.pos < AFTER_ALL and is_older(row.pos, earlier.pos):
                continue
            images[key] = _completed(row, image) if image and image.columns != row.columns else row
        elif row.pos == AFTER_ALL:
            # It follows its delete, as a rule, and then says nothing new.
            if image is not None or key not in deletes:
                deletes[key] = row
                images.pop(key, None)
        elif image is None or not is_older(row.pos, image.pos):
            deletes[key] = row
            images.pop(key, None)
    return Changes(list(deletes.values()), grouped(images.values()))


def grouped(rows: Iterable[Row]) -> dict[Group, list[Row]]:
    """Rows by what they have in common."""
    groups: dict[Group, list[Row]] = defaultdict(list)
    for row in rows:
        groups[Group(row.columns, row.wholeness)].append(row)
    return dict(groups)


def _completed(row: Row, earlier: Row) -> Row:
    """`row` with the fields that only the earlier event of its key has."""
    fields = dict(zip(earlier.columns, earlier.line.split(b"\t"), strict=False))
    *values, pos = row.line.split(b"\t")
    fields.update(zip(row.columns, values, strict=True))
    line = b"\t".join([*fields.values(), pos])
    return row._replace(
        columns=tuple(fields), line=line, wholeness=row.wholeness if earlier.wholeness else earlier.wholeness
    )
