"""The sink `postgres` on real servers: what a batch does to the target, and what it can never do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from cdc.errors import NotOwner, RowRefused, SinkError, TargetUnavailable
from cdc.schemas import Column, TableSchema
from cdc.sink import Event, EventBatch, TopicFacts
from cdc.testing.system import wait_for
from sinks.postgres import offsets
from sinks.postgres.settings import PostgresSinkSettings
from sinks.postgres.sink import PostgresSink
from tests.databases import Database
from tests.sink_events import column, described, key, position, value

ORDERS = "shop.public.orders"
FACTS = TopicFacts("first", 3)
COLUMNS = (column("id", "bigint"), column("note", "text"), column("amount", "numeric(12,2)"))


@dataclass
class Described:
    """Stands for the schemas topic."""

    by_topic: dict[str, list[TableSchema]] = field(default_factory=dict)

    def add(self, columns: Sequence[Column], *, topic: str = ORDERS, **more: Any) -> None:
        self.by_topic.setdefault(topic, []).append(described(topic, columns, **more))

    def refresh(self) -> bool:
        return False

    def versions(self, topic: str) -> Sequence[TableSchema]:
        return tuple(self.by_topic.get(topic, ()))

    def close(self) -> None: ...


class Line:
    """Events of a topic, and a member that applies them."""

    def __init__(self, database: Database, schemas: Described, **section: Any) -> None:
        self.database = database
        self.section = PostgresSinkSettings(database="target", topics=["shop.*"], **section)
        self.schemas = schemas
        self.sink = self.member()
        self._offsets: dict[tuple[str, int], int] = {}

    def member(self) -> PostgresSink:
        """Another member of the group, on a connection of its own."""

        def connect() -> psycopg.Connection[Any]:
            return self.database.connect(application_name=offsets.APPLICATION)

        return PostgresSink(self.section, "shop.billing", connect, "the target", self.schemas)

    def own(self, *partitions: int, sink: PostgresSink | None = None, topic: str = ORDERS) -> dict[Any, Any]:
        held = (sink or self.sink).own({(topic, partition) for partition in partitions or (0,)}, {topic: FACTS})
        return {partition: each.next_offset for partition, each in held.items()}

    def event(self, of: bytes | None, data: bytes | None, *, partition: int = 0, topic: str = ORDERS) -> Event:
        offset = self._offsets.get((topic, partition), 0)
        self._offsets[topic, partition] = offset + 1
        return Event(topic, partition, offset, of, data, 1_795_396_579_909)

    def put(self, lsn: int, op: str = "c", *, partition: int = 0, unchanged: Sequence[str] = (), **row: Any) -> Event:
        data = value(op, row, position(lsn), unchanged=unchanged)
        return self.event(key(id=row["id"]), data, partition=partition)

    def drop(self, lsn: int, id: Any, *, partition: int = 0) -> list[Event]:
        data = value("d", None, position(lsn), before={"id": id})
        of = key(id=id)
        return [self.event(of, data, partition=partition), self.event(of, None, partition=partition)]

    def truncated(self, lsn: int, *, partition: int = 0) -> Event:
        return self.event(None, value("t", None, position(lsn)), partition=partition)

    def apply(self, *events: Event, sink: PostgresSink | None = None) -> None:
        (sink or self.sink).apply(batch(*events))

    def rows(self, query: str = "SELECT id, note, amount::text FROM orders ORDER BY id") -> list[tuple[Any, ...]]:
        with self.database.connect() as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


def batch(*events: Event) -> EventBatch:
    return EventBatch(list(events), {(e.topic, e.partition): e.offset + 1 for e in events})


MakeLine = Callable[..., Line]


@pytest.fixture
def line(database: Database) -> Iterator[MakeLine]:
    """Makes a line: `orders` described, partition 0 owned."""
    with ExitStack() as stack:

        def make(*columns: Column, owned: Sequence[int] = (0,), keys: Sequence[str] = ("id",), **section: Any) -> Line:
            schemas = Described()
            schemas.add(columns or COLUMNS, key=keys)
            made = Line(database, schemas, **section)
            stack.callback(made.sink.close)
            made.own(*owned)
            return made

        yield make


# What events do


def test_the_table_is_made_with_the_sources_types_and_rows_are_put(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1.50"), orders.put(2, id=2, note=None, amount=None))
    orders.apply(orders.put(3, "u", id=1, note="uno", amount="2.50"))
    assert orders.rows() == [(1, "uno", "2.50"), (2, None, None)]
    assert orders.rows(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'orders'::regclass AND attnum > 0 ORDER BY attnum"
    ) == [("id", "bigint"), ("note", "text"), ("amount", "numeric(12,2)"), ("_cdc_pos", "text")]


def test_a_delete_is_applied(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1"), orders.put(2, id=2, note="two", amount="2"))
    orders.apply(*orders.drop(3, 1))
    assert orders.rows() == [(2, "two", "2.00")]


def test_a_tombstone_whose_delete_was_compacted_away_deletes(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1"))
    orders.apply(orders.event(key(id=1), None))
    assert orders.rows() == []


def test_a_delete_may_be_marked_instead_and_the_row_come_back(line: MakeLine) -> None:
    orders = line(deletes="mark")
    orders.apply(orders.put(1, id=1, note="one", amount="1"))
    orders.apply(*orders.drop(2, 1))
    query = "SELECT id, note, _cdc_deleted FROM orders"
    assert orders.rows(query) == [(1, "one", True)]
    orders.apply(orders.put(1, id=1, note="late", amount="1"))
    assert orders.rows(query) == [(1, "one", True)]
    orders.apply(orders.put(3, id=1, note="again", amount="1"))
    assert orders.rows(query) == [(1, "again", False)]


def test_a_changed_key_leaves_no_ghost(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="moves", amount="1"))
    orders.apply(*orders.drop(2, 1), orders.put(2, id=9, note="moves", amount="1"))
    assert orders.rows() == [(9, "moves", "1.00")]


@pytest.mark.parametrize("create_first", [True, False])
def test_a_changed_key_leaves_no_ghost_across_partitions(line: MakeLine, create_first: bool) -> None:
    orders = line(owned=(0, 1))
    orders.apply(orders.put(1, id=1, note="moves", amount="1", partition=0))
    halves = [[orders.put(2, id=9, note="moves", amount="1", partition=1)], orders.drop(2, 1, partition=0)]
    for half in halves if create_first else reversed(halves):
        orders.apply(*half)
    assert orders.rows() == [(9, "moves", "1.00")]


def test_keys_that_swap_across_partitions_end_as_in_the_source(line: MakeLine) -> None:
    """1 → 2 needs that 2 → 3 came first; partition 1 is read long after partition 0."""
    orders = line(owned=(0, 1))
    orders.apply(orders.put(1, id=1, note="a", amount="1", partition=0))
    orders.apply(orders.put(1, id=2, note="b", amount="1", partition=1))
    orders.apply(*orders.drop(3, 1, partition=0), orders.put(2, id=3, note="b", amount="1", partition=0))
    assert (2, "b", "1.00") in orders.rows()
    orders.apply(*orders.drop(2, 2, partition=1), orders.put(3, id=2, note="a", amount="1", partition=1))
    assert orders.rows() == [(2, "a", "1.00"), (3, "b", "1.00")]


@pytest.mark.parametrize("create_first", [True, False])
def test_two_spellings_of_a_key_are_one_row(line: MakeLine, create_first: bool) -> None:
    """numeric 1.0 → 1.00 is a key change on Kafka and none in PostgreSQL."""
    orders = line(column("id", "numeric"), column("note", "text"), owned=(0, 1))
    orders.apply(orders.put(1, id="1.0", note="moves", partition=0))
    halves = [[orders.put(2, id="1.00", note="moved", partition=1)], orders.drop(2, "1.0", partition=0)]
    for half in halves if create_first else reversed(halves):
        orders.apply(*half)
    assert orders.rows("SELECT id::text, note FROM orders") == [("1.00", "moved")]


def test_two_spellings_of_a_key_in_one_batch_are_applied_in_order(line: MakeLine) -> None:
    orders = line(column("id", "numeric"), column("note", "text"))
    orders.apply(orders.put(1, id="1.0", note="first"), orders.put(2, id="1.00", note="second"))
    assert orders.rows("SELECT note FROM orders") == [("second",)]


def test_unchanged_columns_keep_their_values(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="large", amount="1"))
    orders.apply(orders.put(2, "u", id=1, amount="2", unchanged=["note"]))
    assert orders.rows() == [(1, "large", "2.00")]


def test_unchanged_columns_come_from_the_same_batch_too(line: MakeLine) -> None:
    orders = line()
    orders.apply(
        orders.put(1, id=1, note="large", amount="1"), orders.put(2, "u", id=1, amount="2", unchanged=["note"])
    )
    assert orders.rows() == [(1, "large", "2.00")]


def test_unchanged_columns_of_a_row_that_is_not_there_are_refused(line: MakeLine) -> None:
    orders = line()
    with pytest.raises(RowRefused, match="leaves out unchanged columns, and the target does not have the row"):
        orders.apply(orders.put(2, "u", id=1, amount="2", unchanged=["note"]))
    assert orders.rows() == []


def test_a_row_that_was_gone_when_it_was_looked_for_may_be_missing(line: MakeLine) -> None:
    orders = line()
    gone = value("u", {"id": 1, "amount": "2"}, position(2), unchanged=["note"], gone=True)
    orders.apply(orders.event(key(id=1), gone))
    assert orders.rows() == []


def test_nothing_older_wins(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(9, id=1, note="new", amount="9"))
    orders.apply(orders.put(3, "u", id=1, note="old", amount="3"))
    orders.apply(orders.put(4, "u", id=1, amount="4", unchanged=["note"]))
    orders.apply(*orders.drop(5, 1)[:1])
    assert orders.rows() == [(1, "new", "9.00")]


def test_a_table_without_key_gets_every_event_once(line: MakeLine) -> None:
    orders = line(column("note", "text"), keys=())
    rows = [orders.event(None, value("c", {"note": "same"}, position(lsn))) for lsn in (1, 2)]
    orders.apply(*rows, orders.event(None, value("d", None, position(3), before={"note": "same"})))
    assert orders.rows("SELECT note, _cdc_op FROM orders ORDER BY _cdc_pos") == [
        ("same", "c"),
        ("same", "c"),
        ("same", "d"),
    ]


# Truncate


def test_a_truncate_takes_what_is_older_and_nothing_newer(line: MakeLine) -> None:
    orders = line(owned=(0, 1))
    orders.apply(orders.put(1, id=1, note="old", amount="1"), orders.put(9, id=2, note="new", amount="2", partition=1))
    orders.apply(orders.truncated(5), orders.put(6, id=3, note="after", amount="3"))
    assert orders.rows() == [(2, "new", "2.00"), (3, "after", "3.00")]


def test_what_another_partition_still_holds_from_before_a_truncate_stays_away(line: MakeLine) -> None:
    orders = line(owned=(0, 1))
    orders.apply(orders.truncated(5))
    late = orders.put(3, id=1, note="old", amount="1", partition=1), orders.truncated(5, partition=1)
    orders.apply(*late, orders.put(7, id=2, note="new", amount="2", partition=1))
    assert orders.rows() == [(2, "new", "2.00")]


def test_a_partition_first_seen_after_a_truncate_knows_of_it(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.truncated(5))
    orders.own(1)
    orders.apply(orders.put(3, id=1, note="old", amount="1", partition=1))
    assert orders.rows() == []


def test_truncated_rows_may_be_marked(line: MakeLine) -> None:
    orders = line(deletes="mark")
    orders.apply(orders.put(1, id=1, note="old", amount="1"))
    orders.apply(orders.truncated(5))
    assert orders.rows("SELECT id, _cdc_deleted FROM orders") == [(1, True)]


# Columns come and go


def test_a_column_appears_in_the_middle_of_a_batch(line: MakeLine) -> None:
    orders = line()
    before = orders.put(1, id=1, note="before", amount="1")
    orders.schemas.add([*COLUMNS, column("tags", "text[]")], pos=position(5))
    orders.apply(before, orders.put(6, id=2, note="after", amount="2", tags=["a", 'b"c']))
    assert orders.rows("SELECT id, tags FROM orders ORDER BY id") == [(1, None), (2, ["a", 'b"c'])]


def test_a_column_that_was_dropped_stays_as_it_was(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="kept", amount="1"))
    orders.schemas.add([column("id", "bigint"), column("amount", "numeric(12,2)")], pos=position(5))
    orders.apply(orders.put(6, "u", id=1, amount="2"), orders.put(7, id=2, amount="3"))
    assert orders.rows() == [(1, "kept", "2.00"), (2, None, "3.00")]


def test_a_renamed_column_keeps_its_values_and_older_events_find_it(line: MakeLine) -> None:
    orders = line(column("id", "bigint", attnum=1), column("note", "text", attnum=2))
    orders.apply(orders.put(1, id=1, note="old"))
    columns = [column("number", "bigint", attnum=1), column("remark", "text", attnum=2)]
    orders.schemas.add(columns, key=["number"], pos=position(5))
    orders.apply(
        orders.put(2, id=2, note="late"),
        orders.event(key(number=3), value("c", {"number": 3, "remark": "new"}, position(6))),
    )
    query = "SELECT number, remark FROM orders ORDER BY number"
    assert orders.rows(query) == [(1, "old"), (2, "late"), (3, "new")]
    orders.apply(orders.event(key(number=1), value("u", {"number": 1, "remark": "newer"}, position(7))))
    assert orders.rows(query)[0] == (1, "newer")


def test_a_dropped_column_is_dropped_where_that_is_declared(line: MakeLine) -> None:
    orders = line(column("id", "bigint", attnum=1), column("note", "text", attnum=2), schema_changes={"drop": "apply"})
    orders.apply(orders.put(1, id=1, note="gone"))
    orders.schemas.add([column("id", "bigint", attnum=1)], pos=position(5))
    orders.apply(orders.put(2, id=2, note="gone too"), orders.put(6, id=3))
    assert orders.rows("SELECT to_jsonb(o) - '_cdc_pos' FROM orders o ORDER BY id") == [({"id": n},) for n in (1, 2, 3)]


def test_a_type_that_grew_is_widened(line: MakeLine) -> None:
    orders = line(column("id", "bigint"), column("n", "integer"))
    orders.apply(orders.put(1, id=1, n=2**31 - 1))
    orders.schemas.add([column("id", "bigint"), column("n", "bigint")], pos=position(5))
    orders.apply(orders.put(6, id=2, n=2**40))
    assert orders.rows("SELECT n FROM orders ORDER BY id") == [(2**31 - 1,), (2**40,)]


def test_a_type_that_became_another_is_an_error_with_the_owners_sql(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="1", amount="1"))
    orders.schemas.add([column("id", "bigint"), column("note", "integer")], pos=position(5))
    with pytest.raises(SinkError, match="column note is text, and its values are now integer") as error:
        orders.apply(orders.put(6, id=1, note=7))
    assert 'ALTER TABLE "public"."orders" ALTER COLUMN "note" TYPE integer USING' in (error.value.hint or "")


# Refused rows


def test_a_refused_row_is_named_and_nothing_of_its_batch_is_applied(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1"))
    with orders.database.connect() as connection:
        connection.execute("ALTER TABLE orders ADD CONSTRAINT small CHECK (amount < 100)")
    good = [orders.put(10 + n, id=10 + n, note="secret", amount="1") for n in range(40)]
    bad = [orders.put(80 + n, id=80 + n, note="secret", amount="1000") for n in range(3)]
    with pytest.raises(RowRefused) as refused:
        orders.apply(*good[:20], bad[0], *good[20:], *bad[1:])
    error = refused.value
    assert (error.topic, error.partition, error.offset) == (ORDERS, 0, bad[0].offset)
    assert error.reason == "CheckViolation (23514), constraint small"
    assert [other.offset for other in error.others] == [bad[1].offset, bad[2].offset]
    assert "secret" not in str(error)
    assert "1000" not in str(error)
    assert orders.rows() == [(1, "one", "1.00")]
    orders.apply(*good)
    assert len(orders.rows()) == 41


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": 2**40, "note": "x"}, "NumericValueOutOfRange (22003), column id"),
        ({"id": 1, "note": "far too long"}, "StringDataRightTruncation (22001), column note"),
        ({"id": None, "note": "x"}, "NotNullViolation (23502), column id"),
    ],
)
def test_why_a_row_is_refused_is_told_with_its_column(line: MakeLine, row: dict[str, Any], reason: str) -> None:
    orders = line(column("id", "integer"), column("note", "character varying(5)"))
    with pytest.raises(RowRefused) as refused:
        orders.apply(orders.put(1, **row))
    assert refused.value.reason == reason


def test_an_event_that_is_none_is_refused_and_the_others_with_it(line: MakeLine) -> None:
    orders = line()
    broken = [orders.event(key(id=1), b"{"), orders.event(b"?", value("d", None, position(1)))]
    with pytest.raises(RowRefused) as refused:
        orders.apply(orders.put(1, id=1, note="one", amount="1"), *broken)
    assert refused.value.reason == "its value is not JSON"
    assert [other.reason for other in refused.value.others] == ["its key is not JSON"]


def test_a_deferred_constraint_is_still_the_fault_of_a_row(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1"))
    with orders.database.connect() as connection:
        connection.execute("CREATE TABLE notes (note text PRIMARY KEY)")
        connection.execute("INSERT INTO notes VALUES ('one')")
        connection.execute(
            "ALTER TABLE orders ADD CONSTRAINT known FOREIGN KEY (note) REFERENCES notes DEFERRABLE INITIALLY DEFERRED"
        )
    with pytest.raises(RowRefused, match=r"ForeignKeyViolation \(23503\), constraint known"):
        orders.apply(orders.put(2, id=2, note="one", amount="1"), orders.put(3, id=3, note="two", amount="1"))


# Offsets and epochs


def test_offsets_are_where_the_rows_are(line: MakeLine) -> None:
    orders = line(owned=(0, 1))
    assert orders.own(0, 1) == {(ORDERS, 0): None, (ORDERS, 1): None}
    orders.apply(orders.put(1, id=1, note="one", amount="1"), orders.put(2, id=2, note="two", amount="1"))
    orders.sink.apply(EventBatch([], {(ORDERS, 1): 17}))
    with closing(orders.member()) as other:
        assert orders.own(0, 1, sink=other) == {(ORDERS, 0): 2, (ORDERS, 1): 17}


def test_a_former_owner_cannot_write(line: MakeLine) -> None:
    orders = line()
    with closing(orders.member()) as other:
        orders.own(0, sink=other)
        late = orders.put(1, id=1, note="late", amount="1")
        with pytest.raises(NotOwner, match=r"shop\.public\.orders \[0\] was taken over"):
            orders.apply(late)
        assert orders.rows() == []
        orders.apply(late, sink=other)
        assert orders.rows() == [(1, "late", "1.00")]


def test_a_former_owner_whose_transaction_is_under_way_is_waited_for(line: MakeLine) -> None:
    """The new owner goes on behind what the former one still committed."""
    orders = line()
    event = orders.put(1, id=1, note="one", amount="1")
    orders.apply(event)
    with orders.database.connect() as blocker, closing(orders.member()) as other:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE orders")
        applying = threading.Thread(target=orders.apply, args=(orders.put(2, id=2, note="two", amount="2"),))
        applying.start()
        _until(orders, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass")
        answers: list[Any] = []
        owning = threading.Thread(target=lambda: answers.append(orders.own(0, sink=other)))
        owning.start()
        _until(orders, "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
        blocker.execute("COMMIT")
        applying.join()
        owning.join()
    assert answers == [{(ORDERS, 0): 2}]
    assert len(orders.rows()) == 2


def test_a_former_owner_that_hangs_is_ended(line: MakeLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "TAKE_OVER_MS", 200)
    monkeypatch.setattr(offsets, "HUNG_SECONDS", 0)
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1"))
    hung = orders.sink._connection
    hung.execute("BEGIN")
    hung.execute("UPDATE public.cdc_offsets SET next_offset = 99")
    with closing(orders.member()) as other:
        assert orders.own(0, sink=other) == {(ORDERS, 0): 1}
    with pytest.raises(TargetUnavailable):
        orders.apply(orders.put(2, id=2, note="two", amount="2"))


def test_a_batch_behind_what_is_expected_is_not_applied(line: MakeLine) -> None:
    """Two members with one epoch cannot be, but a target restored from a backup can."""
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1"))
    with orders.database.connect() as connection:
        connection.execute("UPDATE cdc_offsets SET next_offset = 0")
    with pytest.raises(NotOwner):
        orders.apply(orders.put(2, id=2, note="two", amount="2"))


# Tables that are there already, and rights


def test_an_existing_table_is_used_and_the_owners_columns_stay(line: MakeLine, database: Database) -> None:
    database.execute(
        "CREATE TABLE orders (id bigint PRIMARY KEY, note varchar, amount numeric, mine text DEFAULT 'x');"
        "INSERT INTO orders VALUES (1, 'was here', 0, 'mine')"
    )
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1"), orders.put(2, id=2, note="two", amount="2"))
    assert orders.rows("SELECT id, note, mine FROM orders ORDER BY id") == [(1, "one", "mine"), (2, "two", "x")]


def test_without_leave_to_create_the_owner_is_told_the_sql(line: MakeLine, database: Database) -> None:
    database.execute(f"{offsets.Offsets.definition('public').as_string(None)}")
    orders = line(create=False)
    with pytest.raises(
        SinkError, match=r"target table public\.orders is not as shop\.public\.orders needs it"
    ) as error:
        orders.apply(orders.put(1, id=1, note="one", amount="1"))
    assert 'CREATE TABLE "public"."orders" ("id" bigint' in (error.value.hint or "")


def test_without_rights_the_owner_is_told_the_sql(database: Database) -> None:
    role = f"{database.name}_r"
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(SinkError, match="cdc_offsets cannot be created") as error:
            PostgresSink(
                PostgresSinkSettings(database="target", topics=[ORDERS]),
                "shop.billing",
                lambda: psycopg.connect(database.url(role), autocommit=True),
                "the target",
                Described(),
            )
        assert 'CREATE TABLE IF NOT EXISTS "public"."cdc_offsets"' in (error.value.hint or "")
    finally:
        database.execute(f"DROP ROLE {role}")


def test_two_topics_cannot_have_one_table(line: MakeLine) -> None:
    orders = line()
    orders.apply(orders.put(1, id=1, note="one", amount="1"))
    orders.schemas.add(COLUMNS, topic="shop.old.orders", table="old.orders")
    orders.own(0, topic="shop.old.orders")
    event = orders.event(key(id=1), value("c", {"id": 1}, position(1)), topic="shop.old.orders")
    with pytest.raises(SinkError, match="both want the target table"):
        orders.apply(event)


def test_a_topic_that_is_not_described_is_an_error(line: MakeLine) -> None:
    orders = line()
    orders.own(0, topic="shop.public.unknown")
    with pytest.raises(SinkError, match="is not described on the schemas topic"):
        orders.apply(orders.event(key(id=1), value("c", {"id": 1}, position(1)), topic="shop.public.unknown"))


def test_names_may_be_anything(line: MakeLine) -> None:
    odd = 'we"ird; na%s me'
    orders = line(column("id", "bigint"), column(odd, "text"), tables={ORDERS: 'ta"ble %s'})
    for lsn in (1, 2):
        orders.apply(orders.event(key(id=1), value("u", {"id": 1, odd: f"v{lsn}"}, position(lsn))))
    orders.apply(orders.event(key(id=1), value("u", {"id": 1}, position(3), unchanged=[odd])))
    assert orders.rows('SELECT * FROM "ta""ble %s"') == [(1, "v2", position(3))]
    orders.apply(*orders.drop(4, 1))
    assert orders.rows('SELECT * FROM "ta""ble %s"') == []


def _until(line: Line, query: str) -> None:
    """Wait until a query finds something."""
    assert wait_for(lambda: bool(line.rows(query)), 10.0), query
