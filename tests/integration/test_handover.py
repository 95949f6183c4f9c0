"""Going on where a Debezium connector stopped: nothing is lost, and nothing comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cdc import holdings, offsets
from cdc import publisher as publishing
from cdc.errors import Gap, Interrupted
from cdc.holdings import LAST_RECORDS
from cdc.pipeline import run_connector
from cdc.prove.observed import messages
from cdc.publisher import Publisher
from cdc.settings import KafkaSettings
from cdc.testing.servers import KafkaServer
from connectors.postgres_wal import connector
from connectors.postgres_wal.pgoutput import INSERT, Commit, parse
from tests.connector_line import Line, ids
from tests.databases import Database

CHANGES = [
    "INSERT INTO t VALUES (1)",
    "BEGIN; INSERT INTO t VALUES (2); SELECT pg_logical_emit_message(true, 'p', 'x'); INSERT INTO t VALUES (3); "
    "INSERT INTO unread VALUES (1); INSERT INTO t VALUES (4); COMMIT",
    "INSERT INTO t VALUES (5)",
]


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


class Left:
    """A slot and a publication as Debezium leaves them, and what it may have read.

    Args:
        database: with tables `t` and `unread`.
        published: what the publication has.
    """

    def __init__(self, database: Database, published: str = "ALL TABLES") -> None:
        self._database = database
        self.slot = f"{database.name}_dbz"
        database.execute("CREATE TABLE t (id int PRIMARY KEY)")
        database.execute("CREATE TABLE unread (id int)")
        database.execute(f"CREATE PUBLICATION dbz_publication FOR {published}")
        database.execute(f"SELECT pg_create_logical_replication_slot('{self.slot}', 'pgoutput')")

    def offsets(self, kind: int = INSERT) -> list[dict[str, int]]:
        """Debezium's offset behind each row, or message of another kind, in order."""
        found, commit = [], None
        for lsn, data in self._database.rows(
            f"SELECT lsn - '0/0'::pg_lsn, data FROM pg_logical_slot_peek_binary_changes('{self.slot}', NULL, NULL, "
            "'proto_version', '1', 'publication_names', 'dbz_publication', 'messages', 'true')"
        ):
            if data[0] == kind:
                found.append({"lsn": int(lsn)} | ({} if commit is None else {"lsn_commit": commit}))
            elif data[0] == ord("C"):
                message = parse(bytes(data), 0)
                assert isinstance(message, Commit)
                commit = message.end_lsn
        return found

    def publish(self, line: Line, count: int, topic: str) -> None:
        """Put the events of the first rows on their topic, as far as who goes on from Debezium looks at them."""
        admin = AdminClient({"bootstrap.servers": line.kafka.bootstrap_servers})
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
        producer = Producer({"bootstrap.servers": line.kafka.bootstrap_servers})
        rows = self._database.rows("SELECT id, xmin::text::int FROM t ORDER BY id")
        for (number, xid), offset in list(zip(rows, self.offsets(), strict=True))[:count]:
            sequence = orjson.dumps([str(offset.get("lsn_commit", 0)), str(offset["lsn"])]).decode()
            source = {"name": line.name, "txId": xid, "lsn": offset["lsn"], "sequence": sequence}
            value = orjson.dumps({"op": "c", "after": {"id": number}, "source": source})
            producer.produce(topic, value, orjson.dumps({"id": number}), 0)
        assert producer.flush(30) == 0

    def section(self, offset: dict[str, int]) -> dict[str, object]:
        return {
            "slot": self.slot,
            "publication": "dbz_publication",
            "publication_tables": "all",
            "start_from": offset,
            "messages": {},
        }


@pytest.mark.parametrize(("row", "rest"), [(0, [2, 3, 4, 5]), (1, [3, 4, 5]), (3, [4, 5]), (4, [5]), (5, [])])
def test_what_debezium_published_is_not_published_again(
    line: Line, database: Database, row: int, rest: list[int]
) -> None:
    left = Left(database)
    for change in CHANGES:
        database.execute(change)
    with line.running(["public.t"], **left.section(left.offsets()[row])) as until:
        database.execute("INSERT INTO t VALUES (6)")
        until(lambda: ids(line.events("t"), "c") == [*rest, 6])
    database.execute("INSERT INTO t VALUES (7)")
    with line.running(["public.t"], **left.section({"lsn": 1})) as until:  # a position is stored: it counts no more
        until(lambda: ids(line.events("t"), "c") == [*rest, 6, 7])


def test_nothing_is_published_again_if_debezium_stopped_at_a_message(line: Line, database: Database) -> None:
    left = Left(database)
    for change in CHANGES:
        database.execute(change)
    (offset,) = left.offsets(ord("M"))
    section = left.section(offset)
    del section["messages"]
    with line.running(["public.t"], **section) as until:
        until(lambda: ids(line.events("t"), "c") == [3, 4, 5])


def test_a_table_that_debeziums_publication_did_not_have_is_read(line: Line, database: Database) -> None:
    left = Left(database, "TABLE t")
    database.execute("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)")
    for change in CHANGES:
        database.execute(change)
    section = {**left.section(left.offsets()[1]), "publication_tables": "captured"}
    with line.running(["public.t", "public.late"], **section) as until:
        until(lambda: ids(line.events("t"), "c") == [3, 4, 5] and ids(line.events("late"), "r") == [1])
        database.execute("INSERT INTO late VALUES (2)")
        until(lambda: ids(line.events("late"), "c") == [2])
    assert ids(line.events("t"), "r") == []


def test_a_publication_to_go_on_with_that_is_gone_is_a_gap(line: Line, database: Database) -> None:
    left = Left(database)
    database.execute("DROP PUBLICATION dbz_publication")
    with (
        pytest.raises(Gap, match="by which Debezium read, is gone"),
        line.running(["public.t"], **left.section({"lsn": 1 << 50})) as until,
    ):
        until(lambda: False)


def test_looking_into_the_slot_may_take_longer_than_a_catalog_query(
    line: Line, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left(database)
    database.execute("INSERT INTO t VALUES (1)")
    (stopped,) = left.offsets()
    ((lsn,),) = database.rows("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
    database.execute("BEGIN; INSERT INTO t VALUES (2); INSERT INTO unread SELECT generate_series(1, 1000000); COMMIT")
    monkeypatch.setattr(connector, "QUERY_SECONDS", 0.3)
    with line.running(["public.t"], **left.section({**stopped, "lsn_commit": int(lsn)})) as until:
        until(lambda: ids(line.events("t"), "c") == [2])


def test_rows_that_share_the_lsn_at_which_debezium_stopped_come_again(line: Line, database: Database) -> None:
    left = Left(database)
    database.execute("INSERT INTO t VALUES (1)")
    with database.connect() as connection, connection.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write("2\n3\n4\n")
    offsets = left.offsets()
    assert offsets[1] == offsets[3]
    with line.running(["public.t"], **left.section(offsets[1])) as until:
        until(lambda: ids(line.events("t"), "c") == [2, 3, 4])


def test_a_slot_that_is_past_the_offset_is_a_gap(line: Line, database: Database) -> None:
    left = Left(database)
    database.execute("INSERT INTO t VALUES (1)")
    (offset,) = left.offsets()
    database.execute(f"SELECT pg_replication_slot_advance('{left.slot}', pg_current_wal_lsn())")
    with (
        pytest.raises(Gap, match="past Debezium's offset"),
        line.running(["public.t"], **left.section(offset)) as until,
    ):
        until(lambda: False)


def test_a_slot_to_start_from_that_is_gone_is_a_gap(line: Line, database: Database) -> None:
    left = Left(database)
    database.execute(f"SELECT pg_drop_replication_slot('{left.slot}')")
    with (
        pytest.raises(Gap, match="to start from, is gone"),
        line.running(["public.t"], **left.section({"lsn": 1})) as until,
    ):
        until(lambda: False)


def test_only_topics_of_captured_tables_are_looked_at(
    line: Line, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a pattern of topics that begins with a part of a table's name may mean."""
    left = Left(database)
    for row in (1, 2, 3):
        database.execute(f"INSERT INTO t VALUES ({row})")
    topic = f"t.{line.name}"
    left.publish(line, 2, topic)
    left.publish(line, 2, f"other.{line.name}")
    looked: list[str] = []

    def committed(kafka: KafkaSettings, topic: str, *rest: Any) -> Iterator[list[Message]]:
        looked.append(topic)
        return offsets.committed(kafka, topic, *rest)

    monkeypatch.setattr(holdings, "committed", committed)
    tables = {r"/public\.(?P<it>t)/": {"topic": "{it}.{name}"}}
    with line.running(tables, **left.section(left.offsets()[0])) as until:
        until(lambda: len(published(line, topic)) == 3)
    assert [event["after"]["id"] for event in published(line, topic)] == [1, 2, 3]
    assert looked == [topic]


def published(line: Line, topic: str) -> list[Any]:
    return [orjson.loads(one.value() or b"") for one in messages(line.kafka.bootstrap_servers, [topic])]


def test_what_debezium_published_is_known_when_the_first_batch_was_given_up(
    line: Line, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of a transaction that was aborted take their places on the partition, behind Debezium's."""
    left = Left(database)
    last = 2 + 2 * LAST_RECORDS
    for rows in ("1, 1", "2, 2", f"3, {last}"):
        database.execute(f"INSERT INTO t SELECT generate_series({rows})")
    left.publish(line, 500, f"{line.name}.public.t")
    given_up: list[int] = []

    def give_up(point: str) -> None:
        if point == "publisher.before_commit":
            assert publisher._producer is not None
            given_up.append(publisher._producer.flush(30))
            raise Interrupted("given up by the test")

    section = left.section(left.offsets()[1])
    settings = line.settings(["public.t"], **section)
    publisher = Publisher(settings, "w")
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "reach", give_up)
        with pytest.raises(Interrupted, match="by the test"):
            run_connector(line.made(settings), publisher)
    assert given_up == [0]
    with line.running(["public.t"], **section) as until:
        until(lambda: len(ids(line.events("t"), "c")) >= last)
    assert ids(line.events("t"), "c") == list(range(1, last + 1))
