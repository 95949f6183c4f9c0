"""What Kafka's refusals mean."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from cdc import topics


@pytest.mark.parametrize(
    "code",
    [KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.FENCED_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION],
)
def test_brokers_that_do_not_agree_on_a_leader_yet_are_asked_again(code: int) -> None:
    assert topics.refused("shop.public.orders", KafkaError(code)).retriable


def test_what_is_forbidden_is_not_asked_again() -> None:
    assert not topics.refused("shop.public.orders", KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)).retriable
