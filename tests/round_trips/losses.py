"""What a format refuses or loses, as the documentation says it, in SQL. Pure."""

from __future__ import annotations

from typing import Final

FORMATS: Final = ("debezium-json", "debezium-json-schemas", "json", "avro", "profile")
"""Formats, and what `compatibility: debezium` makes."""

NEVER_NULL: Final = ("tsvector", "isbn", "vector", "halfvec", "sparsevec", "mood", '"Odd"')
"""Elements that Debezium's schemas say are never null."""

_UNKNOWN: Final = (
    *("box", "circle", "line", "lseg", "path", "polygon", "tsquery", "jsonpath", "lquery", "regclass", "regtype"),
    *("pg_lsn", "pg_snapshot", "txid_snapshot", "xid", "xid8", "cid", "tid", "refcursor"),
    *("pair", "nested", "textrange", "textmulti"),
)
"""Types that Debezium does not know; multiranges too."""

_NO_ARRAYS: Final = ("money", "name", "bit varying", "xml", "point", "int2vector", "oidvector")
_DOMAINS: Final = ("cents", "positive", "short", "moment", "deep", "feeling", "numbers")
"""Of all these the profile has no arrays."""

FUNCTIONS: Final = """
CREATE FUNCTION length(value interval, rounded bool) RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN NOT isfinite(value) THEN value
        WHEN micros >= 9223372036854775807 THEN 'infinity'
        WHEN micros <= -9223372036854775808 THEN '-infinity'
        ELSE (micros || ' microseconds')::interval END
    FROM (SELECT 12 * extract(year FROM value) + extract(month FROM value), extract(day FROM value),
        extract(hour FROM value), extract(minute FROM value), extract(second FROM value))
        AS parts (months, days, hours, minutes, seconds)
    CROSS JOIN LATERAL (SELECT ((((months::float8 * 30.4375::float8 + days::float8) * 24 + hours::float8) * 60
        + minutes::float8) * 60 + seconds::float8) * 1e6::float8) AS doubles (rough)
    CROSS JOIN LATERAL (SELECT CASE WHEN rounded THEN
        CASE WHEN abs(rough) < 9.2e18 THEN trunc(rough)::bigint ELSE rough::text::numeric END
        ELSE ((months * 30.4375 + days) * 24 + hours) * 3600000000 + minutes * 60000000 + seconds * 1000000 END)
        AS sum (micros)
$$;
CREATE FUNCTION without_era(day date) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN NOT isfinite(day) THEN day
        WHEN day < '0001-01-01' THEN make_date(-extract(year FROM day)::int, extract(month FROM day)::int, 1)
            + (extract(day FROM day)::int - 1)
        WHEN day BETWEEN '1582-10-05' AND '1582-10-14' THEN day + 10
        ELSE day END::text
$$;
CREATE FUNCTION without_era(at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN isfinite(at) THEN (without_era(at::date)::date + at::time)::timestamptz ELSE at END
$$;
CREATE FUNCTION julian(at timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN finite < '1582-10-15' THEN ('J' || julian)::date + at::time ELSE at END
    FROM (SELECT CASE WHEN isfinite(at) THEN at END) AS time (finite)
    CROSS JOIN LATERAL (SELECT extract(year FROM finite)::int, extract(month FROM finite)::int,
        extract(day FROM finite)::int) AS parts (year, month, day)
    CROSS JOIN LATERAL (SELECT year + (year < 0)::int + 4800 - (month < 3)::int, (month + 9) % 12)
        AS march (years, months)
    CROSS JOIN LATERAL (SELECT day + (153 * months + 2) / 5 + 365 * years + years / 4 - 32083) AS day_number (julian)
$$;
CREATE FUNCTION cut_to_ms(clock time) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT date_trunc('milliseconds', clock::interval)::time::text
$$;
CREATE FUNCTION cut_to_s(clock timetz) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT date_trunc('second', (clock AT TIME ZONE 'UTC')::time::interval)::time::text || '+00'
$$;
"""
"""What becomes of a value, as functions."""

_LAST_MICROSECOND: Final = "'294247-01-10 04:00:54.775807'"


def stored(type_: str, written: str, value: str) -> str:
    """What is put into the source: the value, or NULL where the connector stops at one of the kind.

    Args:
        type_: the column's.
        written: of FORMATS.
        value: SQL of it.
    """
    refused = "false"
    if written == "profile" and type_.startswith("numeric") and not type_.endswith("[]"):
        refused = f"{value} IN ('NaN', 'Infinity', '-Infinity')"  # docs/types.md: no form under `decimal: precise`
    if written == "profile" and _element(type_) == "timestamp" and type_.endswith("[]"):
        # Debezium's Julian day of it is before PostgreSQL's first.
        refused = f"EXISTS (SELECT FROM unnest({value}) item WHERE isfinite(item) AND item < '4713-01-01 BC')"
    if written == "avro" and type_.endswith("[]"):
        refused = f"array_ndims({value}) > 1"  # docs/formats.md: no form in a schema of one dimension
        if _element(type_) in NEVER_NULL:
            refused += f" OR EXISTS (SELECT FROM unnest({value}) item WHERE item IS NULL)"
    return value if refused == "false" else f"CASE WHEN {refused} THEN NULL ELSE {value} END"


def expected(type_: str, written: str, streamed: bool, column: str) -> str | None:
    """The text of a value as it shall come out, compared with `found`; None: there is no such column.

    Args:
        type_: the source's type.
        written: of FORMATS.
        streamed: by the stream, else by a snapshot.
        column: the source's.
    """
    if written == "profile":
        return _of_profile(type_, streamed, column)
    return _of_column(type_, column, _lost(type_))


def found(type_: str, written: str, column: str) -> str:
    """The text of a value in the target, compared with `expected`."""
    element = _element(type_)
    if type_ == "numbers[]":  # arrays in an array are text
        column = f"{column}::numbers[]"
    if written == "profile" and element in ("hstore", "sparsevec"):  # text there, in the order of a Java HashMap
        column = f"{column}::{type_}"
    if type_.endswith("[]") and (_lost_in_profile(type_) if written == "profile" else _lost(type_)):
        return _elements(column, "item::text")
    return _of_column(type_, column)


def _element(type_: str) -> str:
    return type_.removesuffix("[]").partition("(")[0]


def _of_column(type_: str, column: str, lost: str = "") -> str:
    """What is lost of each value, given as SQL for the value `{}`, and lower bounds of arrays."""
    if not type_.endswith("[]"):
        return lost.format(column) if lost else f"{column}::text"
    return _elements(column, lost.format("item")) if lost else f"regexp_replace({column}::text, '^[[][^=]*=', '')"


def _elements(column: str, item: str) -> str:
    """An array's lengths and elements."""
    lengths = ", ".join(f"array_length({column}, {dimension})" for dimension in (1, 2, 3))
    elements = f"concat_ws(' ', {lengths}, ARRAY(SELECT {item} FROM unnest({column}) item)::text)"
    return f"CASE WHEN {column} IS NOT NULL THEN {elements} END"


def _lost(type_: str, *, rounded: bool = False) -> str:
    """See docs/types.md and docs/sink-postgres.md: what has another value in an event, for the value `{}`."""
    one = type_.removesuffix("[]")
    match _element(type_):
        case "money":  # without the locale's signs
            return "{}::numeric::text"
        case "timetz":  # in UTC
            return "({} AT TIME ZONE 'UTC')::text"
        case "bit varying" if type_ == "bit varying(1)":  # an empty one is null
            return "nullif({}::text, '')"
        case "bit varying" if one != "bit varying(1)":  # leading zeros
            return "ltrim({}::text, '0')"
        case "timestamp" if one in ("timestamp", "timestamp(4)", "timestamp(6)"):  # us beyond 64 bits
            return f"CASE WHEN isfinite({{0}}) THEN least({{0}}, {_LAST_MICROSECOND}) ELSE {{0}} END::{one}::text"
        case "interval" | "interval day to second" | "interval year to month":  # months and days
            return f"length({{}}, {str(rounded).lower()})::{one if '(' in one else 'interval'}::text"
        case _:
            return ""


def _of_profile(type_: str, streamed: bool, column: str) -> str | None:
    """See docs/debezium.md, "compatibility: debezium" and "Quirks"."""
    element = _element(type_)
    if element in _UNKNOWN or "multirange" in element:  # unknown_types: skip
        return None
    if type_.endswith("[]"):
        return _array_of_profile(type_, element, column)
    if element == "name" and streamed:
        return "NULL"
    if element in ("int2vector", "oidvector"):
        return f"CASE WHEN {column} IS NOT NULL THEN '' END"
    if element == "date" and not streamed:
        return f"without_era({column})"
    if type_ == "numeric":  # zeros at the end
        return f"trim_scale({column})::text"
    return _of_column(type_, column, _lost(type_, rounded=True))


def _lost_in_profile(array: str) -> str:
    """The same of an array's elements, under the profile."""
    type_ = array.removesuffix("[]")
    match _element(array):
        case "date":
            return "without_era({})"
        case "time":
            return "cut_to_ms({})"
        case "timetz":
            return "cut_to_s({})"
        case "timestamp":
            return (_lost(array) or f"{{}}::{type_}::text").replace("{0}", "julian({0})").replace("{}", "julian({})")
        case "timestamptz":
            return f"without_era({{}})::{type_}::text"
        case "numeric" if type_ == "numeric":
            return "trim_scale({})::text"
        case _:
            return _lost(array, rounded=True)


def _array_of_profile(type_: str, element: str, column: str) -> str | None:
    if element in (*_NO_ARRAYS, *_DOMAINS) or element.startswith("interval"):
        return None
    if element == "bit":
        return "NULL"
    if element == "sparsevec":
        return f"CASE WHEN {column} = '{{}}' THEN '{{}}' END"
    lost = _lost_in_profile(type_)
    plain = _of_column(type_, column, lost)
    null = "false"
    if element in (*NEVER_NULL, "ltree"):
        null = f"array_position({column}, NULL) IS NOT NULL"
    if element == "numeric":
        null = f"{column}::text ~ 'NaN|Infinity'"
    nulls = f"array_fill(NULL::text, ARRAY[array_length({column}, 1)])"
    inner = _elements(nulls, "item") if lost else f"{nulls}::text"
    return f"CASE WHEN array_ndims({column}) > 1 THEN {inner} WHEN {null} THEN NULL ELSE {plain} END"
