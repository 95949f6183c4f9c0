"""What one connector has on Kafka: documents on the offsets topic, event topics. Touches Kafka, but no producer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from cdc import homes, names, patterns, topics
from cdc.ahead import Ahead, Tails
from cdc.errors import Gap
from cdc.event import EventTopic
from cdc.offsets import committed, read_documents
from cdc.settings import Settings
from cdc.stored import Home, Stored

LAST_RECORDS = 2000
"""Of each partition, to see how far Debezium came: more than the rows of one page, which is what can share an LSN."""


class Holdings:
    """Read once, then kept in step with what is published.

    Args:
        settings: of the bridge.
        connector: the connector's name.
        admin: for questions about topics.
        stopping: asked while the offsets topic is read; Stopped is raised when it says True.

    `inherited` are the topics of tables on which the one published who is gone on from.
    """

    def __init__(self, settings: Settings, connector: str, admin: AdminClient, stopping: Callable[[], bool]) -> None:
        self._settings, self._connector = settings, connector
        self._admin, self._stopping = admin, stopping
        self._topic = names.offsets_topic(settings.name)
        self._stored: Stored | None = None
        self._expiring: set[str] = set()
        self.inherited: Sequence[str] = ()

    @property
    def stored(self) -> Stored:
        """The documents."""
        assert self._stored is not None, "read() comes first"
        return self._stored

    @property
    def known(self) -> bool:
        """Whether they were read."""
        return self._stored is not None

    def read(self) -> Stored:
        """Read the documents. Raises: BrokerUnavailable, PublishError, Stopped."""
        self._stored = self._read()
        return self._stored

    def check(self) -> None:
        """Whether all that was stored is there, and all event topics are the ones that were published to.

        Raises: Gap; BrokerUnavailable, PublishError.
        """
        self.stored.check(self._topic)
        self._check_topics()
        if self.stored.position is None:
            self._check_new()

    def watch(self, found: Callable[[], None]) -> homes.Watch:
        """Go on checking, from a thread; `found` is called from it when something is missing."""
        begin = self._begin()

        def look() -> None:
            self._check_topics()
            if self._begin() > begin:
                self._read().check(self._topic, begun=self.stored.position is not None)

        return homes.Watch(look, found)

    def prepare(self, wanted: Mapping[str, EventTopic]) -> dict[str, dict[str, str]]:
        """Create event topics as declared, and keep what they are like.

        Returns: their configuration.
        Raises: Gap: a topic is not the one that was published to; BrokerUnavailable, PublishError.
        """
        known = self.stored.homes
        # Before they are made again.
        homes.check(self._admin, self.stored.subject, {topic: known[topic] for topic in wanted if topic in known})
        topics.ensure(self._admin, {topic: topics.event_topic(self._settings, topic) for topic in wanted})
        configs = topics.existing_configuration(self._admin, wanted)
        self._expiring |= {topic for topic, config in configs.items() if topics.expires(config)}
        found = homes.look(self._admin, [topic for topic in wanted if topic not in known])
        first = {topic: replace(home, table=wanted[topic].table) for topic, home in found.items()}
        self.stored.keep({**known, **first})
        return configs

    def ahead(self) -> Ahead | None:
        """What is on the topics already of what comes next. At the first start of a connector that goes on where
        Debezium stopped they are read, so that has to stand still; later what was stored is known.

        Raises: Stopped; BrokerUnavailable, PublishError.
        """
        stored, section = self.stored, self._settings.connectors[self._connector]
        if stored.ahead is None and stored.position is None and section.goes_on():
            bridge = self._settings.name
            wanted = {*self.inherited, *section.other_topics(bridge)}
            there = self._admin.list_topics(timeout=topics.TIMEOUT).topics
            mine = [topic for topic in there if topic in wanted]
            found = homes.look(self._admin, mine)
            tails = Tails(bridge, {topic: home.partitions for topic, home in found.items()})
            for topic, home in found.items():
                for some in committed(self._settings.kafka, topic, home.partitions, self._stopping, LAST_RECORDS):
                    for one in some:
                        tails.add(topic, one.partition() or 0, one.key(), one.value())
            stored.ahead = tails.ahead()
            if not tails.by_key:
                words = (
                    "Debezium's events on topics of several partitions may come twice: it is not certain where they are"
                )
                structlog.get_logger().warning(words, connector=self._connector)
        return stored.ahead

    def home(self, topic: str) -> Home:
        """What is stored of an event topic that was prepared."""
        return self.stored.homes[topic]

    def expires(self, topic: str) -> bool:
        """Whether old events of a prepared topic go away by time or size."""
        return topic in self._expiring

    def accept(self) -> None:
        """From the next position on documents and event topics are as they are now: a heal begins."""
        now = homes.look(self._admin, self.stored.homes)
        kept = {}
        for name, before in self.stored.homes.items():
            found = now.get(name)
            if found is not None and found.id == before.id:
                moved = before.moved or found.partitions != before.partitions
                kept[name] = replace(found, table=before.table, moved=moved)
        self.stored.keep(kept)
        self.stored.forgive()
        if self.stored.ahead is not None:
            self.stored.ahead.clear()

    def _read(self) -> Stored:
        home = homes.look(self._admin, [self._topic]).get(self._topic)
        if home is None:
            return Stored(self._connector, Home("", 0))
        documents = read_documents(self._settings.kafka, self._topic, self._stopping)
        stored = Stored.read(self._connector, home, documents)
        structlog.get_logger().debug("position read", connector=self._connector, found=stored.position is not None)
        return stored

    def _check_topics(self) -> None:
        """Raises: Gap when the offsets topic or the topic of a captured table is not as it was."""
        stored = self.stored
        section = self._settings.connectors[self._connector]
        captured, others = section.captured(), section.other_topics(self._settings.name)
        mine = {
            name: home
            for name, home in stored.homes.items()
            if captured is None or name in others or patterns.matching(captured, home.table)
        }
        homes.check(self._admin, stored.subject, {self._topic: stored.offsets, **mine})

    def _check_new(self) -> None:
        """Nothing is stored: then no captured table may have events, or deletes since would never be known."""
        section = self._settings.connectors[self._connector]
        if section.goes_on():
            return
        wanted = section.own_topics(self._settings.name)
        there = self._admin.list_topics(timeout=topics.TIMEOUT).topics
        rowless = names.rowless_topics(self._settings.name)
        mine = [topic for topic in there if topic not in rowless and patterns.matching(wanted, topic)]
        used = homes.with_events(self._admin, mine)
        if used:
            raise Gap(
                f"{self.stored.subject}: no position is stored on {self._topic}, but there are events on "
                f"{', '.join(used)}: what they were read up to is not known",
                lasting=False,
            )

    def _begin(self) -> int:
        """The first offset of the offsets topic; it moves only when records are removed in another way than by key."""
        found = homes.offsets_at(self._admin, [TopicPartition(self._topic, 0)], homes.BEGIN)
        return found[self._topic, 0]
