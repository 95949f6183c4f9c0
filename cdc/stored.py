"""What a connector keeps on the offsets topic, and what is missing of it. Pure.

Five documents, each under a key of its own: `position` (with every batch), `ledger` and `topics`
(when they change), `gap` (when one was found; only a heal takes it away), and `ahead` (what Debezium had
published behind the offset that was gone on from, until that is passed). The position names the offsets topic
that it was written to and how often the ledger and the topics were written, so that a topic that was made again,
or lost records, is never taken for a whole one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from cdc.ahead import Ahead
from cdc.errors import Gap
from cdc.position import Position, dump

Record = tuple[bytes, bytes | None]
"""Key and value on the offsets topic."""


@dataclass(frozen=True, slots=True)
class Home:
    """An event topic as it was when its events began.

    Args:
        id: Kafka's; a topic that is deleted and made again has another.
        partitions: how many; with more of them keys would move.
        table: the source's name of the table.
        moved: whether keys did move, and events before that are still on other partitions.
    """

    id: str
    partitions: int
    table: str = ""
    moved: bool = False


@dataclass(slots=True)
class Stored:
    """The documents of one connector.

    Args:
        connector: its name.
        offsets: the offsets topic's home, which what is written from now on names.
        position: None before the first batch.
        gap: message and hint of one that was found and not healed.
        homes: of the event topics, by name.
        written_to: the id of the offsets topic that the position names.
        revisions: how often the ledger and the topics were written.
        lost: documents that the position knows of and that are not there.
        ahead: of the position; None: nothing.
    """

    connector: str
    offsets: Home
    position: Position | None = None
    gap: Mapping[str, Any] | None = None
    homes: dict[str, Home] = field(default_factory=dict)
    written_to: str = ""
    revisions: dict[str, int] = field(default_factory=lambda: {"ledger": 0, "topics": 0})
    lost: tuple[str, ...] = ()
    ahead: Ahead | None = None
    _changed: bool = False

    @classmethod
    def read(cls, connector: str, offsets: Home, documents: Mapping[bytes, Mapping[str, Any]]) -> Stored:
        """Take this connector's out of all documents on the offsets topic."""
        found = cls(connector, offsets)
        position = documents.get(found._key("position"))
        ledger = documents.get(found._key("ledger"), {})
        topics = documents.get(found._key("topics"), {})
        found.gap = documents.get(found._key("gap"))
        found.homes = {name: Home(**home) for name, home in topics.get("topics", {}).items()}
        there = {"ledger": ledger.get("revision", 0), "topics": topics.get("revision", 0)}
        if (ahead := documents.get(found._key("ahead"))) is not None:
            found.ahead = Ahead.from_json(ahead)
        if position is not None:
            found.position = Position(position["order"], position["state"], ledger.get("ledger"))
            found.written_to = position["offsets"]
            found.revisions = dict(position["revisions"])
            # Newer ones may be there: who reads while others write may have missed the position behind them.
            found.lost = tuple(kind for kind, revision in found.revisions.items() if there[kind] < revision)
        return found

    def check(self, topic: str, *, begun: bool = False) -> None:
        """Whether all that was stored is still there.

        Args:
            topic: the offsets topic's name.
            begun: whether there has to be a position.
        Raises: Gap.
        """
        if self.gap is not None:
            raise Gap(self.gap["message"], hint=self.gap["hint"], lasting=False)
        since = "what was published since the position was stored cannot be known"
        if self.position is not None and self.written_to != self.offsets.id:
            raise Gap(f"{self.subject}: topic {topic} was deleted and made again; {since}", lasting=False)
        lost = ("position",) if begun and self.position is None else self.lost
        if lost:
            what = " and ".join(lost)
            raise Gap(f"{self.subject}: topic {topic} has lost records: the {what} of this connector", lasting=False)

    @property
    def subject(self) -> str:
        return f"connector {self.connector}"

    def keep(self, homes: Mapping[str, Home]) -> None:
        """These are the event topics from now on; written with the next position."""
        if homes != self.homes:
            self.homes = dict(homes)
            self._changed = True

    def forgive(self) -> None:
        """What is lost is lost: the next position knows nothing of it."""
        self.revisions.update(dict.fromkeys(self.lost, 0))
        self.lost = ()

    def settle(self, topic: str) -> None:
        """All keys of the topic are where they belong."""
        home = self.homes.get(topic)
        if home is not None and home.moved:
            self.keep({**self.homes, topic: replace(home, moved=False)})

    def records(self, position: Position) -> Iterator[Record]:
        """What to write for a position: that, and what has changed beside it."""
        if position.ledger is not None:
            self.revisions["ledger"] += 1
            yield self._record("ledger", {"ledger": dict(position.ledger), "revision": self.revisions["ledger"]})
        if self._changed:
            self.revisions["topics"] += 1
            homes = {name: asdict(home) for name, home in sorted(self.homes.items())}
            yield self._record("topics", {"topics": homes, "revision": self.revisions["topics"]})
            self._changed = False
        yield from self.ahead_records()
        document = {"order": position.order, "state": dict(position.state)}
        yield self._record("position", {**document, "offsets": self.offsets.id, "revisions": self.revisions})
        self.position = position

    def ahead_records(self) -> Iterator[Record]:
        """What to write of what Debezium had published, if that has changed."""
        if self.ahead is not None and self.ahead.changed:
            yield self._record("ahead", self.ahead.as_json()) if self.ahead else (self._key("ahead"), None)
            self.ahead.changed = False

    def gap_record(self, gap: Gap | None) -> Record:
        """A gap that is to be told again at every start, or its end."""
        if gap is None:
            return self._key("gap"), None
        return self._record("gap", {"message": gap.message, "hint": gap.hint})

    def _record(self, kind: str, document: Mapping[str, Any]) -> Record:
        return self._key(kind), dump(document)

    def _key(self, kind: str) -> bytes:
        return orjson.dumps({"connector": self.connector, "kind": kind})
