"""A status document as Prometheus reads it. Pure.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cdc.states import STATES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, Any]

_CONNECTOR = {
    "lag_seconds": ("cdc_lag_seconds", "How far behind in time."),
    "lag_bytes": ("cdc_connector_lag_bytes", "WAL not read yet."),
    "rate": ("cdc_events_per_second", "Events a second, over the last seconds."),
    "retained_wal_bytes": ("cdc_connector_retained_wal_bytes", "WAL the source keeps for it."),
    "safe_wal_bytes": ("cdc_connector_safe_wal_bytes", "WAL that may be written before the server gives the slot up."),
    "unconfirmed_seconds": ("cdc_connector_unconfirmed_seconds", "Age of the oldest change that is not confirmed."),
}
_SNAPSHOT = {
    "rows": ("cdc_snapshot_rows", "Rows of the running snapshot that are read."),
    "total": ("cdc_snapshot_expected_rows", "Rows of the running snapshot by the planner's estimate."),
    "tables": ("cdc_snapshot_tables", "Tables of the running snapshot."),
    "tables_done": ("cdc_snapshot_tables_done", "Tables of the running snapshot that are done."),
    "percent": ("cdc_snapshot_percent", "How much of the running snapshot is done."),
    "seconds_left": ("cdc_snapshot_left_seconds", "How long the running snapshot will take by its rate."),
}
_SINK = {
    "lag_seconds": ("cdc_lag_seconds", "How far behind in time."),
    "lag_events": ("cdc_sink_lag_events", "Events not applied yet."),
    "rate": ("cdc_events_per_second", "Events a second, over the last seconds."),
}


def render(status: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """All metrics; a figure that is not known now is left out."""
    samples: dict[tuple[str, str, str], list[str]] = {}
    for kind, name, help_text, labels, value in _samples(status):
        text = ",".join(f'{label}="{_escaped(str(content))}"' for label, content in labels.items())
        samples.setdefault((name, kind, help_text), []).append(f"{name}{{{text}}} {value}")
    lines = []
    for (name, kind, help_text), found in samples.items():
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *found]
    return "\n".join(lines) + "\n"


def _samples(status: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[tuple[str, str, str, Labels, Any]]:
    for name, connector in status["connectors"].items():
        labels = {"kind": "connector", "name": name}
        yield from _common(connector, labels)
        yield from _figures(connector, _CONNECTOR, labels)
        yield from _figures(connector.get("snapshot") or {}, _SNAPSHOT, labels)
        warned = int(bool(connector.get("wal_warning")))
        yield "gauge", "cdc_connector_wal_warning", "1 while `cdc status` warns of kept WAL.", labels, warned
    for name, sink in status["sinks"].items():
        labels = {"kind": "sink", "name": name}
        yield from _common(sink, labels)
        yield from _figures(sink, _SINK, labels)


def _common(worker: Mapping[str, Any], labels: Labels) -> Iterator[tuple[str, str, str, Labels, Any]]:
    for state in STATES:
        value = int(state == worker["state"])
        yield "gauge", "cdc_state", "1 for the state it is in.", {**labels, "state": state}, value
    members = worker.get("members") or [worker]
    restarts = sum(member["restarts"] for member in members)
    yield "counter", "cdc_restarts_total", "How often its processes were started again.", labels, restarts


def _figures(
    found: Mapping[str, Any], names: Mapping[str, tuple[str, str]], labels: Labels
) -> Iterator[tuple[str, str, str, Labels, Any]]:
    for key, (name, help_text) in names.items():
        if found.get(key) is not None:
            yield "gauge", name, help_text, labels, found[key]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
