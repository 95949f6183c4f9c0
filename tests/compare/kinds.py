"""Random column types, and texts of random values of them. Pure; all from one `Random`.

Left out is what makes Debezium itself stop or answer with a Java object's name; each place says so.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Final, TypeAlias

Value: TypeAlias = Callable[[Random], str]
"""Makes the text of a value, as PostgreSQL reads it."""

PRELUDE: Final = (
    "CREATE EXTENSION hstore",
    "CREATE EXTENSION citext",
    "CREATE EXTENSION ltree",
    "CREATE EXTENSION isn",
    "CREATE EXTENSION vector",
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'very \"happy\"', 'x,y')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE DOMAIN cents AS numeric(12,2)",
    "CREATE DOMAIN positive AS int CHECK (value > 0)",
    "CREATE DOMAIN short AS varchar(5)",
    "CREATE DOMAIN moment AS timestamp(3)",
    "CREATE DOMAIN deep AS cents",
)
"""What the types below need in a database."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A column's type.

    Args:
        sql: as a column definition has it.
        value: makes values.
        key: whether a primary key may be of it.
        required: whether a column of it may be NOT NULL.
    """

    sql: str
    value: Value
    key: bool = False
    required: bool = True


def random_kind(random: Random) -> Kind:
    """A type, an array now and then."""
    kind = random.choice(KINDS)(random)
    if random.random() < 0.15 and not kind.sql.startswith(_NO_ARRAYS):
        return Kind(f"{kind.sql}[]", _array(kind.value, ";" if kind.sql == "box" else ","), required=False)
    return kind


def random_key(random: Random) -> Kind:
    """A type that a primary key may be of."""
    while True:
        kind = random.choice(KINDS)(random)
        if kind.key:
            return kind


_NO_ARRAYS: Final = ("xml",)


def _array(element: Value, delimiter: str) -> Value:
    """One dimension: for text with two Debezium gives a Java object's name."""

    def value(random: Random) -> str:
        items = [
            "NULL" if random.random() < 0.15 else '"' + element(random).replace("\\", "\\\\").replace('"', '\\"') + '"'
            for _ in range(random.choice((0, 1, 2, 3)))
        ]
        return "{" + delimiter.join(items) + "}"

    return value


def _integer(name: str, bits: int) -> Callable[[Random], Kind]:
    def value(random: Random) -> str:
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        return str(random.choice((0, 1, -1, low, high, random.randint(low, high), random.randint(-999, 999))))

    return lambda _: Kind(name, value, key=True)


def _float(name: str, layout: str) -> Callable[[Random], Kind]:
    def value(random: Random) -> str:
        some = struct.unpack(layout, random.randbytes(struct.calcsize(layout)))[0]
        spelled = repr(some).replace("nan", "NaN").replace("inf", "Infinity")
        return random.choice(
            (spelled, spelled, "0", "-0", "1", "0.1", "1e10", "123456.789", "1e-7", "0.001", "9999999", "1e7", "NaN")
        )

    return lambda _: Kind(name, value)


def _numeric(random: Random) -> Kind:
    """NaN and infinities are left out: under `precise` Debezium's connector stops at them.

    It also stops at a delete that has only the key, where a column that becomes a struct, an array or a map is NOT NULL
    ("null used for required field"): numerics without a scale, or with a negative one, points, vectors, hstore, arrays.
    """
    if random.random() < 0.3:
        return Kind("numeric", lambda r: _digits(r, r.randint(1, 40), r.randint(0, 12)), key=True, required=False)
    precision = random.choice((1, 5, 9, 18, 38, 100))
    scale = random.choice((0, 0, min(2, precision), precision, precision + 3, -2))
    sql = f"numeric({precision})" if scale == 0 and random.random() < 0.5 else f"numeric({precision},{scale})"
    whole = max(0, min(precision - scale, precision))
    return Kind(sql, lambda r: _digits(r, whole, max(scale, 0), scale - precision), required=scale >= 0)


def _digits(random: Random, whole: int, fraction: int, zeros: int = 0) -> str:
    """A number with at most so many digits; the first `zeros` of the fraction are 0."""
    before = "".join(random.choices("0123456789", k=random.randint(0, whole))).lstrip("0") or "0"
    after = "".join(random.choices("0123456789", k=random.randint(0, fraction)))
    after = "0" * min(max(zeros, 0), len(after)) + after[max(zeros, 0) :]
    return random.choice(("", "-")) + before + (f".{after}" if after else "")


def _money(_: Random) -> Kind:
    return Kind("money", lambda r: f"{r.choice(('', '-'))}{r.choice((0, 1, 99, 123456789))}.{r.randint(0, 99):02}")


_WORDS: Final = (
    "",
    "a",
    "word",
    "two words",
    "ünïcödé",
    "\U0001f600",
    "line\nend",
    "tab\t",
    'quote"',
    "back\\slash",
    "{}",
)


def _words(random: Random) -> str:
    if random.random() < 0.03:
        return random.randbytes(4500).hex()  # goes to TOAST
    return random.choice(_WORDS) + random.choice(("", "", random.choice(_WORDS), "\u2028", "\x01", "</x>&'"))


def _short_words(length: int) -> Value:
    return lambda random: _words(random)[:length]


def _text(random: Random) -> Kind:
    length = random.choice((1, 3, 20))
    return random.choice(
        (
            Kind("text", _words, key=True),
            Kind("varchar", _words),
            Kind(f"varchar({length})", _short_words(length), key=True),
            Kind(f"char({length})", _short_words(length)),
            # Arrays of it that go to TOAST and stay as they are become null to Debezium; here they are left out.
            Kind("citext", _short_words(20), key=True),
            Kind("name", _short_words(15)),
            Kind('"char"', lambda r: r.choice("abZ0")),
            Kind("short", _short_words(5)),
        )
    )


def _bytes(_: Random) -> Kind:
    return Kind("bytea", lambda r: "\\x" + r.randbytes(r.choice((0, 1, 2, 3, 16, 100))).hex())


def _boolean(_: Random) -> Kind:
    return Kind("boolean", lambda r: r.choice(("t", "f")), key=True)


def _day(random: Random) -> str:
    low, high = random.choice(((1900, 2100), (1900, 2100), (1900, 2100), (1, 9999)))
    return str(date(low, 1, 1) + timedelta(days=random.randrange((date(high, 12, 31) - date(low, 1, 1)).days)))


def _clock(random: Random) -> str:
    fraction = random.choice(("", ".5", ".123", ".120000", ".999999", f".{random.randrange(10**6):06}"))
    return random.choice(
        ("00:00:00", f"{random.randrange(24):02}:{random.randrange(60):02}:{random.randrange(60):02}")
    ) + (fraction)


def _date(_: Random) -> Kind:
    return Kind(
        "date", lambda r: r.choice((_day(r), _day(r), _day(r), "infinity", "-infinity", "1970-01-01")), key=True
    )


def _time(random: Random) -> Kind:
    digits = random.choice(("", "", "(0)", "(3)", "(4)", "(6)"))
    return Kind(f"time{digits}", lambda r: r.choice((_clock(r), _clock(r), "24:00:00")), key=True)


def _timetz(random: Random) -> Kind:
    digits = random.choice(("", "(0)", "(3)"))
    return Kind(f"timetz{digits}", lambda r: _clock(r) + r.choice(("+00", "+05:30", "-08", "+13")))


def _timestamp(random: Random) -> Kind:
    digits = random.choice(("", "", "(0)", "(1)", "(3)", "(4)", "(6)"))
    special = ("infinity", "-infinity", "0044-03-15 12:00:00 BC", "1969-12-31 23:59:59.999999")
    sql = "moment" if random.random() < 0.1 else f"timestamp{digits}"
    return Kind(sql, lambda r: r.choice(special) if r.random() < 0.1 else f"{_day(r)} {_clock(r)}", key=True)


def _timestamptz(random: Random) -> Kind:
    digits = random.choice(("", "", "(0)", "(3)", "(6)"))
    special = ("infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "12024-01-01 00:00:00+00")
    zones = ("+00", "+05:30", "-08")
    return Kind(
        f"timestamptz{digits}",
        lambda r: r.choice(special) if r.random() < 0.1 else f"{_day(r)} {_clock(r)}{r.choice(zones)}",
        key=True,
    )


def _interval(random: Random) -> Kind:
    sql = random.choice(("interval", "interval", "interval(3)", "interval day to second", "interval year to month"))

    def value(random: Random) -> str:
        parts = (
            f"{random.randint(-20, 20)} years {random.randint(-11, 11)} mons",
            f"{random.randint(-400, 400)} days",
            f"{random.choice(('', '-'))}{_clock(random)}",
        )
        return " ".join(random.sample(parts, random.choice((1, 2, 3))))

    return Kind(sql, value)


def _bits(random: Random) -> Kind:
    length = random.choice((1, 2, 7, 8, 9, 33, 64, 65))
    if random.random() < 0.5:
        return Kind(f"bit({length})", lambda r: "".join(r.choices("01", k=length)))
    sql = random.choice(("bit varying", f"bit varying({length})"))
    return Kind(sql, lambda r: "".join(r.choices("01", k=r.randint(1, length))))


def _uuid(_: Random) -> Kind:
    return Kind("uuid", lambda r: f"{r.getrandbits(128):032x}", key=True)


def _json(random: Random) -> Kind:
    def value(random: Random) -> str:
        word = random.choice(_WORDS).replace("\0", "")
        return random.choice(
            (json.dumps({"a": [1, 2.50, None], word: word}), json.dumps(word), "null", "1e3", '{"b": 1,  "a": 2}', "[]")
        )

    return Kind(random.choice(("json", "jsonb")), value)


def _network(random: Random) -> Kind:
    return random.choice(
        (
            Kind("inet", lambda r: r.choice(("10.1.2.3", "10.0.0.1/8", "2001:db8::1", "::ffff:1.2.3.4/96"))),
            Kind("cidr", lambda r: r.choice(("10.0.0.0/8", "192.168.1.0/24", "2001:db8::/32"))),
            Kind("macaddr", lambda r: r.randbytes(6).hex()),
            Kind("macaddr8", lambda r: r.randbytes(8).hex()),
        )
    )


def _geometric(random: Random) -> Kind:
    def number(random: Random) -> str:
        return random.choice(("0", "1", "-1.5", "1e300", "0.1", "123456789.125"))

    return random.choice(
        (
            Kind("point", lambda r: f"({number(r)},{number(r)})", required=False),
            Kind("box", lambda r: f"({number(r)},{number(r)}),({number(r)},{number(r)})"),
            Kind("circle", lambda r: f"<({number(r)},{number(r)}),1>"),
            Kind("lseg", lambda r: f"[({number(r)},{number(r)}),(0,0)]"),
        )
    )


def _ranges(random: Random) -> Kind:
    def of(one: Value) -> Value:
        def value(random: Random) -> str:
            low, high = sorted((one(random), one(random)))
            return random.choice(("empty", f"[{low},{high}]", f"({low},)", f"[,{high})", "(,)"))

        return value

    return random.choice(
        (
            Kind("int4range", of(lambda r: str(r.randint(10, 99)))),
            Kind("int8range", of(lambda r: str(r.randint(10, 99)))),
            Kind("numrange", of(lambda r: f"{r.randint(10, 99)}.5")),
            Kind("daterange", of(lambda r: f"20{r.randint(10, 99)}-01-31")),
            Kind("tsrange", of(lambda r: f"20{r.randint(10, 99)}-01-31 12:00:00")),
            Kind("tstzrange", of(lambda r: f"20{r.randint(10, 99)}-01-31 12:00:00+00")),
            Kind("int4multirange", lambda r: r.choice(("{}", "{[1,3),[5,9)}"))),
        )
    )


def _extensions(random: Random) -> Kind:
    def pairs(random: Random) -> str:
        return ",".join(
            f'"{key}"=>' + random.choice(("NULL", '"1"', '"with \\"quotes\\""', '"ünï"', '""'))
            for key in random.sample(("a", "b", "long key", "c"), random.randint(0, 3))
        )

    return random.choice(
        (
            Kind("hstore", pairs, required=False),
            Kind("hstore", pairs, required=False),
            Kind("ltree", lambda r: r.choice(("Top", "Top.Science.x_1", ""))),
            Kind("isbn", lambda r: "978-0-393-04002-9"),
            Kind("vector(3)", lambda r: r.choice(("[1,2,3]", "[0.5,-1e-05,12345.678]")), required=False),
            Kind("halfvec(2)", lambda r: r.choice(("[1,2]", "[0.5,-0.25]")), required=False),
            Kind("sparsevec(5)", lambda r: r.choice(("{1:1.5,5:-2}/5", "{}/5")), required=False),
        )
    )


def _own(random: Random) -> Kind:
    """A domain over an enum is left out: Debezium's connector does not start with one."""
    return random.choice(
        (
            Kind("mood", lambda r: r.choice(("sad", "ok", 'very "happy"', "x,y")), key=True),
            Kind("pair", lambda r: r.choice(("(1,a)", "(,)", '(2,"a ""b""")'))),
            Kind("cents", lambda r: _digits(r, 10, 2)),
            Kind("deep", lambda r: _digits(r, 10, 2)),
            Kind("positive", lambda r: str(r.randint(1, 2**31 - 1))),
        )
    )


def _others(random: Random) -> Kind:
    return random.choice(
        (
            Kind("tsvector", lambda r: r.choice(("", "'a':1A,2 'b''c'", "cat dog"))),
            Kind("tsquery", lambda r: "'a' & !'b'"),
            Kind("pg_lsn", lambda r: "16/B374D848"),
            Kind("oid", lambda r: str(r.choice((0, 1, 2**32 - 1)))),
            Kind("regclass", lambda r: "pg_class"),
            Kind("txid_snapshot", lambda r: "10:20:10,14,15"),
        )
    )


KINDS: Final[tuple[Callable[[Random], Kind], ...]] = (
    _integer("smallint", 16),
    _integer("integer", 32),
    _integer("bigint", 64),
    _float("real", "f"),
    _float("double precision", "d"),
    _numeric,
    _numeric,
    _numeric,
    _money,
    _text,
    _text,
    _text,
    _bytes,
    _boolean,
    _date,
    _time,
    _timetz,
    _timestamp,
    _timestamp,
    _timestamptz,
    _interval,
    _bits,
    _uuid,
    _json,
    _network,
    _geometric,
    _ranges,
    _extensions,
    _extensions,
    _own,
    _others,
)
"""What a column may be of: each makes variants of a type, or of types that are alike."""
