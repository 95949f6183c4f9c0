"""Events → rows: the compiled plan and the general path give the same, and garbage is refused by name."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdc.errors import RowRefused
from cdc.formats.debezium_json import OLD_KEY
from cdc.formats.payload import payload_of
from cdc.schemas import Column, TableSchema
from cdc.sink import Event
from sinks.postgres import decode_cy
from sinks.postgres.decode import AFTER_ALL, DELETE, TRUNCATE, UNAVAILABLE, Decoder, Row, Wholeness, is_older
from sinks.postgres.forms import converter, copy_field, kind_of, plain_field
from tests.sink_events import column, described, key, position, value

TOPIC = "shop.public.orders"
POS = position(0x1AF0000)

COLUMNS = (
    column("id", "bigint"),
    column("note", "text"),
    column("amount", "numeric(12,2)"),
    column("rate", "double precision"),
    column("paid", "boolean"),
    column("flag", "bit(1)"),
    column("picture", "bytea"),
    column("day", "date"),
    column("short", "time(3)"),
    column("long", "time"),
    column("coarse", "timestamp(3)"),
    column("fine", "timestamp"),
    column("at", "timestamptz"),
)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(-(2**63), 2**63 - 1),
    "note": st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",))),
    "amount": st.decimals(allow_nan=False, allow_infinity=False).map(lambda d: format(d, "f"))
    | st.sampled_from(["NAN", "POSITIVE_INFINITY", "NEGATIVE_INFINITY"]),
    "rate": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    "paid": st.booleans(),
    "flag": st.booleans(),
    "picture": st.binary().map(lambda data: base64.b64encode(data).decode()),
    "day": st.integers(-3_000_000, 3_000_000)
    | st.sampled_from([-622_191_234, -625_821_272, -2_147_472_692, -2_147_472_691]),
    "short": st.integers(0, 86_400_000),
    "long": st.integers(0, 86_400_000_000),
    "coarse": st.integers(-(10**15), 10**15),
    "fine": st.integers(-(10**18), 10**18) | st.just(9_223_372_036_825_200_000),
    "at": st.datetimes().map(lambda at: at.isoformat() + "Z")
    | st.sampled_from(["infinity", "-infinity", "+10000-01-01T00:00:00.000001Z", "-4712-01-01T00:00:00.000000Z"]),
}

ROWS = st.fixed_dictionaries({name: st.none() | strategy for name, strategy in VALUES.items() if name != "id"}).flatmap(
    lambda row: VALUES["id"].map(lambda number: {"id": number, **row})
)


def event(data: bytes | None, *, of: bytes | None = None) -> Event:
    return Event(TOPIC, 3, 77, key(id=1) if of is None else of, data, 0)


def decoder(*columns: Column, compiled: bool, keys: tuple[str, ...] = ("id",)) -> Decoder:
    return Decoder([described(TOPIC, columns or COLUMNS, keys)], compiled=compiled)


def row(decoder: Decoder, data: bytes | None, **more: Any) -> Row:
    found = decoder.row(event(data, **more))
    assert found is not None
    return found


def _spelled_alike(row: Row) -> Row:
    """orjson and Python write the same float in several ways: 1e-5, 1e-05, 0.00001."""
    line = re.sub(rb"(?<=\t)-?(\d+(\.\d+)?e[-+]?\d+|0\.0000\d+)(?=\t)", lambda one: b"%r" % float(one[0]), row.line)
    return row._replace(line=line)


@given(ROWS)
@example({"id": 1, **dict.fromkeys(list(VALUES)[1:]), "rate": 5.960464477539063e-08})
@example({"id": 1, **dict.fromkeys(list(VALUES)[1:]), "rate": 1e-5})
def test_the_plan_and_the_general_path_give_the_same_row(after: dict[str, Any]) -> None:
    data = value("u", after, POS)
    general = row(decoder(compiled=False), data)
    planned = decoder(compiled=True)
    row(planned, data)  # learns the shape
    assert _spelled_alike(row(planned, data)) == _spelled_alike(general)
    assert general.line.split(b"\t")[-1] == POS.encode()


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_text_survives_however_its_json_is_escaped(text: str) -> None:
    for spelled in (json.dumps(text), json.dumps(text, ensure_ascii=False), orjson.dumps(text).decode()):
        plan = decode_cy.RowPlan([b'"note":'], bytes([kind_of(column("note", "text"))]))
        field = plan.row(b'{"note":%b}' % spelled.encode())
        assert field is not None
        assert plain_field(field) == text
        assert field == copy_field(text)


def _flipped(data: bytes, where: int, byte: int) -> bytes:
    return data[: where % len(data)] + bytes([byte]) + data[where % len(data) + 1 :]


@given(ROWS, st.integers(0, 2000), st.integers(0, 255), st.integers(0, 2000))
def test_a_damaged_event_never_crashes(after: dict[str, Any], where: int, byte: int, length: int) -> None:
    whole = value("u", after, POS)
    planned = decoder(compiled=True)
    row(planned, whole)
    for data in (_flipped(whole, where, byte), whole[:length], whole + bytes([byte])):
        with contextlib.suppress(RowRefused):
            planned.row(event(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    plan = decode_cy.RowPlan([orjson.dumps(c.name) + b":" for c in COLUMNS], bytes(map(kind_of, COLUMNS)))
    plan.event(data, 1)
    plan.row(data)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_delete_is_its_key(compiled: bool) -> None:
    decode = decoder(compiled=compiled)
    row(decode, value("c", {"id": 1}, POS))
    deleted = row(decode, value("d", None, POS, before={"id": 1, "note": None}), of=key(id=-5))
    assert (deleted.op, deleted.columns, deleted.line) == (DELETE, ("id",), b"-5\t" + POS.encode())


def test_a_tombstone_follows_whatever_its_key_had() -> None:
    assert row(decoder(compiled=True), None).pos == AFTER_ALL


def test_the_tombstone_of_a_table_without_key_says_nothing() -> None:
    assert decoder(compiled=True, keys=()).row(event(None)) is None


@pytest.mark.parametrize("compiled", [True, False])
def test_a_delete_of_a_table_without_key_is_its_old_row(compiled: bool) -> None:
    decode = decoder(column("id", "bigint"), compiled=compiled, keys=())
    row(decode, value("c", {"id": 1}, POS))
    assert row(decode, value("d", None, POS, before={"id": 9})).line == b"9\t" + POS.encode()


def test_a_truncate_has_no_row() -> None:
    found = row(decoder(compiled=True), value("t", None, POS))
    assert (found.op, found.line) == (TRUNCATE, b"")


@pytest.mark.parametrize("compiled", [True, False])
def test_unchanged_columns_make_a_row_partial(compiled: bool) -> None:
    decode = decoder(compiled=compiled)
    for _ in range(2):
        found = row(decode, value("u", {"id": 1, "paid": True}, POS, unchanged=["note"]))
        assert found.wholeness is Wholeness.PARTIAL
        assert found.columns == ("id", "paid")
        flagged = value("u", {"id": 1, "paid": True}, POS, unchanged=["note"], gone=True)
        assert row(decode, flagged).wholeness is Wholeness.GONE


def bare(data: bytes) -> bytes:
    """Without our own member, as Debezium itself writes it."""
    document = orjson.loads(data)
    del document["cdc"]
    return orjson.dumps(document)


def wrapped(data: bytes, schema: bytes = b'{"type":"struct","fields":[]}') -> bytes:
    return b'{"schema":%b,"payload":%b}' % (schema, data)


@pytest.mark.parametrize("compiled", [True, False])
def test_without_a_position_events_are_in_the_order_in_which_they_arrive(compiled: bool) -> None:
    decode = decoder(compiled=compiled)
    for _ in range(2):
        found = row(decode, bare(value("u", {"id": 1, "note": "n"}, POS)))
        assert found.pos == b"o%020d" % 77
        assert found.line == b"1\tn\to%020d" % 77
        assert found.wholeness is Wholeness.WHOLE


@pytest.mark.parametrize("compiled", [True, False])
def test_a_placeholder_is_an_unchanged_column_and_never_data(compiled: bool) -> None:
    columns = [
        replace(column("note", "text"), placeholder="?"),
        replace(column("picture", "bytea"), placeholder="Pw=="),
    ]
    decode = Decoder([described(TOPIC, [column("id", "bigint"), *columns])], compiled=compiled)
    half = {"id": 1, "note": "?", "picture": "Pw=="}
    for _ in range(2):
        for data in (bare(value("u", half, POS)), value("u", half, POS, unchanged=["note", "picture"])):
            found = row(decode, data)
            assert found.columns == ("id",)
            assert found.wholeness is Wholeness.PARTIAL
        assert row(decode, value("u", half, POS)).columns == (
            "id",
            "note",
            "picture",
        )  # the event says that all is known
        # What Debezium has unless it is told something else is data here.
        assert row(decode, bare(value("u", {"id": 1, "note": UNAVAILABLE}, POS))).columns == ("id", "note")
    assert row(decoder(compiled=compiled), bare(value("u", {"id": 1, "note": UNAVAILABLE}, POS))).columns == ("id",)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("op", ["c", "r"])
def test_a_placeholder_is_data_where_nothing_can_be_unchanged(op: str, compiled: bool) -> None:
    columns = [column("id", "bigint"), replace(column("note", "text"), placeholder="?")]
    decode = Decoder([described(TOPIC, columns)], compiled=compiled)
    for _ in range(2):
        found = row(decode, bare(value(op, {"id": 1, "note": "?"}, POS)))
        assert (found.columns, found.wholeness) == (("id", "note"), Wholeness.WHOLE)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_new_half_of_a_changed_key_may_have_unchanged_columns(compiled: bool) -> None:
    columns = [column("id", "bigint"), replace(column("note", "text"), placeholder="?"), column("tags", "date[]")]
    decode = Decoder([described(TOPIC, columns)], compiled=compiled)
    moved = event(bare(value("c", {"id": 1, "note": "?"}, POS)))._replace(headers=[(OLD_KEY, key(id=0))])
    for _ in range(2):
        found = decode.row(moved)
        assert found is not None
        assert (found.columns, found.wholeness) == (("id",), Wholeness.PARTIAL)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_column_without_a_placeholder_that_an_update_leaves_out_is_unchanged(compiled: bool) -> None:
    columns = [column("id", "bigint"), replace(column("note", "text"), placeholder="?"), column("tags", "float8[]")]
    decode = Decoder([described(TOPIC, columns)], compiled=compiled)
    without, whole = {"id": 1, "note": "n"}, {"id": 1, "note": "n", "tags": None}
    for _ in range(2):
        assert row(decode, bare(value("u", without, POS))).wholeness is Wholeness.PARTIAL
        assert row(decode, bare(value("u", whole, POS))).wholeness is Wholeness.WHOLE
        assert row(decode, bare(value("c", without, POS))).wholeness is Wholeness.WHOLE


@pytest.mark.parametrize("compiled", [True, False])
def test_schemas_around_keys_and_values_change_nothing(compiled: bool) -> None:
    decode = decoder(compiled=compiled)
    for schema in (b'{"type":"struct"}', b'{ "type": "struct" }', b'{"type":"struct","doc":"x\\",\\"payload\\":"}'):
        for _ in range(2):
            data = value("c", {"id": 1, "note": "n"}, POS)
            assert row(decode, wrapped(data, schema)).line == row(decode, data).line
            deleted = decode.row(Event(TOPIC, 3, 77, wrapped(key(id=5), schema), None, 0))
            assert deleted is not None
            assert deleted.line == b"5\t~"
    kept = wrapped(data)
    assert row(decode, kept).event.value == kept


@pytest.mark.parametrize("compiled", [True, False])
def test_a_key_of_columns_named_schema_and_payload_is_no_key_with_a_schema(compiled: bool) -> None:
    columns = [column("schema", "text"), column("payload", "text")]
    of = key(schema="s", payload="p")
    decode = Decoder([described(TOPIC, columns, ("schema", "payload"))], compiled=compiled)
    for _ in range(2):
        assert row(decode, value("d", None, POS), of=of).line == b"s\tp\t" + POS.encode()
    assert payload_of(orjson.loads(of)) == {"schema": "s", "payload": "p"}


def test_a_truncate_without_a_position_is_refused() -> None:
    with pytest.raises(RowRefused, match=r"a truncate without cdc\.pos"):
        decoder(compiled=True).row(event(bare(value("t", None, POS))))


def test_without_a_position_the_newest_description_that_fits_reads_an_event() -> None:
    versions = [
        described(TOPIC, [column("id", "bigint"), column("old", "text")], pos=position(100)),
        described(TOPIC, [column("id", "bigint"), column("new", "text")], pos=position(200)),
    ]
    decode = Decoder(versions)
    for name in ("old", "new", "old"):
        assert row(decode, bare(value("u", {"id": 1, name: "x"}, POS))).columns == ("id", name)


def test_an_offset_and_another_position_are_in_the_order_in_which_they_arrive() -> None:
    assert is_older(b"o1", b"o2")
    assert not is_older(b"o2", b"o1")
    assert not is_older(b"00000000/1", b"o2")
    assert not is_older(b"o2", b"00000000/1")


def test_an_event_is_read_by_the_description_of_its_time() -> None:
    versions = [
        described(TOPIC, [column("id", "bigint"), column("at", "timestamp(3)")], pos=position(100)),
        described(TOPIC, [column("id", "bigint"), column("at", "timestamp")], pos=position(200)),
    ]
    decode = Decoder(versions)
    for _ in range(2):
        for lsn, at in ((50, 1000), (150, 1000), (200, 1_000_000), (250, 1_000_000), (199, 1000)):
            found = row(decode, value("u", {"id": 1, "at": at}, position(lsn)))
            assert found.line.startswith(b"1\t1970-01-01 00:00:01\t")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "its value is not JSON"),
        (b"[]", "its value is not a JSON object"),
        (value("x", {"id": 1}, POS), "its op is none of c, r, u, d, t"),
        (value("c", None, POS), "an event c without a row"),
        (value("c", {"note": "secret"}, POS), "no key column id"),
        (value("c", {"id": 1, "other": "secret"}, POS), "column other is not described"),
        (value("c", {"id": "secret"}, POS), "column id: not a whole number"),
        (value("c", {"id": 1, "picture": "sec ret"}, POS), "column picture: not base64"),
        (value("c", {"id": 1, "long": -5}, POS), "column long: not a time of day"),
        (value("c", {"id": 1, "note": "sec\0ret"}, POS), "column note: holds a zero byte"),
        (value("c", {"id": 1}, "~secret"), "its cdc.pos is no position"),
    ],
)
def test_what_is_no_event_of_the_table_is_refused_by_name_and_without_values(data: bytes, reason: str) -> None:
    with pytest.raises(RowRefused) as refused:
        decoder(compiled=True).row(event(data))
    assert str(refused.value).startswith(f"{TOPIC} [3] at offset 77: ")
    assert reason in refused.value.reason
    assert "sec" not in str(refused.value)


def converted(json_value: Any, **more: Any) -> str:
    return converter(column("c", **more))(json_value)


def test_forms_that_only_the_general_path_knows() -> None:
    decimal = {"form": "bytes", "semantic": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": 2}}
    bits = {"form": "bytes", "semantic": "io.debezium.data.Bits"}
    variable = {"form": "struct", "semantic": "io.debezium.data.VariableScaleDecimal"}
    assert converted("kg==", type_="numeric(5,2)", **decimal) == "-1.10"
    assert converted("9rZPCQ/9zOw7tm+vIccMsg==", type_="numeric", **(decimal | {"parameters": {"scale": 8}})) == (
        "-123456789012345678901234567890.12345678"
    )
    assert converted({"scale": 2, "value": "AU0="}, type_="numeric", **variable) == "3.33"
    assert converted("AQE=", type_="bit(9)", parameters={"length": 9}, **bits) == "100000001"
    assert converted("", type_="bit(9)", parameters={"length": 9}, **bits) == "000000000"
    assert converted("BQ==", type_="bit varying", parameters={"length": 2**31 - 1}, **bits) == "101"
    # A bit column of CREATE TABLE … AS has no length, and Debezium says the largest one: two gigabytes of zeros.
    assert converted("BQ==", type_="bit", parameters={"length": 2**31 - 1}, **bits) == "101"
    assert converted(37_091_106_780_000, type_="interval") == "10303:05:06.780000"
    assert converted(-36_572_706_000_001, type_="interval") == "-10159:05:06.000001"
    assert converted([1, None, -3], type_="integer[]") == '{"1",NULL,"-3"}'
    assert converted(["NULL", 'a"b\\', "", None], type_="text[]") == '{"NULL","a\\"b\\\\","",NULL}'
    assert converted([], type_="text[]") == "{}"
    # A box has commas itself: array_out and array_in have semicolons.
    assert converted([["(1,1),(0,0)", None]], type_="box[]") == '{{"(1,1),(0,0)";NULL}}'
    assert converted([17109], type_="date[]") == '{"2016-11-04"}'
    assert converted("ZmF0", type_="text", form="bytes") == "fat"
    assert converted(-719_163, type_="date") == "0001-12-31 BC"
    assert converted(-62_167_219_200_000, type_="timestamp(3)") == "0001-01-01 00:00:00 BC"
    assert converted("-4712-01-01T00:00:00.000000Z", type_="timestamptz") == "4713-01-01T00:00:00.000000Z BC"


def test_vectors_have_the_text_that_postgres_gives_them() -> None:
    doubles = {"form": "array", "semantic": "io.debezium.data.DoubleVector"}
    sparse = {"form": "struct", "semantic": "io.debezium.data.SparseDoubleVector"}
    numbers = [999999.0, 1000000.0, -1234567.0, 5.5109767e15, 3e38, 0.0001, 1e-05, -0.0]
    text = "999999,1e+06,-1.234567e+06,5.5109767e+15,3e+38,0.0001,1e-05,-0"
    assert converted(numbers, type_="text", **doubles) == f"[{text}]"
    assert converted({"dimensions": 5, "vector": [[1, 1e7]]}, type_="text", **sparse) == "{1:1e+07}/5"


def test_arrays_of_vectors_may_have_more_dimensions() -> None:
    vectors = {"form": "array", "items": column("c", "text", form="array", semantic="io.debezium.data.DoubleVector")}
    assert converted([[1.5, 2.0], None], type_="text[]", **vectors) == '{"[1.5,2]",NULL}'
    assert converted([[[1.5], None], [None, [2.0]]], type_="text[]", **vectors) == '{{"[1.5]",NULL},{NULL,"[2]"}}'
    assert converted([[None, None]], type_="text[]", **vectors) == "{{NULL,NULL}}"


def test_vectors_of_integers_that_are_arrays_to_debezium_are_none_to_postgres() -> None:
    for type_, items in (("int2vector", "smallint"), ("oidvector", "bigint")):
        assert converted([], type_=type_, form="array", items=column("c", items)) == ""
        assert converted([1, 2], type_=type_, form="array", items=column("c", items)) == "1 2"


def test_the_infinity_that_debezium_has_in_arrays_of_timestamptz_is_one() -> None:
    for at in ("+292269055-12-02T23:00:00Z", "+292269055-12-02T23:00:00.000Z", "-infinity"):
        assert converted([at], type_="timestamptz[]") == '{"-infinity"}'
    assert converted(["+292269-12-02T23:00:00Z"], type_="timestamptz[]") == '{"292269-12-02T23:00:00Z"}'


def test_a_timestamp_that_debezium_wrapped_around_is_the_last_that_fits() -> None:
    assert converted(-(2**63) + 5, type_="timestamp") == "294247-01-10 04:00:54.775807"
    assert converted(-210_866_803_200_000_000, type_="timestamp") == "4714-11-24 00:00:00 BC"
    assert converted(-9_223_372_036_832_400_000, type_="timestamp") == "-infinity"


def test_a_numeric_may_have_as_many_digits_as_postgres_stores_and_no_more() -> None:
    variable = {"type_": "numeric", "form": "struct", "semantic": "io.debezium.data.VariableScaleDecimal"}
    number = 10**100_000 + 7
    value = base64.b64encode(number.to_bytes(number.bit_length() // 8 + 1, "big")).decode()
    found = converted({"scale": 3, "value": value}, **variable)
    assert (len(found), found[:2], found[-5:]) == (100_002, "10", "0.007")
    for scale in (2**31 - 1, -(2**31)):
        with pytest.raises(ValueError, match="not a number that PostgreSQL can store"):
            converted({"scale": scale, "value": "AQ=="}, **variable)


def test_a_description_survives_its_topic() -> None:
    schema = described(TOPIC, [*COLUMNS, column("tags", "text[]")])
    assert TableSchema.from_bytes(schema.to_bytes()) == schema
