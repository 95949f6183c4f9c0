"""PostgreSQL's types: what the catalogue says of them, and the form their values get in events. Pure.

The forms are Debezium's (schemas off, adaptive time precision); `docs/types.md` lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final

from cdc.formats.handling import Handling

SESSION_SETTINGS: Final[Mapping[str, str]] = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
"""What every connection to the source must set: the text of values depends on it."""

TYPES_QUERY: Final = """
with recursive wanted(oid) as (
    select unnest(%s::oid[])
  union
    select part.oid
    from wanted
    join pg_type t on t.oid = wanted.oid
    cross join lateral (values (t.typelem), (t.typbasetype)) part(oid)
    where part.oid <> 0
)
select t.oid::int8,
       t.typname::text,
       n.nspname::text,
       t.typtype::text,
       case when element.typarray = t.oid then t.typelem::int8 end,
       nullif(t.typbasetype, 0)::int8,
       t.typtypmod,
       coalesce(element.typdelim, ',')::text,
       (select array_agg(e.enumlabel::text order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid)
from wanted
join pg_type t on t.oid = wanted.oid
join pg_namespace n on n.oid = t.typnamespace
left join pg_type element on element.oid = t.typelem
"""
"""One parameter: the type oids wanted. Gives them, their elements and domains' bases; see `types_from_rows`."""


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A type as the catalogue has it.

    Args:
        oid, name, schema: which it is.
        kind: `b` base (arrays too), `e` enum, `d` domain, `c` composite, `r` range,
            `m` multirange, `p` pseudo.
        element_oid: for arrays, the type of the elements; else None.
        base_oid, base_modifier: for domains, what they are over; else None and -1.
        delimiter: between the elements of an array's text.
        labels: of an enum, in its order.
    """

    oid: int
    name: str
    schema: str
    kind: str
    element_oid: int | None = None
    base_oid: int | None = None
    base_modifier: int = -1
    delimiter: str = ","
    labels: tuple[str, ...] = ()


def types_from_rows(rows: Iterable[Sequence[Any]]) -> dict[int, TypeInfo]:
    """The answer of `TYPES_QUERY`, by oid."""
    return {
        oid: TypeInfo(oid, name, schema, kind, element, base, modifier, delimiter, tuple(labels or ()))
        for oid, name, schema, kind, element, base, modifier, delimiter, labels in rows
    }


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


@dataclass(frozen=True, slots=True)
class Form:
    """What becomes of a type's values.

    Args:
        transcoder: how the text becomes JSON.
        argument: of the transcoder: digits of a fraction kept (times), scale (decimals),
            characters (truncated text), place of a mask among the plan's.
        json: Kafka Connect's type of the JSON value, as in `cdc.schemas.Column.form`.
        semantic: Debezium's name of the meaning, or None.
        parameters: what a reader of `semantic` needs, for the schemas topic.
        connect_parameters: the parameters of Debezium's Connect schema; its version is 1 wherever it has a name.
        doc: of Debezium's Connect schema.
        optional: of an element, a field, a key or a value inside of another form: whether it may be null.
        zero: the JSON that stands for an unknown value of a NOT NULL column, where Debezium
            cannot leave it null: `before` under an identity that has only the key.
        element: for arrays, the form of the elements; for maps, of the values.
        key: for maps, the form of the keys.
        fields: for structs, their members in order.
        delimiter: for arrays, between the elements.
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


_TIME = "io.debezium.time."
_DATA = "io.debezium.data."

TEXT_FORM: Final = Form(Transcoder.TEXT)
INT16: Final = Form(Transcoder.INTEGER, json="int16", zero="0")
INT32: Final = Form(Transcoder.INTEGER, json="int32", zero="0")
INT64: Final = Form(Transcoder.INTEGER, json="int64", zero="0")
FLOAT64: Final = Form(Transcoder.FLOAT, json="float64", zero="0.0")
BYTES: Final = Form(Transcoder.BYTES, json="bytes")

_SIMPLE: Final[Mapping[str, Form]] = {
    "int2": INT16,
    "int4": INT32,
    "int8": INT64,
    "oid": INT64,
    "float4": Form(Transcoder.FLOAT, json="float32", zero="0.0"),
    "float8": FLOAT64,
    "bool": Form(Transcoder.BOOLEAN, json="boolean", zero="false"),
    "bytea": BYTES,
    "date": Form(Transcoder.DATE, json="int32", semantic=_TIME + "Date", zero="0"),
    "timetz": Form(Transcoder.ZONED_TIME, semantic=_TIME + "ZonedTime", zero='"00:00:00Z"'),
    "interval": Form(Transcoder.INTERVAL, json="int64", semantic=_TIME + "MicroDuration", zero="0"),
    "uuid": Form(Transcoder.TEXT, semantic=_DATA + "Uuid"),
    "json": Form(Transcoder.TEXT, semantic=_DATA + "Json"),
    "jsonb": Form(Transcoder.TEXT, semantic=_DATA + "Json"),
    "xml": Form(Transcoder.TEXT, semantic=_DATA + "Xml"),
    "tsvector": Form(Transcoder.TEXT, semantic=_DATA + "Tsvector"),
}

_MAX_DEPTH: Final = 32
"""Domains over domains, at most: a loop cannot be in the catalogue, but input is not trusted."""


def form_of(type_oid: int, modifier: int, types: Mapping[int, TypeInfo], handling: Handling) -> Form:
    """The form of a column's values.

    Args:
        type_oid, modifier: of the column.
        types: from `types_from_rows`; a type that is not there gets its text.
        handling: how values are written.
    """
    info, modifier = base_of(type_oid, modifier, types)
    if info is None:
        return TEXT_FORM
    if info.element_oid is not None:
        return _array(info, modifier, types, handling)
    if info.kind == "e":
        return Form(
            Transcoder.TEXT,
            semantic=_DATA + "Enum",
            parameters={"labels": list(info.labels)},
            connect_parameters={"allowed": ",".join(info.labels)},
        )
    if info.schema != "pg_catalog":
        return Form(Transcoder.TEXT, semantic=_DATA + "Ltree") if info.name == "ltree" else TEXT_FORM
    return _SIMPLE.get(info.name) or _modified(info.name, modifier, handling)


def base_of(type_oid: int, modifier: int, types: Mapping[int, TypeInfo]) -> tuple[TypeInfo | None, int]:
    """See through domains: a domain's values have its base type's form, and its modifier."""
    info = types.get(type_oid)
    for _ in range(_MAX_DEPTH):
        if info is None or info.kind != "d" or info.base_oid is None:
            return info, modifier
        modifier = info.base_modifier
        info = types.get(info.base_oid)
    return None, -1


def _array(info: TypeInfo, modifier: int, types: Mapping[int, TypeInfo], handling: Handling) -> Form:
    # An array's modifier is that of its elements.
    assert info.element_oid is not None
    element = form_of(info.element_oid, modifier, types, handling)
    if element.transcoder is Transcoder.ARRAY:  # an array of a domain over an array
        element = TEXT_FORM
    if element.semantic == _DATA + "Enum":  # Debezium's own: PostgresValueConverter.schemaBuilder
        element = replace(element, optional=False)
    return Form(Transcoder.ARRAY, json="array", zero="[]", element=element, delimiter=info.delimiter)


def _modified(name: str, modifier: int, handling: Handling) -> Form:
    """Types whose form depends on their modifier."""
    match name:
        case "numeric":
            return _numeric(modifier, handling.decimal)
        case "time":
            digits = _fraction_digits(modifier)
            if digits <= 3:
                return Form(Transcoder.TIME, 3, "int32", _TIME + "Time", zero="0")
            return Form(Transcoder.TIME, 6, "int64", _TIME + "MicroTime", zero="0")
        case "timestamp":
            digits = _fraction_digits(modifier)
            if digits <= 3:
                return Form(Transcoder.TIMESTAMP, 3, "int64", _TIME + "Timestamp", zero="0")
            return Form(Transcoder.TIMESTAMP, 6, "int64", _TIME + "MicroTimestamp", zero="0")
        case "timestamptz":
            return Form(
                Transcoder.ZONED_TIMESTAMP,
                _fraction_digits(modifier),
                semantic=_TIME + "ZonedTimestamp",
                zero='"1970-01-01T00:00:00Z"',
            )
        case "bit" | "varbit":
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
        case _:
            return TEXT_FORM


def _fraction_digits(modifier: int) -> int:
    return modifier if 0 <= modifier <= 6 else 6


def numeric_modifier(modifier: int) -> tuple[int, int] | None:
    """(precision, scale) of a numeric's modifier, None where it has none. The scale may be negative."""
    if modifier < 4:
        return None
    scale = (modifier - 4) & 0x7FF
    return (modifier - 4) >> 16 & 0xFFFF, (scale ^ 0x400) - 0x400


def _numeric(modifier: int, decimal: str) -> Form:
    limits = numeric_modifier(modifier)
    if decimal == "double":
        return FLOAT64
    if decimal == "string":
        parameters = {"precision": limits[0], "scale": limits[1]} if limits else {}
        return Form(Transcoder.TEXT, parameters=parameters, zero='"0"')
    if limits is None or limits[1] < 0:
        return Form(
            Transcoder.VARIABLE_DECIMAL,
            json="struct",
            semantic=_DATA + "VariableScaleDecimal",
            zero='{"scale":0,"value":"AA=="}',
            doc="Variable scaled decimal",
            fields=(("scale", replace(INT32, optional=False)), ("value", replace(BYTES, optional=False))),
        )
    return Form(
        Transcoder.DECIMAL,
        limits[1],
        "bytes",
        "org.apache.kafka.connect.data.Decimal",
        {"scale": limits[1], "precision": limits[0]},
        zero='"AA=="',
        connect_parameters={"scale": str(limits[1]), "connect.decimal.precision": str(limits[0])},
    )


_SQL_NAMES: Final[Mapping[str, str]] = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "bpchar": "character",
    "varchar": "character varying",
    "varbit": "bit varying",
    "char": '"char"',
}

_INTERVAL_FIELDS: Final[Mapping[int, str]] = {
    0x0004: " year",
    0x0002: " month",
    0x0008: " day",
    0x0400: " hour",
    0x0800: " minute",
    0x1000: " second",
    0x0006: " year to month",
    0x0408: " day to hour",
    0x0C08: " day to minute",
    0x1C08: " day to second",
    0x0C00: " hour to minute",
    0x1C00: " hour to second",
    0x1800: " minute to second",
}


def type_text(type_oid: int, modifier: int, types: Mapping[int, TypeInfo]) -> str:
    """A column's type as SQL writes it, with schema unless built in: `numeric(12,2)`, `shop.mood[]`."""
    info = types.get(type_oid)
    if info is None:
        return "text"
    if info.element_oid is not None:
        return type_text(info.element_oid, modifier, types) + "[]"
    if info.schema != "pg_catalog":
        return f"{_quoted(info.schema)}.{_quoted(info.name)}"
    return _with_modifier(info.name, modifier)


def _quoted(name: str) -> str:
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower() and not name[:1].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


def _with_modifier(name: str, modifier: int) -> str:
    sql = _SQL_NAMES.get(name, name)
    match name:
        case "time" | "timestamp" | "timetz" | "timestamptz":
            digits = f"({modifier})" if modifier >= 0 else ""
            zone = "with" if name.endswith("tz") else "without"
            return f"{name.removesuffix('tz')}{digits} {zone} time zone"
        case "interval" if modifier >= 0:
            fields, precision = modifier >> 16 & 0x7FFF, modifier & 0xFFFF
            return f"interval{_INTERVAL_FIELDS.get(fields, '')}" + (f"({precision})" if precision != 0xFFFF else "")
        case "numeric":
            limits = numeric_modifier(modifier)
            return f"numeric({limits[0]},{limits[1]})" if limits else "numeric"
        case "varchar" | "bpchar" if modifier >= 4:
            return f"{sql}({modifier - 4})"
        case "bpchar":
            return "bpchar"
        case "bit" | "varbit" if modifier > 0:
            return f"{sql}({modifier})"
        case _:
            return sql


_LOCAL_NAMES: Final = frozenset(
    f"reg{name}"
    for name in (
        "class",
        "collation",
        "config",
        "dictionary",
        "namespace",
        "oper",
        "operator",
        "proc",
        "procedure",
        "role",
        "type",
    )
) | {"aclitem", "money"}
"""Built-in types whose text means something only inside the source's database or locale."""


def target_type(type_oid: int, modifier: int, types: Mapping[int, TypeInfo]) -> str:
    """A type any PostgreSQL server knows that holds the values; see `cdc.schemas.Column`."""
    info, modifier = base_of(type_oid, modifier, types)
    if info is None or info.kind not in "brm":
        return "text"
    if info.element_oid is not None:
        element, _ = base_of(info.element_oid, modifier, types)
        if element is not None and element.element_oid is not None:
            return "text"
        return target_type(info.element_oid, modifier, types) + "[]"
    if info.schema != "pg_catalog" or info.name in _LOCAL_NAMES:
        return "text"
    return type_text(info.oid, modifier, types)
