"""Fixtures for tests of sinks on real Kafka and PostgreSQL: see `tests/sink_line.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from cdc.testing.servers import KafkaServer
from tests.databases import Database
from tests.sink_line import Bridge, MakeBridge, Member


@pytest.fixture
def bridge(prefix: str, kafka: KafkaServer, database: Database) -> MakeBridge:
    return lambda partitions=3, **config: Bridge(prefix, kafka, database, partitions, **config)


@pytest.fixture
def member() -> Iterator[Callable[..., Member]]:
    """Starts members in threads of this process; they are stopped in the end."""
    with ExitStack() as stack:

        def start(bridge: Bridge, **section: Any) -> Member:
            started = Member(bridge.settings(**section))
            stack.callback(started.stop)
            return started

        yield start


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts members in processes of their own; they are killed in the end."""
    with ExitStack() as stack:

        def start(bridge: Bridge, environment: dict[str, str] | None = None, **section: Any) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "tests.sink_worker", json.dumps(bridge.settings(**section))]
            started = subprocess.Popen(command, env=environment)

            def end() -> None:
                started.kill()
                started.wait()

            stack.callback(end)
            return started

        yield start
