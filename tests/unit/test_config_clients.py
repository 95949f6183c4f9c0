"""What settings become for libpq and librdkafka: allow-listed, with secrets read late and never shown."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from psycopg.conninfo import conninfo_to_dict

from cdc.databases import conninfo, masked, server
from cdc.errors import ConfigError, SecretUnavailable
from cdc.kafka import PROPERTIES, kafka_config
from cdc.settings import DatabaseSettings, KafkaSettings


def database(**settings: object) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"url": "postgresql://cdc@h:1/d"} | settings)


def test_a_connection_string_has_url_parameters_and_application_name() -> None:
    parts = conninfo_to_dict(conninfo(database(parameters={"sslmode": "verify-full"}), application_name="cdc shop"))
    assert parts == {
        "host": "h", "port": "1", "user": "cdc", "dbname": "d", "sslmode": "verify-full",
        "application_name": "cdc shop", "connect_timeout": "10", "tcp_user_timeout": "20000",
        "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3",
    }  # fmt: skip


def test_replication_takes_its_own_url() -> None:
    both = database(url="postgresql://cdc@pooler:6432/d", replication_url="postgresql://cdc@direct/d")
    assert conninfo_to_dict(conninfo(both, application_name="x"))["host"] == "pooler"
    parts = conninfo_to_dict(conninfo(both, replication=True, application_name="x"))
    assert (parts["host"], parts["replication"]) == ("direct", "database")


def test_a_password_file_is_read_at_every_connection(tmp_path: Path) -> None:
    file = tmp_path / "password"
    changing = database(password_file=str(file), password="from the time of loading")
    for password in ("first", "se cond'\\"):
        file.write_text(password + "\n")
        assert conninfo_to_dict(conninfo(changing, application_name="x"))["password"] == password
    file.unlink()
    with pytest.raises(SecretUnavailable, match="cannot be read"):
        conninfo(changing, application_name="x")


def command(program: str) -> DatabaseSettings:
    return database(password_command=shlex.join([sys.executable, "-c", program]))


def test_a_password_command_is_run_without_a_shell() -> None:
    asked = command("print('a;b $HOME')")
    assert conninfo_to_dict(conninfo(asked, application_name="x"))["password"] == "a;b $HOME"


@pytest.mark.parametrize(
    ("program", "says"),
    [("import sys; print('hunter2', file=sys.stderr); sys.exit('hunter2')", "status 1"), ("", "printed nothing")],
)
def test_a_password_command_that_fails_may_be_tried_again_and_shows_nothing(program: str, says: str) -> None:
    with pytest.raises(SecretUnavailable, match=says) as failed:
        conninfo(command(program), application_name="x")
    assert failed.value.retriable
    assert "hunter2" not in str(failed.value)


def test_a_password_command_that_is_not_there() -> None:
    with pytest.raises(SecretUnavailable, match="cannot be run: No such file"):
        conninfo(database(password_command="/no/such/program --x"), application_name="x")


@pytest.mark.parametrize("name", ["options", "service", "passfile", "replication", "sslkeylogfile", "requirepeer"])
def test_parameters_that_are_not_allowed(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        conninfo(database(parameters={name: "x"}), application_name="x")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://cdc:hunter2@h:1/d?sslmode=require", "cdc@h:1/d"),
        ("postgresql://cdc:hunter2@a,b:2/d", "cdc@a,b:2/d"),
        ("postgresql:///d", "localhost/d"),
        ("postgresql://cdc:hunter2%zz@h/d", "(a database URL that cannot be read)"),
    ],
)
def test_a_masked_url_shows_no_password(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_server_is_the_same_whatever_the_database() -> None:
    assert server(database(url="postgresql://a:x@h:1/d")) == server(database(url="postgresql://b@h:1/e"))


def kafka(**settings: object) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": "localhost:1"} | settings)


def test_clients_get_the_properties_of_their_role_and_a_logger() -> None:
    both = kafka(properties={"linger.ms": 5, "fetch.min.bytes": 7, "client.id": "bridge"})
    producer = kafka_config(both, **{"transactional.id": "t"})
    consumer = kafka_config(both, **{"group.id": "g"})
    admin = kafka_config(both)
    assert producer["linger.ms"] == "5"
    assert "fetch.min.bytes" not in producer
    assert consumer["fetch.min.bytes"] == "7"
    assert "linger.ms" not in consumer
    assert not {"linger.ms", "fetch.min.bytes"} & admin.keys()
    assert admin["client.id"] == "bridge"
    assert isinstance(admin["logger"], logging.Logger)


def test_what_the_bridge_needs_wins_over_what_is_written() -> None:
    assert (
        kafka_config(kafka(properties={"linger.ms": 5}), **{"transactional.id": "t", "linger.ms": 0})["linger.ms"] == 0
    )


def test_secrets_reach_librdkafka_and_nothing_else() -> None:
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u"}
    secret = kafka(sasl_password="hunter2", properties=login)
    assert kafka_config(secret)["sasl.password"] == "hunter2"
    assert "hunter2" not in f"{secret!r} {secret} {secret.model_dump_json()}"


@pytest.mark.parametrize(
    "name",
    [
        "plugin.library.paths", "ssl.engine.location", "sasl.kerberos.kinit.cmd", "debug", "statistics.interval.ms",
        "sasl.oauthbearer.token.endpoint.url", "enable.ssl.certificate.verification", "transactional.id", "acks",
    ],
)  # fmt: skip
def test_properties_that_are_not_allowed(name: str) -> None:
    assert name not in PROPERTIES
    with pytest.raises(ConfigError, match="properties"):
        kafka_config(kafka(properties={name: "x"}))


@pytest.mark.parametrize("name", [name for name, known in PROPERTIES.items() if known.kind != "path"])
def test_every_allowed_property_is_one_that_librdkafka_knows(name: str) -> None:
    assert "No such configuration property" not in said_by_librdkafka(name, "1")


def said_by_librdkafka(name: str, value: str) -> str:
    role = Consumer if PROPERTIES[name].role == "consumer" else Producer
    try:
        role({"group.id": "x", name: value} if role is Consumer else {name: value}, logger=logging.root)
    except KafkaException as error:
        return str(error)
    return ""
