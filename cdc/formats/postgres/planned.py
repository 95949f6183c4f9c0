"""A relation and how its rows become events, as it was decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc.formats.debezium_json import SourceInfo
from cdc.formats.handling import Style
from cdc.formats.masks import Digest
from cdc.schemas import Column, TableSchema

from .form import Form
from .relation import Relation


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column that is read.

    Args:
        name: as in the source.
        label: its name in events.
        index: its place in the relation's row messages.
        form: how its values become JSON.
        constant: for a masked column, the JSON that stands for every value; else None.
        in_identity: whether old tuples of key changes and deletes hold it.
        description: for the schemas topic.
        null: the JSON that stands for NULL.
        zero: the JSON that stands for a value that is not known, where an old tuple has only the identity.
        placeholder: the JSON that stands for an unchanged TOAST value; None: the member is left out.
        default: the JSON that the Connect schema has as its default; None: it has none.
        parameters: what its Connect schema says beyond its form.
        snapshot_parameters: what that of a snapshot's rows says.
    """

    name: str
    label: str
    index: int
    form: Form
    constant: bytes | None
    in_identity: bool
    description: Column
    null: bytes = b"null"
    zero: bytes = b"null"
    placeholder: bytes | None = None
    default: bytes | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    snapshot_parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnectSchemas:
    """What stands before a payload, where keys and values have Connect schemas; `}` follows it.

    Args:
        key: `{"schema": …, "payload":` of keys; b"" without.
        value: the same of values.
        read: the same of values of a snapshot.
    """

    key: bytes = b""
    value: bytes = b""
    read: bytes = b""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A relation and how its rows become events.

    Args:
        relation: as the stream (or the catalogue) describes it.
        topic: of its events.
        source: for the envelope.
        columns: those of rows in the relation's order, and behind them the ones that only keys have.
        shown: how many of them are those of rows.
        key: names of the key's columns in the key's order, as in the source; empty without a key.
        digests: of masks; a form's argument is the place of its own.
        style: how events are written around their values.
        schemas: Connect's, in every record.
        quirks: whether to do what Debezium hardly means, too.
    """

    relation: Relation
    topic: str
    source: SourceInfo
    columns: tuple[ColumnPlan, ...]
    shown: int
    key: tuple[str, ...]
    digests: tuple[Digest, ...] = field(default=(), repr=False)
    style: Style = field(default_factory=Style)
    schemas: ConnectSchemas = field(default_factory=ConnectSchemas, repr=False)
    quirks: bool = False

    @property
    def table(self) -> str:
        """`schema.table` in the source."""
        return f"{self.relation.schema}.{self.relation.name}"

    @property
    def copy_columns(self) -> tuple[str, ...]:
        """What to select, in order, for `RowEncoder.encode_copy`."""
        return tuple(column.name for column in self.columns)

    @property
    def key_places(self) -> tuple[int, ...]:
        """Where the key's columns are among `columns`."""
        places = {column.name: place for place, column in enumerate(self.columns)}
        return tuple(places[name] for name in self.key)

    def schema(self, position: str) -> TableSchema:
        """The description for the schemas topic, valid from `position` (a `cdc.pos`) on."""
        described = {column.label: column.description for column in reversed(self.columns)}
        return TableSchema(
            self.table,
            self.topic,
            tuple(described[label] for label in dict.fromkeys(column.label for column in self.columns)),
            tuple(self.columns[place].label for place in self.key_places),
            position,
            format=self.style.format,
        )
