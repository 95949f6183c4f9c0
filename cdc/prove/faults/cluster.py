"""Brokers lost one by one, a standby promoted, transactions that time out, a group that never rests."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from random import Random
from typing import cast

from cdc.prove.fault import OWN_SERVERS, Fault, Setting, own_postgres, real_kafka
from cdc.prove.servers import Available
from cdc.prove.stage import Stage
from cdc.prove.waiting import Broken, eventually
from cdc.prove.warehouse import ITEMS
from cdc.testing.cluster import BROKERS, KafkaCluster
from cdc.testing.proxy import ProxiedKafka
from cdc.testing.standby import FAILOVER_SINCE, PostgresPair

ELECTION_SECONDS = 60.0
ARRIVAL_SECONDS = 180.0

TIMEOUT_SECONDS = 75.0
"""Longer than a transaction of the connector's may last (60 s), and than the broker takes to notice (10 s)."""


def follows_failover_slots(here: Available) -> str | None:
    """A PostgreSQL whose logical slots survive a promotion."""
    if here.postgres.version[0] >= FAILOVER_SINCE:
        return None
    return f"PostgreSQL {here.postgres} has no failover slots; {FAILOVER_SINCE} and later do"


def _replicate(stage: Stage) -> None:
    stage.yaml["topics"]["defaults"]["replication_factor"] = BROKERS


def lose_two_brokers(stage: Stage, rng: Random) -> None:
    """The leader of a topic goes, and the line goes on; one more, and it stops; one comes back, and it goes on."""
    cluster = cast(KafkaCluster, stage.kafka)
    topic = stage.line.topic(ITEMS)
    first = eventually(lambda: _leader(cluster, topic), ELECTION_SECONDS, f"topic {topic} has a leader")
    cluster.kill_broker(first)
    mark = stage.mark()
    _arrives(stage, mark, "the line goes on without the leader")
    second = rng.choice(cluster.running)
    cluster.kill_broker(second)
    time.sleep(1.0)  # what was on its way has come
    late = stage.mark()
    time.sleep(rng.uniform(3.0, 8.0))
    if stage.arrived(late):
        raise Broken("something was published that only one broker of three had")
    back, last = rng.sample((first, second), 2)
    cluster.start_broker(back)
    stage.struck()
    eventually(
        lambda: stage.arrived(late), ELECTION_SECONDS * 3, "the line goes on when two brokers of three are there"
    )
    stage.recovered()
    cluster.start_broker(last)
    eventually(lambda: cluster.registered() == BROKERS, ELECTION_SECONDS, "all brokers are back")


def _arrives(stage: Stage, mark: int, what: str) -> None:
    try:
        eventually(lambda: stage.arrived(mark), ARRIVAL_SECONDS, what)
    except Broken as late:
        raise Broken("; ".join([str(late), *stage.words()])) from None


def _leader(cluster: KafkaCluster, topic: str) -> int:
    """Its number, 0 while there is none."""
    return max(0, cluster.leader(topic))


def _reach_pair(stage: Stage) -> None:
    pair = cast(PostgresPair, stage.source.server)
    stage.yaml["databases"]["warehouse"]["url"] = pair.url_behind_proxy(stage.source.name)
    # The primary is gone by then, and its database is to be dropped at the end.
    stage.ending.callback(pair.start)


def promote(stage: Stage, rng: Random) -> None:
    """The primary is killed, the standby takes its place and its address."""
    pair = cast(PostgresPair, stage.source.server)
    for (slot,) in stage.source.rows("SELECT slot_name FROM pg_replication_slots WHERE failover"):
        eventually(partial(pair.standby.synchronized, slot), 120, f"the standby has slot {slot}")
    time.sleep(rng.uniform(0.0, 2.0))
    pair.fail_over()
    stage.source_moved(pair.standby)


def _reach_kafka(stage: Stage) -> None:
    stage.yaml["kafka"]["bootstrap_servers"] = cast(ProxiedKafka, stage.kafka).behind_proxy


def outlast_transaction_frozen(stage: Stage, rng: Random) -> None:
    """The connector hangs within a transaction until the broker has aborted it, then goes on as if nothing were."""
    stage.write_bulk(min(stage.bulk_rows, 50_000))
    time.sleep(rng.uniform(0.0, 0.5))
    [connector] = stage.bridge.workers(kind="connector")
    os.kill(connector, signal.SIGSTOP)
    try:
        time.sleep(TIMEOUT_SECONDS)
    finally:
        os.kill(connector, signal.SIGCONT)


def outlast_transaction_stalled(stage: Stage, rng: Random) -> None:
    """What the connector sent is held until the broker has aborted the transaction, and arrives after that."""
    proxy = cast(ProxiedKafka, stage.kafka).proxy
    stage.write_bulk(min(stage.bulk_rows, 50_000))
    time.sleep(rng.uniform(0.0, 0.5))
    proxy.stall()
    try:
        time.sleep(TIMEOUT_SECONDS)
    finally:
        proxy.resume()


def storm(stage: Stage, rng: Random) -> None:
    """Members come, go and are killed, before the group has come to rest."""
    spare = stage.copies[1] if len(stage.copies) > 1 else stage.another()
    for _ in range(rng.randint(4, 8)):
        if not spare.running:
            spare.start("copy")
        elif rng.random() < 0.5:
            spare.kill()
        else:
            spare.stop()
        if rng.random() < 0.5:
            members = list(stage.bridge.workers(kind="sink"))
            if members:
                os.kill(rng.choice(members), signal.SIGKILL)
        time.sleep(rng.uniform(0.2, 3.0))
    if spare.running and rng.random() < 0.5:
        spare.kill()


FAULTS = (
    Fault(
        "brokers-lost",
        "of three brokers the leader is killed, then one more (it stops), then one comes back",
        lose_two_brokers,
        (real_kafka,),
        Setting(kafka=partial(KafkaCluster, controller_apart=True), prepare=_replicate),
        patience=240.0,
        most=5,
    ),
    Fault(
        "quorum-lost",
        "the same where the brokers are the controllers too",
        lose_two_brokers,
        (real_kafka,),
        Setting(kafka=KafkaCluster, prepare=_replicate),
        patience=240.0,
        most=5,
    ),
    Fault(
        "standby-promoted",
        "PostgreSQL is killed and its standby promoted, with its failover slots",
        promote,
        (own_postgres, follows_failover_slots),
        Setting(source=PostgresPair, prepare=_reach_pair, fresh=True),
        most=5,
    ),
    Fault(
        "transaction-timeout-frozen",
        "the connector hangs for longer than its Kafka transaction may last",
        outlast_transaction_frozen,
        OWN_SERVERS[:1],
        most=1,
    ),
    Fault(
        "transaction-timeout-stalled",
        "what it sent reaches Kafka after its transaction was aborted",
        outlast_transaction_stalled,
        OWN_SERVERS[:1],
        Setting(kafka=ProxiedKafka, prepare=_reach_kafka),
        most=1,
        patience=240.0,
    ),
    Fault(
        "rebalance-storm",
        "members of the sink's group come, go and are killed without a pause",
        storm,
        setting=Setting(workers=2),
        patience=240.0,
    ),
)
