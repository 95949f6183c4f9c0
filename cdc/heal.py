"""`cdc heal` of a connector: what is missing, what it takes, and beginning it. Touches the source and Kafka.

The source's lock is held meanwhile, so that nothing else reads or publishes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from cdc import homes, names, topics
from cdc.connector import Connector, Stopped
from cdc.errors import CdcError, Gap, Refused
from cdc.event import EventTopic
from cdc.failpoints import reach
from cdc.kafka import client
from cdc.offsets import committed
from cdc.pipeline import run_connector
from cdc.plugins import connector_plugins
from cdc.position import Position
from cdc.publisher import Publisher
from cdc.schemas import read
from cdc.settings import Settings

LOCK_SECONDS = 15.0
"""How long a worker that is about to end may hold the source's lock."""

LOOK_SECONDS = 0.2
"""How often a heal that runs here is looked at."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What a heal does about one table.

    Args:
        table, topic: their names.
        how: `difference`, or `snapshot` (every row is published again).
        rows: about how many there are; None if that is not known.
        note: what cannot be mended, or None.
    """

    table: str
    topic: str
    how: str
    rows: int | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a heal of a connector would do.

    Args:
        connector: its name.
        gap: what is missing; None if nothing is.
        begun: whether a heal was begun and has not ended.
        tables: in order of their names.
    """

    connector: str
    gap: str | None
    begun: bool
    tables: tuple[TablePlan, ...]


def plan(settings: Settings, name: str) -> Plan:
    """Look what is missing. Changes nothing.

    Raises: Refused: the connector runs; and what the source and Kafka say.
    """
    gap, begun = _look(settings, name)
    tables = _tables(settings, name) if gap is not None or begun else ()
    return Plan(name, gap.message if gap is not None else None, begun, tuple(tables))


def begin(settings: Settings, name: str) -> None:
    """Store that the next start heals. Of a killed call nothing or all is stored.

    Raises: Refused: the connector runs; and what the source and Kafka say.
    """
    connector, publisher = _create(settings, name), Publisher(settings, name)
    try:
        with _locked(connector, name):
            stored = publisher.take_over()
            healing = connector.heal_position(stored if stored is not None else _described(settings, name))
            reach("heal.before_intent")
            publisher.begin_heal(healing)
            reach("heal.after_intent")
    finally:
        publisher.close()


def run(settings: Settings, name: str, tell: Callable[[str], None]) -> None:
    """Run the connector here until nothing is left to heal.

    Args:
        tell: called with a line about the progress, now and then.
    Raises: what `run_connector` raises.
    """
    connector, publisher = _create(settings, name), Publisher(settings, name)
    ended = threading.Event()

    def watch() -> None:
        began, told = False, ""
        while not ended.wait(LOOK_SECONDS):
            status = connector.status()
            healing = bool(status.get("healing"))
            text = progress(status)
            if text != told:
                tell(text)
                told = text
            began = began or healing
            if began and not healing:
                connector.stop()
                return

    watcher = threading.Thread(target=watch, name="heal", daemon=True)
    watcher.start()
    try:
        run_connector(connector, publisher)
    finally:
        ended.set()
        watcher.join()


def plan_table(topic: EventTopic, expires: bool | None, rows: int | None) -> TablePlan:
    """What a heal does about the table of a topic.

    Args:
        expires: whether the topic forgets events by time or size; None: it is not there.
        rows: about how many.
    """

    def planned(how: str, note: str | None = None) -> TablePlan:
        return TablePlan(topic.table, topic.topic, how, rows, note)

    every = "every row is published again"
    if not topic.key_columns:
        return planned("snapshot", f"the table has no key: {every}, deletes in the gap cannot be known")
    if not topic.distinct:
        return planned("snapshot", f"its key does not tell rows apart: {every}, deletes in the gap cannot be known")
    if expires is None:
        return planned("snapshot", "the topic is not there: it is made again; its readers have a gap of their own")
    if expires:
        why = "the topic keeps events for a time only"
        return planned("snapshot", f"{why}: {every}, deletes of rows that expired there cannot be known")
    return planned("difference")


def progress(status: dict[str, object]) -> str:
    """How far a connector that heals is, in a line."""
    snapshot = status.get("snapshot")
    if isinstance(snapshot, dict) and snapshot.get("rows") is not None:
        return f"{status['state']}: {snapshot['rows']:,} rows compared, {snapshot.get('percent', 0)} %"
    return str(status["state"])


def _look(settings: Settings, name: str) -> tuple[Gap | None, bool]:
    """What is missing, and whether a heal was begun."""
    connector, publisher = _create(settings, name), Publisher(settings, name)
    try:
        with _locked(connector, name):
            stored = publisher.look()
            try:
                publisher.check()
                connector.start(stored)
            except Gap as gap:
                return gap, False
            return None, connector.healing()
    finally:
        publisher.close()


@contextmanager
def _locked(connector: Connector, name: str) -> Iterator[None]:
    """The source's lock. Raises: Refused when another copy does not give it."""
    timer = threading.Timer(LOCK_SECONDS, connector.stop)
    timer.daemon = True
    timer.start()
    try:
        with connector.lock():
            timer.cancel()
            yield
    except Stopped:
        raise Refused(
            f"connector {name} runs: its worker holds the source's lock",
            hint="only what is in `gap` can be healed; `cdc status` shows how it is",
        ) from None
    finally:
        timer.cancel()


def _create(settings: Settings, name: str) -> Connector:
    section = settings.connectors[name]
    return connector_plugins()[section.type].create(settings, name, section)


def _tables(settings: Settings, name: str) -> Iterator[TablePlan]:
    section = settings.connectors[name]
    captured = connector_plugins()[section.type].tables(settings, name, section)
    admin = client(AdminClient, settings.kafka)
    there = homes.look(admin, [table.topic.topic for table in captured])
    configs = topics.existing_configuration(admin, there) if there else {}
    for table in sorted(captured, key=lambda each: each.topic.table):
        config = configs.get(table.topic.topic)
        yield plan_table(table.topic, None if config is None else topics.expires(config), table.rows)


def _described(settings: Settings, name: str) -> Position | None:
    """In place of a position that is gone: the newest one that the descriptions of the tables name."""
    topic = names.schemas_topic(settings.name)
    if not homes.look(client(AdminClient, settings.kafka), [topic]):
        return None
    newest = ""
    for messages in committed(settings.kafka, topic, 1, lambda: False):
        for message in messages:
            value = message.value()
            if value is not None:
                newest = max(newest, _position_of(value))
    return Position(newest) if newest else None


def _position_of(description: bytes) -> str:
    try:
        return read(description).position
    except (ValueError, KeyError, TypeError) as error:
        raise CdcError(f"the schemas topic holds what this release cannot read: {error}") from error
