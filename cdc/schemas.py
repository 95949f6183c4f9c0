"""Descriptions of tables and DDL, as kept on the topic `{name}.cdc.schemas` (compacted). Pure.

A description is published in the same Kafka transaction as, and before, the first event that
has its columns. So a consumer that meets an unknown column finds it by reading the schemas
topic to its end.

Beside them are the statements that changed tables, where the source tells them: for people and tools,
no sink acts on one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import orjson

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a source table and the form its values have in events.

    Args:
        name: as in the source.
        type: the source's type as SQL writes it, with modifiers: `numeric(12,2)`, `text[]`.
        target_type: a type any PostgreSQL server knows that holds the values: `type` itself,
            the base type of a domain, `text` for enums and types of extensions.
        form: Kafka Connect's type of the JSON value: `int16`, `int32`, `int64`, `float32`,
            `float64`, `boolean`, `string`, `bytes`, `array`, `struct`.
        semantic: Debezium's or Connect's name of the meaning, such as
            `io.debezium.time.Date`, or None.
        items: for `array`: form and semantic of the elements, as a column of that name.
        nullable: whether NULL is allowed.
        attnum: the column's number in the source (recognises renames), 0 if unknown.
        parameters: what a reader of `semantic` needs (`scale`, `length`, `labels` …).
        placeholder: what stands for a value that did not change and is not known; None: nothing does.
        comment: the column's, in the source.
    """

    name: str
    type: str
    target_type: str
    form: str
    semantic: str | None = None
    items: Column | None = None
    nullable: bool = True
    attnum: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    placeholder: Any = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table as its events show it.

    Args:
        table: "schema.table" in the source.
        topic: the event topic.
        columns: in the order of the events' members.
        key: names of the columns of the event key, in the key's order; empty without one.
        position: `cdc.pos` of the first event that has this form; it begins with the LSN.
        comment: the table's, in the source.
        oid: of the table in the source; another one when it was made again.
        revision: how many forms the table has had, this one included; 0 if that is not known.
        format: of keys and values on the topic: an entry point of `cdc.formats`.
    """

    table: str
    topic: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    position: str
    comment: str | None = None
    oid: int = 0
    revision: int = 0
    format: str = "debezium-json"

    def to_bytes(self) -> bytes:
        document = {"version": FORMAT_VERSION, **asdict(self)}
        for column in document["columns"]:
            _without_placeholder(column)
        return orjson.dumps(document)

    @classmethod
    def from_bytes(cls, data: bytes) -> TableSchema:
        """Raises: ValueError when it is not a description of this format version."""
        found = read(data)
        if not isinstance(found, cls):
            raise ValueError("not a table description")
        return found

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> TableSchema:
        """Of the document that `to_bytes` wrote."""
        return cls(
            table=document["table"],
            topic=document["topic"],
            columns=tuple(_column(c) for c in document["columns"]),
            key=tuple(document["key"]),
            position=document["position"],
            comment=document.get("comment"),
            oid=document.get("oid", 0),
            revision=document.get("revision", 0),
            format=document.get("format", "debezium-json"),
        )


@dataclass(frozen=True, slots=True)
class ChangedTable:
    """A table that a statement changed.

    Args:
        table: "schema.table" behind the statement; None: it was dropped.
        before: the same before it; None: it was made.
        oid: in the source.
    """

    table: str | None
    before: str | None
    oid: int


@dataclass(frozen=True, slots=True)
class Statement:
    """DDL that was committed.

    Args:
        command: its kind, as the source calls it: `ALTER TABLE`.
        tables: the captured ones that it changed.
        ddl: its text; what else was sent with it in one string is in it too.
        cut: whether the text goes on.
        position: it is behind the event of its transaction with this `cdc.pos`, if there is one, and before the next.
        number: orders statements of the same position.
        lsn: where it is in the log.
        ts_ms: when its transaction was committed, ms since the Unix epoch.
    """

    command: str
    tables: tuple[ChangedTable, ...]
    ddl: str
    cut: bool
    position: str
    number: int
    lsn: str
    ts_ms: int

    @property
    def key(self) -> bytes:
        """Of its record: no other has it, of another connector neither, so it is kept for ever."""
        first = self.tables[0]
        return f"ddl@{self.position}+{self.number}@{first.table or first.before}".encode()

    def to_bytes(self) -> bytes:
        return orjson.dumps({"version": FORMAT_VERSION, **asdict(self)})

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Statement:
        """Of the document that `to_bytes` wrote."""
        tables = tuple(ChangedTable(one["table"], one["before"], one["oid"]) for one in document["tables"])
        return cls(**{**{one.name: document[one.name] for one in fields(cls)}, "tables": tables})


def read(data: bytes) -> TableSchema | Statement:
    """A record's value.

    Raises: ValueError when it is not of this format version, KeyError or TypeError when it is not whole.
    """
    document = orjson.loads(data)
    if not isinstance(document, dict) or document.get("version") != FORMAT_VERSION:
        raise ValueError("not a table description of format version 1")
    return Statement.of(document) if "ddl" in document else TableSchema.of(document)


def _column(document: dict[str, Any]) -> Column:
    items = document["items"]
    return Column(**{**document, "items": _column(items) if items else None})


def _without_placeholder(document: dict[str, Any]) -> None:
    """What is not there is not written."""
    if document["placeholder"] is None:
        del document["placeholder"]
    if document["items"]:
        _without_placeholder(document["items"])
