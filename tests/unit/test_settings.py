"""The settings' own words: durations, sizes, addresses, and topics as declared."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cdc.settings import Duration, KafkaSettings, ServerSettings, Settings, Size, TopicSettings

KAFKA = KafkaSettings(bootstrap_servers="localhost:9092")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5),
        ("10 m", 600),
        ("2h", 7200),
        ("7d", 604800),
        ("1.5s", 1.5),
        (3, 3),
        ("3", 3),
        (0.5, 0.5),
    ],
)
def test_durations(written: Any, seconds: float) -> None:
    assert TypeAdapter(Duration).validate_python(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("written", "count"), [("16MiB", 16 * 1024**2), ("1GB", 10**9), ("1.5kB", 1500), (7, 7), ("7", 7)]
)
def test_sizes(written: Any, count: int) -> None:
    assert TypeAdapter(Size).validate_python(written) == count


@pytest.mark.parametrize("written", ["5 parsecs", "-5s", -1, True, "", "s", "nan", None, float("inf")])
def test_no_durations(written: Any) -> None:
    with pytest.raises(ValidationError, match="such as 5s"):
        TypeAdapter(Duration).validate_python(written)


@pytest.mark.parametrize("listen", ["127.0.0.1:8083", "localhost:0", "[::1]:8083", "127.8.0.1:1"])
def test_the_server_listens_on_this_machine_only(listen: str) -> None:
    assert ServerSettings(listen=listen).address()[1] == int(listen.rpartition(":")[2])


@pytest.mark.parametrize("listen", ["0.0.0.0:8083", "example.com:80", "8083", "127.0.0.1", "127.0.0.1:99999", "[::]:1"])
def test_other_addresses_are_refused(listen: str) -> None:
    with pytest.raises(ValidationError, match="must be a loopback address"):
        ServerSettings(listen=listen)


def settings(**topics: TopicSettings) -> Settings:
    return Settings(name="shop", kafka=KAFKA, topics=topics)


def test_a_topic_nobody_declared_is_compacted_and_keeps_deletes_for_a_week() -> None:
    topic = settings().topic("shop.public.orders")
    assert (topic.partitions, topic.replication_factor, topic.cleanup_policy) == (6, -1, "compact")
    assert topic.delete_retention == 7 * 86400


def test_the_most_specific_pattern_wins_and_the_rest_is_inherited() -> None:
    declared = Settings(
        name="shop",
        kafka=KAFKA,
        topics={
            "defaults": TopicSettings(replication_factor=3),
            "shop.public.orders": TopicSettings(partitions=1),
            "shop.public.*": TopicSettings(partitions=2, cleanup_policy="delete"),
            "shop.*": TopicSettings(partitions=3, retention=60.0),
        },
    )
    exact, middle, wide = (declared.topic(f"shop.{table}") for table in ("public.orders", "public.x", "hr.x"))
    assert [topic.partitions for topic in (exact, middle, wide)] == [1, 2, 3]
    assert [topic.replication_factor for topic in (exact, middle, wide)] == [3, 3, 3]
    assert [topic.cleanup_policy for topic in (exact, middle, wide)] == ["delete", "delete", "compact"]
    assert exact.retention == 60
    assert exact.delete_retention is None, "nothing is compacted there"


def test_settings_travel_to_other_processes() -> None:
    declared = settings(defaults=TopicSettings(partitions=1))
    assert pickle.loads(pickle.dumps(declared)) == declared
