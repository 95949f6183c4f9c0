"""The words for how a worker is, and what `cdc status` shows of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

WELL = frozenset({"waiting", "snapshotting", "streaming", "paused", "catching_up", "live", "watching"})
"""A worker in one of these does what it should."""

ENDED = frozenset({"gap", "failed", "stopped"})
"""A worker in one of these is not started again."""

BROKEN = frozenset({"gap", "failed"})
"""Somebody has to do something: `cdc status` exits with 3."""

STATES = (
    "gap",
    "failed",
    "retrying",
    "starting",
    "paused",
    "waiting",
    "snapshotting",
    "catching_up",
    "streaming",
    "live",
    "stopped",
)
"""Of connectors and sinks, the worst first."""

_CONNECTOR_FIGURES = ("lag_seconds", "lag_bytes", "rate")
_WATCHED_FIGURES = (
    "retained_wal_bytes",
    "safe_wal_bytes",
    "wal_status",
    "unconfirmed_seconds",
    "wal_held_by",
    "wal_warning",
)
_SINK_FIGURES = ("lag_seconds", "lag_events", "rate")


@dataclass(frozen=True, slots=True)
class Observed:
    """What the supervisor knows of one worker process at one moment.

    Args:
        state: one of the words above, or `retrying`.
        since: when it came into that state, seconds since the epoch.
        error: why it is not well (`type`, `message`, `hint`, `retriable`), or None.
        retry_at: when it is started again, seconds since the epoch, or None.
        restarts: how often it was started again.
        pid: its process; None when it does not run.
        silent_seconds: time since it last said something.
        report: what it said last.
    """

    state: str
    since: float
    error: Mapping[str, Any] | None = None
    retry_at: float | None = None
    restarts: int = 0
    pid: int | None = None
    silent_seconds: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.pid is not None


def connector_view(observed: Observed, watch: Observed | None = None) -> dict[str, Any]:
    """A connector as `cdc status --json` shows it. Live figures of one that does not run are None.

    Args:
        watch: what looks after its source while it is down.
    """
    source = observed if watch is None else watch
    return {
        "state": observed.state,
        "position": observed.report.get("position"),
        **{name: _figure(observed, name) for name in _CONNECTOR_FIGURES},
        **{name: _figure(source, name) for name in _WATCHED_FIGURES},
        **_circumstances(observed),
        "snapshot": observed.report.get("snapshot"),
        "watch": None if watch is None else {"state": watch.state, "error": watch.error, "pid": watch.pid},
        **_further(observed, {"position", "snapshot", "watch", *_CONNECTOR_FIGURES, *_WATCHED_FIGURES}),
    }


def sink_view(members: Sequence[Observed]) -> dict[str, Any]:
    """A sink as `cdc status --json` shows it: its worst member's state, its lag as a whole.

    Time lag is the largest of the members', events and rates are their sum.
    """
    worst = min(members, key=lambda member: _severity(member.state))
    return {
        "state": worst.state,
        "lag_seconds": max(_known(members, "lag_seconds"), default=None),
        "lag_events": _total(_known(members, "lag_events")),
        "rate": _total(_known(members, "rate")),
        **_circumstances(worst),
        "members": [_member_view(member) for member in members],
    }


def is_broken(status: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> bool:
    """Whether anything in a status document is in `gap` or `failed`."""
    return any(worker["state"] in BROKEN for kind in ("connectors", "sinks") for worker in status[kind].values())


def moment(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _member_view(member: Observed) -> dict[str, Any]:
    return {
        "state": member.state,
        **{name: _figure(member, name) for name in _SINK_FIGURES},
        **_circumstances(member),
        **_further(member, set(_SINK_FIGURES)),
    }


def _circumstances(observed: Observed) -> dict[str, Any]:
    return {
        "error": observed.error,
        "retry_at": moment(observed.retry_at),
        "since": moment(observed.since),
        "restarts": observed.restarts,
        "pid": observed.pid,
        "silent_seconds": observed.silent_seconds if observed.running else None,
    }


def _further(observed: Observed, shown: set[str]) -> dict[str, Any]:
    """What else the plugin likes to tell, while it runs."""
    if not observed.running:
        return {}
    taken = {"state", *shown, *_circumstances(observed)}
    return {name: value for name, value in observed.report.items() if name not in taken}


def _figure(observed: Observed, name: str) -> Any:
    return observed.report.get(name) if observed.running else None


def _known(members: Iterable[Observed], name: str) -> list[Any]:
    figures = (_figure(member, name) for member in members)
    return [figure for figure in figures if figure is not None]


def _total(figures: Sequence[Any]) -> Any:
    return sum(figures) if figures else None


def _severity(state: str) -> int:
    return STATES.index(state) if state in STATES else 0
