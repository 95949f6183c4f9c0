"""What a connector or sink plugin offers, and how the core finds it: by entry point.

A plugin's package names one object in its entry point (`cdc.connectors` or `cdc.sinks`):

    [project.entry-points."cdc.connectors"]
    postgres_wal = "connectors.postgres_wal:plugin"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from cdc.connector import Connector
    from cdc.settings import ConnectorSettings, Settings, SinkSettings
    from cdc.sink import Sink

Plugin = TypeVar("Plugin")


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
        watch: the same arguments, and why the connector is down → a context with a function that is
            called now and then, answers what the source keeps for it (figures of `Connector.status`),
            and raises Gap when it has made the source give that up. None: nothing is kept.
    """

    settings: type[ConnectorSettings]
    create: Callable[[Settings, str, Any], Connector]
    check: Callable[[Settings, str, Any], Iterable[Finding]]
    watch: Callable[[Settings, str, Any, str], AbstractContextManager[Callable[[], dict[str, Any]]]] | None = None


@dataclass(frozen=True, slots=True)
class SinkPlugin:
    """A kind of sink; arguments as for `ConnectorPlugin`, with the sink's name and section."""

    settings: type[SinkSettings]
    create: Callable[[Settings, str, Any], Sink]
    check: Callable[[Settings, str, Any], Iterable[Finding]]


class Plugins(Mapping[str, Plugin]):
    """The installed plugins of one kind, by the `type` that names them in the YAML; imported when looked up."""

    def __init__(self, group: str) -> None:
        self._points = {point.name: point for point in entry_points(group=group)}

    def __getitem__(self, name: str) -> Plugin:
        plugin: Plugin = self._points[name].load()
        return plugin

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)


@cache
def connector_plugins() -> Plugins[ConnectorPlugin]:
    """All installed kinds of connector."""
    return Plugins("cdc.connectors")


@cache
def sink_plugins() -> Plugins[SinkPlugin]:
    """All installed kinds of sink."""
    return Plugins("cdc.sinks")
