"""Connector `postgres_wal`: reads PostgreSQL's write-ahead log by logical replication (pgoutput)."""

from __future__ import annotations

from cdc.plugins import ConnectorPlugin

from .check import check
from .connector import PostgresWalConnector
from .settings import PostgresWalSettings

plugin = ConnectorPlugin(settings=PostgresWalSettings, create=PostgresWalConnector, check=check)
"""What the entry point `cdc.connectors` names."""
