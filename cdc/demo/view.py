"""Shows the demo to a person: a live table on a terminal, plain lines elsewhere. Touches standard output only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

PLAIN_EVERY = 3.0
"""Seconds between two lines of progress where there is no terminal."""

COLOURS = {
    "streaming": "green",
    "live": "green",
    "snapshotting": "cyan",
    "catching_up": "cyan",
    "waiting": "yellow",
    "starting": "yellow",
    "retrying": "magenta",
    "gap": "red",
    "failed": "red",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What there is to see at one moment.

    Args:
        status: as `cdc status --json` has it.
        committed, rolled_back, rows: what the writers have done so far.
        rows_per_second: what they do now.
        latency: recent percentiles in seconds, by name; empty before the first arrival.
        kills: what was killed so far.
    """

    status: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    committed: int = 0
    rolled_back: int = 0
    rows: int = 0
    rows_per_second: float = 0.0
    latency: Mapping[str, float] = field(default_factory=dict)
    kills: tuple[str, ...] = ()


class View(Protocol):
    """Where the demo tells its story."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, line: str) -> None:
        """One line that stays."""
        ...

    def show(self, frame: Frame) -> None:
        """How things stand; replaces what was shown before."""
        ...


def view(console: Console | None = None) -> View:
    """The live view where standard output is a terminal, else the plain one."""
    console = console or Console(highlight=False)
    return LiveView(console) if console.is_terminal else PlainView()


class PlainView:
    """Lines with the seconds since the start before them; progress only now and then."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._next = 0.0

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self._started:5.1f} s] {line}", flush=True)

    def show(self, frame: Frame) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PLAIN_EVERY
            self.say(f"  {progress(frame)}")


class LiveView:
    """A table that is drawn again in place, and the story above it."""

    def __init__(self, console: Console) -> None:
        self._started = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        stamp = Text(f"[{time.monotonic() - self._started:5.1f} s] ", style="dim")
        self._live.console.print(stamp + Text(line), soft_wrap=True)

    def show(self, frame: Frame) -> None:
        self._live.update(picture(frame, time.monotonic() - self._started), refresh=True)


def progress(frame: Frame) -> str:
    """One line: every worker's state and lag, then what the writers do."""
    parts = [
        f"{name} {worker['state']}{_lag(worker)}"
        for kind in ("connectors", "sinks")
        for name, worker in frame.status.get(kind, {}).items()
    ]
    if frame.committed:
        parts.append(f"{frame.rows_per_second:,.0f} rows/s written")
    if frame.latency:
        parts.append(f"p50 {milliseconds(frame.latency['p50'])}")
    return " · ".join(parts) or "starting"


def picture(frame: Frame, elapsed: float) -> Group:
    """The live table."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("worker", "state", "rate", "lag", "restarts", ""):
        table.add_column(heading, justify="right" if heading in ("rate", "lag", "restarts") else "left")
    for kind in ("connectors", "sinks"):
        for name, worker in frame.status.get(kind, {}).items():
            state = worker["state"]
            table.add_row(
                f"{kind.removesuffix('s')} {name}",
                Text(state, style=COLOURS.get(state, "")),
                f"{worker.get('rate') or 0:,.0f}/s",
                _lag(worker).strip() or "-",
                str(worker.get("restarts") or ""),
                _snapshot(worker),
            )
    writers = f"writers: {frame.committed:,} committed, {frame.rolled_back:,} rolled back, {frame.rows:,} rows"
    lines: list[RenderableType] = [Text(), table, Text(f"{writers}, {frame.rows_per_second:,.0f} rows/s")]
    if frame.latency:
        shown = ", ".join(f"{name} {milliseconds(seconds)}" for name, seconds in frame.latency.items())
        lines.append(Text(f"commit → visible in billing: {shown}"))
    if frame.kills:
        lines.append(Text(f"killed: {', '.join(frame.kills)}", style="red"))
    return Group(*lines, Text(f"{elapsed:.0f} s", style="dim"))


def _lag(worker: Mapping[str, Any]) -> str:
    if (events := worker.get("lag_events")) is not None:
        return f" {events:,} events"
    if (size := worker.get("lag_bytes")) is not None:
        return f" {size / 1024:,.0f} KiB"
    return ""


def _snapshot(worker: Mapping[str, Any]) -> str:
    snapshot = worker.get("snapshot")
    if not snapshot or snapshot.get("percent") is None:
        return ""
    return f"snapshot {snapshot['percent']:.0f} %"


def milliseconds(seconds: float) -> str:
    """`12 ms`, or `12.3 s` from ten seconds on."""
    return f"{seconds * 1000:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"
