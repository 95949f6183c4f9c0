"""Settings → a sink that is connected. Touches the target."""

from __future__ import annotations

from typing import Any

import psycopg

from cdc import names
from cdc.connections import WatchedConnection
from cdc.databases import conninfo, masked
from cdc.formats.contract import reader_of
from cdc.schema_reader import SchemaReader
from cdc.settings import DatabaseSettings, Settings
from sinks.postgres.offsets import APPLICATION
from sinks.postgres.settings import PostgresSinkSettings
from sinks.postgres.sink import PostgresSink


def create(settings: Settings, name: str, section: PostgresSinkSettings) -> PostgresSink:
    """The sink `name`, connected.

    Raises:
        TargetUnavailable, SinkError: the target cannot be reached, or refuses.
    """
    database = settings.databases[section.database]
    group = names.group_id(settings.name, name)
    return PostgresSink(
        section,
        group,
        connect=lambda: connect(database, f"{APPLICATION} {group}"),
        shown=masked(database.url),
        descriptions=SchemaReader(settings),
        reader=lambda formats: reader_of(settings, formats),
    )


def connect(database: DatabaseSettings, application: str) -> psycopg.Connection[Any]:
    """A connection in autocommit."""
    return WatchedConnection.connect(conninfo(database, application_name=application), autocommit=True)
