"""The forms values have in events (Debezium's) → the text PostgreSQL reads. Pure.

`decode_cy` does the same for the common kinds without Python objects; what it passes on, and
what it refuses, comes here.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import IntEnum
from functools import partial
from typing import Any, Final, TypeAlias

import orjson

from cdc.schemas import Column

from . import structs, temporal
from .checked import decoded, number, text, whole

Convert: TypeAlias = Callable[[Any], str]
"""A JSON value that is not null → PostgreSQL's text of it. Raises ValueError, naming no value, if it does not fit."""

NULL: Final = b"\\N"
"""NULL as COPY's text format writes it."""


class Kind(IntEnum):
    """Kinds of values that `decode_cy` transcodes; it has the same numbers."""

    OTHER = 0
    TEXT = 1
    INTEGER = 2
    FLOAT = 3
    BOOLEAN = 4
    BIT = 5
    NUMERIC = 6
    BYTES = 7
    DATE = 8
    TIME_MS = 9
    TIME_US = 10
    TIMESTAMP_MS = 11
    TIMESTAMP_US = 12
    ZONED = 13


_BY_SEMANTIC: Final[Mapping[str, Kind]] = {
    "io.debezium.time.Date": Kind.DATE,
    "io.debezium.time.Time": Kind.TIME_MS,
    "io.debezium.time.MicroTime": Kind.TIME_US,
    "io.debezium.time.Timestamp": Kind.TIMESTAMP_MS,
    "io.debezium.time.MicroTimestamp": Kind.TIMESTAMP_US,
    "io.debezium.time.ZonedTimestamp": Kind.ZONED,
    "io.debezium.time.Interval": Kind.TEXT,
    "org.apache.kafka.connect.data.Date": Kind.DATE,
    "org.apache.kafka.connect.data.Time": Kind.TIME_MS,
    "org.apache.kafka.connect.data.Timestamp": Kind.TIMESTAMP_MS,
}

_BY_FORM: Final[Mapping[str, Kind]] = {
    "int16": Kind.INTEGER,
    "int32": Kind.INTEGER,
    "int64": Kind.INTEGER,
    "float32": Kind.FLOAT,
    "float64": Kind.FLOAT,
}


def kind_of(column: Column) -> Kind:
    """Which of the compiled kinds a column's values are."""
    if column.semantic and column.semantic in _BY_SEMANTIC:
        return _BY_SEMANTIC[column.semantic]
    if (
        column.semantic in _BY_MEANING
        or column.semantic in _BY_COLUMN
        or "encoding" in column.parameters
        or column.parameters.get("type") == "hstore"
    ):
        return Kind.OTHER
    if column.form == "boolean":
        return Kind.BIT if column.target_type.startswith("bit") else Kind.BOOLEAN
    if column.form == "string":
        return Kind.NUMERIC if column.target_type.startswith("numeric") else Kind.TEXT
    if column.form == "bytes" and column.target_type == "bytea":
        return Kind.BYTES
    return _BY_FORM.get(column.form, Kind.OTHER)


def converter(column: Column) -> Convert:
    """What turns a column's JSON values into PostgreSQL's text."""
    if column.semantic in _BY_MEANING:
        return _BY_MEANING[column.semantic]
    if column.semantic in _BY_COLUMN:
        return partial(_BY_COLUMN[column.semantic], column)
    if column.form == "array":
        # The one type of PostgreSQL's own whose typdelim is no comma: a box has commas itself.
        delimiter = ";" if column.target_type.startswith("box[") else ","
        element = converter(column.items) if column.items else text
        if column.target_type in ("int2vector", "oidvector"):
            return partial(_vector_of_integers, element)
        return partial(_array, element, _holds_lists(column.items), delimiter)
    if column.parameters.get("type") == "hstore":
        return structs.hstore
    if "encoding" in column.parameters:
        return partial(_encoded, column)
    kind = kind_of(column)
    if kind is not Kind.OTHER:
        return _BY_KIND[kind]
    return _encoded_text if column.form == "bytes" else _document


def copy_field(text: str) -> bytes:
    """Text as a field of COPY's text format."""
    return text.translate(_COPY_ESCAPES).encode()


def plain_field(field: bytes) -> str | None:
    """The text that a field of COPY's text format stands for; the inverse of `copy_field`."""
    if field == NULL:
        return None
    if b"\\" not in field:
        return field.decode()
    parts = field.split(b"\\\\")
    return b"\\".join(_unescaped(part) for part in parts).decode()


_COPY_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f"})
_COPY_PLAIN: Final = ((b"\\t", b"\t"), (b"\\n", b"\n"), (b"\\r", b"\r"), (b"\\b", b"\b"), (b"\\f", b"\f"))


def _unescaped(part: bytes) -> bytes:
    for escape, byte in _COPY_PLAIN:
        part = part.replace(escape, byte)
    return part


def _integer(value: Any) -> str:
    return str(whole(value))


def _boolean(value: Any) -> str:
    if type(value) is not bool:
        raise ValueError("not a boolean")
    return "t" if value else "f"


def _bit(value: Any) -> str:
    return "1" if _boolean(value) == "t" else "0"


_NUMERIC_WORDS: Final = {"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}


def _numeric(value: Any) -> str:
    written = text(value)
    return _NUMERIC_WORDS.get(written, written)


def _bytea(value: Any) -> str:
    return "\\x" + decoded(value).hex()


def _encoded(column: Column, value: Any) -> str:
    """Bytes as a string: of `bytea`, or of another type's text."""
    encoding, written = column.parameters["encoding"], text(value)
    try:
        if encoding == "hex":
            raw = bytes.fromhex(written)
        else:
            raw = b64decode(written, b"-_" if encoding == "base64-url-safe" else None, validate=True)
        return "\\x" + raw.hex() if column.target_type == "bytea" else raw.decode()
    except ValueError:
        raise ValueError(f"not {encoding}") from None


def _encoded_text(value: Any) -> str:
    try:
        return decoded(value).decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 in base64") from None


_MOST_DIGITS: Final = 131_072
"""Before the point of a numeric; behind it there are fewer."""


def _decimal(unscaled: bytes, scale: int) -> str:
    number = Decimal(int.from_bytes(unscaled, "big", signed=True)).as_tuple()
    if len(number.digits) > 2 * _MOST_DIGITS or abs(scale) > _MOST_DIGITS:
        raise ValueError("not a number that PostgreSQL can store")
    return format(Decimal((number.sign, number.digits, -scale)), "f")


def _fixed_decimal(column: Column, value: Any) -> str:
    return _decimal(decoded(value), int(column.parameters["scale"]))


def _variable_decimal(value: Any) -> str:
    if not isinstance(value, dict) or type(value.get("scale")) is not int:
        # The specials have no unscaled value; the encoder writes them as words.
        return _numeric(value)
    return _decimal(decoded(value.get("value")), value["scale"])


_LONGEST_BITS: Final = 83_886_080
"""Of the type `bit`; Debezium's length is more where the column has none (CREATE TABLE … AS)."""


def _bits(column: Column, value: Any) -> str:
    """Little-endian bytes → binary digits. What has no length lost its leading zeros in Debezium's form."""
    digits = format(int.from_bytes(decoded(value), "little"), "b")
    length = int(column.parameters["length"])
    if column.target_type.startswith("bit varying") or length > _LONGEST_BITS:
        return digits.lstrip("0")
    return digits.zfill(length)


_BY_COLUMN: Final[Mapping[str | None, Callable[[Column, Any], str]]] = {
    "io.debezium.data.Bits": _bits,
    "org.apache.kafka.connect.data.Decimal": _fixed_decimal,
}
"""What a column's parameters say more of."""

_BY_MEANING: Final[Mapping[str | None, Convert]] = {
    "io.debezium.time.MicroDuration": temporal.duration,
    "io.debezium.time.NanoTime": temporal.time_ns,
    "io.debezium.time.NanoTimestamp": temporal.timestamp_ns,
    "io.debezium.time.IsoDate": temporal.iso,
    "io.debezium.time.IsoTime": temporal.iso,
    "io.debezium.time.IsoTimestamp": temporal.iso,
    "io.debezium.data.VariableScaleDecimal": _variable_decimal,
    "io.debezium.data.geometry.Point": structs.point,
    "io.debezium.data.geometry.Geometry": structs.geometry,
    "io.debezium.data.geometry.Geography": structs.geometry,
    "io.debezium.data.DoubleVector": structs.vector,
    "io.debezium.data.FloatVector": structs.vector,
    "io.debezium.data.SparseDoubleVector": structs.sparse_vector,
}

_BY_KIND: Final[Mapping[Kind, Convert]] = {
    Kind.TEXT: text,
    Kind.INTEGER: _integer,
    Kind.FLOAT: number,
    Kind.BOOLEAN: _boolean,
    Kind.BIT: _bit,
    Kind.NUMERIC: _numeric,
    Kind.BYTES: _bytea,
    Kind.DATE: temporal.day_text,
    Kind.TIME_MS: temporal.time_ms,
    Kind.TIME_US: temporal.time_us,
    Kind.TIMESTAMP_MS: temporal.timestamp_ms,
    Kind.TIMESTAMP_US: temporal.timestamp_us,
    Kind.ZONED: temporal.zoned,
}


def _vector_of_integers(element: Convert, value: Any) -> str:
    """PostgreSQL's own, no array to SQL."""
    if not isinstance(value, list):
        raise ValueError("not an array")
    return " ".join(map(element, value))


def _holds_lists(items: Column | None) -> bool:
    """Whether an element is itself a JSON array (a vector); else an inner array is one more dimension."""
    return items is not None and items.form == "array"


def _array(element: Convert, of_lists: bool, delimiter: str, value: Any) -> str:
    """An array's literal; every element but NULL is quoted, so that no text is taken for syntax."""
    if not isinstance(value, list):
        raise ValueError("not an array")
    return "{" + delimiter.join(_element(element, of_lists, delimiter, item) for item in value) + "}"


def _is_element(item: list[Any]) -> bool:
    """Whether a list is a vector; else it is an array of vectors. Those hold numbers alone, and at least one."""
    return not any(part is None or isinstance(part, list) for part in item)


def _element(convert: Convert, of_lists: bool, delimiter: str, item: Any) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, list) and not (of_lists and _is_element(item)):
        return _array(convert, of_lists, delimiter, item)
    return '"' + convert(item).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _document(value: Any) -> str:
    """A form that is not known: a string as it is, anything else as JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a JSON value")
    return text(value) if isinstance(value, str) else orjson.dumps(value).decode()
