"""Structured logs on standard error: JSON lines, or for people on a terminal. Touches logging's global state.

One line per thing that matters, none per row. Row values never get here: exceptions are
told by type and place, and what other libraries log is cut to its first line (the lines
behind it are where a server quotes values).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import orjson
import structlog

from cdc.failures import describe

_LONGEST_FOREIGN = 500


def debugging() -> bool:
    """Whether CDC_DEBUG=1 asks for tracebacks and debug lines."""
    return os.environ.get("CDC_DEBUG", "") not in ("", "0")


def configure(bound: Mapping[str, Any] | None = None, stream: TextIO | None = None) -> None:
    """Send structlog's and logging's lines to `stream`: ours from info, others' from warning on.

    Args:
        bound: what every line of this process says, such as `connector`.
        stream: where to; standard error if not given.
    """
    stream = stream or sys.stderr
    always = dict(bound or {})

    def bind(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**always, **event}

    shared: list[Any] = [
        bind,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    if not debugging():
        shared.append(_without_traceback)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_first_line, *shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(stream)],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for ours in ("cdc", "connectors", "sinks"):
        logging.getLogger(ours).setLevel(logging.DEBUG if debugging() else logging.INFO)
    logging.getLogger("cdc.kafka").setLevel(logging.WARNING)  # librdkafka's own lines
    threading.excepthook = _tell_thread_death
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _tell_thread_death(death: threading.ExceptHookArgs) -> None:
    if death.exc_type is SystemExit:
        return
    thread = death.thread.name if death.thread else None
    structlog.get_logger("cdc").error("a thread ended", thread=thread, exc_info=death.exc_value)


def _renderers(stream: TextIO) -> list[Any]:
    if stream.isatty():
        return [structlog.dev.ConsoleRenderer(timestamp_key="time", colors="NO_COLOR" not in os.environ)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]


def _json(event: Mapping[str, Any], **_: Any) -> str:
    first = {name: event[name] for name in ("time", "level", "event") if name in event}
    return orjson.dumps({**first, **event}, default=str).decode()


def _without_traceback(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    raised = event.pop("exc_info", None)
    error = raised[1] if isinstance(raised, tuple) else sys.exc_info()[1] if raised is True else raised
    if isinstance(error, BaseException):
        event["error"] = describe(error)["message"]
    return event


def _first_line(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    lines = str(event["event"]).splitlines()
    event["event"] = lines[0][:_LONGEST_FOREIGN] if lines else ""
    return event
