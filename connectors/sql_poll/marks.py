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
        identity: what was read, when the pass began: see `source.Identity`.
        by: what says how changes are found (mode, column, key, query); with another one nothing above holds.
        private: whether `place` has values that are masked in events: it is not stored, and the pass begins anew.
    """

    watermark: Watermark | None = None
    to_come: Watermark | None = None
    place: list[Any] | None = None
    whole: bool = False
    compared_at: float = 0.0
    described: str = ""
    identity: list[list[int]] | None = None
    by: str = ""
    private: bool = False

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), **({"place": None} if self.private else {})}


@dataclass(slots=True)
class Marks:
    """Of all tables of a connector, by name.

    Args:
        polls: how many passes were begun, over all tables, and
        steps: how many pages of the last one: order events.
        generation: how often a heal made positions begin anew.
        tables: name → mark.
        healing: names of those whose rows are still to be compared by a heal.
    """

    polls: int = 0
    steps: int = 0
    generation: int = 0
    tables: dict[str, Mark] = field(default_factory=dict)
    healing: set[str] = field(default_factory=set)

    @classmethod
    def stored(cls, position: Position | None) -> Marks:
        """As a position has them."""
        if position is None:
            return cls()
        if "polls" not in position.state:
            # Another kind of connector had this name: what comes now is newer, and nothing of its ledger is ours.
            return cls(generation=generation_of(position.order) + 1 if position.order else 0)
        ledger = position.ledger or {}
        return cls(
            polls=int(position.state["polls"]),
            generation=int(position.state["generation"]),
            tables={name: Mark(**mark) for name, mark in ledger.get("tables", {}).items()},
            healing=set(ledger.get("healing", ())),
        )

    def begin(self) -> None:
        """Another pass."""
        self.polls, self.steps = self.polls + 1, 0

    def step(self) -> str:
        """Another page; its position."""
        self.steps += 1
        return self.text()

    def of(self, name: str) -> Mark:
        """The mark of a table, made if there is none."""
        return self.tables.setdefault(name, Mark())

    def of_mode(self, name: str, by: str) -> Mark:
        """The mark of a table that is polled so; what another mode has left is forgotten."""
        mark = self.of(name)
        if mark.by != by:
            mark.watermark = mark.to_come = mark.place = None
            mark.by = by
        return mark

    def first(self, name: str) -> bool:
        """Whether no pass over a table has ended. May be called from any thread."""
        mark = self.tables.get(name)
        return mark is None or mark.watermark is None

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
        """`cdc.pos` of the events of the page that was begun last."""
        return f"{position_prefix(self.polls, self.generation)}{self.steps:010d}"

    def position(self, *, changed: bool) -> Position:
        """What to store; the marks only if they changed."""
        ledger: Mapping[str, Any] | None = None
        if changed:
            ledger = {
                "tables": {name: mark.as_json() for name, mark in sorted(self.tables.items())},
                "healing": sorted(self.healing),
            }
        return Position(self.text(), {"polls": self.polls, "generation": self.generation}, ledger)


def healing(stored: Position | None) -> Position:
    """Nothing is known of what was polled: every row is compared with its topic."""
    order = stored.order if stored is not None else ""
    generation = generation_of(order) + 1 if order else 0
    polls = int(stored.state.get("polls", 0)) if stored is not None else 0
    marks = Marks(polls=polls, generation=generation, healing={EVERY})
    return marks.position(changed=True)
