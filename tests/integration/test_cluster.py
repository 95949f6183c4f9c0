"""Three brokers: what one loses the others have, and with one alone nothing is taken."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cdc.testing.cluster import BROKERS, KafkaCluster
from cdc.testing.servers import KafkaServer
from cdc.testing.system import wait_for
from tests.integration.test_servers import read_one


@pytest.mark.parametrize("apart", [False, True], ids=["brokers_are_controllers", "controller_apart"])
def test_a_leader_may_be_lost_and_not_one_more(kafka: KafkaServer, apart: bool) -> None:
    with KafkaCluster(kafka.jars, controller_apart=apart) as cluster:
        servers = cluster.bootstrap_servers
        admin = AdminClient({"bootstrap.servers": servers})
        admin.create_topics([NewTopic("kept", 1, BROKERS)])["kept"].result(30)
        assert wait_for(lambda: cluster.leader("kept") != -1, 30)
        first = cluster.leader("kept")
        producer = Producer({"bootstrap.servers": servers, "transactional.id": "t", "log_level": 0})
        producer.init_transactions(60)
        write(producer)

        cluster.kill_broker(first)
        assert wait_for(lambda: cluster.leader("kept") not in (-1, first), 30)
        write(producer)

        assert wait_for(lambda: cluster.leader("kept") not in (-1, first), 30)
        second = cluster.leader("kept")
        cluster.kill_broker(second)
        producer.begin_transaction()
        producer.produce("kept", b"value")
        with pytest.raises(KafkaException):
            producer.commit_transaction(3)
        cluster.start_broker(second)
        assert wait_for(lambda: committed(producer), 60)
        cluster.start_broker(first)
        assert wait_for(lambda: cluster.registered() == BROKERS, 30)
        assert read_one(cluster, "kept") == b"value"


def write(producer: Producer) -> None:
    producer.begin_transaction()
    producer.produce("kept", b"value")
    producer.commit_transaction(60)


def committed(producer: Producer) -> bool:
    try:
        producer.commit_transaction(5)
    except KafkaException as raised:
        if not raised.args[0].retriable():
            raise
        return False
    return True
