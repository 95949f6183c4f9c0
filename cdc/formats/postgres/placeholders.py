"""What Debezium writes for a TOAST value that did not change and was not sent. Pure.

Its `UnchangedToastedReplicationMessageColumn` and `UnchangedToastedPlaceholder` (3.6): the placeholder's text where
values are text; in lists of numbers one number for each of its bytes.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5
from typing import Any
from uuid import UUID

import orjson

from .form import Form

_TEXTS = ("text[]", "character varying[]", "character[]", "json[]", "jsonb[]")
_NUMBERS = ("integer[]", "bigint[]", "date[]")


def placeholder(text: str, form: Form, source_type: str) -> bytes | None:
    """The JSON that stands for an unchanged value of a column.

    Args:
        text: the placeholder.
        form: of the column's values.
        source_type: as SQL writes it.

    Returns: None where Debezium has none: it stops at such a value, and our events leave it out.
    """
    brackets = "[]" if source_type.endswith("[]") else ""
    value = _placeholder(text, form, source_type.removesuffix("[]").partition("(")[0] + brackets)
    return None if value is None else orjson.dumps(value)


def _placeholder(text: str, form: Form, source_type: str) -> Any:
    octets = text.encode()
    if form.json == "array":
        if source_type == "bytea[]":
            return [b64encode(octets).decode()] if form.element and form.element.json == "bytes" else [text]
        if source_type in _NUMBERS:
            return list(octets)
        if source_type == "uuid[]":
            # Java's UUID.nameUUIDFromBytes: version 3, without a name space.
            return [str(UUID(bytes=md5(octets, usedforsecurity=False).digest(), version=3))]
        return [text] if source_type in _TEXTS else None
    if form.json == "map":
        return {text: text}
    if form.json == "bytes":
        return b64encode(octets).decode() if form.semantic is None else None
    if form.json != "string":
        return None
    if source_type.rpartition(".")[2] == "hstore":
        return orjson.dumps({text: text}).decode()
    return text
