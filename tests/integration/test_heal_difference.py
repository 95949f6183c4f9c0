"""A heal publishes what differs and nothing else, with real Kafka and a source that is a dictionary."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from cdc import difference
from cdc.config import parse
from cdc.errors import CdcError, Gap, SpoolFull
from cdc.event import BY_KEY, Batch, EventTopic, Record
from cdc.pipeline import run_connector
from cdc.position import Position
from cdc.prove.observed import Event, events
from cdc.publisher import Publisher
from cdc.settings import Settings
from cdc.testing.servers import KafkaServer

TABLE = "public.t"


class Crash(CdcError):
    """The end of a process, where a test wants it."""


class Source:
    """A connector whose batches a test writes down.

    Args:
        prefix: the bridge's name.
        batches: what it yields, in order.
        heals: whether the first ones mend a gap; they do until the last complete topic is confirmed.
    """

    def __init__(self, prefix: str, batches: Sequence[Batch], *, heals: bool = False) -> None:
        self.topic = f"{prefix}.{TABLE}"
        self._batches = batches
        self._heals = heals
        # Behind everything before the first batch, and before all that is in it.
        self._below = f"{int(batches[0].position.order) - 1:05}~"
        self._last = max((at for at, batch in enumerate(batches) if batch.complete), default=-1)
        self.confirmed = 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def start(self, stored: Position | None) -> None:
        self.stored = stored

    def batches(self) -> Iterator[Batch]:
        yield from self._batches

    def confirm(self, position: Position) -> None:
        self.confirmed += 1

    def healing(self) -> bool:
        return self._heals and self.confirmed <= self._last

    def inherited(self) -> Sequence[str]:
        return ()

    def heal_position(self, stored: Position | None) -> Position:
        return Position("", {"phase": "healing"}, {})

    def gone(self, topic: str, keys: Sequence[bytes]) -> list[Record]:
        deletes: list[Record] = []
        for key in keys:
            deletes += [
                (topic, key, event("d", None, self._below), BY_KEY, 0, None),
                (topic, key, None, BY_KEY, 0, None),
            ]
        return deletes

    def ask(self, action: str, tables: Sequence[str]) -> str:
        return ""

    def status(self) -> dict[str, Any]:
        return {"state": "streaming"}

    def stop(self) -> None:
        """It ends by itself."""


def event(op: str, row: dict[str, Any] | None, pos: str, **ours: Any) -> bytes:
    return json.dumps({"before": None, "after": row, "op": op, "cdc": {"pos": pos, **ours}}).encode()


def key(number: int) -> bytes:
    return b'{"id":%d}' % number


class Line:
    """One topic on real Kafka, and runs of a connector to it."""

    def __init__(self, kafka: KafkaServer, prefix: str, topic: str = "") -> None:
        self.kafka, self.prefix, self.topic = kafka, prefix, f"{prefix}.{TABLE}"
        self.settings: Settings = parse(
            f"name: {prefix}\nkafka: {{bootstrap_servers: '{kafka.bootstrap_servers}'}}\n"
            f"topics: {{defaults: {{partitions: 4, replication_factor: 1{topic}}}}}\n"
            "databases: {d: {url: postgresql://h/d}}\n"
            f"connectors: {{source: {{type: postgres_wal, database: d, tables: [{TABLE}]}}}}\n"
        )
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        self.position = 0

    def batch(self, rows: Sequence[tuple[str, int, Any]], *, complete: bool = False, distinct: bool = True) -> Batch:
        """Events (op, id, note); a note of None is a tombstone."""
        self.position += 1
        at = f"{self.position:05}"
        records: list[Record] = [
            (self.topic, key(number), None if note is None else event(op, row(number, note, op), at), BY_KEY, 0, None)
            for op, number, note in rows
        ]
        topics = [EventTopic(self.topic, TABLE, ("id",), distinct)]
        return Batch(records, Position(at, {"phase": "streaming"}), topics, [self.topic] * complete)

    def run(self, *batches: Batch) -> None:
        run_connector(Source(self.prefix, batches), Publisher(self.settings, "source"))

    def heal(self, *batches: Batch) -> None:
        publisher = Publisher(self.settings, "source")
        publisher.take_over()
        publisher.begin_heal(Position("", {"phase": "healing"}, {}))
        publisher.close()
        self.go_on_healing(*batches)

    def go_on_healing(self, *batches: Batch) -> None:
        run_connector(Source(self.prefix, batches, heals=True), Publisher(self.settings, "source"))

    def events(self) -> list[Event]:
        return events(self.kafka.bootstrap_servers, [self.topic])

    def fold(self) -> dict[int, Any]:
        """What a reader of the topic has: id → note."""
        rows: dict[int, tuple[str, Any]] = {}
        for found in self.events():
            if found.value is not None and found.key is not None:
                number, at = found.key["id"], str(found.position)
                if number not in rows or rows[number][0] <= at:
                    rows[number] = (at, found.value["after"] and found.value["after"]["note"])
        return {number: note for number, (_, note) in rows.items() if note is not None}

    def published(self, run: Callable[[], None]) -> list[tuple[str, int]]:
        """op and id of what is on the topic after `run` and was not before."""
        before = {(found.partition, found.offset) for found in self.events()}
        run()
        return sorted(
            (found.op, found.key["id"])
            for found in self.events()
            if (found.partition, found.offset) not in before and found.key is not None
        )


def row(number: int, note: Any, op: str) -> dict[str, Any] | None:
    return None if op == "d" else {"id": number, "note": note}


@pytest.fixture
def line(kafka: KafkaServer, prefix: str) -> Line:
    return Line(kafka, prefix)


def inserts(*numbers: int, op: str = "c") -> list[tuple[str, int, Any]]:
    return [(op, number, f"note {number}") for number in numbers]


def test_only_what_differs_is_published(line: Line) -> None:
    line.run(line.batch([*inserts(*range(100)), ("d", 7, "gone"), ("d", 7, None)]))
    # While nobody looked: 3 changed, 4 and 5 went, 200 came.
    rows = inserts(*set(range(100)) - {3, 4, 5, 7}, 200, op="r")
    snapshot = line.batch([*rows, ("r", 3, "changed")], complete=True)
    assert line.published(lambda: line.heal(snapshot)) == [
        ("d", 4), ("d", 5), ("r", 3), ("r", 200), ("tombstone", 4), ("tombstone", 5),
    ]  # fmt: skip
    assert line.fold() == {number: f"note {number}" for number in set(range(100)) - {4, 5, 7}} | {
        3: "changed",
        200: "note 200",
    }


def test_what_the_stream_brings_meanwhile_passes_and_is_never_taken_for_gone(line: Line) -> None:
    line.run(line.batch(inserts(1, 2, 3, 4, 5)))
    stream = line.batch([("u", 2, "new"), ("d", 3, "gone"), ("d", 3, None), ("c", 6, "came")])
    snapshot = line.batch(inserts(1, op="r"))  # 2 was touched, so the snapshot leaves it out
    last = line.batch([("u", 4, "late")], complete=True)
    later = line.batch([("c", 7, "later"), ("u", 1, "note 1")])
    assert line.published(lambda: line.heal(stream, snapshot, last, later)) == [
        ("c", 6), ("c", 7), ("d", 3), ("d", 5), ("tombstone", 3), ("tombstone", 5), ("u", 1), ("u", 2), ("u", 4),
    ]  # fmt: skip
    assert line.fold() == {1: "note 1", 2: "new", 4: "late", 6: "came", 7: "later"}


def test_a_row_that_events_do_not_tell_whole_is_published_again(line: Line) -> None:
    first = line.batch(inserts(1, 2))
    first.records.append((line.topic, key(2), event("u", {"id": 2}, "00001", unchanged=["note"]), BY_KEY, 0, None))
    line.run(first)
    assert line.published(lambda: line.heal(line.batch(inserts(1, 2, op="r"), complete=True))) == [("r", 2)]


def test_many_keys_go_in_pieces_and_a_crash_between_them_loses_nothing(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(difference, "GONE_AT_ONCE", 10)
    line.run(line.batch(inserts(*range(55))))
    reached = 0

    def crash(name: str) -> None:
        nonlocal reached
        reached += name == "heal.after_deletes"
        if reached == 3:
            raise Crash("killed")

    monkeypatch.setattr(difference, "reach", crash)
    snapshot = line.batch(inserts(0, 1, 2, op="r"), complete=True)
    with pytest.raises(Crash):
        line.heal(snapshot)
    publisher = Publisher(line.settings, "source")
    assert publisher.take_over() == Position("", {"phase": "healing"}, {})  # not yet behind the batch
    publisher.close()
    assert len(line.fold()) == 55 - 30
    reached = -100
    again = line.batch(inserts(0, 1, 2, op="r"), complete=True)
    assert len(line.published(lambda: line.go_on_healing(again))) == 2 * (55 - 30 - 3)
    assert line.fold().keys() == {0, 1, 2}


def test_a_topic_that_was_emptied_is_filled_again(line: Line) -> None:
    line.run(line.batch(inserts(1, 2)))
    line.admin.delete_topics([line.topic])[line.topic].result(30)
    with pytest.raises(Gap, match=f"topic {line.topic} of table public.t was deleted") as raised:
        line.run(line.batch(inserts(3)))
    assert "`cdc heal source`" in (raised.value.hint or "")
    line.heal(line.batch(inserts(1, 2, 3, op="r"), complete=True))
    assert line.fold().keys() == {1, 2, 3}
    line.run(line.batch(inserts(4)))


def test_keys_that_moved_are_published_where_they_belong_and_end_where_they_were(line: Line) -> None:
    line.run(line.batch(inserts(*range(40))))
    line.admin.create_partitions([NewPartitions(line.topic, 8)])[line.topic].result(30)
    with pytest.raises(Gap, match="has 8 partitions, it had 4"):
        line.run(line.batch(inserts(100)))
    before = {found.key["id"]: found.partition for found in line.events() if found.key is not None}
    line.heal(line.batch(inserts(*range(39), op="r"), complete=True))
    after = line.events()
    rows = {found.key["id"]: found.partition for found in after if found.op == "r" and found.key is not None}
    assert 0 < len(rows) < 39
    assert all(rows[number] != before[number] for number in rows)
    ended = {(found.key["id"], found.partition) for found in after if found.op == "d" and found.key is not None}
    assert {(number, before[number]) for number in rows} <= ended
    assert line.fold().keys() == set(range(39))
    # Where a key was, a reader from the beginning finds its end last.
    last = {(found.key["id"], found.partition): found.op for found in after if found.key is not None}
    assert {last[number, before[number]] for number in rows} == {"d"}
    line.run(line.batch(inserts(100)))
    assert line.published(lambda: line.heal(line.batch(inserts(*range(39), 100, op="r"), complete=True))) == []


def test_a_topic_that_keeps_events_for_a_time_gets_every_row_again(kafka: KafkaServer, prefix: str) -> None:
    line = Line(kafka, prefix, ", cleanup_policy: delete, retention: 1d")
    line.run(line.batch(inserts(1, 2, 3)))
    assert line.published(lambda: line.heal(line.batch(inserts(1, 2, op="r"), complete=True))) == [
        ("d", 3), ("r", 1), ("r", 2), ("tombstone", 3),
    ]  # fmt: skip


def test_a_key_that_does_not_tell_rows_apart_gets_every_row_again_and_no_delete(line: Line) -> None:
    line.run(line.batch(inserts(1, 2, 3), distinct=False))
    rows = line.batch(inserts(1, 2, op="r"), complete=True, distinct=False)
    assert line.published(lambda: line.heal(rows)) == [("r", 1), ("r", 2)]


def test_a_disk_that_is_full_loses_nothing(line: Line) -> None:
    line.run(line.batch(inserts(*range(5000))))
    roomy = line.settings
    line.settings = roomy.model_copy(update={"spool": roomy.spool.model_copy(update={"quota": 65_536})})
    with pytest.raises(SpoolFull, match="spool"):
        line.heal(line.batch(inserts(1, op="r"), complete=True))
    assert len(line.fold()) == 5000
    line.settings = roomy
    line.go_on_healing(line.batch(inserts(1, op="r"), complete=True))
    assert line.fold().keys() == {1}
