"""Clears away what the demo left on a Kafka that was given. Touches Kafka."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient


def clear(bootstrap: str, name: str, say: Callable[[str], None]) -> None:
    """Delete the topics and consumer groups of the bridge `name`; say which where that fails."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    try:
        topics = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(f"{name}.")]
        groups = [
            group.group_id for group in admin.list_consumer_groups().result(10).valid if group.group_id.startswith(name)
        ]
        deletions = [*(admin.delete_topics(topics).values() if topics else ())]
        deletions += [*(admin.delete_consumer_groups(groups).values() if groups else ())]
        for deletion in deletions:
            deletion.result(10)
    except (KafkaException, TimeoutError):
        say(f"not everything could be deleted from Kafka: topics `{name}.*` and consumer groups `{name}*` are left")
        return
    say(f"deleted {len(topics)} topics and {len(groups)} consumer groups")
