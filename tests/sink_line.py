"""A sink's line for tests: topics on real Kafka, a connector's part played by the test, and members."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cdc.errors import CdcError
from cdc.plugins import Rebuild
from cdc.testing.servers import KafkaServer
from cdc.testing.system import wait_for
from sinks.postgres import plugin
from tests.databases import Database
from tests.sink_events import column, described, key, position, value
from tests.sink_worker import run, settings_of

COLUMNS = [column("id", "bigint"), column("n", "bigint")]


class Bridge:
    """A bridge's topics on a broker, a connector's part played by the test, and sink members."""

    def __init__(self, name: str, kafka: KafkaServer, database: Database, partitions: int, **config: str) -> None:
        self.name, self.kafka, self.database = name, kafka, database
        self.topic = f"{name}.public.orders"
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        self.create(self.topic, partitions, **config)
        self.create(f"{name}.cdc.schemas")
        self._lsn = 0
        self.producer = Producer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "transactional.id": name,
                "partitioner": "murmur2_random",
                "logger": logging.getLogger("test"),
            }
        )
        self.producer.init_transactions(30)

    def create(self, topic: str, partitions: int = 1, **config: str) -> None:
        settings = {name.replace("_", "."): value for name, value in config.items()}
        self.admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(30)

    def describe(self, **more: Any) -> None:
        with self.transaction():
            schema = described(self.topic, COLUMNS, **more)
            self.producer.produce(f"{self.name}.cdc.schemas", schema.to_bytes(), schema.table.encode())

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[None]:
        self.producer.begin_transaction()
        yield
        self.producer.commit_transaction(30) if commit else self.producer.abort_transaction(30)

    def put(self, id: int, n: int, *, partition: int = -1, of: bytes | None = b"") -> None:
        self._lsn += 1
        of = key(id=id) if of == b"" else of
        self.producer.produce(self.topic, value("u", {"id": id, "n": n}, position(self._lsn)), of, partition=partition)

    def drop(self, id: int, *, partition: int = -1) -> None:
        self._lsn += 1
        data = value("d", None, position(self._lsn), before={"id": id})
        self.producer.produce(self.topic, data, key(id=id), partition=partition)
        self.producer.produce(self.topic, None, key(id=id), partition=partition)

    def make_anew(self, partitions: int = 1, **config: str) -> None:
        """Delete the topic, and make another of its name."""
        self.remove()
        self.create(self.topic, partitions, **config)

    def remove(self) -> None:
        self.admin.delete_topics([self.topic])[self.topic].result(30)
        assert wait_for(lambda: self.topic not in self.admin.list_topics(timeout=10).topics, 20)

    def knows_partitions(self, count: int) -> None:
        """Wait until the producer does."""
        self.until(lambda: len(self.producer.list_topics(self.topic, 10).topics[self.topic].partitions) == count)

    def expire(self, offset: int, partition: int = 0) -> None:
        """Delete what is before an offset."""
        gone = TopicPartition(self.topic, partition, offset)
        self.admin.delete_records([gone])[gone].result(30)

    def rebuild(self, *topics: str, remove: bool = False, **section: Any) -> Rebuild:
        settings = settings_of(**self.settings(**section))
        assert plugin.rebuild is not None
        return plugin.rebuild(settings, "target", settings.sinks["target"], topics, remove)

    def settings(self, **section: Any) -> dict[str, Any]:
        return {
            "name": self.name,
            "bootstrap": self.kafka.bootstrap_servers,
            "url": self.database.url(),
            "topics": [self.topic],
            **section,
        }

    def file(self, folder: Path, **section: Any) -> Path:
        """The bridge's YAML, for commands."""
        given = self.settings(**section)
        settings = {
            "name": given["name"],
            "kafka": {"bootstrap_servers": given["bootstrap"]},
            "databases": {"target": {"url": given["url"]}},
            "connectors": {"source": {"type": "postgres_wal", "database": "target", "tables": ["public.orders"]}},
            "sinks": {"target": {"type": "postgres", "database": "target", "topics": given["topics"], **section}},
        }
        file = folder / "cdc.yaml"
        file.write_text(json.dumps(settings))
        return file

    def rows(self, query: str = "SELECT id, n FROM orders ORDER BY id") -> list[Any]:
        with self.database.connect() as connection:
            if connection.execute("SELECT to_regclass('orders')").fetchone() == (None,):
                return []
            return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]

    def until(self, fact: Callable[[], bool], timeout: float = 40.0) -> None:
        assert wait_for(fact, timeout, 0.05), self.rows("SELECT count(*) FROM orders")


class Member:
    """A member in a thread of this process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.status: dict[str, Any] = {"state": "starting"}
        self.error: CdcError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(settings,))
        self._thread.start()

    def _run(self, settings: dict[str, Any]) -> None:
        try:
            run(settings_of(**settings), self._stop, lambda status: setattr(self, "status", status))
        except CdcError as error:
            self.error = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def failed(self) -> CdcError:
        self._thread.join(40)
        assert self.error is not None
        return self.error


MakeBridge = Callable[..., Bridge]


def records(bridge: Bridge, topic: str) -> list[Any]:
    """Everything on a topic's first partition."""
    consumer = Consumer(
        {"bootstrap.servers": bridge.kafka.bootstrap_servers, "group.id": "test", "enable.partition.eof": True}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        found: list[Any] = []
        while True:
            for message in consumer.consume(100, 0.5):
                if message.error():
                    return found
                found.append(message)
    finally:
        consumer.close()
