"""Connector `postgres_wal`: reads PostgreSQL's write-ahead log by logical replication (pgoutput)."""

from __future__ import annotations

from cdc.plugins import ConnectorPlugin

from .captured import tables
from .check import check
from .connector import PostgresWalConnector
from .settings import PostgresWalSettings
from .watch import watch

plugin = ConnectorPlugin(
    settings=PostgresWalSettings, create=PostgresWalConnector, check=check, tables=tables, watch=watch
)
"""What the entry point `cdc.connectors` names."""
