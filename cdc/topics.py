"""Kafka topics as declared: creation, limits and drift. Touches Kafka's admin interface only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from cdc import names
from cdc.errors import BrokerUnavailable, PublishError
from cdc.settings import Settings, TopicSettings

TIMEOUT = 10.0
OWN_SEGMENT_BYTES = 16 * 1024 * 1024
"""Small segments, so that compaction reaches the bridge's own topics while they are in use."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Declared and existing settings of a topic that differ."""

    topic: str
    setting: str
    declared: str
    existing: str


def configuration(declared: TopicSettings) -> dict[str, str]:
    """The topic-level configuration that the declaration asks for (Kafka's names and units)."""
    entries: dict[str, str | int | float | None] = {
        "cleanup.policy": declared.cleanup_policy,
        "min.insync.replicas": declared.min_insync_replicas,
        "retention.ms": _milliseconds(declared.retention),
        "retention.bytes": declared.retention_bytes,
        "delete.retention.ms": _milliseconds(declared.delete_retention),
        "max.message.bytes": declared.max_message_bytes,
    }
    return {name: str(value) for name, value in entries.items() if value is not None}


def own_topics(settings: Settings) -> dict[str, NewTopic]:
    """The bridge's own topics: one partition each; positions and schemas compacted."""
    replication = settings.topic(names.offsets_topic(settings.name)).replication_factor
    compacted = {"cleanup.policy": "compact", "segment.bytes": str(OWN_SEGMENT_BYTES)}

    def new(topic: str, config: dict[str, str]) -> NewTopic:
        return NewTopic(topic, 1, -1 if replication is None else replication, config=config)

    return {
        topic: new(topic, config)
        for topic, config in (
            (names.offsets_topic(settings.name), {**compacted, "min.cleanable.dirty.ratio": "0.1"}),
            (names.schemas_topic(settings.name), compacted),
            (names.dead_letters_topic(settings.name), {"cleanup.policy": "delete", "retention.ms": "-1"}),
        )
    }


def event_topic(settings: Settings, topic: str) -> NewTopic:
    """An event topic as declared under `topics:`."""
    declared = settings.topic(topic)
    return NewTopic(
        topic,
        -1 if declared.partitions is None else declared.partitions,
        -1 if declared.replication_factor is None else declared.replication_factor,
        config=configuration(declared),
    )


def ensure(admin: AdminClient, wanted: Mapping[str, NewTopic]) -> None:
    """Create the topics that are missing; leave the others as they are.

    Raises:
        BrokerUnavailable, PublishError: the topic could not be made, and why.
    """
    # Only the missing: without the right to create, the attempt alone would be refused.
    existing = existing_layout(admin, wanted)
    missing = [new for topic, new in wanted.items() if topic not in existing]
    if not missing:
        return
    for topic, future in admin.create_topics(missing, request_timeout=TIMEOUT).items():
        try:
            answer(topic, future)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise refused(topic, error.args[0]) from error
    _wait_until_known(admin, wanted)


def _wait_until_known(admin: AdminClient, wanted: Iterable[str]) -> None:
    """A topic just created may be unknown to the broker that is asked next."""
    deadline = time.monotonic() + TIMEOUT
    missing = set(wanted)
    while missing := missing - existing_layout(admin, missing).keys():
        if time.monotonic() > deadline:
            raise BrokerUnavailable(f"topic {min(missing)} was created, but is not known to the broker")
        time.sleep(0.05)


def existing_configuration(admin: AdminClient, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """Topic-level configuration in force, by topic.

    Raises:
        BrokerUnavailable, PublishError: a topic is missing or may not be read.
    """
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, str]] = {}
    for resource, future in admin.describe_configs(resources, request_timeout=TIMEOUT).items():
        try:
            found[resource.name] = {name: entry.value for name, entry in answer(resource.name, future).items()}
        except KafkaException as error:
            raise refused(resource.name, error.args[0]) from error
    return found


def expires(config: Mapping[str, str]) -> bool:
    """Whether a topic with this configuration forgets events that no later one of their key replaces."""
    limits = (config["retention.ms"], config["retention.bytes"])
    return "delete" in config["cleanup.policy"] and any(int(limit) >= 0 for limit in limits)


def existing_layout(admin: AdminClient, topics: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Partitions and replication factor of the topics that exist."""
    found: dict[str, tuple[int, int]] = {}
    futures = admin.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT)
    for topic, future in futures.items():
        try:
            partitions = answer(topic, future).partitions
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise refused(topic, error.args[0]) from error
        found[topic] = (len(partitions), len(partitions[0].replicas) if partitions else 0)
    return found


def drift(admin: AdminClient, declared: Mapping[str, NewTopic]) -> list[Difference]:
    """Where existing topics differ from the declaration. Missing topics are no drift."""
    layout = existing_layout(admin, declared)
    configs = existing_configuration(admin, layout) if layout else {}
    differences: list[Difference] = []
    for topic, (partitions, replicas) in sorted(layout.items()):
        wanted = declared[topic]
        pairs = [("partitions", wanted.num_partitions, partitions)]
        pairs.append(("replication_factor", wanted.replication_factor, replicas))
        differences += [
            Difference(topic, setting, str(asked), str(existing))
            for setting, asked, existing in pairs
            if asked != -1 and asked != existing
        ]
        differences += [
            Difference(topic, setting, asked, configs[topic].get(setting, ""))
            for setting, asked in sorted((wanted.config or {}).items())
            if _ordered(configs[topic].get(setting, "")) != _ordered(asked)
        ]
    return differences


def _ordered(value: str) -> str:
    return ",".join(sorted(value.split(",")))


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def answer(topic: str, future: Future[Any]) -> Any:
    """What Kafka answered. Raises: KafkaException; BrokerUnavailable when it does not answer."""
    try:
        return future.result(timeout=TIMEOUT)
    except TimeoutError:
        raise BrokerUnavailable(
            f"topic {topic}: Kafka does not answer", hint="see kafka.bootstrap_servers; it is tried again"
        ) from None


def refused(topic: str, error: KafkaError) -> PublishError:
    """What a refused request about a topic means."""
    if error.code() in _FOR_NOW:
        return BrokerUnavailable(f"topic {topic}: Kafka does not answer: {error.str()}")
    hint = None
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        hint = f"grant Create and DescribeConfigs on {topic}, or let its owner make it; `cdc check` lists all ACLs"
    return PublishError(f"topic {topic}: Kafka refuses: {error.str()}", hint=hint)


_FOR_NOW = frozenset(
    (
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.FENCED_LEADER_EPOCH,  # broker and client do not know the same leader yet
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_CONTROLLER,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
    )
)
"""Answers of a cluster whose leaders change, or that has not heard of a new topic everywhere.

Not `KafkaError.retriable()`: it is set for the producer's errors only.
"""
