"""What the form of a column's values is: how their text becomes JSON, and what a schema says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any, Final


class Transcoder(IntEnum):
    """How a value's text becomes JSON. `transcode_cy` has the same numbers as C constants."""

    TEXT = 0
    INTEGER = 1
    FLOAT = 2
    BOOLEAN = 3
    BYTES = 4
    DATE = 5
    TIME = 6
    TIMESTAMP = 7
    ZONED_TIMESTAMP = 8
    ZONED_TIME = 9
    INTERVAL = 10
    DECIMAL = 11
    VARIABLE_DECIMAL = 12
    BIT = 13
    BITS = 14
    ARRAY = 15
    TRUNCATED = 16
    DIGEST = 17
    CONSTANT = 18
    UNKNOWN = 19
    """Every value is written as an unknown one: null, or `zero`."""
    DOUBLE = 20
    NUMERIC_TEXT = 21
    MONEY = 22
    ISO_DATE = 23
    ISO_TIME = 24
    ISO_TIMESTAMP = 25
    ISO_INTERVAL = 26
    TEXT_BYTES = 27
    GEOMETRIC = 28
    POINT = 29
    GEOMETRY = 30
    VECTOR = 31
    SPARSE_VECTOR = 32
    HSTORE = 33
    CUT = 34
    """Written as `element` says, and then shortened to `argument`, see `cutting`."""


class ArrayRule(IntFlag):
    """What Debezium cannot write in an array; the argument of ARRAY under `quirks`."""

    FLAT = 1
    """An inner array is null."""
    NO_NULLS = 2
    """An array with a NULL is null: its schema says that elements are not optional."""
    FINITE = 4
    """An array with NaN or an infinity is null: the driver cannot read it."""
    EMPTY = 8
    """An array with anything in it is null."""


QUIRK: Final = 16
IN_ARRAY: Final = 32
AS_STREAMED: Final = 1
AS_SNAPSHOT: Final = 2
"""Arguments of temporal transcoders, as in `temporal_cy` and `iso_cy`."""


@dataclass(frozen=True, slots=True)
class Form:
    """What becomes of a type's values.

    Args:
        transcoder: how the text becomes JSON.
        argument: of the transcoder: digits of a fraction kept (times), scale (decimals),
            characters (truncated text), what is left (cut values), bytes (floats), alphabet (bytes),
            place of a mask among the plan's; and QUIRK.
        json: Kafka Connect's type of the JSON value, as in `cdc.schemas.Column.form`.
        semantic: Debezium's name of the meaning, or None.
        parameters: what a reader of `semantic` needs, for the schemas topic.
        connect_parameters: the parameters of Debezium's Connect schema; its version is 1 wherever it has a name.
        doc: of Debezium's Connect schema.
        optional: of an element, a field, a key or a value inside of another form: whether it may be null.
        zero: the JSON that stands for an unknown value of a NOT NULL column, where Debezium
            cannot leave it null: `before` under an identity that has only the key.
        element: for arrays, the form of the elements; for maps, of the values; of what is cut, the whole.
        key: for maps, the form of the keys.
        fields: for structs, their members in order.
        delimiter: for arrays, between the elements.
        snapshot: what rows of a snapshot have instead, where Debezium differs from itself.
    """

    transcoder: Transcoder
    argument: int = 0
    json: str = "string"
    semantic: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    zero: str = '""'
    element: Form | None = None
    delimiter: str = ","
    connect_parameters: Mapping[str, str] = field(default_factory=dict)
    doc: str | None = None
    optional: bool = True
    key: Form | None = None
    fields: tuple[tuple[str, Form], ...] = ()
    snapshot: Form | None = None
