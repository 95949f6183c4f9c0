"""The models of the YAML: names, types, defaults, and what each setting means. No I/O.

`cdc.config` reads files and the environment into these. A plugin's own section is a
subclass of `ConnectorSettings` or `SinkSettings` that its entry point names. The text below a
field is its description in the JSON Schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    SerializeAsAny,
    WithJsonSchema,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cdc import names, patterns
from cdc.errors import Problem

_SECONDS: dict[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES: dict[str, float] = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
}


def _scaled(value: Any, units: dict[str, float], example: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(value))
    unit = found[2] if found else ""
    if isinstance(value, bool) or not found or (unit and unit not in units):
        raise ValueError(f"must be a number and one of {', '.join(units)}, such as {example}")
    return float(found[1]) * units.get(unit, 1)


def _schema(units: dict[str, float], example: str) -> WithJsonSchema:
    text = {"type": "string", "pattern": rf"^\s*\d+(\.\d+)?\s*({'|'.join(units)})?\s*$", "examples": [example]}
    return WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, text]})


def _readable(pattern: str) -> str:
    wrong = patterns.wrong_expression(pattern)
    if wrong is not None:
        raise ValueError(wrong)
    return pattern


Pattern = Annotated[str, AfterValidator(_readable)]
"""A name, a pattern with `*`, `?` or `[…]`, or a regular expression between slashes; see `cdc.patterns`."""

Duration = Annotated[float, BeforeValidator(lambda value: _scaled(value, _SECONDS, "5s")), _schema(_SECONDS, "5s")]
"""Seconds; written as `500ms`, `5s`, `10m`, `7d`, or a bare number of seconds."""

Size = Annotated[
    int, BeforeValidator(lambda value: math.ceil(_scaled(value, _BYTES, "16MiB"))), _schema(_BYTES, "16MiB")
]
"""Bytes; written as `16MiB`, `1GB`, or a bare number of bytes."""


def _text(value: Any) -> Any:
    """YAML reads `5` and `true` as what they are; properties and parameters are text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]

Path: TypeAlias = tuple[str | int, ...]
"""The keys that lead to a setting: `("sinks", "billing", "topics", 0)`."""


class Place(NamedTuple):
    """Where a setting was written: a file and its line, or an environment variable and None."""

    file: str
    line: int | None = None


class Wrong(NamedTuple):
    """Something wrong in a section: keys below it, what is wrong, what would be right."""

    path: Path
    message: str
    suggestion: str | None = None


def dotted(path: Path) -> str:
    """A path as people write it: `connectors.warehouse.tables."public.orders".mask`."""
    return ".".join(f'"{key}"' if isinstance(key, str) and "." in key else str(key) for key in path)


class Model(BaseModel):
    """Base of every section: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class KafkaSettings(Model):
    """The Kafka cluster, and how to speak to it."""

    bootstrap_servers: Annotated[str, Field(min_length=1)]
    """Brokers to start from: `host:port`, several separated by commas."""
    sasl_password: SecretStr | None = None
    """SASL password; the user is the property `sasl.username`."""
    sasl_password_file: str | None = None
    """File that holds the SASL password."""
    ssl_key_password: SecretStr | None = None
    """Pass phrase of the client's private key (property `ssl.key.location`)."""
    ssl_key_password_file: str | None = None
    """File that holds that pass phrase."""
    properties: dict[str, Text] = {}
    """librdkafka properties; only those that are safe and that the bridge does not set itself."""


class SchemaRegistrySettings(Model):
    """Where formats that need one keep their schemas; it speaks as Confluent's Schema Registry does."""

    url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")]
    """`https://registry:8081`; several, separated by commas, are tried in turn."""
    username: str | None = None
    """For HTTP's basic authentication."""
    password: SecretStr | None = None
    """The password of `username`."""
    password_file: str | None = None
    """File that holds the password."""
    ssl_ca: str | None = None
    """File of the authorities that may vouch for the registry; those of the machine if not set."""
    ssl_certificate: str | None = None
    """File of the client's certificate."""
    ssl_key: str | None = None
    """File of the client's private key, if it is not in the certificate's file."""
    ssl_key_password: SecretStr | None = None
    """Pass phrase of that key."""
    ssl_key_password_file: str | None = None
    """File that holds that pass phrase."""

    def wrongs(self) -> Iterable[Wrong]:
        """What does not fit together, judged without I/O."""
        for one, other in (("username", "password"), ("password", "username")):
            if getattr(self, one) is not None and getattr(self, other) is None:
                yield Wrong((one,), f"is of no use without {other}", f"add {other}{'_file' * (other == 'password')}")
        for key in ("ssl_key", "ssl_key_password"):
            if getattr(self, key) is not None and self.ssl_certificate is None:
                yield Wrong((key,), "is of no use without ssl_certificate", "add ssl_certificate")


class DatabaseSettings(Model):
    """A database: a source, a target, or both."""

    url: SecretStr
    """`postgresql://user@host:port/database`; several hosts may be separated by commas. For what polls also
    `mysql+pymysql://`, `mariadb+pymysql://`, `sqlite:///`, `duckdb:///`, `mssql+pyodbc://`, `oracle+oracledb://`."""
    url_file: str | None = None
    """File that holds the URL."""
    replication_url: SecretStr | None = None
    """URL for the replication connection, where `url` leads to a connection pooler."""
    replication_url_file: str | None = None
    """File that holds the replication URL."""
    password: SecretStr | None = None
    """The role's password, if it is not part of the URL."""
    password_file: str | None = None
    """File that holds the password; read at every connection, so that it may change."""
    password_command: str | None = None
    """Command that prints the password; run (without a shell) at every connection."""
    parameters: dict[str, Text] = {}
    """The driver's parameters, such as libpq's `sslmode` and `sslrootcert`; only those that are safe."""


class TopicSettings(Model):
    """How a topic is made. What is not set follows from `defaults`, then from the bridge."""

    partitions: Annotated[int, Field(ge=1)] | None = None
    """Partitions of a new topic (6)."""
    replication_factor: Annotated[int, Field(ge=-1)] | None = None
    """Copies of each partition; -1 (the default) is the broker's own."""
    min_insync_replicas: Annotated[int, Field(ge=1)] | None = None
    """Copies that must have a record before it counts as written; else the broker's own."""
    cleanup_policy: Literal["compact", "delete", "compact,delete"] | None = None
    """`compact` (the default) keeps the last event of each key, `delete` drops old ones."""
    retention: Duration | None = None
    """With `delete`: how long events are kept; else the broker's own."""
    retention_bytes: Size | None = None
    """With `delete`: how many bytes a partition keeps; else the broker's own."""
    delete_retention: Duration | None = None
    """With `compact`: how long a delete stays readable (7d); a consumer away for longer has a gap."""
    max_message_bytes: Size | None = None
    """The largest event the topic takes; else the broker's own."""


BUILT_IN = TopicSettings(partitions=6, replication_factor=-1, cleanup_policy="compact")
DELETE_RETENTION = 7 * 86400.0


class ConnectorSettings(Model):
    """What every kind of connector has."""

    databases: ClassVar[frozenset[str]] = frozenset({"postgresql"})
    """Kinds of databases that it can use: see `cdc.drivers.KINDS`."""

    type: str
    """The kind of connector."""

    def captured(self) -> Sequence[str] | None:
        """Names and patterns of `schema.table` whose events this connector publishes; None: cannot be known."""
        return None

    def other_topics(self, bridge: str) -> Sequence[str]:
        """Topics that this connector publishes to besides those of tables; `bridge` is the bridge's name."""
        return ()

    def goes_on(self) -> bool:
        """Whether it goes on where something else stopped: its topics may have events before its first start."""
        return False

    def event_topics(self, bridge: str) -> Sequence[str] | None:
        """Names and patterns of the topics that events of tables go to; None: cannot be known."""
        captured = self.captured()
        return None if captured is None else [names.topic_of_entry(bridge, entry) for entry in captured]

    def own_topics(self, bridge: str) -> Sequence[str]:
        """Those of the event topics that nobody else can mean: only this connector publishes to them."""
        return self.event_topics(bridge) or ()

    def formats(self) -> Set[str]:
        """The formats that it writes events in: entry points of `cdc.formats`."""
        return frozenset({"debezium-json"})

    def wrongs(self, settings: Settings, name: str) -> Iterable[Wrong]:
        """What does not fit together, judged without I/O, in this section `name` or with others.

        Sections that are wrong by themselves are absent from `settings` here.
        """
        return ()


class SinkBatchSettings(Model):
    """When a sink's batch closes: `linger` after its last event while the target is free, else at `rows` or `bytes`."""

    rows: Annotated[int, Field(ge=1, le=200_000)] = 5_000
    """At most this many events."""
    bytes: Size = 4 * 1024 * 1024
    """At most about this many bytes of keys and values; two batches are in memory at a time."""
    linger: Duration = 0.002
    """How long a batch waits for more events while the target is free."""


class SinkSettings(Model):
    """What every kind of sink has."""

    databases: ClassVar[frozenset[str]] = frozenset({"postgresql"})
    """As for `ConnectorSettings`."""

    type: str
    """The kind of sink."""
    topics: Annotated[list[str], Field(min_length=1)]
    """Topics, and patterns of topics, that are written to the target."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the partitions here; other machines may run more."""
    on_refused: Literal["stop", "dead_letter"] = "stop"
    """An event the target refuses: stop the sink, or put the event on `{name}.cdc.dead-letters`."""
    after_dead_letter: Literal["go_on", "wait"] = "go_on"
    """With `dead_letter`: later events of that key are applied, or put aside too until the first is retried."""
    batch: SinkBatchSettings = SinkBatchSettings()
    """When a batch closes."""

    def wrongs(self, settings: Settings, name: str) -> Iterable[Wrong]:
        """As for `ConnectorSettings`."""
        return ()


class ServerSettings(Model):
    """The local HTTP address that `cdc status` asks."""

    listen: str = "127.0.0.1:8083"
    """A loopback address and a port, `127.0.0.1:8083`: whoever reaches it may read the status."""
    token: SecretStr | None = None
    """Whoever changes something through it (`cdc snapshot`, `cdc heal`) must show this text; all may if not set."""
    token_file: str | None = None
    """File that holds the token."""

    @field_validator("listen")
    @classmethod
    def _loopback(cls, value: str) -> str:
        found = re.fullmatch(r"(127(?:\.\d{1,3}){3}|localhost|\[::1\]):(\d{1,5})|(.*)", value, re.DOTALL)
        if found and found[2] and int(found[2]) <= 65535:
            return value
        if re.fullmatch(r".+:\d{1,5}", value):
            raise ValueError("must be a loopback address: its status is open to all, such as 127.0.0.1:8083")
        raise ValueError("must be a loopback address and a port, such as 127.0.0.1:8083")

    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.listen.rsplit(":", 1)
        return host.strip("[]"), int(port)


class SpoolSettings(Model):
    """Where a worker puts on disk what it must hold and may not hold in memory."""

    folder: str | None = None
    """A folder that exists; the system's for temporary files if not set. Files in it are removed in any case."""
    quota: Annotated[Size, Field(ge=65_536)] = 8 * 1024**3
    """How much disk one worker may take."""


class Settings(BaseSettings):
    """Everything `cdc run` needs to know."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    name: Annotated[str, Field(max_length=64)]
    """The bridge's name: prefix of its topics, slots, groups and transactional ids."""
    kafka: KafkaSettings
    """The Kafka cluster, and how to speak to it."""
    schema_registry: SchemaRegistrySettings | None = None
    """Where formats that need one keep their schemas: `avro`."""
    databases: dict[str, DatabaseSettings] = {}
    """Databases by a name of your choice."""
    topics: dict[Pattern, TopicSettings] = {}
    """`defaults` for all topics; beside it topic names and patterns, the most specific one last."""
    connectors: dict[str, SerializeAsAny[ConnectorSettings]] = {}
    """What reads a source and publishes its changes."""
    sinks: dict[str, SerializeAsAny[SinkSettings]] = {}
    """What writes topics to a target."""
    server: ServerSettings = ServerSettings()
    """The local HTTP address."""
    spool: SpoolSettings = SpoolSettings()
    """Where a heal keeps what topics hold, while it compares."""

    _places: dict[Path, Place] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `cdc.config` merges files and environment, as it knows each key's place."""
        return (init_settings,)

    @field_validator("name")
    @classmethod
    def _fit_for_topics(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", value):
            raise ValueError("must be of a-z, 0-9, '.', '_' and '-', as it begins the names of topics; such as shop")
        return value

    def topic(self, name: str) -> TopicSettings:
        """How the topic `name` is declared: built in, then `defaults`, then patterns, the most specific last."""
        chosen = BUILT_IN
        chosen = chosen.model_copy(update=_given(self.topics.get("defaults")))
        if name in (names.message_topic(self.name), names.transaction_topic(self.name)):
            # Their keys name no row: compaction would lose all but the last of each.
            chosen = chosen.model_copy(update={"cleanup_policy": "delete"})
        for key in patterns.matching((k for k in self.topics if k != "defaults"), name):
            chosen = chosen.model_copy(update=_given(self.topics.get(key)))
        if "compact" in (chosen.cleanup_policy or "") and chosen.delete_retention is None:
            chosen = chosen.model_copy(update={"delete_retention": DELETE_RETENTION})
        return chosen

    def place(self, path: Path) -> Place:
        """Where `path`, or else the nearest section around it, was written."""
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path, Place(""))

    def knows(self, path: Path) -> bool:
        """Whether `path` is written somewhere, even if what is written there is wrong."""
        return path in self._places

    def keys(self, path: Path) -> list[str]:
        """The keys written right below `path`, wrong ones too."""
        depth = len(path)
        return [str(p[-1]) for p in self._places if len(p) == depth + 1 and p[:depth] == path]

    def problem(self, path: Path, message: str, suggestion: str | None = None) -> Problem:
        """A problem with what is written at `path`."""
        place = self.place(path)
        return Problem(message, dotted(path), place.file, place.line, suggestion)


def fit_for_groups(name: str) -> bool:
    """Whether a connector or sink may be called so: no dots, or two groups could have one name."""
    return re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) is not None


def place_settings(settings: Settings, places: Mapping[Path, Place]) -> Settings:
    """Tell `settings` where each key was written; returns it."""
    settings._places.update(places)
    return settings


def _given(topic: TopicSettings | None) -> dict[str, Any]:
    return topic.model_dump(exclude_none=True) if topic else {}
