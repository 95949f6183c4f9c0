"""Snapshots that finish: cut off at every range, beside the stream, of tables that come later or are wanted again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import psycopg
import pytest

from cdc import names
from cdc.errors import Refused
from cdc.event import Batch
from cdc.testing.servers import KafkaServer
from cdc.testing.system import wait_for
from tests.connector_line import Line, Value, ids
from tests.databases import Database

RANGE = 16 * 8192
"""Bytes of one range here: 16 blocks."""

FILL = "INSERT INTO {t} SELECT i, 0, repeat('x', 300), repeat(md5(i::text), 90) FROM generate_series(1, {rows}) i"


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


def make(database: Database, table: str, rows: int, key: str = "PRIMARY KEY") -> None:
    """About 23 rows a block, and one value out of line."""
    database.execute(f"CREATE TABLE {table} (id int {key}, n int, filler text, body text)")
    database.execute(f"ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL")
    database.execute(FILL.format(t=table, rows=rows))


def ranges_stored(batch: Batch, table: str) -> int:
    """Blocks of a table that the ledger of a batch calls finished."""
    entry = (batch.position.ledger or {}).get("tables", {}).get(table, {})
    if entry.get("state") == "done":
        return 1 << 30
    return sum(
        end - first if end is not None else 1 << 20
        for heap in entry.get("heaps", {}).values()
        for first, end in heap["done"]
    )


def at_each_range(table: str) -> Callable[[], Callable[[Batch], bool]]:
    """Cuts once for every range that was stored, over all runs."""
    seen = 0

    def next_run() -> Callable[[Batch], bool]:
        def cut(batch: Batch) -> bool:
            nonlocal seen
            before, seen = seen, max(seen, ranges_stored(batch, table))
            return seen > before

        return cut

    return next_run


def folded(events: list[Value | None], keys: list[int | None] | None = None) -> dict[int, Value]:
    """What a reader of the topic ends up with."""
    rows: dict[int, Value] = {}
    for event in events:
        if event is None:
            continue
        if event["op"] == "d":
            rows.pop(event["before"]["id"], None)
        else:
            rows[event["after"]["id"]] = event["after"]
    return rows


def in_table(database: Database, table: str) -> dict[int, Value]:
    with database.connect(row_factory=psycopg.rows.dict_row) as connection:
        return {row["id"]: row for row in connection.execute(f"SELECT * FROM {table}").fetchall()}


def run_to_the_end(
    line: Line, tables: list[Any], cutting: Callable[[], Callable[[Batch], bool]], **section: Any
) -> int:
    """Run, cut off and run again, until nothing cuts any more; how often it was cut."""
    cuts = 0
    while True:
        cut = cutting()
        ended = False

        def counted(batch: Batch, cut: Callable[[Batch], bool] = cut) -> bool:
            nonlocal ended
            entries = (batch.position.ledger or {}).get("tables", {})
            ended = bool(entries) and all(entry["state"] == "done" for entry in entries.values())
            return cut(batch) or ended

        line.run(tables, counted, **section)
        if ended:
            return cuts
        cuts += 1
        assert cuts < 200


def test_a_range_that_was_stored_is_never_read_again(line: Line, database: Database) -> None:
    make(database, "t", 3000)
    cuts = run_to_the_end(
        line, ["public.t"], at_each_range("public.t"), snapshot_range=RANGE, snapshot_readers=1, batch={"rows": 50}
    )
    assert cuts >= 5
    found = Counter(ids(line.events("t"), "r"))
    assert set(found) == set(range(1, 3001))
    # What was read again is of the range that was cut: a range holds about 370 rows.
    by_times = Counter(found.values())
    assert by_times[1] >= 3000 - cuts * 120


def test_rows_that_move_between_ranges_while_it_is_down_are_neither_lost_nor_old(
    line: Line, database: Database
) -> None:
    """An update makes a new version of the row somewhere else: in blocks that are read already, or not yet."""
    make(database, "t", 2500)
    rng = Random(7)
    cutting = at_each_range("public.t")

    def between_runs() -> Callable[[Batch], bool]:
        with database.connect() as connection:
            some = rng.sample(range(1, 2501), 300)
            connection.execute("UPDATE t SET n = n + 1 WHERE id = ANY (%s)", [some[:200]])
            connection.execute("DELETE FROM t WHERE id = ANY (%s)", [some[200:220]])
            connection.execute("VACUUM t")
        return cutting()

    cuts = run_to_the_end(
        line,
        ["public.t"],
        between_runs,
        snapshot_range=RANGE,
        snapshot_readers=2,
        batch={"rows": 100},
        unchanged="mark",
    )
    assert cuts >= 4
    assert folded(line.events("t")) == in_table(database, "t")


def test_rows_that_move_between_ranges_unpublished_are_not_lost(line: Line, database: Database) -> None:
    """An update that is skipped moves rows into the first range, which is read already."""
    make(database, "t", 2000)
    database.execute("DELETE FROM t WHERE id <= 300")
    database.execute("VACUUM t")
    seen = 0

    def cut(batch: Batch) -> bool:
        nonlocal seen
        seen = ranges_stored(batch, "public.t")
        return seen >= 16

    line.run(["public.t"], cut, snapshot_range=RANGE, snapshot_readers=1, batch={"rows": 50})
    assert 16 <= seen < 1 << 20
    database.execute("UPDATE t SET n = 1 WHERE id > 1900")
    assert database.rows("SELECT count(*) > 50 FROM t WHERE id > 1900 AND (ctid::text::point)[0] < 16") == [(True,)]
    with line.running(["public.t"], snapshot_range=RANGE, skipped_operations=["u"]) as until:
        until(lambda: folded(line.events("t")) == in_table(database, "t"))


@pytest.mark.parametrize("rewrite", ["VACUUM FULL t", "ALTER TABLE t ALTER n TYPE bigint", "CLUSTER t USING t_pkey"])
def test_a_table_that_was_rewritten_while_it_was_down_begins_again(
    line: Line, database: Database, rewrite: str
) -> None:
    make(database, "t", 2000)
    database.execute("DELETE FROM t WHERE id % 2 = 0")
    seen = 0

    def cut(batch: Batch) -> bool:
        nonlocal seen
        seen = ranges_stored(batch, "public.t")
        return seen >= 32

    line.run(["public.t"], cut, snapshot_range=RANGE, snapshot_readers=1, batch={"rows": 50})
    assert 32 <= seen < 1 << 20
    database.execute(rewrite)
    with line.running(["public.t"], snapshot_range=RANGE) as until:
        until(lambda: folded(line.events("t")) == in_table(database, "t"))


def test_ranges_of_a_table_that_was_out_of_the_publication_are_read_again(line: Line, database: Database) -> None:
    """Changes of that time are in no stream: only its rows as they are now can tell them."""
    make(database, "t", 2000)
    seen = 0

    def cut(batch: Batch) -> bool:
        nonlocal seen
        seen = ranges_stored(batch, "public.t")
        return seen >= 32

    line.run(["public.t"], cut, snapshot_range=RANGE, snapshot_readers=1, batch={"rows": 50})
    assert 32 <= seen < 1 << 20
    publication = names.publication_name(line.name, "w")
    database.execute(f"ALTER PUBLICATION {publication} DROP TABLE t")
    database.execute("UPDATE t SET n = 1 WHERE id <= 10")
    database.execute("DELETE FROM t WHERE id = 11")
    with line.running(["public.t"], snapshot_range=RANGE) as until:
        until(lambda: folded(line.events("t")).get(1, {}).get("n") == 1)
        until(lambda: line.connector.status()["snapshot"] is None)
    left = folded(line.events("t"))
    assert {key: row for key, row in left.items() if key != 11} == in_table(database, "t")


def test_a_table_that_somebody_has_locked_keeps_no_other_from_being_read(line: Line, database: Database) -> None:
    make(database, "t", 500)
    make(database, "u", 100)
    with line.running(["public.t", "public.u"]) as until:
        until(lambda: len(ids(line.events("u"), "r")) == 100)
        with database.connect(autocommit=False) as other:
            line_ask(line, "pause")
            line_ask(line, "snapshot", "public.t", "public.u")
            other.execute("LOCK TABLE u IN ACCESS EXCLUSIVE MODE")
            line_ask(line, "resume")
            database.execute("INSERT INTO t (id) VALUES (501)")
            until(lambda: 501 in ids(line.events("t"), "c"))
            other.commit()
        until(lambda: len(ids(line.events("t"), "r")) >= 1000)
        until(lambda: len(ids(line.events("u"), "r")) == 200)


def test_a_temporary_slot_that_is_waited_for_ends_with_the_connector(line: Line, database: Database) -> None:
    make(database, "t", 10)
    slots = "SELECT count(*) FROM pg_replication_slots WHERE temporary AND database = current_database()"
    with database.connect(autocommit=False) as writer:
        with line.running(["public.t"]) as until:
            until(lambda: len(ids(line.events("t"), "r")) == 10)
            writer.execute("INSERT INTO t (id) VALUES (99)")  # its slot waits for this to end
            line_ask(line, "snapshot", "public.t")
            until(lambda: database.rows(slots) == [(1,)])
        assert wait_for(lambda: database.rows(slots) == [(0,)], timeout=10)
        writer.rollback()


def test_a_table_that_is_altered_in_the_middle_is_read_as_it_is(line: Line, database: Database) -> None:
    make(database, "t", 1000)
    make(database, "u", 100)
    with database.connect(autocommit=False) as other:
        steps = []

        def cut(batch: Batch) -> bool:
            entries = (batch.position.ledger or {}).get("tables", {})
            if entries and not steps:
                # Its ranges wait, and those of t go on.
                steps.append("locked")
                other.execute("LOCK TABLE u IN ACCESS EXCLUSIVE MODE")
            elif steps == ["locked"] and entries and entries["public.t"]["state"] == "done":
                steps.append("altered")
                other.execute("ALTER TABLE u DROP filler")
                other.execute("ALTER TABLE t ADD added int DEFAULT 5")
                other.execute("UPDATE t SET added = 6 WHERE id = 1")
                other.commit()
            return bool(entries) and all(entry["state"] == "done" for entry in entries.values())

        line.run(["public.t", "public.u"], cut, snapshot_range=RANGE, snapshot_readers=1, batch={"rows": 200})
    with line.running(["public.t", "public.u"]) as until:
        until(lambda: folded(line.events("t")).get(1, {}).get("added") == 6)
    assert set(folded(line.events("t"))) == set(range(1, 1001))
    assert {tuple(row) for row in folded(line.events("u")).values()} == {("id", "n", "body")}
    assert len(folded(line.events("u"))) == 100


def test_the_stream_goes_on_while_rows_are_read(line: Line, database: Database) -> None:
    make(database, "t", 1000)
    make(database, "u", 100)
    steps = []
    with database.connect(autocommit=False) as other:

        def cut(batch: Batch) -> bool:
            entries = (batch.position.ledger or {}).get("tables", {})
            if entries and not steps:
                steps.append("locked")
                other.execute("LOCK TABLE u IN ACCESS EXCLUSIVE MODE")
            elif entries and entries["public.t"]["state"] == "done" and steps == ["locked"]:
                steps.append("written")
                database.execute("UPDATE t SET n = 8 WHERE id <= 10")
            elif steps == ["locked", "written"] and sorted(ids(line.events("t"), "u")) == list(range(1, 11)):
                steps.append("went on")
                other.rollback()
            return bool(entries) and all(entry["state"] == "done" for entry in entries.values())

        line.run(["public.t", "public.u"], cut, snapshot_range=RANGE, snapshot_readers=1, batch={"rows": 200})
    assert steps == ["locked", "written", "went on"]
    assert sorted(ids(line.events("u"), "r")) == list(range(1, 101))
    assert folded(line.events("t")) == in_table(database, "t")


def test_a_row_that_changed_since_the_snapshot_is_left_out_of_it(line: Line, database: Database) -> None:
    make(database, "t", 1500)
    wrote = False

    def cut(batch: Batch) -> bool:
        nonlocal wrote
        entries = (batch.position.ledger or {}).get("tables", {})
        if entries and not wrote:
            wrote = True
            # None of them is read yet; the batches are small, and no more than two of them are ahead.
            database.execute("UPDATE t SET n = 1 WHERE id > 1490")
            database.execute("DELETE FROM t WHERE id = 1490")
            database.execute("UPDATE t SET id = 5000 WHERE id = 1489")
        return bool(entries) and entries["public.t"]["state"] == "done"

    line.run(["public.t"], cut, snapshot_range=RANGE, snapshot_readers=1, batch={"rows": 20})
    events = line.events("t")
    assert sorted(ids(events, "r")) == list(range(1, 1489))
    assert sorted(ids(events, "u")) == list(range(1491, 1501))
    assert folded(events) == in_table(database, "t")
    newest: dict[int, str] = {}
    for event in events:
        if event is not None:
            key = (event["after"] or event["before"])["id"]
            assert event["cdc"]["pos"] >= newest.get(key, "")
            newest[key] = event["cdc"]["pos"]


@pytest.mark.parametrize("how", ["no key", "a message_key"])
def test_rows_that_cannot_be_told_apart_are_read_while_the_stream_is_held(
    line: Line, database: Database, how: str
) -> None:
    make(database, "t", 1500, key="" if how == "no key" else "PRIMARY KEY")
    database.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    line.policy = "delete" if how == "no key" else "compact"
    options = {} if how == "no key" else {"message_key": ["n"]}
    writes = "UPDATE t SET n = 1 WHERE id = 1500"
    first = True

    def cut(_: Batch) -> bool:
        nonlocal first
        if first:
            first = False
            database.execute(writes)
        return True

    tables = [{"public.t": options}]
    line.run(tables, cut, snapshot_range=RANGE, snapshot_readers=1, batch={"rows": 200})
    with line.running(tables, snapshot_range=RANGE) as until:
        until(lambda: 1 in [event["after"]["n"] for event in line.events("t") if event and event["after"]])
    last = [event for event in line.events("t") if event and event["after"] and event["after"]["id"] == 1500][-1]
    assert last["after"]["n"] == 1
    newest = max(event["cdc"]["pos"] for event in line.events("t") if event and event["op"] == "r")
    rows = [
        event["after"]["id"]
        for event in line.events("t")
        if event and event["op"] == "r" and event["cdc"]["pos"] == newest
    ]
    assert sorted(rows) == list(range(1, 1501))


def test_a_table_that_comes_later_is_read_beside_the_stream(line: Line, database: Database) -> None:
    make(database, "a1", 10)
    with line.running(["public.a*"], idle_interval="200ms") as until:
        make(database, "a2", 50)
        until(lambda: sorted(set(ids(line.events("a2"), "r") + ids(line.events("a2"), "c"))) == list(range(1, 51)))
        database.execute("UPDATE a2 SET n = 5 WHERE id = 7")
        until(lambda: 7 in ids(line.events("a2"), "u"))
        database.execute("DROP TABLE a1")
        database.execute("INSERT INTO a2 (id) VALUES (51)")
        until(lambda: 51 in ids(line.events("a2"), "c"))
    assert folded(line.events("a2")) == in_table(database, "a2")
    with line.running(["public.a*"]) as until:
        database.execute("INSERT INTO a2 (id) VALUES (52)")
        until(lambda: 52 in ids(line.events("a2"), "c"))


def test_a_table_that_comes_later_and_cannot_be_captured_stops_no_other(line: Line, database: Database) -> None:
    make(database, "a1", 10)
    with line.running(["public.a*"], idle_interval="200ms") as until:
        database.execute("CREATE TABLE a2 (id int)")
        until(lambda: "public.a2" in line.connector.status()["refused_tables"])
        database.execute("INSERT INTO a1 (id) VALUES (11)")
        until(lambda: 11 in ids(line.events("a1"), "c"))
        assert "compact" in line.connector.status()["refused_tables"]["public.a2"]


def test_tables_are_read_again_when_that_is_asked_for(line: Line, database: Database) -> None:
    make(database, "t", 300)
    make(database, "u", 10)
    with line.running([{"public.t": {"snapshot_where": "id % 2 = 0"}}, "public.u"]) as until:
        until(lambda: sorted(ids(line.events("t"), "r")) == list(range(2, 301, 2)))
        assert "public.t" in line_ask(line, "snapshot", "public.t")
        until(lambda: len(ids(line.events("t"), "r")) == 300)
        until(lambda: line.connector.status()["snapshot"] is None)
        assert len(ids(line.events("u"), "r")) == 10
        with pytest.raises(Refused, match=r"public\.nothing"):
            line_ask(line, "snapshot", "public.nothing")
        with pytest.raises(Refused, match="no table is being read again"):
            line_ask(line, "cancel")


def test_a_paused_snapshot_waits_also_over_a_restart_and_a_cancelled_one_is_over(
    line: Line, database: Database
) -> None:
    make(database, "t", 300)
    with line.running(["public.t"]) as until:
        until(lambda: len(ids(line.events("t"), "r")) == 300)
        line_ask(line, "pause")
        line_ask(line, "snapshot", "public.t")
        database.execute("INSERT INTO t (id) VALUES (301)")
        until(lambda: 301 in ids(line.events("t"), "c"))
    with line.running(["public.t"]) as until:
        assert line.connector.status()["snapshot"]["paused"]
        database.execute("INSERT INTO t (id) VALUES (302)")
        until(lambda: 302 in ids(line.events("t"), "c"))
        assert len(ids(line.events("t"), "r")) == 300
        line_ask(line, "resume")
        until(lambda: len(ids(line.events("t"), "r")) == 602)
        line_ask(line, "pause")
        line_ask(line, "snapshot", "public.t")
        assert "public.t" in line_ask(line, "cancel")
        line_ask(line, "resume")
        assert line.connector.status()["snapshot"] is None


def test_tables_of_very_different_sizes_and_kinds_are_read_once(line: Line, database: Database) -> None:
    make(database, "large", 4000)
    make(database, "small", 1)
    make(database, "empty", 0)
    database.execute("CREATE TABLE parts (id int, n int, PRIMARY KEY (id, n)) PARTITION BY LIST (n)")
    for n in range(3):
        database.execute(f"CREATE TABLE parts_{n} PARTITION OF parts FOR VALUES IN ({n})")
    database.execute("INSERT INTO parts SELECT i, i % 3 FROM generate_series(1, 3000) i")
    tables = ["public.large", "public.small", "public.empty", "public.parts"]
    cuts = run_to_the_end(
        line, tables, at_each_range("public.large"), snapshot_range=RANGE, snapshot_readers=3, batch={"rows": 500}
    )
    assert cuts >= 3
    assert set(ids(line.events("large"), "r")) == set(range(1, 4001))
    assert ids(line.events("small"), "r") == [1]
    assert line.events("empty") == []
    assert set(ids(line.events("parts"), "r")) == set(range(1, 3001))


def line_ask(line: Line, action: str, *tables: str) -> str:
    return line.connector.ask(action, tables)
