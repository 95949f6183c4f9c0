"""The local HTTP address, and `cdc status` from the other side of it."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cdc.cli import app
from cdc.commands.status import render
from cdc.errors import CdcError
from cdc.server.address import is_loopback, parse
from cdc.server.http import Server
from cdc.states import Observed, connector_view, sink_view

ERROR = {"type": "Gap", "message": "slot cdc_shop is gone", "hint": "cdc heal", "retriable": False}
SNAPSHOT = {"rows": 1_500_000, "total": 6_000_000, "percent": 25.0, "rate": 150_000.0, "seconds_left": 30.0}


class StatusOnly:
    """A bridge that takes no commands."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.status = lambda: document

    def ask(self, name: str, action: str, tables: Sequence[str]) -> Mapping[str, Any]:
        raise AssertionError("not asked here")

    def restart(self, kind: str, name: str) -> Mapping[str, Any]:
        raise AssertionError("not asked here")


def observed(state: str, **more: Any) -> Observed:
    report = {"position": "0/1", "lag_seconds": 2.0, "lag_bytes": 2048, "lag_events": 70, "rate": 1000.0}
    return Observed(**{"state": state, "since": 0.0, "pid": 5, "report": report, **more})


def document(connector: Observed, *members: Observed) -> dict[str, Any]:
    return {"connectors": {"warehouse": connector_view(connector)}, "sinks": {"billing": sink_view(members)}}


def console_text(document: Mapping[str, Any]) -> str:
    console = Console(width=120, file=(written := io.StringIO()))
    console.print(render(document))
    return written.getvalue()


def shown(connector: Mapping[str, Any]) -> str:
    return console_text({"connectors": {"warehouse": connector}, "sinks": {}})


@pytest.fixture
def status() -> dict[str, Any]:
    return document(observed("streaming"), observed("live"))


@pytest.fixture
def server(status: dict[str, Any]) -> Iterator[Server]:
    server = Server("127.0.0.1", 0, StatusOnly(status))
    yield server
    server.close()


def ask(server: Server, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    host, port = parse(server.url)
    connection = http.client.HTTPConnection(host, port, timeout=5)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def cdc(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, list(arguments))
    if isinstance(found.exception, CdcError):
        raise found.exception
    return found.exit_code, found.output


def test_status_has_the_promised_members(server: Server) -> None:
    code, shown = ask(server, "/status")
    assert code == 200
    assert (
        shown["connectors"]["warehouse"].items()
        >= {
            "state": "streaming",
            "position": "0/1",
            "lag_seconds": 2.0,
            "lag_bytes": 2048,
            "rate": 1000.0,
            "retained_wal_bytes": None,
            "error": None,
        }.items()
    )
    assert (
        shown["sinks"]["billing"].items()
        >= {
            "state": "live",
            "lag_seconds": 2.0,
            "lag_events": 70,
            "rate": 1000.0,
            "error": None,
        }.items()
    )


def test_health_is_answered(server: Server) -> None:
    assert ask(server, "/healthz") == (200, {"state": "running"})


def test_other_paths_are_not_found(server: Server) -> None:
    assert ask(server, "/")[0] == 404


def test_a_page_that_reaches_us_by_another_name_is_refused(server: Server) -> None:
    assert ask(server, "/status", {"Host": "evil.example:8083"})[0] == 403


def test_an_address_in_use_is_named(server: Server) -> None:
    with pytest.raises(CdcError, match=r"127\.0\.0\.1:\d+ is in use") as caught:
        Server(*parse(server.url), StatusOnly({}))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("connector", "member", "code"),
    [
        ("streaming", "live", 0),
        ("snapshotting", "catching_up", 0),
        ("retrying", "retrying", 0),
        ("gap", "live", 3),
        ("streaming", "gap", 3),
        ("failed", "live", 3),
    ],
)
def test_exit_code_says_whether_somebody_must_act(
    server: Server, status: dict[str, Any], connector: str, member: str, code: int
) -> None:
    status.update(document(observed(connector), observed(member), observed("live")))
    assert cdc("status", "--listen", server.url)[0] == code


def test_json_is_what_the_bridge_said(server: Server, status: dict[str, Any]) -> None:
    code, output = cdc("status", "--json", "--url", server.url)
    assert (code, json.loads(output)) == (0, status)


def test_without_a_bridge_it_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(CdcError, match="no bridge runs here") as caught:
            cdc("status", "--listen", f"127.0.0.1:{free.getsockname()[1]}")
    assert caught.value.exit_code == 1


def test_something_else_at_the_address_is_no_bridge() -> None:
    other = Server("127.0.0.1", 0, StatusOnly({"hello": "world"}))
    try:
        with pytest.raises(CdcError, match="is not a bridge"):
            cdc("status", "--listen", other.url)
    finally:
        other.close()


def test_the_table_shows_states_lags_progress_and_errors() -> None:
    snapshotting = observed("snapshotting", report={"snapshot": SNAPSHOT})
    broken = observed("gap", error=ERROR, pid=None)
    text = console_text(document(snapshotting, broken, observed("live")))
    assert "1,500,000 of 6,000,000 rows, 25.0 %, 150,000 rows/s, 30.0 s left" in text
    assert "billing (1/2 live)" in text
    assert "slot cdc_shop is gone" in text
    assert "hint: cdc heal" in text


def test_the_source_of_one_that_is_down_is_shown_as_its_watch_sees_it() -> None:
    kept = {
        "retained_wal_bytes": 6 * 1024**3,
        "wal_warning": "slot cdc_shop holds back 6.0 GiB of WAL: nobody reads it",
    }
    down = observed("gap", error=ERROR, pid=None)
    watch = Observed(state="watching", since=0.0, pid=9, report=kept)
    assert connector_view(down, watch)["retained_wal_bytes"] == 6 * 1024**3
    assert connector_view(down, watch)["lag_bytes"] is None
    blind = Observed(state="retrying", since=0.0, error={**ERROR, "message": "connection refused"})
    text = shown(connector_view(down, watch)) + shown(connector_view(down, blind))
    assert "6.0 GiB" in text
    assert "holds back 6.0 GiB of WAL: nobody reads it" in text
    assert "cannot be watched: connection refused" in text


def test_why_polls_are_put_off_what_is_left_out_and_what_may_be_missed_are_shown() -> None:
    polling = {
        "put_off": "a standby is 12 s behind, more than 10 s",
        "refused_tables": {"public.a": "table public.a has no primary key"},
        "tables": {
            "public.b": {"may_miss": "what is committed more than 60 s after it was written"},
            "public.c": {"may_miss": None},
        },
    }
    text = shown(connector_view(observed("streaming", report=polling)))
    assert "warehouse: polls are put off: a standby is 12 s behind, more than 10 s" in text
    assert "warehouse: left out: public.a: table public.a has no primary key" in text
    assert "warehouse: public.b may miss what is committed more than 60 s after it was written" in text
    assert "public.c" not in text


def test_a_sink_is_as_well_as_its_worst_member() -> None:
    shown = sink_view([observed("live"), observed("retrying", error=ERROR, pid=None), observed("live")])
    assert (shown["state"], shown["error"]) == ("retrying", ERROR)
    assert (shown["lag_events"], shown["lag_seconds"]) == (140, 2.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8083", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8083"])
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0:8083", "10.0.0.1", "127.0.0.1.evil.example", "localhost.evil", "::1"])
def test_names_that_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("text", ["8083", "localhost", "https://localhost:1", "127.0.0.1:99999", "127.0.0.1:1/x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)
