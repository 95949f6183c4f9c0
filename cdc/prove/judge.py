"""Compares what is on the topics with what was committed, event by event. Pure.

What is promised, for a consumer that reads committed records:

- every change committed at or after the slot's start is there exactly once, in commit order
  for its key, with the values that were committed; a key change as delete, tombstone, create;
  a truncate once on every partition;
- no change that was rolled back, and none from before the start;
- rows of a snapshot exactly as they stood at its LSN, once each; every row that was there at
  the start is in a snapshot, or changed since;
- the positions of a partition's changes never go back, and of a key's events neither: no row
  of a snapshot comes after something newer;
- the last event of each key makes the table.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdc.prove.observed import Event
from cdc.prove.truth import UNCHANGED, Change, Row, Transaction, from_event, number
from cdc.prove.warehouse import Table

SHOWN = 5

MENDED = "/9999999999"
"""How the position of a delete ends that was found by difference: as those of a snapshot's rows do."""

FAULTS = ("lost", "twice", "disordered", "phantom", "altered", "torn")


@dataclass(slots=True)
class Verdict:
    """What was found.

    Args:
        streamed: changes that should be on the topics, as events.
        read: rows of snapshots.
        reread: those among them whose row had been read before.
        faults: lost, twice, disordered, phantom, altered, torn (`cdc.prove.bank`) → what, in words.
    """

    streamed: int = 0
    read: int = 0
    reread: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in FAULTS})

    @property
    def exact(self) -> bool:
        return not any(self.faults.values())

    def __str__(self) -> str:
        counts = {"events streamed": self.streamed, "rows of snapshots": self.read, "rows read again": self.reread}
        counts |= {kind: len(found) for kind, found in self.faults.items()}
        lines = [f"  {name:<24}{count:>9,}" for name, count in counts.items()]
        lines += [f"  {kind}: {what}" for kind, found in self.faults.items() for what in found[:SHOWN]]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Expected:
    """One event that must be there.

    Args:
        op: c, u, d, t or tombstone.
        key: the key's JSON; None for a table without.
        before, after: what the event must hold of the row; columns it need not hold are left out.
        xid: the transaction.
    """

    op: str
    key: str | None
    before: Row | None
    after: Row | None
    xid: int

    @property
    def mark(self) -> Hashable:
        """What tells this event from every other, the order apart."""
        image = self.after or self.before or {}
        return self.op, self.key, None if self.op == "tombstone" else self.xid, image.get("version")


def judge(
    transactions: Sequence[Transaction],
    start: int,
    events: Sequence[Event],
    tables: Iterable[Table],
    types: Mapping[str, Mapping[str, str]],
    topic_of: Mapping[str, str],
    partitions: int = 1,
    *,
    gap: bool = False,
) -> Verdict:
    """Compare.

    Args:
        transactions: everything ever committed to the tables, in commit order.
        start: LSN where the bridge's slot begins.
        events: all committed records of the topics, each partition in order.
        tables: what is captured.
        types: table → column → type.
        topic_of: table → topic.
        partitions: of each topic.
        gap: some changes could not be read, and the topics were mended by difference: what was lost
            does not count, nor deletes that stand for it; all else does, the last states above all.
    """
    verdict = Verdict()
    by_topic: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_topic[event.topic].append(event)
    for topic in by_topic.keys() - set(topic_of.values()):
        verdict.faults["phantom"].append(f"topic {topic}")
    for table in tables:
        judged = _Table(table, types.get(table.name, {}), by_topic[topic_of[table.name]], verdict, partitions, gap)
        judged.judge(transactions, start)
    return verdict


def final_rows(transactions: Iterable[Transaction], table: Table) -> dict[Hashable, Row]:
    """The table after all transactions; of one without key, each row under its version."""
    state: dict[Hashable, Row] = {}
    for transaction in transactions:
        _apply(state, table, transaction.changes)
    return state


class _Table:
    def __init__(
        self,
        table: Table,
        types: Mapping[str, str],
        events: Sequence[Event],
        verdict: Verdict,
        partitions: int,
        gap: bool,
    ) -> None:
        self.table = table
        self.types = types
        self.events = events
        self.verdict = verdict
        self.partitions = partitions
        self.gap = gap
        self.committed: set[tuple[str, str | None]] = set()

    def judge(self, transactions: Sequence[Transaction], start: int) -> None:
        self.committed = _large_values(transactions, self.table)
        self._positions()
        changes = [
            (t.xid, change) for t in transactions if t.end_lsn > start for change in t.changes
            if change.table == self.table.name
        ]  # fmt: skip
        self._stream(changes)
        self._snapshots(transactions, changes, start)
        self._last_states(final_rows(transactions, self.table))

    def fault(self, kind: str, what: str) -> None:
        self.verdict.faults[kind].append(f"{self.table.name}: {what}")

    def _is_loose(self, column: str) -> bool:
        return bool(self.table.loose) and column.startswith(self.table.loose)

    def _positions(self) -> None:
        """Positions never go back, of a partition's changes and of a key's events; a key has one partition."""
        changed: dict[int, str] = defaultdict(str)
        emptied: dict[int, str] = defaultdict(str)
        of_key: dict[str, str] = defaultdict(str)
        homes: dict[str, int] = {}
        for event in self.events:
            key = None if event.key is None else _key(event)
            if key is not None and homes.setdefault(key, event.partition) != event.partition:
                self.fault("disordered", f"key {key} is in partitions {homes[key]} and {event.partition}")
            position = event.position
            if position is None:
                continue
            # A snapshot's rows, and what a heal deletes, are as of an LSN that the stream may have passed.
            beside = event.op == "r" or (self.gap and position.endswith(MENDED))
            # Delete and create of a changed key share a position.
            before = emptied[event.partition] if beside else changed[event.partition]
            if key is not None:
                before = max(before, of_key[key])
                of_key[key] = position
            if position < before:
                self.fault("disordered", f"{_place(event)} ({event.op}): position {position} after {before}")
            if not beside:
                changed[event.partition] = position
            if event.op == "t":
                emptied[event.partition] = position

    def _stream(self, changes: Iterable[tuple[int, Change]]) -> None:
        expected: dict[str | None, list[Expected]] = defaultdict(list)
        for xid, change in changes:
            for one in expected_events(change, self.table, self.types, xid, self.partitions):
                expected[one.key].append(one)
        found: dict[str | None, list[tuple[Hashable, Event]]] = defaultdict(list)
        for event in self.events:
            if event.op != "r" and not (self.gap and event.op == "d" and (event.position or "").endswith(MENDED)):
                key = None if event.key is None else _key(event)
                found[key].append((self._mark(event, key), event))
        for key in expected.keys() | found.keys():
            self._history(expected.get(key, []), found.get(key, []), ordered=bool(self.table.key) and key is not None)

    def _history(self, expected: Sequence[Expected], found: Sequence[tuple[Hashable, Event]], *, ordered: bool) -> None:
        """What should have happened to one key, and what the topic says."""
        self.verdict.streamed += len(expected)
        wanted = Counter(one.mark for one in expected)
        seen = Counter(mark for mark, _ in found)
        tombstones = {mark for mark, event in found if event.value is None}
        for mark, count in (wanted - seen).items():
            if not self.gap:
                self.verdict.faults["lost"] += [f"{self.table.name}: {mark}"] * count
        for mark, count in (seen - wanted).items():
            if self.gap and mark in tombstones:
                continue
            kind = "twice" if mark in wanted else "phantom"
            self.verdict.faults[kind] += [f"{self.table.name}: {mark}"] * count
        if ordered and wanted == seen:
            marks = [mark for mark, _ in found]
            if marks != [one.mark for one in expected]:
                self.fault("disordered", f"key {expected[0].key}: {marks[:10]}")
        by_mark = {one.mark: one for one in expected}
        for mark, event in found:
            if mark in by_mark:
                self._content(by_mark[mark], event)

    def _content(self, expected: Expected, event: Event) -> None:
        if event.value is None:
            return
        for member in ("before", "after"):
            wanted: Row | None = getattr(expected, member)
            held = event.value[member]
            if (wanted is None) != (held is None):
                self.fault(
                    "altered", f"{_place(event)} ({event.op}): {member} is {'null' if held is None else 'there'}"
                )
            elif wanted is not None:
                self._row(wanted, held, event, member)

    def _row(self, wanted: Row, held: Mapping[str, Any], event: Event, member: str) -> None:
        told = event.value["cdc"] if event.value else {}
        for column, value in wanted.items():
            if value is UNCHANGED:
                # Left out and named, as the row was gone; or read again, maybe newer, and named.
                if column not in told.get("unchanged" if column not in held else "reselected", ()):
                    self.fault(
                        "altered", f"{_place(event)}: {member}.{column} is unchanged, and the event does not say so"
                    )
                elif column not in held and not told.get("gone"):
                    self.fault("altered", f"{_place(event)}: {member}.{column} is left out, and the row is not gone")
                elif column in held and (column, held[column]) not in self.committed:
                    self.fault("altered", f"{_place(event)}: {member}.{column} was never committed")
            elif column not in held:
                if event.op != "r" or not self._is_loose(column):
                    self.fault("altered", f"{_place(event)}: {member}.{column} is missing")
            elif from_event(self.types[column], held[column]) != value:
                self.fault("altered", f"{_place(event)}: {member}.{column} is another value")

    def _snapshots(
        self, transactions: Sequence[Transaction], changes: Sequence[tuple[int, Change]], start: int
    ) -> None:
        read: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            if event.op == "r":
                read[event.position or ""].append(event)
        states = self._states_at(transactions, {start, *(number(position) for position in read)})
        seen: set[Hashable] = set()
        for position, events in sorted(read.items()):
            if number(position) < start:
                self.fault("phantom", f"snapshot at {position}, before the slot's start")
            rows = self._snapshot(position, events, states[number(position)])
            self.verdict.read += len(events)
            self.verdict.reread += len(rows & seen)
            seen |= rows
        for _, change in changes:
            if change.kind == "TRUNCATE":
                seen |= states[start].keys()
            elif change.kind != "INSERT":
                seen.add(_row_key(self.table, change.old or change.new or {}))
        for row in () if self.gap else states[start].keys() - seen:
            self.fault("lost", f"row {row}, which was there at the start")

    def _snapshot(self, position: str, events: Sequence[Event], state: Mapping[Hashable, Row]) -> set[Hashable]:
        """Rows as they stood at a position, none twice; returns which."""
        seen: Counter[Hashable] = Counter()
        for event in events:
            after = event.value["after"] if event.value else {}
            key = _row_key(self.table, after)
            seen[key] += 1
            if key not in state:
                self.fault("phantom", f"{_place(event)}: snapshot row {key} was not there at {position}")
            else:
                self._row(state[key], after, event, "after")
            if self.table.key and event.key != {column: after[column] for column in self.table.key}:
                self.fault("altered", f"{_place(event)}: the key is not the row's")
        for key, count in seen.items():
            if count > 1:
                self.fault("twice", f"snapshot row {key} at {position}")
        return set(seen)

    def _states_at(self, transactions: Sequence[Transaction], lsns: Iterable[int]) -> dict[int, dict[Hashable, Row]]:
        """The table as of each LSN: everything whose commit was before it."""
        states: dict[int, dict[Hashable, Row]] = {}
        state: dict[Hashable, Row] = {}
        remaining = iter(transactions)
        ahead = next(remaining, None)
        for lsn in sorted(lsns):
            while ahead is not None and ahead.end_lsn <= lsn:
                _apply(state, self.table, ahead.changes)
                ahead = next(remaining, None)
            states[lsn] = dict(state)
        return states

    def _last_states(self, final: Mapping[Hashable, Row]) -> None:
        """What a reader of the compacted topic ends up with is the table."""
        if not self.table.key:
            return
        left: dict[str, Event] = {}
        for event in self.events:
            if event.op == "t":
                left = {key: last for key, last in left.items() if last.partition != event.partition}
            else:
                left[_key(event)] = event
        left = {key: event for key, event in left.items() if event.value is not None}
        for row_key, row in final.items():
            assert isinstance(row_key, tuple)
            last = left.pop(_json(dict(zip(self.table.key, row_key, strict=True))), None)
            if last is None or last.value is None:
                self.fault("lost", f"the last state of {row_key}")
                continue
            after = last.value["after"] or {}
            for column, value in row.items():
                if column not in after and self._is_loose(column):
                    continue
                if column not in after or from_event(self.types[column], after[column]) != value:
                    self.fault("altered", f"{_place(last)}: the last state's {column}")
        for key in left:
            self.fault("phantom", f"the last state of {key}, which is gone")

    def _mark(self, event: Event, key: str | None) -> Hashable:
        if event.value is None:
            return "tombstone", key, None, None
        # A delete's own image counts only where the old tuple is whole.
        image = event.value["after"] or (event.value["before"] if self.table.full else None) or {}
        return event.op, key, event.value["source"]["txId"], image.get("version")


def expected_events(
    change: Change, table: Table, columns: Iterable[str], xid: int, partitions: int
) -> Iterator[Expected]:
    """What one change must look like on the topic."""
    if change.kind == "TRUNCATE":
        for _ in range(partitions):
            yield Expected("t", None, None, None, xid)
        return
    old_image = change.old or change.new or {}
    # Of the old tuple the server sends the key alone, or all of it; the witness leaves its NULLs out.
    before: Row = {column: old_image.get(column) for column in (columns if table.full else table.key)}
    old_key = _json({column: old_image[column] for column in table.key}) if table.key else None
    if change.new is None:
        yield Expected("d", old_key, before, None, xid)
        if old_key is not None:
            yield Expected("tombstone", old_key, None, None, xid)
        return
    after = change.new
    if table.full and change.old is not None:
        after = {c: change.old.get(c) if value is UNCHANGED else value for c, value in after.items()}
    new_key = _json({column: after[column] for column in table.key}) if table.key else None
    if change.kind == "INSERT":
        yield Expected("c", new_key, None, after, xid)
    elif old_key == new_key:
        yield Expected("u", new_key, before if table.full else None, after, xid)
    else:
        yield Expected("d", old_key, before, None, xid)
        yield Expected("tombstone", old_key, None, None, xid)
        yield Expected("c", new_key, None, after, xid)


def _apply(state: dict[Hashable, Row], table: Table, changes: Iterable[Change]) -> None:
    for change in changes:
        if change.table != table.name:
            continue
        if change.kind == "TRUNCATE":
            state.clear()
            continue
        gone: Row = {}
        if change.kind != "INSERT":
            gone = state.pop(_row_key(table, change.old or change.new or {}))
        if change.new is not None:
            row = {column: gone.get(column) if value is UNCHANGED else value for column, value in change.new.items()}
            state[_row_key(table, row)] = row


def _large_values(transactions: Iterable[Transaction], table: Table) -> set[tuple[str, str | None]]:
    """All that columns which may be stored out of line (text, so) ever held."""
    return {
        (column, value)
        for transaction in transactions
        for change in transaction.changes
        if change.table == table.name and change.new is not None
        for column, value in change.new.items()
        if value is None or isinstance(value, str)
    }


def _row_key(table: Table, row: Row) -> Hashable:
    return tuple(row[column] for column in table.key) if table.key else row["version"]


def _key(event: Event) -> str:
    return _json(event.key or {})


def _json(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def _place(event: Event) -> str:
    return f"{event.topic} [{event.partition}] at {event.offset}"
