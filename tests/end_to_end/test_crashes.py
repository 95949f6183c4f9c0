"""Whatever the bridge talks to may crash and come back: it goes on by itself, and the topics are exact."""

from __future__ import annotations

from pathlib import Path

from cdc.prove.bridge import Bridge
from cdc.prove.line import Line
from cdc.prove.load import Load
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database, fresh_database
from cdc.testing.servers import KafkaServer, PostgresServer


def test_crashes_of_walsender_broker_and_warehouse_are_gone_through_exactly(prefix: str, tmp_path: Path) -> None:
    with (
        KafkaServer() as kafka,
        PostgresServer() as postgres,
        PostgresServer() as service,
        fresh_database(postgres, prefix) as source,
        fresh_database(service, prefix) as target,
    ):
        line = Line(source, target, kafka, prefix, 1_000, tmp_path)
        with Bridge(tmp_path, line.settings(workers=1)) as bridge:
            load = Load(source.url, seed=3, sessions=3, linger=1.0)
            load.start()
            bridge.start()
            bridge.until("streaming")
            for _ in range(3):
                _progress(bridge)
                terminated = eventually(lambda: _terminate_walsender(source), 30, "the walsender is terminated")
                assert terminated == 1
                bridge.until("streaming")

            _progress(bridge)
            kafka.kill()
            kafka.start()
            _progress(bridge)

            load.stop()
            postgres.kill()
            postgres.start()
            load = Load(source.url, seed=4, sessions=3, linger=1.0)
            load.start()
            _progress(bridge)
            service.kill()
            service.start()
            _progress(bridge)
            load.stop()
            assert line.finish(bridge) == []
            assert bridge.stop() == 0
            assert "Traceback" not in bridge.log
            assert "internal error" not in bridge.log
        verdict = line.verdict()
    assert verdict.exact, str(verdict)


def _progress(bridge: Bridge) -> None:
    """Wait until the connector has published something more."""
    before = bridge.connector().get("position") or ""
    eventually(lambda: (bridge.connector().get("position") or "") > before, 120, "the connector goes on")


def _terminate_walsender(database: Database) -> int:
    found = database.rows(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
        "WHERE plugin = 'pgoutput' AND active_pid IS NOT NULL AND database = current_database()"
    )
    return len(found)
