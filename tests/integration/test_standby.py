"""A standby has what its primary has, and takes its place."""

from __future__ import annotations

import psycopg
import pytest

from cdc.testing.servers import PostgresInstallation, PostgresServer, installed_postgres
from cdc.testing.standby import FAILOVER_SINCE, PostgresStandby
from cdc.testing.system import wait_for


@pytest.mark.parametrize("installation", installed_postgres(), ids=str)
def test_a_promoted_standby_has_everything_and_takes_writes(installation: PostgresInstallation) -> None:
    with PostgresServer(installation) as primary, PostgresStandby(primary) as standby:
        follows = installation.version[0] >= FAILOVER_SINCE
        with psycopg.connect(primary.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
            if follows:
                connection.execute(
                    "SELECT pg_create_logical_replication_slot('logical', 'pgoutput', false, false, true)"
                )

                def advanced() -> bool:
                    connection.execute("SELECT pg_log_standby_snapshot()")
                    connection.execute("SELECT pg_replication_slot_advance('logical', pg_current_wal_lsn())")
                    return standby.synchronized("logical")

                assert wait_for(advanced, 60, pause=0.5)
        standby.catch_up()
        primary.kill()
        standby.promote()
        with psycopg.connect(standby.url(), autocommit=True) as connection:
            connection.execute("INSERT INTO kept VALUES (2)")
            assert connection.execute("SELECT id FROM kept ORDER BY id").fetchall() == [(1,), (2,)]
            slots = connection.execute("SELECT slot_name FROM pg_replication_slots WHERE NOT temporary").fetchall()
            assert slots == ([("logical",)] if follows else [])
