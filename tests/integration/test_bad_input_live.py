"""What goes wrong with servers is told in clear words, with the right exit code, and never with a value or a secret.

Each claim runs `cdc run`, `cdc status` and `cdc check` as an operator would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from cdc.prove.bridge import Bridge
from cdc.prove.observed import events, topics_of
from cdc.prove.waiting import eventually
from cdc.testing.servers import KafkaServer, PostgresServer
from cdc.testing.system import HOST, free_port
from tests.databases import Database, fresh_database

SECRET = "hunter2-not-to-be-shown"
VALUE = "a-value-not-to-be-shown"


@dataclass
class Case:
    """A bridge that reads `public.orders`, to be spoiled.

    Args:
        database: the source.
        kafka: the broker.
        name: the bridge's name.
        folder: for its files.
    """

    database: Database
    kafka: KafkaServer
    name: str
    folder: Path
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database.execute("CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders VALUES (1, 'x')")

    @property
    def topic(self) -> str:
        return f"{self.name}.public.orders"

    @property
    def slot(self) -> str:
        return f"cdc_{self.name}_source"

    def bridge(self, *, url: str | None = None, connector: dict[str, Any] | None = None, **more: Any) -> Bridge:
        section = {"type": "postgres_wal", "database": "warehouse", "tables": ["public.orders"], "idle_interval": "1s"}
        document = {
            "name": self.name,
            "kafka": {"bootstrap_servers": self.kafka.bootstrap_servers},
            "databases": {"warehouse": {"url": url or self.database.url()}},
            "topics": {"defaults": {"partitions": 2, "replication_factor": 1}},
            "connectors": {"source": {**section, **(connector or {})}},
        }
        return Bridge(self.folder, {**document, **more})

    def role(self, rights: str, grants: str = "") -> str:
        """The URL of a new role with these rights and a password."""
        role = f"{self.name}_role"
        self.database.execute(f"CREATE ROLE {role} LOGIN {rights} PASSWORD '{SECRET}'; {grants.format(role=role)}")
        return self.database.url(role, SECRET)

    def insert(self, first: int, last: int) -> None:
        self.database.execute(f"INSERT INTO orders SELECT i, '{VALUE}' FROM generate_series({first}, {last}) i")

    def run_once(self, bridge: Bridge) -> None:
        """Snapshot, stream and stop well."""
        bridge.start()
        bridge.until("streaming")
        self.insert(100, 101)

        def stored() -> bool:
            servers = self.kafka.bootstrap_servers
            return self.topic in topics_of(servers, self.name) and len(events(servers, [self.topic])) >= 3

        eventually(stored, 60, "all rows are on the topic")
        assert bridge.stop() == 0


@pytest.fixture
def case(database: Database, kafka: KafkaServer, prefix: str, tmp_path: Path) -> Iterator[Case]:
    made = Case(database, kafka, prefix, tmp_path)
    yield made
    roles = database.rows(f"SELECT 1 FROM pg_roles WHERE rolname = '{prefix}_role'")
    if roles:
        database.execute(f"DROP OWNED BY {prefix}_role CASCADE; DROP ROLE {prefix}_role")


def told(bridge: Bridge, state: str, *words: str, kind: str = "connectors", name: str = "source") -> dict[str, Any]:
    """Wait until the worker is in that state, and check what status, log and exit code say of it."""

    def worker() -> dict[str, Any]:
        return dict(bridge.status().get(kind, {}).get(name, {}))

    def settled() -> dict[str, Any] | None:
        found = worker()
        if found.get("state") in ("gap", "failed", "retrying"):
            assert found["state"] == state, found
            return found
        return None

    found = dict(eventually(settled, 90, f"{name} is {state}"))
    message = f"{found['error']['message']} {found['error']['hint']}"
    for word in words:
        assert word in message, message
    shown = bridge.cdc("status", "--listen", bridge.address())
    assert shown.returncode == (3 if state in ("gap", "failed") else 0), shown.stdout
    silent(shown.stdout, shown.stderr, bridge.log, json.dumps(bridge.status()))
    return found


def checked(bridge: Bridge, exit_code: int, *words: str) -> None:
    """`cdc check` says these words and ends with this code."""
    shown = bridge.cdc("check")
    assert shown.returncode == exit_code, shown.stdout + shown.stderr
    for word in words:
        assert word in shown.stdout, shown.stdout
    silent(shown.stdout, shown.stderr)


def silent(*texts: str) -> None:
    for text in texts:
        assert "Traceback" not in text
        assert SECRET not in text
        assert VALUE not in text


def test_a_wrong_password(kafka: KafkaServer, prefix: str, tmp_path: Path) -> None:
    with PostgresServer(password="right") as server, fresh_database(server, prefix) as database:
        case = Case(database, kafka, prefix, tmp_path)
        with case.bridge(url=database.url("postgres", SECRET)) as bridge:
            checked(bridge, 1, 'password authentication failed for user "postgres"')
            bridge.start()
            told(bridge, "failed", 'password authentication failed for user "postgres"')


def test_no_right_to_read_a_table(case: Case) -> None:
    grants = f"GRANT CREATE ON DATABASE {case.database.name} TO {{role}}; ALTER TABLE orders OWNER TO {{role}}; "
    url = case.role("REPLICATION", grants + "REVOKE ALL ON orders FROM {role}")
    with case.bridge(url=url) as bridge:
        checked(
            bridge, 1, "public.orders", "may not be read", f'GRANT SELECT ON "public"."orders" TO {case.name}_role;'
        )
        bridge.start()
        told(bridge, "failed", "permission denied for table orders")


def test_no_right_to_replicate(case: Case) -> None:
    url = case.role("", "GRANT SELECT ON orders TO {role}")
    with case.bridge(url=url) as bridge:
        checked(bridge, 1, "replication", "ALTER ROLE")
        bridge.start()
        told(bridge, "failed", "REPLICATION", "ALTER ROLE")


def test_no_right_to_make_the_publication(case: Case) -> None:
    url = case.role("REPLICATION", "GRANT SELECT ON orders TO {role}")
    statement = f'CREATE PUBLICATION "{case.slot}" FOR TABLE "public"."orders" WITH (publish_via_partition_root = true)'
    with case.bridge(url=url) as bridge:
        checked(bridge, 1, statement)
        bridge.start()
        told(bridge, "failed", statement)
        bridge.kill()
        # The line that was shown mends it.
        case.database.execute(statement)
        bridge.start()
        bridge.until("streaming")


def test_a_server_without_logical_wal(kafka: KafkaServer, prefix: str, tmp_path: Path) -> None:
    with PostgresServer(settings={"wal_level": "replica"}) as server, fresh_database(server, prefix) as database:
        case = Case(database, kafka, prefix, tmp_path)
        with case.bridge() as bridge:
            checked(bridge, 1, "wal_level is replica", "ALTER SYSTEM SET wal_level = 'logical'")
            bridge.start()
            told(bridge, "failed", "wal_level is replica", "ALTER SYSTEM SET wal_level = 'logical'")


def test_no_database_at_all(case: Case) -> None:
    port = free_port()
    with case.bridge(url=f"postgresql://postgres:{SECRET}@{HOST}:{port}/x") as bridge:
        checked(bridge, 1, f"port {port} failed")
        bridge.start()
        told(bridge, "retrying", f"port {port} failed")


def test_no_broker_at_all(case: Case) -> None:
    away = f"{HOST}:{free_port()}"
    with case.bridge(kafka={"bootstrap_servers": away}) as bridge:
        checked(bridge, 1, away)
        bridge.start()
        told(bridge, "retrying", away)
        assert bridge.stop() == 0


def test_a_topic_with_other_partitions_is_shown_and_used(case: Case) -> None:
    admin = AdminClient({"bootstrap.servers": case.kafka.bootstrap_servers})
    admin.create_topics([NewTopic(case.topic, 5, 1)])[case.topic].result(timeout=30)
    with case.bridge() as bridge:
        checked(bridge, 0, case.topic, "partitions is 5, declared is 2")
        case.run_once(bridge)
    assert len(events(case.kafka.bootstrap_servers, [case.topic])) == 3


def test_a_slot_in_use_is_waited_for(case: Case) -> None:
    with case.bridge() as bridge:
        case.run_once(bridge)
        url = f"{case.database.url()}?replication=database"
        other = psycopg.pq.PGconn.connect(url.encode())
        stream = f"START_REPLICATION SLOT {case.slot} LOGICAL 0/0 (proto_version '1', publication_names '{case.slot}')"
        assert other.exec_(stream.encode()).status == psycopg.pq.ExecStatus.COPY_BOTH
        bridge.start()
        told(bridge, "retrying", f"replication slot {case.slot} is in use by another session")
        other.finish()
        bridge.until("streaming")


def test_a_dropped_slot_is_a_gap_until_it_is_healed(case: Case) -> None:
    with case.bridge() as bridge:
        case.run_once(bridge)
        case.database.execute(f"SELECT pg_drop_replication_slot('{case.slot}')")
        for _ in range(2):
            bridge.start()
            told(bridge, "gap", f"replication slot {case.slot} is gone", "may be missing")
            bridge.kill()


def test_a_slot_that_was_dropped_and_made_again_is_a_gap(case: Case) -> None:
    with case.bridge() as bridge:
        case.run_once(bridge)
        case.database.execute(f"SELECT pg_drop_replication_slot('{case.slot}')")
        case.insert(200, 210)
        case.database.execute(f"SELECT pg_create_logical_replication_slot('{case.slot}', 'pgoutput')")
        bridge.start()
        told(bridge, "gap", case.slot, "are missing")


def test_a_slot_that_was_advanced_is_a_gap(case: Case) -> None:
    with case.bridge() as bridge:
        case.run_once(bridge)
        case.insert(200, 210)
        case.database.execute(f"SELECT pg_replication_slot_advance('{case.slot}', pg_current_wal_lsn())")
        bridge.start()
        told(bridge, "gap", f"replication slot {case.slot} was advanced to", "past the stored position")


@pytest.mark.every_postgres
def test_a_publication_dropped_while_it_is_used_is_a_gap(case: Case) -> None:
    with case.bridge() as bridge:
        bridge.start()
        bridge.until("streaming")
        case.database.execute(f"DROP PUBLICATION {case.slot}")
        case.insert(200, 210)
        told(bridge, "gap", "publication", case.slot)


@pytest.mark.every_postgres
def test_a_publication_made_again_while_the_bridge_is_down_is_a_gap(case: Case) -> None:
    with case.bridge() as bridge:
        case.run_once(bridge)
        case.database.execute(f"DROP PUBLICATION {case.slot}")
        case.insert(200, 210)
        case.database.execute(
            f"CREATE PUBLICATION {case.slot} FOR TABLE orders WITH (publish_via_partition_root = true)"
        )
        bridge.start()
        told(bridge, "gap", f"publication {case.slot} was dropped and made again")


def test_a_table_taken_out_of_the_publication_is_a_gap(case: Case) -> None:
    with case.bridge() as bridge:
        case.run_once(bridge)
        case.database.execute(f"CREATE TABLE other (id int PRIMARY KEY); ALTER PUBLICATION {case.slot} SET TABLE other")
        bridge.start()
        told(bridge, "gap", f"publication {case.slot} no longer has public.orders")


def test_an_emptied_offsets_topic_is_a_gap(case: Case) -> None:
    admin = AdminClient({"bootstrap.servers": case.kafka.bootstrap_servers})
    offsets = f"{case.name}.cdc.offsets"
    with case.bridge() as bridge:
        case.run_once(bridge)
        admin.delete_topics([offsets])[offsets].result(timeout=30)
        eventually(lambda: offsets not in admin.list_topics(timeout=10).topics, 30, "the topic is deleted")
        bridge.start()
        told(bridge, "gap", f"no position is stored on {offsets}", case.topic, "cdc heal source")


def test_a_table_without_key_on_a_compacted_topic(case: Case) -> None:
    case.database.execute("CREATE TABLE log (line text); ALTER TABLE log REPLICA IDENTITY FULL")
    with case.bridge(connector={"tables": ["public.orders", "public.log"]}) as bridge:
        checked(bridge, 1, "public.log", "has no key", "compacted")
        bridge.start()
        told(bridge, "failed", "public.log has no key", "compacted", "cleanup_policy: delete")


def test_a_table_that_matches_nothing(case: Case) -> None:
    with case.bridge(connector={"tables": ["public.order"]}) as bridge:
        checked(bridge, 1, "public.order", "no table has this name", "did you mean public.orders?")
        bridge.start()
        told(bridge, "failed", "public.order", "no table has this name", "did you mean public.orders?")


def test_an_event_too_large_for_its_topic_names_table_key_size_and_limit(case: Case) -> None:
    with case.bridge() as bridge:
        bridge.start()
        bridge.until("streaming")
        case.database.execute(f"INSERT INTO orders VALUES (2, repeat('{VALUE}', 100000))")
        words = ("table public.orders (key id)", "does not fit topic", case.topic, "max.message.bytes", "1048588")
        found = told(bridge, "failed", *words)
        assert f"{len(VALUE) * 100_000 // 10**6}" in found["error"]["message"]
        # Nothing is stepped over: it is told again after a restart.
        bridge.kill()
        bridge.start()
        told(bridge, "failed", *words)


@pytest.fixture
def service(postgres: PostgresServer, prefix: str) -> Iterator[Database]:
    with fresh_database(postgres, f"{prefix}_service") as fresh:
        yield fresh


@pytest.fixture
def line(case: Case, service: Database) -> Callable[..., Bridge]:
    """A bridge with a sink into `service`."""

    def bridge(url: str | None = None, **sink: Any) -> Bridge:
        return case.bridge(
            databases={"warehouse": {"url": case.database.url()}, "service": {"url": url or service.url()}},
            sinks={"copy": {"type": "postgres", "database": "service", "topics": [case.topic], **sink}},
        )

    return bridge


def test_a_row_that_the_target_refuses_names_its_place(
    case: Case, service: Database, line: Callable[..., Bridge]
) -> None:
    with line() as bridge:
        bridge.start()
        eventually(lambda: _has(service, 1), 60, "the sink has the first row")
        service.execute("ALTER TABLE orders ADD CONSTRAINT short CHECK (length(note) < 10)")
        case.insert(2, 2)
        told(bridge, "failed", f"{case.topic} [", "at offset", "constraint short", kind="sinks", name="copy")
        # Contained: the connector goes on.
        assert bridge.state() == "streaming"
        before = bridge.connector()["position"]
        case.insert(3, 3)
        eventually(lambda: bridge.connector()["position"] > before, 30, "the connector goes on")
        bridge.kill()
        # Its owner mends the table, and nothing was stepped over.
        service.execute("ALTER TABLE orders DROP CONSTRAINT short")
        bridge.start()
        eventually(lambda: _has(service, 2, 3), 60, "the sink has the rows")


def test_a_refused_row_may_go_to_the_dead_letters(case: Case, service: Database, line: Callable[..., Bridge]) -> None:
    with line(on_refused="dead_letter") as bridge:
        bridge.start()
        eventually(lambda: _has(service, 1), 60, "the sink has the first row")
        service.execute("ALTER TABLE orders ADD CONSTRAINT short CHECK (length(note) < 10)")
        case.insert(2, 2)
        case.database.execute("INSERT INTO orders VALUES (3, 'short')")
        eventually(lambda: _has(service, 3), 60, "the sink goes on")
        assert not _has(service, 2)
        assert bridge.stop() == 0
        silent(bridge.log)
    [letter] = events(case.kafka.bootstrap_servers, [f"{case.name}.cdc.dead-letters"])
    assert letter.key == {"id": 2}


def test_no_right_in_the_target(case: Case, service: Database, line: Callable[..., Bridge]) -> None:
    case.role("")
    with line(url=service.url(f"{case.name}_role", SECRET)) as bridge:
        checked(bridge, 1, "GRANT")
        bridge.start()
        told(bridge, "failed", "GRANT", kind="sinks", name="copy")


def _has(database: Database, *keys: int) -> bool:
    try:
        found = {key for (key,) in database.rows("SELECT id FROM orders")}
    except psycopg.errors.UndefinedTable:
        return False
    return found >= set(keys)
