"""What a load has committed, kept by itself: who was born, who died, and when that was certain. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import zip_longest
from math import inf
from typing import Literal

Effect = Literal["insert", "update", "delete"]

Life = tuple[float, float]
"""From when to when a key was there, seconds since the Unix epoch."""


@dataclass(slots=True)
class Written:
    """What one transaction has done so far; a savepoint is a length of its lists.

    Args:
        effects: of item rows, in order.
        logged: ids of rows added to the log.
        revived: ids of rows that were deleted once and came back.
    """

    effects: list[tuple[Effect, int]] = field(default_factory=list)
    logged: list[int] = field(default_factory=list)
    revived: list[int] = field(default_factory=list)

    def savepoint(self) -> tuple[int, int]:
        return len(self.effects), len(self.logged)

    def back_to(self, savepoint: tuple[int, int]) -> None:
        del self.effects[savepoint[0] :], self.logged[savepoint[1] :]

    def seen_from_outside(self) -> tuple[set[int], set[int]]:
        """Keys that are there behind the commit and were not before, and those that were and are not."""
        first: dict[int, Effect] = {}
        last: dict[int, Effect] = {}
        for effect, key in self.effects:
            first.setdefault(key, effect)
            last[key] = effect
        return (
            {key for key in first if first[key] == "insert" and last[key] != "delete"},
            {key for key in first if first[key] != "insert" and last[key] == "delete"},
        )


class Record:
    """All that was committed. Not for several threads at once."""

    def __init__(self) -> None:
        self.changes = 0
        self.logged: set[int] = set()
        self.tally: Counter[str] = Counter()
        self._births: dict[int, list[float]] = defaultdict(list)
        self._deaths: dict[int, list[float]] = defaultdict(list)

    def committed(self, written: Written, asked: float, answered: float) -> tuple[set[int], set[int]]:
        """A COMMIT has returned.

        Args:
            written: by the transaction.
            asked, answered: when COMMIT was sent and had returned, seconds since the Unix epoch.

        Returns: keys that came, and keys that went.
        """
        born, died = written.seen_from_outside()
        self.changes += len(written.effects)
        self.logged.update(written.logged)
        for key in born:
            self._births[key].append(answered)
        for key in died:
            self._deaths[key].append(asked)
        return born, died

    def lives(self) -> dict[int, Life]:
        """Keys that were inserted; of each the longest time that it was certainly there."""
        return {key: self._life(key) for key in self._births}

    def present(self) -> set[int]:
        """Keys that must be there now."""
        return {key for key, births in self._births.items() if len(births) > len(self._deaths.get(key, ()))}

    def deleted(self) -> set[int]:
        """Keys that were there and must not be there now."""
        return self._births.keys() - self.present()

    def _life(self, key: int) -> Life:
        # Births and deaths of a key take turns.
        births, deaths = sorted(self._births[key]), sorted(self._deaths.get(key, ()))
        lives = zip_longest(births, deaths, fillvalue=inf)
        return max(lives, key=lambda life: life[1] - life[0])
