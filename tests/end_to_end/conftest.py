"""Fixtures of the whole line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cdc.testing.databases import Database, fresh_database
from cdc.testing.servers import PostgresServer


@pytest.fixture
def target(postgres: PostgresServer, prefix: str) -> Iterator[Database]:
    """The database of a service, which a sink fills."""
    with fresh_database(postgres, f"{prefix}_service") as fresh:
        yield fresh
