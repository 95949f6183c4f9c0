"""Batches from the stream: ordinals, what is skipped after a restart, and where it is held."""

from __future__ import annotations

import struct
from dataclasses import replace

import orjson
import pytest

from cdc.formats.debezium_json import SourceInfo
from cdc.formats.debezium_records import RecordFormat
from cdc.formats.handling import Handling, Style
from cdc.formats.postgres.encode_cy import RowEncoder
from cdc.formats.postgres.plan import plan_table
from cdc.formats.postgres.relation import Relation
from connectors.postgres_wal.beside import Beside
from connectors.postgres_wal.descriptions import Descriptions
from connectors.postgres_wal.options import BatchSettings, TableOptions
from connectors.postgres_wal.position import Origin, WalPosition, from_stored
from connectors.postgres_wal.tables import PlannedTable, When
from connectors.postgres_wal.transactions import Transactions
from tests.unit.row_messages import TYPES, UNCHANGED, column, insert, relation, update

RELATION = relation(column("id", "int4", key=True), column("note", "text"))
ORIGIN = Origin("7000", 1, "slot", "publication", 16)
SCHEMAS = "shop.cdc.schemas"
START = WalPosition(ORIGIN, commit_lsn=100, ordinal=0, whole=False, end_lsn=100)


NOTHING_BESIDE = Beside(RecordFormat(SourceInfo("shop", "db", "0")))


def known(table: str, description: bytes) -> bool:
    return False


def planned(
    relation: Relation, *, fan_out: bool = False, reselect: When = "never", skipped: frozenset[str] = frozenset()
) -> PlannedTable:
    plan = plan_table(
        relation,
        TYPES,
        options=TableOptions(),
        key_columns=["id"],
        topic="shop.public.t",
        source=SourceInfo("shop", "db", "0"),
        handling=Handling(),
        mask_key=None,
        style=Style(skipped=skipped),
    )
    encoder = RowEncoder(plan)
    return PlannedTable(plan, encoder, lambda: encoder, relation, reselect=reselect, fan_out=fan_out, append=False)


def xlog(message: bytes, lsn: int = 0) -> bytes:
    return struct.pack("!BQQq", ord("w"), lsn, lsn, 0) + message


def begin(final_lsn: int) -> bytes:
    return xlog(b"B" + struct.pack("!QqI", final_lsn, 0, final_lsn))


def commit(lsn: int, end_lsn: int) -> bytes:
    return xlog(b"C" + struct.pack("!BQQq", 0, lsn, end_lsn, 0))


def relation_message() -> bytes:
    columns = b"".join(
        struct.pack("!B", one.in_key) + one.name.encode() + b"\0" + struct.pack("!Ii", one.type_oid, one.type_modifier)
        for one in RELATION.columns
    )
    return xlog(b"R" + struct.pack("!I", RELATION.oid) + b"public\0t\0d" + struct.pack("!H", 2) + columns)


def truncate() -> bytes:
    return xlog(b"T" + struct.pack("!IBI", 1, 0, RELATION.oid))


def transactions(
    start: WalPosition = START,
    *,
    rows: int = 1000,
    fan_out: bool = False,
    reselect: When = "never",
    beside: Beside = NOTHING_BESIDE,
    descriptions: Descriptions | None = None,
) -> Transactions:
    def plan(one: Relation) -> PlannedTable:
        return planned(one, fan_out=fan_out, reselect=reselect)

    made = Transactions(start, plan, BatchSettings(rows=rows), descriptions or Descriptions(SCHEMAS, known), beside)
    made.feed(relation_message())
    return made


def feed(into: Transactions, commit_lsn: int, ids: range, *, whole: bool = True) -> list[bool]:
    """One transaction of inserts; its commit record ends ten bytes behind its start."""
    looks = [into.feed(begin(commit_lsn))]
    looks += [into.feed(xlog(insert([str(number), "n"]), commit_lsn - 5)) for number in ids]
    if whole:
        looks.append(into.feed(commit(commit_lsn, commit_lsn + 10)))
    return looks


def events(of: Transactions) -> list[tuple[int, str]]:
    """(id, cdc.pos) of the events, without the table's description."""
    values = [orjson.loads(record[2] or b"") for record in of.records if record[0] == "shop.public.t"]
    return [(value["after"]["id"], value["cdc"]["pos"]) for value in values]


def test_rows_are_numbered_within_their_transaction() -> None:
    stream = transactions()
    feed(stream, 200, range(1, 3))
    feed(stream, 300, range(3, 4))
    assert events(stream) == [
        (1, "00000000/000000C8/0000000001"),
        (2, "00000000/000000C8/0000000002"),
        (3, "00000000/0000012C/0000000001"),
    ]
    assert stream.position == WalPosition(ORIGIN, 300, 1, whole=True, end_lsn=310, last_commit=310)


def test_the_description_of_a_table_precedes_its_first_event_once() -> None:
    stream = transactions()
    feed(stream, 200, range(1, 3))
    assert [record[0] for record in stream.records] == ["shop.cdc.schemas", "shop.public.t", "shop.public.t"]
    assert [topic.topic for topic in stream.topics] == ["shop.public.t"]
    stream.clear()
    feed(stream, 300, range(3, 4))
    assert [record[0] for record in stream.records] == ["shop.public.t"]


def test_a_batch_inside_a_transaction_does_not_confirm_it() -> None:
    stream = transactions()
    feed(stream, 200, range(1, 4), whole=False)
    assert stream.position == WalPosition(ORIGIN, 200, 3, whole=False, end_lsn=100, last_commit=0)


@pytest.mark.parametrize(("message", "waits"), [(insert(["1", UNCHANGED]), 1), (update(["1", UNCHANGED]), 0)])
def test_an_insert_that_lacks_values_is_of_a_row_that_a_filter_let_in(message: bytes, waits: int) -> None:
    stream = transactions(reselect="key_change")
    stream.feed(begin(200))
    stream.feed(xlog(message, 195))
    assert len(stream.pending) == waits


@pytest.mark.parametrize("delivered", [0, 1, 2, 3])
def test_a_restart_inside_a_transaction_goes_on_behind_the_row_delivered_last(delivered: int) -> None:
    first = transactions()
    feed(first, 200, range(1, 1 + delivered), whole=False)
    again = transactions(from_stored(first.position.stored()))
    feed(again, 200, range(1, 4))
    assert [number for number, _ in events(first) + events(again)] == [1, 2, 3]
    assert again.position.whole
    assert again.position.end_lsn == 210


def test_a_whole_transaction_that_is_sent_again_is_skipped() -> None:
    first = transactions()
    feed(first, 200, range(1, 3))
    again = transactions(first.position)
    feed(again, 200, range(1, 3))
    assert events(again) == []
    assert again.position == first.position
    feed(again, 300, range(3, 4))
    assert [number for number, _ in events(again)] == [3]


def test_rows_of_tables_that_are_not_captured_count() -> None:
    stream = Transactions(START, lambda _: None, BatchSettings(), Descriptions(SCHEMAS, known), NOTHING_BESIDE)
    stream.feed(relation_message())
    feed(stream, 200, range(1, 4), whole=False)
    assert stream.records == []
    assert stream.position.ordinal == 3


def test_the_snapshots_own_lsn_is_before_a_transaction_that_commits_there() -> None:
    stream = transactions(replace(START, commit_lsn=200, end_lsn=200))
    feed(stream, 200, range(1, 2))
    assert [number for number, _ in events(stream)] == [1]


def test_a_full_batch_asks_to_be_looked_at() -> None:
    assert feed(transactions(rows=3), 200, range(1, 4), whole=False) == [False, False, True, True]


def test_a_hold_stops_before_the_first_transaction_at_its_lsn_and_goes_on_with_it() -> None:
    stream = transactions()
    stream.hold(300)
    feed(stream, 290, range(1, 2))
    assert not stream.held
    assert stream.feed(begin(300))
    assert stream.held
    assert not stream.open
    stream.resume()
    assert stream.open
    stream.feed(xlog(insert(["2", "n"])))
    assert [number for number, _ in events(stream)] == [1, 2]


def test_an_idle_source_moves_what_may_be_confirmed_and_nothing_else() -> None:
    stream = transactions()
    feed(stream, 200, range(1, 2))
    stream.idle(500)
    assert stream.position == WalPosition(ORIGIN, 200, 1, whole=True, end_lsn=500, last_commit=210)
    stream.idle(400)
    assert stream.position.end_lsn == 500


@pytest.mark.parametrize("fan_out", [False, True])
def test_a_truncate_is_counted_and_published_only_if_asked(fan_out: bool) -> None:
    stream = transactions(fan_out=fan_out)
    stream.feed(begin(200))
    stream.feed(truncate())
    assert stream.position.ordinal == 1
    published = [orjson.loads(r[2] or b"")["op"] for r in stream.records if r[0] == "shop.public.t"]
    assert published == (["t"] if fan_out else [])


@pytest.mark.parametrize("skipped", ["", "d"])
def test_a_create_of_a_changed_key_is_read_again_even_if_it_is_the_only_record_of_the_row(skipped: str) -> None:
    table = planned(RELATION, reselect="key_change", skipped=frozenset(skipped))
    stream = Transactions(START, lambda one: table, BatchSettings(), Descriptions(SCHEMAS, known), NOTHING_BESIDE)
    stream.feed(relation_message())
    stream.feed(begin(200))
    stream.feed(xlog(update(["1", UNCHANGED])))
    assert not stream.pending
    stream.feed(xlog(update(["2", UNCHANGED], key=["1", None])))
    (row,) = stream.pending
    assert row.count == (1 if skipped else 3)
