"""Mends a sink's gaps: its tables are made equal to what their topics hold, in place. Touches Kafka and the target.

A rebuild takes the position from every row of a table and lets the sink read the topic from its beginning:
each event then overwrites its row, and rows that none has overwritten by the time the topic's present end is
reached are taken away (`Offsets.rebuilt`, `statements.sweep`). All of that is stored in one transaction here and
goes on by itself, by whichever members run, however often they are killed. Readers see every row meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from cdc import names, patterns, sink_gaps
from cdc.databases import masked
from cdc.errors import Gap, Refused
from cdc.failpoints import reach
from cdc.kafka import client
from cdc.schema_reader import SchemaReader
from cdc.settings import Settings
from cdc.sink import Held, Offset, TopicFacts, TopicPartition
from cdc.sink_gaps import Found
from cdc.topic_watch import deletes_kept, facts, offsets
from sinks.postgres import catalog, statements
from sinks.postgres.create import connect
from sinks.postgres.failures import translated
from sinks.postgres.offsets import APPLICATION, Offsets
from sinks.postgres.settings import PostgresSinkSettings
from sinks.postgres.tables import Target, wanted

_BEGINNING: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_END: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as Kafka has it, and as the sink left it.

    Args:
        name: of the topic.
        now: None: it is gone.
        held: by partition, what the target knows.
        low, high: by partition, the first offset and the end.
        kept: seconds for which it keeps deletes; None: it is not compacted.
    """

    name: str
    now: TopicFacts | None
    held: dict[int, Held]
    low: dict[int, Offset]
    high: dict[int, Offset]
    kept: float | None

    @property
    def is_whole(self) -> bool:
        """Whether it has the last event of every key: nothing was taken from it but by compaction."""
        return not any(self.low.values())

    @property
    def is_other(self) -> bool:
        """Whether it was deleted and made anew."""
        return self.now is not None and any(
            held.next_offset and held.topic and held.topic.id and self.now.id and held.topic.id != self.now.id
            for held in self.held.values()
        )

    @property
    def has_moved_keys(self) -> bool:
        """Whether partitions were added since it was read."""
        counts = {held.topic.partitions for held in self.held.values() if held.next_offset and held.topic}
        return self.now is not None and not self.is_other and bool(counts - {0, self.now.partitions})

    def gap(self, sink: str) -> Gap | None:
        """The first gap of its partitions."""
        if self.now is None:
            return sink_gaps.deleted(sink, self.name)
        for partition, held in sorted(self.held.items()):
            found = Found(self.now, self.low.get(partition, 0), self.high.get(partition, 0), self.kept)
            gap = sink_gaps.gap(sink, (self.name, partition), held, found)
            if gap is not None:
                return gap
        return None


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one topic.

    Args:
        topic: as it is.
        target: its table; None where it has none (yet).
        way: `sweep`: read anew, rows it does not have are taken away; `keep`: read anew, those rows stay; `empty`:
            the table is emptied and filled again; `skip`: what is lost is left out; `forget`: the topic is gone.
    """

    topic: Topic
    target: Target | None
    way: str
    lines: tuple[str, ...]


class Rebuild:
    """What `cdc heal` of a sink shows, and does.

    Args:
        settings, name, section: the bridge's settings, and which of its sinks.
        topics: names or patterns of the sink's topics; empty: those that have a gap.
        remove: take away rows that a topic does not have even if it may lack events of rows that there are.

    Raises:
        CdcError: Kafka or the target does not answer, or refuses.
        Refused: no topic has such a name.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        section: PostgresSinkSettings,
        topics: Sequence[str] = (),
        *,
        remove: bool = False,
    ) -> None:
        self._settings, self._name, self._section = settings, name, section
        self._group = names.group_id(settings.name, name)
        self._database = settings.databases[section.database]
        known = self._held()
        chosen = [topic for topic in known if patterns.matching(topics or section.topics, topic)]
        if topics and not chosen:
            raise Refused(f"sink {name} has read no topic {', '.join(topics)}", hint=f"it has read {', '.join(known)}")
        found = [self._look(topic, known[topic]) for topic in chosen]
        gaps = {topic.name: topic.gap(name) for topic in found}
        reader = SchemaReader(settings)
        try:
            reader.refresh()
            self.steps = [
                self._step(topic, gaps[topic.name], reader, remove) for topic in found if topics or gaps[topic.name]
            ]
        finally:
            reader.close()

    @property
    def lines(self) -> list[str]:
        """What is wrong, and what `apply` does about it; empty if nothing is."""
        return [line for step in self.steps for line in step.lines]

    def apply(self) -> list[str]:
        """Do it, all or nothing; the sink does the rest when it runs.

        Returns: what was done.
        Raises:
            TargetUnavailable, SinkError: the target does not answer, or refuses; nothing is changed.
        """
        if not self.steps:
            return []
        reach("sink.before_rebuild")
        with self._connected() as connection:
            members = Offsets(connection, self._section.target_schema, self._group)
            with connection.transaction():
                members.hold_all()
                for step in self.steps:
                    self._do(connection, members, step)
        reach("sink.after_rebuild")
        return [f"{step.topic.name}: {_DONE[step.way]}" for step in self.steps]

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with connect(self._database, f"{APPLICATION} {self._group} rebuild") as connection:
                connection.execute(catalog.SESSION)
                yield connection
        except psycopg.Error as error:
            raise translated(error, masked(self._database.url)) from None

    def _held(self) -> dict[str, dict[int, Held]]:
        with self._connected() as connection:
            catalog.create_offsets(connection, self._section.target_schema, create=self._section.create)
            held = Offsets(connection, self._section.target_schema, self._group).held()
        by_topic: dict[str, dict[int, Held]] = {}
        for (topic, partition), each in sorted(held.items()):
            by_topic.setdefault(topic, {})[partition] = each
        return by_topic

    def _look(self, topic: str, held: dict[int, Held]) -> Topic:
        admin = client(AdminClient, self._settings.kafka)
        now = facts(admin, [topic]).get(topic)
        if now is None:
            return Topic(topic, None, held, {}, {}, None)
        partitions: list[TopicPartition] = [(topic, number) for number in range(now.partitions)]
        low = {number: offset for (_, number), offset in offsets(admin, partitions, _BEGINNING).items()}
        high = {number: offset for (_, number), offset in offsets(admin, partitions, _END).items()}
        return Topic(topic, now, held, low, high, deletes_kept(admin, topic))

    def _step(self, topic: Topic, gap: Gap | None, reader: SchemaReader, remove: bool) -> Step:
        section = self._section
        versions = reader.versions(topic.name)
        target = None
        if versions:
            target = wanted(versions, section.target_schema, section.tables.get(topic.name), section.deletes == "mark")
        way = _way(topic, target, remove)
        said = gap.message if gap else f"sink {self._name}, {topic.name}: no gap; rebuilt as asked for"
        rows = self._estimate(target) if target is not None else None
        return Step(topic, target, way, (said, *_plan(topic, target, rows, way, gap is not None)))

    def _estimate(self, target: Target) -> int | None:
        """About how many rows the table has; None if that is not known."""
        with self._connected() as connection:
            found = connection.execute(
                "SELECT c.reltuples FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname = %s AND c.relname = %s AND c.reltuples >= 0",
                [target.schema, target.name],
            ).fetchone()
        return int(found[0]) if found else None

    def _do(self, connection: psycopg.Connection[Any], members: Offsets, step: Step) -> None:
        topic, target = step.topic, step.target
        if topic.now is None:
            members.forget(topic.name)
            return
        there = target is not None and catalog.existing(connection, target.schema, target.name) is not None
        if target is not None and there and step.way in ("sweep", "keep"):
            connection.execute(statements.unmark(target))
        elif target is not None and there and step.way == "empty":
            connection.execute(statements.empty(target))
        if step.way == "skip":
            members.skip(topic.name, topic.low, topic.high)
        else:
            until = topic.high if step.way == "sweep" else {}
            members.begin_again(topic.name, topic.now, until)


_DONE: Final = {
    "sweep": "is read anew from its beginning; rows that it does not have are taken away when that is done",
    "keep": "is read anew from its beginning; rows that it does not have stay",
    "empty": "its table is emptied, and filled again from the topic's beginning",
    "skip": "goes on behind what is lost",
    "forget": "is forgotten; its table stays as it is",
}


def _way(topic: Topic, target: Target | None, remove: bool) -> str:
    if topic.now is None:
        return "forget"
    if target is not None and not target.key:
        # Its rows are events that the topic may no longer have: only another topic's are given up.
        return "empty" if topic.is_other or remove else "skip"
    return "sweep" if topic.is_whole or remove else "keep"


def _plan(topic: Topic, target: Target | None, rows: int | None, way: str, has_gap: bool) -> list[str]:
    table = f"table {target.full_name}" if target else "its table"
    if rows is not None:
        table += f" (about {rows:,})"
    events = sum(topic.high.values()) - sum(topic.low.values())
    snapshot = "`cdc snapshot TABLE` on its connector publishes every row again"
    if way == "forget":
        return [
            f"  → forget its offsets; {table} keeps its rows, and is filled from the beginning if the topic comes back"
        ]
    if way == "skip":
        if not has_gap:
            return [f"  → nothing: {table} has no key, so reading the topic again would add every event again"]
        return [
            f"  → {table} has no key: its rows stay, and it goes on behind what is lost",
            f"    to have every row again: {snapshot}",
        ]
    reading = f"  → read the topic again, at most {events:,} events"
    if way == "empty":
        return [f"  → empty {table}, which has no key, and fill it again: at most {events:,} events"]
    if way == "sweep":
        said = [f"{reading}, and then take away the rows of {table} that it does not have"]
        if not events:
            said.append(f"    the topic is EMPTY: every row of {table} would go; first {snapshot}")
        elif not topic.is_whole:
            said.append("    the topic may lack events of rows that there are (see docs/sink-postgres.md)")
        if topic.has_moved_keys or topic.is_other:
            said.append("    its connector has a gap too: heal that first, as it publishes what the topic lacks")
        return said
    return [
        f"{reading}, over the rows of {table}; rows that it does not have stay",
        "    the topic is not complete (its beginning expired, or was deleted): which of those rows the source still "
        "has cannot be known",
        f"    {snapshot}; when it is done, --remove-unpublished takes the others away",
    ]
