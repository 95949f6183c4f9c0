"""The SQL that `cdc check` prints for a connector that polls: run as it is printed, and enough."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from cdc.prove.bridge import Bridge
from cdc.testing.servers import KafkaServer
from connectors.sql_poll.check import check as check_source
from connectors.sql_poll.settings import SqlPollSettings
from tests.connector_line import Line
from tests.databases import Database

ROLE = "cdc_poller"

TABLES = """
DO $$ BEGIN CREATE ROLE cdc_poller LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE TABLE "Order lines" ("no." int, "in %" text, amount numeric(9,2), PRIMARY KEY ("no.", "in %"));
INSERT INTO "Order lines" VALUES (1, 'it''s', 1.50), (2, 'b', 2), (3, 'c', 3);
GRANT SELECT ON "Order lines" TO cdc_poller;
"""

OPTIONS = {"mode": "tx_column", "column": "last tx", "deletes": "log", "delete_log": "feed.gone lines"}

Check = Callable[[], tuple[int, str]]


@pytest.fixture
def line(prefix: str, kafka: KafkaServer, database: Database) -> Line:
    made = Line(prefix, kafka, database)
    made.url = database.url(ROLE)
    return made


@pytest.fixture
def check(line: Line, kafka: KafkaServer, tmp_path: Path) -> Check:
    """`cdc check`, as an operator has it: exit code and what it prints."""
    connector = {"type": "sql_poll", "database": "w", "tables": {"public.Order lines": OPTIONS}}
    document = {
        "name": line.name,
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
        "databases": {"w": {"url": line.url}},
        "topics": {"defaults": {"partitions": 1, "replication_factor": 1}},
        "connectors": {"w": connector},
    }
    bridge = Bridge(tmp_path, document)

    def run() -> tuple[int, str]:
        found = bridge.cdc("check", "w")
        return found.returncode, found.stdout

    return run


def printed(output: str, behind: str) -> str:
    """The lines that stand, further in, behind the one that says so."""
    _, _, rest = output.partition(behind)
    lines = rest.splitlines()[1:]
    count = next((at for at, line in enumerate(lines) if not line.startswith("      ")), len(lines))
    return "\n".join(lines[:count])


def run(database: Database, statements: str) -> None:
    """As the owner pastes them."""
    assert statements
    psql = [str(database.server.bin_dir / "psql"), "-X", "-v", "ON_ERROR_STOP=1", database.url()]
    done = subprocess.run(psql, input=statements, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + statements
    assert done.stderr == ""


def keys(line: Line, op: str) -> list[Any]:
    found = [event for event in line.events("Order_lines") if event is not None and event["op"] == op]
    return [(event["after"] or event["before"])["no."] for event in found]


def test_what_is_printed_makes_the_check_content_and_changes_and_deletes_come(
    line: Line, database: Database, check: Check
) -> None:
    database.execute(TABLES)
    code, output = check()
    assert code == 1
    run(database, printed(output, "table public.Order lines has no column last tx"))

    code, output = check()
    assert code == 1
    assert "has no column" not in output
    run(database, printed(output, "delete_log feed.gone lines is not there"))

    code, output = check()
    assert code == 0, output
    assert "no warnings" in output, output
    poll: dict[str, Any] = {"type": "sql_poll", "schedule": "100ms", "idle_interval": "200ms"}
    with line.running([{"public.Order lines": OPTIONS}], **poll) as until:
        until(lambda: keys(line, "r") == [1, 2, 3])
        database.execute(
            """INSERT INTO "Order lines" VALUES (4, 'd', 4); UPDATE "Order lines" SET amount = 9 WHERE "no." = 2"""
        )
        until(lambda: (keys(line, "c"), keys(line, "u")) == ([4], [2]))
        database.execute("""DELETE FROM "Order lines" WHERE "no." = 1""")
        until(lambda: keys(line, "d") == [1])
        database.execute("""UPDATE "Order lines" SET "no." = 30 WHERE "no." = 3""")
        until(lambda: (sorted(keys(line, "c")), keys(line, "d")) == ([4, 30], [1, 3]))


def test_a_trigger_that_is_missing_is_told_with_what_makes_it(line: Line, database: Database, check: Check) -> None:
    database.execute(TABLES)
    database.execute("""ALTER TABLE "Order lines" ADD COLUMN "last tx" xid8 DEFAULT pg_current_xact_id()""")
    database.execute("""CREATE SCHEMA feed; CREATE TABLE feed."gone lines" ("no." int, "in %" text, _tx xid8)""")
    database.execute(
        "GRANT USAGE ON SCHEMA feed TO cdc_poller; GRANT SELECT ON ALL TABLES IN SCHEMA feed TO cdc_poller"
    )
    code, output = check()
    assert code == 0
    assert "2 warnings" in output, output
    assert "no trigger of it fires for deletes: nothing comes to feed.gone lines" in output
    run(database, printed(output, "no trigger sets column last tx when a row is changed"))
    _, output = check()
    assert "1 warning" in output, output
    assert "no trigger sets" not in output


@pytest.mark.parametrize(
    ("id", "warned"),
    [
        ("bigserial", False),
        ("bigint GENERATED ALWAYS AS IDENTITY", False),
        ("bigint DEFAULT nextval('numbers')", False),
        ("bigint", True),
    ],
)
def test_numbers_that_clients_make_are_warned_of(line: Line, database: Database, id: str, warned: bool) -> None:
    database.execute(f"CREATE SEQUENCE numbers; CREATE TABLE t (id {id} PRIMARY KEY)")
    line.url = database.url()
    tables = [{"public.t": {"mode": "incrementing", "column": "id"}}]
    settings = line.settings(tables, type="sql_poll")
    found = list(check_source(settings, "w", cast(SqlPollSettings, settings.connectors["w"])))
    assert any("numbers made by clients come in any order" in one.message for one in found) is warned
    assert not [one for one in found if one.level == "error"]
