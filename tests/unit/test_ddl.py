"""DDL of the stream: whose is told, in order, exactly once wherever a kill came; and what is not of the triggers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from cdc.event import Record
from cdc.patterns import matching
from cdc.schemas import ChangedTable, Statement, TableSchema, read
from connectors.postgres_wal.ddl import PREFIX, TABLES, TEXT_BYTES, statements
from connectors.postgres_wal.descriptions import Descriptions
from connectors.postgres_wal.position import WalPosition
from connectors.postgres_wal.transactions import Transactions
from tests.unit.test_beside import again, beside, message, row
from tests.unit.test_beside import told as others
from tests.unit.test_transactions import SCHEMAS, START, begin, commit, known, transactions

PLACE = {"position": "00000000/000000C8/0000000001", "number": 1, "lsn": 0x10000A0, "ts_ms": 1000}


def captures(table: str, partition: bool) -> bool:
    return bool(matching(["public.*"], table)) and not partition


def table(now: str | None, before: str | None = None, *, oid: int = 7, partition: bool | None = None) -> dict[str, Any]:
    def full(name: str | None) -> list[str] | None:
        return None if name is None else name.split(".")

    return {"oid": oid, "partition": partition, "before": full(before), "now": full(now)}


def told(text: str | None, *tables: dict[str, Any], **other: Any) -> str:
    """As the function in the source writes it."""
    return json.dumps({"command": "ALTER TABLE", "tables": tables, "text": text, "cut": False, **other})


def found(content: str) -> list[Statement]:
    return statements(content.encode(), captures, position="p", number=1, lsn=16, ts_ms=1)


@pytest.mark.parametrize(
    ("changed", "published"),
    [
        (table("public.t", "public.t"), True),
        (table("public.t"), True),
        (table(None, "public.t"), True),
        (table("public.t", "other.t"), True),
        (table("other.t", "public.t"), True),
        (table("other.t", "other.t"), False),
        (table("public.t", "public.t", partition=True), False),
        (table("public.t", "public.t", partition=False), True),
    ],
)
def test_ddl_of_captured_tables_is_told_by_either_name(changed: dict[str, Any], published: bool) -> None:
    assert bool(found(told("DDL", changed))) is published


def test_of_a_statement_only_captured_tables_are_named() -> None:
    (one,) = found(told("DROP", table(None, "public.a"), table(None, "other.b"), table(None, "public.c", oid=9)))
    assert one.tables == (ChangedTable(None, "public.a", 7), ChangedTable(None, "public.c", 9))


def test_a_long_text_is_cut_between_characters_and_marked() -> None:
    fits, over = "é" * (TEXT_BYTES // 2), "x" + "é" * (TEXT_BYTES // 2)
    assert [(one.ddl, one.cut) for one in found(told(fits, table("public.t")))] == [(fits, False)]
    (cut,) = found(told(over, table("public.t")))
    assert (cut.ddl, cut.cut) == (over[:-1], True)
    assert found(told("begin", table("public.t"), cut=True))[0].cut


def test_very_many_tables_are_told_in_several_records_with_keys_of_their_own() -> None:
    made = found(told("DROP SCHEMA public", *(table(None, f"public.t{n}", oid=n) for n in range(TABLES + 1))))
    assert [len(one.tables) for one in made] == [TABLES, 1]
    assert [one.key for one in made] == [b"ddl@p+1@public.t0", b"ddl@p+1@public.t%d" % TABLES]


def test_a_statement_is_read_as_it_was_written_and_is_no_description() -> None:
    (one,) = found(told("DDL", table("public.t", "public.u")))
    assert read(one.to_bytes()) == one
    with pytest.raises(ValueError, match="not a table description"):
        TableSchema.from_bytes(one.to_bytes())


LONG = "n" * 1000
WRONG = [
    "",
    "null",
    "[]",
    "{",
    '"text"',
    "\ud800",
    told("DDL", table("public.t"))[:-5],
    told("DDL", {"oid": "x", "partition": None, "before": None, "now": None}),
    told("DDL", {**table("public.t"), "now": ["public"]}),
    told("DDL", {**table("public.t"), "oid": 2**40}),
    told("DDL", table(f"public.{LONG}")),
    told("DDL", table("public.t"), command=LONG),
    told(None, table("public.t")),
    told("\ud800", table("public.t")),
    told("DDL", table("public.\ud800")),
    json.dumps({"command": "ALTER TABLE"}),
]


@pytest.mark.parametrize("content", WRONG)
def test_what_is_not_of_the_triggers_stops_nothing(content: str) -> None:
    described = Descriptions(SCHEMAS, known, captures=captures)
    assert described.of_ddl(content.encode(errors="surrogatepass"), **PLACE) == []  # type: ignore[arg-type]
    assert described.of_ddl(told("DDL", table("public.t")).encode(), **PLACE)  # type: ignore[arg-type]


def statement(text: str, lsn: int, name: str = "public.t") -> bytes:
    return message(told(text, table(name, name)), lsn, prefix=PREFIX)


STREAM = [
    begin(200),
    statement("first", 160),
    message("m1", 164),
    row(1, 168),
    statement("second", 172),
    message("m2", 174),
    message("", 175, prefix=PREFIX),
    statement("third", 176),
    statement("of another", 178, "other.t"),
    row(2, 180),
    row(3, 184),
    statement("last", 188),
    commit(200, 210),
    begin(300),
    statement("alone", 250),
    commit(300, 310),
]
EVERYTHING = ["first", "m1", 1, "second", "m2", "third", 2, 3, "last", "alone"]


def stream(start: WalPosition = START, *, metadata: bool = False) -> Transactions:
    described = Descriptions(SCHEMAS, known, captures=captures)
    return transactions(start, beside=beside(metadata=metadata), descriptions=described)


def run(into: Transactions, fed: Sequence[bytes]) -> list[Record]:
    for one in fed:
        into.feed(one)
    return list(into.records)


def order(records: Sequence[Record]) -> list[object]:
    """Texts of DDL, messages by their content and rows by their id, in order."""
    ordered: list[object] = []
    for record in records:
        if record[0] == SCHEMAS:
            value = read(record[2] or b"")
            ordered += [value.ddl] if isinstance(value, Statement) else []
        else:
            ordered += others([record])
    return ordered


def test_ddl_is_told_in_order_with_rows_and_is_no_message() -> None:
    assert order(run(stream(), STREAM)) == EVERYTHING


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
@pytest.mark.parametrize("metadata", [False, True])
def test_a_kill_anywhere_repeats_no_ddl_and_loses_none(cut: int, metadata: bool) -> None:
    whole, first = stream(metadata=metadata), stream(metadata=metadata)
    expected, before = run(whole, STREAM), run(first, STREAM[:cut])
    second = stream(again(first.position), metadata=metadata)
    after = run(second, STREAM)
    assert order([*before, *after]) == order(expected)
    assert second.position == whole.position
    keys = [record[1] for record in (*before, *after) if (record[1] or b"").startswith(b"ddl@")]
    assert keys == [record[1] for record in expected if (record[1] or b"").startswith(b"ddl@")]
    assert len(set(keys)) == 5, "each is kept"


def test_the_place_of_ddl_is_behind_a_row_and_orders_it() -> None:
    said = [read(record[2] or b"") for record in run(stream(), STREAM) if record[0] == SCHEMAS]
    places = [(one.position[-10:], one.number, one.lsn) for one in said if isinstance(one, Statement)]
    assert places == [
        ("0000000000", 1, "0/A0"),
        ("0000000001", 1, "0/AC"),
        ("0000000001", 3, "0/B0"),
        ("0000000003", 1, "0/BC"),
        ("0000000000", 1, "0/FA"),
    ]


@pytest.mark.parametrize("asked", [False, True])
def test_a_transaction_of_messages_alone_begins_and_ends_for_who_asks_for_them(asked: bool) -> None:
    wanted = beside(metadata=True) if asked else beside(metadata=True, messages=None)
    made = run(transactions(beside=wanted), [begin(200), message("m", 160), statement("s", 168), commit(200, 210)])
    ends = [orjson.loads(value or b"")["status"] for topic, _, value, *_ in made if topic == "shop.transaction"]
    assert ends == (["BEGIN", "END"] if asked else [])
