"""What a sink member does with events its target refuses: puts them aside, and applies them again when asked.

Touches the dead-letters topic. A partition's owner alone applies its letters again, between two batches,
so that nothing of a key passes anything else of it.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Final

import structlog

from cdc.dead_letter_topic import DeadLetterTopic
from cdc.dead_letters import (
    Letter,
    LetterId,
    Mark,
    Marked,
    digest,
    event_of,
    folded,
    letter_headers,
    mark_headers,
    read,
)
from cdc.errors import RowRefused, SinkError
from cdc.failpoints import reach
from cdc.settings import Settings
from cdc.sink import Event, EventBatch, Offset, Sink, TopicPartition

LIMIT: Final = 20_000
"""Open letters that a member keeps in mind (of all members: whose partition comes next is not known)."""

LOOK_SECONDS: Final = 1.0
"""How often it looks for what was asked."""

AT_ONCE: Final = 100
"""Letters applied again before the next batch has its turn."""

_Key = tuple[str, bytes]


class PutAside:
    """One sink's letters, kept in mind by each of its members.

    Args:
        settings: the bridge's settings.
        sink: the sink's name.
        wait: later events of a key with an open letter are put aside too, until that is settled.
    """

    def __init__(self, settings: Settings, sink: str, *, wait: bool) -> None:
        self._sink, self._wait = sink, wait
        self._topic = DeadLetterTopic(settings)
        self._letters: dict[LetterId, Letter] = {}
        self._keys: defaultdict[_Key, set[LetterId]] = defaultdict(set)
        self._owned: set[TopicPartition] = set()
        self._next = 0.0
        self._by = secrets.token_hex(8)
        self._read_to = 0
        self._log = structlog.get_logger("cdc.sink")

    @property
    def count(self) -> int:
        """Open letters of the partitions that are owned."""
        return sum(id.place in self._owned for id in self._letters)

    def own(self, offsets: Mapping[TopicPartition, Offset | None]) -> None:
        """Partitions were taken, and go on at these offsets."""
        self._owned -= offsets.keys()  # what the former owner wrote is not ours
        self._refresh()
        self._owned |= offsets.keys()
        again = [id for id in self._letters if id.place in offsets and id.offset >= (offsets[id.place] or 0)]
        self._mark(again, Mark.VOID)
        self._topic.flush()

    def release(self, partitions: Set[TopicPartition]) -> None:
        """These partitions are no longer ours."""
        self._owned -= partitions

    def refused(self, batch: EventBatch, refusal: RowRefused) -> EventBatch:
        """Put the refused events of a batch aside; the batch without them.

        Raises:
            BrokerUnavailable, PublishError: they are not stored; the batch must not be applied.
        """
        refusals = {(r.topic, r.partition, r.offset): r.reason for r in (refusal, *refusal.others)}
        kept = []
        for event in batch.events:
            reason = refusals.get((event.topic, event.partition, event.offset))
            if reason is None:
                kept.append(event)
            else:
                self._put(event, reason, waiting=False)
        self._flush()
        self._log.warning(
            "events put aside",
            topic=self._topic.name,
            count=len(refusals),
            first=refusal.message,
            reason=refusal.reason,
        )
        return replace(batch, events=kept)

    def hold_back(self, batch: EventBatch) -> EventBatch:
        """The batch without what has to wait; what goes on overtakes the letters of its key.

        Raises: as `refused`.
        """
        if not self._keys:
            return batch
        kept: list[Event] = []
        told = False
        for event in batch.events:
            key = digest(event.key)
            letters = self._keys.get((event.topic, key), ()) if key is not None else ()
            # Of several events of a key in one batch the last is refused first.
            before = [id for id in letters if id.offset < event.offset]
            if not before:
                kept.append(event)
                continue
            told = True
            if self._wait:
                self._put(event, f"waits for {min(before)}", waiting=True)
            else:
                self._mark(sorted(before), Mark.OVERTAKEN, f"by offset {event.offset}")
                kept.append(event)
        if told:
            self._flush()
        return replace(batch, events=kept)

    def settle(self, sink: Sink) -> None:
        """Apply again what was asked for, and what no longer has to wait.

        Raises:
            CdcError: as the target and Kafka do; a letter that is refused again stays open.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._refresh()
        due = [id for id in sorted(self._letters) if id.place in self._owned and self._is_due(self._letters[id])]
        for id in due[:AT_ONCE]:
            self._retry(sink, self._letters[id])
        # What waited behind these may be due now.
        self._next = now if due else now + LOOK_SECONDS

    def close(self) -> None:
        """Give back connections."""
        self._topic.close()

    def _is_due(self, letter: Letter) -> bool:
        if letter.overtaken or letter.offset < 0:
            return False
        if letter.key is None or (letter.id.topic, letter.key) not in self._keys:
            return letter.asked
        first = min(self._keys[letter.id.topic, letter.key])
        return first == letter.id and (letter.asked or letter.waiting)

    def _retry(self, sink: Sink, letter: Letter) -> None:
        record = next(iter(self._topic.read(letter.offset, letter.offset + 1)), None)
        if record is None:
            self._mark([letter.id], Mark.REFUSED, "its record is no longer on the dead-letters topic")
        else:
            try:
                sink.apply_again(letter.id.place, [event_of(record, letter.id)])
                reach("sink.before_settled")
                self._mark([letter.id], Mark.APPLIED)
            except RowRefused as refusal:
                self._mark([letter.id], Mark.REFUSED, refusal.reason)
        self._topic.flush()
        reach("sink.after_settled")

    def _put(self, event: Event, reason: str, *, waiting: bool) -> None:
        headers = letter_headers(event, self._sink, reason, self._by, waiting=waiting)
        self._topic.put(headers, event.key, event.value, event.timestamp)
        id = LetterId(event.topic, event.partition, event.offset)
        # Its place on the dead-letters topic is known when it is read back.
        self._keep(Letter(self._sink, id, -1, reason, "", waiting, digest(event.key), self._by))

    def _flush(self) -> None:
        reach("sink.before_put_aside")
        self._topic.flush()
        reach("sink.after_put_aside")

    def _mark(self, ids: Iterable[LetterId], mark: Mark, reason: str = "") -> None:
        for id in ids:
            self._topic.put(mark_headers(self._sink, id, mark, self._by, reason))
            known = self._letters.get(id)
            marked = known.marked(mark, reason) if known else None
            if marked is None:
                self._drop(id)
            else:
                self._keep(marked)

    def _refresh(self) -> None:
        """Read what was added to the topic, by whomever."""
        end = self._topic.end()
        for record in self._topic.read(self._read_to, end):
            found = read(record)
            if found is not None and found.sink == self._sink:
                self._take(found)
        self._read_to = max(self._read_to, end)

    def _take(self, found: Letter | Marked) -> None:
        known = self._letters.get(found.id)
        if found.by == self._by:
            # It is in mind since it was written, but for its place.
            if isinstance(found, Letter) and known is not None:
                self._keep(replace(known, offset=found.offset))
        elif isinstance(found, Letter) and found.id.place in self._owned:
            if known is None:
                # A former owner of the partition was late: what it did not apply, this one did.
                self._mark([found.id], Mark.VOID)
        else:
            letter = folded({(self._sink, found.id): known} if known else {}, found)
            if letter is None:
                self._drop(found.id)
            else:
                self._keep(letter)

    def _keep(self, letter: Letter) -> None:
        if letter.id not in self._letters and len(self._letters) >= LIMIT:
            self._too_many(letter)
            return
        self._letters[letter.id] = letter
        if letter.key is not None:
            key = letter.id.topic, letter.key
            if not letter.overtaken:
                self._keys[key].add(letter.id)
            elif key in self._keys:
                self._forget_key(key, letter.id)

    def _too_many(self, letter: Letter) -> None:
        if self._wait:
            raise SinkError(
                f"sink {self._sink}: more than {LIMIT} dead letters are open: too many keys to keep in mind",
                hint="`cdc dead-letters list` shows why they were refused; retry or discard them",
            )
        if not letter.overtaken and letter.key is not None:
            self._topic.put(
                mark_headers(self._sink, letter.id, Mark.OVERTAKEN, self._by, f"not one of the first {LIMIT}")
            )

    def _drop(self, id: LetterId) -> None:
        letter = self._letters.pop(id, None)
        if letter is not None and letter.key is not None:
            self._forget_key((id.topic, letter.key), id)

    def _forget_key(self, key: _Key, id: LetterId) -> None:
        self._keys[key].discard(id)
        if not self._keys[key]:
            del self._keys[key]
