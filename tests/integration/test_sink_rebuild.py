"""`cdc heal` of a sink: its tables end equal to their topics, in place, however often it is killed on the way."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewPartitions
from typer.testing import CliRunner

from cdc import failpoints
from cdc.cli import app
from cdc.errors import Gap
from tests.sink_events import position, value
from tests.sink_line import Bridge, MakeBridge

COMPACT = {"cleanup_policy": "compact"}


def _applied(orders: Bridge, member: Any, rows: range, partitions: int = 1, **section: Any) -> None:
    """A sink has applied some rows, and was stopped."""
    with orders.transaction():
        for n in rows:
            orders.put(n, n, partition=n % partitions)
    sink = member(orders, **section)
    orders.until(lambda: len(orders.rows()) == len(rows))
    sink.stop()


def _done(orders: Bridge) -> bool:
    return bool(orders.rows("SELECT FROM cdc_offsets")) and not orders.rows(
        "SELECT FROM cdc_offsets WHERE rebuild_until IS NOT NULL OR next_offset IS NULL"
    )


def _ended(workers: list[Any]) -> bool:
    return any(worker.poll() is not None for worker in workers)


def test_without_a_gap_there_is_nothing_to_heal(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, **COMPACT)
    orders.describe()
    _applied(orders, member, range(3))
    assert list(orders.rebuild().lines) == []
    assert list(orders.rebuild().apply()) == []


def test_rows_that_a_topic_made_anew_does_not_have_are_taken_away(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, **COMPACT)
    orders.describe()
    _applied(orders, member, range(10))
    orders.make_anew(**COMPACT)
    with orders.transaction():
        for n in range(5, 15):
            orders.put(n, 100 + n)
    rebuild = orders.rebuild()
    said = "\n".join(rebuild.lines)
    assert "was deleted and made anew" in said
    assert "take away the rows of table public.orders that it does not have" in said
    assert len(orders.rows()) == 10, "the plan changes nothing"
    rebuild.apply()
    seen_empty = threading.Event()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            if len(orders.rows()) < 5:
                seen_empty.set()

    reader = threading.Thread(target=read)
    reader.start()
    sink = member(orders)
    orders.until(lambda: orders.rows() == [(n, 100 + n) for n in range(5, 15)])
    orders.until(lambda: sink.status.get("rebuilding") == [])
    stop.set()
    reader.join()
    assert not seen_empty.is_set()
    assert list(orders.rebuild().lines) == []


def test_the_command_shows_the_plan_and_with_yes_carries_it_out(
    bridge: MakeBridge, member: Any, tmp_path: Path
) -> None:
    orders = bridge(1, **COMPACT)
    orders.describe()
    _applied(orders, member, range(3))
    file = str(orders.file(tmp_path))

    def heal(*arguments: str) -> Any:
        nobody = ["--listen", "127.0.0.1:9"]
        return CliRunner().invoke(
            app, ["heal", "target", *arguments, *nobody, "--config", file], catch_exceptions=False
        )

    assert heal().exit_code == 0
    orders.make_anew(**COMPACT)
    with orders.transaction():
        orders.put(7, 7)
    plan = heal()
    assert plan.exit_code == 3
    assert "was deleted and made anew" in plan.output
    assert "read the topic again, at most 2 events" in plan.output
    assert isinstance(member(orders).failed(), Gap)
    assert "is read anew from its beginning" in heal("--yes").output
    member(orders)
    orders.until(lambda: orders.rows() == [(7, 7)])


def test_positions_of_before_do_not_keep_a_row_from_what_the_topic_has(bridge: MakeBridge, member: Any) -> None:
    """The source was replaced by one whose LSNs are smaller."""
    orders = bridge(1, **COMPACT)
    orders.describe()
    orders._lsn = 1_000_000
    _applied(orders, member, range(10))
    orders.make_anew(**COMPACT)
    orders._lsn = 0
    with orders.transaction():
        for n in range(4):
            orders.put(n, -n)
    orders.rebuild().apply()
    member(orders)
    orders.until(lambda: orders.rows() == [(n, -n) for n in range(4)])


def test_rows_that_are_gone_are_marked_where_deletes_are(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, **COMPACT)
    orders.describe()
    _applied(orders, member, range(4), deletes="mark")
    orders.make_anew(**COMPACT)
    with orders.transaction():
        orders.put(2, 20)
        orders.put(3, 30)
        orders.drop(3)
    orders.rebuild(deletes="mark").apply()
    member(orders, deletes="mark")
    query = "SELECT id, n, _cdc_deleted FROM orders ORDER BY id"
    orders.until(lambda: orders.rows(query) == [(0, 0, True), (1, 1, True), (2, 20, False), (3, 3, True)])


def test_deletes_that_were_missed_are_found(bridge: MakeBridge, member: Any) -> None:
    """The sink was away, and compaction has taken a delete with its tombstone."""
    orders = bridge(2, **COMPACT, delete_retention_ms="1800000")
    orders.describe()
    _applied(orders, member, range(6), 2)
    orders.database.execute("INSERT INTO orders (id, n, _cdc_pos) VALUES (77, 7, '00000000/00000001/0000000001')")
    orders.database.execute("UPDATE cdc_offsets SET complete_at = now() - interval '1 hour'")
    with orders.transaction():
        orders.put(0, 100, partition=0)
    assert isinstance(member(orders).failed(), Gap)
    orders.rebuild().apply()
    member(orders)
    orders.until(lambda: orders.rows() == [(0, 100), *((n, n) for n in range(1, 6))])


def test_a_running_sink_begins_the_rebuild_by_itself(bridge: MakeBridge, process: Any) -> None:
    orders = bridge(1, **COMPACT)
    orders.describe()
    worker = process(orders)
    with orders.transaction():
        orders.put(1, 1)
    orders.until(lambda: orders.rows() == [(1, 1)])
    orders.database.execute("INSERT INTO orders (id, n) VALUES (77, 7)")
    orders.rebuild(orders.topic).apply()
    with orders.transaction():
        orders.put(2, 2)
    orders.until(lambda: orders.rows() == [(1, 1), (2, 2)])
    assert worker.poll() is None


def test_killed_again_and_again_the_table_ends_as_the_topic(bridge: MakeBridge, process: Any, tmp_path: Path) -> None:
    """Two members, four partitions, deletes and a truncate on the way; kills at failpoints and at any time."""
    chance = random.Random(11)
    orders = bridge(4, cleanup_policy="delete")  # a compacted topic takes no truncate
    orders.describe()
    workers = [process(orders, member=f"m{n}") for n in range(2)]
    with orders.transaction():
        for n in range(2000):
            orders.put(n, n, partition=n % 4)
    orders.until(lambda: len(orders.rows()) == 2000)
    for worker in workers:
        worker.kill()
        worker.wait()
    orders.make_anew(4, cleanup_policy="delete")
    final = {}
    with orders.transaction():
        for n in range(1000, 1200):
            orders.put(n, n, partition=n % 4)
        orders._lsn += 1
        for partition in range(4):
            orders.producer.produce(orders.topic, value("t", None, position(orders._lsn)), None, partition=partition)
        for n in range(1100, 3000):
            orders.put(n, 5 * n, partition=n % 4)
            final[n] = 5 * n
            if n % 7 == 0:
                orders.drop(n, partition=n % 4)
                del final[n]
    orders.rebuild(remove=True).apply()
    environment = {**os.environ, "CDC_FAILPOINTS": str(tmp_path)}
    names = [
        name for name in failpoints.SINK if "aside" not in name and "settled" not in name and "rebuild" not in name
    ]
    killed_on_the_way = 0
    for name in [*names, *["sink.before_commit", "sink.after_commit"] * 3]:
        (tmp_path / name).touch()
        workers = [process(orders, environment, batch={"rows": 100}, member=f"m{n}") for n in range(2)]
        seen = chance.randrange(1900)
        query = "SELECT FROM orders WHERE _cdc_pos <> ''"
        orders.until(lambda: _ended(workers) or len(orders.rows(query)) >= seen)  # noqa: B023
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        killed_on_the_way += not _done(orders)
    assert killed_on_the_way >= 5
    for file in tmp_path.iterdir():
        file.unlink()
    process(orders, member="m0")
    orders.until(lambda: _done(orders))
    assert orders.rows() == sorted(final.items())


def test_a_topic_that_is_not_complete_keeps_rows_it_does_not_have(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, cleanup_policy="delete")
    orders.describe()
    _applied(orders, member, range(5))
    with orders.transaction():
        for n in (5, 6, 7):
            orders.put(n, n)
    orders.expire(8)
    assert isinstance(member(orders).failed(), Gap)
    rebuild = orders.rebuild()
    said = "\n".join(rebuild.lines)
    assert "which of those rows the source still has cannot be known" in said
    assert "`cdc snapshot TABLE`" in said
    rebuild.apply()
    sink = member(orders)
    rows = [(n, n) for n in (0, 1, 2, 3, 4, 7)]
    orders.until(lambda: orders.rows() == rows)
    sink.stop()
    with orders.transaction():  # all rows again, as a snapshot publishes them
        for n in (1, 4, 7):
            orders.put(n, n)
    orders.rebuild(orders.topic, remove=True).apply()
    member(orders)
    orders.until(lambda: orders.rows() == [(1, 1), (4, 4), (7, 7)])


def test_a_table_without_key_goes_on_behind_what_expired(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, cleanup_policy="delete")
    orders.describe(key=())
    _applied(orders, member, range(5))
    with orders.transaction():
        for n in (5, 6, 7):
            orders.put(n, n, of=None)
    orders.expire(8)
    rebuild = orders.rebuild()
    assert "its rows stay, and it goes on behind what is lost" in "\n".join(rebuild.lines)
    rebuild.apply()
    member(orders)
    orders.until(lambda: orders.rows() == [(n, n) for n in (0, 1, 2, 3, 4, 7)])


def test_a_table_without_key_is_filled_again_from_a_topic_made_anew(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, cleanup_policy="delete")
    orders.describe(key=())
    _applied(orders, member, range(5))
    orders.make_anew(cleanup_policy="delete")
    with orders.transaction():
        for n in (3, 4, 5):
            orders.put(n, n, of=None)
    orders.rebuild().apply()
    assert orders.rows() == []
    member(orders)
    orders.until(lambda: orders.rows() == [(3, 3), (4, 4), (5, 5)])


def test_a_topic_that_is_empty_is_said_to_be(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(2, **COMPACT)
    orders.describe()
    _applied(orders, member, range(4), 2)
    orders.make_anew(2, **COMPACT)
    rebuild = orders.rebuild()
    assert "the topic is EMPTY: every row of table public.orders would go" in "\n".join(rebuild.lines)
    rebuild.apply()
    member(orders)
    orders.until(lambda: orders.rows() == [])


def test_a_topic_that_is_gone_is_forgotten_and_its_rows_stay(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, **COMPACT)
    orders.describe()
    _applied(orders, member, range(3))
    orders.remove()
    rebuild = orders.rebuild()
    assert "forget its offsets" in "\n".join(rebuild.lines)
    rebuild.apply()
    sink = member(orders)
    orders.create(orders.topic)
    with orders.transaction():
        orders.put(9, 9)
    orders.until(lambda: orders.rows() == [(0, 0), (1, 1), (2, 2), (9, 9)])
    assert sink.error is None


def test_added_partitions_are_healed(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, **COMPACT)
    orders.describe()
    _applied(orders, member, range(4))
    orders.admin.create_partitions([NewPartitions(orders.topic, 2)])[orders.topic].result(30)
    orders.knows_partitions(2)
    with orders.transaction():
        orders.put(1, 100, partition=1)
    assert isinstance(member(orders).failed(), Gap)
    assert "its connector has a gap too: heal that first" in "\n".join(orders.rebuild().lines)
    orders.rebuild().apply()
    member(orders)
    orders.until(lambda: orders.rows() == [(0, 0), (1, 100), (2, 2), (3, 3)])


@pytest.mark.parametrize("failpoint", ["sink.before_rebuild", "sink.after_rebuild"])
def test_a_heal_that_was_killed_may_be_begun_again(
    bridge: MakeBridge, member: Any, failpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = bridge(1, **COMPACT)
    orders.describe()
    _applied(orders, member, range(4))
    orders.make_anew(**COMPACT)
    with orders.transaction():
        orders.put(1, 100)

    class Killed(Exception):
        pass

    def reach(name: str) -> None:
        if name == failpoint:
            raise Killed

    monkeypatch.setattr("sinks.postgres.rebuild.reach", reach)
    with pytest.raises(Killed):
        orders.rebuild().apply()
    monkeypatch.undo()
    orders.rebuild(orders.topic).apply()
    member(orders)
    orders.until(lambda: orders.rows() == [(1, 100)])
