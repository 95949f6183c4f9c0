"""What became of a topic's columns from description to description: renamed, dropped. Pure.

A column is the same one while the table in the source is, and its number in the catalogue there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdc.schemas import Column, TableSchema
from sinks.postgres.settings import SchemaPolicy


@dataclass(frozen=True, slots=True)
class History:
    """How the columns of descriptions are called in the target.

    Args:
        names: per description, column → its name in the target; None for one that the target loses.
        renamed: (name before, name now), oldest first.
        dropped: names in the target that the newest description has no column for.
    """

    names: tuple[Mapping[str, str | None], ...]
    renamed: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]


def history(versions: Sequence[TableSchema], policy: SchemaPolicy) -> History:
    """What the newest of some descriptions, oldest first, makes of the columns of all."""
    newest = versions[-1]
    now = {column.name for column in newest.columns}
    numbered = {column.attnum: column.name for column in newest.columns if column.attnum}
    renamed: dict[tuple[str, str], None] = {}
    dropped: dict[str, None] = {}
    names: list[Mapping[str, str | None]] = []
    for version in versions:
        same = version.oid != 0 and version.oid == newest.oid
        became: dict[str, str | None] = {}
        for column in version.columns:
            new = _now(column, now, numbered if same and policy.rename != "add" else {})
            if new is None:
                dropped[column.name] = None
            elif new != column.name:
                renamed[column.name, new] = None
            became[column.name] = new if new is not None or policy.drop != "keep" else column.name
        names.append(became)
    return History(tuple(names), tuple(renamed), tuple(dropped))


def _now(column: Column, now: set[str], numbered: Mapping[int, str]) -> str | None:
    """The name that a column has now; None if it is gone."""
    if column.attnum and column.attnum in numbered:
        return numbered[column.attnum]
    return column.name if column.name in now else None
