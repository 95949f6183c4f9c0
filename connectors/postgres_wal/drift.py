"""How a table's columns differ from what they were, and whether that only adds to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from cdc.errors import SchemaChanged
from cdc.formats.postgres.widening import holds

Policy: TypeAlias = Literal["follow", "additive", "stop"]


class Col(NamedTuple):
    """A column of the source.

    Args:
        type: as SQL writes it.
        attnum: its number in the catalogue; 0 if that is not known.
        nullable: whether NULL is allowed.
    """

    type: str
    attnum: int
    nullable: bool


@dataclass(frozen=True, slots=True)
class Form:
    """What is watched of a table.

    Args:
        columns: by name, in the table's order.
        key: columns of the event key.
    """

    columns: Mapping[str, Col]
    key: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        return {"columns": {name: list(column) for name, column in self.columns.items()}, "key": list(self.key)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Form:
        """Of what `as_json` gave."""
        return cls({name: Col(*column) for name, column in stored["columns"].items()}, tuple(stored["key"]))


class Change(NamedTuple):
    """One difference: in words, and whether it only adds."""

    text: str
    additive: bool


def changes(before: Form, now: Form) -> list[Change]:
    """What differs, in the order of the columns."""
    found: list[Change] = []
    numbers = {column.attnum: name for name, column in now.columns.items() if column.attnum}
    renamed: set[str] = set()
    for name, was in before.columns.items():
        new = name if name in now.columns else numbers.get(was.attnum, "")
        if not new or (new != name and new in before.columns):
            found.append(Change(f"column {name} ({was.type}) is gone", False))
            continue
        if new != name:
            renamed.add(new)
            found.append(Change(f"column {name} is now {new}", False))
        has = now.columns[new]
        if has.type != was.type:
            found.append(Change(f"column {new} was {was.type} and is {has.type}", holds(has.type, was.type)))
    for name, column in now.columns.items():
        if name not in before.columns and name not in renamed:
            what = "" if column.nullable else " NOT NULL"
            found.append(Change(f"column {name} ({column.type}{what}) was added", column.nullable))
    if before.key != now.key:
        found.append(Change(f"the key was ({', '.join(before.key)}) and is ({', '.join(now.key)})", False))
    return found


def refusal(table: str, policy: Policy, position: str, found: Sequence[Change]) -> SchemaChanged | None:
    """The error for a table whose form is another than its policy lets through; None where it may go on."""
    if policy == "follow" or not [one for one in found if policy == "stop" or not one.additive]:
        return None
    listed = "; ".join(one.text for one in found)
    return SchemaChanged(
        f"table {table}: its columns are others from position {position} on, and schema_changes is {policy}: {listed}",
        hint="nothing of the new form is published; schema_changes: follow for the table lets it through",
    )
