"""Names that follow from the bridge's name: topics, slots, groups, transactional ids. Pure.

Everything the bridge makes on Kafka begins with `{name}.`, so that one prefixed ACL covers it; only the
topic of heartbeats ends with it, as Debezium's.
Names that had to be changed to be legal carry a hash where two of them must never be equal
(slots); topics stay readable, and `collisions` finds those that met.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from hashlib import sha256

from cdc.patterns import below, is_expression, is_pattern

TOPIC_LENGTH = 249
"""Kafka's longest topic name."""

SLOT_LENGTH = 63
"""PostgreSQL's longest identifier, in bytes (NAMEDATALEN - 1)."""


def event_topic(name: str, schema: str, table: str) -> str:
    """The topic of a table's events: `{name}.{schema}.{table}`.

    What Kafka does not allow in a topic becomes `_`, as Debezium does it
    (`AbstractTopicNamingStrategy.sanitizedTopicName`); a name that is too long ends in a hash.
    """
    return _cut(f"{name}.{_topic_part(schema)}.{_topic_part(table)}", TOPIC_LENGTH, separator="-")


def legal_topic(text: str) -> str:
    """A text as the name of a topic: what Kafka does not allow becomes `_`; one that is too long ends in a hash."""
    return _cut(re.sub(r"[^A-Za-z0-9._-]", "_", text), TOPIC_LENGTH, separator="-")


def topic_of_entry(name: str, entry: str) -> str:
    """The topic of a name under `tables:`, or the pattern of topics that a pattern there means."""
    schema, dot, table = entry.partition(".")
    if is_expression(entry):
        return below(f"{name}.", entry)
    if is_pattern(entry) or not dot:
        return f"{name}.{entry}"
    return event_topic(name, schema, table)


def offsets_topic(name: str) -> str:
    """Where connectors store their positions (compacted)."""
    return f"{name}.cdc.offsets"


def schemas_topic(name: str) -> str:
    """Where descriptions of tables are kept (compacted)."""
    return f"{name}.cdc.schemas"


def dead_letters_topic(name: str) -> str:
    """Where sinks put events that their target refuses."""
    return f"{name}.cdc.dead-letters"


def message_topic(name: str) -> str:
    """Where logical messages go: Debezium's name of it (`LogicalDecodingMessageMonitor`)."""
    return f"{name}.message"


def transaction_topic(name: str) -> str:
    """Where transactions begin and end: Debezium's name of it by default (`topic.transaction`)."""
    return f"{name}.transaction"


def heartbeat_topic(name: str, prefix: str) -> str:
    """Where connectors show that they are alive; Debezium puts its prefix before the name."""
    return f"{prefix}.{name}"


def own_topics(name: str) -> tuple[str, ...]:
    """All topics that belong to the bridge itself; no table may have one of them."""
    return offsets_topic(name), schemas_topic(name), dead_letters_topic(name)


def rowless_topics(name: str) -> tuple[str, ...]:
    """Topics that hold no rows, though events of the source may be on them: no sink can read them."""
    return *own_topics(name), message_topic(name), transaction_topic(name)


def slot_name(name: str, connector: str) -> str:
    """The replication slot of a connector: `cdc_{name}_{connector}`, unique in a PostgreSQL cluster.

    Slots know `[a-z0-9_]` and 63 bytes only. Where the plain form could also be another pair's
    (`a_b` + `c`, `a` + `b-c`), or is too long, a hash of both names is added.
    """
    plain = f"cdc_{name}_{connector}"
    if re.fullmatch(r"[a-z0-9]+", name) and re.fullmatch(r"[a-z0-9]+", connector) and len(plain) <= SLOT_LENGTH:
        return plain
    digest = _digest(f"{name}\0{connector}")
    return re.sub(r"[^a-z0-9]+", "_", plain.lower())[: SLOT_LENGTH - len(digest) - 1] + "_" + digest


def lock_key(name: str, connector: str) -> int:
    """The advisory lock of a connector: 63 bits of a hash of both names."""
    return int.from_bytes(sha256(f"cdc-bridge\0{name}\0{connector}".encode()).digest()[:8], "big") >> 1


def publication_name(name: str, connector: str) -> str:
    """The publication of a connector; named as its slot."""
    return slot_name(name, connector)


def group_id(name: str, sink: str) -> str:
    """The consumer group of a sink: `{name}.{sink}`."""
    return f"{name}.{sink}"


def transactional_id(name: str, connector: str, task: int = 0) -> str:
    """The transactional id of a connector's producer: `{group}-{connector}-{task}`, group `{name}.cdc`.

    The names of connectors hold no dot, so no two pairs share an id.
    """
    return f"{name}.cdc-{connector}-{task}"


def collisions(name: str, tables: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Tables whose topics cannot stand side by side.

    Kafka's metrics write `.` as `_`, so it warns of topics that differ in nothing else; two
    tables may even have the same topic, or one of the bridge's own.

    Args:
        name: the bridge's name.
        tables: (schema, table) of everything captured.

    Returns:
        Topic → what wants it ("schema.table", or "the bridge's own topic …"), where more than one does.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    shown: dict[str, str] = {}
    for topic in own_topics(name):
        wanted[topic.replace(".", "_")].append(f"the bridge's own topic {topic}")
    for schema, table in dict.fromkeys(tables):
        topic = event_topic(name, schema, table)
        metric = topic.replace(".", "_")
        shown.setdefault(metric, topic)
        wanted[metric].append(f"{schema}.{table}")
    return {shown[metric]: owners for metric, owners in wanted.items() if metric in shown and len(owners) > 1}


def _topic_part(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _cut(text: str, length: int, *, separator: str) -> str:
    if len(text) <= length:
        return text
    digest = _digest(text)
    return text[: length - len(digest) - 1] + separator + digest


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
