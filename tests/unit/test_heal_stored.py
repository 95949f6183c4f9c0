"""What a connector keeps on the offsets topic: read as it was written, and what is missing of it."""

from __future__ import annotations

from typing import Any

import pytest

from cdc.errors import Gap
from cdc.homes import difference
from cdc.partitions import partition_of
from cdc.position import Position, load
from cdc.stored import Home, Stored

OFFSETS = Home("o", 1)
TOPIC = "shop.public.t"


class Topic:
    """The offsets topic: the last document of each key."""

    def __init__(self) -> None:
        self.documents: dict[bytes, Any] = {}

    def write(self, stored: Stored, position: Position) -> None:
        for key, value in stored.records(position):
            assert value is not None
            self.documents[key] = load(value)

    def read(self, offsets: Home = OFFSETS) -> Stored:
        return Stored.read("w", offsets, self.documents)

    def lose(self, kind: str) -> None:
        self.documents = {key: value for key, value in self.documents.items() if kind.encode() not in key}


@pytest.fixture
def topic() -> Topic:
    """Two positions, a ledger and a topic were stored."""
    made, stored = Topic(), Stored("w", OFFSETS)
    stored.keep({TOPIC: Home("t", 6, "public.t")})
    made.write(stored, Position("1", {"at": 1}, {"tables": {}}))
    made.write(stored, Position("2", {"at": 2}))
    return made


def test_it_is_read_as_it_was_written(topic: Topic) -> None:
    found = topic.read()
    found.check("shop.cdc.offsets")
    assert found.position == Position("2", {"at": 2}, {"tables": {}})
    assert found.homes == {TOPIC: Home("t", 6, "public.t")}


def test_another_connectors_documents_are_not_ours(topic: Topic) -> None:
    assert Stored.read("x", OFFSETS, topic.documents).position is None


def test_only_what_changed_is_written(topic: Topic) -> None:
    assert len(list(topic.read().records(Position("3", {})))) == 1
    assert len(list(topic.read().records(Position("3", {}, {})))) == 2


@pytest.mark.parametrize("kind", ["ledger", "topics"])
def test_a_document_that_is_gone_is_a_gap(topic: Topic, kind: str) -> None:
    topic.lose(kind)
    with pytest.raises(Gap, match=f"topic shop.cdc.offsets has lost records: the {kind} of this connector"):
        topic.read().check("shop.cdc.offsets")


def test_a_heal_takes_what_is_lost_for_lost(topic: Topic) -> None:
    topic.lose("ledger")
    stored = topic.read()
    stored.forgive()
    topic.write(stored, Position("3", {"phase": "healing"}))
    topic.read().check("shop.cdc.offsets")
    topic.write(topic.read(), Position("4", {}, {"tables": {}}))
    topic.read().check("shop.cdc.offsets")


def test_an_older_document_is_a_gap(topic: Topic) -> None:
    older = dict(topic.documents)
    stored = topic.read()
    topic.write(stored, Position("3", {}, {"tables": {"public.t": {}}}))
    ledger = next(key for key in older if b"ledger" in key)
    topic.documents[ledger] = older[ledger]
    with pytest.raises(Gap, match="the ledger"):
        topic.read().check("shop.cdc.offsets")


def test_a_position_that_is_gone_is_a_gap_to_who_wrote_it(topic: Topic) -> None:
    topic.lose("position")
    topic.read().check("shop.cdc.offsets")  # nobody's yet, for all that is there
    with pytest.raises(Gap, match="the position"):
        topic.read().check("shop.cdc.offsets", begun=True)


def test_another_topic_of_the_same_name_is_a_gap(topic: Topic) -> None:
    with pytest.raises(Gap, match="was deleted and made again"):
        topic.read(Home("another", 1)).check("shop.cdc.offsets")


def test_a_gap_is_remembered_until_it_is_healed(topic: Topic) -> None:
    key, value = topic.read().gap_record(Gap("changes are missing", hint="heal"))
    assert value is not None
    topic.documents[key] = load(value)
    with pytest.raises(Gap, match="changes are missing") as raised:
        topic.read().check("shop.cdc.offsets")
    assert raised.value.hint == "heal"
    assert topic.read().gap_record(None) == (key, None)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (None, "topic shop.public.t of table public.t was deleted, with all its events"),
        (Home("another", 6), "was deleted and made again"),
        (Home("t", 7), "has 7 partitions, it had 6"),
    ],
)
def test_a_topic_that_is_not_as_it_was_is_a_gap(now: Home | None, said: str) -> None:
    gap = difference("connector w", TOPIC, Home("t", 6, "public.t"), now)
    assert gap is not None
    assert said in gap.message


def test_a_topic_as_it_was_is_none() -> None:
    assert difference("connector w", TOPIC, Home("t", 6, "public.t", moved=True), Home("t", 6)) is None


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"abc", 479470107),
    ],
)
def test_keys_are_spread_as_kafka_spreads_them(key: bytes, hashed: int) -> None:
    """The hashes are those of Kafka's own tests of `Utils.murmur2`."""
    assert partition_of(key, 2**31) == hashed & 0x7FFFFFFF
    assert partition_of(key, 6) == (hashed & 0x7FFFFFFF) % 6
