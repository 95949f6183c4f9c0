"""One sink member in a process of its own, for tests that kill it: `python -m tests.sink_worker SETTINGS_JSON`."""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import Any

from pydantic import SecretStr

from cdc.errors import CdcError
from cdc.settings import DatabaseSettings, KafkaSettings, Settings
from cdc.sink_loop import run_sink
from sinks.postgres import plugin
from sinks.postgres.settings import PostgresSinkSettings


def settings_of(name: str, bootstrap: str, url: str, **section: Any) -> Settings:
    """A bridge that is one sink, `target`."""
    return Settings(
        name=name,
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        databases={"target": DatabaseSettings(url=SecretStr(url))},
        sinks={"target": PostgresSinkSettings.model_validate({"type": "postgres", "database": "target", **section})},
    )


def run(settings: Settings, stop: threading.Event, report: Any, member: str | None = None) -> None:
    """As a worker under its supervisor: what may pass is tried again."""
    while True:
        try:
            sink = plugin.create(settings, "target", settings.sinks["target"])
            return run_sink(settings, "target", sink, stop, report, member=member)
        except CdcError as error:
            if not error.retriable or stop.wait(0.2):
                raise


def main() -> int:
    given = json.loads(sys.argv[1])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    member = given.pop("member", None)
    try:
        run(settings_of(**given), stop, lambda _: None, member)
    except CdcError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
