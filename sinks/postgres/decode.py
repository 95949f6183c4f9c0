"""Events of one topic → rows as COPY text, by the topic's descriptions. Pure.

The compiled plan of an event's shape does it; an event of any other shape takes the general
path, which then makes a plan for that shape. Both give the same rows.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import orjson

from cdc.errors import RowRefused
from cdc.formats.contract import Reader
from cdc.formats.debezium_json import OLD_KEY
from cdc.formats.payload import Payloads
from cdc.schemas import TableSchema
from cdc.sink import Event
from sinks.postgres import decode_cy
from sinks.postgres.forms import NULL, Kind, converter, copy_field, kind_of

COMPILED: Final = not decode_cy.__file__.endswith(".py")
"""Interpreted, a plan is slower than the general path."""

PLANS: Final = 8
"""Shapes of events a topic has at one time: columns come and go, and unchanged ones are left out."""

CREATE: Final = ord("c")
UPDATE: Final = ord("u")
DELETE: Final = ord("d")
TRUNCATE: Final = ord("t")
_WITH_ROW: Final = b"cru"

AFTER_ALL: Final = b"~"
"""The position of a tombstone that has lost its delete to compaction: it follows whatever its key had."""

ARRIVED: Final = b"o"
"""What positions begin with that are offsets: of events that have no `cdc.pos`."""

UNAVAILABLE: Final = "__debezium_unavailable_value"
"""What Debezium itself writes for a TOAST value it was not sent, unless a description tells something else."""

_LEFT_OUT: Final = frozenset({"array", "bytes", "map", "struct"})
"""Forms of values some of which have no placeholder: unchanged ones are left out, whatever the others have."""


def is_older(pos: bytes, than: bytes) -> bool:
    """Whether one position is before another; of an offset and another kind, the one that comes last is the newer."""
    return pos < than and (not than.startswith(ARRIVED) or pos.startswith(ARRIVED))


class Wholeness(IntEnum):
    """Whether an event has all of its row; the target keeps what it leaves out."""

    WHOLE = 0
    PARTIAL = 1
    """Unchanged columns are left out."""
    GONE = 2
    """… and when they were looked for the row was gone: a later event ends it."""


class Row(NamedTuple):
    """What an event does to a row.

    Args:
        event: where it comes from.
        op: `c`, `r`, `u`, `d` or `t` as a character code.
        pos: its position; `AFTER_ALL` for a tombstone.
        columns: the names of the fields of `line`; of a delete by key, the key's.
        line: COPY text: the fields and then `pos`; b"" for a truncate.
        wholeness: whether the event left unchanged columns out.
    """

    event: Event
    op: int
    pos: bytes
    columns: tuple[str, ...]
    line: bytes
    wholeness: Wholeness = Wholeness.WHOLE


class Decoder:
    """Decodes a topic's events.

    Args:
        versions: the topic's descriptions, oldest first; an event is read by the newest one
            that is not younger than itself, its key by the newest of all.
        names: per description, column → its name in the target, None for one that the target has no more;
            by default each has the name that it is described by.
        reader: makes Debezium's JSON of what is on the topic; None: it is that.
        compiled: use compiled plans.
    """

    def __init__(
        self,
        versions: Sequence[TableSchema],
        names: Sequence[Mapping[str, str | None]] | None = None,
        reader: Reader | None = None,
        *,
        compiled: bool = COMPILED,
    ) -> None:
        self._reader = reader
        names = names if names is not None else [{} for _ in versions]
        self._forms = [
            _Form(version, versions[-1].key, called, compiled) for version, called in zip(versions, names, strict=True)
        ]
        # The first known version also reads what is older: an older description is compacted away.
        self._since = [b"", *(version.position.encode() for version in versions[1:])]
        self._keys, self._values = Payloads(), Payloads()
        self._choose(len(versions) - 1)

    def row(self, event: Event) -> Row | None:
        """What the event does; None for nothing (the tombstone of a table without key).

        Raises:
            RowRefused: it is no event of the described table.
            CdcError: its schema cannot be read for now.
        """
        key, value = self._read(event)
        try:
            row = self._form.row(event, key, value)
            if row is None or self._from <= row.pos < self._until:
                return row
            pos = row.pos
        except RowRefused:
            if len(self._forms) == 1:
                raise
            if value is None:  # whose key may have other names than the one before it
                return self._arrived(event, key, value)
            pos = _position(event, _document(event, value, "value"))
        if pos.startswith(ARRIVED):
            return self._arrived(event, key, value)
        self._choose(bisect_right(self._since, pos) - 1)
        return self._form.row(event, key, value)

    def _read(self, event: Event) -> tuple[bytes | None, bytes | None]:
        """Key and value as Debezium's JSON without schemas."""
        if self._reader is None:
            return self._keys.of(event.key), self._values.of(event.value)
        try:
            return (
                None if event.key is None else self._reader.key(event.key),
                None if event.value is None else self._reader.value(event.value),
            )
        except ValueError as error:
            raise refused(event, str(error)) from None

    def _arrived(self, event: Event, key: bytes | None, value: bytes | None) -> Row | None:
        """A row whose position does not tell which description it has: the newest one that fits."""
        for form in reversed(self._forms[1:]):
            try:
                return form.row(event, key, value)
            except RowRefused:
                continue
        return self._forms[0].row(event, key, value)

    def _choose(self, index: int) -> None:
        last = index == len(self._forms) - 1
        self._form = self._forms[index]
        self._from = self._since[index]
        self._until = AFTER_ALL + AFTER_ALL if last else self._since[index + 1]


class _Form:
    """One version of a topic's description."""

    def __init__(
        self,
        description: TableSchema,
        key: tuple[str, ...],
        names: Mapping[str, str | None],
        compiled: bool,
    ) -> None:
        self._names = {name: new for name, new in names.items() if new != name}
        if self._names and {names.get(name, name) for name in description.key} == set(key):
            key = description.key  # the same by other names
        self._columns = {column.name: column for column in description.columns}
        self._converters = {column.name: converter(column) for column in description.columns}
        self._key = key
        told = [column.placeholder for column in description.columns if column.placeholder is not None]
        self._placeholders = {column.name: column.placeholder for column in description.columns}
        self._unchanged = tuple({orjson.dumps(one) for one in (UNAVAILABLE, *told)})
        self._whole = not told
        self._left_out = frozenset(
            column.name
            for column in description.columns
            if told and column.placeholder is None and column.form in _LEFT_OUT
        )
        self._compiled = compiled
        self._plans: list[tuple[tuple[str, ...], decode_cy.RowPlan]] = []
        self._key_plan = self._plan(key) if key else None

    def row(self, event: Event, key: bytes | None, value: bytes | None) -> Row | None:
        """What an event does, by its key and value without their schemas; columns as the target calls them."""
        row = self._row(event, key, value)
        if row is None or not self._names:
            return row
        return row._replace(columns=tuple(self._names.get(name) or name for name in row.columns))

    def _row(self, event: Event, key: bytes | None, value: bytes | None) -> Row | None:
        if value is None:
            return self._deleted(event, key, AFTER_ALL) if self._key else None
        for columns, plan in self._plans:
            found = plan.event(value, event.offset)
            if found is not None:
                op, pos, line, unchanged = found
                if line is not None:
                    if op in _WITH_ROW and (self._whole or not unchanged) and not self._may_lack(pos, columns, value):
                        return Row(event, op, pos, columns, line, _wholeness(unchanged))
                elif op == DELETE and self._key:
                    return self._deleted(event, key, pos)
                break
        return self._general(event, key, value)

    def _may_lack(self, pos: bytes, columns: tuple[str, ...], value: bytes) -> bool:
        """Whether an event that does not name its unchanged columns may have some."""
        return pos.startswith(ARRIVED) and (
            not self._left_out.issubset(columns) or any(placeholder in value for placeholder in self._unchanged)
        )

    def _deleted(self, event: Event, key: bytes | None, pos: bytes) -> Row:
        if key is None:
            raise refused(event, "no key")
        fields = self._key_plan.row(key) if self._key_plan else None
        if fields is None:
            fields = b"\t".join(self._fields(event, _document(event, key, "key"), self._key))
        return Row(event, DELETE, pos, self._key, b"%b\t%b" % (fields, pos))

    def _general(self, event: Event, key: bytes | None, value: bytes) -> Row:
        document = _document(event, value, "value")
        op, pos = _operation(event, document), _position(event, document)
        if op == TRUNCATE:
            if pos.startswith(ARRIVED):
                raise refused(event, "a truncate without cdc.pos: which rows of other partitions it ends is not known")
            return Row(event, op, pos, (), b"")
        if op == DELETE and self._key:
            return self._deleted(event, key, pos)
        image = document.get("before" if op == DELETE else "after")
        if not isinstance(image, dict):
            raise refused(event, f"an event {chr(op)} without a row")
        ours = document.get("cdc")
        if not isinstance(ours, dict):
            ours = {"unchanged": self._not_known(event, op, image)}
        if ours.get("unchanged"):
            image = {name: field for name, field in image.items() if name not in ours["unchanged"]}
        columns = tuple(name for name in image if self._names.get(name, name) is not None)
        line = b"\t".join([*self._fields(event, image, columns), pos])
        self._learn(columns)
        partial = Wholeness.GONE if ours.get("gone") is True else Wholeness.PARTIAL
        return Row(event, op, pos, columns, line, partial if ours.get("unchanged") else Wholeness.WHOLE)

    def _not_known(self, event: Event, op: int, image: Mapping[str, Any]) -> list[str]:
        """The unchanged columns of an event that does not name them: only what follows an image of its row has some."""
        if op != UPDATE and not (op == CREATE and any(name == OLD_KEY for name, _ in event.headers or ())):
            return []
        standing = [name for name, field in image.items() if self._is_placeholder(name, field)]
        return [*standing, *(self._left_out - image.keys())]

    def _is_placeholder(self, name: str, field: Any) -> bool:
        told = self._placeholders.get(name)
        return bool(field == (UNAVAILABLE if told is None else told))

    def _fields(self, event: Event, image: Mapping[str, Any], columns: Sequence[str]) -> list[bytes]:
        fields = []
        for name in (*columns, *self._key):
            if name not in image:
                raise refused(event, f"no key column {name}")
        for name in columns:
            convert = self._converters.get(name)
            if convert is None:
                raise refused(event, f"column {name} is not described on the schemas topic")
            try:
                fields.append(NULL if image[name] is None else copy_field(convert(image[name])))
            except (ValueError, OverflowError) as error:
                raise refused(event, f"column {name}: {error}") from None
        return fields

    def _learn(self, columns: tuple[str, ...]) -> None:
        if not self._compiled or any(known == columns for known, _ in self._plans):
            return
        plan = self._plan(columns)
        if plan is not None:
            self._plans = [(columns, plan), *self._plans[: PLANS - 1]]

    def _plan(self, columns: Sequence[str]) -> decode_cy.RowPlan | None:
        if None in self._names.values():
            return None
        known = [self._columns.get(name) for name in columns]
        kinds = [kind_of(column) if column else Kind.OTHER for column in known]
        if Kind.OTHER in kinds or not self._compiled:
            return None
        return decode_cy.RowPlan([orjson.dumps(name) + b":" for name in columns], bytes(kinds))


def _wholeness(unchanged: bytes) -> Wholeness:
    if len(unchanged) <= len(b"[]"):
        return Wholeness.WHOLE
    return Wholeness.GONE if unchanged.endswith(b'],"gone":true') else Wholeness.PARTIAL


def refused(event: Event, reason: str) -> RowRefused:
    """The error for an event that cannot be applied."""
    return RowRefused(topic=event.topic, partition=event.partition, offset=event.offset, reason=reason)


def _document(event: Event, data: bytes, part: str) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise refused(event, f"its {part} is not JSON") from None
    if not isinstance(document, dict):
        raise refused(event, f"its {part} is not a JSON object")
    return document


def _operation(event: Event, document: Mapping[str, Any]) -> int:
    op = document.get("op")
    if not isinstance(op, str) or len(op) != 1 or op not in "crudt":
        raise refused(event, "its op is none of c, r, u, d, t")
    return ord(op)


def _position(event: Event, document: Mapping[str, Any]) -> bytes:
    """`cdc.pos`; without one the offset, as the changes of a key are on one partition.

    No LSN: a row that a snapshot read may have a higher one than a change that was not committed then.
    """
    ours = document.get("cdc")
    if isinstance(ours, dict) and isinstance(ours.get("pos"), str):
        if not re.fullmatch(r"[0-9A-Za-z/._:-]{1,64}", ours["pos"]):
            raise refused(event, "its cdc.pos is no position")
        return str(ours["pos"]).encode()
    if isinstance(ours, dict):
        raise refused(event, "no position in cdc")
    return ARRIVED + b"%020d" % event.offset
