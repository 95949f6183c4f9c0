"""The sink `postgres`: a batch of events → one transaction of the target. Touches the target.

In that transaction, in this order: the partitions' offsets are moved (which locks them, and
fails for a former owner), truncates take rows away, deletes, writes. `docs/sink-postgres.md`
says what holds and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import psycopg

from cdc.errors import RowRefused, SinkError
from cdc.failpoints import reach
from cdc.formats.contract import Reader
from cdc.schemas import TableSchema
from cdc.sink import Event, EventBatch, Held, TopicFacts, TopicPartition
from sinks.postgres import catalog
from sinks.postgres.decode import TRUNCATE, Decoder, Row
from sinks.postgres.failures import is_rows_fault, translated
from sinks.postgres.history import history
from sinks.postgres.merge import Changes, grouped, merge
from sinks.postgres.offsets import Offsets
from sinks.postgres.settings import PostgresSinkSettings
from sinks.postgres.tables import Target, wanted
from sinks.postgres.write import RowMissing, Writer


class Descriptions(Protocol):
    """Where descriptions of tables come from; `cdc.schema_reader.SchemaReader` is one."""

    def refresh(self) -> bool:
        """Read what is new; whether anything was."""
        ...

    def versions(self, topic: str) -> Sequence[TableSchema]:
        """The topic's descriptions, oldest first."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Topic:
    target: Target
    decoder: Decoder
    versions: tuple[TableSchema, ...]


class PostgresSink:
    """One member of a consumer group that writes to a PostgreSQL database.

    Args:
        section: its settings.
        group: the consumer group.
        connect: makes a connection to the target, in autocommit.
        shown: the database as errors may show it.
        descriptions: of the topics' tables.
        reader: formats, the newest last, that a topic's events were written in → what reads them.
    """

    def __init__(
        self,
        section: PostgresSinkSettings,
        group: str,
        connect: Callable[[], psycopg.Connection[Any]],
        shown: str,
        descriptions: Descriptions,
        reader: Callable[[Sequence[str]], Reader | None] = lambda formats: None,
    ) -> None:
        self._section = section
        self._shown = shown
        self._descriptions = descriptions
        self._reader = reader
        self._topics: dict[str, _Topic] = {}
        self._events = 0
        with self._errors():
            self._connection = connect()
            self._connection.execute(catalog.SESSION)
            catalog.create_offsets(self._connection, section.target_schema, create=section.create)
        self._offsets = Offsets(self._connection, section.target_schema, group)
        self._writer = Writer(self._connection)

    def own(self, partitions: Set[TopicPartition], topics: Mapping[str, TopicFacts]) -> Mapping[TopicPartition, Held]:
        with self._errors():
            reach("sink.before_own")
            held = self._offsets.own(partitions, topics, self._unordered(topics))
            reach("sink.after_own")
            return held

    def topics(self) -> Set[str]:
        with self._errors():
            return self._offsets.topics()

    def release(self, partitions: Set[TopicPartition]) -> None:
        reach("sink.before_release")
        self._offsets.release(partitions)

    def apply(self, batch: EventBatch) -> None:
        with self._errors():
            finished = self._offsets.finishing(batch.next_offsets)
            self._learn({event.topic for event in batch.events}, finished)
            self._commit(batch.events, lambda: self._offsets.move(batch.next_offsets, batch.ages), finished)
        self._offsets.moved(batch.next_offsets)
        self._events += len(batch.events)

    def apply_again(self, partition: TopicPartition, events: Sequence[Event]) -> None:
        done = self._offsets.retried(partition)
        left = [event for event in events if event.offset not in done]
        if not left:
            return
        offsets = {event.offset for event in left}
        with self._errors():
            self._learn({partition[0]})
            self._commit(left, lambda: self._offsets.again(partition, offsets), frozenset())
        self._offsets.done_again(partition, offsets)

    def status(self) -> dict[str, Any]:
        return {"events": self._events, "rebuilding": sorted(self._offsets.rebuilding)}

    def close(self) -> None:
        self._descriptions.close()
        self._connection.close()

    def _unordered(self, topics: Iterable[str]) -> Set[str]:
        """Topics that may be read in any order of their partitions: nothing is forgotten that was deleted."""
        if self._section.deletes == "mark":
            return frozenset(topics)
        self._descriptions.refresh()
        newest = {topic: versions[-1] for topic in topics if (versions := self._descriptions.versions(topic))}
        return {topic for topic, description in newest.items() if not description.key}

    def _commit(self, events: Sequence[Event], move: Callable[[], Mapping[str, bytes]], finished: Set[str]) -> None:
        """One transaction: what `move` does, and the events.

        Only if a row is refused, another one, in which each table is written piece by piece to learn
        which events are; any such event rolls everything back.

        Args:
            events: in order per partition.
            move: locks and moves the partitions; the positions below which events were truncated away.
            finished: topics of which a partition is read anew.
        """
        rows = self._decoded(events)
        try:
            self._write(rows, move, finished, isolate=False)
        except (RowMissing, psycopg.Error) as error:
            if isinstance(error, psycopg.Error) and not is_rows_fault(error):
                raise
            self._write(rows, move, finished, isolate=True)
        reach("sink.after_commit")

    def _write(
        self,
        rows: Mapping[str, list[Row]],
        move: Callable[[], Mapping[str, bytes]],
        finished: Set[str],
        *,
        isolate: bool,
    ) -> None:
        cuts = {topic: max(pos) for topic, found in rows.items() if (pos := [r.pos for r in found if r.op == TRUNCATE])}
        floors: Mapping[str, bytes] = cuts
        work = self._work(rows, floors)
        refusals: list[RowRefused] = []
        self._writer.prepare((self._topics[topic].target, changes) for topic, changes in work.items())
        reach("sink.before_apply")
        with self._connection.transaction():
            if cuts or finished:
                self._offsets.hold_all()
            stored = move()
            reach("sink.after_offsets")
            for topic, position in cuts.items():
                self._offsets.cut(topic, position)
                self._writer.truncate(self._topics[topic].target, position)
            if any(floor > floors.get(topic, b"") for topic, floor in stored.items()):
                work = self._work(rows, {**floors, **stored})
            for topic, changes in work.items():
                target = self._topics[topic].target
                if isolate:
                    refusals += self._writer.isolate(target, changes)
                else:
                    self._writer.write(target, changes)
            if refusals:
                raise _first(refusals)
            rebuilt = [topic for topic in finished if self._offsets.rebuilt(topic)]
            for topic in rebuilt:
                if topic in self._topics:
                    self._writer.sweep(self._topics[topic].target)
            reach("sink.before_commit")
        for topic in rebuilt:
            self._offsets.was_rebuilt(topic)

    def _work(self, rows: Mapping[str, list[Row]], floors: Mapping[str, bytes]) -> dict[str, Changes]:
        """What is to be written, without truncated events: those before a truncate, on any partition."""
        work = {}
        for topic, found in rows.items():
            floor = floors.get(topic)
            if floor is not None:
                found = [row for row in found if row.op != TRUNCATE and row.pos >= floor]
            work[topic] = merge(found) if self._topics[topic].target.key else Changes(writes=grouped(found))
        return work

    def _decoded(self, events: Sequence[Event]) -> dict[str, list[Row]]:
        """The rows by topic.

        Raises:
            RowRefused: for the first event that is none; `others` holds the rest.
        """
        rows: dict[str, list[Row]] = {topic: [] for topic in dict.fromkeys(event.topic for event in events)}
        sinks = {topic: (found.append, self._topics[topic].decoder.row) for topic, found in rows.items()}
        refusals = []
        for event in events:
            keep, decode = sinks[event.topic]
            try:
                row = decode(event)
            except RowRefused as refusal:
                refusals.append(refusal)
                continue
            if row is not None:
                keep(row)
        if refusals:
            raise _first(refusals)
        return rows

    def _learn(self, topics: Set[str], empty: Set[str] = frozenset()) -> None:
        """Read new descriptions, and make the target tables fit those that this batch needs.

        Always before a batch is decoded: an event's description is on the schemas topic before
        the event can be consumed, and the same JSON may mean another value by a newer one
        (milliseconds or microseconds of a timestamp).

        Args:
            topics: of events.
            empty: topics that may never have had one.
        """
        if topics or empty:
            self._descriptions.refresh()
        for topic in sorted(topics | empty):
            versions = tuple(self._descriptions.versions(topic))
            known = self._topics.get(topic)
            if known is not None and known.versions == versions:
                continue
            if not versions and topic not in topics:
                continue
            if not versions:
                raise SinkError(
                    f"topic {topic}: its table is not described on the schemas topic",
                    hint="a connector of this bridge must publish the topic; restart it to describe its tables again",
                )
            self._make_fit(topic, versions)

    def _make_fit(self, topic: str, versions: Sequence[TableSchema]) -> None:
        section = self._section
        policy = section.schema_changes
        target = wanted(versions, section.target_schema, section.tables.get(topic), section.deletes == "mark", policy)
        for other in self._topics.values():
            if other.target.full_name == target.full_name and other.target.topic != topic:
                raise SinkError(
                    f"topics {other.target.topic} and {topic} both want the target table {target.full_name}",
                    hint="name another table for one of them under this sink's tables:",
                )
        target = typed(self._connection, target)
        catalog.make_fit(self._connection, target, create=section.create)
        reach("sink.after_table_made")
        self._writer.forget()
        decoder = Decoder(versions, history(versions, policy).names, self._read_by(topic, versions))
        self._topics[topic] = _Topic(target, decoder, tuple(versions))

    def _read_by(self, topic: str, versions: Sequence[TableSchema]) -> Reader | None:
        try:
            return self._reader([version.format for version in versions])
        except (KeyError, ValueError) as error:
            raise SinkError(f"topic {topic}: its format cannot be read here: {error}") from None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise translated(error, self._shown) from None


def typed(connection: psycopg.Connection[Any], target: Target) -> Target:
    """The target with its columns' types as the server writes them."""
    return replace(target, columns=catalog.normalised(connection, target.columns))


def _first(refusals: Sequence[RowRefused]) -> RowRefused:
    first = min(refusals, key=lambda refusal: (refusal.topic, refusal.partition, refusal.offset))
    first.others = tuple(refusal for refusal in refusals if refusal is not first)
    return first
