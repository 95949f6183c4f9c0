"""SQL types, as SQLAlchemy reflects them, and drivers' values in the forms of events: see `docs/types.md`. Pure."""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql
from sqlalchemy.sql.sqltypes import _Binary

from cdc.schemas import Column

from . import temporal
from .temporal import NoForm

Convert = Callable[[Any], Any]
"""A value that is not NULL → something else. Raises NoForm."""

MYSQL: Final = ("mysql", "mariadb")

_TIME: Final = "io.debezium.time."
_DATA: Final = "io.debezium.data."


@dataclass(frozen=True, slots=True)
class Kind:
    """What the values of a type become.

    Args:
        form, target, semantic, parameters: as in `cdc.schemas.Column`.
        json: a driver's value → what `orjson` writes; None: it is that already.
        text: a driver's value → PostgreSQL's text of it, which HMACs are of.
        items: of an array, the elements' kind.
        zero: of MySQL's times, what stands for a date of no day where NULL is not allowed.
    """

    form: str
    target: str
    json: Convert | None = None
    text: Callable[[Any], str] = str
    semantic: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    items: Kind | None = None
    zero: Any = None

    def column(self, name: str, type_: str, *, nullable: bool) -> Column:
        """The description for the schemas topic."""
        items = self.items.column(name, type_.partition("[")[0], nullable=True) if self.items else None
        return Column(name, type_, self.target, self.form, self.semantic, items, nullable, 0, self.parameters)


def kind_of(type_: sa.types.TypeEngine[Any], database: str, decimal: str) -> Kind:
    """What becomes of a column's values.

    Args:
        type_: as reflected.
        database: the dialect's name; SQLite holds a column to nothing that its type says.
        decimal: form of numerics: `string`, `double` or `precise`.
    """
    loose = database == "sqlite"
    match type_:
        case sa.ARRAY(item_type=item):
            return _array(kind_of(item, database, decimal))
        case sa.Enum(enums=labels):
            return Kind("string", "text", semantic=_DATA + "Enum", parameters={"labels": list(labels)})
        case mysql.TINYINT(display_width=1) | sa.Boolean():
            return Kind("boolean", "boolean", truth, lambda value: "t" if truth(value) else "f")
        case mysql.BIT(length=length) | postgresql.BIT(length=length):
            return _bits(length, varying=isinstance(type_, postgresql.BIT))
        case mysql.YEAR():
            return Kind("int32", "integer")
        case mssql.MONEY() | mssql.SMALLMONEY():
            return _numeric(19, 4, decimal)
        case sa.Float():
            single = isinstance(type_, (oracle.BINARY_FLOAT, mysql.FLOAT)) or (
                isinstance(type_, sa.REAL) and database in ("duckdb", "mssql")
            )
            return _float(single=single)
        case sa.Numeric(precision=precision, scale=scale):
            return _numeric(None if loose else precision, None if loose else scale, decimal)
        case sa.Integer():
            return Kind("int64", "bigint", whole) if loose else _integer(type_, decimal)
        case sa.DateTime():
            return _timestamp(type_, database)
        case sa.Date():
            return Kind("int32", "date", temporal.date_json, temporal.date_text, _TIME + "Date", zero=0)
        case sa.Time():
            return _time(type_, database)
        case sa.Interval() | postgresql.INTERVAL() | oracle.INTERVAL():
            return Kind("int64", "interval", temporal.interval_micros, semantic=_TIME + "MicroDuration")
        case _Binary():
            return Kind("bytes", "bytea", base64, lambda value: "\\x" + _bytes(value).hex())
        case sa.Uuid():
            return Kind("string", "uuid", uuid_text, uuid_text, _DATA + "Uuid")
        case sa.JSON():
            return Kind("string", "json", document, document, _DATA + "Json")
        case sa.String():
            return Kind("string", "text", text if loose else None, text)
        case _:
            return Kind("string", "text", anything, anything)


def _array(items: Kind) -> Kind:
    def each(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [None if one is None else each(one) for one in value]
        return value if items.json is None else items.json(value)

    def written(value: Any) -> str:
        return orjson.dumps(each(value)).decode()

    return Kind("array", items.target + "[]", each, written, items=items)


def _integer(type_: sa.types.TypeEngine[Any], decimal: str) -> Kind:
    unsigned = bool(getattr(type_, "unsigned", False))
    match type_:
        case sa.BigInteger() if unsigned:
            return _numeric(20, 0, decimal)
        case sa.BigInteger():
            return Kind("int64", "bigint")
        case sa.SmallInteger() | mysql.TINYINT() | mssql.TINYINT():
            wide = unsigned and not isinstance(type_, mysql.TINYINT)
            return Kind("int32", "integer") if wide else Kind("int16", "smallint")
        case mysql.MEDIUMINT():
            return Kind("int32", "integer")
        case _:
            return Kind("int64", "bigint") if unsigned else Kind("int32", "integer")


def _float(*, single: bool) -> Kind:
    if single:
        return Kind("float32", "real", single_number, lambda value: _float_text(_shortest(value), 6))
    return Kind("float64", "double precision", number, lambda value: _float_text(float(value), 15))


def _numeric(precision: int | None, scale: int | None, decimal: str) -> Kind:
    limited = precision is not None and scale is not None and 0 <= scale <= precision
    target = f"numeric({precision},{scale})" if limited else "numeric"
    limits = {"precision": precision, "scale": scale} if limited else {}
    if decimal == "double":
        return Kind("float64", target, decimal_number, decimal_text)
    if decimal == "string":
        return Kind("string", target, decimal_text, decimal_text, parameters=limits)
    if limited:
        assert scale is not None
        connect = "org.apache.kafka.connect.data.Decimal"
        return Kind("bytes", target, partial(unscaled, scale=scale), decimal_text, connect, limits)
    return Kind("struct", target, variable_decimal, decimal_text, _DATA + "VariableScaleDecimal")


def _bits(length: int | None, *, varying: bool) -> Kind:
    if varying:
        return Kind("bytes", "bit varying", bits, str, _DATA + "Bits", {"length": 2**31 - 1})
    length = length or 1
    if length == 1:
        return Kind("boolean", "bit(1)", truth, lambda value: "1" if truth(value) else "0")
    written = partial(_bit_text, length=length)
    return Kind("bytes", f"bit({length})", bits, written, _DATA + "Bits", {"length": length})


def _digits(type_: sa.types.TypeEngine[Any], database: str) -> int:
    """Of a fraction of a second that the type keeps."""
    if database in MYSQL:
        return getattr(type_, "fsp", None) or 0
    match type_:
        case mssql.SMALLDATETIME() | oracle.DATE():
            return 0
        case mssql.DATETIME() if database == "mssql":
            return 3
        case _:
            given = getattr(type_, "precision", None)
            return 6 if given is None else min(given, 6)


def _timestamp(type_: sa.types.TypeEngine[Any], database: str) -> Kind:
    digits = _digits(type_, database)
    suffix = f"({digits})" if digits < 6 else ""
    zoned = (
        getattr(type_, "timezone", False)
        or isinstance(type_, mssql.DATETIMEOFFSET)
        or (database in MYSQL and isinstance(type_, sa.TIMESTAMP))
        or getattr(type_, "local_timezone", False)
    )
    if zoned:
        convert: Convert = partial(temporal.zoned_json, digits=digits)
        target = f"timestamp{suffix} with time zone"
        name, zero = _TIME + "ZonedTimestamp", "1970-01-01T00:00:00Z"
        return Kind("string", target, convert, temporal.zoned_text, name, zero=zero)
    target = f"timestamp{suffix} without time zone"
    if digits <= 3:
        return Kind("int64", target, temporal.millis_json, temporal.timestamp_text, _TIME + "Timestamp", zero=0)
    return Kind("int64", target, temporal.micros_json, temporal.timestamp_text, _TIME + "MicroTimestamp", zero=0)


def _time(type_: sa.types.TypeEngine[Any], database: str) -> Kind:
    digits = _digits(type_, database)
    suffix = f"({digits})" if digits < 6 else ""
    if getattr(type_, "timezone", False):
        target = f"time{suffix} with time zone"
        return Kind("string", target, temporal.zoned_time_json, temporal.time_text, _TIME + "ZonedTime")
    target = f"time{suffix} without time zone"
    if digits <= 3:
        return Kind(
            "int32", target, lambda value: temporal.time_micros(value) // 1000, temporal.time_text, _TIME + "Time"
        )
    return Kind("int64", target, temporal.time_micros, temporal.time_text, _TIME + "MicroTime")


def truth(value: Any) -> bool:
    """Of a number, a bit, or the words for it."""
    if isinstance(value, (bool, int, float)):
        return bool(value)
    if isinstance(value, (bytes, bytearray)):
        return any(value)
    word = str(value).lower()
    if word in ("1", "t", "true", "0", "f", "false"):
        return word in ("1", "t", "true")
    raise NoForm("it is neither true nor false")


def whole(value: Any) -> int:
    """A whole number of 64 bits, of what is equal to one."""
    exact = value if isinstance(value, int) else _decimal(value)
    if not isinstance(exact, int) and (not exact.is_finite() or exact != int(exact)):
        raise NoForm("it is no whole number")
    if not -(2**63) <= exact < 2**63:
        raise NoForm("it does not fit 64 bits")
    return int(exact)


def number(value: Any) -> float | str:
    """A float; NaN and the infinities as words."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise NoForm("it is no number") from None
    return value if math.isfinite(value) else _word(value)


def single_number(value: Any) -> float | str:
    """A float of 32 bits in the fewest digits that it is told from others by."""
    value = _shortest(value)
    return value if math.isfinite(value) else _word(value)


def _shortest(value: Any) -> float:
    wide = float(value)
    if not math.isfinite(wide) or not wide:
        return wide
    narrow = struct.pack("f", wide)
    return next(
        short
        for digits in (6, 7, 8, 9)
        if struct.pack("f", short := float(f"{wide:.{digits}g}")) == narrow or digits == 9
    )


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _float_text(value: float, exponential_from: int) -> str:
    """As PostgreSQL writes it."""
    if not math.isfinite(value):
        return _word(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = len(digits) - 1 + exponent
    if value and not -4 <= power < exponential_from:
        fraction = "".join(map(str, digits[1:]))
        return f"{'-' * sign}{digits[0]}{'.' * bool(fraction)}{fraction}e{power:+03d}"
    return format(Decimal((sign, digits, exponent)), "f")


def _decimal(value: Any) -> Decimal:
    try:
        return value if isinstance(value, Decimal) else Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, TypeError, ValueError):
        raise NoForm("it is no number") from None


def decimal_text(value: Any) -> str:
    """All digits, zeros at the end too."""
    exact = _decimal(value)
    if exact.is_finite():
        return format(exact, "f")
    return "NaN" if exact.is_nan() else "Infinity" if exact > 0 else "-Infinity"


def decimal_number(value: Any) -> Any:
    """All digits, as a number."""
    written = decimal_text(value)
    if written[-1:].isalpha() or written[-1:] == "y":
        return written
    return orjson.Fragment(written if "." in written else written + ".0")


def unscaled(value: Any, scale: int) -> str:
    """The unscaled value as big-endian two's complement in base64."""
    sign, digits, exponent = _decimal(value).as_tuple()
    if not isinstance(exponent, int):
        raise NoForm("NaN and Infinity have no form under decimal: precise; set decimal: string")
    found = int("".join(map(str, digits)) or "0")
    shift = exponent + scale
    found, rest = (found * 10**shift, 0) if shift >= 0 else divmod(found, 10**-shift)
    if rest:
        raise NoForm("it has more digits than its type")
    found = -found if sign else found
    length = (found if found >= 0 else ~found).bit_length() // 8 + 1
    return b64encode(found.to_bytes(length, "big", signed=True)).decode()


def variable_decimal(value: Any) -> dict[str, Any]:
    """Scale and unscaled value, without zeros at the end of a fraction."""
    exact = _decimal(value)
    if not exact.is_finite():
        raise NoForm("NaN and Infinity have no form under decimal: precise; set decimal: string")
    _, point, fraction = format(exact, "f").partition(".")
    scale = len(fraction.rstrip("0")) if point else 0
    return {"scale": scale, "value": unscaled(exact, scale)}


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise NoForm("it is no bytes")


def base64(value: Any) -> str:
    return b64encode(_bytes(value)).decode()


def bits(value: Any) -> str:
    """Little-endian bytes without zeros at the end, of MySQL's bytes or DuckDB's digits."""
    found = int.from_bytes(value, "big") if isinstance(value, bytes) else int(value, 2)
    return b64encode(found.to_bytes((found.bit_length() + 7) // 8, "little")).decode()


def _bit_text(value: bytes, length: int) -> str:
    return format(int.from_bytes(value, "big"), f"0{length}b")


def text(value: Any) -> str:
    """Text of whatever kind of value a column of text holds."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise NoForm("it is not UTF-8") from None
    return anything(value)


def anything(value: Any) -> str:
    """Of a type without a form of its own."""
    return base64(value) if isinstance(value, (bytes, bytearray, memoryview)) else str(value)


def uuid_text(value: Any) -> str:
    return (str(UUID(bytes=value)) if isinstance(value, bytes) and len(value) == 16 else text(value)).lower()


def document(value: Any) -> str:
    return orjson.dumps(value).decode() if isinstance(value, (dict, list)) else text(value)
