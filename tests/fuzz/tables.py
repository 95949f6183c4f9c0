"""Random tables of types that reach every transcoder, and valid messages of their rows. Pure; all from one `Random`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from random import Random
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import SecretStr

from cdc.errors import ConfigError, Refused
from cdc.formats.handling import Handling, Style
from cdc.formats.postgres.form import Form, Transcoder
from cdc.formats.postgres.plan import Facts, SourceInfo, TablePlan, plan_table
from cdc.formats.postgres.relation import RelationColumn
from cdc.formats.postgres.types import TypeInfo
from cdc.table_settings import Asterisks, Constant, Hashed, Mask
from connectors.postgres_wal.options import TableOptions
from tests.unit.row_messages import BUILT_IN, OIDS, TYPES, UNCHANGED, copy_line, delete, insert, relation, update

Made = TypeVar("Made", Handling, Style)

SAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "bool": ("t", "f"),
    "bytea": ("\\x", "\\x00ff10", "\\x" + "ab" * 40),
    "char": ("a", ""),
    "name": ("orders", "a name"),
    "int8": ("0", "-9223372036854775808", "9223372036854775807"),
    "int2": ("-32768", "7"),
    "int4": ("2147483647", "-1"),
    "text": ("", 'quote " slash \\ tab \t', "ünï\u2028 \U0001f600", "x" * 90),
    "oid": ("4294967295",),
    "json": ('{"a": [1, null, "x"]}', "1"),
    "jsonb": ('{"a": {"b": "\\u0041"}}', "null"),
    "xml": ("<a>1</a>",),
    "point": ("(1.5,-2)", "(NaN,Infinity)", "(1e+300,-0)"),
    "float4": ("1e-45", "NaN", "-Infinity", "0", "3.4028235e+38"),
    "float8": ("0.1", "1e+22", "-0", "5e-324", "Infinity", "123456789012345680"),
    "money": ("$1,234.56", "-$0.01", "($12.00)", "$92,233,720,368,547,758.07"),
    "macaddr": ("08:00:2b:01:02:03",),
    "inet": ("10.0.0.1/8", "2001:db8::1"),
    "bpchar": ("ab  ", " "),
    "varchar": ("word", ""),
    "date": ("2024-02-29", "0044-03-15 BC", "infinity", "-infinity", "294276-12-31", "4713-01-01 BC"),
    "time": ("00:00:00", "23:59:59.999999", "24:00:00", "12:00:00.1"),
    "timetz": ("00:00:00+00", "23:59:59.5-15:59:59", "24:00:00+05:30"),
    "timestamp": ("1970-01-01 00:00:00", "294276-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC", "infinity"),
    "timestamptz": ("1969-12-31 23:59:59.5+00", "-infinity", "0001-01-01 00:00:00+00 BC", "294276-12-31 00:00:00+00"),
    "interval": (
        "00:00:00",
        "1 year 2 mons -3 days 04:05:06.789",
        "-178000000 years",
        "-2562047788:00:54.775808",
        "infinity",
    ),
    "bit": ("0", "1", "10110"),
    "varbit": ("", "1", "0001", "1" * 70),
    "numeric": ("0", "-12.340", "NaN", "-Infinity", "9" * 40 + ".5", "0.0000000001", "1" + "0" * 60),
    "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",),
    "tsvector": ("'a':1A,2 'b''c'", ""),
    "int4range": ("[1,5)", "empty", "(,3]"),
    # Of extensions and of users; Debezium has forms for them too.
    "hstore": ('"a"=>"1", "b"=>NULL', "", '"k\\"\\\\"=>"v=>,"'),
    "citext": ("Word",),
    "ltree": ("Top.Science_1", ""),
    "vector": ("[1,2.5,-3e-05]", "[]"),
    "halfvec": ("[0.5,65504]",),
    "sparsevec": ("{1:1.5,5:-2}/5", "{}/3"),
    "geometry": ("0101000020E6100000000000000000F03F0000000000000040", "010100000000000000000000000000000000000000"),
    "geography": ("0101000020E6100000000000000000F03F0000000000000040",),
    "mood": ("sad", 'very "happy"'),
    "pair": ("(1,)", '("a ""b""",2)'),
    "isbn": ("978-0-393-04002-9",),
    "cents": ("12.34", "-0.01"),
    "tags": ("{a,b}", "{}"),
    "cidr": ("10.0.0.0/8",),
    "macaddr8": ("08:00:2b:01:02:03:04:05",),
    "tstzrange": ('["2024-01-01 00:00:00+00",)', "empty"),
    "daterange": ("[2024-01-01,2024-02-01)",),
    "numrange": ("[1.5,2.5]",),
    "int8range": ("[1,2)",),
    "tsrange": ('["2024-01-01 00:00:00","2024-01-02 00:00:00")',),
    "int4multirange": ("{[1,3),[5,7)}", "{}"),
    "pg_lsn": ("16/B374D848",),
    "tsquery": ("'a' & !'b'",),
    "line": ("{1,-1,0}",),
    "box": ("(1,1),(0,0)",),
    "polygon": ("((0,0),(1,1))",),
    "circle": ("<(0,0),1>",),
}
"""Texts of each type as the server writes them."""

_MORE: Final = [name for name in SAMPLES if name not in BUILT_IN.values()]

_KINDS: Final[dict[str, dict[str, Any]]] = {
    "mood": {"kind": "e", "labels": ("sad", 'very "happy"'), "schema": "public"},
    "pair": {"kind": "c", "schema": "public"},
    "cents": {"kind": "d", "base_oid": 1700, "base_modifier": 4 + (12 << 16) + 2, "schema": "public"},
    "tags": {"kind": "d", "base_oid": 100_025, "schema": "public"},
    **{name: {"schema": "public"} for name in ("hstore", "citext", "ltree", "vector", "halfvec", "sparsevec", "isbn")},
    **{name: {"schema": "public"} for name in ("geometry", "geography")},
    **{name: {"kind": "r"} for name in ("tstzrange", "daterange", "numrange", "int8range", "tsrange")},
    "int4multirange": {"kind": "m"},
}
"""What the catalogue says of a type that is no base type of pg_catalog."""

_UNKNOWN: Final = 99_999
"""A type that the catalogue does not have any more."""

CATALOGUE: Final[dict[int, TypeInfo]] = TYPES | {
    oid + base: (
        TypeInfo(oid + base, f"_{name}", "public", "b", element_oid=base)
        if oid
        else TypeInfo(base, **{"name": name, "schema": "pg_catalog", "kind": "b", **_KINDS.get(name, {})})
    )
    for base, name in enumerate(_MORE, 50_000)
    for oid in (0, 100_000)
}

_OIDS: Final = [*CATALOGUE, *[OIDS["numeric"]] * 5, _UNKNOWN]  # numerics have most forms

_MASKS: Final[tuple[Mask, ...]] = (
    "hmac",
    Constant(constant='"masked"'),
    Asterisks(asterisks=3),
    Hashed(hash="SHA-256", salt=SecretStr("salt")),
    Hashed(hash="MD5", salt=SecretStr("salt"), version=1),
)

_DEFAULTS: Final = ("7", "'a''b'::text", "now()", "'2024-01-01'::date", "NULL::numeric", "true", "'{1,2}'::int[]", "")
"""Expressions of columns' defaults, as the catalogue has them."""

_DIGITS: Final = (-1, 0, 1, 3, 4, 6)
_MODIFIERS: Final[dict[str, tuple[int, ...]]] = {
    "numeric": (-1, 4 + (5 << 16), 4 + (38 << 16) + 10, 4 + (5 << 16) + 0x7FE, 4 + (1000 << 16) + 1000),
    "interval": (-1, 0x1C08_0003, 0x7FFF_0000, 0x0006_FFFF),
    **dict.fromkeys(("time", "timetz", "timestamp", "timestamptz"), _DIGITS),
    **dict.fromkeys(("bit", "varbit"), (-1, 1, 5, 70)),
    **dict.fromkeys(("varchar", "bpchar"), (-1, 5, 24)),
}
"""Of types that have some: digits of fractions, lengths, precision and scale, which may be negative."""


@dataclass(frozen=True, slots=True)
class Message:
    """A valid input.

    Args:
        kind: `row` (pgoutput), `copy` (a line), as `tests.fuzz.feed` names what it is for.
        data: the bytes.
    """

    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """A table and messages of its rows."""

    plan: TablePlan
    messages: Sequence[Message]

    @property
    def transcoders(self) -> set[Transcoder]:
        """Those that its values are written by."""
        return {found for column in self.plan.columns for found in _transcoders(column.form)}


def random_table(random: Random) -> Table:
    """A table under random settings, of random types."""
    while True:
        with suppress(ConfigError, Refused):  # settings that contradict the table
            plan = _plan(random)
            return Table(plan, [_message(random, plan) for _ in range(6)])


def _transcoders(form: Form) -> set[Transcoder]:
    parts = [form.element, form.key, *(part for _, part in form.fields)]
    return {form.transcoder}.union(*(_transcoders(part) for part in parts if part))


def _plan(random: Random) -> TablePlan:
    columns = [
        RelationColumn(f"c{place}" if random.random() < 0.9 else f'c{place} "é"', oid, _modifier(random, oid), False)
        for place, oid in enumerate(random.choices(_OIDS, k=random.randint(1, 9)))
    ]
    names = [column.name for column in columns]
    key = random.sample(names, min(len(names), random.choice((0, 1, 1, 1, 2))))
    identity = random.choice("ddfn") if key else random.choice("fn")
    others = [name for name in names if name not in key]
    options = TableOptions(
        mask={name: random.choice(_MASKS) for name in others if random.random() < 0.1},
        truncate={name: random.choice((0, 1, 7)) for name in others if random.random() < 0.1},
    )
    marked = [
        RelationColumn(column.name, column.type_oid, column.type_modifier, identity == "f" or column.name in key)
        for column in columns
    ]
    return plan_table(
        relation(*marked, identity=identity),
        CATALOGUE,
        options=options,
        key_columns=key,
        topic="shop.public.t",
        source=SourceInfo("shop", "warehouse", "0"),
        handling=_settings(random, Handling),
        mask_key=b"key",
        style=_settings(random, Style),
        facts=Facts(
            not_null=[name for name in names if name in key or random.random() < 0.2],
            defaults={name: random.choice(_DEFAULTS) for name in names if random.random() < 0.2},
        ),
    )


def _modifier(random: Random, oid: int) -> int:
    info = CATALOGUE.get(oid)
    if info is not None and info.element_oid is not None:
        info = CATALOGUE.get(info.element_oid)
    return random.choice(_MODIFIERS.get(info.name if info else "", (-1,)))


def _settings(random: Random, made: type[Made]) -> Made:
    """Any choice for each field, so that a new one is taken in; a free text stays as it is by default."""
    hints = get_type_hints(made)
    chosen: dict[str, Any] = {}
    for field in fields(made):
        hint = hints[field.name]
        if get_origin(hint) is Literal:
            chosen[field.name] = random.choice(get_args(hint))
        elif hint is bool:
            chosen[field.name] = random.random() < 0.5
        elif hint is int:
            chosen[field.name] = random.randint(0, 4)
        elif hint == frozenset[str]:
            chosen[field.name] = frozenset(random.sample("cudt", random.choice((0, 0, 1, 2))))
        elif hint == str | None:
            chosen[field.name] = random.choice((None, "__unknown"))
    return made(**chosen)


def _message(random: Random, plan: TablePlan) -> Message:
    columns = plan.relation.columns
    new, old = ([_value(random, column) for column in columns] for _ in range(2))
    partial = [UNCHANGED if not column.in_key and random.random() < 0.2 else new[i] for i, column in enumerate(columns)]
    key = [value if column.in_key else None for value, column in zip(old, columns, strict=True)]
    match random.randrange(7):
        case 0:
            return Message("row", insert(new))
        case 1:
            return Message("row", update(partial))
        case 2:
            return Message("row", update(partial, key=key))
        case 3:
            return Message("row", update(partial, old=old))
        case 4:
            return Message("row", delete(key=key))
        case 5:
            return Message("row", delete(old=old))
        case _:
            return Message("copy", copy_line([new[column.index] for column in plan.columns]))


def _value(random: Random, column: RelationColumn) -> str | None:
    if random.random() < 0.1 and not column.in_key:
        return None
    info = CATALOGUE.get(column.type_oid)
    if info is None or random.random() < 0.05:
        return random.choice(random.choice(list(SAMPLES.values())))
    if info.element_oid is None:
        return random.choice(SAMPLES[info.name])
    return _array(random, CATALOGUE[info.element_oid].name, info.delimiter)


def _array(random: Random, element: str, delimiter: str) -> str:
    items = [
        "NULL"
        if random.random() < 0.1
        else '"' + random.choice(SAMPLES[element]).replace("\\", "\\\\").replace('"', '\\"') + '"'
        for _ in range(random.choice((0, 1, 2, 5)))
    ]
    text = "{" + delimiter.join(items) + "}"
    if items and random.random() < 0.2:
        text = f"[0:1][2:{1 + len(items)}]={{{text}{delimiter}{text}}}"
    return text
