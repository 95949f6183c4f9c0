"""One child process: builds a connector's, a sink member's or a watch's loop, runs it, reports its state.

Touches its pipes and signals, and the settings that it was given; what it runs touches the
source, Kafka and the target. Started by the supervisor:

    python -m cdc.worker connector NAME --member 0 --instance I --report-fd N --settings-fd N
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
from typing import TYPE_CHECKING, Any

from cdc import logs
from cdc.asking import Answers
from cdc.errors import Gap
from cdc.failures import describe
from cdc.lifeline import ReportPipe, hold_on

if TYPE_CHECKING:
    from cdc.settings import Settings

REPORT_SECONDS = 1.0
_SOONEST_SECONDS = 0.05
"""When a new state is looked at again: what passes quickly is seen, what lasts costs nothing."""

WATCH_SECONDS = 10.0
"""How often a watch looks."""

ASKED_TO_STOP = 128 + signal.SIGTERM
"""Exit code when a signal ended it: the supervisor tells that from having finished."""


class Reporter:
    """Sends states to the supervisor: each change at once, otherwise about once a second."""

    def __init__(self, pipe: ReportPipe) -> None:
        self._pipe = pipe
        self._last: dict[str, Any] = {"state": "starting"}
        self._sent = float("-inf")
        self.answers = Answers(pipe.send)

    def report(self, status: Mapping[str, Any], *, at_once: bool = False) -> None:
        """Take what the loop says of itself; pass it on when it is time."""
        now = time.monotonic()
        due = at_once or status.get("state") != self._last.get("state") or now - self._sent >= REPORT_SECONDS - 0.05
        self._last = dict(status)
        if due:
            self._sent = now
            self._pipe.send(self._last)

    def end(self, state: str, error: Mapping[str, Any] | None = None) -> None:
        """The last report of this process."""
        self._pipe.send_last({**self._last, "ended": True, "state": state, "error": error})


def run(chosen: argparse.Namespace, reporter: Reporter) -> int:
    """Run one worker until it has finished, was asked to stop, or failed. Returns the exit code."""
    stop = Stop()
    hold_on(stop, reporter.answers.take)
    reporter.answers.start()
    reporter.report({"state": "starting"})
    try:
        settings = _settings(chosen.settings_fd)
        if chosen.kind == "connector":
            _run_connector(settings, chosen.name, stop, reporter)
        elif chosen.kind == "watch":
            _run_watch(settings, chosen.name, chosen.why, stop, reporter)
        else:
            _run_sink(settings, chosen.name, f"{chosen.instance}-{chosen.member}", stop, reporter)
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


def _settings(descriptor: int) -> Settings:
    from cdc.config import from_texts, texts_in

    texts = texts_in(descriptor)
    os.close(descriptor)
    return from_texts(texts)


def _run_connector(settings: Settings, name: str, stop: Stop, reporter: Reporter) -> None:
    # Imported here, and for one kind only: a worker's memory counts.
    from cdc.pipeline import run_connector
    from cdc.plugins import connector_plugins
    from cdc.publisher import Publisher

    section = settings.connectors[name]
    connector = connector_plugins()[section.type].create(settings, name, section)
    stop.also(connector.stop)
    # What was asked for is seen in the status once it was answered.
    reporter.answers.serve(connector.ask, lambda: reporter.report(connector.status(), at_once=True))
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


def _run_watch(settings: Settings, name: str, why: str, stop: Stop, reporter: Reporter) -> None:
    from cdc.plugins import connector_plugins

    section = settings.connectors[name]
    watch = connector_plugins()[section.type].watch
    assert watch is not None, "the supervisor asks for it only where there is one"
    with watch(settings, name, section, why) as look:
        while not stop.event.is_set():
            reporter.report({"state": "watching", **look()}, at_once=True)
            stop.event.wait(WATCH_SECONDS)


def _run_sink(settings: Settings, name: str, member: str, stop: Stop, reporter: Reporter) -> None:
    from cdc.plugins import sink_plugins
    from cdc.sink_loop import run_sink

    section = settings.sinks[name]
    sink = sink_plugins()[section.type].create(settings, name, section)
    run_sink(settings, name, sink, stop.event, reporter.report, member=member)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cdc.worker", description="Started by `cdc run`.")
    parser.add_argument("kind", choices=("connector", "sink", "watch"))
    parser.add_argument("name")
    parser.add_argument("--member", type=int, default=0)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--report-fd", type=int, required=True)
    parser.add_argument("--settings-fd", type=int, required=True)
    parser.add_argument("--why", default="")
    chosen = parser.parse_args(arguments)
    logs.configure({chosen.kind: chosen.name, **({"member": chosen.member} if chosen.kind == "sink" else {})})
    return run(chosen, Reporter(ReportPipe(chosen.report_fd)))


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Not sys.exit: a thread that waits in librdkafka or libpq must not keep the process alive.
    os._exit(code)
