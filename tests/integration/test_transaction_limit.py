"""A broker that allows no transactions as long as ours is no passing trouble: it is named, and mended by hand."""

from __future__ import annotations

import pytest

from cdc.errors import PublishError
from cdc.publisher import TRANSACTION_TIMEOUT_MS, Publisher
from cdc.testing.servers import KafkaServer
from tests.integration.test_publisher import settings_of


def test_a_broker_with_a_lower_transaction_limit_is_refused_with_the_setting_to_raise(kafka: KafkaServer) -> None:
    with KafkaServer(kafka.jars, settings={"transaction.max.timeout.ms": "30000"}) as server:
        publisher = Publisher(settings_of(server, "limited"), "source")
        try:
            with pytest.raises(PublishError, match="allows no transactions of 60 s") as refused:
                publisher.take_over()
        finally:
            publisher.close()
        assert not refused.value.retriable
        assert f"transaction.max.timeout.ms of the brokers to {TRANSACTION_TIMEOUT_MS}" in str(refused.value)
