"""Fixtures for tests of sinks on real Kafka and PostgreSQL: see `tests/sink_line.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cdc.testing.mariadb import MariaDBServer, installed_mariadb
from cdc.testing.servers import KafkaServer
from tests.conftest import NOT_TESTED
from tests.databases import Database
from tests.poll_sources import Source
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


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    if installed_mariadb() is None and os.environ.get("CI") != "true":
        pytest.skip(f"{NOT_TESTED}polling MariaDB: it is not installed; apt-get install mariadb-server")
    with MariaDBServer() as server:
        yield server


@pytest.fixture
def sqlite(tmp_path: Path) -> Source:
    (tmp_path / "shop.db").touch()
    return Source("sqlite", f"sqlite:///{tmp_path}/shop.db", "main")


@pytest.fixture
def duck(tmp_path: Path) -> Source:
    duckdb.connect(str(tmp_path / "shop.duckdb")).close()
    return Source("duckdb", f"duckdb:///{tmp_path}/shop.duckdb", "main")


@pytest.fixture
def maria(mariadb: MariaDBServer, prefix: str) -> Iterator[Source]:
    administrator = Source("mariadb", mariadb.url(), "shop")
    administrator.execute(f"CREATE DATABASE {prefix}")
    yield Source("mariadb", mariadb.url(prefix), prefix)
    administrator.execute(f"DROP DATABASE {prefix}")


@pytest.fixture(params=["sqlite", "duck", "maria"])
def source(request: pytest.FixtureRequest) -> Source:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Source)
    return found
