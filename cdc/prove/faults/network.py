"""Networks that stall, end connections, or lose them without a word: between the bridge and each of its servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import cast

from cdc.prove.fault import OWN_SERVERS, Fault, Setting, own_postgres
from cdc.prove.stage import Stage
from cdc.testing.proxy import ProxiedKafka, ProxiedPostgres, Proxy


def _source(stage: Stage) -> Proxy:
    return cast(ProxiedPostgres, stage.source.server).proxy


def _target(stage: Stage) -> Proxy:
    return cast(ProxiedPostgres, stage.target.server).proxy


def _kafka(stage: Stage) -> Proxy:
    return cast(ProxiedKafka, stage.kafka).proxy


def _reach_source(stage: Stage) -> None:
    server = cast(ProxiedPostgres, stage.source.server)
    stage.yaml["databases"]["warehouse"]["url"] = server.url_behind_proxy(stage.source.name)


def _reach_target(stage: Stage) -> None:
    server = cast(ProxiedPostgres, stage.target.server)
    stage.yaml["databases"]["service"]["url"] = server.url_behind_proxy(stage.target.name)


def _reach_kafka(stage: Stage) -> None:
    stage.yaml["kafka"]["bootstrap_servers"] = cast(ProxiedKafka, stage.kafka).behind_proxy


def _stalls(proxy: Proxy, rng: Random) -> None:
    """Longer than the source's session timeout, mostly."""
    proxy.stall()
    time.sleep(rng.uniform(2.0, 8.0))


def _is_cut(proxy: Proxy, rng: Random) -> None:
    proxy.cut()
    time.sleep(rng.uniform(0.0, 4.0))


def _is_lost(proxy: Proxy, rng: Random) -> None:
    """Half-open: both ends go on believing in their connections, now and after."""
    proxy.lose()
    time.sleep(rng.uniform(0.0, 3.0))


def _strike(proxy_of: Callable[[Stage], Proxy], befall: Callable[[Proxy, Random], None]) -> Callable[..., None]:
    def strike(stage: Stage, rng: Random) -> None:
        proxy = proxy_of(stage)
        try:
            befall(proxy, rng)
        finally:
            proxy.resume()

    return strike


_SIDES = (
    ("source", "PostgreSQL", _source, Setting(source=ProxiedPostgres, prepare=_reach_source), (own_postgres,)),
    ("kafka", "Kafka", _kafka, Setting(kafka=ProxiedKafka, prepare=_reach_kafka), OWN_SERVERS[:1]),
    (
        "target",
        "the service's database",
        _target,
        Setting(target=ProxiedPostgres, prepare=_reach_target),
        (own_postgres,),
    ),
)

_ACCIDENTS = (
    ("stalls", "the network to {} carries nothing for seconds, then all of it", _stalls, 120.0),
    ("cut", "the network to {} resets every connection for a while", _is_cut, 120.0),
    ("half-open", "connections to {} carry nothing any more, and neither end is told", _is_lost, 180.0),
)

FAULTS = tuple(
    Fault(f"network-{side}-{accident}", says.format(whom), _strike(proxy_of, befall), needs, setting, patience=patience)
    for side, whom, proxy_of, setting, needs in _SIDES
    for accident, says, befall, patience in _ACCIDENTS
)
