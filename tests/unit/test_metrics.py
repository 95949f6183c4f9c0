"""GET /metrics: what Prometheus reads."""

from __future__ import annotations

import http.client
import re
from typing import Any

from cdc.server.address import parse
from cdc.server.http import Server
from cdc.server.metrics import render
from cdc.states import Observed, connector_view, sink_view
from tests.unit.test_cli_status import StatusOnly

REPORT = {
    "lag_seconds": 1.5,
    "lag_bytes": 2048,
    "rate": 1000.0,
    "retained_wal_bytes": 5_000_000,
    "safe_wal_bytes": None,
    "unconfirmed_seconds": 3.0,
    "wal_warning": "slot cdc_shop holds back much",
    "snapshot": {"rows": 500, "total": None, "percent": 12.5, "tables": 4, "tables_done": 1, "seconds_left": 30},
}
LINE = re.compile(r'[a-z_]+\{([a-z]+="([^"\\\n]|\\.)*",?)+\} -?[0-9.e+-]+')


def document() -> dict[str, Any]:
    connector = Observed(state="streaming", since=0.0, pid=5, restarts=2, report=REPORT)
    down = Observed(state="gap", since=0.0)
    watch = Observed(state="watching", since=0.0, pid=6, report={"retained_wal_bytes": 77})
    members = [Observed(state="live", since=0.0, pid=7, restarts=1, report={"lag_events": 3}) for _ in range(2)]
    return {
        "connectors": {"warehouse": connector_view(connector), "down": connector_view(down, watch)},
        "sinks": {"billing": sink_view(members)},
    }


def samples() -> dict[str, float]:
    lines = [line for line in render(document()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_every_line_is_of_the_text_format_and_every_metric_is_explained_once() -> None:
    lines = render(document()).splitlines()
    assert [line for line in lines if not line.startswith("#") and not LINE.fullmatch(line)] == []
    named = {line.split("{")[0] for line in lines if not line.startswith("#")}
    for comment in ("# HELP ", "# TYPE "):
        explained = [line.split()[2] for line in lines if line.startswith(comment)]
        assert sorted(explained) == sorted(named)


def test_figures_are_there_and_unknown_ones_are_not() -> None:
    found = samples()
    mine = '{kind="connector",name="warehouse"}'
    assert found[f"cdc_lag_seconds{mine}"] == 1.5
    assert found[f"cdc_connector_retained_wal_bytes{mine}"] == 5_000_000
    assert found[f"cdc_connector_unconfirmed_seconds{mine}"] == 3
    assert found[f"cdc_connector_wal_warning{mine}"] == 1
    assert found[f"cdc_restarts_total{mine}"] == 2
    assert found[f"cdc_snapshot_percent{mine}"] == 12.5
    assert f"cdc_connector_safe_wal_bytes{mine}" not in found
    assert f"cdc_snapshot_expected_rows{mine}" not in found


def test_one_that_is_down_is_in_one_state_and_its_source_is_still_measured() -> None:
    found = samples()
    states = {name: value for name, value in found.items() if name.startswith("cdc_state") and '"down"' in name}
    assert [name for name, value in states.items() if value] == ['cdc_state{kind="connector",name="down",state="gap"}']
    assert len(states) > 5
    assert found['cdc_connector_retained_wal_bytes{kind="connector",name="down"}'] == 77


def test_a_sink_is_the_sum_of_its_members() -> None:
    found = samples()
    assert found['cdc_sink_lag_events{kind="sink",name="billing"}'] == 6
    assert found['cdc_restarts_total{kind="sink",name="billing"}'] == 2


def test_it_is_answered_as_prometheus_asks() -> None:
    server = Server("127.0.0.1", 0, StatusOnly(document()))
    try:
        connection = http.client.HTTPConnection(*parse(server.url), timeout=5)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"cdc_state{" in answer.read()
    finally:
        server.close()
