"""What a sink's group does to a member, on real Kafka."""

from __future__ import annotations

import signal
from typing import Any

from confluent_kafka.admin import AdminClient

from cdc.testing.system import wait_for
from tests.sink_line import MakeBridge


def test_a_member_that_was_given_up_starts_over_and_goes_on(bridge: MakeBridge, process: Any) -> None:
    orders = bridge()
    orders.describe()
    with orders.transaction():
        orders.put(1, 10)
    hung = process(orders, member="one")
    orders.until(lambda: orders.rows() == [(1, 10)])
    hung.send_signal(signal.SIGSTOP)
    admin = AdminClient({"bootstrap.servers": orders.kafka.bootstrap_servers})
    [group] = [one.group_id for one in admin.list_consumer_groups().result(30).valid if orders.name in one.group_id]
    assert wait_for(lambda: not admin.describe_consumer_groups([group])[group].result(30).members, 60, 0.2)
    with orders.transaction():
        orders.put(2, 20)
    hung.send_signal(signal.SIGCONT)

    def goes_on() -> bool:
        """By itself, where librdkafka joins again before it notices; or as a new process."""
        return hung.poll() is not None or orders.rows() == [(1, 10), (2, 20)]

    assert wait_for(goes_on, 60, 0.2)
    if hung.poll() is not None:
        assert hung.returncode == 1
        process(orders, member="one")
        orders.until(lambda: orders.rows() == [(1, 10), (2, 20)])
