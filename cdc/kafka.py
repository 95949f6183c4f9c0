"""Kafka settings → librdkafka configuration, with allow-listed properties. Reads nothing, connects nowhere.

librdkafka properties can load code (`plugin.library.paths`, `ssl.engine.location`), run commands
(`sasl.kerberos.kinit.cmd`) or call out (`sasl.oauthbearer.token.endpoint.url`), so only those
that are named here are taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from confluent_kafka import KafkaException

from cdc.errors import ConfigError, Problem
from cdc.settings import KafkaSettings, Wrong, dotted

Client = TypeVar("Client")
Role = Literal["any", "producer", "consumer"]


@dataclass(frozen=True, slots=True)
class Property:
    """What one librdkafka property takes, and who takes it.

    Args:
        kind: `number`, `flag`, `text`, or `path` (of a file, relative to the YAML's folder).
        values: the only ones possible, if not empty.
        role: librdkafka warns about a producer's properties on a consumer, and the reverse.
    """

    kind: Literal["number", "flag", "text", "path"] = "text"
    values: tuple[str, ...] = ()
    role: Role = "any"


_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")

PROPERTIES: dict[str, Property] = {
    "broker.address.family": Property(values=("any", "v4", "v6")),
    "broker.address.ttl": Property("number"),
    "client.dns.lookup": Property(values=("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only")),
    "client.id": Property(),
    "client.rack": Property(),
    "connections.max.idle.ms": Property("number"),
    "metadata.max.age.ms": Property("number"),
    "reconnect.backoff.max.ms": Property("number"),
    "reconnect.backoff.ms": Property("number"),
    "request.timeout.ms": Property("number", role="producer"),
    "retry.backoff.max.ms": Property("number"),
    "retry.backoff.ms": Property("number"),
    "sasl.mechanism": Property(values=_MECHANISMS),
    "sasl.username": Property(),
    "security.protocol": Property(values=_PROTOCOLS),
    "socket.connection.setup.timeout.ms": Property("number"),
    "socket.keepalive.enable": Property("flag"),
    "socket.nagle.disable": Property("flag"),
    "socket.receive.buffer.bytes": Property("number"),
    "socket.send.buffer.bytes": Property("number"),
    "socket.timeout.ms": Property("number"),
    "ssl.ca.location": Property("path"),
    "ssl.certificate.location": Property("path"),
    "ssl.cipher.suites": Property(),
    "ssl.crl.location": Property("path"),
    "ssl.curves.list": Property(),
    "ssl.endpoint.identification.algorithm": Property(values=("https", "none")),
    "ssl.key.location": Property("path"),
    "ssl.sigalgs.list": Property(),
    "batch.num.messages": Property("number", role="producer"),
    "compression.level": Property("number", role="producer"),
    "compression.type": Property(values=_COMPRESSIONS, role="producer"),
    "linger.ms": Property("number", role="producer"),
    "queue.buffering.max.kbytes": Property("number", role="producer"),
    "queue.buffering.max.messages": Property("number", role="producer"),
    "sticky.partitioning.linger.ms": Property("number", role="producer"),
    "fetch.max.bytes": Property("number", role="consumer"),
    "fetch.min.bytes": Property("number", role="consumer"),
    "fetch.queue.backoff.ms": Property("number", role="consumer"),
    "fetch.wait.max.ms": Property("number", role="consumer"),
    "heartbeat.interval.ms": Property("number", role="consumer"),
    "max.partition.fetch.bytes": Property("number", role="consumer"),
    "max.poll.interval.ms": Property("number", role="consumer"),
    "queued.max.messages.kbytes": Property("number", role="consumer"),
    "queued.min.messages": Property("number", role="consumer"),
    "session.timeout.ms": Property("number", role="consumer"),
}
"""What may stand under `kafka: properties:`."""

SOCKET_TIMEOUT = "socket.timeout.ms"
SOCKET_TIMEOUT_MS = 15_000
"""librdkafka waits a minute for an answer by default, also on a connection whose other end is gone."""

_OURS = frozenset({
    "acks", "auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store", "enable.idempotence",
    "group.id", "group.instance.id", "isolation.level", "max.in.flight", "max.in.flight.requests.per.connection",
    "batch.size", "message.max.bytes", "partition.assignment.strategy", "partitioner", "request.required.acks",
    "retries", "transaction.timeout.ms", "transactional.id",
})  # fmt: skip

_ELSEWHERE = {
    "bootstrap.servers": "kafka.bootstrap_servers",
    "metadata.broker.list": "kafka.bootstrap_servers",
    "sasl.password": "kafka.sasl_password_file",
    "ssl.key.password": "kafka.ssl_key_password_file",
    "sasl.mechanisms": "sasl.mechanism",
    "compression.codec": "compression.type",
}


def kafka_config(kafka: KafkaSettings, **base: Any) -> dict[str, Any]:
    """The configuration of one librdkafka client.

    Args:
        kafka: the section `kafka:`.
        base: what the caller needs, `**{"group.id": …}`; wins over the operator's. With
            `transactional.id` or `enable.idempotence` it is a producer's configuration, with `group.id` a consumer's;
            without either, properties of both roles are left out.

    Raises:
        ConfigError: a property that is not allowed.
    """
    wrongs = list(wrongs_of(kafka))
    if wrongs:
        raise ConfigError([Problem(w.message, dotted(("kafka", *w.path)), suggestion=w.suggestion) for w in wrongs])
    producing = "transactional.id" in base or "enable.idempotence" in base
    role = "producer" if producing else "consumer" if "group.id" in base else "any"
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": "cdc",
        "logger": logging.getLogger("cdc.kafka"),  # else librdkafka writes to stderr by itself
        **{key: value for key, value in kafka.properties.items() if PROPERTIES[key].role in ("any", role)},
    }
    if kafka.sasl_password is not None:
        config["sasl.password"] = kafka.sasl_password.get_secret_value()
    if kafka.ssl_key_password is not None:
        config["ssl.key.password"] = kafka.ssl_key_password.get_secret_value()
    return config | base


def client(kind: Callable[[dict[str, Any]], Client], kafka: KafkaSettings, **base: Any) -> Client:
    """A librdkafka client of that kind; arguments as for `kafka_config`.

    Raises:
        ConfigError: a property is not allowed, or librdkafka does not take its value.
    """
    try:
        return kind(kafka_config(kafka, **base))
    except KafkaException as error:
        raise ConfigError([Problem(f"librdkafka refuses: {error.args[0].str()}", "kafka.properties")]) from error


def wrongs_of(kafka: KafkaSettings) -> Iterator[Wrong]:
    """What is wrong with the section, judged without I/O."""
    for name, value in kafka.properties.items():
        path = ("properties", name)
        known = PROPERTIES.get(name)
        if known is None:
            yield Wrong(path, *_refusal(name))
        elif known.values and value not in known.values:
            yield Wrong(path, f"must be one of {' | '.join(known.values)}", _close(value, known.values))
        elif known.kind == "number" and not value.lstrip("-").isdigit():
            yield Wrong(path, "must be a whole number")
        elif known.kind == "flag" and value not in ("true", "false"):
            yield Wrong(path, "must be true or false")
    yield from _login_wrongs(kafka)


def _login_wrongs(kafka: KafkaSettings) -> Iterator[Wrong]:
    login = [key for key in ("sasl.mechanism", "sasl.username") if key in kafka.properties]
    protocol = kafka.properties.get("security.protocol", "PLAINTEXT")
    if protocol.startswith("SASL"):
        missing = [key for key in ("sasl.mechanism", "sasl.username") if key not in login]
        missing += ["sasl_password_file"] if kafka.sasl_password is None else []
        if missing:
            yield Wrong(("properties", "security.protocol"), f"{protocol} needs a login", f"add {', '.join(missing)}")
    elif login or kafka.sasl_password is not None:
        # librdkafka ignores SASL settings silently and connects without them.
        path = ("properties", login[0]) if login else ("sasl_password",)
        yield Wrong(path, f"is of no use with security.protocol {protocol}", "add security.protocol: SASL_SSL")


def _refusal(name: str) -> tuple[str, str]:
    if name in _ELSEWHERE:
        return "is written in another way", f"use {_ELSEWHERE[name]}"
    if name in _OURS:
        return "is set by the bridge itself, as exactly-once depends on it", "remove it"
    close = _close(name, PROPERTIES)
    return "is not a property that may be set here", close or "docs/settings.md lists those that may"


def _close(text: str, among: Iterable[str]) -> str | None:
    folded = {word.lower(): word for word in among}
    close = get_close_matches(text.lower(), folded, n=1)
    return f"did you mean {folded[close[0]]}?" if close else None
