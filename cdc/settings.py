"""The models of the YAML: names, types, defaults, and what each setting means. No I/O.

`cdc.config` reads files and the environment into these. A plugin's own section is a
subclass of `ConnectorSettings` or `SinkSettings` that its entry point names.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"B": 1, "kB": 1000, "KB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GB": 1000**3, "GiB": 1024**3}


def _scaled(value: Any, units: dict[str, Any], example: str) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", value)
    if not found or found[2] not in units:
        raise ValueError(f"expected a number and one of {', '.join(units)}, such as {example}")
    return float(found[1]) * units[found[2]]


Duration = Annotated[float, BeforeValidator(lambda value: _scaled(value, _SECONDS, "5s"))]
"""Seconds; written as `500ms`, `5s`, `10m`, `7d`, or a bare number of seconds."""

Size = Annotated[int, BeforeValidator(lambda value: _scaled(value, _BYTES, "16MiB"))]
"""Bytes; written as `16MiB`, `1GB`, or a bare number of bytes."""


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
    retention: Duration | None = None
    retention_bytes: Size | None = None
    delete_retention: Duration | None = None
    max_message_bytes: Size | None = None


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
