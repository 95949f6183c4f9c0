"""A heal: of the source's rows only what readers do not have, and deletes for what is gone. Touches topics and disk.

Stands between `connector.batches()` and `publisher.publish` while a gap is mended. Each topic
is folded when its first event comes; from then on a key that is met, in the snapshot or in the
stream, leaves the fold, and what is left when the snapshot is complete is not in the source.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from cdc.connector import Connector
from cdc.errors import PublishError
from cdc.event import Batch, EventTopic, Record
from cdc.failpoints import reach
from cdc.fold import ROW, TRUNCATE, Fold, Spool, read
from cdc.formats.contract import Reader, reader_of
from cdc.offsets import committed
from cdc.position import Position
from cdc.publisher import Publisher

GONE_AT_ONCE: Final = 5_000
"""Keys deleted in one Kafka transaction."""


@dataclass(slots=True)
class Compared:
    """A topic while its table's rows come.

    Args:
        fold: what readers have.
        whole: whether the fold knows all of it; else each row is published again.
        reader: of its format.
    """

    fold: Fold
    whole: bool
    reader: Reader | None = None
    equal: int = 0
    published: int = 0
    deleted: int = 0


class Difference:
    """What a heal publishes of each batch.

    Args:
        connector: makes the deletes.
        publisher: knows the topics, and is asked whether to stop while they are read.
    Raises: SpoolFull.
    """

    def __init__(self, connector: Connector, publisher: Publisher) -> None:
        self._connector, self._publisher = connector, publisher
        self._spool = Spool(publisher.settings.spool)
        self._known: set[str] = set()
        self._compared: dict[str, Compared] = {}
        self._log = structlog.get_logger()

    def pieces(self, batch: Batch, before: Position) -> Iterator[Batch]:
        """What to publish for a batch, in order: deletes first, then what is left of the batch itself.

        Args:
            before: the position that is stored; the pieces before the last one leave it so.
        Raises: SpoolFull; what reading a topic raises.
        """
        if batch.topics:
            self._open(batch.topics)
        batch.records = self._different(batch.records)
        for topic in batch.complete:
            compared = self._compared.pop(topic, None)
            if compared is not None:
                yield from self._rest(topic, compared, replace(before, ledger=None))
        yield batch

    def close(self) -> None:
        """Give up the file."""
        self._spool.close()

    def _open(self, event_topics: Sequence[EventTopic]) -> None:
        self._publisher.prepare(event_topics)
        for event_topic in event_topics:
            topic = event_topic.topic
            if topic in self._known or not event_topic.rows:
                continue
            self._known.add(topic)
            if not event_topic.key_columns or not event_topic.distinct:
                self._log.warning(
                    "rows are published again, and deletes since the gap began cannot be known: keys do not tell "
                    "them apart",
                    topic=topic,
                    table=event_topic.table,
                )
                continue
            self._compared[topic] = self._fold(topic, event_topic.table, event_topic.format)

    def _fold(self, topic: str, table: str, written: str) -> Compared:
        began = time.monotonic()
        home, whole = self._publisher.home(topic), not self._publisher.expires(topic)
        fold = self._spool.fold()
        messages = committed(self._publisher.settings.kafka, topic, home.partitions, self._publisher.stopping)
        reader = reader_of(self._publisher.settings, [written])
        try:
            fold.load(messages, home.partitions if home.moved else 0, reader)
        except ValueError as error:
            raise PublishError(
                f"topic {topic}: what readers have cannot be compared: {error}",
                hint=f"it holds records of another format than {written}: give the table a topic of its own",
            ) from None
        seconds = round(time.monotonic() - began, 1)
        self._log.info("topic folded", topic=topic, table=table, keys=len(fold), seconds=seconds)
        if not whole:
            self._log.warning(
                "rows are published again, and deletes of rows whose events have expired cannot be known: the topic "
                "keeps events for a time only",
                topic=topic,
                table=table,
            )
        reach("heal.after_fold")
        return Compared(fold, whole, reader)

    def _different(self, records: list[Record]) -> list[Record]:
        """Leave out rows that readers have; whatever is met leaves its fold."""
        compared = self._compared
        if not compared:
            return records
        kept: list[Record] = []
        for record in records:
            topic = compared.get(record[0])
            if topic is None or not self._equal(topic, record[1], record[2]):
                kept.append(record)
        return kept

    def _equal(self, topic: Compared, key: bytes | None, value: bytes | None) -> bool:
        if topic.reader is not None:
            key = None if key is None else topic.reader.key(key)
            value = None if value is None else topic.reader.value(value)
        if key is None:
            if value is not None and read(value)[0] == TRUNCATE:
                topic.fold.clear()
            return False
        had = topic.fold.take(key)
        if value is None:
            return False
        if had and topic.whole and read(value) == (ROW, had):
            topic.equal += 1
            return True
        topic.published += 1
        return False

    def _rest(self, topic: str, compared: Compared, before: Position) -> Iterator[Batch]:
        """Deletes for what the source no longer has, bounded piece by piece."""
        fold, gone = compared.fold, self._connector.gone
        while strays := fold.strays(GONE_AT_ONCE):
            # A delete without tombstone takes the place of what is there, and is older than the row where it belongs.
            partitions = iter([partition for _, partition in strays])
            deletes = [record for record in gone(topic, [key for key, _ in strays]) if record[2] is not None]
            yield Batch([(*record[:3], next(partitions), *record[4:]) for record in deletes], before)
            for key, partition in strays:
                fold.found(key, partition)
        while keys := fold.some(GONE_AT_ONCE):
            reach("heal.before_deletes")
            yield Batch(gone(topic, keys), before)
            compared.deleted += len(keys)
            for key in keys:
                fold.take(key)
            reach("heal.after_deletes")
        fold.drop()
        self._log.info(
            "topic healed",
            topic=topic,
            equal=compared.equal,
            published=compared.published,
            deleted=compared.deleted,
        )
