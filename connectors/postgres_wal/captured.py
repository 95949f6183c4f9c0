"""The captured tables and their topics, for who plans something about them. Touches the database, reads only."""

from __future__ import annotations

from cdc.databases import conninfo
from cdc.plugins import CapturedTable
from cdc.settings import Settings

from . import catalog
from .settings import PostgresWalSettings
from .tables import Planner


def tables(settings: Settings, name: str, section: PostgresWalSettings) -> list[CapturedTable]:
    """Raises: SourceUnavailable, SourceError; ConfigError: a table that cannot be captured."""
    subject = f"connector {name}"
    database = settings.databases[section.database]
    session = catalog.connect(conninfo(database, application_name=f"cdc {settings.name}.{name}"), subject)
    try:
        found = catalog.captured_tables(session, section.tables, subject, section.partitions)
        planned = Planner(settings, name, section, session, subject).plan_all(found)
        rows = {table.full_name: table.estimated_rows for table in found}
    finally:
        session.close()
    estimates = ((table.event_topic, rows[table.full_name]) for table in planned)
    return [CapturedTable(topic, None if estimate < 0 else estimate) for topic, estimate in estimates]
