"""The judge of the other tests is itself judged: nothing that may go wrong on a topic escapes it."""
# ruff: noqa: E501 - the witness writes long lines

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from cdc.prove.bank import miscounted, torn
from cdc.prove.bulk import Bulk
from cdc.prove.judge import Verdict, judge
from cdc.prove.observed import Event
from cdc.prove.truth import Transaction, parse
from cdc.prove.warehouse import Table

TABLES = (Table("public.t", ("id",)), Table("public.f", ("id",), full=True), Table("public.k", (), full=True))
TOPICS = {table.name: f"x.{table.name}" for table in TABLES}
START = 0x200

HISTORY = """
100 BEGIN 10
100 table public.t: INSERT: id[integer]:1 body[text]:'one' version[bigint]:1
100 table public.t: INSERT: id[integer]:2 body[text]:'it''s new-tuple: x[text]:''y''' version[bigint]:2
100 table public.t: INSERT: id[integer]:7 body[text]:'two
lines' version[bigint]:12
100 table public.f: INSERT: id[integer]:1 body[text]:'large' version[bigint]:3
100 table public.k: INSERT: body[text]:'k' version[bigint]:4
110 COMMIT 10
200 BEGIN 11
200 table public.t: UPDATE: id[integer]:1 body[text]:unchanged-toast-datum version[bigint]:5
201 table public.t: UPDATE: id[integer]:1 body[text]:'uno' version[bigint]:6
202 table public.f: UPDATE: old-key: id[integer]:1 body[text]:'large' version[bigint]:3 new-tuple: id[integer]:1 body[text]:unchanged-toast-datum version[bigint]:7
203 table public.k: UPDATE: old-key: body[text]:'k' version[bigint]:4 new-tuple: body[text]:null version[bigint]:8
210 COMMIT 11
220 BEGIN 13
220 table public.t: UPDATE: old-key: id[integer]:2 new-tuple: id[integer]:3 body[text]:unchanged-toast-datum version[bigint]:9
221 table public.t: DELETE: id[integer]:1
222 table public.t: INSERT: id[integer]:1 body[text]:null version[bigint]:10
223 table public.t: DELETE: id[integer]:1
224 table public.f: DELETE: id[integer]:1 body[text]:'large' version[bigint]:7
225 table public.k: DELETE: version[bigint]:8
226 table public.k: INSERT: body[text]:'again' version[bigint]:11
230 COMMIT 13
"""


def history() -> Any:
    types: dict[str, dict[str, str]] = {}
    transactions: list[Transaction] = []
    lines: list[str] = []
    for line in HISTORY.strip().splitlines():
        lsn, _, said = line.partition(" ") if line[0].isdigit() else ("", "", line)
        lines.append(f"{said}\n")
        if said.startswith("COMMIT"):
            transactions += parse(lines, {}, types, int(lsn, 16))
            lines = []
    return transactions, types


def event(
    table: str,
    key: int | None,
    op: str,
    xid: int,
    lsn: int,
    ordinal: int,
    *,
    before: Any = None,
    after: Any = None,
    **cdc: Any,
) -> Event:
    position = f"00000000/{lsn:08X}/{ordinal:010}"
    source = {"txId": xid}
    value = {"before": before, "after": after, "op": op, "source": source, "cdc": {"pos": position, **cdc}}
    return Event(f"x.{table}", 0, 0, None if key is None else {"id": key}, value, {})


def tombstone(table: str, key: int) -> Event:
    return Event(f"x.{table}", 0, 0, {"id": key}, None, {})


def row(body: str | None, version: int, key: int | None = None) -> dict[str, Any]:
    return {**({} if key is None else {"id": key}), "body": body, "version": version}


OLD_2 = {"id": 2, "body": None, "version": None}
OLD_1 = {"id": 1, "body": None, "version": None}
RIGHT = [
    event("public.t", 1, "r", 0, 0x200, 0, after=row("one", 1, 1)),
    event("public.t", 2, "r", 0, 0x200, 0, after=row("it's new-tuple: x[text]:'y'", 2, 2)),
    event("public.t", 1, "u", 11, 0x20A, 1, after={"id": 1, "version": 5}, unchanged=["body"], gone=True),
    event("public.t", 1, "u", 11, 0x20A, 2, after=row("uno", 6, 1)),
    event("public.t", 2, "d", 13, 0x22A, 1, before=OLD_2),
    tombstone("public.t", 2),
    event("public.t", 3, "c", 13, 0x22A, 1, after=row("it's new-tuple: x[text]:'y'", 9, 3), reselected=["body"]),
    event("public.t", 1, "d", 13, 0x22A, 2, before=OLD_1),
    tombstone("public.t", 1),
    event("public.t", 1, "c", 13, 0x22A, 3, after=row(None, 10, 1)),
    event("public.t", 1, "d", 13, 0x22A, 4, before=OLD_1),
    tombstone("public.t", 1),
    event("public.f", 1, "r", 0, 0x200, 0, after=row("large", 3, 1)),
    event("public.f", 1, "u", 11, 0x20A, 3, before=row("large", 3, 1), after=row("large", 7, 1)),
    event("public.f", 1, "d", 13, 0x22A, 5, before=row("large", 7, 1)),
    tombstone("public.f", 1),
    event("public.k", None, "r", 0, 0x200, 0, after=row("k", 4)),
    event("public.k", None, "u", 11, 0x20A, 4, before=row("k", 4), after=row(None, 8)),
    event("public.k", None, "d", 13, 0x22A, 6, before=row(None, 8)),
    event("public.k", None, "c", 13, 0x22A, 7, after=row("again", 11)),
    event("public.t", 7, "r", 0, 0x200, 0, after=row("two\nlines", 12, 7)),
]  # fmt: skip


def judged(events: list[Event]) -> Verdict:
    transactions, types = history()
    numbered = [replace(one, offset=offset) for offset, one in enumerate(events)]
    return judge(transactions, START, numbered, TABLES, types, TOPICS)


def faults(events: list[Event]) -> set[str]:
    return {kind for kind, found in judged(events).faults.items() if found}


def test_what_is_right_is_found_right() -> None:
    verdict = judged(RIGHT)
    assert verdict.exact, str(verdict)
    assert (verdict.streamed, verdict.read, verdict.reread) == (16, 5, 0)


@pytest.mark.parametrize("at", [at for at, one in enumerate(RIGHT) if one.op != "r" or one.key == {"id": 7}])
def test_a_lost_event_is_found(at: int) -> None:
    assert "lost" in faults(RIGHT[:at] + RIGHT[at + 1 :])


@pytest.mark.parametrize("at", range(len(RIGHT)))
@pytest.mark.parametrize("later", [1, 2, len(RIGHT)])
def test_a_doubled_event_is_found(at: int, later: int) -> None:
    assert "twice" in faults([*RIGHT[: at + later], RIGHT[at], *RIGHT[at + later :]])


@pytest.mark.parametrize("at", [at for at in range(2, 11) if RIGHT[at].key == RIGHT[at + 1].key])
def test_swapped_events_of_a_key_are_found(at: int) -> None:
    assert "disordered" in faults([*RIGHT[:at], RIGHT[at + 1], RIGHT[at], *RIGHT[at + 2 :]])


def test_a_snapshot_row_behind_a_newer_event_is_found() -> None:
    assert {"disordered", "altered"} & faults([*RIGHT[1:4], RIGHT[0], *RIGHT[4:]])


def test_a_key_in_two_partitions_is_found() -> None:
    assert faults([*RIGHT[:3], replace(RIGHT[3], partition=1), *RIGHT[4:]]) == {"disordered"}


@pytest.mark.parametrize(
    "phantom",
    [
        event("public.t", 9, "c", 12, 0x21A, 1, after=row("never committed", 99, 9)),
        event("public.t", 3, "u", 12, 0x21A, 1, after=row("never committed", 99, 3)),
        event("public.k", None, "c", 12, 0x21A, 1, after=row("never committed", 99)),
        event("public.t", 1, "c", 10, 0x10A, 1, after=row("one", 1, 1)),
        event("public.t", 9, "r", 0, 0x200, 0, after=row("never committed", 99, 9)),
        tombstone("public.t", 9),
        replace(tombstone("public.t", 9), topic="x.public.other"),
    ],
)
def test_an_event_that_nobody_committed_is_found(phantom: Event) -> None:
    assert "phantom" in faults([*RIGHT, phantom])


def test_every_other_value_is_found() -> None:
    for at, right in enumerate(RIGHT):
        for member in ("before", "after"):
            for column in (right.value or {}).get(member) or {}:
                # Of an old tuple of the key alone the other columns say nothing.
                if member == "before" and right.topic == "x.public.t" and column != "id":
                    continue
                wrong = copy.deepcopy(right)
                assert wrong.value is not None
                wrong.value[member][column] = "another" if column == "body" else 77
                assert faults([*RIGHT[:at], wrong, *RIGHT[at + 1 :]]), (right, column)


def test_a_placeholder_for_an_unchanged_value_is_found() -> None:
    assert faults([*RIGHT[:2], event("public.t", 1, "u", 11, 0x20A, 1, after=row(None, 5, 1)), *RIGHT[3:]]) == {
        "altered"
    }


@pytest.mark.parametrize("at", [at for at, one in enumerate(RIGHT) if one.op == "r" and one.key != {"id": 7}])
def test_a_row_that_changed_since_need_not_be_in_the_snapshot(at: int) -> None:
    assert not faults(RIGHT[:at] + RIGHT[at + 1 :])


def test_rows_of_a_snapshot_may_come_behind_newer_events_of_other_keys() -> None:
    assert not faults([*RIGHT[:1], *RIGHT[2:4], RIGHT[1], *RIGHT[4:]])


def test_a_snapshot_that_was_cut_goes_on_as_of_a_later_lsn() -> None:
    again = event("public.t", 2, "r", 0, 0x210, 0, after=RIGHT[1].value["after"] if RIGHT[1].value else {})
    newer = event("public.t", 1, "r", 0, 0x210, 0, after=row("uno", 6, 1))
    verdict = judged([RIGHT[1], *RIGHT[2:4], newer, again, *RIGHT[4:]])
    assert verdict.exact, str(verdict)
    assert verdict.reread == 1


def test_a_snapshot_row_of_another_lsn_is_found() -> None:
    stale = event("public.t", 1, "r", 0, 0x210, 0, after=row("one", 1, 1))
    assert faults([*RIGHT[1:4], stale, *RIGHT[4:]]) == {"altered"}


def test_changes_from_before_the_start_are_snapshotted_not_streamed() -> None:
    transactions, types = history()
    verdict = judge(transactions, 0x220, RIGHT, TABLES, types, TOPICS)
    assert verdict.faults["phantom"]


EMPTIED = """
BEGIN 20
table public.t: INSERT: id[integer]:1 body[text]:'gone' version[bigint]:1
COMMIT 20
BEGIN 21
table public.f, public.t: TRUNCATE: (no-flags)
table public.t: INSERT: id[integer]:2 body[text]:'after' version[bigint]:2
COMMIT 21
"""
TRUNCATES = [
    event("public.t", 1, "r", 0, 0x100, 0, after=row("gone", 1, 1)),
    event("public.t", None, "t", 21, 0x20A, 1),
    replace(event("public.t", None, "t", 21, 0x20A, 1), partition=1),
    event("public.t", 2, "c", 21, 0x20A, 2, after=row("after", 2, 2)),
]


def truncate_faults(events: list[Event]) -> set[str]:
    types: dict[str, dict[str, str]] = {}
    first, second = EMPTIED.strip().split("COMMIT 20\n")
    transactions = [
        *parse((first + "COMMIT 20").splitlines(keepends=True), {}, types, 0x100),
        *parse(second.splitlines(keepends=True), {}, types, 0x210),
    ]
    verdict = judge(transactions, 0x100, events, TABLES[:1], types, TOPICS, partitions=2)
    return {kind for kind, found in verdict.faults.items() if found}


def test_a_truncate_is_once_on_every_partition() -> None:
    assert not truncate_faults(TRUNCATES)
    assert not truncate_faults(TRUNCATES[1:]), "a row that was truncated away need not be read"
    assert truncate_faults(TRUNCATES[:2] + TRUNCATES[3:]) == {"lost"}
    assert truncate_faults([*TRUNCATES[:3], TRUNCATES[1], TRUNCATES[3]]) == {"twice"}


def test_a_row_from_before_a_truncate_that_comes_after_it_is_found() -> None:
    assert truncate_faults([*TRUNCATES[1:], TRUNCATES[0]]) >= {"disordered", "phantom"}


def account(number: int, op: str, lsn: int, ordinal: int, balance: int, moves: int) -> Event:
    after = {"id": number, "balance": balance, "moves": moves}
    return event("public.vault", number, op, 0, lsn, ordinal, after=after)


MOVES = [
    account(1, "r", 0x100, 0, 1000, 0),
    account(2, "r", 0x100, 0, 1000, 0),
    account(1, "u", 0x200, 1, 900, 1),
    account(2, "u", 0x200, 2, 1100, 1),
    account(2, "u", 0x300, 1, 1600, 2),
    account(1, "u", 0x300, 2, 400, 2),
]


def test_money_that_is_there_after_each_transaction_is_right() -> None:
    assert not [*torn(MOVES), *miscounted(MOVES)]
    later = account(2, "r", 0x250, 0, 1100, 1)
    beside_the_stream = [MOVES[0], MOVES[2], later, *MOVES[4:]]
    assert not [*torn(beside_the_stream), *miscounted(beside_the_stream)]
    left_out_of_the_snapshot = [MOVES[0], *MOVES[2:]]
    assert not [*torn(left_out_of_the_snapshot), *miscounted(left_out_of_the_snapshot)]


@pytest.mark.parametrize("at", range(2, len(MOVES)))
def test_a_torn_transaction_is_found(at: int) -> None:
    assert [*torn(MOVES[:at] + MOVES[at + 1 :])]


@pytest.mark.parametrize("at", [2, 3])
def test_a_move_that_is_left_out_is_found(at: int) -> None:
    assert [*miscounted(MOVES[:at] + MOVES[at + 1 :])]


def bulk_faults(events: list[Event]) -> set[str]:
    bulk = Bulk()
    for number in (1, 2, 3):
        bulk.committed(9, f"table public.bulk: INSERT: id[bigint]:{number} what[text]:'it''s {number}'")
    for one in events:
        bulk.event(one)
    return {kind for kind, _ in bulk.faults()}


def test_rows_judged_by_their_digest_are_judged_too() -> None:
    right = [event("public.bulk", n, "c", 9, 0x200, n, after={"id": n, "what": f"it's {n}"}) for n in (1, 2, 3)]
    assert not bulk_faults(right)
    assert bulk_faults(right[:2]) == {"lost"}
    assert bulk_faults([*right, right[2]]) == {"twice"}
    assert bulk_faults([right[0], right[2], right[1]]) == {"disordered"}
    assert bulk_faults([*right, event("public.bulk", 4, "c", 9, 0x200, 4, after={"id": 4, "what": "x"})]) == {"phantom"}
    assert bulk_faults([*right[:2], event("public.bulk", 3, "c", 9, 0x200, 3, after={"id": 3, "what": "?"})]) == {
        "altered"
    }
