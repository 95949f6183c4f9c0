"""`cdc check` for a sql_poll connector: what is missing, and the line that mends it. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from cdc.errors import CdcError, ConfigError
from cdc.event import EventTopic
from cdc.plugins import CapturedTable, Finding
from cdc.settings import Settings

from .settings import SqlPollSettings
from .source import Found, Source
from .sources import source_of


def check(settings: Settings, name: str, section: SqlPollSettings) -> Iterator[Finding]:
    """Connect as the connector would and look at everything it needs; changes nothing."""
    subject = f"connector {name}"
    source = source_of(settings, name, section)
    try:
        with source.connect() as connection:
            wrong: list[tuple[str, CdcError]] = []
            found = source.find(connection, lambda table, error: wrong.append((table, error)))
            for table, error in wrong:
                if isinstance(error, ConfigError):
                    for problem in error.problems:
                        yield Finding("error", f"{subject}: {problem.path}", problem.message, problem.suggestion)
                else:
                    yield Finding("error", f"{subject}: {table}", error.message, error.hint)
            yield Finding("ok", subject, f"polls {len(found)} tables and queries, {section.schedule}")
            if why := source.busy(connection):
                yield Finding("note", subject, f"polls are put off now: {why}", "see busy")
            for one in found:
                yield from _table(source, connection, subject, one)
    except CdcError as error:
        yield Finding("error", subject, error.message, error.hint)


def tables(settings: Settings, name: str, section: SqlPollSettings) -> Sequence[CapturedTable]:
    """What is polled; how many rows there are is not asked."""
    source = source_of(settings, name, section)
    with source.connect() as connection:
        return [
            CapturedTable(EventTopic(one.polled.topic, one.polled.name, one.polled.key), None)
            for one in source.find(connection, lambda table, error: None)
        ]


def _table(source: Source, connection: sa.Connection, subject: str, found: Found) -> Iterator[Finding]:
    polled = found.polled
    what = f"{subject}: {polled.name}"
    yield from source.advise(connection, found, what)
    if polled.options.mode == "full":
        yield Finding("note", what, "every row is read at every poll", "mode: another one, if changes can be told")
    if polled.options.deletes in (None, "none") and polled.options.mode not in ("full", "incrementing"):
        yield Finding("warning", what, "deletes are not captured", "deletes: log or compare")
    if polled.options.look_back is not None:
        message = f"what is committed more than {polled.options.look_back:g} s after it was written is missed"
        yield Finding("note", what, message, "leave look_back out where the source can be asked (PostgreSQL)")
