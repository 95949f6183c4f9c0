"""Which kind of source a database is. Imports what that needs."""

from __future__ import annotations

from collections.abc import Callable

from cdc.databases import kind
from cdc.settings import Settings

from .settings import SqlPollSettings
from .source import Source


def source_of(
    settings: Settings, name: str, section: SqlPollSettings, check: Callable[[], None] = lambda: None
) -> Source:
    """The source that a connector polls.

    Args:
        settings, name, section: of the connector.
        check: called while rows are read; raises when it is time to stop.
    Raises: ConfigError: its driver is not installed.
    """
    if kind(settings.databases[section.database]) == "postgresql":
        from .postgres_source import PostgresSource

        return PostgresSource(settings, name, section, check)
    from .generic_source import GenericSource

    return GenericSource(settings, name, section)
