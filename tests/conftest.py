"""Fixtures that tests share: real servers once a session, a database and a name of its own for each test.

`postgres` and `kafka` are shared: a test that stops or kills a server starts one of its own
(`with PostgresServer() as server:`).
"""

from __future__ import annotations

import os
import secrets
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hypothesis
import pytest

from cdc.compiled import hot_modules, summary
from cdc.testing.servers import (
    KAFKA_POM,
    KafkaServer,
    PostgresInstallation,
    PostgresServer,
    ServerError,
    installed_postgres,
    kafka_jars,
)
from tests.databases import Database, fresh_database

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

HERE = Path(__file__).parent

NOT_TESTED = "NOT TESTED: "
"""How the reason begins to skip what should be tested; it is told loudly."""

SHORT = (HERE / "integration", HERE / "unit")
"""Folders of tests that are short. The others begin first, so that no process is left alone with a long one."""


def pytest_configure() -> None:
    # An example that takes long says that the machine is busy.
    hypothesis.settings.register_profile("cdc", deadline=None)
    hypothesis.settings.load_profile("cdc")
    # A shell's background job ignores it, and so would what the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stale = [module.name for module in hot_modules() if module.stale]
    if stale:
        raise pytest.UsageError(
            f"{', '.join(stale)}: edited after being compiled, and the old binary would be tested; "
            "mend it with: python setup.py build_ext --inplace (or make env)"
        )


def pytest_report_header() -> list[str]:
    versions = ", ".join(map(str, installed_postgres())) or "none"
    return [f"hot modules: {summary()}", f"postgres: {versions}; kafka: {_kafka_version()} through Maven"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE / "unit"):
            item.add_marker("hot")
    items.sort(key=lambda item: any(map(item.path.is_relative_to, SHORT)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
    reasons = {str(report.longrepr[2]) for report in terminalreporter.getreports("skipped") if report.longrepr}
    for reason in sorted(reason for reason in reasons if NOT_TESTED in reason):
        terminalreporter.write_sep("!", reason, red=True, bold=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("every_postgres"):
        metafunc.parametrize("postgres", installed_postgres(), indirect=True, scope="session", ids=str)


@pytest.fixture(scope="session")
def _running() -> Iterator[tuple[ExitStack, dict[PostgresInstallation, PostgresServer]]]:
    with ExitStack() as servers:
        yield servers, {}


@pytest.fixture(scope="session")
def postgres(
    request: pytest.FixtureRequest, _running: tuple[ExitStack, dict[PostgresInstallation, PostgresServer]]
) -> PostgresServer:
    """A running PostgreSQL: the newest, or with the mark `every_postgres` each one in turn."""
    installation = getattr(request, "param", None) or installed_postgres()[0]
    stack, servers = _running
    if installation not in servers:
        servers[installation] = stack.enter_context(PostgresServer(installation))
    return servers[installation]


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Skip, loudly, what cannot be tested for want of a server's files; in the CI that is an error."""
    try:
        yield
    except ServerError as why:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{NOT_TESTED}{what}: {why}")


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A running Apache Kafka. Without Java or Maven the test is skipped, and that is an error in the CI."""
    with needed_for("everything with real Kafka"):
        jars = kafka_jars()
    with KafkaServer(jars) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """A name of the test's own, fit for a bridge, its topics, slots and databases."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def database(postgres: PostgresServer, prefix: str) -> Iterator[Database]:
    """A fresh database on `postgres`, dropped with its slots in the end."""
    with fresh_database(postgres, prefix) as fresh:
        yield fresh


def _kafka_version() -> str:
    version = ElementTree.parse(KAFKA_POM).find(".//{*}dependency/{*}version")
    assert version is not None
    return version.text or ""
