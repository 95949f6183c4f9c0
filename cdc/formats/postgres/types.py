"""PostgreSQL's types: what the catalogue says of them, and how SQL writes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SESSION_SETTINGS: Final[Mapping[str, str]] = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
"""What every connection to the source must set: the text of values depends on it."""


def session_settings(*, quirks: bool) -> dict[str, str]:
    """SESSION_SETTINGS; with quirks floats are rounded as the database says, as they are for Debezium."""
    return {name: value for name, value in SESSION_SETTINGS.items() if not (quirks and name == "extra_float_digits")}


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


_MAX_DEPTH: Final = 32
"""Domains over domains, at most: a loop cannot be in the catalogue, but input is not trusted."""


def base_of(type_oid: int, modifier: int, types: Mapping[int, TypeInfo]) -> tuple[TypeInfo | None, int]:
    """See through domains: a domain's values have its base type's form, and its modifier."""
    info = types.get(type_oid)
    for _ in range(_MAX_DEPTH):
        if info is None or info.kind != "d" or info.base_oid is None:
            return info, modifier
        modifier = info.base_modifier
        info = types.get(info.base_oid)
    return None, -1


def numeric_modifier(modifier: int) -> tuple[int, int] | None:
    """(precision, scale) of a numeric's modifier, None where it has none. The scale may be negative."""
    if modifier < 4:
        return None
    scale = (modifier - 4) & 0x7FF
    return (modifier - 4) >> 16 & 0xFFFF, (scale ^ 0x400) - 0x400


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

_ALL_FIELDS: Final = 0x7FFF << 16
"""Of an interval's modifier."""


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
) | {"aclitem"}
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
    if info.name == "money":  # its text depends on the locale, and events have it without
        return "numeric"
    if info.name == "interval" and modifier >= 0:  # an event may have no more than its length, in days and smaller
        modifier |= _ALL_FIELDS
    return type_text(info.oid, modifier, types)
