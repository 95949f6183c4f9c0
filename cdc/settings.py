"""The models of the YAML: names, types, defaults, and what each setting means. No I/O.

`cdc.config` reads files and the environment into these. A plugin's own section is a
subclass of `ConnectorSettings` or `SinkSettings` that its entry point names.
"""

from __future__ import annotations

import fnmatch
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

# Parsing of "5s", "7d", "16MiB": see Duration and Size.


class Model(BaseModel):
    """Base of every section: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(Model):
    bootstrap_servers: str
    properties: dict[str, str] = {}


class DatabaseSettings(Model):
    url: SecretStr
    replication_url: SecretStr | None = None
    password_file: str | None = None
    password_command: str | None = None
    parameters: dict[str, str] = {}


class TopicSettings(Model):
    partitions: int | None = None
    replication_factor: int | None = None
    min_insync_replicas: int | None = None
    cleanup_policy: Literal["compact", "delete", "compact,delete"] | None = None
    retention: timedelta | None = None
    retention_bytes: int | None = None
    delete_retention: timedelta | None = None
    max_message_bytes: int | None = None


class ConnectorSettings(Model):
    """What every kind of connector has."""

    type: str


class SinkSettings(Model):
    """What every kind of sink has."""

    type: str
    topics: list[str]
    workers: int = 1
    on_refused: Literal["stop", "dead_letter"] = "stop"


class ServerSettings(Model):
    listen: str = "127.0.0.1:8083"


class Settings(Model):
    name: str
    kafka: KafkaSettings
    databases: dict[str, DatabaseSettings] = {}
    topics: dict[str, TopicSettings] = {}
    connectors: dict[str, Any] = {}
    sinks: dict[str, Any] = {}
    server: ServerSettings = ServerSettings()
