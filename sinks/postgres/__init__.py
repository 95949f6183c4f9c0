"""The sink `postgres`: topics into tables of a PostgreSQL database. See docs/sink-postgres.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cdc.plugins import Finding, Rebuild, SinkPlugin
from sinks.postgres.settings import PostgresSinkSettings

if TYPE_CHECKING:
    from cdc.settings import Settings
    from cdc.sink import Sink


def _create(settings: Settings, name: str, section: PostgresSinkSettings) -> Sink:
    from sinks.postgres.create import create  # a command that only reads settings needs no drivers

    return create(settings, name, section)


def _check(settings: Settings, name: str, section: PostgresSinkSettings) -> Iterable[Finding]:
    from sinks.postgres.check import check

    return check(settings, name, section)


def _rebuild(
    settings: Settings, name: str, section: PostgresSinkSettings, topics: Sequence[str], remove: bool
) -> Rebuild:
    from sinks.postgres.rebuild import Rebuild

    return Rebuild(settings, name, section, topics, remove=remove)


plugin = SinkPlugin(settings=PostgresSinkSettings, create=_create, check=_check, rebuild=_rebuild)
