"""A column's default in the catalogue → the default of its Connect schema. Pure.

What Debezium's `PostgresDefaultValueConverter` (3.6) does: it takes a constant, and for what a function gives a value
that stands for it; any other expression, and a type that it does not list, has no default.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Context, Decimal, InvalidOperation
from typing import Final

from cdc.errors import ProtocolError
from cdc.formats.debezium_json import SourceInfo
from cdc.schemas import Column

from .form import Form, Transcoder
from .planned import ColumnPlan, TablePlan
from .relation import Relation, RelationColumn
from .rows_cy import RowWriter
from .types import TypeInfo, numeric_modifier

_CONSTANT: Final = re.compile(r"'([^']*(?:''[^']*)*)'")
_FUNCTION: Final = re.compile(r"[(]?[A-Za-z0-9_.]+\(.*\)")
_NOW: Final = frozenset({"current_timestamp", "current_time", "current_date", "localtime", "localtimestamp"})

_GENERATED: Final = {
    "bit": "00",
    "varbit": "0",
    "bool": "false",
    "bpchar": "",
    "varchar": "",
    "text": "",
    "numeric": "0.0",
    "float4": "0.0",
    "float8": "0.0",
    "int2": "0",
    "int4": "0",
    "int8": "0",
    "json": "{}",
    "jsonb": "{}",
    "xml": "",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "date": "1970-01-01",
    "time": "00:00:00",
    "timestamp": "1970-01-01 00:00:00",
    "timestamptz": "1970-01-01 00:00:00+00",
    "interval": "00:00:00",
}
"""Types whose defaults are taken: built-in ones, and what stands for what a function gives."""

_DIGITS: Final = 15
"""Of the argument of times and timestamps."""

_EXTREMES: Final = {
    (Transcoder.DATE, 0, "infinity"): b"169560311",
    (Transcoder.DATE, 0, "-infinity"): b"-170999002",
    (Transcoder.ISO_DATE, 0, "infinity"): b'"+999999999-12-31Z"',
    (Transcoder.ISO_DATE, 0, "-infinity"): b'"-999999999-01-01Z"',
    (Transcoder.TIMESTAMP, 6, "infinity"): b"-9223372036853775810",
    (Transcoder.TIMESTAMP, 6, "-infinity"): b"-9223372036854775808",
    (Transcoder.ISO_TIMESTAMP, 0, "infinity"): b'"+999999999-12-31T23:59:59.999999999Z"',
    (Transcoder.ISO_TIMESTAMP, 0, "-infinity"): b'"-999999999-01-01T00:00:00Z"',
    (Transcoder.TIME, 3, "24:00:00"): b"86399999",
    (Transcoder.TIME, 6, "24:00:00"): b"86399999999",
    (Transcoder.TIME, 9, "24:00:00"): b"86399999999999",
    (Transcoder.ISO_TIME, 0, "24:00:00"): b'"23:59:59.999999999Z"',
}
"""What becomes of the ends of java.time, which pgjdbc's TimestampUtils takes for PostgreSQL's: a day count is cut to
32 bits, µs wrap around; what is not here overflows, and there is no default."""

_PRECISE: Final = Context(prec=150_000)
"""More digits than a numeric has."""

_INTEGERS: Final = {"int2": 16, "int4": 32, "int8": 64}
_ENDS: Final = frozenset(
    {("time", "24:00:00")}
    | {(name, text) for name in ("date", "timestamp", "timestamptz") for text in ("infinity", "-infinity")}
)
_SPECIAL: Final = frozenset({"Infinity", "-Infinity", "NaN"})
_COPY: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def default_json(
    expression: str, column: RelationColumn, info: TypeInfo | None, form: Form, *, quirks: bool
) -> bytes | None:
    """The default as JSON in the form of the column's values.

    Args:
        expression: as `pg_get_expr` writes it.
        column, info, form: of which column, its own type (of a domain: the domain), its values' form.
        quirks: whether the ends of time are Java's.
    """
    if info is None or form.json in ("struct", "array", "map"):
        return None
    if info.kind == "e":
        text = _enum_constant(expression, info.name)
    elif info.schema == "pg_catalog" and info.name in _GENERATED:
        text = _value(expression, info.name)
    else:
        text = None
    if text is None:
        return None
    if quirks and (info.name, text) in _ENDS:
        digits = form.argument & _DIGITS if form.transcoder in (Transcoder.TIME, Transcoder.TIMESTAMP) else 0
        return _EXTREMES.get((form.transcoder, digits, text))
    if quirks and form.transcoder is Transcoder.ZONED_TIMESTAMP:
        text, form = _cut_fraction(text, form)
    try:
        default = _encoded(_as_postgres(text, column, info.name), column, replace(form, snapshot=None))
    except (ValueError, InvalidOperation, ProtocolError):
        return None
    return None if default == b"null" else default


def _value(expression: str, name: str) -> str | None:
    if _FUNCTION.match(expression) or expression.lower() in _NOW:
        return _GENERATED[name]
    if expression.startswith("NULL::"):
        return None
    if "'" not in expression:
        return expression
    constant = _CONSTANT.search(expression)
    return constant[1].replace("''", "'") if constant else None


def _cut_fraction(text: str, form: Form) -> tuple[str, Form]:
    """The constant has µs, whatever the type keeps: `ZonedTimestamp` cuts them, but never to whole seconds."""
    fraction = re.search(r"[.]([0-9]+)", text)
    if fraction is None:
        return text, form
    if form.argument == 0:
        return text, replace(form, argument=len(fraction[1]))
    return text[: fraction.start(1)] + fraction[1][: form.argument] + text[fraction.end() :], form


def _enum_constant(expression: str, name: str) -> str | None:
    constant, _, cast = expression.rpartition("::")
    if cast.rpartition(".")[2].strip('"') != name or not re.fullmatch(r"'.*'", constant, re.DOTALL):
        return None
    return constant[1:-1]


def _as_postgres(text: str, column: RelationColumn, name: str) -> str:
    """As the server would write the value."""
    match name:
        case "bool":
            return "t" if text.lower() == "true" else "f"
        case "int2" | "int4" | "int8":
            number = int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else None
            if number is None or not -(1 << (_INTEGERS[name] - 1)) <= number < 1 << (_INTEGERS[name] - 1):
                raise ValueError
            return str(number)
        case "float4" | "float8":
            return text if text in _SPECIAL else repr(float(text)).removesuffix(".0")
        case "numeric":
            number_ = Decimal(text)
            limits = numeric_modifier(column.type_modifier)
            exponent = number_.as_tuple().exponent
            if not isinstance(exponent, int):
                raise ValueError  # Java has no such BigDecimal
            if limits and -exponent < limits[1]:
                number_ = number_.quantize(Decimal(1).scaleb(-limits[1]), context=_PRECISE)
            return f"{number_:f}"
        case _:
            return text


def _encoded(text: str, column: RelationColumn, form: Form) -> bytes:
    """Through the encoder itself, so that a default is spelled as a value is."""
    described = Column("d", "", "", form.json)
    plan = TablePlan(
        relation=Relation(0, "", "", "f", (column,)),
        topic="",
        source=SourceInfo("", "", ""),
        columns=(ColumnPlan("d", "d", 0, form, None, in_identity=True, description=described),),
        shown=1,
        key=(),
    )
    _, row = RowWriter(plan).copy_row(text.translate(_COPY).encode())
    return row[len(b'{"d":') : -1]
