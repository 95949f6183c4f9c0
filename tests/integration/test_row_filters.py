"""`where:` of a table: a row filter of the publication, for the snapshot, the stream and a heal."""

from __future__ import annotations

import pytest

from cdc import heal
from cdc.errors import ConfigError, Gap, SourceError
from cdc.plugins import connector_plugins
from cdc.testing.servers import KafkaServer
from tests.connector_line import Line, Value, ids
from tests.databases import Database

pytestmark = pytest.mark.every_postgres

ROWS = [{"public.t": {"where": "n > 10"}}]


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    database.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    return Line(prefix, kafka, database)


def shown(events: list[Value | None]) -> list[tuple[str, int]]:
    return [(event["op"], (event["after"] or event["before"])["id"]) for event in events if event is not None]


def test_rows_are_read_and_streamed_while_the_filter_holds(line: Line, database: Database) -> None:
    database.execute("INSERT INTO t VALUES (1, 1), (2, 20)")
    with line.running(ROWS) as until:
        database.execute("INSERT INTO t VALUES (3, 3), (4, 40)")
        database.execute("UPDATE t SET n = 30 WHERE id = 3")
        database.execute("UPDATE t SET n = 41 WHERE id = 4")
        database.execute("UPDATE t SET n = 2 WHERE id = 2")
        database.execute("DELETE FROM t WHERE id = 1")
        database.execute("INSERT INTO t VALUES (5, 50)")
        until(lambda: ("c", 5) in shown(line.events("t")))
    assert shown(line.events("t")) == [("r", 2), ("c", 4), ("c", 3), ("u", 4), ("d", 2), ("c", 5)]


def test_a_filter_for_which_the_server_would_refuse_updates_is_refused(line: Line, database: Database) -> None:
    database.execute("ALTER TABLE t REPLICA IDENTITY DEFAULT")
    refused = r"public\.t: `where` looks at n, which is not in the replica identity"
    with pytest.raises(ConfigError, match=refused), line.running(ROWS) as until:
        until(lambda: False)
    assert database.rows("SELECT count(*) FROM pg_publication") == [(0,)]
    settings = line.settings(ROWS)
    section = settings.connectors["w"]
    found = list(connector_plugins()["postgres_wal"].check(settings, "w", section))
    assert [(one.level, one.mend) for one in found if "where" in one.subject and one.level != "ok"] == [
        ("error", 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL, or an index that has n')
    ]
    assert database.rows("SELECT count(*) FROM pg_publication") == [(0,)]


@pytest.mark.parametrize("after", ["n > 25", None])
def test_another_filter_is_a_gap_that_a_heal_mends(line: Line, database: Database, after: str | None) -> None:
    database.execute("INSERT INTO t VALUES (1, 1), (2, 20), (3, 30)")
    with line.running(ROWS) as until:
        until(lambda: sorted(ids(line.events("t"), "r")) == [2, 3])
    changed = [{"public.t": {"where": after} if after else {}}]
    with pytest.raises(Gap, match=r"public\.t has another `where`"), line.running(changed) as until:
        until(lambda: False)
    heal.begin(line.settings(changed), "w")
    with line.running(changed) as until:
        until(lambda: line.connector.status()["snapshot"] is None and not line.connector.healing())
        database.execute("INSERT INTO t VALUES (4, 40), (5, 5)")
        until(lambda: ("c", 4) in shown(line.events("t")))
    healed = shown(line.events("t"))[2:]
    assert healed == ([("d", 2), ("c", 4)] if after else [("r", 1), ("c", 4), ("c", 5)])
    with line.running(changed):
        pass


def test_what_the_server_says_of_a_filter_is_told(line: Line) -> None:
    tables = [{"public.t": {"where": "missing > 1"}}]
    with (
        pytest.raises(SourceError, match='column "missing" does not exist') as told,
        line.running(tables) as until,
    ):
        until(lambda: False)
    assert "WHERE (missing > 1)" in str(told.value)
