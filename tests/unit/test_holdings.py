"""What one connector has on Kafka, without a broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cdc import homes
from cdc.config import parse
from cdc.errors import Gap
from cdc.holdings import Holdings

YAML = """
name: shop
kafka: {bootstrap_servers: "localhost:9092"}
databases: {warehouse: {url: "postgresql://localhost/w"}}
topics: {"*": {cleanup_policy: delete}}
connectors:
  w:
    type: postgres_wal
    database: warehouse
    tables:
      public.orders: {}
      public.people: {transforms: [{route: {field: name, topic: "{value}"}}]}
      public.box: {outbox: {topic: "{routedByValue}"}}
      '/(?P<shard>s.)\\.t/': {topic: "{shard}.all"}
"""


@pytest.mark.parametrize(
    ("topic", "ours"),
    [
        ("shop.public.orders", True),
        ("shop.public.people", True),
        ("shop.public.box", False),
        ("__consumer_offsets", False),
        ("billing.all", False),
    ],
)
def test_a_first_start_looks_at_topics_that_only_the_connector_can_mean(
    topic: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "look", lambda admin, topics: {})
    monkeypatch.setattr(homes, "check", lambda admin, subject, known: None)
    monkeypatch.setattr(homes, "with_events", lambda admin, topics: topics)
    admin: Any = SimpleNamespace(list_topics=lambda timeout: SimpleNamespace(topics={topic: None}))
    holdings = Holdings(parse(YAML, {}), "w", admin, lambda: False)
    holdings.read()
    if ours:
        with pytest.raises(Gap, match=topic):
            holdings.check()
    else:
        holdings.check()
