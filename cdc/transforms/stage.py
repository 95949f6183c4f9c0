"""Batches between a connector and the publisher, where some tables have transforms. Pure.

Whatever the connector knows a row by (positions, keys of a snapshot, unchanged values) is behind it
when events come here; so an event may be dropped, routed or become several without a trace there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cdc.errors import TransformFailed
from cdc.event import BY_KEY, Batch, EventTopic, Record
from cdc.schemas import TableSchema, read

from .chain import Chain


class Stage:
    """The transforms of one connector.

    Args:
        chain: "schema.table" → its transforms, None for a table without.
        schemas_topic: where descriptions of tables are.
        compacted: whether a topic is, so that it takes no record without key.
    """

    def __init__(
        self, chain: Callable[[str], Chain | None], schemas_topic: str, compacted: Callable[[str], bool]
    ) -> None:
        self._chain = chain
        self._schemas_topic = schemas_topic
        self._compacted = compacted
        self._chains: dict[str, tuple[Chain, EventTopic]] = {}
        self._compacting: dict[str, bool] = {}
        self._described: dict[str, dict[bytes, bytes]] = {}
        self._told: set[tuple[str, bytes]] = set()

    def batch(self, batch: Batch) -> Batch:
        """What is published of a batch. Raises: TransformFailed."""
        topics = []
        for topic in batch.topics:
            chain = self._chain(topic.table) if topic.rows else None
            if chain is None:
                topics.append(topic)
                continue
            self._chains[topic.topic] = chain, topic
            if not chain.leaves:
                topics.append(topic)
                self._compacting.setdefault(topic.topic, self._compacted(topic.topic))
        if not self._chains:
            return batch
        found: dict[str, EventTopic] = {}
        records = self._records(batch.records, found)
        return Batch(records, batch.position, (*topics, *found.values()), batch.complete)

    def gone(self, topic: str, deletes: list[Record]) -> list[Record]:
        """Deletes of rows that readers have, with the keys that these have. Raises: TransformFailed."""
        if topic not in self._chains:
            return deletes
        chain, of = self._chains[topic]
        return [one if one[2] is None else chain.gone(one, of.table) for one in deletes]

    def _records(self, records: list[Record], found: dict[str, EventTopic]) -> list[Record]:
        out: list[Record] = []
        chains = self._chains
        at, end = 0, len(records)
        while at < end:
            one = records[at]
            known = chains.get(one[0])
            if known is None:
                at += 1
                if one[0] != self._schemas_topic or self._learn(one):
                    out.append(one)
                continue
            begin = at
            while at < end and records[at][0] == one[0]:
                at += 1
            chain, topic = known
            for made in chain.records(records[begin:at], topic.table):
                if made[0] != topic.topic or chain.leaves:
                    self._meet(made[0], topic, found, out)
                if made[1] is None and self._compacting[made[0]]:
                    raise TransformFailed(
                        f"table {topic.table}: an event has no key behind the transforms, "
                        f"but topic {made[0]} is compacted",
                        hint=f'give it a key, or topics: {{"{made[0]}": {{cleanup_policy: delete}}}}',
                    )
                out.append(made)
        return out

    def _meet(self, topic: str, of: EventTopic, found: dict[str, EventTopic], out: list[Record]) -> None:
        """A topic that is not the table's own is prepared, and described, before its first event."""
        if topic not in self._compacting:
            self._compacting[topic] = self._compacted(topic)
            found[topic] = EventTopic(topic, of.table, of.key_columns, distinct=False)
        for key, description in self._described.get(of.table, {}).items():
            if (topic, description) not in self._told:
                self._told.add((topic, description))
                there = replace(TableSchema.from_bytes(description), topic=topic)
                out.append((self._schemas_topic, key + b">" + topic.encode(), there.to_bytes(), BY_KEY, 0, None))

    def _learn(self, record: Record) -> bool:
        """Take in a description; whether it is published as it is: not if its topic gets no events."""
        _, key, description, *_ = record
        if key is None or description is None:
            return True
        schema = read(description)
        if not isinstance(schema, TableSchema) or schema.topic not in self._chains:
            return True
        chain, _ = self._chains[schema.topic]
        chain.learn(schema)
        if not chain.outbox:
            self._described.setdefault(schema.table, {})[key] = description
        return not chain.leaves
