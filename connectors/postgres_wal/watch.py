"""Looks after the slot of a connector that is down: figures, warnings, the limit. Touches the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cdc.databases import conninfo
from cdc.settings import Settings

from . import catalog
from .retention import Retention
from .settings import PostgresWalSettings

STATEMENT_TIMEOUT = "5s"


@contextmanager
def watch(
    settings: Settings, name: str, section: PostgresWalSettings, why: str
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Connects; what it gives looks at the slot, and drops it where the settings want that.

    Args:
        name, section: the connector's.
        why: what is wrong with it.
    Raises:
        Gap: the slot was dropped.
        SourceUnavailable, SourceError.
    """
    subject = f"connector {name}"
    retention = Retention(section.retained_wal, section.slot_name(settings, name), name, why=why)
    application = f"cdc {settings.name}.{name} watch"
    with catalog.connect(
        conninfo(settings.databases[section.database], application_name=application), subject
    ) as session:
        with catalog.reading(subject):
            session.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'")
        yield lambda: retention.look(session)
