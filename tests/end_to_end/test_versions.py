"""The whole line, snapshot, stream and sink, on every PostgreSQL that is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.prove.bridge import Bridge
from cdc.prove.line import Line
from cdc.prove.load import Load
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer, PostgresServer

TRANSACTIONS = 150


@pytest.mark.every_postgres
def test_the_whole_line_is_exact(
    postgres: PostgresServer, database: Database, target: Database, kafka: KafkaServer, prefix: str, tmp_path: Path
) -> None:
    # One of the wheels has no test_decoding: there the sink's tables alone are compared.
    witness = any(postgres.bin_dir.parent.rglob("test_decoding.so"))
    line = Line(database, target, kafka, prefix, 1_000, tmp_path if witness else None)
    load = Load(database.url, seed=postgres.version[0], sessions=3, linger=1.0)
    with Bridge(tmp_path, line.settings()) as bridge:
        load.start()
        bridge.start()
        bridge.until("streaming")
        eventually(lambda: load.tally["committed"] > TRANSACTIONS, 60, "the load does something")
        load.stop()
        assert line.finish(bridge) == []
        assert bridge.stop() == 0
        assert "Traceback" not in bridge.log
    if witness:
        verdict = line.verdict()
        assert verdict.exact, str(verdict)
        assert verdict.streamed > TRANSACTIONS
