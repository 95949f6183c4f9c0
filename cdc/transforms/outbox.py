"""Rows of an outbox table become messages, as Debezium's outbox event router makes them. Pure.

`io.debezium.transforms.outbox.EventRouterDelegate`: tombstones and deletes are ignored, updates are
not expected; the value is the payload, or a struct with `payload` where a further column is placed in
the envelope; the header `id` holds the message's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import structlog

from cdc import names

from .event import Event
from .settings import OutboxSettings
from .steps import routed

PAYLOAD: Final = "payload"


class UnexpectedUpdate(Exception):
    """A row of the outbox was updated, and that is to stop the connector."""


class MissingColumn(Exception):
    """The outbox lacks a column that the settings name; its name is all that the error says."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """One table's router.

    Args:
        settings: the table's.
        units: column → how many of its units are a millisecond, where it holds a time.
    """

    settings: OutboxSettings
    units: dict[str, int]

    def apply(self, event: Event) -> Event | None:
        """Raises: UnexpectedUpdate, MissingColumn."""
        if event.op == "u":
            if self.settings.updates == "fail":
                raise UnexpectedUpdate
            structlog.get_logger().warning("an update of an outbox table is left out", position=event.position)
            return None
        if event.op not in ("c", "r"):
            return None
        settings, row = self.settings, event.row
        fields = _after_fields(event)
        payload, payload_schema = _column(row, settings.payload), fields.get(settings.payload)
        _column(row, settings.id)
        if settings.expand_json and isinstance(payload, str):
            payload, payload_schema = _expanded(payload, payload_schema)
        headers = [("id", _text(row[settings.id]))]
        envelope = {PAYLOAD: payload}
        schemas = {PAYLOAD: payload_schema}
        for place in settings.placement:
            name, value = place.name or place.column, _column(row, place.column)
            if place.to == "header":
                headers.append((name, _text(value)))
            else:
                envelope[name], schemas[name] = value, fields.get(place.column)
        key_column = settings.payload_id
        if settings.key is not None and _column(row, settings.key) is not None:
            key_column = settings.key
        routed_by = _text(_column(row, settings.route_by))
        if routed_by is None:
            raise MissingColumn(f"{settings.route_by} is NULL")
        topic = routed(routed_by, settings.pattern, settings.topic) or names.legal_topic(routed_by)
        if topic in ("", ".", ".."):
            raise MissingColumn(f"{settings.route_by} names no topic")
        event = Event(
            topic,
            row.get(key_column),
            None,
            [*event.headers, *((name, text) for name, text in headers)],
            partition=event.partition,
            timestamp_ms=self._timestamp(row) or event.timestamp_ms,
            key_schema=fields.get(key_column),
        )
        if settings.tombstone_on_empty_payload and (payload is None or not str(payload).strip()):
            return event
        if len(envelope) > 1:
            event.value = envelope
            if payload_schema is not None:
                event.value_schema = _struct(schemas)
        else:
            event.value, event.value_schema = payload, payload_schema
            if payload is None:  # a value that is null, and no tombstone
                event.value = orjson.dumps(
                    None if payload_schema is None else {"schema": payload_schema, PAYLOAD: None}
                )
        return event

    def _timestamp(self, row: dict[str, Any]) -> int | None:
        column = self.settings.timestamp
        if column is None:
            return None
        value = _column(row, column)
        if isinstance(value, str):
            return int(datetime.fromisoformat(value).timestamp() * 1000)
        return None if value is None else int(value) // self.units.get(column, 1)


def _column(row: dict[str, Any], name: str) -> Any:
    if name not in row:
        raise MissingColumn(f"there is no column {name}")
    return row[name]


def _text(value: Any) -> str | None:
    """As Connect's SimpleHeaderConverter writes a value."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _expanded(payload: str, schema: dict[str, Any] | None) -> tuple[Any, dict[str, Any] | None]:
    """The JSON in a payload; what is none stays what it is, as in Debezium."""
    if not payload.startswith(("{", "[")):
        return payload, schema
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload, schema
    return parsed, None if schema is None else _schema_of(parsed)


def _schema_of(value: Any) -> dict[str, Any]:
    """The Connect schema of JSON, as `io.debezium.transforms.outbox.SchemaBuilderUtil` makes it."""
    if isinstance(value, dict):
        fields = [{**_schema_of(member), "field": name} for name, member in value.items() if member is not None]
        return {"type": "struct", "fields": fields, "optional": True}
    if isinstance(value, list):
        items = _schema_of(value[0]) if value else {"type": "string", "optional": True}
        return {"type": "array", "items": items, "optional": True}
    if isinstance(value, bool):
        return {"type": "boolean", "optional": True}
    if isinstance(value, int):
        return {"type": "int32" if -(1 << 31) <= value < 1 << 31 else "int64", "optional": True}
    return {"type": "double" if isinstance(value, float) else "string", "optional": True}


def _after_fields(event: Event) -> dict[str, dict[str, Any]]:
    """Column → its Connect schema, without its name; empty where the format has none."""
    for field in (event.value_schema or {}).get("fields", ()):
        if field.get("field") == "after":
            return {
                one["field"]: {name: part for name, part in one.items() if name != "field"} for one in field["fields"]
            }
    return {}


def _struct(members: dict[str, dict[str, Any] | None]) -> dict[str, Any]:
    fields = [{**(schema or {"type": "string", "optional": True}), "field": name} for name, schema in members.items()]
    return {"type": "struct", "fields": fields, "optional": False}
