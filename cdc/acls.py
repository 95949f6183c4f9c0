"""The Kafka ACLs that a bridge needs, from its settings alone. Pure.

A transactional producer needs Write on its transactional id; IdempotentWrite on the cluster is for
brokers before 2.8 only, and for those that have no transactional id.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from cdc import names, patterns
from cdc.settings import Settings


@dataclass(frozen=True, slots=True)
class Acl:
    """Operations on one resource that the bridge's user must be allowed.

    Args:
        operations: Kafka's names: `Write`, `DescribeConfigs` …
        resource: kind of resource.
        name: its name, or what its names begin with if `prefixed`.
        reason: what the bridge does there.
    """

    operations: tuple[str, ...]
    resource: Literal["topic", "group", "transactional-id"]
    name: str
    reason: str
    prefixed: bool = False

    def __str__(self) -> str:
        return f"{', '.join(self.operations)} on {self.resource} {self.name}{'*' if self.prefixed else ''}"

    def command(self, bootstrap_servers: str, principal: str) -> str:
        """The shell line that grants it."""
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap_servers, "--add", "--allow-principal", principal]
        for operation in self.operations:
            words += ["--operation", operation]
        words += [f"--{self.resource}", self.name]
        return shlex.join(words + ["--resource-pattern-type", "prefixed"] * self.prefixed)


def needed(settings: Settings, chosen: Collection[str] | None = None) -> list[Acl]:
    """The ACLs that the chosen connectors and sinks (None: all) need."""
    acls = list(dict.fromkeys(_needed(settings, chosen)))
    covering = [acl for acl in acls if acl.prefixed]
    return [acl for acl in acls if acl.prefixed or not any(_covers(wide, acl) for wide in covering)]


def principal(settings: Settings) -> str:
    """The bridge's user as Kafka's ACLs name it, or a word to replace."""
    user = settings.kafka.properties.get("sasl.username")
    return f"User:{user}" if user else "User:NAME"


def _needed(settings: Settings, chosen: Collection[str] | None) -> Iterator[Acl]:
    connectors = {name: section for name, section in settings.connectors.items() if chosen is None or name in chosen}
    sinks = {name: section for name, section in settings.sinks.items() if chosen is None or name in chosen}
    making = ("Describe", "DescribeConfigs", "Create", "Write")
    for name, connector in connectors.items():
        own_id = names.transactional_id(settings.name, name)
        yield Acl(("Describe", "Write"), "transactional-id", own_id, f"connector {name} publishes exactly once")
        for entry in connector.event_topics(settings.name) or [f"{settings.name}.*"]:
            topic, prefixed = _literal(entry)
            # Polls and heals, and who goes on where Debezium stopped, read what readers have.
            yield Acl((*making, "Read"), "topic", topic, "events", prefixed)
            yield Acl(("Describe",), "group", topic, "reads what is on the topic", prefixed)
        for topic in connector.other_topics(settings.name):
            wanted = (*making, "Read") if connector.goes_on() else making
            yield Acl(wanted, "topic", topic, "messages, transactions or heartbeats")
            if connector.goes_on():
                yield Acl(("Describe",), "group", topic, "reads the last of what Debezium published")
    # librdkafka asks for the coordinator of a consumer's group even if nothing is joined or committed.
    yield Acl(("Describe",), "group", f"{settings.name}.cdc", "readers of the bridge's own topics", prefixed=True)
    if connectors:
        yield Acl((*making, "Read"), "topic", names.offsets_topic(settings.name), "positions")
        yield Acl(making, "topic", names.schemas_topic(settings.name), "descriptions of tables")
        yield Acl(making, "topic", names.dead_letters_topic(settings.name), "made with the others")
    for name, sink in sinks.items():
        yield Acl(("Read",), "group", names.group_id(settings.name, name), f"sink {name} shares partitions")
        for entry in sink.topics:
            topic, prefixed = _literal(entry)
            yield Acl(("Describe", "DescribeConfigs", "Read"), "topic", topic, f"sink {name} reads", prefixed)
        if sink.on_refused == "dead_letter":
            topic = names.dead_letters_topic(settings.name)
            yield Acl(("Describe", "Create", "Write", "Read"), "topic", topic, f"sink {name} puts refused events there")
    if sinks:
        yield Acl(
            ("Describe", "Read"), "topic", names.schemas_topic(settings.name), "sinks read descriptions of tables"
        )


def _literal(topic: str) -> tuple[str, bool]:
    """A topic as it is, or what stands before a pattern's first wildcard."""
    if not patterns.is_pattern(topic):
        return topic, False
    return patterns.beginning(topic), True


def _covers(wide: Acl, narrow: Acl) -> bool:
    fits = wide.resource == narrow.resource and narrow.name.startswith(wide.name)
    return fits and set(narrow.operations) <= set(wide.operations)
