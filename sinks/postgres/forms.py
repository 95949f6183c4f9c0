"""The forms values have in events (Debezium's) → the text PostgreSQL reads. Pure.

`decode_cy` does the same for the common kinds without Python objects; what it passes on, and
what it refuses, comes here.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from enum import IntEnum
from functools import partial
from typing import Any, Final, TypeAlias

import orjson

from cdc.schemas import Column

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
    if column.semantic in _BY_MEANING:
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
    if column.form == "array":
        return partial(_array, converter(column.items) if column.items else _text)
    if column.semantic in _BY_MEANING:
        return partial(_BY_MEANING[column.semantic], column)
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


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("not a string")
    if "\0" in value:
        raise ValueError("holds a zero byte, which PostgreSQL cannot store")
    return value


def _integer(value: Any) -> str:
    return str(_whole(value))


def _float(value: Any) -> str:
    if type(value) is float or type(value) is int:
        return repr(value)
    if value in ("NaN", "Infinity", "-Infinity"):
        return str(value)
    raise ValueError("not a number")


def _boolean(value: Any) -> str:
    if type(value) is not bool:
        raise ValueError("not a boolean")
    return "t" if value else "f"


def _bit(value: Any) -> str:
    return "1" if _boolean(value) == "t" else "0"


_NUMERIC_WORDS: Final = {"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}


def _numeric(value: Any) -> str:
    text = _text(value)
    return _NUMERIC_WORDS.get(text, text)


def _decoded(value: Any) -> bytes:
    try:
        return b64decode(_text(value), validate=True)
    except ValueError:
        raise ValueError("not base64") from None


def _bytea(value: Any) -> str:
    return "\\x" + _decoded(value).hex()


def _encoded_text(value: Any) -> str:
    try:
        return _decoded(value).decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 in base64") from None


_EPOCH_DAYS: Final = date(1970, 1, 1).toordinal()
_ERA: Final = 146_097
"""Days of 400 years, after which the calendar repeats itself."""

_INFINITE_DAYS: Final = {
    2**31 - 1: "infinity",
    -(2**31): "-infinity",
    -622_191_234: "infinity",  # Debezium's own, an overflow
    -625_821_272: "-infinity",
}
_INFINITE_MILLIS: Final = {9_223_372_036_825_200: "infinity", -9_223_372_036_832_400: "-infinity"}
_INFINITE_MICROS: Final = {9_223_372_036_825_200_000: "infinity", -9_223_372_036_832_400_000: "-infinity"}
_INFINITE_DURATIONS: Final = {2**63 - 1: "infinity", -(2**63): "-infinity"}
"""PostgreSQL's infinities in events; those of timestamps are the JDBC driver's."""


def _day(days: int) -> tuple[str, str]:
    """Days since 1970-01-01 → date and era, as PostgreSQL writes them: `("0044-03-15", " BC")`."""
    eras, within = divmod(days + _EPOCH_DAYS - 1, _ERA)
    day = date.min + timedelta(days=within)
    year = day.year + 400 * eras
    shown, era = (year, "") if year > 0 else (1 - year, " BC")
    return f"{shown:04}-{day.month:02}-{day.day:02}", era


def _date(value: Any) -> str:
    days = _whole(value)
    return _INFINITE_DAYS.get(days) or "".join(_day(days))


def _clock(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:06}" if fraction else text


def _time_us(value: Any) -> str:
    if not 0 <= _whole(value) <= 86_400_000_000:
        raise ValueError("not a time of day")
    return _clock(value)


def _time_ms(value: Any) -> str:
    return _time_us(_whole(value) * 1000)


def _timestamp_us(value: Any) -> str:
    days, micros = divmod(_whole(value), 86_400_000_000)
    day, era = _day(days)
    return _INFINITE_MICROS.get(value) or f"{day} {_clock(micros)}{era}"


def _timestamp_ms(value: Any) -> str:
    return _INFINITE_MILLIS.get(_whole(value)) or _timestamp_us(value * 1000)


def _zoned(value: Any) -> str:
    """ISO years have a sign beyond 9999 and count on below 1; PostgreSQL's do neither."""
    text = _text(value)
    if text in ("infinity", "-infinity"):
        return text
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    year, dash, tail = rest.partition("-")
    if not (year.isdecimal() and dash):
        raise ValueError("not an ISO timestamp")
    number = -int(year) if sign == "-" else int(year)
    if number > 0:
        return f"{number:04}-{tail}"
    return f"{1 - number:04}-{tail} BC"


def _duration(_: Column, value: Any) -> str:
    micros = _whole(value)
    return _INFINITE_DURATIONS.get(micros) or (f"-{_clock(-micros)}" if micros < 0 else _clock(micros))


_MOST_DIGITS: Final = 131_072
"""Before the point of a numeric; behind it there are fewer."""


def _decimal(unscaled: bytes, scale: int) -> str:
    number = Decimal(int.from_bytes(unscaled, "big", signed=True)).as_tuple()
    if len(number.digits) > 2 * _MOST_DIGITS or abs(scale) > _MOST_DIGITS:
        raise ValueError("not a number that PostgreSQL can store")
    return format(Decimal((number.sign, number.digits, -scale)), "f")


def _fixed_decimal(column: Column, value: Any) -> str:
    return _decimal(_decoded(value), int(column.parameters["scale"]))


def _variable_decimal(_: Column, value: Any) -> str:
    if not isinstance(value, dict) or type(value.get("scale")) is not int:
        # The specials have no unscaled value; the encoder writes them as words.
        return _numeric(value)
    return _decimal(_decoded(value.get("value")), value["scale"])


_LONGEST_BITS: Final = 83_886_080
"""Of the type `bit`; Debezium's length is more where the column has none (CREATE TABLE … AS)."""


def _bits(column: Column, value: Any) -> str:
    """Little-endian bytes → binary digits. What has no length lost its leading zeros in Debezium's form."""
    digits = format(int.from_bytes(_decoded(value), "little"), "b")
    length = int(column.parameters["length"])
    if column.target_type.startswith("bit varying") or length > _LONGEST_BITS:
        return digits.lstrip("0")
    return digits.zfill(length)


_BY_MEANING: Final[Mapping[str | None, Callable[[Column, Any], str]]] = {
    "io.debezium.time.MicroDuration": _duration,
    "io.debezium.data.Bits": _bits,
    "io.debezium.data.VariableScaleDecimal": _variable_decimal,
    "org.apache.kafka.connect.data.Decimal": _fixed_decimal,
}

_BY_KIND: Final[Mapping[Kind, Convert]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.BIT: _bit,
    Kind.NUMERIC: _numeric,
    Kind.BYTES: _bytea,
    Kind.DATE: _date,
    Kind.TIME_MS: _time_ms,
    Kind.TIME_US: _time_us,
    Kind.TIMESTAMP_MS: _timestamp_ms,
    Kind.TIMESTAMP_US: _timestamp_us,
    Kind.ZONED: _zoned,
}


def _array(element: Convert, value: Any) -> str:
    """An array's literal; every element but NULL is quoted, so that no text is taken for syntax."""
    if not isinstance(value, list):
        raise ValueError("not an array")
    return "{" + ",".join(_element(element, item) for item in value) + "}"


def _element(convert: Convert, item: Any) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, list):
        return _array(convert, item)
    return '"' + convert(item).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _document(value: Any) -> str:
    """A form that is not known: a string as it is, anything else as JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a JSON value")
    return _text(value) if isinstance(value, str) else orjson.dumps(value).decode()
