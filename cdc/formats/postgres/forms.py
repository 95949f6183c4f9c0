"""The form that values of PostgreSQL's types get in events: Debezium's, as the settings ask. Pure.

`docs/types.md` lists them all. Which types Debezium knows is in its `PostgresValueConverter` and, for what
is left to the JDBC type, `JdbcValueConverters`; what it does by accident is done under `quirks` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from cdc.formats.handling import Binaries, Handling

from .form import AS_SNAPSHOT, AS_STREAMED, IN_ARRAY, QUIRK, ArrayRule, Form, Transcoder
from .types import TypeInfo, base_of, numeric_modifier

_TIME: Final = "io.debezium.time."
_DATA: Final = "io.debezium.data."
_CONNECT: Final = "org.apache.kafka.connect.data."

TEXT_FORM: Final = Form(Transcoder.TEXT)
_BYTES: Final = Form(Transcoder.BYTES, json="bytes")
_INT16: Final = Form(Transcoder.INTEGER, json="int16", zero="0")
_INT32: Final = Form(Transcoder.INTEGER, json="int32", zero="0")
_INT64: Final = Form(Transcoder.INTEGER, json="int64", zero="0")
_FLOAT32: Final = Form(Transcoder.FLOAT, 4, "float32", zero="0.0")
_FLOAT64: Final = Form(Transcoder.FLOAT, 8, "float64", zero="0.0")
_DOUBLE: Final = Form(Transcoder.DOUBLE, 8, "float64", zero="0.0")
_JSON: Final = Form(Transcoder.TEXT, semantic=_DATA + "Json")


def _required(form: Form) -> Form:
    return replace(form, optional=False)


_SIMPLE: Final[Mapping[str, Form]] = {
    "int2": _INT16,
    "int4": _INT32,
    "int8": _INT64,
    "oid": _INT64,
    "float4": _FLOAT32,
    "float8": _FLOAT64,
    "bool": Form(Transcoder.BOOLEAN, json="boolean", zero="false"),
    "uuid": Form(Transcoder.TEXT, semantic=_DATA + "Uuid"),
    "json": _JSON,
    "jsonb": _JSON,
    "xml": Form(Transcoder.TEXT, semantic=_DATA + "Xml"),
    "tsvector": Form(Transcoder.TEXT, semantic=_DATA + "Tsvector"),
    "point": Form(
        Transcoder.POINT,
        8,
        "struct",
        _DATA + "geometry.Point",
        zero='{"x":0.0,"y":0.0,"wkb":"AQEAAAAAAAAAAAAAAAAAAAAAAAAA","srid":null}',
        doc="Geometry (POINT)",
        fields=(("x", _required(_FLOAT64)), ("y", _required(_FLOAT64)), ("wkb", _BYTES), ("srid", _INT32)),
    ),
} | dict.fromkeys(("text", "varchar", "bpchar", "char", "inet", "cidr", "macaddr", "macaddr8"), TEXT_FORM)


def _geometry(name: str) -> Form:
    return Form(
        Transcoder.GEOMETRY,
        json="struct",
        semantic=f"{_DATA}geometry.{name}",
        zero='{"wkb":"AQcAAAAAAAAA","srid":null}',
        doc=name,
        fields=(("wkb", _required(_BYTES)), ("srid", _INT32)),
    )


_EXTENSIONS: Final[Mapping[str, Form]] = {
    "citext": TEXT_FORM,
    "isbn": TEXT_FORM,
    "ltree": Form(Transcoder.TEXT, semantic=_DATA + "Ltree"),
    "geometry": _geometry("Geometry"),
    "geography": _geometry("Geography"),
    "vector": Form(Transcoder.VECTOR, 8, "array", _DATA + "DoubleVector", zero="[]", element=_required(_FLOAT64)),
    "halfvec": Form(Transcoder.VECTOR, 4, "array", _DATA + "FloatVector", zero="[]", element=_required(_FLOAT32)),
}
"""Of types that extensions make; Debezium knows them by their name alone."""

_GEOMETRIC: Final = frozenset({"box", "circle", "line", "lseg", "path", "polygon"})
"""Built-in types of which Debezium has the driver's object, whose text has Java's numbers."""

_NO_ARRAYS: Final = frozenset({"money", "name", "interval", "varbit", "xml", "point", "refcursor"})
"""Built-in types of whose arrays Debezium has no form, whatever its `include.unknown.datatypes`."""

_REQUIRED_ELEMENTS: Final = frozenset({"tsvector", "isbn", "vector", "halfvec", "sparsevec"})
"""Types whose arrays have elements that are not optional, like those of enums and of unknown types."""


def form_of(type_oid: int, modifier: int, types: Mapping[int, TypeInfo], handling: Handling) -> Form | None:
    """The form of a column's values; None where the settings leave columns of its type out.

    Args:
        type_oid, modifier: of the column.
        types: from `types_from_rows`; a type that is not there is an unknown one.
        handling: how values are written.
    """
    info, modifier = base_of(type_oid, modifier, types)
    if info is None:
        return _unknown("", handling)
    if info.element_oid is not None:
        return _array(info, modifier, types, handling)
    form = _known(info, modifier, handling) or _unknown(info.name, handling)
    if handling.quirks and form is not None and form.transcoder in _QUIRKY:
        return replace(form, argument=form.argument | QUIRK)
    return form


_QUIRKY: Final = frozenset(
    {Transcoder.FLOAT, Transcoder.DOUBLE, Transcoder.TIMESTAMP, Transcoder.INTERVAL}
    | {Transcoder.ISO_TIME, Transcoder.ISO_TIMESTAMP, Transcoder.ISO_INTERVAL}
    | {Transcoder.GEOMETRIC, Transcoder.POINT, Transcoder.VECTOR, Transcoder.SPARSE_VECTOR, Transcoder.HSTORE}
)
"""What has QUIRK in its argument under `quirks`."""


def _known(info: TypeInfo, modifier: int, handling: Handling) -> Form | None:
    """Of a type that Debezium knows."""
    if info.kind == "e":
        return Form(
            Transcoder.TEXT,
            semantic=_DATA + "Enum",
            parameters={"labels": list(info.labels)},
            connect_parameters={"allowed": ",".join(info.labels)},
        )
    if info.schema == "pg_catalog":
        return _SIMPLE.get(info.name) or _built_in(info.name, modifier, handling)
    return (_EXTENSIONS.get(info.name) or _extension(info.name, handling)) if info.kind == "b" else None


def _unknown(name: str, handling: Handling) -> Form | None:
    """Of a type that Debezium does not know."""
    if handling.unknown_types == "text":
        return TEXT_FORM
    if handling.unknown_types == "skip":
        return None
    return _binary(Transcoder.GEOMETRIC if name in _GEOMETRIC else Transcoder.TEXT_BYTES, handling.binary)


_ALPHABETS: Final[Mapping[Binaries, int]] = {"bytes": 0, "base64": 0, "base64-url-safe": 1, "hex": 2}


def _binary(transcoder: Transcoder, mode: Binaries) -> Form:
    if mode == "bytes":
        return Form(transcoder, json="bytes")
    return Form(transcoder, _ALPHABETS[mode], parameters={"encoding": mode})


def _extension(name: str, handling: Handling) -> Form | None:
    if name == "hstore" and handling.hstore == "json":
        return Form(Transcoder.HSTORE, semantic=_DATA + "Json", parameters={"type": "hstore"}, zero='"{}"')
    if name == "hstore":
        return Form(
            Transcoder.HSTORE,
            1,
            "map",
            parameters={"type": "hstore"},
            zero="{}",
            key=_required(TEXT_FORM),
            element=TEXT_FORM,
        )
    if name == "sparsevec":
        vector = Form(Transcoder.CONSTANT, json="map", key=_required(_INT16), element=_required(_FLOAT64))
        return Form(
            Transcoder.SPARSE_VECTOR,
            json="struct",
            semantic=_DATA + "SparseDoubleVector",
            zero='{"dimensions":0,"vector":[]}',
            doc="Sparse double vector",
            fields=(("dimensions", _required(_INT16)), ("vector", _required(vector))),
        )
    return None


def _array(info: TypeInfo, modifier: int, types: Mapping[int, TypeInfo], handling: Handling) -> Form | None:
    # An array's modifier is that of its elements.
    assert info.element_oid is not None
    inner = types.get(info.element_oid)
    form = form_of(info.element_oid, modifier, types, handling)
    name = "" if inner is None else inner.name
    built_in = inner is not None and inner.schema == "pg_catalog"
    if handling.quirks and built_in and name == "bit":
        return None if form is None else replace(form, transcoder=Transcoder.UNKNOWN)
    if handling.unknown_types != "text":
        if built_in and name in _NO_ARRAYS:
            return None
        if inner is not None and inner.kind == "d":
            form = _unknown("", handling)
    if form is not None and form.transcoder is Transcoder.CONSTANT:  # an array of int2vector, itself one with quirks
        form = _unknown("", handling)
    if form is None:
        return None
    if form.transcoder is Transcoder.ARRAY:  # an array of a domain over an array
        form = TEXT_FORM
    if (
        form.transcoder in (Transcoder.TEXT_BYTES, Transcoder.GEOMETRIC)
        or name in _REQUIRED_ELEMENTS
        or (inner is not None and inner.kind == "e")
    ):
        form = _required(form)
    rules = ArrayRule(0)
    if handling.quirks:
        form = _quirky_element(form)
        rules = ArrayRule.FLAT
        rules |= ArrayRule.NO_NULLS if not form.optional or name == "ltree" else 0
        rules |= ArrayRule.FINITE if built_in and name == "numeric" else 0
        rules |= ArrayRule.EMPTY if name == "sparsevec" else 0
    return Form(Transcoder.ARRAY, rules, json="array", zero="[]", element=form, delimiter=info.delimiter)


def _quirky_element(form: Form) -> Form:
    """Arrays come from the driver in snapshots and in the stream: with java.sql's dates and times."""
    if form.snapshot is not None:
        form = form.snapshot
    match form.transcoder:
        case Transcoder.TIME | Transcoder.ZONED_TIME:
            return replace(form, argument=form.argument | QUIRK)
        case Transcoder.ISO_TIME | Transcoder.TIMESTAMP | Transcoder.ISO_TIMESTAMP:
            return replace(form, argument=form.argument | QUIRK | IN_ARRAY)
        case Transcoder.ZONED_TIMESTAMP:
            return replace(form, argument=form.argument | IN_ARRAY)
        case _:
            return form


def _built_in(name: str, modifier: int, handling: Handling) -> Form | None:
    """Types whose form depends on their modifier or the settings."""
    match name:
        case "numeric":
            return _numeric(modifier, handling)
        case "money":
            return _money(handling)
        case "bytea":
            return _binary(Transcoder.BYTES, handling.binary)
        case "date":
            return _date(handling)
        case "time":
            return _time(_fraction_digits(modifier), handling)
        case "timestamp":
            return _timestamp(_fraction_digits(modifier), handling)
        case "timestamptz":
            return Form(
                Transcoder.ZONED_TIMESTAMP,
                _fraction_digits(modifier),
                semantic=_TIME + "ZonedTimestamp",
                zero='"1970-01-01T00:00:00Z"',
            )
        case "timetz":
            return Form(Transcoder.ZONED_TIME, semantic=_TIME + "ZonedTime", zero='"00:00:00Z"')
        case "interval" if handling.interval == "string":
            return Form(Transcoder.ISO_INTERVAL, semantic=_TIME + "Interval", zero='"P0Y0M0DT0H0M0S"')
        case "interval":
            return Form(Transcoder.INTERVAL, json="int64", semantic=_TIME + "MicroDuration", zero="0")
        case "bit" | "varbit":
            return _bits(modifier)
        case "name" if handling.quirks and handling.unknown_types != "bytes":
            # Streamed it is a type that is not known (ReplicationMessageColumnValueResolver), to JDBC it is VARCHAR.
            return Form(Transcoder.UNKNOWN, snapshot=TEXT_FORM)
        case "name" | "int4range" | "int8range" | "numrange" | "tsrange" | "tstzrange" | "daterange":
            return TEXT_FORM
        case "int2vector" | "oidvector" if handling.quirks:
            element = _INT16 if name == "int2vector" else _INT64
            return Form(Transcoder.CONSTANT, json="array", zero="[]", element=_required(element))
        case _:
            return None


def _fraction_digits(modifier: int) -> int:
    return modifier if 0 <= modifier <= 6 else 6


def _date(handling: Handling) -> Form:
    match handling.time_precision:
        case "isostring":
            form = Form(Transcoder.ISO_DATE, semantic=_TIME + "IsoDate", zero='"1970-01-01Z"')
        case "connect":
            form = Form(Transcoder.DATE, json="int32", semantic=_CONNECT + "Date", zero="0")
        case _:
            form = Form(Transcoder.DATE, json="int32", semantic=_TIME + "Date", zero="0")
    if not handling.quirks:
        return form
    return replace(form, argument=AS_STREAMED, snapshot=replace(form, argument=AS_SNAPSHOT))


def _time(digits: int, handling: Handling) -> Form:
    match handling.time_precision:
        case "isostring":
            return Form(Transcoder.ISO_TIME, semantic=_TIME + "IsoTime", zero='"00:00:00Z"')
        case "connect":
            return Form(Transcoder.TIME, 3, "int32", _CONNECT + "Time", zero="0")
        case "nanoseconds":
            return Form(Transcoder.TIME, 9, "int64", _TIME + "NanoTime", zero="0")
        case "adaptive" if digits <= 3:
            return Form(Transcoder.TIME, 3, "int32", _TIME + "Time", zero="0")
        case _:
            return Form(Transcoder.TIME, 6, "int64", _TIME + "MicroTime", zero="0")


def _timestamp(digits: int, handling: Handling) -> Form:
    match handling.time_precision:
        case "isostring":
            return Form(Transcoder.ISO_TIMESTAMP, semantic=_TIME + "IsoTimestamp", zero='"1970-01-01T00:00:00Z"')
        case "connect":
            return Form(Transcoder.TIMESTAMP, 3, "int64", _CONNECT + "Timestamp", zero="0")
        case "nanoseconds":
            return Form(Transcoder.TIMESTAMP, 9, "int64", _TIME + "NanoTimestamp", zero="0")
        case "adaptive" | "adaptive_time_microseconds" if digits <= 3:
            return Form(Transcoder.TIMESTAMP, 3, "int64", _TIME + "Timestamp", zero="0")
        case _:
            return Form(Transcoder.TIMESTAMP, 6, "int64", _TIME + "MicroTimestamp", zero="0")


def _bits(modifier: int) -> Form:
    if modifier == 1:
        return Form(Transcoder.BIT, json="boolean", zero="false")
    length = modifier if modifier > 0 else 2**31 - 1
    return Form(
        Transcoder.BITS,
        json="bytes",
        semantic=_DATA + "Bits",
        parameters={"length": length},
        connect_parameters={"length": str(length)},
    )


def _zeros(digits: int) -> str:
    return '"0.' + "0" * digits + '"' if digits > 0 else '"0"'


def _money(handling: Handling) -> Form:
    digits = handling.money_fraction_digits
    match handling.decimal:
        case "double":
            return Form(Transcoder.MONEY, -1, "float64", zero="0.0")
        case "string":
            return Form(Transcoder.MONEY, -2, zero=_zeros(digits))
        case "precise":
            return replace(_decimal(digits), transcoder=Transcoder.MONEY)


def _decimal(scale: int, precision: int | None = None) -> Form:
    known = {} if precision is None else {"precision": precision}
    return Form(
        Transcoder.DECIMAL,
        scale,
        "bytes",
        _CONNECT + "Decimal",
        {"scale": scale} | known,
        zero='"AA=="',
        connect_parameters={"scale": str(scale)} | {f"connect.decimal.{name}": str(n) for name, n in known.items()},
    )


_VARIABLE_DECIMAL: Final = Form(
    Transcoder.VARIABLE_DECIMAL,
    json="struct",
    semantic=_DATA + "VariableScaleDecimal",
    zero='{"scale":0,"value":"AA=="}',
    doc="Variable scaled decimal",
    fields=(("scale", _required(_INT32)), ("value", _required(_BYTES))),
)


def _numeric(modifier: int, handling: Handling) -> Form:
    """The driver, and so Debezium, knows no negative scale: -2 is 2046."""
    limits = numeric_modifier(modifier)
    if handling.decimal == "double":
        return _DOUBLE
    if handling.decimal == "string":
        parameters = {"precision": limits[0], "scale": limits[1]} if limits else {}
        if not handling.quirks:
            return Form(Transcoder.TEXT, parameters=parameters, zero=_zeros(limits[1] if limits else 0))
        digits = limits[1] & 0x7FF if limits else 0
        missing = digits if limits and limits[1] < 0 else 0
        return Form(Transcoder.NUMERIC_TEXT, missing, parameters=parameters, zero=_zeros(digits))
    if limits is None or (limits[1] < 0 and not handling.quirks):
        return _VARIABLE_DECIMAL
    return _decimal(limits[1] & 0x7FF, limits[0])
