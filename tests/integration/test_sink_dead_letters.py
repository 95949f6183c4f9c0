"""Refused events on real Kafka: put aside, kept in order, retried and discarded, and never twice or too late."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdc.cli import app
from cdc.commands import dead_letters as commands
from tests.sink_line import Bridge, MakeBridge

TABLE = "CREATE TABLE orders (id bigint PRIMARY KEY, n bigint CONSTRAINT small CHECK (n < 100))"
GO_ON = {"on_refused": "dead_letter"}
WAIT = {"on_refused": "dead_letter", "after_dead_letter": "wait"}

Cdc = Callable[..., Any]


@pytest.fixture
def cdc(tmp_path: Path) -> Callable[..., Cdc]:
    """`cdc dead-letters …` with a bridge's settings: output, and the exit code first."""

    def of(orders: Bridge, **section: Any) -> Cdc:
        file = orders.file(tmp_path, **section)

        def call(*arguments: str) -> tuple[int, str]:
            done = CliRunner().invoke(app, ["dead-letters", *arguments, "--config", str(file)])
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception
            return done.exit_code, done.output

        return call

    return of


def _open(cdc: Cdc) -> list[dict[str, Any]]:
    return list(json.loads(cdc("list", "--json")[1]))


def _states(cdc: Cdc) -> list[tuple[int, str]]:
    return [(letter["offset"], letter["state"]) for letter in _open(cdc)]


def _healed(orders: Bridge) -> None:
    orders.database.execute("ALTER TABLE orders DROP CONSTRAINT small")


def test_what_is_open_is_listed_and_shown_without_values(bridge: MakeBridge, member: Any, cdc: Any) -> None:
    orders = bridge(1)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **GO_ON)
    assert call("list") == (0, "no dead letters are open\n")
    with orders.transaction():
        orders.put(1, 10)
        orders.put(424242, 777777)
    sink = member(orders, **GO_ON)
    orders.until(lambda: sink.status.get("dead_letters") == 1)
    (letter,) = _open(call)
    assert letter.pop("at") > "2026"
    assert letter == {
        "id": f"{orders.topic}/0/1",
        "sink": "target",
        "topic": orders.topic,
        "partition": 0,
        "offset": 1,
        "state": "refused",
        "reason": "CheckViolation (23514), constraint small",
        "key": ["id"],
    }
    code, listed = call("list")
    assert code == 0
    assert "constraint small" in listed.replace("\n", " ")
    code, shown = call("show", letter["id"])
    assert code == 0
    assert '["id", "n"]' in shown
    for text in (listed, shown):
        assert "777777" not in text
        assert "424242" not in text
    assert "777777" in call("show", letter["id"], "--values")[1]


def test_one_that_was_mended_is_retried_and_applied(bridge: MakeBridge, member: Any, cdc: Any) -> None:
    orders = bridge(1)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **GO_ON)
    with orders.transaction():
        orders.put(1, 1000)
        orders.put(2, 20)
    member(orders, **GO_ON)
    orders.until(lambda: orders.rows() == [(2, 20)])
    code, said = call("retry", f"{orders.topic}/0/0")
    assert (code, said) == (1, f"{orders.topic}/0/0: refused again: CheckViolation (23514), constraint small\n")
    assert _states(call) == [(0, "refused")]
    _healed(orders)
    assert call("retry", "--all") == (0, f"{orders.topic}/0/0: applied\n")
    assert orders.rows() == [(1, 1000), (2, 20)]
    assert _open(call) == []


def test_nothing_newer_is_overwritten_nor_comes_back(bridge: MakeBridge, member: Any, cdc: Any) -> None:
    orders = bridge(1)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **GO_ON)
    sink = member(orders, **GO_ON)
    for id in (1, 2):
        with orders.transaction():
            orders.put(id, 1000)
        orders.until(lambda id=id: sink.status.get("dead_letters") == id)  # type: ignore[misc]
    with orders.transaction():
        orders.put(1, 10)
        orders.drop(2)
    orders.until(lambda: orders.rows() == [(1, 10)])
    _healed(orders)
    orders.until(lambda: [state for _, state in _states(call)] == ["overtaken", "overtaken"])
    code, said = call("retry", "--all")
    assert code == 1
    assert "not retried (CheckViolation (23514), constraint small; overtaken by offset" in said
    assert orders.rows() == [(1, 10)]
    assert call("discard", "--all")[0] == 0
    orders.until(lambda: sink.status.get("dead_letters") == 0)


def test_later_events_of_the_key_wait_in_order(bridge: MakeBridge, process: Any, cdc: Any) -> None:
    """Killed and started again in between; in the end everything is applied, as if nothing had been refused."""
    orders = bridge(2)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **WAIT)
    worker = process(orders, **WAIT)
    with orders.transaction():
        orders.put(1, 1000, partition=0)
        orders.put(2, 20, partition=0)
        orders.put(3, 30, partition=1)
    orders.until(lambda: orders.rows() == [(2, 20), (3, 30)])
    with orders.transaction():
        orders.put(1, 11, partition=0)
        orders.put(2, 21, partition=0)
    orders.until(lambda: orders.rows() == [(2, 21), (3, 30)])
    worker.kill()
    worker.wait()
    worker = process(orders, **WAIT)
    with orders.transaction():
        orders.drop(1, partition=0)
        orders.put(2, 22, partition=0)
    orders.until(lambda: orders.rows() == [(2, 22), (3, 30)])
    # Offset 3 is a transaction's marker, and 6.
    assert _states(call) == [(0, "refused"), (3, "waiting"), (6, "waiting"), (7, "waiting")]
    code, said = call("retry", f"{orders.topic}/0/3")
    assert code == 1
    assert f"waits for {orders.topic}/0/0; retry or discard that, and it follows" in said
    _healed(orders)
    assert call("retry", f"{orders.topic}/0/0") == (0, f"{orders.topic}/0/0: applied\n")
    orders.until(lambda: _open(call) == [])
    assert orders.rows() == [(2, 22), (3, 30)]
    with orders.transaction():
        orders.put(1, 12, partition=0)
    orders.until(lambda: orders.rows() == [(1, 12), (2, 22), (3, 30)])
    assert _open(call) == []


def test_what_waits_is_retried_with_what_it_waits_for(bridge: MakeBridge, member: Any, cdc: Any) -> None:
    orders = bridge(1)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **WAIT)
    sink = member(orders, **WAIT)
    for n, dead in ((1000, 1), (11, 2), (12, 3)):
        with orders.transaction():
            orders.put(1, n)
        orders.until(lambda dead=dead: sink.status.get("dead_letters") == dead)  # type: ignore[misc]
    first, second, third = (letter["id"] for letter in _open(call))
    code, said = call("retry", "--all")
    assert code == 1
    assert said == (
        f"{first}: refused again: CheckViolation (23514), constraint small\n"
        f"{second}: waits for {first}\n{third}: waits for {first}\n"
    )
    _healed(orders)
    assert call("retry", "--all") == (0, f"{first}: applied\n{second}: applied\n{third}: applied\n")
    assert orders.rows() == [(1, 12)]


def test_what_waits_behind_a_discarded_one_goes_on(bridge: MakeBridge, member: Any, cdc: Any) -> None:
    orders = bridge(1)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **WAIT)
    sink = member(orders, **WAIT)
    for n, dead in ((1000, 1), (11, 2), (2000, 3), (12, 4)):
        with orders.transaction():
            orders.put(1, n)
        orders.until(lambda dead=dead: sink.status.get("dead_letters") == dead)  # type: ignore[misc]
    assert call("discard", _open(call)[0]["id"])[0] == 0
    orders.until(lambda: orders.rows() == [(1, 11)])
    orders.until(lambda: [state for _, state in _states(call)] == ["refused", "waiting"])
    assert call("discard", _open(call)[0]["id"])[0] == 0
    orders.until(lambda: orders.rows() == [(1, 12)])
    orders.until(lambda: _open(call) == [])


@pytest.mark.parametrize("failpoint", ["sink.before_settled", "sink.after_commit", "sink.before_commit"])
def test_a_table_without_key_gets_what_is_retried_once(
    bridge: MakeBridge, process: Any, cdc: Any, tmp_path: Path, failpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "OUTCOME_SECONDS", 1.0)
    orders = bridge(1)
    orders.describe(key=())
    orders.database.execute("CREATE TABLE orders (id bigint, n bigint CONSTRAINT small CHECK (n < 100))")
    call = cdc(orders, **GO_ON)
    environment = {**os.environ, "CDC_FAILPOINTS": str(tmp_path)}
    worker = process(orders, environment, **GO_ON)
    with orders.transaction():
        orders.put(1, 1000, of=None)
        orders.put(2, 20, of=None)
    orders.until(lambda: orders.rows() == [(2, 20)])
    _healed(orders)
    (tmp_path / failpoint).touch()
    assert call("retry", "--all")[0] == 1
    worker.wait(20)
    process(orders, environment, **GO_ON)
    orders.until(lambda: _open(call) == [])
    assert orders.rows() == [(1, 1000), (2, 20)]


@pytest.mark.parametrize("failpoint", ["sink.after_put_aside", "sink.before_put_aside", "sink.before_commit"])
def test_killed_while_it_puts_aside_an_event_is_one_letter_or_none(
    bridge: MakeBridge, process: Any, cdc: Any, tmp_path: Path, failpoint: str
) -> None:
    """And if the cause was mended meanwhile, the event is applied and no letter is left."""
    orders = bridge(1)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **WAIT)
    environment = {**os.environ, "CDC_FAILPOINTS": str(tmp_path)}
    (tmp_path / failpoint).touch()
    with orders.transaction():
        orders.put(1, 1000)
        orders.put(1, 1001)
        orders.put(2, 20)
    assert process(orders, environment, **WAIT).wait(30) == -9
    worker = process(orders, environment, **WAIT)
    orders.until(lambda: orders.rows() == [(2, 20)])
    assert sorted(_states(call)) == [(0, "refused"), (1, "refused")]
    worker.kill()
    worker.wait()
    orders.database.execute("UPDATE cdc_offsets SET next_offset = NULL; DELETE FROM orders")  # a backup was restored
    _healed(orders)
    process(orders, environment, **WAIT)
    orders.until(lambda: orders.rows() == [(1, 1001), (2, 20)])
    assert _open(call) == []


def test_a_member_that_takes_a_partition_over_knows_what_waits(bridge: MakeBridge, process: Any, cdc: Any) -> None:
    orders = bridge(2)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **WAIT)
    first = process(orders, **WAIT)
    with orders.transaction():
        orders.put(1, 1000, partition=0)
        orders.put(2, 2000, partition=1)
    orders.until(lambda: len(_open(call)) == 2)
    process(orders, **WAIT)
    orders.until(lambda: orders.rows("SELECT count(DISTINCT backend) FROM cdc_offsets") == [(2,)])
    with orders.transaction():
        orders.put(1, 11, partition=0)
        orders.put(2, 21, partition=1)
    orders.until(lambda: len(_open(call)) == 4)
    first.kill()
    with orders.transaction():
        orders.put(1, 12, partition=0)
        orders.put(2, 22, partition=1)
    orders.until(lambda: len(_open(call)) == 6)
    assert orders.rows() == []
    _healed(orders)
    assert call("retry", *(letter["id"] for letter in _open(call) if letter["state"] == "refused"))[0] == 0
    orders.until(lambda: orders.rows() == [(1, 12), (2, 22)])
    orders.until(lambda: _open(call) == [])


def test_a_refused_event_before_a_truncate_stays_away(bridge: MakeBridge, member: Any, cdc: Any) -> None:
    from tests.sink_events import position, value

    orders = bridge(1)
    orders.describe()
    orders.database.execute(TABLE)
    call = cdc(orders, **GO_ON)
    sink = member(orders, **GO_ON)
    with orders.transaction():
        orders.put(1, 1000)
    orders.until(lambda: sink.status.get("dead_letters") == 1)
    orders._lsn += 1
    with orders.transaction():
        orders.producer.produce(orders.topic, value("t", None, position(orders._lsn)), None, partition=0)
        orders.put(2, 20)
    orders.until(lambda: orders.rows() == [(2, 20)])
    _healed(orders)
    assert call("retry", "--all")[0] == 0
    assert orders.rows() == [(2, 20)]


def test_ids_that_are_wrong_are_named(bridge: MakeBridge, cdc: Any) -> None:
    orders = bridge(1)
    call = cdc(orders, **GO_ON)
    assert call("retry", "nonsense")[0] == 2
    assert call("retry")[0] == 2
    with pytest.raises(Exception, match="no dead letter"):
        call("discard", f"{orders.topic}/0/7")
