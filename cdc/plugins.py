"""What a connector or sink plugin offers, and how the core finds it: by entry point.

A plugin's package names one object in its entry point (`cdc.connectors` or `cdc.sinks`):

    [project.entry-points."cdc.connectors"]
    postgres_wal = "connectors.postgres_wal:plugin"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cdc.connector import Connector
    from cdc.settings import ConnectorSettings, Settings, SinkSettings
    from cdc.sink import Sink


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `cdc check`: what was looked at, what is wrong, the line that mends it.

    Args:
        level: `ok`, `note`, `warning` (works, but…) or `error` (would not run).
        subject: what it is about ("connector warehouse: wal_level").
        message: what was found.
        mend: the exact SQL, shell or YAML line, or None.
    """

    level: Literal["ok", "note", "warning", "error"]
    subject: str
    message: str
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectorPlugin:
    """A kind of connector.

    Args:
        settings: the model of its section under `connectors:`.
        create: (all settings, the connector's name, its section) → a connector.
        check: the same arguments → findings; connects, changes nothing.
    """

    settings: type[ConnectorSettings]
    create: Callable[[Settings, str, Any], Connector]
    check: Callable[[Settings, str, Any], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class SinkPlugin:
    """A kind of sink; arguments as for `ConnectorPlugin`, with the sink's name and section."""

    settings: type[SinkSettings]
    create: Callable[[Settings, str, Any], Sink]
    check: Callable[[Settings, str, Any], Iterable[Finding]]


@cache
def connector_plugins() -> dict[str, ConnectorPlugin]:
    """All installed kinds of connector, by the `type` that names them in the YAML."""
    return {point.name: point.load() for point in entry_points(group="cdc.connectors")}


@cache
def sink_plugins() -> dict[str, SinkPlugin]:
    """All installed kinds of sink, by the `type` that names them in the YAML."""
    return {point.name: point.load() for point in entry_points(group="cdc.sinks")}
