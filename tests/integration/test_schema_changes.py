"""`schema_changes`: what is published when a table's columns change under each policy; what descriptions say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cdc.errors import SchemaChanged
from cdc.prove.observed import messages
from cdc.testing.servers import KafkaServer
from tests.connector_line import Line, ids
from tests.databases import Database


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    return Line(prefix, kafka, database)


def described(line: Line) -> list[dict[str, Any]]:
    """All descriptions of tables, in order."""
    found = messages(line.kafka.bootstrap_servers, [f"{line.name}.cdc.schemas"])
    return [orjson.loads(message.value() or b"") for message in found]


def test_stop_shows_the_difference_and_publishes_nothing_of_the_new_form(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, note text)")
    database.execute("INSERT INTO t VALUES (1, 'a')")
    strict = [{"public.t": {"schema_changes": "stop"}}]
    with line.running(strict) as until:
        until(lambda: len(line.events("t")) == 1)
    database.execute("BEGIN; INSERT INTO t VALUES (2, 'b'); ALTER TABLE t RENAME note TO remark; "
                     "ALTER TABLE t ADD n int; INSERT INTO t VALUES (3, 'c', 3); COMMIT")  # fmt: skip
    for _ in range(2):  # a restart changes nothing
        with (
            pytest.raises(SchemaChanged, match=r"public\.t.*column note is now remark; column n \(integer\) was added"),
            line.running(strict) as until,
        ):
            until(lambda: False)
    assert ids(line.events("t"), "c") == [2], "what was before it is published, once"
    with line.running([{"public.t": {"schema_changes": "follow"}}]) as until:
        until(lambda: ids(line.events("t"), "c") == [2, 3])
    with line.running(strict) as until:  # what was followed is the form from here on
        database.execute("INSERT INTO t VALUES (4, 'd', 4)")
        until(lambda: ids(line.events("t"), "c") == [2, 3, 4])
    database.execute("ALTER TABLE t DROP n")
    database.execute("INSERT INTO t VALUES (5, 'e')")
    with pytest.raises(SchemaChanged, match=r"column n \(integer\) is gone"), line.running(strict) as until:
        until(lambda: False)


def test_additive_lets_new_and_wider_columns_through_and_nothing_else(line: Line, database: Database) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    section = {"schema_changes": "additive"}
    with line.running(["public.t"], **section) as until:
        database.execute("INSERT INTO t VALUES (1, 1)")
        until(lambda: ids(line.events("t"), "c") == [1])
        database.execute("ALTER TABLE t ADD note text")
        database.execute("INSERT INTO t VALUES (2, 2, 'x')")
        database.execute("ALTER TABLE t ALTER n TYPE bigint")
        database.execute("INSERT INTO t VALUES (3, 3, 'x')")
        until(lambda: ids(line.events("t"), "c") == [1, 2, 3])
    database.execute("ALTER TABLE t ALTER n TYPE int")
    database.execute("INSERT INTO t VALUES (4, 4, 'x')")
    with (
        pytest.raises(SchemaChanged, match="column n was bigint and is integer"),
        line.running(["public.t"], **section) as until,
    ):
        until(lambda: False)


def test_descriptions_have_comments_a_revision_and_the_position_from_which_they_hold(
    line: Line, database: Database
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    database.execute("COMMENT ON TABLE t IS 'all of it'")
    database.execute("COMMENT ON COLUMN t.n IS 'how many'")
    with line.running(["public.t"]) as until:
        database.execute("INSERT INTO t VALUES (1, 1)")
        until(lambda: ids(line.events("t"), "c") == [1])
        database.execute("ALTER TABLE t RENAME n TO m")
        database.execute("INSERT INTO t VALUES (2, 2)")
        until(lambda: ids(line.events("t"), "c") == [1, 2])
    first, last = described(line)[0], described(line)[-1]
    assert (first["revision"], last["revision"]) == (1, 2)
    assert first["comment"] == "all of it"
    assert [(column["name"], column["attnum"], column["comment"]) for column in last["columns"]] == [
        ("id", 1, None),
        ("m", 2, "how many"),
    ]
    assert first["oid"] == last["oid"] != 0
    event = line.events("t")[-1]
    assert event is not None
    assert last["position"] == event["cdc"]["pos"]


def test_shards_share_a_topic_that_the_pattern_names(line: Line, database: Database) -> None:
    for shard in (1, 2):
        database.execute(f"CREATE TABLE orders_{shard} (id int PRIMARY KEY)")
        database.execute(f"INSERT INTO orders_{shard} VALUES (1)")
    entry = r"/public\.(?P<what>orders)_\d+/"
    options = {"topic": "{name}.all.{what}", "transforms": [{"key": {"shard": "{table}"}}]}
    with line.running([{entry: options}]) as until:
        database.execute("INSERT INTO orders_2 VALUES (2)")
        until(lambda: len(line.events("orders", "all")) == 3)
    found = messages(line.kafka.bootstrap_servers, [f"{line.name}.all.orders"])
    keys = [orjson.loads(message.key() or b"") for message in found]
    assert sorted((key["id"], key["shard"]) for key in keys) == [(1, "orders_1"), (1, "orders_2"), (2, "orders_2")]
