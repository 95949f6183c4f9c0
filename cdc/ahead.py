"""Events that Debezium had published behind the offset that it stored: they are not published again. Pure.

Kafka Connect stores offsets now and then (`offset.flush.interval.ms`). One that is killed has published more than it
stored, on each partition as far as its producer came. The last event of each partition says how far: events of a
partition are in the order of the stream, and `source` has the transaction (`txId`), the LSN (`lsn`) and where the
transaction before it ended (`sequence`). What is known of that is stored before anything else is published, and with
each position until it is passed.

An event is left out only where it is certain that it is there; else it is published again. Of a topic of several
partitions it is certain only if keys lie where Kafka's default partitioner puts them, and if ours are formed alike.
Messages outside of transactions have no place among these, and are no sign of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from cdc.event import BY_KEY, EVERY_PARTITION, Record
from cdc.partitions import partition_of

Partition = tuple[str, int]
"""Topic and number."""

ENOUGH_KEYS = 16
"""Different ones that lie where the default partitioner puts them: with another one of two partitions that is by chance
in one of 65,536 cases."""


class Point(NamedTuple):
    """Where an event stands in the stream.

    Args:
        xid: its transaction.
        lsn: its own, which rows of one COPY share.
        before: where the transaction before it ended; 0: not known.
    """

    xid: int
    lsn: int
    before: int


@dataclass(slots=True)
class Tail:
    """How far a partition is.

    Args:
        point: of its last event.
        left: how many records there are of that point, tombstones among them, that did not come again yet.
    """

    point: Point
    left: int


@dataclass(slots=True)
class Tails:
    """Takes in records of partitions, each in order.

    Args:
        bridge: the name that `source` has in events of ours, and of the Debezium connector; others do not count.
        partitions: how many each topic has.
    """

    bridge: str
    partitions: Mapping[str, int]
    _last: dict[Partition, tuple[Point, set[tuple[bytes | None, bytes | None]]]] = field(default_factory=dict)
    _forms: dict[str, set[str]] = field(default_factory=dict)
    _keys: set[bytes] = field(default_factory=set)
    _elsewhere: bool = False

    def add(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        """A record. One that a producer sent twice, to the byte, counts once."""
        at = topic, partition
        point = self._last[at][0] if value is None and at in self._last else point_of(value, self.bridge)
        if point is None:
            return
        if at not in self._last or self._last[at][0] != point:
            self._last[at] = point, set()
        self._last[at][1].add((key, value))
        count = self.partitions[topic]
        if key is not None and value is not None and count > 1:
            self._elsewhere |= partition_of(key, count) != partition
            self._forms.setdefault(topic, set()).add(form_of(key, count))
            if len(self._keys) < ENOUGH_KEYS:
                self._keys.add(key)

    @property
    def by_key(self) -> bool:
        """Whether it is certain that keys say on which partition events are."""
        return not self._elsewhere and (len(self._keys) >= ENOUGH_KEYS or not self._keys)

    def ahead(self) -> Ahead:
        """What is known now; nothing of topics of several partitions where keys do not say on which events are."""
        last = {at: Tail(point, len(records)) for at, (point, records) in self._last.items()}
        certain = {at: tail for at, tail in last.items() if self.by_key or self.partitions[at[0]] == 1}
        return Ahead(self.bridge, certain, self._forms)


class Ahead:
    """What is on the topics already, of what the connector will read.

    Args:
        bridge: as for `Tails`.
        tails: of each partition that has one.
        forms: that keys have, by topics of several partitions.

    `changed` is whether it has to be stored, and `left_out` how many records were not published again.
    """

    def __init__(self, bridge: str, tails: Mapping[Partition, Tail], forms: Mapping[str, Collection[str]]) -> None:
        self._bridge = bridge
        self._tails = dict(tails)
        self._forms = {topic: frozenset(some) for topic, some in forms.items()}
        self._reached: dict[Partition, Point] = {}
        self._newest = max((tail.point for tail in tails.values()), key=lambda point: point.before, default=None)
        self.changed = bool(tails)
        self.left_out = 0

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Ahead:
        """What `as_json` gave."""
        tails = {(topic, number): Tail(Point(*point), left) for topic, number, point, left in document["tails"]}
        ahead = cls(document["bridge"], tails, document["forms"])
        ahead.changed = False
        return ahead

    def as_json(self) -> dict[str, Any]:
        """To be stored."""
        tails = [[*at, list(tail.point), tail.left] for at, tail in self._tails.items()]
        return {
            "bridge": self._bridge,
            "tails": tails,
            "forms": {one: sorted(some) for one, some in self._forms.items()},
        }

    def __bool__(self) -> bool:
        return bool(self._tails)

    def clear(self) -> None:
        """Nothing is ahead any more."""
        self.changed |= bool(self._tails)
        self._tails.clear()

    def rest(self, records: Iterable[Record], partitions: Callable[[str], int]) -> list[Record]:
        """The records that are not there.

        Args:
            records: in the order of the stream.
            partitions: how many a topic has.
        """
        topics = {topic for topic, _ in self._tails}
        rest: list[Record] = []
        for record in records:
            topic, key, value, partition, timestamp, headers = record
            point = point_of(value, self._bridge) if self._tails else None
            if point is not None:
                self._pass(point)
            if topic not in topics or not self._tails:
                rest.append(record)
            elif partition == EVERY_PARTITION:
                copies = ((topic, number) for number in range(partitions(topic)))
                missing = [number for _, number in copies if not self._is_there((topic, number), point, value)]
                rest += [(topic, key, value, number, timestamp, headers) for number in missing]
            else:
                number = self._by_key(topic, key, partitions(topic)) if partition == BY_KEY else partition
                if self._is_there((topic, number), point, value):
                    self.left_out += 1
                else:
                    rest.append(record)
        return rest

    def _pass(self, point: Point) -> None:
        """Behind the transaction of the newest event that is there, nothing is."""
        newest = self._newest
        if newest is not None and point.xid != newest.xid and point.before >= newest.before:
            self.clear()

    def _by_key(self, topic: str, key: bytes | None, partitions: int) -> int:
        """Where Debezium put what has this key; BY_KEY where that is not certain."""
        if partitions == 1:
            return 0
        if key is None or form_of(key, partitions) not in self._forms.get(topic, ()):
            return BY_KEY
        return partition_of(key, partitions)

    def _is_there(self, at: Partition, point: Point | None, value: bytes | None) -> bool:
        tail = self._tails.get(at)
        if value is None:
            point = self._reached.get(at)  # a tombstone stands where its delete does
        if tail is None or point is None:
            return False
        self._reached[at] = point
        if point.xid != tail.point.xid:
            there = point.before < tail.point.before
        elif point.lsn == tail.point.lsn:
            there = tail.left > 0
            tail.left -= there
            self.changed = True
        else:
            there = point.lsn < tail.point.lsn
        if not there:
            del self._tails[at]
            self.changed = True
        return there


def point_of(value: bytes | None, bridge: str) -> Point | None:
    """Where an event of the stream stands.

    Args:
        value: of a record, with Connect's schema or without.
        bridge: as for `Tails`.

    Returns: None for what is no such event: a row of a snapshot, a flattened row, another connector's, a message
        outside of transactions.
    """
    try:
        document = orjson.loads(value or b"null")
        document = document.get("payload", document)
        source = document["source"]
        if document["op"] == "r" or source["name"] != bridge:
            return None
        before, lsn = orjson.loads(source["sequence"])
        return Point(int(source["txId"]), int(lsn), int(before or 0))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def form_of(key: bytes, partitions: int) -> str:
    """What keys have in common whose bytes are alike but for what stands in them: schema, members and their kinds.

    Args:
        key: of a record, with Connect's schema or without.
        partitions: of its topic; keys lie elsewhere when there are others.
    """
    try:
        document = orjson.loads(key)
    except ValueError:
        document = None
    wrapped = isinstance(document, dict) and document.keys() == {"schema", "payload"}
    schema, row = (document["schema"], document["payload"]) if wrapped else (None, document)
    members = [(name, type(held).__name__) for name, held in row.items()] if isinstance(row, dict) else str(type(row))
    return sha256(orjson.dumps([partitions, schema, members])).hexdigest()[:16]
