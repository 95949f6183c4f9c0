"""Random tables through Debezium itself and through the bridge: every event is equal. `make compare` runs many more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cdc.testing.servers import PostgresServer, maven_jars
from tests.compare.debezium import POM
from tests.compare.run import batch, compare
from tests.conformance.play import SERVER
from tests.conftest import needed_for

SEED = 7


def test_random_tables_have_debezium_s_events(tmp_path: Path, record_property: Callable[[str, str], None]) -> None:
    with needed_for("the comparison with Debezium itself"):
        maven_jars(POM, "debezium")
    with PostgresServer(settings=SERVER) as server:
        result = compare((batch(SEED, number, 10) for number in (0, 1)), server, tmp_path)
    record_property("compared with Debezium", f"{result.tables} tables, {result.events} events, seed {SEED}")
    assert result.differences == [], "\n\n".join(result.differences)
    assert result.failed_statements <= result.tables, "most of what the tables are made of was refused by PostgreSQL"
