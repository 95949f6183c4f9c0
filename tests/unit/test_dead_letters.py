"""Letters and marks: what is open follows from the topic alone, and a member keeps it in mind within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from cdc import put_aside
from cdc.dead_letters import (
    Letter,
    LetterId,
    Mark,
    Marked,
    event_of,
    folded,
    letter_headers,
    mark_headers,
    read,
)
from cdc.errors import RowRefused, SinkError
from cdc.event import Headers
from cdc.put_aside import PutAside
from cdc.settings import KafkaSettings, Settings
from cdc.sink import Event, EventBatch, Offset, TopicPartition

ORDERS = "shop.public.orders"


class Topic:
    """Stands for the dead-letters topic."""

    def __init__(self) -> None:
        self.records: list[Event] = []
        self.name = "shop.cdc.dead-letters"

    def put(self, headers: Headers, key: bytes | None = None, value: bytes | None = None, timestamp: int = 0) -> None:
        stored = [(name, part if isinstance(part, bytes) else b"") for name, part in headers]
        self.records.append(Event(self.name, 0, len(self.records), key, value, timestamp, stored))

    def flush(self) -> None: ...

    def end(self) -> Offset:
        return len(self.records)

    def read(self, start: Offset, end: Offset) -> Iterator[Event]:
        return iter(self.records[start:end])

    def close(self) -> None: ...

    def open(self) -> dict[Offset, Letter]:
        """What a reader from the beginning takes for open, by the event's offset."""
        letters: dict[tuple[str, LetterId], Letter] = {}
        for record in self.records:
            found = read(record)
            assert found is not None
            letter = folded(letters, found)
            if letter is None:
                letters.pop((found.sink, found.id), None)
            else:
                letters[found.sink, found.id] = letter
        return {id.offset: letter for (_, id), letter in letters.items()}


class Target:
    """A sink that refuses some offsets."""

    def __init__(self, *refuses: Offset) -> None:
        self.refuses = set(refuses)
        self.applied: list[Offset] = []

    def apply_again(self, partition: TopicPartition, events: Sequence[Event]) -> None:
        for each in events:
            if each.offset in self.refuses:
                raise refusal(each)
            self.applied.append(each.offset)


def event(offset: Offset, key: bytes | None = b"k", partition: int = 0) -> Event:
    return Event(ORDERS, partition, offset, key, b"v", 7, [("__debezium.newkey", b"n")])


def refusal(of: Event) -> RowRefused:
    return RowRefused(topic=of.topic, partition=of.partition, offset=of.offset, reason="CheckViolation (23514)")


def batch(*events: Event) -> EventBatch:
    return EventBatch(list(events), {(each.topic, each.partition): each.offset + 1 for each in events})


def member(topic: Topic, *, wait: bool = True, owns: Offset | None = 0) -> PutAside:
    made = PutAside(Settings(name="shop", kafka=KafkaSettings(bootstrap_servers="nowhere:9")), "billing", wait=wait)
    made._topic = topic  # type: ignore[assignment]
    if owns is not None:
        made.own({(ORDERS, 0): owns})
    return made


def settled(aside: PutAside, target: Target) -> None:
    """As often as there is something to do."""
    for _ in range(10):
        aside._next = 0.0
        aside.settle(target)  # type: ignore[arg-type]


def ask(topic: Topic, offset: Offset, mark: Mark = Mark.ASKED) -> None:
    topic.put(mark_headers("billing", LetterId(ORDERS, 0, offset), mark, "command"))


def test_a_letter_and_its_event_come_back_as_they_were() -> None:
    original = event(5)
    topic = Topic()
    topic.put(letter_headers(original, "billing", "why", "me"), original.key, original.value, original.timestamp)
    (record,) = topic.records
    letter = read(record)
    assert isinstance(letter, Letter)
    assert (letter.sink, str(letter.id), letter.reason, letter.waiting) == ("billing", f"{ORDERS}/0/5", "why", False)
    assert event_of(record, letter.id) == original
    assert LetterId.parse(str(letter.id)) == letter.id


def test_what_is_no_letter_is_left_alone() -> None:
    assert read(event(1)) is None
    headers = [("cdc.sink", b"a"), ("cdc.topic", b"t"), ("cdc.partition", b"x"), ("cdc.offset", b"1")]
    assert read(event(1)._replace(headers=headers)) is None
    newer = dict(mark_headers("a", LetterId("t", 0, 1), Mark.ASKED, "me")) | {"cdc.mark": b"yet unknown"}
    assert read(event(1)._replace(headers=list(newer.items()))) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("mark", [Mark.APPLIED, Mark.DISCARDED, Mark.VOID])
def test_a_settled_letter_is_no_longer_open(mark: Mark) -> None:
    letter = Letter("billing", LetterId(ORDERS, 0, 1), 0, "why", "", False, b"k")
    known = {("billing", letter.id): letter}
    assert folded(known, Marked("billing", letter.id, mark, "", "me")) is None
    assert folded(known, Marked("another", letter.id, mark, "", "me")) is None
    assert folded({}, letter) == letter


def test_put_aside_twice_it_is_one_letter() -> None:
    topic = Topic()
    for _ in range(2):
        aside = member(topic)
        assert aside.refused(batch(event(1), event(2, b"other")), refusal(event(1))).events == [event(2, b"other")]
    assert list(topic.open()) == [1]


def test_an_event_that_is_read_again_is_no_letter_any_more() -> None:
    topic = Topic()
    aside = member(topic)
    for offset in (1, 2):
        aside.refused(batch(event(offset)), refusal(event(offset)))
    assert member(topic, owns=2).count == 1
    assert list(topic.open()) == [1]


def test_what_waits_is_in_order_and_other_keys_go_on() -> None:
    topic = Topic()
    aside = member(topic)
    left = aside.refused(batch(event(1), event(2), event(3, b"other"), event(4, None)), refusal(event(1)))
    assert aside.hold_back(left).events == [event(3, b"other"), event(4, None)]
    assert member(topic, owns=5).hold_back(batch(event(6), event(7, b"other"))).events == [event(7, b"other")]
    assert {offset: letter.waiting for offset, letter in topic.open().items()} == {1: False, 2: True, 6: True}


def test_an_earlier_event_of_the_key_does_not_wait_for_a_later_one() -> None:
    aside = member(Topic())
    left = aside.refused(batch(event(1), event(2)), refusal(event(2)))
    assert aside.hold_back(left).events == [event(1)]


def test_the_first_is_retried_and_those_behind_it_follow_up_to_the_next_that_is_refused() -> None:
    topic, target = Topic(), Target(1, 3)
    aside = member(topic)
    left = aside.refused(batch(event(1), event(2), event(3), event(4)), refusal(event(1)))
    aside.hold_back(left)
    settled(aside, target)
    assert target.applied == []
    target.refuses.discard(1)
    ask(topic, 1)
    settled(aside, target)
    assert target.applied == [1, 2]
    assert {offset: letter.waiting for offset, letter in topic.open().items()} == {3: False, 4: True}
    ask(topic, 3, Mark.DISCARDED)
    settled(aside, target)
    assert target.applied == [1, 2, 4]
    assert topic.open() == {}
    assert aside.hold_back(batch(event(5))).events == [event(5)]


def test_a_member_leaves_the_letters_of_others_partitions_alone() -> None:
    topic, target = Topic(), Target()
    aside = member(topic)
    aside.refused(batch(event(1)), refusal(event(1)))
    ask(topic, 1)
    settled(member(topic, owns=None), target)
    aside.release({(ORDERS, 0)})
    settled(aside, target)
    assert target.applied == []
    assert (aside.count, topic.open()[1].asked) == (0, True)


def test_what_a_former_owner_writes_too_late_is_void() -> None:
    topic, target = Topic(), Target()
    former = member(topic)
    former.refused(batch(event(1)), refusal(event(1)))
    aside = member(topic, owns=2)
    ask(topic, 1, Mark.DISCARDED)
    settled(aside, target)
    former.hold_back(batch(event(2)))
    settled(aside, target)
    assert topic.open() == {}
    assert target.applied == []


def test_going_on_overtakes_a_letter_and_then_it_is_not_applied() -> None:
    topic, target = Topic(), Target()
    aside = member(topic, wait=False)
    aside.refused(batch(event(1)), refusal(event(1)))
    assert aside.hold_back(batch(event(2))).events == [event(2)]
    ask(topic, 1)
    settled(aside, target)
    assert topic.open()[1].overtaken
    assert target.applied == []


def test_letters_beyond_the_limit_are_not_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on, they cannot be retried any more; waiting, the sink stops."""
    monkeypatch.setattr(put_aside, "LIMIT", 3)
    topic = Topic()
    aside = member(topic, wait=False)
    for offset in range(5):
        aside.refused(batch(event(offset, b"%d" % offset)), refusal(event(offset)))
    assert len(aside._letters) == 3
    assert [letter.overtaken for letter in topic.open().values()] == [False, False, False, True, True]
    aside = member(Topic())
    for offset in range(3):
        aside.refused(batch(event(offset, b"%d" % offset)), refusal(event(offset)))
    with pytest.raises(SinkError, match="more than 3 dead letters are open"):
        aside.refused(batch(event(3, b"3")), refusal(event(3)))
