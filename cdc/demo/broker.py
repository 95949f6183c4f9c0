"""Clears away what the demo left on a Kafka that was given. Touches Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

SECONDS = 30.0
"""Until the demo gives up; a broker remembers a group's members for some ten seconds after they went."""


def clear(bootstrap: str, name: str, say: Callable[[str], None]) -> None:
    """Delete the topics and consumer groups of the bridge `name`; say which where that fails."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    try:
        topics = [topic for topic in admin.list_topics(timeout=SECONDS).topics if topic.startswith(f"{name}.")]
        found = admin.list_consumer_groups().result(SECONDS).valid
        groups = [group.group_id for group in found if group.group_id.startswith(name)]
        if topics:
            _await(admin.delete_topics(topics).values())
        if groups:
            _delete_groups(admin, groups)
    except (KafkaException, TimeoutError) as error:
        say(f"Kafka keeps some of the topics `{name}.*` and consumer groups `{name}*`; please delete them ({error})")
        return
    say(f"deleted {len(topics)} topics and {len(groups)} consumer groups")


def _delete_groups(admin: AdminClient, groups: list[str]) -> None:
    give_up = time.monotonic() + SECONDS
    while True:
        try:
            return _await(admin.delete_consumer_groups(groups).values())
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NON_EMPTY_GROUP or time.monotonic() > give_up:
                raise
            time.sleep(0.5)


def _await(deletions: Iterable[Future[None]]) -> None:
    gone = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND}
    for deletion in deletions:
        try:
            deletion.result(SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in gone:
                raise
