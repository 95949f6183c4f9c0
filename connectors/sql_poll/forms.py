"""What stands on a topic for rows that are polled, in any format, and what of it readers have. Pure but for a registry.

Rows and keys are JSON inside of the connector, and so is what it remembers of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final

import orjson

from cdc.errors import ConfigError, Problem, ProtocolError
from cdc.formats import flat
from cdc.formats.connect_schema import adjusted, before_payload
from cdc.formats.contract import Described, formats, reader_of
from cdc.formats.debezium_json import SourceInfo, polled_tail
from cdc.formats.handling import Style
from cdc.formats.payload import Payloads
from cdc.settings import Settings

CHANGED: Final = b'{"before":null,"after":'
DELETED: Final = b'{"before":'
BEHIND: Final = b',"source":'

_OTHER_KEYS: Final = "table {}: its topic holds keys that were written in another format, or of other types"
_EMPTY_IT: Final = "give the bridge another name, or empty the topic; docs/formats.md says why"

_ANY_TAIL: Final = polled_tail(SourceInfo("", "", ""), "", "", 0, 0, "", "r", "false")


def style_of(name: str, table: str, columns: Iterable[str]) -> Style:
    """How a format has names of schemas.

    Args:
        name: of the format.
        table, columns: what it has to take.
    Raises: ConfigError: a column's name would have to be changed.
    """
    names = {key: value for key, value in formats()[name].style.items() if key in ("schema_names", "field_names")}
    style = Style(format=name, **names)
    refused = [one for one in columns if adjusted(one, style.field_names, of_field=True) != one]
    if refused:
        what = f"table {table}: format {name} takes no column {', '.join(refused)}"
        raise ConfigError([Problem(what, suggestion="exclude it, or name it otherwise in a query")])
    return style


class TopicForm:
    """The form of one topic's records, while its table stays as it is. For one thread at a time.

    Args:
        settings: all settings.
        name: of the format, an entry point of `cdc.formats`.
        table: the schemas of its keys and events.
        subject: what to call the table in errors.
    """

    def __init__(self, settings: Settings, name: str, table: Described, subject: str) -> None:
        chosen = formats()[name]
        self._subject = subject
        self._writer = None if chosen.writer is None else chosen.writer(settings, table)
        self._flat = bool(chosen.style.get("flat", False))
        with_schemas = bool(chosen.style.get("with_schemas", False))
        self._before_key = before_payload(table.key) if with_schemas and table.key is not None else b""
        self._before = before_payload(table.value) if with_schemas else b""
        self._close = b"}" if with_schemas else b""
        others = sorted(other for other in formats() if not [*formats()[other].wrongs(settings)])
        self._reader = reader_of(settings, [*others, name])
        self._keys, self._values = Payloads(), Payloads()

    def tail(self, whole: bytes, op: str, position: str) -> bytes:
        """What is behind the rows of a page.

        Args:
            whole: behind a row in Debezium's JSON, see `polled_tail`.
            op: c, u, d or r.
            position: `cdc.pos`.
        """
        return flat.tail(op, position) if self._flat else whole + self._close

    def key(self, json: bytes) -> bytes:
        """What stands for a key. Raises: ProtocolError, and what a registry has to say."""
        if self._writer is not None:
            return self._written(self._writer.key, json)
        return self._before_key + json + self._close

    def changed(self, row: bytes, tail: bytes) -> bytes:
        """What stands for a row that there is. Raises as `key` does."""
        return row[:-1] + tail if self._flat else self._value(CHANGED + row + tail)

    def deleted(self, row: bytes, tail: bytes) -> bytes:
        """What stands for a row that there is no more. Raises as `key` does."""
        return row[:-1] + tail if self._flat else self._value(DELETED + row + b',"after":null' + tail)

    def digest(self, row: bytes) -> bytes:
        """Of a row; equal for all spellings of it that the format writes alike. Raises as `key` does."""
        if self._writer is not None:
            row = self._written(self._writer.value, CHANGED + row + _ANY_TAIL)
        return blake2b(row, digest_size=16).digest()

    def held(self, key: bytes, value: bytes | None) -> tuple[bytes, bytes | None] | None:
        """What a record of the topic says.

        Returns:
            the key as JSON, and the row's digest: None where it is gone, empty where it is not to be read; None for a
            record of no format.

        Raises: ConfigError: the key is written otherwise than this form writes it.
        """
        try:
            json = self._keys.of(key if self._reader is None else self._reader.key(key)) or b""
        except ValueError:
            return None
        if value is None:
            return json, None
        if self.key(json) != key:
            # A row would have two keys, perhaps on two partitions: no order says which record is the last.
            raise ConfigError([Problem(_OTHER_KEYS.format(self._subject), suggestion=_EMPTY_IT)])
        try:
            event = self._values.of(value if self._reader is None else self._reader.value(value))
            row = _row(event or b"")
            return json, None if row is None else self.digest(row)
        except (ValueError, KeyError, TypeError, ProtocolError):
            return json, b""

    def _value(self, event: bytes) -> bytes:
        value = self._before + event
        return value if self._writer is None else self._written(self._writer.value, value)

    def _written(self, write: Callable[[bytes], bytes], json: bytes) -> bytes:
        try:
            return write(json)
        except ValueError as error:
            raise ProtocolError(f"table {self._subject}: {error}") from None


def _row(event: bytes) -> bytes | None:
    """What an event says that the row is, as it is spelled; None: gone."""
    end = event.rfind(BEHIND)
    if event.startswith(CHANGED + b"{") and end > 0:
        return event[len(CHANGED) : end]
    after = orjson.loads(event)["after"]
    return None if after is None else orjson.dumps(after)
