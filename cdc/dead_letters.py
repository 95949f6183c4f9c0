"""Letters and marks on `{name}.cdc.dead-letters`: events that a target refused, and what became of them. Pure.

A letter is an event, with its key, value and time as they were, and headers that say where it comes from.
A mark is a record of headers only: about the letter of that sink, topic, partition and offset. What is
open follows from reading both in order; a letter that was put aside twice (a crash before the target's
commit) has the same place in its headers, and is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple, Self

from cdc.event import Headers
from cdc.sink import Event, Offset, TopicPartition


class LetterId(NamedTuple):
    """Where the event is, on its own topic; as text `topic/partition/offset`."""

    topic: str
    partition: int
    offset: Offset

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises: ValueError: it is none."""
        topic, partition, offset = text.rsplit("/", 2)
        return cls(topic, int(partition), int(offset))

    @property
    def place(self) -> TopicPartition:
        return self.topic, self.partition


class Mark(StrEnum):
    """What became of a letter."""

    ASKED = "asked"
    """Somebody wants it to be applied again."""
    REFUSED = "refused"
    """That was tried, and did not work."""
    OVERTAKEN = "overtaken"
    """A later event of its key was applied, or may have been."""
    APPLIED = "applied"
    DISCARDED = "discarded"
    VOID = "void"
    """Its event is read again, or was put aside by a former owner of its partition."""


SETTLED: Final = frozenset({Mark.APPLIED, Mark.DISCARDED, Mark.VOID})
"""A letter with one of these is no longer open."""


@dataclass(frozen=True, slots=True)
class Letter:
    """An open letter.

    Args:
        sink: whose it is.
        id: where its event is.
        offset: of the record on the dead-letters topic.
        reason: why it was put aside, without values.
        at: when, ISO 8601 in UTC; "" before that was told.
        waiting: it was not refused, but waits for an earlier event of its key.
        key: digest of the event's key; None without one.
        by: who wrote it.
        asked: it is to be applied again.
        overtaken: it must not be, as something later may have been applied.
    """

    sink: str
    id: LetterId
    offset: Offset
    reason: str
    at: str
    waiting: bool
    key: bytes | None
    by: str = ""
    asked: bool = False
    overtaken: bool = False

    def marked(self, mark: Mark, reason: str) -> Letter | None:
        """The letter with a mark; None when that settles it."""
        if mark in SETTLED:
            return None
        if mark is Mark.ASKED:
            return replace(self, asked=True)
        if mark is Mark.OVERTAKEN:
            return replace(self, asked=False, overtaken=True, reason=f"{self.reason}; overtaken {reason}")
        return replace(self, asked=False, waiting=False, reason=reason)


class Marked(NamedTuple):
    """A mark, about the letter of a sink."""

    sink: str
    id: LetterId
    mark: Mark
    reason: str
    by: str


def read(record: Event) -> Letter | Marked | None:
    """What a record of the dead-letters topic is; None: none of ours, or a newer release's."""
    headers = dict(record.headers or ())
    try:
        sink = headers["cdc.sink"].decode()
        id = LetterId(headers["cdc.topic"].decode(), int(headers["cdc.partition"]), int(headers["cdc.offset"]))
        reason, by = headers.get("cdc.reason", b"").decode(), headers.get("cdc.by", b"").decode()
        if "cdc.mark" in headers:
            return Marked(sink, id, Mark(headers["cdc.mark"].decode()), reason, by)
    except (KeyError, ValueError):
        return None
    at, waiting = headers.get("cdc.at", b"").decode(), "cdc.waiting" in headers
    return Letter(sink, id, record.offset, reason, at, waiting, digest(record.key), by)


def folded(letters: Mapping[tuple[str, LetterId], Letter], found: Letter | Marked) -> Letter | None:
    """The letter that `found` is or is about, as it is then; None if it is not open."""
    known = letters.get((found.sink, found.id))
    if isinstance(found, Letter):
        return known or found
    return known.marked(found.mark, found.reason) if known else None


def letter_headers(event: Event, sink: str, reason: str, by: str, *, waiting: bool = False) -> Headers:
    """The headers of the letter that holds an event.

    Args:
        event: as it was on its topic.
        sink: whose letter it is.
        reason: why it is put aside, without values.
        by: who writes it: unlike any other member or command.
        waiting: it was not refused.
    """
    return [
        *(event.headers or ()),
        *_about(sink, LetterId(event.topic, event.partition, event.offset), by),
        ("cdc.reason", reason.encode()),
        *([("cdc.waiting", b"1")] if waiting else []),
    ]


def mark_headers(sink: str, id: LetterId, mark: Mark, by: str, reason: str = "") -> Headers:
    """The headers of a mark; `by` as for a letter."""
    return [*_about(sink, id, by), ("cdc.mark", mark.encode()), ("cdc.reason", reason.encode())]


def event_of(record: Event, id: LetterId) -> Event:
    """The event that a letter holds, as it was on its topic."""
    headers = [(name, value) for name, value in record.headers or () if name not in _OURS]
    return Event(*id, record.key, record.value, record.timestamp, headers)


def digest(key: bytes | None) -> bytes | None:
    """Tells keys apart, and says nothing of their values that could be kept by mistake."""
    return None if key is None else blake2b(key, digest_size=16).digest()


def _about(sink: str, id: LetterId, by: str) -> Headers:
    return [
        ("cdc.sink", sink.encode()),
        ("cdc.topic", id.topic.encode()),
        ("cdc.partition", str(id.partition).encode()),
        ("cdc.offset", str(id.offset).encode()),
        ("cdc.at", datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()),
        ("cdc.by", by.encode()),
    ]


_OURS: Final = frozenset(
    {"cdc.sink", "cdc.topic", "cdc.partition", "cdc.offset", "cdc.at", "cdc.by", "cdc.reason", "cdc.waiting"}
)
