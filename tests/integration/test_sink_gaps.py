"""What a sink can no longer read stops it, at its start and while it runs; and what is no gap does not."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from confluent_kafka.admin import NewPartitions

from cdc import sink_loop, topic_watch
from cdc.errors import Gap
from tests.sink_line import Bridge, MakeBridge, Member

FETCH_SECONDS = 1.5
"""Longer than a broker holds a fetch that finds nothing (`fetch.wait.max.ms`, 500)."""


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_watch, "LOOK_SECONDS", 0.2)


def _filled(bridge: Bridge, member: Any, rows: int = 10, **section: Any) -> Member:
    """A member that has applied some rows."""
    with bridge.transaction():
        for n in range(rows):
            bridge.put(n, n)
    sink: Member = member(bridge, **section)
    bridge.until(lambda: len(bridge.rows()) == rows)
    return sink


def _gap(member: Member) -> str:
    error = member.failed()
    assert isinstance(error, Gap), error
    assert error.exit_code == 3
    assert "`cdc heal target`" in (error.hint or "")
    return error.message


def test_offsets_that_expired_while_the_sink_was_away_are_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    _filled(orders, member, 1).stop()
    with orders.transaction():
        orders.put(2, 20)
        orders.put(3, 30)
    orders.expire(4)
    said = _gap(member(orders))
    assert f"{orders.topic} [0]" in said
    assert "holds 4 to" in said
    assert "3 expired" in said


def test_offsets_that_expire_before_a_running_sink_has_read_them_are_a_gap(bridge: MakeBridge, process: Any) -> None:
    orders = bridge(1)
    orders.describe()
    worker = process(orders)
    with orders.transaction():
        orders.put(1, 1)
    orders.until(lambda: len(orders.rows()) == 1)
    worker.send_signal(signal.SIGSTOP)
    # Its last fetch is with the broker still, and would be answered with what is written now.
    time.sleep(FETCH_SECONDS)
    with orders.transaction():
        for n in range(2, 9):
            orders.put(n, n)
    orders.expire(6)
    worker.send_signal(signal.SIGCONT)
    code = worker.wait(40)
    if code == 1:
        # It slept for longer than its session: it starts over, as under a supervisor, and finds the gap then.
        code = process(orders).wait(40)
    assert code == 3


def test_a_topic_that_was_made_anew_and_is_shorter_is_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    _filled(orders, member).stop()
    orders.make_anew()
    assert "was deleted and made anew" in _gap(member(orders))


def test_a_topic_that_was_made_anew_and_has_grown_past_the_offset_is_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    _filled(orders, member).stop()
    orders.make_anew()
    with orders.transaction():
        for n in range(50):
            orders.put(n, 1)
    assert "was deleted and made anew" in _gap(member(orders))
    assert orders.rows() == [(n, n) for n in range(10)]
    assert "was deleted and made anew" in _gap(member(orders))


def test_a_topic_that_is_made_anew_while_it_is_read_is_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    sink = _filled(orders, member)
    orders.make_anew()
    with orders.transaction():
        for n in range(50):
            orders.put(n, 1)
    assert "was deleted" in _gap(sink)  # it may look between the two


def test_a_topic_that_is_deleted_while_it_is_read_is_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    sink = _filled(orders, member)
    orders.remove()
    assert "was deleted" in _gap(sink)


def test_a_topic_that_was_deleted_while_the_sink_was_away_is_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    _filled(orders, member).stop()
    orders.remove()
    assert "was deleted" in _gap(member(orders))


def test_partitions_that_are_added_while_it_is_read_are_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    sink = _filled(orders, member)
    orders.admin.create_partitions([NewPartitions(orders.topic, 3)])[orders.topic].result(30)
    assert "has 3 partitions and had 1: keys have moved" in _gap(sink)
    assert "has 3 partitions and had 1" in _gap(member(orders))


@pytest.mark.parametrize(("section", "keys"), [({"deletes": "mark"}, ("id",)), ({}, ())])
def test_partitions_may_be_added_where_no_delete_is_forgotten(
    bridge: MakeBridge, member: Any, section: dict[str, str], keys: tuple[str, ...]
) -> None:
    orders = bridge(1)
    orders.describe(key=keys)
    sink = _filled(orders, member, **section)
    orders.admin.create_partitions([NewPartitions(orders.topic, 2)])[orders.topic].result(30)
    orders.until(lambda: len(sink.status["partitions"]) == 2)
    orders.knows_partitions(2)
    with orders.transaction():
        orders.put(10, 10, partition=1)
    orders.until(lambda: len(orders.rows()) == 11)
    orders.until(lambda: orders.rows("SELECT DISTINCT partitions FROM cdc_offsets") == [(2,)])
    assert sink.error is None


def _away_for_an_hour(orders: Bridge) -> None:
    orders.database.execute("UPDATE cdc_offsets SET complete_at = now() - interval '1 hour'")


def test_to_be_away_for_longer_than_deletes_are_kept_is_a_gap(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, cleanup_policy="compact", delete_retention_ms="1800000")
    orders.describe()
    _filled(orders, member).stop()
    with orders.transaction():
        orders.put(11, 11)
    _away_for_an_hour(orders)
    said = _gap(member(orders))
    assert "keeps deletes for 1800 s only" in said
    assert "offsets 1" in said
    assert len(orders.rows()) == 10


def test_to_be_away_for_less_is_none_nor_without_compaction(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, cleanup_policy="compact", delete_retention_ms="7200000")
    orders.describe()
    _filled(orders, member).stop()
    with orders.transaction():
        orders.put(11, 11)
    _away_for_an_hour(orders)
    member(orders)
    orders.until(lambda: len(orders.rows()) == 11)


def test_a_topic_that_is_not_compacted_forgets_no_deletes(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1, cleanup_policy="delete", delete_retention_ms="1000")
    orders.describe()
    _filled(orders, member).stop()
    with orders.transaction():
        orders.put(11, 11)
    _away_for_an_hour(orders)
    member(orders)
    orders.until(lambda: len(orders.rows()) == 11)


def test_a_sink_that_was_merely_idle_has_no_gap_and_knows_it(
    bridge: MakeBridge, member: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_loop, "AGE_SECONDS", 0.2)
    orders = bridge(1, cleanup_policy="compact", delete_retention_ms="1800000")
    orders.describe()
    sink = _filled(orders, member)
    orders.until(lambda: orders.rows("SELECT FROM cdc_offsets WHERE next_offset = 11") != [])  # behind the marker
    sink.stop()
    _away_for_an_hour(orders)
    sink = member(orders)
    orders.until(lambda: orders.rows("SELECT FROM cdc_offsets WHERE complete_at > now() - interval '5 s'") != [])
    with orders.transaction():
        orders.put(11, 11)
    orders.until(lambda: len(orders.rows()) == 11)
    assert sink.error is None


def test_a_table_of_offsets_of_an_earlier_release_gets_what_it_lacks(bridge: MakeBridge, member: Any) -> None:
    orders = bridge(1)
    orders.describe()
    _filled(orders, member).stop()
    columns = ("complete_at", "topic_id", "partitions", "retried", "rebuild_until")
    orders.database.execute("; ".join(f"ALTER TABLE cdc_offsets DROP COLUMN {column}" for column in columns))
    with orders.transaction():
        orders.put(11, 11)
    member(orders)
    orders.until(lambda: len(orders.rows()) == 11)
    assert orders.rows("SELECT length(topic_id), partitions FROM cdc_offsets") == [(22, 1)]
