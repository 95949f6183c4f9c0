"""What becomes of columns from description to description, and the statements that follow it, under each policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cdc.errors import SinkError
from cdc.schemas import Column, TableSchema
from cdc.sink import Event
from sinks.postgres.decode import Decoder
from sinks.postgres.history import history
from sinks.postgres.settings import SchemaPolicy
from sinks.postgres.tables import Existing, changes, text, wanted
from tests.sink_events import column, described, key, position, value

TOPIC = "shop.public.orders"
FOLLOW = SchemaPolicy()


def version(*columns: Column, pos: str = "", key: Sequence[str] = ("id",), oid: int = 7) -> TableSchema:
    return described(TOPIC, columns, key, pos=pos, oid=oid)


ID, NOTE, N = column("id", "bigint", attnum=1), column("note", "text", attnum=2), column("n", "integer", attnum=3)
REMARK = replace(NOTE, name="remark")
BEFORE = version(ID, NOTE, N)
RENAMED, DROPPED = version(ID, REMARK, N, pos=position(5)), version(ID, N, pos=position(5))
THERE = Existing(
    {"id": "bigint", "note": "text", "n": "integer", "_cdc_pos": "text"},
    frozenset({"id"}),
    frozenset({frozenset({"id"})}),
)


def test_a_column_of_the_same_number_was_renamed() -> None:
    found = history([BEFORE, RENAMED], FOLLOW)
    assert found.renamed == (("note", "remark"),)
    assert [names["note" if "note" in names else "remark"] for names in found.names] == ["remark", "remark"]


@pytest.mark.parametrize(
    "newest",
    [
        version(ID, REMARK, N, oid=8),  # another table of that name
        version(ID, replace(REMARK, attnum=4), N),
        version(ID, replace(REMARK, attnum=0), N),
    ],
)
def test_a_column_of_another_number_or_table_is_another_one(newest: TableSchema) -> None:
    found = history([BEFORE, newest], FOLLOW)
    assert (found.renamed, found.dropped) == ((), ("note",))


def statements(policy: SchemaPolicy, *versions: TableSchema, there: Existing = THERE) -> list[str]:
    return [text(one) for one in changes(wanted(versions, "public", None, False, policy), there)]


RENAME = 'ALTER TABLE "public"."orders" RENAME COLUMN "note" TO "remark"'
DROP = 'ALTER TABLE "public"."orders" DROP COLUMN "note"'


def test_a_rename_is_done_once() -> None:
    assert statements(FOLLOW, BEFORE, RENAMED) == [RENAME]
    renamed = Existing(
        {**{n: t for n, t in THERE.columns.items() if n != "note"}, "remark": "text"}, THERE.required, THERE.keys
    )
    assert statements(FOLLOW, BEFORE, RENAMED, there=renamed) == []


def test_a_new_column_may_have_the_name_of_a_renamed_one() -> None:
    again = version(ID, REMARK, N, column("note", "integer", attnum=4), pos=position(5))
    assert statements(FOLLOW, BEFORE, again) == [RENAME, 'ALTER TABLE "public"."orders" ADD COLUMN "note" integer']


def test_a_key_may_be_renamed() -> None:
    number = version(replace(ID, name="number"), NOTE, N, key=["number"], pos=position(5))
    assert statements(FOLLOW, BEFORE, number) == ['ALTER TABLE "public"."orders" RENAME COLUMN "id" TO "number"']


@pytest.mark.parametrize(
    ("policy", "newest", "done"),
    [
        ({"rename": "add"}, RENAMED, ['ALTER TABLE "public"."orders" ADD COLUMN "remark" text']),
        ({"drop": "keep"}, DROPPED, []),
        ({"drop": "apply"}, DROPPED, [DROP]),
    ],
)
def test_what_is_done_is_declared(policy: dict[str, str], newest: TableSchema, done: list[str]) -> None:
    assert statements(SchemaPolicy.model_validate(policy), BEFORE, newest) == done


@pytest.mark.parametrize(
    ("setting", "newest", "said"),
    [
        ("add", version(ID, NOTE, N, column("x", "text"), pos=position(5)), 'ADD COLUMN "x" text'),
        ("widen", version(ID, NOTE, replace(N, target_type="bigint"), pos=position(5)), 'COLUMN "n" TYPE bigint'),
        ("rename", RENAMED, RENAME),
        ("drop", DROPPED, DROP),
    ],
)
def test_stop_says_what_would_be_done(setting: str, newest: TableSchema, said: str) -> None:
    with pytest.raises(SinkError, match="schema_changes says stop") as stopped:
        statements(SchemaPolicy.model_validate({setting: "stop"}), BEFORE, newest)
    assert said in str(stopped.value)


@pytest.mark.parametrize("compiled", [True, False])
def test_older_events_have_their_values_where_the_columns_are_now(compiled: bool) -> None:
    number = version(replace(ID, name="number"), REMARK, pos=position(5), key=["number"])
    policy = SchemaPolicy(drop="apply")
    decoder = Decoder([BEFORE, number], history([BEFORE, number], policy).names, compiled=compiled)

    def event(offset: int, of: bytes, data: bytes | None) -> Event:
        return Event(TOPIC, 0, offset, of, data, 0)

    for offset in range(2):  # the second one by a plan, where there are some
        old = decoder.row(event(offset, key(id=1), value("c", {"id": 1, "note": "x", "n": 3}, position(2))))
        assert old is not None
        assert (old.columns, old.line) == (("number", "remark"), b"1\tx\t" + position(2).encode())
    new = decoder.row(event(2, key(number=2), value("c", {"number": 2, "remark": "y"}, position(6))))
    assert new is not None
    assert new.columns == ("number", "remark")
    for of in (key(id=1), key(number=1)):  # tombstones that have lost their deletes
        gone = decoder.row(event(3, of, None))
        assert gone is not None
        assert (gone.columns, gone.line) == (("number",), b"1\t~")
