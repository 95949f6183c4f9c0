"""A standby takes the primary's place: what was published and never came to it is a gap, and is said to be one."""

from __future__ import annotations

from typing import cast

import pytest

from cdc.prove.fault import Setting
from cdc.prove.servers import Servers, has_witness
from cdc.prove.stage import Extent, Stage
from cdc.prove.waiting import eventually
from cdc.testing.proxy import ProxiedPostgres, Proxy
from cdc.testing.servers import KafkaServer, PostgresInstallation, installed_postgres
from cdc.testing.standby import FAILOVER_SINCE, PostgresStandby


def have_standby(stage: Stage) -> None:
    """A standby that hears from its primary through a proxy, and is not waited for."""
    primary = cast(ProxiedPostgres, stage.source.server)
    stage.yaml["databases"]["warehouse"]["url"] = primary.url_behind_proxy(stage.source.name)
    stage.ending.callback(primary.start)
    upstream = stage.bring(Proxy(primary.port))
    stage.bring(PostgresStandby(primary, upstream_port=upstream.port))


@pytest.mark.parametrize("installation", [one for one in installed_postgres() if has_witness(one)], ids=str)
def test_a_promotion_that_takes_back_what_was_published_is_a_gap(
    installation: PostgresInstallation, kafka: KafkaServer
) -> None:
    setting = Setting(source=lambda: ProxiedPostgres(installation), prepare=have_standby, quiet=True, items=30)
    with Servers(kafka=kafka.bootstrap_servers) as servers, Stage(setting, servers, 1, Extent()) as stage:
        primary, standby = cast(ProxiedPostgres, stage.source.server), stage.the(PostgresStandby)
        stage.bridge.start()
        first = stage.mark()
        eventually(lambda: stage.arrived(first), 60, "the line works")
        follows = installation.version[0] >= FAILOVER_SINCE
        if follows:
            query = "SELECT slot_name FROM pg_replication_slots WHERE failover AND plugin = 'pgoutput'"
            [(slot,)] = stage.source.rows(query)
            eventually(lambda: standby.synchronized(slot), 60, "the standby has the connector's slot")
        standby.catch_up()
        stage.the(Proxy).stall()
        lost = stage.mark()
        eventually(lambda: stage.arrived(lost), 60, "the line goes on without the standby")

        primary.kill()
        standby.promote()
        primary.proxy.lead_to(standby.port)
        stage.source_moved(standby)

        stage.bridge.until("gap", seconds=60)
        error = stage.bridge.connector()["error"]["message"]
        assert ("timeline 2, which left timeline 1" if follows else "timeline") in error
        after = stage.mark()
        address = stage.bridge.address().removeprefix("http://")
        assert stage.bridge.cdc("status", "--listen", address).returncode == 3
        assert not stage.arrived(after)
