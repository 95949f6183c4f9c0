"""What `cdc check` says of Kafka: reachable, topics as declared, ACLs. Reads over Kafka's admin interface."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic  # type: ignore[attr-defined]

from cdc import acls, names, patterns, topics
from cdc.acls import Acl
from cdc.errors import BrokerUnavailable, CdcError
from cdc.kafka import kafka_config
from cdc.plugins import Finding
from cdc.settings import Settings

TIMEOUT = 10.0

_OPERATIONS = {
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
}


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What the broker says of itself: the number of brokers, and the topics that we may see."""

    brokers: int
    topics: frozenset[str]


def findings(settings: Settings, chosen: Collection[str]) -> Iterator[Finding]:
    """Look at Kafka for the chosen connectors and sinks; changes nothing."""
    where = settings.kafka.bootstrap_servers
    try:
        admin = AdminClient(kafka_config(settings.kafka))
    except KafkaException as error:
        place = settings.place(("kafka", "properties"))
        said = f"{place.file}:{place.line}: librdkafka refuses the properties: {error.args[0].str().strip()}"
        yield Finding("error", "kafka: properties", said)
        return
    try:
        metadata = admin.list_topics(timeout=TIMEOUT)
    except KafkaException as error:
        yield _unreachable(settings, where, error)
        return
    cluster = _Cluster(len(metadata.brokers), frozenset(metadata.topics))
    yield Finding("ok", "kafka: brokers", f"{cluster.brokers} at {where}, cluster {metadata.cluster_id}")
    declared = dict(_declared(settings, chosen, cluster))
    yield from _topic_findings(settings, admin, cluster, declared)
    yield from _unread(settings, chosen, cluster, declared)
    yield from _acl_findings(settings, admin, chosen, cluster)


def _unreachable(settings: Settings, where: str, error: KafkaException) -> Finding:
    protocol = settings.kafka.properties.get("security.protocol", "PLAINTEXT")
    mend = f"is it running there, and does it speak {protocol}? see kafka.bootstrap_servers and security.protocol"
    return Finding("error", "kafka: brokers", f"{where} does not answer: {error.args[0].str()}", mend)


def _declared(settings: Settings, chosen: Collection[str], cluster: _Cluster) -> Iterator[tuple[str, NewTopic]]:
    """The topics of the chosen connectors: by name, and those there are already of a pattern."""
    connectors = [section for name, section in settings.connectors.items() if name in chosen]
    if connectors:
        yield from topics.own_topics(settings).items()
    for connector in connectors:
        for topic in connector.event_topics(settings.name) or ():
            found = _matching(topic, cluster, settings) if patterns.is_pattern(topic) else [topic]
            yield from ((name, topics.event_topic(settings, name)) for name in found)
        yield from ((name, topics.event_topic(settings, name)) for name in connector.other_topics(settings.name))


def _matching(pattern: str, cluster: _Cluster, settings: Settings) -> list[str]:
    rowless = names.rowless_topics(settings.name)
    return sorted(topic for topic in cluster.topics if topic not in rowless and patterns.matching([pattern], topic))


def _topic_findings(
    settings: Settings, admin: AdminClient, cluster: _Cluster, declared: Mapping[str, NewTopic]
) -> Iterator[Finding]:
    existing = {topic: new for topic, new in declared.items() if topic in cluster.topics}
    drifted = topics.drift(admin, existing) if existing else []
    for topic, new in declared.items():
        if topic not in existing:
            yield _to_be_made(topic, new, cluster)
    for difference in drifted:
        subject = f"kafka: topic {difference.topic}"
        said = f"{difference.setting} is {difference.existing or 'not set'}, declared is {difference.declared}"
        yield Finding("warning", subject, said, _mend(settings, difference))
    for topic in existing.keys() - {difference.topic for difference in drifted}:
        yield Finding("ok", f"kafka: topic {topic}", "is as declared")


def _to_be_made(topic: str, new: NewTopic, cluster: _Cluster) -> Finding:
    subject = f"kafka: topic {topic}"
    if new.replication_factor > cluster.brokers:
        said = f"cannot be made: replication_factor {new.replication_factor}, but {cluster.brokers} broker(s)"
        return Finding("error", subject, said, f"topics: {{defaults: {{replication_factor: {cluster.brokers}}}}}")
    config = ", ".join(f"{name}={value}" for name, value in sorted((new.config or {}).items()))
    return Finding("note", subject, f"will be made: {new.num_partitions} partition(s), {config}")


def _mend(settings: Settings, difference: topics.Difference) -> str:
    server = settings.kafka.bootstrap_servers
    if difference.setting == "partitions":
        # More partitions would move keys, and with them the order of their events.
        return f'topics: {{"{difference.topic}": {{partitions: {difference.existing}}}}}'
    if difference.setting == "replication_factor":
        return (
            f'topics: {{"{difference.topic}": {{replication_factor: {difference.existing}}}}}'
            "  (or kafka-reassign-partitions.sh)"
        )
    value = f"[{difference.declared}]" if "," in difference.declared else difference.declared
    return (
        f"kafka-configs.sh --bootstrap-server {server} --alter --entity-type topics "
        f"--entity-name {difference.topic} --add-config {difference.setting}={value}"
    )


def _unread(
    settings: Settings, chosen: Collection[str], cluster: _Cluster, declared: Collection[str]
) -> Iterator[Finding]:
    """Topics of sinks that are not there yet, where no chosen connector will make them."""
    for name, sink in settings.sinks.items():
        for topic in sink.topics if name in chosen else ():
            if not patterns.is_pattern(topic) and topic not in cluster.topics and topic not in declared:
                yield Finding("warning", f"sink {name}: topic {topic}", "is not there yet", "run its connector first")


def _acl_findings(
    settings: Settings, admin: AdminClient, chosen: Collection[str], cluster: _Cluster
) -> Iterator[Finding]:
    wanted = acls.needed(settings, chosen)
    who, server = acls.principal(settings), settings.kafka.bootstrap_servers
    lacking = list(_lacking(admin, wanted, cluster))
    for topic, acl, operations in lacking:
        said = f"{who} lacks {', '.join(operations)} ({acl.reason})"
        yield Finding("error", f"kafka: topic {topic}", said, acl.command(server, who))
    if not lacking:
        yield Finding("ok", "kafka: ACLs", "nothing is missing on the topics that are there")
    needed = "; ".join(map(str, wanted))
    if settings.kafka.properties.get("security.protocol", "PLAINTEXT") == "PLAINTEXT":
        yield Finding("note", "kafka: ACLs", f"without a login there are none; with one it needs {needed}")
    else:
        grants = "\n".join(acl.command(server, who) for acl in wanted)
        yield Finding("note", "kafka: ACLs", f"{who} needs {needed}", grants)


def _lacking(admin: AdminClient, wanted: Iterable[Acl], cluster: _Cluster) -> Iterator[tuple[str, Acl, list[str]]]:
    """Topics that are there, the ACL they need, and the operations that are not allowed."""
    by_topic = [(topic, acl) for acl in wanted for topic in cluster.topics if _is_for(acl, topic)]
    allowed = _allowed(admin, {topic for topic, _ in by_topic})
    for topic, acl in by_topic:
        # A topic that is there need not be created any more.
        needed = [operation for operation in acl.operations if operation != "Create"]
        missing = [operation for operation in needed if _OPERATIONS[operation] not in allowed.get(topic, ())]
        if missing and topic in allowed:
            yield topic, acl, missing


def _is_for(acl: Acl, topic: str) -> bool:
    return acl.resource == "topic" and (topic.startswith(acl.name) if acl.prefixed else topic == acl.name)


def _allowed(admin: AdminClient, which: set[str]) -> dict[str, set[AclOperation]]:
    """Operations that the broker allows us; a broker that does not tell is left out."""
    if not which:
        return {}
    described = admin.describe_topics(
        TopicCollection(sorted(which)), include_authorized_operations=True, request_timeout=TIMEOUT
    )
    allowed: dict[str, set[AclOperation]] = {}
    for topic, future in described.items():
        try:
            operations = future.result(timeout=TIMEOUT).authorized_operations
        except KafkaException as error:
            raise _undescribed(topic, error) from error
        if operations:
            allowed[topic] = set(operations)
    return allowed


def _undescribed(topic: str, error: KafkaException) -> CdcError:
    return BrokerUnavailable(f"topic {topic} cannot be described: {error.args[0].str()}")
