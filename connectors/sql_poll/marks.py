"""How far each table is polled: what is stored beside the position. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cdc.formats.debezium_json import generation_of, position_prefix
from cdc.position import Position

EVERY = "*"
"""Of what heals: all tables, whichever there are."""

Watermark = dict[str, Any]
"""What a mode needs to know of the pass before: JSON."""


@dataclass(slots=True)
class Mark:
    """How far one table, or one log of deletes, is.

    Args:
        watermark: all that was committed before it is published; None before the first pass has ended.
        to_come: what that will be when the pass under way has ended; None: none is.
        place: the end of the last page of that pass which is published.
        whole: whether that pass reads all rows.
        compared_at: when all rows were last compared, seconds since the Unix epoch.
        described: digest of the description that the schemas topic has.
    """

    watermark: Watermark | None = None
    to_come: Watermark | None = None
    place: list[Any] | None = None
    whole: bool = False
    compared_at: float = 0.0
    described: str = ""


@dataclass(slots=True)
class Marks:
    """Of all tables of a connector, by name.

    Args:
        polls: how many passes were begun, over all tables: orders events.
        generation: how often a heal made positions begin anew.
        tables: name → mark.
        healing: names of those whose rows are still to be compared by a heal.
    """

    polls: int = 0
    generation: int = 0
    tables: dict[str, Mark] = field(default_factory=dict)
    healing: set[str] = field(default_factory=set)

    @classmethod
    def stored(cls, position: Position | None) -> Marks:
        """As a position has them."""
        if position is None:
            return cls()
        ledger = position.ledger or {}
        tables = {name: Mark(**mark) for name, mark in ledger.get("tables", {}).items()}
        return cls(
            int(position.state.get("polls", 0)),
            int(position.state.get("generation", 0)),
            tables,
            set(ledger.get("healing", ())),
        )

    def of(self, name: str) -> Mark:
        """The mark of a table, made if there is none."""
        return self.tables.setdefault(name, Mark())

    def heals(self, name: str) -> bool:
        """Whether a heal has still to compare a table's rows."""
        return name in self.healing

    def heal(self, names: Iterable[str]) -> None:
        """A heal was asked for: it compares the rows of these tables."""
        if EVERY in self.healing:
            self.healing = set(names)

    def healed(self, name: str) -> None:
        """A table's rows are right again."""
        self.healing.discard(name)

    def text(self) -> str:
        """`cdc.pos` of the events of the pass that was begun last."""
        return f"{position_prefix(self.polls, self.generation)}{0:010d}"

    def position(self, *, changed: bool) -> Position:
        """What to store; the marks only if they changed."""
        ledger: Mapping[str, Any] | None = None
        if changed:
            ledger = {
                "tables": {name: asdict(mark) for name, mark in sorted(self.tables.items())},
                "healing": sorted(self.healing),
            }
        return Position(self.text(), {"polls": self.polls, "generation": self.generation}, ledger)


def healing(stored: Position | None) -> Position:
    """Nothing is known of what was polled: every row is compared with its topic."""
    order = stored.order if stored is not None else ""
    generation = generation_of(order) + 1 if order else 0
    polls = int(stored.state.get("polls", 0)) if stored is not None else 0
    marks = Marks(polls, generation, healing={EVERY})
    return marks.position(changed=True)
