"""An event as transforms see it: parsed from a record, and made one again. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson

from cdc.event import Headers, Record


@dataclass(slots=True)
class Event:
    """What a transform is given, may change, and gives back.

    Args:
        topic: where it goes.
        key: the members of its key, None without one; bytes are sent as they are.
        value: Debezium's envelope (`op`, `before`, `after`, `source` …); bytes are sent as they are.
        headers: (name, text or bytes), in order.
        key_schema, value_schema: Kafka Connect's, where `format` puts them into every record.
        partition: number, or what `cdc.event` says.
        timestamp_ms: of the record; 0 is the broker's time.
    """

    topic: str
    key: Any
    value: Any
    headers: Headers
    key_schema: dict[str, Any] | None = None
    value_schema: dict[str, Any] | None = None
    partition: int = -1
    timestamp_ms: int = 0

    @property
    def op(self) -> str:
        """`c`, `u`, `d`, `r` (snapshot), `t` (truncate); empty for what is no envelope any more."""
        return str(self.value.get("op", "")) if isinstance(self.value, dict) else ""

    @property
    def row(self) -> dict[str, Any]:
        """The row after the change, of a delete the one before it; empty where there is none."""
        if not isinstance(self.value, dict):
            return {}
        return self.value.get("after") or self.value.get("before") or {}

    @property
    def table(self) -> str:
        """The source's name of the table, "schema.table"; empty for what is no envelope any more."""
        source = self.value.get("source") if isinstance(self.value, dict) else None
        return f"{source.get('schema')}.{source.get('table')}" if source else ""

    @property
    def position(self) -> str:
        """Where it stands in the source, to be told."""
        if not isinstance(self.value, dict):
            return "unknown"
        ours, source = self.value.get("cdc") or {}, self.value.get("source") or {}
        return str(ours.get("pos") or source.get("lsn", "unknown"))

    def copy(self) -> Event:
        """Another one with the same key and value, which are not copied."""
        return replace(self, headers=list(self.headers))


def parse(record: Record, schemas: bool) -> Event:
    """A record that the encoder made.

    Args:
        schemas: whether key and value have Kafka Connect's schemas.
    """
    topic, key, value, partition, timestamp, headers = record
    event = Event(
        topic,
        None if key is None else orjson.loads(key),
        None if value is None else orjson.loads(value),
        list(headers or ()),
        partition=partition,
        timestamp_ms=timestamp,
    )
    if schemas:
        if event.key is not None:
            event.key_schema, event.key = event.key["schema"], event.key["payload"]
        if event.value is not None:
            event.value_schema, event.value = event.value["schema"], event.value["payload"]
    return event


def record(event: Event) -> Record:
    """The record of an event. Raises: TypeError: something in it has no form in JSON."""
    return (
        event.topic,
        _document(event.key, event.key_schema),
        _document(event.value, event.value_schema),
        event.partition,
        event.timestamp_ms,
        event.headers or None,
    )


def _document(content: Any, schema: dict[str, Any] | None) -> bytes | None:
    if content is None or isinstance(content, bytes):
        return content
    return orjson.dumps(content if schema is None else {"schema": schema, "payload": content})
