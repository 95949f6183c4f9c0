"""One child process: builds a connector's or a sink member's loop, runs it, reports its state.

Touches its pipes, signals and files of settings; what it runs touches the source, Kafka and
the target. Started by the supervisor:

    python -m cdc.worker connector NAME --member 0 --report-fd N [--config PATH]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdc import logs
from cdc.errors import Gap
from cdc.failures import describe
from cdc.lifeline import ReportPipe, hold_on

REPORT_SECONDS = 1.0
_SOONEST_SECONDS = 0.05
"""When a new state is looked at again: what passes quickly is seen, what lasts costs nothing."""

ASKED_TO_STOP = 128 + signal.SIGTERM
"""Exit code when a signal ended it: the supervisor tells that from having finished."""


class Reporter:
    """Sends states to the supervisor: each change at once, otherwise about once a second."""

    def __init__(self, pipe: ReportPipe) -> None:
        self._pipe = pipe
        self._last: dict[str, Any] = {"state": "starting"}
        self._sent = float("-inf")

    def report(self, status: Mapping[str, Any]) -> None:
        """Take what the loop says of itself; pass it on when it is time."""
        now = time.monotonic()
        due = status.get("state") != self._last.get("state") or now - self._sent >= REPORT_SECONDS - 0.05
        self._last = dict(status)
        if due:
            self._sent = now
            self._pipe.send(self._last)

    def end(self, state: str, error: Mapping[str, Any] | None = None) -> None:
        """The last report of this process."""
        self._pipe.send_last({**self._last, "ended": True, "state": state, "error": error})


def run(kind: str, name: str, member: str, config: str | None, reporter: Reporter) -> int:
    """Run one worker until it has finished, was asked to stop, or failed. Returns the exit code."""
    stop = Stop()
    hold_on(stop)
    reporter.report({"state": "starting"})
    try:
        if kind == "connector":
            _run_connector(name, config, stop, reporter)
        else:
            _run_sink(name, member, config, stop, reporter)
    except Exception as error:
        told = describe(error)
        if told["type"] == "InternalError" and logs.debugging():
            traceback.print_exc()
        reporter.end("gap" if isinstance(error, Gap) else "retrying" if told["retriable"] else "failed", told)
        return int(told["exit_code"])
    if stop.event.is_set():
        return ASKED_TO_STOP
    reporter.end("stopped")
    return 0


class Stop:
    """Set once; from then on whatever was or is being built is told to stop."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._also: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        self.event.set()
        self._also()

    def also(self, action: Callable[[], None]) -> None:
        """Call `action` when it is time; at once if it was before."""
        self._also = action
        if self.event.is_set():
            action()


def _run_connector(name: str, config: str | None, stop: Stop, reporter: Reporter) -> None:
    # Imported here, and for one kind only: a worker's memory counts.
    from cdc.config import load
    from cdc.pipeline import run_connector
    from cdc.plugins import connector_plugins
    from cdc.publisher import Publisher

    settings = load(config)
    section = settings.connectors[name]
    connector = connector_plugins()[section.type].create(settings, name, section)
    stop.also(connector.stop)
    ended = threading.Event()

    def watch() -> None:
        state, pause = "", _SOONEST_SECONDS
        while not ended.wait(pause):
            status = connector.status()
            reporter.report(status)
            pause = min(pause * 2, REPORT_SECONDS) if status["state"] == state else _SOONEST_SECONDS
            state = status["state"]

    watcher = threading.Thread(target=watch, name="status", daemon=True)
    watcher.start()
    try:
        publisher = Publisher(settings, name)
        publisher.stop_when(stop.event.is_set)
        run_connector(connector, publisher)
    finally:
        ended.set()
        watcher.join(timeout=REPORT_SECONDS)


def _run_sink(name: str, member: str, config: str | None, stop: Stop, reporter: Reporter) -> None:
    from cdc.config import load
    from cdc.plugins import sink_plugins
    from cdc.sink_loop import run_sink

    settings = load(config)
    section = settings.sinks[name]
    sink = sink_plugins()[section.type].create(settings, name, section)
    run_sink(settings, name, sink, stop.event, reporter.report, member=member)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cdc.worker", description="Started by `cdc run`.")
    parser.add_argument("kind", choices=("connector", "sink"))
    parser.add_argument("name")
    parser.add_argument("--config")
    parser.add_argument("--member", type=int, default=0)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--report-fd", type=int, required=True)
    chosen = parser.parse_args(arguments)
    logs.configure({chosen.kind: chosen.name, **({"member": chosen.member} if chosen.kind == "sink" else {})})
    member = f"{chosen.instance}-{chosen.member}"
    return run(chosen.kind, chosen.name, member, chosen.config, Reporter(ReportPipe(chosen.report_fd)))


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Not sys.exit: a thread that waits in librdkafka or libpq must not keep the process alive.
    os._exit(code)
