"""Judges one topic of a connector that polls. Pure: no code of the bridge, and no trust in what it says.

What a poll can see is the last state of each key. So every key must end as the table has it; what was there long
enough must have been seen; and each state that was seen is on the topic once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cdc.prove.observed import Event

LOST: Final = ("lost", "stale", "unseen", "undeleted")
"""Faults that mean that a change did not come, or has not come yet."""

EXAMPLES: Final = 5

PASSES: Final = 4
"""A row that was there when so many passes began is on the topic, even if all but the last were cut short."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Truth:
    """What a table's topic must show.

    Args:
        rows: the table's rows as they are now, by key.
        lives: keys whose insert was ever committed; from when to when each was there, seconds since the Unix epoch.
        deleted: keys whose delete was committed last.
        deletes: whether they are captured; else nothing is said of deletes, and readers keep the rows.
        never: a value that only rolled-back writes have.
        key: the key column.
    """

    rows: Mapping[int, Row]
    lives: Mapping[int, tuple[float, float]]
    deleted: Collection[int]
    deletes: bool = True
    never: str | None = None
    key: str = "id"


@dataclass(slots=True)
class Verdict:
    """What was found.

    Args:
        events, deletes: on the topic, tombstones left out.
        rows: of the table.
        seen: keys of which at least one row came.
        passes: of which events came.
        passed: keys that are not there any more, and were for so many passes that they must have come.
        faults: kind → how many.
        examples: kind → some of them in words, of keys alone.
    """

    events: int = 0
    deletes: int = 0
    rows: int = 0
    seen: int = 0
    passes: int = 0
    passed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def lost(self) -> int:
        """Keys that do not end right, or were never seen."""
        return sum(self.faults[kind] for kind in LOST)

    def fault(self, kind: str, what: str) -> None:
        self.faults[kind] += 1
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(what)

    def __str__(self) -> str:
        said = [f"{self.events:,} events, {self.deletes:,} of them deletes; {self.rows:,} rows; {self.lost:,} lost"]
        said.append(f"{self.passes:,} passes, {self.passed:,} rows that are gone must have come")
        said += [f"{count:,} {kind}: {'; '.join(self.examples[kind])}" for kind, count in sorted(self.faults.items())]
        return " · ".join(said)


def check(events: Iterable[Event], truth: Truth) -> Verdict:
    """Judge a topic.

    Kinds of faults:
        lost: a row of the table has no event, or its last one is a delete.
        stale: a key's last event is not the row that the table has.
        unseen: a key that is gone never came, and was there at the begin of several passes. When those began is what
            events say (`ts_ms`, as the source's clock may be set): who leaves passes out is asked for less, and
            `passes` shows it.
        undeleted: a key that was deleted is still there for readers.
        uncommitted: a key, or a value, that was rolled back.
        deleted: a delete, where none is captured.
        twice: an event says of a key what the one before it said.
        misnamed: `c` of a key that readers have, `u` of one that they do not have, a key that is not its row's.
        back: the position of an event is before that of the same key's last one.
        bare: a delete without a tombstone behind it, or a tombstone without a delete before it.

    Args:
        events: all that were committed to the topic, each partition in order.
        truth: what they must show.
    """
    verdict = Verdict(rows=len(truth.rows))
    held: dict[int, Row] = {}
    gone: set[int] = set()
    positions: dict[int, str] = {}
    bare: set[int] = set()
    passes: set[int] = set()
    for event in events:
        key = (event.key or {}).get(truth.key)
        if key is None:
            verdict.fault("misnamed", f"{_place(event)}: no key")
            continue
        if (event.value is None) != (key in bare):
            verdict.fault("bare", f"{_place(event)}: key {key}")
        (bare.add if event.op == "d" else bare.discard)(key)
        if event.value is not None:
            verdict.events += 1
            passes.add(event.value["ts_ms"])
            _one(verdict, event, key, truth, held, gone)
            position = event.position or ""
            if position < positions.get(key, ""):
                verdict.fault("back", f"{_place(event)}: key {key}")
            positions[key] = position
    for key in bare:
        verdict.fault("bare", f"key {key}: the last event")
    verdict.seen = len(held.keys() | gone)
    verdict.passes = len(passes)
    _seen(verdict, truth, sorted(passes), held.keys() | gone)
    _ends(verdict, truth, held)
    return verdict


def _one(verdict: Verdict, event: Event, key: int, truth: Truth, held: dict[int, Row], gone: set[int]) -> None:
    after: Row | None = (event.value or {}).get("after")
    before = held.get(key)
    if key not in truth.lives or (after is not None and truth.never in after.values() and truth.never is not None):
        verdict.fault("uncommitted", f"{_place(event)}: key {key}")
    if after == before:
        verdict.fault("twice", f"{_place(event)}: key {key}")
    if after is None:
        verdict.deletes += 1
        if not truth.deletes:
            verdict.fault("deleted", f"{_place(event)}: key {key}")
        held.pop(key, None)
        gone.add(key)
    else:
        held[key] = after
        if after.get(truth.key) != key:
            verdict.fault("misnamed", f"{_place(event)}: key {key}, and the row has another")
    if not _named(event.op, before, after):
        verdict.fault("misnamed", f"{_place(event)}: key {key}: {event.op}")


def _named(op: str, before: Row | None, after: Row | None) -> bool:
    if after is None or op == "d":
        return after is None and op == "d"
    return op == "r" or op == ("c" if before is None else "u")


def _seen(verdict: Verdict, truth: Truth, passes: Sequence[int], seen: Set[int]) -> None:
    """What is gone, and was there for long enough, came."""
    for key, (since, until) in truth.lives.items():
        if key in truth.rows or bisect_left(passes, until * 1000) - bisect_right(passes, since * 1000) < PASSES:
            continue
        verdict.passed += 1
        if key not in seen:
            verdict.fault("unseen", f"key {key}")


def _ends(verdict: Verdict, truth: Truth, held: Mapping[int, Row]) -> None:
    """What a reader of the topic ends up with is the table."""
    for key, row in truth.rows.items():
        if key not in held:
            verdict.fault("lost", f"key {key}")
        elif wrong := sorted(_different(row, held[key])):
            verdict.fault("stale", f"key {key}: {', '.join(wrong)}")
    for key in held.keys() - truth.rows.keys():
        if key in truth.deleted and not truth.deletes:
            continue
        verdict.fault("undeleted" if key in truth.deleted else "uncommitted", f"key {key} is left")


def _different(row: Row, after: Row) -> set[str]:
    """Columns that are not alike; one that only either side has is not."""
    alike = {column for column in row.keys() & after.keys() if _same(row[column], after[column])}
    return (row.keys() | after.keys()) - alike


def _same(value: Any, told: Any) -> bool:
    if isinstance(value, datetime):
        return isinstance(told, str) and datetime.fromisoformat(told) == value
    return type(value) is type(told) and bool(value == told)


def _place(event: Event) -> str:
    return f"{event.topic} [{event.partition}] at {event.offset}"
