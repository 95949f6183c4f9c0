"""Commands over the local HTTP address: what is let through, and what is not."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from cdc.errors import CdcError, Gap
from cdc.failures import describe
from cdc.server.address import parse
from cdc.server.client import send_command
from cdc.server.http import Server

JSON = {"Content-Type": "application/json"}


class FakeBridge:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def status(self) -> dict[str, Any]:
        return {"connectors": {}, "sinks": {}}

    def ask(self, name: str, action: str, tables: Sequence[str]) -> Mapping[str, Any]:
        self.asked.append((name, action, list(tables)))
        if action == "cancel":
            return {"error": describe(Gap("nothing to cancel", hint="do this"))}
        return {"answer": f"{action} it is"}

    def restart(self, kind: str, name: str) -> Mapping[str, Any]:
        self.asked.append((kind, name))
        return {"answer": "started again"}


@pytest.fixture
def bridge() -> FakeBridge:
    return FakeBridge()


@pytest.fixture
def server(bridge: FakeBridge) -> Iterator[Server]:
    server = Server("127.0.0.1", 0, bridge)
    yield server
    server.close()


def post(
    server: Server, path: str, body: str | bytes = "{}", headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    host, port = parse(server.url)
    connection = http.client.HTTPConnection(host, port, timeout=5)
    connection.request("POST", path, body, JSON if headers is None else headers)
    response = connection.getresponse()
    content = response.read()
    return response.status, json.loads(content) if content.startswith(b"{") else None


@pytest.mark.parametrize("action", ["snapshot", "poll"])
def test_a_command_reaches_the_connector_with_its_tables(server: Server, bridge: FakeBridge, action: str) -> None:
    found = post(server, f"/connectors/warehouse/{action}", '{"tables": ["public.orders", "sales.*"]}')
    assert found == (200, {"answer": f"{action} it is"})
    assert bridge.asked == [("warehouse", action, ["public.orders", "sales.*"])]


@pytest.mark.parametrize("path", ["/connectors/warehouse/restart", "/sinks/billing/restart"])
def test_a_restart_reaches_connectors_and_sinks(server: Server, bridge: FakeBridge, path: str) -> None:
    assert post(server, path) == (200, {"answer": "started again"})
    assert bridge.asked == [tuple(path.strip("/").replace("s/", "/").split("/")[:2])]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({}, 415),
        ({**JSON, "Host": "evil.example:8083"}, 403),
        ({**JSON, "Host": ""}, 403),
    ],
)
def test_what_a_page_in_a_browser_may_send_is_refused(
    server: Server, bridge: FakeBridge, headers: dict[str, str], code: int
) -> None:
    assert post(server, "/connectors/warehouse/cancel", "{}", headers)[0] == code
    assert bridge.asked == []


def test_a_browser_that_asks_whether_it_may_is_not_told_so(server: Server) -> None:
    connection = http.client.HTTPConnection(*parse(server.url), timeout=5)
    connection.request("OPTIONS", "/connectors/warehouse/cancel", headers={"Origin": "https://evil.example"})
    response = connection.getresponse()
    assert response.status == 501
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    [
        "/connectors/warehouse/drop",
        "/sinks/billing/snapshot",
        "/sinks/billing/poll",
        "/connectors/warehouse",
        "/connectors//restart",
        "/connectors/a/b/restart",
        "/connectors/warehouse/restart/",
        "/status",
    ],
)
def test_other_commands_are_not_found(server: Server, bridge: FakeBridge, path: str) -> None:
    assert post(server, path)[0] == 404
    assert bridge.asked == []


@pytest.mark.parametrize(
    "body",
    [
        "no json",
        "[]",
        '{"tables": "public.orders"}',
        '{"tables": [1]}',
        '{"tables": ["public.orders"], "where": "true"}',
        '{"tables": ["public.orders"], "predicate": {"public.orders": "id < 5"}}',
    ],
)
def test_a_body_that_holds_anything_but_tables_is_refused(server: Server, bridge: FakeBridge, body: str) -> None:
    assert post(server, "/connectors/warehouse/snapshot", body)[0] == 400
    assert bridge.asked == []


def test_a_body_too_large_is_refused(server: Server) -> None:
    assert post(server, "/connectors/warehouse/snapshot", b'{"tables": []' + b" " * 70_000 + b"}")[0] == 413


def test_with_a_token_a_command_must_show_it_and_the_status_need_not(bridge: FakeBridge) -> None:
    server = Server("127.0.0.1", 0, bridge, "s3cret")
    try:
        host, port = parse(server.url)
        for shown in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "s3cret"},
            {"Authorization": "Bearer é"},
        ):
            assert post(server, "/connectors/warehouse/pause", "{}", {**JSON, **shown})[0] == 401
        with pytest.raises(CdcError, match=r"server\.token"):
            send_command(host, port, "connector", "warehouse", "pause")
        assert bridge.asked == []
        assert send_command(host, port, "connector", "warehouse", "pause", token="s3cret") == "pause it is"
        connection = http.client.HTTPConnection(host, port, timeout=5)
        connection.request("GET", "/status")
        assert connection.getresponse().status == 200
    finally:
        server.close()


def test_the_client_says_what_the_worker_said(server: Server) -> None:
    host, port = parse(server.url)
    assert send_command(host, port, "connector", "warehouse", "snapshot", ["public.orders"]) == "snapshot it is"
    with pytest.raises(Gap, match="nothing to cancel") as caught:
        send_command(host, port, "connector", "warehouse", "cancel")
    assert (caught.value.hint, caught.value.exit_code) == ("do this", 3)
