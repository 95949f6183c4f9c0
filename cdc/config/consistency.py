"""What must fit together across the sections of the settings. Pure.

The last functions need facts from a database; connectors call them and get a problem that names
the line in the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

from cdc import databases, kafka, names, patterns
from cdc.errors import Problem
from cdc.settings import ConnectorSettings, Path, Settings, SinkSettings, Wrong, fit_for_groups


def problems_of(settings: Settings) -> Iterator[Problem]:
    """Everything that can be judged without I/O. Sections that are wrong by themselves may be absent."""
    for path, wrong in _wrongs(settings):
        yield settings.problem((*path, *wrong.path), wrong.message, wrong.suggestion)


def _wrongs(settings: Settings) -> Iterator[tuple[Path, Wrong]]:
    yield from ((("kafka",), wrong) for wrong in kafka.wrongs_of(settings.kafka))
    if settings.schema_registry is not None:
        yield from ((("schema_registry",), wrong) for wrong in settings.schema_registry.wrongs())
    for name, database in settings.databases.items():
        yield from ((("databases", name), wrong) for wrong in databases.wrongs_of(database))
    yield from ((("topics",), wrong) for wrong in _topic_wrongs(settings))
    for kind, sections in (("connectors", settings.connectors), ("sinks", settings.sinks)):
        for name, section in sections.items():
            if not fit_for_groups(name):
                yield (kind, name), Wrong((), "its name must be of a-z, 0-9, '_' and '-', as groups are named after it")
            yield from (((kind, name), wrong) for wrong in _database_wrongs(settings, section))
            yield from (((kind, name), wrong) for wrong in section.wrongs(settings, name))
    if settings.name:
        yield from (((), wrong) for wrong in _collision_wrongs(settings))
        yield from (((), wrong) for wrong in _topics_nobody_fills(settings))


def _topic_wrongs(settings: Settings) -> Iterator[Wrong]:
    for key, own in settings.topics.items():
        merged = settings.topic(key)
        policy = merged.cleanup_policy or ""
        for setting, needed in (
            ("retention", "delete"),
            ("retention_bytes", "delete"),
            ("delete_retention", "compact"),
        ):
            if getattr(own, setting) is not None and needed not in policy:
                suggestion = f"add cleanup_policy: {needed} or compact,delete"
                yield Wrong((key, setting), f"has no effect with cleanup_policy {policy}", suggestion)
        copies, in_sync = merged.replication_factor or -1, merged.min_insync_replicas or 1
        if own.replication_factor == 0:
            yield Wrong((key, "replication_factor"), "must be at least 1, or -1 for the broker's own")
        elif copies > 0 and in_sync > copies:
            setting = "min_insync_replicas" if own.min_insync_replicas else "replication_factor"
            message = (
                f"min_insync_replicas {in_sync} is more than replication_factor {copies}: nothing could be written"
            )
            yield Wrong((key, setting), message)


def _database_wrongs(settings: Settings, section: ConnectorSettings | SinkSettings) -> Iterator[Wrong]:
    wanted = getattr(section, "database", None)
    if isinstance(wanted, str) and not settings.knows(("databases", wanted)):
        known = settings.keys(("databases",))
        yield Wrong(("database",), f"there is no database {wanted}", _nearest(wanted, known, "databases"))
    elif isinstance(wanted, str) and wanted in settings.databases:
        kind = databases.kind(settings.databases[wanted])
        if kind and kind not in section.databases:
            usable = ", ".join(f"{one}://" for one in sorted(section.databases))
            message = f"database {wanted} is of a kind ({kind}) that {section.type} cannot use"
            yield Wrong(("database",), message, f"name one whose url begins with {usable}, or choose another type")


def _captured(settings: Settings) -> dict[str, list[str]] | None:
    """Connector → its names and patterns of tables; None when that cannot be known."""
    captured: dict[str, list[str]] = {}
    for name in settings.keys(("connectors",)):
        section = settings.connectors.get(name)
        tables = section.captured() if section else None
        if tables is None:
            return None
        captured[name] = list(tables)
    return captured


def _topics_nobody_fills(settings: Settings) -> Iterator[Wrong]:
    if _captured(settings) is None:
        return
    filled = [topic for one in settings.connectors.values() for topic in one.event_topics(settings.name) or ()]
    for name, sink in settings.sinks.items():
        for number, topic in enumerate(sink.topics):
            if patterns.is_expression(topic):
                message = "is a regular expression, which only tables may be chosen by"
                yield Wrong(("sinks", name, "topics", number), message, "name a pattern with * and ?")
                continue
            rowless = topic in names.rowless_topics(settings.name)
            if not rowless and any(_may_meet(topic, other) for other in filled):
                continue
            suggestion = _nearest(topic, filled, "topics of the connectors")
            if rowless:
                suggestion = "messages, transactions and the bridge's own topics hold no rows"
            yield Wrong(("sinks", name, "topics", number), f"no connector captures {topic}", suggestion)


def _collision_wrongs(settings: Settings) -> Iterator[Wrong]:
    tables: dict[tuple[str, str], Path] = {}
    for connector, entries in (_captured(settings) or {}).items():
        for table in entries:
            schema, dot, rest = table.partition(".")
            if patterns.is_pattern(table) or not dot:
                continue
            if names.event_topic(settings.name, schema, rest) not in _topics(settings, connector):
                continue
            path: Path = ("connectors", connector, "tables", table)
            other = tables.setdefault((schema, rest), path)
            if other[1] != connector:
                message = f"is captured by connector {other[1]} too, into the same topic"
                yield Wrong(path, message, "leave it to one of them, or give them bridges of different names")
    for topic, owners in names.collisions(settings.name, tables).items():
        message = f"topic {topic} would belong to {' and '.join(owners)}"
        schema, _, rest = owners[-1].partition(".")
        yield Wrong(tables[(schema, rest)], message, "capture them by bridges of different names")


def _topics(settings: Settings, connector: str) -> Collection[str]:
    return settings.connectors[connector].event_topics(settings.name) or ()


def _may_meet(one: str, other: str) -> bool:
    """Whether a name or pattern of a sink can mean what a connector's name or pattern means."""
    if not patterns.is_pattern(one):
        return bool(patterns.matching([other], one))
    if not patterns.is_pattern(other):
        return bool(patterns.matching([one], other))
    # Two patterns: whether they can meet is judged by what stands before their first wildcards.
    left, right = patterns.beginning(one), patterns.beginning(other)
    return left.startswith(right) or right.startswith(left)


def _nearest(word: str, among: Iterable[str], what: str) -> str | None:
    known = sorted(set(among))
    close = get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"{what}: {', '.join(known[:8])}" if known else f"there are no {what} yet"


def nothing_matches(settings: Settings, connector: str, table: str, existing: Iterable[str]) -> Problem:
    """The problem of an entry under `tables:` that matches none of the database's tables.

    Args:
        table: the entry, a name or a pattern.
        existing: "schema.table" of all tables there are.
    """
    path: Path = ("connectors", connector, "tables", table)
    what = "this pattern" if patterns.is_pattern(table) else "this name"
    return settings.problem(path, f"no table has {what}", _nearest(table, existing, "tables there"))


def truncates_on_compacted(settings: Settings, connector: str, entry: str, table: str, topic: str) -> Problem | None:
    """The problem of truncates, whose markers have no key, on a compacted topic; arguments as for the next."""
    if "compact" not in (settings.topic(topic).cleanup_policy or ""):
        return None
    path: Path = ("connectors", connector, "tables", entry)
    message = f"truncates of table {table} are to be published, but its topic {topic} is compacted"
    suggestion = f'truncates: skip, or topics: {{"{topic}": {{cleanup_policy: delete}}}}'
    return settings.problem(path, message, suggestion)


def keyless_on_compacted(settings: Settings, connector: str, entry: str, table: str, topic: str) -> Problem | None:
    """The problem of a table without key whose topic is compacted; None if its topic is not.

    A broker refuses records without a key on a compacted topic.

    Args:
        entry: the entry under `tables:` that captured it, a name or a pattern.
        table: "schema.table".
        topic: its event topic.
    """
    if "compact" not in (settings.topic(topic).cleanup_policy or ""):
        return None
    path: Path = ("connectors", connector, "tables", entry)
    message = f"table {table} has no key, but its topic {topic} is compacted"
    suggestion = f'add a primary key, or message_key: […], or topics: {{"{topic}": {{cleanup_policy: delete}}}}'
    return settings.problem(path, message, suggestion)
