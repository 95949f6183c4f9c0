"""A few cases of our own, recorded from Debezium 3.6.3: the runner works, and the profile's events are Debezium's.

`make conformance` runs many more; how these were recorded is said in tests/conformance/own/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.testing.servers import PostgresServer
from tests.conformance.cases import Case, read_cases
from tests.conformance.equal import differences
from tests.conformance.play import SERVER, play

OWN = Path(__file__).parents[1] / "conformance" / "own"

CASES = read_cases(OWN / "cases", [])


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One with the settings of cases; their database has always the same name."""
    with PostgresServer(settings=SERVER) as running:
        yield running


@pytest.mark.hot
@pytest.mark.parametrize("schemas", [False, True], ids=["plain", "schemas"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_events_are_debeziums(server: PostgresServer, case: Case, schemas: bool) -> None:
    golden = json.loads(
        (OWN / "golden" / f"{case.name}{'.schemas' if schemas else ''}.json").read_text(encoding="utf-8")
    )
    assert differences(golden, play(case, server, schemas=schemas)) == []
