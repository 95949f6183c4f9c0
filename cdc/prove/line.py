"""The whole line: a warehouse under load, its witness, a bridge, a target, and the verdict.

Touches Postgres and Kafka, and starts what the others here start.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from cdc.prove import warehouse
from cdc.prove.bank import miscounted, torn
from cdc.prove.bridge import Bridge
from cdc.prove.bulk import Bulk
from cdc.prove.judge import Verdict, judge
from cdc.prove.observed import await_key, event, events, messages, topics_of
from cdc.prove.truth import Witness, number
from cdc.prove.warehouse import AUDIT, BULK, ITEMS, SCRATCH, TABLES, VAULT, Table
from cdc.testing.databases import Database
from cdc.testing.servers import Brokers

MARKER = -1
"""Key of the row that is written last."""

PARTITIONS = 3

SETTLED_SECONDS = 30.0
"""When nothing has changed for so long, and the sink says that it is live, what differs will differ for ever."""


class Line:
    """A warehouse with its rows and witness, and what a bridge needs to know.

    Args:
        source: an empty database: the warehouse is made in it.
        target: an empty database for the sink.
        kafka: the broker.
        prefix: the bridge's name.
        items: rows to begin with: about 2.8 times this.
        folder: for what the witness wrote; None: there is none, and no verdict can be given.
    """

    def __init__(
        self, source: Database, target: Database, kafka: Brokers, prefix: str, items: int, folder: Path | None
    ) -> None:
        self.source, self.target, self.kafka, self.prefix = source, target, kafka, prefix
        self.bulk = Bulk()
        self._first_server = source.server
        self.witness: Witness | None = None
        with source.connect() as connection:
            warehouse.create(connection)
            if folder is not None:
                program = source.server.bin_dir / "pg_recvlogical"
                slot = f"{prefix}_witness".replace("-", "_")
                fold = {BULK.name: self.bulk.committed}
                self.witness = Witness(source.url(), slot, warehouse.ROOTS, program, folder, fold)
            warehouse.fill(connection, items)

    def settings(self, *, batch_rows: int = 500, session_timeout: str = "10s", workers: int = 2) -> dict[str, Any]:
        """The YAML: a connector for all tables, and a sink."""
        return {
            "name": self.prefix,
            "kafka": {"bootstrap_servers": self.kafka.bootstrap_servers},
            "databases": {"warehouse": {"url": self.source.url()}, "service": {"url": self.target.url()}},
            "topics": {
                "defaults": {"partitions": PARTITIONS, "replication_factor": 1},
                self.topic(AUDIT): {"cleanup_policy": "delete"},
                # A truncate has no key, and a compacted topic takes no event without.
                self.topic(SCRATCH): {"cleanup_policy": "delete"},
            },
            "connectors": {
                "source": {
                    "type": "postgres_wal",
                    "database": "warehouse",
                    "tables": {"public.*": {}, "sales.*": {}, SCRATCH.name: {"truncates": "fan_out"}},
                    "snapshot_readers": 2,
                    "batch": {"rows": batch_rows},
                    "idle_interval": "1s",
                    "session_timeout": session_timeout,
                }
            },
            "sinks": {
                "copy": {
                    "type": "postgres",
                    "database": "service",
                    "topics": [self.topic(table) for table in (*TABLES, BULK)],
                    "workers": workers,
                }
            },
        }

    def topic(self, table: Table) -> str:
        return f"{self.prefix}.{table.name}"

    def finish(self, bridge: Bridge, seconds: float = 120.0) -> list[str]:
        """Commit a last transaction, wait until it is on its topic and until the sink has it and all the rest.

        Returns: how source and target differ in the end; empty when they are equal.
        """
        with self.source.connect() as connection, connection.transaction():
            connection.execute("INSERT INTO audit (who) VALUES ('the end')")
            connection.execute("INSERT INTO items (id, name) VALUES (%s, 'the end')", [MARKER])
        await_key(self.kafka.bootstrap_servers, self.topic(ITEMS), {"id": MARKER}, seconds)
        deadline = time.monotonic() + seconds
        before: list[str] = []
        same_since = time.monotonic()
        while unequal := self.unequal():
            state, error = self._sink(bridge)
            if unequal != before or state != "live":
                before, same_since = unequal, time.monotonic()
            elif time.monotonic() - same_since > SETTLED_SECONDS:
                return unequal
            if state in ("gap", "failed"):
                return [f"the sink is in {state}: {error}", *unequal]
            if time.monotonic() > deadline:
                return [f"not equal within {seconds:g} s; the sink is in {state}", *unequal]
            time.sleep(0.2)
        return []

    def _sink(self, bridge: Bridge) -> tuple[str, Any]:
        sink = bridge.status().get("sinks", {}).get("copy", {})
        return sink.get("state", "down"), sink.get("error")

    def _has_marker(self) -> bool:
        try:
            return bool(self.target.rows(f"SELECT 1 FROM items WHERE id = {MARKER}"))
        except psycopg.errors.UndefinedTable:
            return False

    def unequal(self) -> list[str]:
        """Differences between source and target, row by row; none where all is equal."""
        if not self._has_marker():
            return ["the last row has not come"]
        found: list[str] = []
        for table in TABLES:
            if table.key:
                source, target = (self._rows(database, table) for database in (self.source, self.target))
                found += [f"{table.name}: missing {row}" for row in source - target]
                found += [f"{table.name}: extra {row}" for row in target - source]
        source_rows, target_rows = (self._digest(database) for database in (self.source, self.target))
        if source_rows != target_rows:
            found.append(f"{BULK.name}: {target_rows} instead of {source_rows} (rows and digest)")
        return found or self._appended()

    def _appended(self) -> list[str]:
        """Differences between the events of the table without key and the target's rows, one for each event."""
        topic = self.topic(AUDIT)
        there = Counter((event.op, event.position) for event in events(self.kafka.bootstrap_servers, [topic]))
        rows = Counter(self.target.rows("SELECT _cdc_op, _cdc_pos FROM audit"))
        found = [f"{AUDIT.name}: {count} events {event} not applied" for event, count in (there - rows).items()]
        return found + [f"{AUDIT.name}: {count} times too often {row}" for row, count in (rows - there).items()]

    def _digest(self, database: Database) -> tuple[Any, ...]:
        if not self._is_made(database, sql.Identifier("public", "bulk")):
            return 0, 0
        return database.rows("SELECT count(*), coalesce(sum(hashtext(id || what)), 0) FROM bulk")[0]

    def _is_made(self, database: Database, table: sql.Identifier) -> bool:
        """The sink makes a table when its first event comes."""
        with database.connect() as connection:
            found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table.as_string(connection)]).fetchone()
        return bool(found and found[0])

    def _rows(self, database: Database, table: Table) -> set[tuple[Any, ...]]:
        schema, name = table.name.split(".")
        with self.source.connect() as connection:
            columns = [
                column
                for (column,) in connection.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
                    [schema, name],
                )
            ]
        # The sink puts every table into its one schema.
        place = sql.Identifier(schema, name) if database is self.source else sql.Identifier("public", name)
        if not self._is_made(database, place):
            return set()
        query = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns), place
        )
        with database.connect(options="-c timezone=UTC") as connection:
            return set(connection.execute(query).fetchall())

    def start(self, *, first: bool = False) -> int:
        """LSN where the connector's slot begins, its first one if asked, as the server's log tells it."""
        slot = self.source.rows(
            "SELECT slot_name FROM pg_replication_slots WHERE plugin = 'pgoutput' AND database = current_database()"
        )[0][0]
        return slot_start(self._first_server.log.read_text(errors="replace"), slot, first=first)

    def verdict(self, *, gap: bool = False) -> Verdict:
        """Ask the witness, read all topics, and compare. The bridge must be stopped, nobody may write any more.

        Args:
            gap: changes were lost, and the topics mended: see `judge`.
        """
        assert self.witness is not None
        servers = self.kafka.bootstrap_servers
        topics = topics_of(servers, self.prefix)
        topic_of = {table.name: self.topic(table) for table in TABLES}
        bulk = self.topic(BULK)
        found = events(servers, [topic for topic in topics if topic != bulk])
        start = self.start(first=gap)
        read = {number(event.position) for event in found if event.op == "r" and event.position}
        transactions = list(self.witness.transactions(self.source.url(), {start, *read}))
        verdict = judge(transactions, start, found, TABLES, self.witness.types, topic_of, PARTITIONS, gap=gap)
        if gap:
            return verdict
        moves = [event for event in found if event.topic == topic_of[VAULT.name]]
        verdict.faults["torn"] += [*torn(moves), *miscounted(moves)]
        for message in messages(servers, [bulk] if bulk in topics else []):
            self.bulk.event(event(message))
        verdict.streamed += self.bulk.events
        for kind, what in self.bulk.faults():
            verdict.faults[kind].append(what)
        return verdict


_LOGGED = re.compile(r"\[(\d+)\] (LOG|STATEMENT): +(.*)")
_CONSISTENT = "logical decoding found consistent point at "


def slot_start(log: str, slot: str, *, first: bool = False) -> int:
    """Where the newest permanent slot of that name begins, or the first one."""
    last_of: dict[str, str] = {}
    made: str | None = None
    for process, kind, text in _LOGGED.findall(log):
        if kind == "LOG":
            last_of[process] = text
        elif text.startswith(f'CREATE_REPLICATION_SLOT "{slot}" LOGICAL') and last_of.get(process, "").startswith(
            _CONSISTENT
        ):
            made = last_of[process].removeprefix(_CONSISTENT)
            if first:
                break
    assert made, f"the server's log does not tell of slot {slot}"
    return number(made)
