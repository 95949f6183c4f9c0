"""The rows of an event, the key, and what describes them, changed in step. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from cdc.formats.debezium_json import NEW_KEY, OLD_KEY

from .event import Event

KEY_HEADERS: Final = (NEW_KEY, OLD_KEY)
"""Headers that hold another key of the same table."""


def rows(event: Event) -> Iterator[dict[str, Any]]:
    """`before` and `after`, where they are."""
    if isinstance(event.value, dict):
        for name in ("before", "after"):
            row = event.value.get(name)
            if row is not None:
                yield row


def row_schemas(event: Event) -> Iterator[dict[str, Any]]:
    """The Connect schemas of `before` and `after`, where the format has them."""
    if event.value_schema is not None:
        for field in event.value_schema.get("fields", ()):
            if field.get("field") in ("before", "after"):
                yield field


def rename_members(members: dict[str, Any], new: dict[str, str]) -> dict[str, Any]:
    """The same members in their order, some with other names."""
    return {new.get(name, name): value for name, value in members.items()}


def rename_fields(schema: dict[str, Any], new: dict[str, str]) -> None:
    """The same in a Connect schema."""
    for field in schema.get("fields", ()):
        field["field"] = new.get(field["field"], field["field"])


def keep_fields(schema: dict[str, Any], kept: Callable[[str], bool]) -> None:
    """Leave out the fields of a Connect schema that are not kept."""
    schema["fields"] = [field for field in schema.get("fields", ()) if kept(field["field"])]


def put_field(schema: dict[str, Any], name: str, type_: str, *, optional: bool = True) -> None:
    """Give a Connect schema a field of a plain type, in place of one of that name or behind all."""
    new = {"type": type_, "optional": optional, "field": name}
    fields = schema.setdefault("fields", [])
    for place, field in enumerate(fields):
        if field["field"] == name:
            fields[place] = new
            return
    fields.append(new)


def change_keys(event: Event, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the event's key, and the keys in its headers."""
    if isinstance(event.key, dict):
        event.key = change(event.key)
    for place, (name, content) in enumerate(event.headers):
        if name in KEY_HEADERS and content is not None:
            document = orjson.loads(content)
            if event.key_schema is not None and "payload" in document:
                document = {**document, "schema": event.key_schema, "payload": change(document["payload"])}
            else:
                document = change(document)
            event.headers[place] = (name, orjson.dumps(document))


def column_lists(event: Event, change: Callable[[str], str | None]) -> None:
    """Change the columns' names in `cdc.unchanged` and `cdc.reselected`; None leaves one out."""
    ours = (event.value.get("cdc") if isinstance(event.value, dict) else None) or {}
    for name in ("unchanged", "reselected"):
        if name in ours:
            changed = [new for new in map(change, ours.pop(name)) if new is not None]
            if changed:
                ours[name] = changed
