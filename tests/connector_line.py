"""One connector from a real database to a real Kafka, in threads of the test; it can be cut off behind any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from time import monotonic, sleep
from typing import Any

import orjson

from cdc import names
from cdc.config import parse
from cdc.connector import Connector
from cdc.errors import Interrupted
from cdc.event import Batch
from cdc.pipeline import run_connector
from cdc.plugins import connector_plugins
from cdc.prove.observed import messages, topics_of
from cdc.publisher import Publisher
from cdc.settings import Settings
from cdc.testing.servers import KafkaServer
from tests.databases import Database

SECONDS = 60.0

Value = dict[str, Any]


class Cut(Interrupted):
    """What a test does to a connector; nothing of it is stored behind the last batch."""


class CutPublisher(Publisher):
    """Publishes, and ends the connector behind the batch that the test chooses.

    Args:
        cut: asked after each batch was stored.
    """

    def __init__(self, settings: Settings, connector: str, cut: Callable[[Batch], bool]) -> None:
        super().__init__(settings, connector)
        self._cut = cut

    def publish(self, batch: Batch) -> None:
        ledger = batch.position.ledger
        super().publish(batch)
        if self._cut(Batch([], batch.position, batch.topics, batch.complete)) and ledger is not None:
            raise Cut("cut off by the test")


class Line:
    """One connector.

    Args:
        name: the bridge's.
        kafka, database: where to and from; of a database that is not PostgreSQL its URL.
    """

    def __init__(self, name: str, kafka: KafkaServer, database: Database | str) -> None:
        self.name, self.kafka, self.database = name, kafka, database
        self.url = database.url() if isinstance(database, Database) else database
        self.policy = "compact"

    def settings(self, tables: list[Any] | dict[str, Any], **section: Any) -> Settings:
        """One partition a topic, so that what a test sees is in order; `section` adds to the connector's."""
        document = {
            "name": self.name,
            "kafka": {"bootstrap_servers": self.kafka.bootstrap_servers},
            "databases": {"warehouse": {"url": self.url}},
            "topics": {"defaults": {"partitions": 1, "replication_factor": 1, "cleanup_policy": self.policy}},
            "connectors": {
                "w": {
                    "type": "postgres_wal",
                    "database": "warehouse",
                    "tables": tables,
                    "idle_interval": "1s",
                    **section,
                }
            },
        }
        return parse(orjson.dumps(document).decode(), {})

    def run(self, tables: list[Any] | dict[str, Any], cut: Callable[[Batch], bool], **section: Any) -> None:
        """Run the connector until it is cut off, or ends by itself."""
        settings = self.settings(tables, **section)
        with suppress(Cut):
            run_connector(self.made(settings), CutPublisher(settings, "w", cut))

    def made(self, settings: Settings) -> Connector:
        self.connector = connector_plugins()[settings.connectors["w"].type].create(
            settings, "w", settings.connectors["w"]
        )
        return self.connector

    @contextmanager
    def running(
        self, tables: list[Any] | dict[str, Any], *, state: str = "streaming", **section: Any
    ) -> Iterator[Callable[[Callable[[], bool]], None]]:
        """Run the connector; the yielded function waits for a fact, and raises what the connector ended with."""
        settings = self.settings(tables, **section)
        connector = self.made(settings)
        ended: list[BaseException | None] = []

        def run() -> None:
            try:
                run_connector(connector, Publisher(settings, "w"))
                ended.append(None)
            except BaseException as error:
                ended.append(error)

        def until(fact: Callable[[], bool]) -> None:
            deadline = monotonic() + SECONDS
            while not fact():
                if ended and ended[0] is not None:
                    raise ended[0]
                assert monotonic() < deadline, connector.status()
                thread.join(0.05)

        def reached() -> bool:
            """It is in that state; and if it streams, not as one that starts for the first time whenever it starts."""
            status = connector.status()
            return bool(status["state"] == state and (state != "streaming" or status["position"]))

        thread = Thread(target=run, daemon=True)
        thread.start()
        try:
            until(lambda: bool(ended) or reached())
            yield until
        finally:
            connector.stop()
            thread.join(SECONDS)

    def events(self, table: str, schema: str = "public") -> list[Value | None]:
        """All committed values on the table's topic."""
        topic = names.event_topic(self.name, schema, table)
        if topic not in topics_of(self.kafka.bootstrap_servers, self.name):
            return []
        values = (message.value() for message in messages(self.kafka.bootstrap_servers, [topic]))
        return [None if value is None else orjson.loads(value) for value in values]


def ids(events: list[Value | None], op: str) -> list[int]:
    """Keys of the events of one kind, in order."""
    return [event["after"]["id"] for event in events if event is not None and event["op"] == op]


def still(fact: Callable[[], Any], seconds: float = 1.5) -> Any:
    """A fact that stays as it is for so long."""
    first, deadline = fact(), monotonic() + seconds
    while monotonic() < deadline:
        assert fact() == first
        sleep(0.1)
    return first
