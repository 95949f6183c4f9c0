"""`cdc snapshot`: which connector is asked for which tables, what it answers, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdc.cli import app
from cdc.commands.snapshot import requests
from cdc.config import parse
from cdc.errors import CdcError, ConfigError, Gap
from cdc.server.http import Server
from cdc.states import Observed, connector_view

YAML = """
name: shop
kafka: {bootstrap_servers: "localhost:9092"}
databases: {warehouse: {url: "postgresql://cdc@dwh/warehouse"}}
connectors:
  orders: {type: postgres_wal, database: warehouse, tables: [public.orders, "sales.*"]}
  stock:  {type: postgres_wal, database: warehouse, tables: ["stock.*", "sales.north_*"]}
server: {token: s3cret}
"""


@pytest.mark.parametrize(
    ("what", "connector", "action", "asked"),
    [
        (["public.orders"], None, "snapshot", {"orders": ["public.orders"]}),
        (["public.orders", "stock.a"], None, "snapshot", {"orders": ["public.orders"], "stock": ["stock.a"]}),
        (["public.*"], None, "snapshot", {"orders": ["public.*"]}),
        (["orders"], None, "snapshot", {"orders": []}),
        (["public.orders", "orders"], None, "snapshot", {"orders": []}),
        (["sales.north_1"], "stock", "snapshot", {"stock": ["sales.north_1"]}),
        ([], "stock", "snapshot", {"stock": []}),
        ([], "stock", "pause", {"stock": []}),
        (["public.orders"], None, "cancel", {"orders": []}),
    ],
)
def test_who_is_asked_for_what(
    what: list[str], connector: str | None, action: str, asked: dict[str, list[str]]
) -> None:
    assert requests(parse(YAML), what, connector, action) == asked


@pytest.mark.parametrize(
    ("what", "connector", "action", "says"),
    [
        (["public.order"], None, "snapshot", r"no connector captures public\.order .*did you mean public\.orders\?"),
        (["elsewhere.t"], None, "snapshot", r"no connector captures elsewhere\.t .*add it under `tables:`"),
        (["public.orders"], "stock", "snapshot", r"connector stock does not capture public\.orders"),
        (["sales.north_1"], None, "snapshot", r"captured by orders and stock(.|\n)*--connector NAME"),
        (["public.orders"], "order", "snapshot", r"no connector is called 'order' \(did you mean orders\?\)"),
        ([], None, "pause", r"which connector\? there is orders, stock"),
    ],
)
def test_what_cannot_be_asked_is_told(what: list[str], connector: str | None, action: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        requests(parse(YAML), what, connector, action)


class FakeBridge:
    """Answers a command, then shows these connectors one after the other."""

    def __init__(self, *shown: Observed) -> None:
        self.shown = list(shown)
        self.asked: list[tuple[str, str, list[str]]] = []

    def status(self) -> dict[str, Any]:
        observed = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
        return {"connectors": {"orders": connector_view(observed)}, "sinks": {}}

    def ask(self, name: str, action: str, tables: Sequence[str]) -> Mapping[str, Any]:
        self.asked.append((name, action, list(tables)))
        return {"answer": f"{len(tables)} tables are read again"}

    def restart(self, kind: str, name: str) -> Mapping[str, Any]:
        raise AssertionError("not asked here")


def observed(state: str, snapshot: Mapping[str, Any] | None = None, **more: Any) -> Observed:
    return Observed(state=state, since=0.0, **{"pid": 5, **more}, report={"snapshot": snapshot})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cdc.commands.snapshot.POLL_SECONDS", 0.0)
    file = tmp_path / "cdc.yaml"
    file.write_text(YAML)
    monkeypatch.setenv("CDC_CONFIG", str(file))


@pytest.fixture
def bridge() -> FakeBridge:
    half = {"rows": 500, "total": 1000, "percent": 50.0, "tables": 2, "tables_done": 1, "ranges": 8, "ranges_done": 4}
    return FakeBridge(
        observed("streaming", half), observed("streaming", {**half, "paused": True}), observed("streaming")
    )


@pytest.fixture
def address(bridge: FakeBridge) -> Iterator[str]:
    server = Server("127.0.0.1", 0, bridge, "s3cret")
    yield server.url
    server.close()


def cdc(*arguments: str) -> list[str]:
    found = CliRunner().invoke(app, ["snapshot", *arguments])
    if isinstance(found.exception, CdcError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output.splitlines()


def test_it_asks_with_the_token_and_shows_the_answer(bridge: FakeBridge, address: str) -> None:
    assert cdc("public.orders", "sales.*", "--listen", address) == ["orders: 2 tables are read again"]
    assert bridge.asked == [("orders", "snapshot", ["public.orders", "sales.*"])]


def test_pause_needs_no_tables_where_the_connector_is_named(bridge: FakeBridge, address: str) -> None:
    cdc("--pause", "--connector", "orders", "--listen", address)
    assert bridge.asked == [("orders", "pause", [])]


def test_waiting_shows_progress_until_it_is_done(bridge: FakeBridge, address: str) -> None:
    assert cdc("public.orders", "--wait", "--listen", address) == [
        "orders: 1 tables are read again",
        "orders: 500 of 1,000 rows, 50.0 %, 1 of 2 tables done, 4 of 8 ranges done",
        "orders: paused, 500 of 1,000 rows, 50.0 %, 1 of 2 tables done, 4 of 8 ranges done",
        "orders: done",
    ]


def test_waiting_for_one_that_falls_into_a_gap_ends_with_it(bridge: FakeBridge, address: str) -> None:
    bridge.shown = [observed("gap", pid=None, error={"message": "slot lost", "hint": "cdc heal orders"})]
    with pytest.raises(Gap, match="orders is in state gap: slot lost") as caught:
        cdc("public.orders", "--wait", "--listen", address)
    assert caught.value.hint == "cdc heal orders"


def test_a_restart_meanwhile_is_not_taken_for_the_end(bridge: FakeBridge, address: str) -> None:
    bridge.shown = [observed("retrying", pid=None), observed("starting"), observed("streaming")]
    shown = cdc("public.orders", "--wait", "--listen", address)
    assert shown[1:] == ["orders: retrying", "orders: starting", "orders: done"]


def test_without_a_bridge_it_says_so() -> None:
    with pytest.raises(CdcError, match="no bridge runs here"):
        cdc("public.orders", "--listen", "127.0.0.1:1")


@pytest.mark.parametrize("arguments", [["--pause", "--cancel"], []])
def test_wrong_usage(arguments: list[str]) -> None:
    found = CliRunner().invoke(app, ["snapshot", *arguments])
    assert found.exit_code == 2
