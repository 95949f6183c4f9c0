"""What a connector or sink plugin offers, and how the core finds it: by entry point.

A plugin's package names one object in its entry point (`cdc.connectors` or `cdc.sinks`):

    [project.entry-points."cdc.connectors"]
    postgres_wal = "connectors.postgres_wal:plugin"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from cdc.connector import Connector
    from cdc.event import EventTopic
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
class CapturedTable:
    """A table that a connector captures.

    Args:
        topic: where its events go.
        rows: about how many it has; None if that is not known.
    """

    topic: EventTopic
    rows: int | None


@dataclass(frozen=True, slots=True)
class ConnectorPlugin:
    """A kind of connector.

    Args:
        settings: the model of its section under `connectors:`.
        create: (all settings, the connector's name, its section) → a connector.
        check: the same arguments → findings; connects, changes nothing.
        tables: the same arguments → the captured tables, as they are now; connects, changes nothing.
        watch: the same arguments, and why the connector is down → a context with a function that is
            called now and then, answers what the source keeps for it (figures of `Connector.status`),
            and raises Gap when it has made the source give that up. None: nothing is kept.
    """

    settings: type[ConnectorSettings]
    create: Callable[[Settings, str, Any], Connector]
    check: Callable[[Settings, str, Any], Iterable[Finding]]
    tables: Callable[[Settings, str, Any], Sequence[CapturedTable]] = lambda settings, name, section: ()
    watch: Callable[[Settings, str, Any, str], AbstractContextManager[Callable[[], dict[str, Any]]]] | None = None


class Rebuild(Protocol):
    """What mends the gaps of a sink: shown first, then done."""

    @property
    def lines(self) -> Sequence[str]:
        """What is wrong, and what `apply` does about it; empty: nothing is to be done."""
        ...

    def apply(self) -> Sequence[str]:
        """Do it, all or nothing: running members start over, and go on with it until it is done.

        Returns: what was done.
        """
        ...


@dataclass(frozen=True, slots=True)
class SinkPlugin:
    """A kind of sink; arguments as for `ConnectorPlugin`, with the sink's name and section.

    Args:
        rebuild: … and names or patterns of topics (none: those with a gap), and `remove=True` if rows that a
            topic does not have are to go even where it may lack events of rows that there are → what mends it.
            None: this kind of sink cannot be rebuilt.
    """

    settings: type[SinkSettings]
    create: Callable[[Settings, str, Any], Sink]
    check: Callable[[Settings, str, Any], Iterable[Finding]]
    rebuild: Callable[[Settings, str, Any, Sequence[str], bool], Rebuild] | None = None


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
