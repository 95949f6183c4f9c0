"""`cdc poll`: which connector is asked to poll which tables, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdc.cli import app
from cdc.errors import CdcError, ConfigError, Refused
from cdc.failures import describe
from cdc.server.http import Server

YAML = """
name: shop
kafka: {bootstrap_servers: "localhost:9092"}
databases: {warehouse: {url: "postgresql://cdc@dwh/warehouse"}}
connectors:
  stock:
    type: sql_poll
    database: warehouse
    tables:
      stock.items: {}
      "stock.prices_*": {}
      stock.cheap: {query: "SELECT id FROM items WHERE price < 5", message_key: [id]}
  orders: {type: postgres_wal, database: warehouse, tables: [public.orders]}
server: {token: s3cret}
"""


class FakeBridge:
    """Polls `stock`, and refuses to poll anything else."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[str]]] = []

    def status(self) -> dict[str, Any]:
        return {"connectors": {}, "sinks": {}}

    def ask(self, name: str, action: str, tables: Sequence[str]) -> Mapping[str, Any]:
        self.asked.append((name, action, list(tables)))
        if name != "stock":
            return {"error": describe(Refused(f"connector {name} does not poll", hint="`cdc snapshot` reads again"))}
        return {"answer": "polling stock.items now"}

    def restart(self, kind: str, name: str) -> Mapping[str, Any]:
        raise AssertionError("not asked here")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "cdc.yaml"
    file.write_text(YAML)
    monkeypatch.setenv("CDC_CONFIG", str(file))


@pytest.fixture
def bridge() -> FakeBridge:
    return FakeBridge()


@pytest.fixture
def address(bridge: FakeBridge) -> Iterator[str]:
    server = Server("127.0.0.1", 0, bridge, "s3cret")
    yield server.url
    server.close()


def cdc(*arguments: str) -> list[str]:
    found = CliRunner().invoke(app, ["poll", *arguments])
    if isinstance(found.exception, CdcError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output.splitlines()


def test_it_asks_with_the_token_and_shows_the_answer(bridge: FakeBridge, address: str) -> None:
    assert cdc("stock", "--listen", address) == ["stock: polling stock.items now"]
    assert bridge.asked == [("stock", "poll", [])]


@pytest.mark.parametrize("tables", [["stock.items"], ["stock.*"], ["stock.prices_eu", "stock.items"], ["stock.cheap"]])
def test_tables_patterns_and_queries_may_be_named(bridge: FakeBridge, address: str, tables: list[str]) -> None:
    cdc("stock", *tables, "--listen", address)
    assert bridge.asked == [("stock", "poll", tables)]


def test_a_connector_that_does_not_poll_refuses_with_exit_code_3(address: str) -> None:
    with pytest.raises(Refused, match="connector orders does not poll") as caught:
        cdc("orders", "--listen", address)
    assert (caught.value.hint, caught.value.exit_code) == ("`cdc snapshot` reads again", 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["stok"], r"no connector is called 'stok' \(did you mean stock\?\)"),
        (["stock", "stock.item"], r"connector stock does not capture stock\.item \(did you mean stock\.items\?\)"),
        (["stock", "public.orders"], r"connector stock does not capture public\.orders"),
    ],
)
def test_what_is_not_in_the_settings_is_asked_of_nobody(
    bridge: FakeBridge, address: str, arguments: list[str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        cdc(*arguments, "--listen", address)
    assert caught.value.exit_code == 2
    assert bridge.asked == []


def test_without_a_bridge_it_says_so() -> None:
    with pytest.raises(CdcError, match="no bridge runs here") as caught:
        cdc("stock", "--listen", "127.0.0.1:1")
    assert caught.value.exit_code == 1


def test_a_connector_must_be_named() -> None:
    assert CliRunner().invoke(app, ["poll"]).exit_code == 2
