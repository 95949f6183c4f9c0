"""`cdc check` beside real servers: what is missing is found, and the line it prints does mend it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from cdc import acls, kafka_check, topics
from cdc.config import parse
from cdc.event import BY_KEY, Batch, EventTopic
from cdc.kafka import kafka_config
from cdc.offsets import committed
from cdc.plugins import Finding
from cdc.position import Position
from cdc.prove.observed import messages
from cdc.publisher import Publisher
from cdc.settings import Settings
from cdc.testing.servers import KafkaServer, PostgresServer
from cdc.testing.system import HOST, free_port, wait_for
from tests.databases import Database

SECRET = "hunter2"


def settings_text(name: str, bootstrap_servers: str, url: str, more: str = "") -> str:
    return (
        f"name: {name}\nkafka: {{bootstrap_servers: '{bootstrap_servers}'}}\n"
        f"databases: {{warehouse: {{url: '{url}'}}}}\n"
        "connectors: {warehouse: {type: postgres_wal, database: warehouse, tables: [public.orders]}}\n" + more
    )


def made(admin: AdminClient, *wanted: NewTopic) -> None:
    for future in admin.create_topics(list(wanted)).values():
        future.result(timeout=30)


def checked(settings: Settings) -> list[Finding]:
    return list(kafka_check.findings(settings, settings.connectors.keys() | settings.sinks.keys()))


def test_topics_that_differ_from_their_declaration_are_shown_and_left_alone(kafka: KafkaServer, prefix: str) -> None:
    topic = f"{prefix}.public.orders"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    made(admin, NewTopic(topic, 3, 1, config={"cleanup.policy": "delete", "delete.retention.ms": "604800000"}))
    settings = parse(settings_text(prefix, kafka.bootstrap_servers, "postgresql://h/d"))
    found = {finding.message: finding for finding in checked(settings) if topic in finding.subject}
    assert {finding.level for finding in found.values()} == {"warning"}
    assert set(found) == {"partitions is 3, declared is 6", "cleanup.policy is delete, declared is compact"}
    assert found["partitions is 3, declared is 6"].mend == f'topics: {{"{topic}": {{partitions: 3}}}}'
    command = found["cleanup.policy is delete, declared is compact"].mend or ""
    assert command.endswith(f"--entity-name {topic} --add-config cleanup.policy=compact")
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(timeout=30)
    assert config["cleanup.policy"].value == "delete"


def test_topics_of_a_pattern_are_compared_too(kafka: KafkaServer, prefix: str) -> None:
    topic = f"{prefix}.sales.any"
    made(AdminClient({"bootstrap.servers": kafka.bootstrap_servers}), NewTopic(topic, 2, 1))
    text = settings_text(prefix, kafka.bootstrap_servers, "postgresql://h/d")
    found = checked(parse(text.replace("public.orders", '"sales.*"')))
    assert [f.message for f in found if f.subject == f"kafka: topic {topic}" and "partitions" in f.message]


def test_more_copies_than_brokers_is_an_error(kafka: KafkaServer, prefix: str) -> None:
    more = "topics: {defaults: {replication_factor: 3}}"
    found = checked(parse(settings_text(prefix, kafka.bootstrap_servers, "postgresql://h/d", more)))
    errors = [finding for finding in found if finding.level == "error"]
    assert errors
    assert all(f.message == "cannot be made: replication_factor 3, but 1 broker(s)" for f in errors)


def test_properties_that_librdkafka_refuses_are_told_with_their_place(kafka: KafkaServer) -> None:
    text = "name: shop\nkafka:\n  bootstrap_servers: h\n  properties: {socket.timeout.ms: 1}\n"
    (finding,) = checked(parse(text, file="cdc.yaml"))
    assert finding.level == "error"
    assert finding.message.startswith("cdc.yaml:4: librdkafka refuses the properties: ")


class KafkaWithLogin(KafkaServer):
    """A broker that asks user `cdc` for a password on a second port, and allows it nothing that no ACL allows."""

    login_port = 0

    def _choose_ports(self) -> None:
        super()._choose_ports()
        self.login_port = free_port()
        plain, controller = f"PLAINTEXT://{HOST}:{self.port}", f"CONTROLLER://{HOST}:{self._controller_port}"
        login = f"SASL_PLAINTEXT://{HOST}:{self.login_port}"
        jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        self.settings |= {
            "listeners": f"{plain},{controller},{login}",
            "advertised.listeners": f"{plain},{login}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{jaas} user_cdc="{SECRET}";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


@pytest.fixture(scope="module")
def guarded(kafka: KafkaServer) -> Iterator[KafkaWithLogin]:
    with KafkaWithLogin(kafka.jars) as server:
        yield server


def with_login(server: KafkaWithLogin, name: str, more: str = "") -> Settings:
    return parse(f"""
name: {name}
kafka:
  bootstrap_servers: {HOST}:{server.login_port}
  sasl_password: {SECRET}
  properties: {{security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, sasl.username: cdc}}
databases: {{warehouse: {{url: "postgresql://h/d"}}}}
connectors: {{warehouse: {{type: postgres_wal, database: warehouse, tables: [public.orders]{more}}}}}
""")


def grant(server: KafkaWithLogin, wanted: list[acls.Acl], operations: set[str] | None = None) -> None:
    kinds = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "transactional-id": ResourceType.TRANSACTIONAL_ID,
    }
    codes = {
        "Create": AclOperation.CREATE,
        "Describe": AclOperation.DESCRIBE,
        "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
        "Read": AclOperation.READ,
        "Write": AclOperation.WRITE,
    }
    bindings = [
        AclBinding(
            kinds[acl.resource],
            acl.name,
            ResourcePatternType.PREFIXED if acl.prefixed else ResourcePatternType.LITERAL,
            "User:cdc",
            "*",
            codes[operation],
            AclPermissionType.ALLOW,
        )
        for acl in wanted
        for operation in acl.operations
        if operations is None or operation in operations
    ]
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
    for future in admin.create_acls(bindings).values():
        future.result(timeout=30)


def test_the_acls_it_prints_are_enough_to_publish(guarded: KafkaWithLogin, prefix: str) -> None:
    settings = with_login(guarded, prefix)
    topic = f"{prefix}.public.orders"
    grant(guarded, acls.needed(settings))
    publisher = Publisher(settings, "warehouse")
    assert publisher.take_over() is None
    batch = Batch(
        [(topic, b"1", b"row", BY_KEY, 0, None)], Position("1"), [EventTopic(topic, "public.orders", ("id",))]
    )
    publisher.publish(batch)
    assert Publisher(settings, "warehouse").take_over() == Position("1")
    # As polls and heals do.
    partitions = publisher.home(topic).partitions
    assert [one.key() for some in committed(settings.kafka, topic, partitions, bool) for one in some] == [b"1"]
    assert [f.message for f in checked(settings) if f.level in ("error", "warning")] == []


def test_the_acls_it_prints_are_enough_to_go_on_where_debezium_stopped(guarded: KafkaWithLogin, prefix: str) -> None:
    settings = with_login(guarded, prefix, ", start_from: {lsn: 1}, messages: {}")
    topic = f"{prefix}.public.orders"
    bootstrap = {"bootstrap.servers": guarded.bootstrap_servers}
    made(AdminClient(bootstrap), NewTopic(topic, 1, 1), NewTopic(f"{prefix}.message", 1, 1))
    source = {"name": prefix, "txId": 1, "lsn": 5, "sequence": '[null,"5"]'}
    event = orjson.dumps({"op": "c", "after": {"id": 1}, "source": source})
    producer = Producer(bootstrap)
    producer.produce(topic, event, b'{"id":1}')
    producer.produce(f"{prefix}.message", b"{}")
    assert producer.flush(30) == 0
    grant(guarded, acls.needed(settings))
    publisher = Publisher(settings, "warehouse")
    assert publisher.take_over() is None
    publisher.inherit([topic])
    there, new = ((topic, b'{"id":%d}' % id, event, BY_KEY, 0, None) for id in (1, 2))
    publisher.publish(Batch([there, new], Position("1"), [EventTopic(topic, "public.orders", ("id",))]))
    assert [message.key() for message in messages(guarded.bootstrap_servers, [topic])] == [there[1], new[1]]


def test_an_acl_that_is_missing_is_found_with_the_line_that_grants_it(guarded: KafkaWithLogin, prefix: str) -> None:
    settings = with_login(guarded, prefix)
    topic = f"{prefix}.public.orders"
    made(AdminClient({"bootstrap.servers": guarded.bootstrap_servers}), topics.event_topic(settings, topic))
    grant(guarded, acls.needed(settings), {"Describe", "DescribeConfigs", "Create"})
    # The broker answers before it has heard of new topics and ACLs.
    wait_for(lambda: any(f.level == "error" for f in checked(settings)), timeout=30)
    (missing,) = [finding for finding in checked(settings) if finding.level == "error"]
    assert missing.subject == f"kafka: topic {topic}"
    assert missing.message == "User:cdc lacks Write, Read (events)"
    assert missing.mend == (
        f"kafka-acls.sh --bootstrap-server {HOST}:{guarded.login_port} --add --allow-principal User:cdc "
        f"--operation Describe --operation DescribeConfigs --operation Create --operation Write --operation Read "
        f"--topic {topic}"
    )
    assert SECRET not in repr(checked(settings))


def test_a_wrong_kafka_password_is_an_error_that_does_not_show_it(guarded: KafkaWithLogin, prefix: str) -> None:
    settings = with_login(guarded, prefix)
    other = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"sasl_password": None})})
    wrong = other.kafka.model_validate({**other.kafka.model_dump(), "sasl_password": "not " + SECRET})
    with pytest.raises(KafkaException):
        AdminClient(kafka_config(wrong)).list_topics(timeout=3)
    (finding,) = checked(settings.model_copy(update={"kafka": wrong}))
    assert finding.level == "error"
    assert "does not answer" in finding.message or "Authentication" in finding.message
    assert SECRET not in repr(finding)


def cdc(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cdc.cli", *arguments, "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_all_is_well(kafka: KafkaServer, database: Database, prefix: str, tmp_path: Path) -> None:
    database.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    file = tmp_path / "cdc.yaml"
    file.write_text(settings_text(prefix, kafka.bootstrap_servers, database.url()))
    ran = cdc(file, "check")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "ready:" in ran.stdout
    assert database.rows("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == [(0,)]
    findings = orjson.loads(cdc(file, "check", "--json").stdout)
    assert {"level", "subject", "message", "mend"} == findings[0].keys()
    (unlimited,) = [finding for finding in findings if finding["subject"].endswith("max_slot_wal_keep_size")]
    assert unlimited["level"] == "note"
    assert "no `cdc run` runs" in unlimited["message"]


def test_the_lines_it_prints_mend_what_is_missing(
    kafka: KafkaServer, database: Database, prefix: str, tmp_path: Path
) -> None:
    role = f"{prefix}_reader"
    database.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    database.execute(f"CREATE ROLE {role} LOGIN REPLICATION")
    try:
        file = tmp_path / "cdc.yaml"
        file.write_text(settings_text(prefix, kafka.bootstrap_servers, database.url(role)))
        ran = cdc(file, "check", "--json")
        assert ran.returncode == 1
        errors = [finding for finding in orjson.loads(ran.stdout) if finding["level"] == "error"]
        assert len(errors) == 2
        for finding in errors:
            database.execute(finding["mend"])
        assert cdc(file, "check").returncode == 0
    finally:
        database.execute(f"DROP OWNED BY {role}")
        database.execute(f"DROP ROLE {role}")


def test_kafka_and_the_source_away_are_both_told(tmp_path: Path) -> None:
    nobody = f"{HOST}:{free_port()}"
    file = tmp_path / "cdc.yaml"
    file.write_text(settings_text("shop", nobody, f"postgresql://cdc:{SECRET}@{nobody}/warehouse"))
    ran = cdc(file, "check")
    assert ran.returncode == 1
    assert f"kafka: brokers  {nobody} does not answer" in ran.stdout
    assert "connector warehouse: connection" in ran.stdout
    assert SECRET not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_wrong_password_is_told_without_showing_it(kafka: KafkaServer, tmp_path: Path) -> None:
    with PostgresServer(password="right") as server:
        url = f"postgresql://postgres:{SECRET}@{HOST}:{server.port}/postgres"
        file = tmp_path / "cdc.yaml"
        file.write_text(settings_text("shop", kafka.bootstrap_servers, url))
        ran = cdc(file, "check", "warehouse")
        assert ran.returncode == 1
        assert "connector warehouse: connection" in ran.stdout
        assert "password" in ran.stdout
        assert SECRET not in ran.stdout + ran.stderr


def test_wal_level_replica_is_told_with_the_line_that_mends_it(kafka: KafkaServer, tmp_path: Path) -> None:
    with PostgresServer(settings={"wal_level": "replica"}) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
        file = tmp_path / "cdc.yaml"
        file.write_text(settings_text("shop", kafka.bootstrap_servers, server.url()))
        ran = cdc(file, "check")
        assert ran.returncode == 1
        assert "ALTER SYSTEM SET wal_level" in ran.stdout
