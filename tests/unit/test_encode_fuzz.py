"""Whatever a row holds: the events are JSON with the same values, compiled or not; garbage is refused."""

from __future__ import annotations

import importlib
from base64 import b64decode
from contextlib import suppress
from types import ModuleType
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdc.compiled import hot_modules
from cdc.errors import ProtocolError
from cdc.event import Record
from cdc.formats.handling import Decimals, Handling
from cdc.formats.postgres import encode_cy
from cdc.formats.postgres.plan import SourceInfo, TablePlan, plan_table
from connectors.postgres_wal.options import TableOptions
from tests.interpreted import ENCODER, interpreted
from tests.unit.row_messages import TYPES, UNCHANGED, Values, column, copy_line, delete, insert, relation, update

INTERPRETED = interpreted(ENCODER)
COMPILED = importlib.import_module("cdc.formats.postgres.encode_cy")
compiled_only = pytest.mark.skipif(
    not all(module.compiled for module in hot_modules() if module.name.startswith("cdc.formats.")),
    reason="the encoder is not compiled here",
)

KINDS = {
    "int8": st.integers(-(2**63), 2**63 - 1).map(str),
    "float8": st.floats().map(lambda number: repr(number).replace("nan", "NaN").replace("inf", "Infinity")),
    "bool": st.sampled_from("tf"),
    "text": st.text(),
    "bytea": st.binary().map(lambda raw: "\\x" + raw.hex()),
    "date": st.dates().map(str),
    "time": st.times().map(str),
    "timestamp": st.datetimes().map(str),
    "timestamptz": st.datetimes().map(lambda moment: f"{moment}+00"),
    "timetz": st.times().map(lambda moment: f"{moment}-03:30"),
    "interval": st.tuples(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), st.times()).map(
        lambda parts: f"{parts[0]} mons {parts[1]} days {parts[2]}"
    ),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:f}"),
    "varbit": st.text("01"),
    "jsonb": st.text().map(lambda text: orjson.dumps([text]).decode()),
    "text[]": st.recursive(
        st.lists(st.none() | st.text(), min_size=1, max_size=3), lambda inner: st.lists(inner, min_size=1, max_size=3)
    ).map(lambda array: _array_text(array)),
    "int8[]": st.lists(st.integers(-(2**63), 2**63 - 1)).map(lambda array: "{" + ",".join(map(str, array)) + "}"),
    "bytea[]": st.lists(st.binary()).map(lambda array: "{" + ",".join(f'"\\\\x{raw.hex()}"' for raw in array) + "}"),
}


def _array_text(array: object) -> str:
    if isinstance(array, list):
        return "{" + ",".join(map(_array_text, array)) + "}"
    if not isinstance(array, str):
        return "NULL"
    return '"' + array.replace("\\", "\\\\").replace('"', '\\"') + '"'


TABLE = relation(
    column("id", "int8", key=True),
    *(column(f"v_{kind}", kind) for kind in KINDS),
    column("masked", "text"),
    column("cut", "text"),
)

Rows = st.tuples(
    KINDS["int8"], *(st.none() | values for values in KINDS.values()), st.none() | st.text(), st.none() | st.text()
)


def plan(decimal: Decimals = "precise") -> TablePlan:
    return plan_table(
        TABLE,
        TYPES,
        options=TableOptions(mask={"masked": "hmac"}, truncate={"cut": 3}),
        key_columns=["id"],
        topic="t",
        source=SourceInfo("shop", "warehouse", "0"),
        handling=Handling(decimal),
        mask_key=b"key",
    )


def encoder(module: ModuleType = COMPILED, decimal: Decimals = "precise") -> Any:
    made = module.RowEncoder(plan(decimal))
    made.begin(encode_cy.Transaction(1, 2, 3, None, "false", 4, 5))
    return made


ENCODER = encoder()


def encoded(with_: Any, message: bytes, fill: dict[int, bytes | None] | None = None) -> list[Record] | str:
    records: list[Record] = []
    try:
        with_.encode(message, 0, 1, 2, records, fill)
    except ProtocolError as error:
        assert not records
        return str(error)
    return records


def assert_json(records: list[Record] | str) -> None:
    if isinstance(records, list):
        for _, key, value, *_ in records:
            for text in (key, value):
                assert text is None or orjson.loads(text) is not None


@settings(deadline=None)
@given(st.text(), st.text())
@example("\x00\x1f\x7f\u2028", "\U0010ffff" * 5000)
def test_any_text_comes_back(one: str, other: str) -> None:
    row: list[str | None] = [None] * len(TABLE.columns)
    place = [each.name for each in TABLE.columns].index("v_text")
    row[0], row[place] = "1", one + other
    for records in (encoded(ENCODER, insert(row)), copied(ENCODER, copy_line(row))):
        assert isinstance(records, list)
        assert records[0][2] is not None
        assert orjson.loads(records[0][2])["after"]["v_text"] == one + other


@settings(deadline=None)
@given(st.binary())
def test_bytes_that_are_no_utf8_are_refused(raw: bytes) -> None:
    row: list[bytes | None] = [None] * len(TABLE.columns)
    place = [each.name for each in TABLE.columns].index("v_text")
    row[0], row[place] = b"1", raw
    records = encoded(ENCODER, insert(row))
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        assert records == "table public.t, column v_text: not valid UTF-8"
    else:
        assert isinstance(records, list)
        assert records[0][2] is not None
        assert orjson.loads(records[0][2])["after"]["v_text"] == text


def test_a_numeric_may_have_more_digits_than_python_reads() -> None:
    row: list[str | None] = [None] * len(TABLE.columns)
    place = [each.name for each in TABLE.columns].index("v_numeric")
    row[0], row[place] = "1", "-1" + "0" * 9999 + ".5"
    records = encoded(ENCODER, insert(row))
    assert isinstance(records, list)
    assert records[0][2] is not None
    found = orjson.loads(records[0][2])["after"]["v_numeric"]
    assert found["scale"] == 1
    assert int.from_bytes(b64decode(found["value"]), "big", signed=True) == -(10**10_000 + 5)


@pytest.mark.long
@compiled_only
@settings(max_examples=300, deadline=None)
@given(Rows, Rows, st.sets(st.integers(1, len(TABLE.columns) - 1)), st.sampled_from(["precise", "double", "string"]))
def test_compiled_and_interpreted_agree(new: Values, old: Values, left_out: set[int], decimal: str) -> None:
    fast, plain = encoder(COMPILED, decimal), encoder(INTERPRETED, decimal)
    partial = [UNCHANGED if place in left_out else value for place, value in enumerate(new)]
    fill: dict[int, bytes | None] = {place: _raw(new[place]) for place in sorted(left_out)[::2]}
    for message, given_values in (
        (insert(new), None),
        (update(partial), None),
        (update(partial), fill),
        (update(partial, old=old), None),
        (update(partial, key=[old[0], *[None] * (len(old) - 1)]), fill),
        (delete(old=old), None),
    ):
        records = encoded(fast, message, given_values)
        assert records == encoded(plain, message, given_values)
        assert fast.unchanged == plain.unchanged
        assert fast.unchanged_columns(message, 0) == plain.unchanged_columns(message, 0)
        assert fast.key_text(message, 0) == plain.key_text(message, 0)
        assert_json(records)
    line = copy_line([value if value is None else str(value) for value in new])
    assert copied(fast, line) == copied(plain, line)


def _raw(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else None


def copied(with_: Any, line: bytes) -> list[Record] | str:
    records: list[Record] = []
    try:
        with_.encode_copy(line, records)
    except ProtocolError as error:
        return str(error)
    assert_json(records)
    return records


@compiled_only
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)), st.text(max_size=20) | st.text('0123456789-+:. {}\\",xNULtfaBCmonysde', max_size=30)
)
def test_compiled_and_interpreted_agree_on_what_is_not_a_value(kind: str, text: str) -> None:
    place = list(KINDS).index(kind) + 1
    row: list[str | None] = [None] * len(TABLE.columns)
    row[0], row[place] = "1", text
    records = encoded(ENCODER, insert(row))
    assert records == encoded(encoder(INTERPRETED), insert(row))
    assert_json(records)


MESSAGES = [
    insert(["1", *["x"] * 3, *[None] * (len(TABLE.columns) - 4)]),
    update(["1", *[UNCHANGED] * (len(TABLE.columns) - 1)], key=["1", *[None] * (len(TABLE.columns) - 1)]),
    update(["1", *[None] * (len(TABLE.columns) - 1)], old=["1", *["{1}"] * (len(TABLE.columns) - 1)]),
    delete(key=["1", *[None] * (len(TABLE.columns) - 1)]),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_cut_short_is_refused(message: bytes) -> None:
    for length in range(len(message)):
        assert isinstance(encoded(ENCODER, message[:length]), str)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(MESSAGES), st.data())
def test_a_corrupted_message_does_no_worse_than_being_refused(message: bytes, drawn: st.DataObject) -> None:
    corrupted = bytearray(message)
    for place in drawn.draw(st.lists(st.integers(0, len(message) - 1), min_size=1, max_size=6)):
        corrupted[place] = drawn.draw(st.integers(0, 255))
    assert_json(encoded(ENCODER, bytes(corrupted)))
    with suppress(ProtocolError):
        ENCODER.unchanged_columns(bytes(corrupted), 0)
        ENCODER.key_text(bytes(corrupted), 0)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(-3, 310))
def test_no_bytes_do_worse_than_being_refused(data: bytes, offset: int) -> None:
    records: list[Record] = []
    with suppress(ProtocolError):
        ENCODER.encode(data, offset, 1, 2, records)
    assert_json(records)
    copied(ENCODER, data)
