"""Connections to the source as this connector needs them. Touches the network."""

from __future__ import annotations

from dataclasses import dataclass

from cdc.databases import conninfo
from cdc.formats.postgres.types import session_settings
from cdc.settings import DatabaseSettings

from . import catalog
from .replication import ReplicationConnection

IDLE_TIMEOUT = "120s"
"""Longer than any step of a start between two commands on the replication connection."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """How to connect.

    Args:
        database: where.
        application: the name that the server's views show.
        timeout: seconds without a sign of life after which the server ends a replication session.
        subject: what to call the connector in errors.
        quirks: whether the text of values is as Debezium gets it.
    """

    database: DatabaseSettings
    application: str
    timeout: float
    subject: str
    quirks: bool = False

    @property
    def conninfo(self) -> str:
        """Of a normal connection."""
        return conninfo(self.database, application_name=self.application)

    def catalog(self) -> catalog.Session:
        """A session for catalog queries. Raises: SourceUnavailable, SourceError."""
        return catalog.connect(self.conninfo, self.subject, quirks=self.quirks)

    def replication(self) -> ReplicationConnection:
        """A replication session that frees what it holds when we hang. Raises: SourceUnavailable, SourceError."""
        info = conninfo(self.database, replication=True, application_name=self.application)
        connection = ReplicationConnection(info, self.subject)
        watched = {
            "wal_sender_timeout": str(round(self.timeout * 1000)),
            # Before streaming nothing else would end the session of a copy that hangs with the lock.
            "idle_session_timeout": IDLE_TIMEOUT,
            "idle_in_transaction_session_timeout": IDLE_TIMEOUT,
        }
        try:
            for setting, value in {**session_settings(quirks=self.quirks), **watched}.items():
                connection.execute(f"SET {setting} = '{value}'")
        except BaseException:
            connection.close()
            raise
        return connection
