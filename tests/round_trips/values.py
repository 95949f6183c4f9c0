"""Column types, and hypothesis strategies of the texts of their values, as PostgreSQL reads them. Pure.

Types and values of the comparison with Debezium (`tests.compare.kinds`), and what it leaves out because Debezium stops
there, or loses it.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Final, TypeAlias
from xml.sax.saxutils import escape
from zlib import crc32

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.compare import kinds

EXAMPLES: Final = int(os.environ.get("ROUND_TRIP_EXAMPLES", "100"))
SEED: Final = int(os.environ.get("ROUND_TRIP_SEED", "1"))
"""How many values of each type tests try, and what they are made from."""

Texts: TypeAlias = st.SearchStrategy[str]

PRELUDE: Final = (
    *kinds.PRELUDE,
    "CREATE TYPE \"Odd\" AS ENUM ('', ' ', 'ünï😀', 'a''b', 'c\\d', '{}', 'NULL')",
    'CREATE TYPE nested AS (p pair, at timestamptz, "list" int[], "Odd" "Odd")',
    'CREATE DOMAIN feeling AS "Odd"',
    "CREATE DOMAIN numbers AS int[]",
    "CREATE TYPE textrange AS RANGE (subtype = text, collation = 'C', multirange_type_name = textmulti)",
)
"""What the types need in a database."""

VARIANTS: Final = 80
"""How often each maker of kinds is asked for one: enough to see all it knows."""

AT_ONCE: Final = 10
"""Values of one example."""


def columns() -> dict[str, Texts]:
    """Types, as a column definition has them, and what makes their values; always the same ones."""
    found: dict[str, list[Texts]] = {}
    random = Random(0)
    for maker in kinds.KINDS:
        for _ in range(VARIANTS):
            kind = maker(random)
            if kind.sql not in found and not kind.sql.endswith(",0)"):
                found[kind.sql] = [_at_random(kind.value)]
    for sql in found:
        for start, more in _MORE.items():
            if sql == start or sql.startswith((f"{start}(", f"{start} ")):
                found[sql].append(more)
        if sql.startswith("numeric"):
            found[sql].append(st.just("NaN"))
    for sql, texts in _FURTHER.items():
        found.setdefault(sql, []).append(texts)
    return {sql: st.one_of(*texts) for sql, texts in found.items()}


def samples(count: int = EXAMPLES, number: int = SEED) -> dict[str, list[str]]:
    """So many values of each type, and of arrays, by a seed."""
    print(f"ROUND_TRIP_EXAMPLES={count} ROUND_TRIP_SEED={number}")
    scalars = {sql: collect(texts, count, f"{number}/{sql}") for sql, texts in columns().items()}
    return scalars | {
        f"{sql}[]": arrays(scalars[sql], ";" if sql == "box" else ",", count, f"{number}/{sql}[]")
        for sql in _elements(scalars)
    }


def collect(strategy: Texts, count: int, by: str) -> list[str]:
    """So many values of a strategy, by a seed; several of them are one example, which saves time."""
    found: list[str] = []

    @seed(crc32(by.encode()))
    @settings(
        max_examples=-(-count // AT_ONCE) + 1,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(st.lists(strategy, min_size=AT_ONCE, max_size=AT_ONCE))
    def keep(texts: list[str]) -> None:
        found.extend(texts)

    keep()
    return [found[place % len(found)] for place in range(-count, 0)]


def arrays(elements: list[str], delimiter: str, count: int, by: str) -> list[str]:
    """So many arrays of them, by a seed: of up to three dimensions, with NULLs, some with lower bounds of their own."""
    random = Random(by)
    return [_array(random, elements, delimiter) for _ in range(count)]


def _array(random: Random, elements: list[str], delimiter: str) -> str:
    def of(lengths: tuple[int, ...]) -> str:
        if lengths:
            return "{" + delimiter.join(of(lengths[1:]) for _ in range(lengths[0])) + "}"
        return "NULL" if random.random() < 0.2 else _quoted(random.choice(elements))

    lengths = random.choice(((0,), (1,), (2,), (3,), (1, 2), (2, 2), (2, 1, 2)))
    text = of(lengths)
    if lengths == (0,) or random.random() > 0.15:
        return text
    lows = [random.randint(-2, 3) for _ in lengths]
    return "".join(f"[{low}:{low + length - 1}]" for low, length in zip(lows, lengths, strict=True)) + f"={text}"


def _elements(values: Iterable[str]) -> Iterable[str]:
    """One variant of each type that there are arrays of, or a few."""
    seen: set[str] = set()
    for sql in values:
        name = sql.partition("(")[0]
        if name == "numeric" and sql not in ("numeric", "numeric(5,2)", "numeric(9,-2)", "numeric(100,103)"):
            continue
        if name in seen:
            continue
        if name not in ("numeric", "time", "timestamp", "bit"):
            seen.add(name)
        yield sql


def _at_random(make: Callable[[Random], str]) -> Texts:
    """One draw a value: a `Random` of hypothesis's own would be ten times slower."""
    return st.integers(0, 2**64 - 1).map(lambda number: make(Random(number)))


_ANY_TEXT: Final = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)


def _float(layout: str) -> Texts:
    width = 8 * struct.calcsize(layout)
    return st.floats(width=32 if width == 32 else 64).map(
        lambda number: repr(number).replace("nan", "NaN").replace("inf", "Infinity")
    )


_INFINITE: Final = st.sampled_from(("infinity", "-infinity"))

_CLOCK: Final = st.integers(0, 86_400_000_000).map(
    lambda micros: f"{micros // 3_600_000_000:02}:{micros // 60_000_000 % 60:02}:{micros % 60_000_000 / 1e6:09.6f}"
)


def _days(last: int) -> Texts:
    """From the first day that PostgreSQL has on, by Julian day."""
    return (st.integers(0, last) | st.integers(1_721_000, 1_722_000) | st.integers(5_373_400, 5_373_600)).map(
        lambda day: f"J{day}"
    )


_LAST_DATE, _LAST_TIMESTAMP = 2_147_483_493, 109_203_526
"""The day after is the last one; what is rounded beyond it is stored, and PostgreSQL itself cannot read it back."""

_TIMESTAMPS: Final = _INFINITE | st.tuples(_days(_LAST_TIMESTAMP), _CLOCK).map(" ".join)
_ZONES: Final = st.integers(-57_599, 57_599).map(
    lambda s: f"{'-' if s < 0 else '+'}{abs(s) // 3600:02}:{abs(s) // 60 % 60:02}:{abs(s) % 60:02}"
)


def _interval() -> Texts:
    ends = st.integers(-(2**31), 2**31 - 1) | st.integers(-50, 50)
    micros = st.integers(-(2**62), 2**62) | st.integers(-(10**12), 10**12)
    return _INFINITE | st.tuples(ends, ends, micros).map(lambda p: f"{p[0]} mons {p[1]} days {p[2]} microseconds")


def _json(escapes: Texts) -> Texts:
    numbers = st.sampled_from(("0", "-0", "1.50", "1e5", "-1E-20", "123456789012345678901234567890.1230"))
    spelled = st.sampled_from((True, False))
    words = st.tuples(_ANY_TEXT, spelled).map(lambda each: json.dumps(each[0], ensure_ascii=each[1])) | escapes
    scalars = st.sampled_from(("null", "true", "false")) | numbers | words
    gaps = st.sampled_from(("", " ", "\n\t"))

    def more(inner: Texts) -> Texts:
        lists = st.tuples(gaps, st.lists(inner, max_size=3)).map(lambda p: "[" + f"{p[0]},".join(p[1]) + p[0] + "]")
        members = st.lists(st.tuples(words, gaps, inner).map(lambda p: f"{p[0]}{p[1]}:{p[1]}{p[2]}"), max_size=3)
        return lists | members.map(lambda each: "{" + ",".join(each) + "}")

    return st.recursive(scalars, more, max_leaves=6)


_XML: Final = st.text(
    st.characters(exclude_categories=("Cs", "Cc")).filter(lambda c: c not in "\ufffe\uffff"), max_size=20
)
_COORDINATES: Final = st.floats(width=64).map(
    lambda number: repr(number).replace("nan", "NaN").replace("inf", "Infinity")
)
_FINITE: Final = st.floats(-1e9, 1e9).map(repr)
_POINTS: Final = st.tuples(_COORDINATES, _COORDINATES).map(lambda p: f"({p[0]},{p[1]})")
_PLAIN_POINTS: Final = st.tuples(_FINITE, _FINITE).map(lambda p: f"({p[0]},{p[1]})")


def _path(brackets: str) -> Texts:
    return st.lists(_PLAIN_POINTS, min_size=1, max_size=4).map(lambda all: brackets[0] + ",".join(all) + brackets[1])


_ADDRESSES: Final = st.ip_addresses(v=4).map(lambda a: (str(a), 32)) | st.ip_addresses(v=6).map(lambda a: (str(a), 128))
_INET: Final = st.tuples(_ADDRESSES, st.integers(0, 128)).map(lambda p: f"{p[0][0]}/{min(p[1], p[0][1])}")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _bounds(number: Callable[[int], str], low: int, high: int) -> Texts:
    """A range between numbers that mean something to the type."""

    def text(parts: tuple[list[int], str, str, int]) -> str:
        (first, second), opening, closing, open_side = parts
        one = "" if open_side == 1 else number(min(first, second))
        other = "" if open_side == 2 else number(max(first, second))
        return f"{opening}{one},{other}{closing}"

    ends = st.lists(st.integers(low, high), min_size=2, max_size=2)
    return st.tuples(ends, st.sampled_from("[("), st.sampled_from("])"), st.integers(0, 6)).map(text) | st.just("empty")


def _multi(range_: Texts) -> Texts:
    return st.lists(range_, max_size=3).map(lambda all: "{" + ",".join(all) + "}")


_RANGES: Final[Mapping[str, Texts]] = {
    "int4range": _bounds(str, -(2**31), 2**31 - 2),
    "int8range": _bounds(str, -(2**63), 2**63 - 2),
    "numrange": _bounds(lambda n: f"{n}.50", -(10**30), 10**30) | st.sampled_from(("[-Infinity,NaN]", "[1,NaN)")),
    "daterange": _bounds(lambda n: f"J{n}", 0, 10**7) | st.just("[-infinity,infinity)"),
    "tsrange": _bounds(lambda n: f'"J{n} 12:00:00.000{n % 10}"', 0, _LAST_TIMESTAMP) | st.just("[-infinity,infinity]"),
    "tstzrange": _bounds(lambda n: f'"J{n} 12:00:00.5+05"', 2, _LAST_TIMESTAMP) | st.just("(-infinity,infinity)"),
}


def _pair(text: Texts) -> Texts:
    number = st.integers(-(2**31), 2**31 - 1).map(str) | st.just("")
    return st.tuples(number, text.map(_quoted) | st.just("")).map(lambda p: f"({p[0]},{p[1]})")


_PAIRS: Final = _pair(_ANY_TEXT)
_ODD: Final = st.sampled_from(("", " ", "ünï😀", "a'b", "c\\d", "{}", "NULL"))
_NESTED: Final = st.tuples(
    _PAIRS.map(_quoted) | st.just(""),
    st.sampled_from(("", "infinity", '"0044-03-15 12:00:00+00 BC"', '"12024-01-01 00:00:00.5+00"')),
    st.sampled_from(("", "{}", '"{1,NULL}"', '"{{1,2},{3,4}}"')),
    _ODD.map(_quoted) | st.just(""),
).map(lambda p: "(" + ",".join(p) + ")")


def _lexeme(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


_WORDS: Final = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12)
_LEXEMES: Final = st.lists(
    st.tuples(_WORDS.map(_lexeme), st.sampled_from(("", ":1", ":3A,16383B", ":2C,4D"))).map("".join), max_size=4
).map(" ".join)
_TSQUERY: Final = st.recursive(
    st.tuples(_WORDS.map(_lexeme), st.sampled_from(("", ":*", ":AB"))).map("".join),
    lambda inner: (
        st.tuples(inner, st.sampled_from((" & ", " | ", " <-> ", " <3> ")), inner).map(lambda p: f"({''.join(p)})")
        | inner.map(lambda one: f"!{one}")
    ),
    max_leaves=4,
)
_HSTORE: Final = st.dictionaries(_ANY_TEXT, _ANY_TEXT | st.none(), max_size=4).map(
    lambda pairs: ",".join(
        f"{_quoted(key)}=>{'NULL' if value is None else _quoted(value)}" for key, value in pairs.items()
    )
)
_SNAPSHOTS: Final = (
    st.lists(st.integers(0, 2**60).map(lambda n: n | 1), min_size=2, max_size=5, unique=True)
    .map(sorted)
    .map(lambda ids: f"{ids[0]}:{ids[-1]}:{','.join(map(str, ids[:-1]))}")
)
_BITS: Final = st.text("01", max_size=70)


def _unsigned(bits: int) -> Texts:
    return (st.integers(0, 2**bits - 1) | st.sampled_from((0, 2**bits - 1))).map(str)


_HUGE: Final = st.one_of(
    st.sampled_from(("NaN", "Infinity", "-Infinity", "1e131071", "-1e-16383", "0.000", "-0.0", "100", "1e20")),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.tuples(st.integers(1, 3000), st.integers(0, 3000)).map(lambda n: "7" * n[0] + "." + "1" * n[1] + "0"),
)

_MORE: Final[dict[str, Texts]] = {
    "real": _float("f"),
    "double precision": _float("d"),
    "text": _ANY_TEXT,
    "varchar": _ANY_TEXT.map(lambda text: text[:1]),
    "char": _ANY_TEXT.map(lambda text: text[:1]),
    "citext": _ANY_TEXT,
    "name": _ANY_TEXT.map(lambda text: text[:15]),
    '"char"': st.characters(min_codepoint=1, max_codepoint=127) | st.integers(128, 255).map(lambda n: f"\\{n:03o}"),
    "bytea": st.binary(max_size=60).map(lambda data: "\\x" + data.hex()),
    "date": _INFINITE | _days(_LAST_DATE),
    "time": _CLOCK,
    "timetz": st.tuples(_CLOCK, _ZONES).map("".join),
    "timestamp": _TIMESTAMPS,
    "moment": _TIMESTAMPS,
    "timestamptz": _TIMESTAMPS,
    "interval": _interval(),
    "json": _json(st.sampled_from(('"\\u0000"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\/\\b"'))),
    "jsonb": _json(st.sampled_from(('"\\ud83d\\ude00"', '"\\/\\b"'))),
    "inet": _INET,
    "cidr": st.ip_addresses(v=4).map(lambda a: f"{a}/32") | st.ip_addresses(v=6).map(lambda a: f"{a}/128"),
    "money": st.integers(-(2**63), 2**63 - 1).map(
        lambda cents: f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"
    ),
    "point": _POINTS,
    "box": st.tuples(_POINTS, _POINTS).map(",".join),
    "lseg": st.tuples(_POINTS, _POINTS).map(lambda p: f"[{p[0]},{p[1]}]"),
    "circle": st.tuples(_POINTS, st.floats(0, allow_infinity=True).map(str)).map(
        lambda p: f"<{p[0]},{p[1].replace('inf', 'Infinity')}>"
    ),
    **_RANGES,
    "tsvector": _LEXEMES,
    "tsquery": _TSQUERY,
    "pg_lsn": _unsigned(64).map(lambda text: f"{int(text) >> 32:X}/{int(text) & 0xFFFFFFFF:X}"),
    "oid": _unsigned(32),
    "hstore": _HSTORE,
    "ltree": st.lists(st.text("aZ0_-", min_size=1, max_size=5), min_size=1, max_size=4).map(".".join),
    "vector": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3).map(str),
    "halfvec": st.lists(st.floats(-65504, 65504, width=16), min_size=2, max_size=2).map(str),
    "sparsevec": st.dictionaries(
        st.integers(1, 5), st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=5
    ).map(lambda each: "{" + ",".join(f"{place}:{number}" for place, number in each.items()) + "}/5"),
    "pair": _PAIRS,
    "txid_snapshot": _SNAPSHOTS,
    "bit varying": _BITS.map(lambda text: text[:1]),
}
"""Further values of types that there are, whatever their modifier."""

_FURTHER: Final[dict[str, Texts]] = {
    "numeric": _HUGE,
    "bit varying": _BITS,
    "xml": _XML.map(lambda text: f"<a b='{escape(text, {chr(39): '&apos;'})}'>{escape(text)}<c/></a>")
    | _XML.map(escape),
    "line": st.tuples(_FINITE, st.sampled_from(("1", "-2.5")), _FINITE).map(lambda p: f"{{{','.join(p)}}}"),
    "path": _path("[]") | _path("()"),
    "polygon": _path("()"),
    **{name.replace("range", "multirange"): _multi(texts) for name, texts in _RANGES.items()},
    "textrange": st.lists(_ANY_TEXT, min_size=2, max_size=2)
    .map(lambda ends: sorted(ends, key=str.encode))
    .map(lambda ends: f"[{_quoted(ends[0])},{_quoted(ends[1])}]"),
    "textmulti": st.sampled_from(("{}", '{["a b","c""d"]}', "{(,é)}")),
    '"Odd"': _ODD,
    "feeling": _ODD,
    "nested": _NESTED,
    "numbers": st.lists(st.integers(-(2**31), 2**31 - 1) | st.none(), max_size=4).map(
        lambda each: "{" + ",".join("NULL" if n is None else str(n) for n in each) + "}"
    ),
    "xid": _unsigned(32),
    "xid8": _unsigned(64),
    "cid": _unsigned(32),
    "tid": st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 65535)).map(lambda p: f"({p[0]},{p[1]})"),
    "pg_snapshot": _SNAPSHOTS,
    "regtype": st.sampled_from(("integer", "timestamp with time zone", "pair")),
    "refcursor": _ANY_TEXT,
    "jsonpath": st.sampled_from(("$", '$."a b"[*] ? (@.x > 1.50)', "strict $.é")),
    "int2vector": st.lists(st.integers(-(2**15), 2**15 - 1).map(str), max_size=4).map(" ".join),
    "oidvector": st.lists(_unsigned(32), max_size=4).map(" ".join),
    "lquery": st.sampled_from(("*.a|b.!c{2,}", "Top.*{1,3}")),
}
"""Types that the comparison has not, and values of a type without modifier."""
