"""Which tables' rows are published, and how each table is published. Pure.

Stored beside the position, but only when it changes. A table is `pending` until the last row of
its snapshot is published, then `done`; `again` once somebody asks for its rows anew. Of a table
that is not done, the ranges whose rows are published are kept, so that they are never read again.
A done table whose publication changed is a gap. Of a table that is made while all tables are published
no rows are read: the stream has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cdc.patterns import matching

from .catalog import Publication

Interval = tuple[int, int | None]
"""Blocks [first, end); an end of None is open."""


@dataclass(frozen=True, slots=True)
class HeapRead:
    """What is published of one heap.

    Args:
        node: its relfilenode then; a heap that was rewritten has another.
        intervals: in order, not touching each other.
    """

    node: int
    intervals: tuple[Interval, ...]


class Ledger:
    """The tables of one connector, by full name.

    Args:
        stored: what `as_json` gave, from the offsets topic; None at the first start.
        anew: a heal begins: only what outlives that is taken.
        with_ranges: whether ranges that are read count. They do only where the stream publishes every change: a row
            that an update moves from an unread range to one that is read comes by the stream alone.
    """

    def __init__(
        self, stored: Mapping[str, Any] | None = None, *, anew: bool = False, with_ranges: bool = True
    ) -> None:
        stored = stored or {}
        if anew:
            stored = {name: stored[name] for name in ("filters", "forms") if name in stored}
        self._tables: dict[str, dict[str, Any]] = {
            name: dict(entry) for name, entry in stored.get("tables", {}).items()
        }
        self._covered: tuple[str, ...] | None = tuple(stored["covered"]) if "covered" in stored else None
        self._newest: int | None = stored.get("newest")
        self._missed: set[str] = set(stored.get("missed", ()))
        self._filters: dict[str, str] = dict(stored.get("filters", {}))
        self._forms: dict[str, int] = dict(stored.get("forms", {}))
        self._healing = bool(stored.get("healing", False))
        self._paused = bool(stored.get("paused", False))
        self.revision = int(stored.get("revision", 0))
        self._given = self.revision
        self._with_ranges = with_ranges
        if not with_ranges:
            for name in self._tables:
                self.start_over(name)

    def as_json(self) -> dict[str, Any]:
        """The document; `dirty` is False until the next change."""
        self._given = self.revision
        return {
            "tables": {name: dict(entry) for name, entry in self._tables.items()},
            **({"covered": list(self._covered)} if self._covered is not None else {}),
            **({"newest": self._newest} if self._newest is not None else {}),
            **({"missed": sorted(self._missed)} if self._missed else {}),
            **({"filters": dict(self._filters)} if self._filters else {}),
            "forms": dict(self._forms),
            "healing": self._healing,
            "paused": self._paused,
            "revision": self.revision,
        }

    @property
    def dirty(self) -> bool:
        """Whether anything changed since `as_json` gave it away."""
        return self.revision != self._given

    @property
    def healing(self) -> bool:
        """Whether the tables that are not done are read to mend a gap."""
        return self._healing

    @property
    def paused(self) -> bool:
        """Whether snapshots wait for somebody to resume them."""
        return self._paused

    def pause(self, paused: bool) -> None:
        self._paused = paused
        self.revision += 1

    def done(self) -> set[str]:
        """Tables whose rows are all published."""
        return self._in("done")

    def again(self) -> set[str]:
        """Tables whose rows were all published, and are wanted anew."""
        return self._in("again")

    def unfinished(self) -> set[str]:
        """Tables of which rows are to be read."""
        return self._in("pending", "again")

    def cover(self, entries: Iterable[str], newest: int) -> None:
        """These names and patterns of tables are captured from here on.

        Args:
            newest: the highest OID of a table that there was then.
        """
        covered = tuple(entries)
        if (covered, newest) != (self._covered, self._newest):
            self._covered, self._newest = covered, newest
            self.revision += 1

    def came(self, tables: Mapping[str, int]) -> set[str]:
        """Those of new tables that would have been captured before, had they been there, and were made since.

        One that only got another name or schema, or was a partition, has an OID that is not above those that there
        were; so has one that was made after OIDs wrapped.

        Args:
            tables: full name → OID.
        """
        covered, newest = self._covered or (), self._newest
        return {
            name
            for name, oid in tables.items()
            if name not in self._missed and newest is not None and oid > newest and matching(covered, name)
        }

    def miss(self, table: str) -> None:
        """Rows of this table, which is new, cannot be published: whenever they can, they have to be read."""
        self._missed.add(table)
        self.revision += 1

    def heal(self, tables: Iterable[str]) -> None:
        """All rows of these tables are to be compared with their topics."""
        self._tables = {name: {"state": "pending", "published": ""} for name in sorted(tables)}
        self._covered = None
        self._missed.clear()
        self._healing = bool(self._tables)
        self.revision += 1

    def expect(self, tables: Iterable[str]) -> None:
        """The rows of these tables are to be read for the first time."""
        for name in sorted(tables):
            self._missed.discard(name)
            self._tables[name] = {"state": "pending", "published": ""}
        self.revision += 1

    def repeat(self, tables: Iterable[str]) -> None:
        """The rows of these done tables are wanted anew."""
        for name in tables:
            self._tables[name] = {**self._tables[name], "state": "again"}
        self.revision += 1

    def cancel(self) -> None:
        """Nothing is wanted anew."""
        for name in self.again():
            self._settle(name, self._tables[name]["published"])
        self.revision += 1

    def finish(self, tables: Iterable[str], publication: Publication) -> None:
        """All rows of these tables are published; and how the tables are."""
        fingerprints = _fingerprints(publication)
        for name in tables:
            self._settle(name, fingerprints.get(name, ""))
        self._healing = self._healing and bool(self.unfinished())
        self.revision += 1

    def keep(self, captured: Set[str]) -> None:
        """Forget tables that are no longer captured: back again, they are read again."""
        removed = self._tables.keys() - captured
        for name in removed:
            del self._tables[name]
        if removed:
            self._healing = self._healing and bool(self.unfinished())
            self.revision += 1

    def published(self, table: str) -> str | None:
        """How a table whose rows were all published is published; None for others."""
        entry = self._tables.get(table)
        return entry["published"] if entry is not None and entry["state"] != "pending" else None

    def heaps(self, table: str) -> dict[int, HeapRead]:
        """What is published of a table that is not done, by the heap's OID."""
        stored = self._tables.get(table, {}).get("heaps", {})
        return {
            int(oid): HeapRead(heap["node"], tuple((first, end) for first, end in heap["done"]))
            for oid, heap in stored.items()
        }

    def range_done(self, table: str, heap: int, node: int, interval: Interval, publication: Publication) -> None:
        """The rows of these blocks are published; and how the table is."""
        if not self._with_ranges:
            return
        entry = self._tables[table]
        before = self.heaps(table).get(heap)
        known = before.intervals if before is not None and before.node == node else ()
        done = [list(one) for one in _joined([*known, interval])]
        entry["heaps"] = {**entry.get("heaps", {}), str(heap): {"node": node, "done": done}}
        entry["read_under"] = _fingerprints(publication).get(table, "")
        self.revision += 1

    def trust(self, publication: Publication) -> None:
        """Ranges of tables that were published otherwise when they were read mean nothing: changes may be missing."""
        now = _fingerprints(publication)
        for name, entry in self._tables.items():
            if "heaps" in entry and entry["state"] == "pending" and entry.get("read_under") != now.get(name, ""):
                self.start_over(name)

    def begin(self, tables: Iterable[str]) -> None:
        """Rows of these tables are about to be published."""
        for name in tables:
            self._tables[name]["begun"] = True
        self.revision += 1

    def untouched(self) -> set[str]:
        """Tables of which no row was ever published."""
        return {name for name in self._in("pending") if not self._tables[name].get("begun")}

    def start_over(self, table: str) -> None:
        """The ranges that were read mean nothing any more."""
        if self._tables[table].pop("heaps", None) is not None:
            self.revision += 1

    def describe(self, table: str, description: bytes) -> bool:
        """Note how a table is described; whether that is new."""
        entry = self._tables.get(table)
        digest = sha256(description).hexdigest()[:16]
        if entry is None or entry.get("described") == digest:
            return entry is None
        entry["described"] = digest
        self._forms[table] = self._forms.get(table, 0) + 1
        self.revision += 1
        return True

    def described(self, table: str) -> int:
        """How many forms a table has had; 0 for one that is not known here."""
        return self._forms.get(table, 0)

    def watched(self, table: str) -> Mapping[str, Any] | None:
        """The columns that a table must keep, as `watch` got them."""
        found: Mapping[str, Any] | None = self._tables.get(table, {}).get("form")
        return found

    def filter(self, table: str) -> str | None:
        """The row filter of the settings by which a table's rows are published."""
        return self._filters.get(table)

    def note_filters(self, filters: Mapping[str, str | None]) -> None:
        """From now on rows of these tables are published by these filters."""
        merged = {name: where for name, where in {**self._filters, **filters}.items() if where is not None}
        if merged != self._filters:
            self._filters = merged
            self.revision += 1

    def numbers(self, table: str) -> Mapping[str, int]:
        """The numbers of a table's columns in the catalogue, as `number` got them."""
        found: Mapping[str, int] = self._tables.get(table, {}).get("numbers") or {}
        return found

    def number(self, table: str, numbers: Mapping[str, int]) -> None:
        """Keep them: the catalogue forgets the names that columns had."""
        entry = self._tables.get(table)
        if entry is not None and entry.get("numbers") != numbers:
            entry["numbers"] = dict(numbers)
            self.revision += 1

    def watch(self, table: str, form: Mapping[str, Any] | None) -> None:
        """Keep the columns that a table has now, None where they are not watched."""
        entry = self._tables.get(table)
        if entry is not None and entry.get("form") != form:
            entry["form"] = form
            self.revision += 1

    def _in(self, *states: str) -> set[str]:
        # A copy: the status is asked for from other threads.
        return {name for name, entry in list(self._tables.items()) if entry["state"] in states}

    def _settle(self, table: str, published: str) -> None:
        described = self._tables.get(table, {}).get("described")
        before = self._tables.get(table, {})
        kept: dict[str, Any] = {name: before[name] for name in ("form", "numbers") if name in before}
        self._tables[table] = {"state": "done", "published": published, "described": described, **kept}


def _fingerprints(publication: Publication) -> dict[str, str]:
    return {f"{schema}.{name}": found for (schema, name), found in publication.tables.items()}


def missing(intervals: Iterable[Interval]) -> list[Interval]:
    """What is left of [0, ∞) without these."""
    left: list[Interval] = []
    at: int | None = 0
    for first, end in _joined(intervals):
        if at is not None and at < first:
            left.append((at, first))
        at = end
    if at is not None:
        left.append((at, None))
    return left


def _joined(intervals: Iterable[Interval]) -> list[Interval]:
    """In order, those that touch made one."""
    joined: list[Interval] = []
    for first, end in sorted(intervals, key=lambda one: one[0]):
        if joined and (joined[-1][1] is None or joined[-1][1] >= first):
            start, last = joined[-1]
            joined[-1] = (start, None if last is None or end is None else max(last, end))
        else:
            joined.append((first, end))
    return joined
