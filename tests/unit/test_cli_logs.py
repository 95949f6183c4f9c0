"""Log lines: JSON where no one looks on, one line per event, no values."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from cdc import logs


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.delenv("CDC_DEBUG", raising=False)
    stream = io.StringIO()
    logs.configure({"connector": "warehouse"}, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_and_names_the_worker(stream: io.StringIO) -> None:
    structlog.get_logger("cdc.supervisor").info("started", pid=5)
    (line,) = lines(stream)
    assert line.items() >= {"event": "started", "pid": 5, "connector": "warehouse", "level": "info"}.items()
    assert line["time"].endswith("Z")


def test_other_libraries_are_heard_from_warning_on_and_only_their_first_line(stream: io.StringIO) -> None:
    logging.getLogger("psycopg").info("not this")
    logging.getLogger("cdc.kafka").info("nor librdkafka's chat")
    logging.getLogger("psycopg").warning("error ignored: %s", "duplicate key\nDETAIL:  Key (id)=(5) already exists.")
    (line,) = lines(stream)
    assert line["event"] == "error ignored: duplicate key"
    assert line["logger"] == "psycopg"


def test_an_exception_is_told_by_type_and_place(stream: io.StringIO) -> None:
    try:
        raise ValueError("a row's value")
    except ValueError:
        structlog.get_logger("cdc").exception("thing went wrong")
        logging.getLogger("psycopg").exception("theirs too")
    assert len(lines(stream)) == 2
    assert all("internal error: ValueError at" in line["error"] for line in lines(stream))
    assert "a row's value" not in stream.getvalue()
    assert "Traceback" not in stream.getvalue()
