"""Connector `sql_poll`: reads tables and queries by SQL, on a schedule; needs no write-ahead log."""

from __future__ import annotations

from cdc.plugins import ConnectorPlugin

from .check import check, tables
from .connector import SqlPollConnector
from .settings import SqlPollSettings

plugin = ConnectorPlugin(settings=SqlPollSettings, create=SqlPollConnector, check=check, tables=tables)
"""What the entry point `cdc.connectors` names."""
