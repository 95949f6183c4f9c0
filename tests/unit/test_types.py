"""The forms of types: what a column is described as, and what its values' text becomes.

The values are those of Debezium's recorded events (tests/integration/debezium_events.json).
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from cdc.errors import ConfigError, ProtocolError, Refused
from cdc.event import Record
from cdc.formats.handling import Decimals, Handling
from cdc.formats.postgres.encode_cy import RowEncoder, Transaction
from cdc.formats.postgres.plan import Facts, SourceInfo, TablePlan, plan_table, unknown_columns
from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TypeInfo, target_type, type_text, types_from_rows
from cdc.schemas import TableSchema
from cdc.table_settings import ColumnChoice, Constant
from connectors.postgres_wal.options import TableOptions
from tests.unit.row_messages import TYPES, column, insert, relation

ENUM, DOMAIN, DOMAIN2, ARRAY_DOMAIN, LTREE, RANGE, COMPOSITE, ENUMS, ARRAYS, BOXES, BOX = range(50_000, 50_011)
VECTOR, VECTORS = 22, 1006

OWN_TYPES = TYPES | {
    ENUM: TypeInfo(ENUM, "Mood", "shop", "e", labels=("sad", "happy")),
    ENUMS: TypeInfo(ENUMS, "_Mood", "shop", "b", element_oid=ENUM),
    DOMAIN: TypeInfo(DOMAIN, "money_amount", "shop", "d", base_oid=1700, base_modifier=(6 << 16 | 2) + 4),
    DOMAIN2: TypeInfo(DOMAIN2, "fee", "shop", "d", base_oid=DOMAIN),
    ARRAY_DOMAIN: TypeInfo(ARRAY_DOMAIN, "numbers", "shop", "d", base_oid=100_023),
    ARRAYS: TypeInfo(ARRAYS, "_numbers", "shop", "b", element_oid=ARRAY_DOMAIN),
    LTREE: TypeInfo(LTREE, "ltree", "public", "b"),
    RANGE: TypeInfo(RANGE, "myrange", "shop", "r"),
    COMPOSITE: TypeInfo(COMPOSITE, "address", "shop", "c"),
    BOX: TypeInfo(BOX, "box", "pg_catalog", "b"),
    BOXES: TypeInfo(BOXES, "_box", "pg_catalog", "b", element_oid=BOX, delimiter=";"),
    VECTOR: TypeInfo(VECTOR, "int2vector", "pg_catalog", "b"),
    VECTORS: TypeInfo(VECTORS, "_int2vector", "pg_catalog", "b", element_oid=VECTOR),
}


def numeric(precision: int, scale: int) -> int:
    return (precision << 16 | scale & 0x7FF) + 4


def plan(
    of: Relation,
    *,
    decimal: Decimals = "string",
    handling: Handling | None = None,
    key: tuple[str, ...] = (),
    **options: Any,
) -> TablePlan:
    return plan_table(
        of,
        OWN_TYPES,
        options=TableOptions(**options),
        key_columns=key,
        topic="shop.public.t",
        source=SourceInfo("shop", "warehouse", "0"),
        handling=handling or Handling(decimal),
        mask_key=b"key",
    )


def after(of: Relation, value: str | None, **options: Any) -> Any:
    encoder = RowEncoder(plan(of, **options))
    encoder.begin(Transaction(1, 2, 3, None, "false", 4, 5))
    records: list[Record] = []
    encoder.encode(insert([value]), 0, 6, 7, records)
    assert records[0][2] is not None
    return json.loads(records[0][2])["after"]["v"]


VALUES = [
    ("int2", -1, "-32768", -32768),
    ("int8", -1, "-9223372036854775808", -(2**63)),
    ("oid", -1, "4294967295", 4294967295),
    ("float4", -1, "3.3", 3.3),
    ("float8", -1, "1e+300", 1e300),
    ("float8", -1, "-0", -0.0),
    ("float8", -1, "NaN", "NaN"),
    ("float8", -1, "-Infinity", "-Infinity"),
    ("bool", -1, "t", True),
    ("bool", -1, "f", False),
    ("text", -1, "it's \\ \"x\"\t\u0001 Ω😀", "it's \\ \"x\"\t\u0001 Ω😀"),
    ("name", -1, "nm", "nm"),
    ("bytea", -1, "\\x", ""),
    ("bytea", -1, "\\xdeadbeefff00fbff", "3q2+7/8A+/8="),
    ("date", -1, "2016-11-04", 17109),
    ("date", -1, "1582-10-04", -141438),
    ("date", -1, "5874897-12-31", 2145042905),
    ("date", -1, "0001-12-31 BC", -719163),
    ("date", -1, "4713-01-01 BC", -2440550),
    ("date", -1, "infinity", 2**31 - 1),
    ("date", -1, "-infinity", -(2**31)),
    ("time", -1, "24:00:00", 86_400_000_000),
    ("time", 3, "13:51:30.789", 49_890_789),
    ("time", 6, "00:00:00.000001", 1),
    ("timetz", -1, "13:51:30.123789+02", "11:51:30.123789Z"),
    ("timetz", -1, "23:59:59.999999-12:30", "12:29:59.999999Z"),
    ("timetz", -1, "12:00:00.5+14", "22:00:00.5Z"),
    ("timetz", -1, "24:00:00+00", "00:00:00Z"),
    ("timetz", -1, "00:00:00+15:59", "08:01:00Z"),
    ("timetz", -1, "00:00:00-15:59:59", "15:59:59Z"),
    ("timestamp", -1, "2016-11-04 13:51:30.123456", 1478267490123456),
    ("timestamp", 1, "1969-12-31 23:59:59.9", -100),
    ("timestamp", 3, "0044-03-15 12:00:00 BC", -63517780800000),
    ("timestamp", -1, "0001-12-31 23:59:59.999999 BC", -62135596800000001),
    ("timestamp", 3, "294275-12-31 23:59:59.999", 9224286393599999),
    ("timestamp", -1, "294247-01-10 04:00:54.775807", 2**63 - 1),
    ("timestamp", -1, "294247-01-10 04:00:54.775806", 2**63 - 2),
    ("timestamp", -1, "294275-12-31 23:59:59.999999", 2**63 - 1),
    ("timestamp", -1, "infinity", 9223372036825200000),
    ("timestamp", 3, "-infinity", -9223372036832400),
    ("timestamptz", -1, "1970-01-01 00:00:00+00", "1970-01-01T00:00:00.000000Z"),
    ("timestamptz", 0, "2016-11-04 11:51:31+00", "2016-11-04T11:51:31Z"),
    ("timestamptz", 3, "1970-01-01 00:00:00.1+00", "1970-01-01T00:00:00.100Z"),
    ("timestamptz", -1, "21016-11-04 06:51:30.123456+00", "+21016-11-04T06:51:30.123456Z"),
    ("timestamptz", -1, "0001-12-31 23:59:59.999999+00 BC", "0000-12-31T23:59:59.999999Z"),
    ("timestamptz", -1, "4713-01-01 00:00:00+00 BC", "-4712-01-01T00:00:00.000000Z"),
    ("timestamptz", -1, "-infinity", "-infinity"),
    ("interval", -1, "1 year 2 mons 3 days 04:05:06.78", 37091106780000),
    ("interval", -1, "-1 years -2 mons +3 days -04:05:06.000001", -36572706000001),
    ("interval", -1, "00:00:00", 0),
    ("interval", -1, "1000 days 25:00:00", 86490000000000),
    ("interval", -1, "178000000 years", 2**63 - 1),
    ("interval", -1, "-178000000 years", -(2**63)),
    ("interval", -1, "-infinity", -(2**63)),
    ("interval", -1, "-2562047788:00:54.775808", -(2**63)),
    ("uuid", -1, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("jsonb", -1, '{"a": [1, "x"]}', '{"a": [1, "x"]}'),
    ("inet", -1, "2001:4f8:3:ba::/64", "2001:4f8:3:ba::/64"),
    ("money", -1, "$1,000.50", "1000.50"),
    ("point", -1, "(1,2)", {"x": 1.0, "y": 2.0, "wkb": "AQEAAAAAAAAAAADwPwAAAAAAAABA", "srid": None}),
    ("bit", 1, "1", True),
    ("varbit", 1, "", None),
    ("bit", 2, "11", "Aw=="),
    ("bit", 9, "100000001", "AQE="),
    ("bit", 9, "000000000", ""),
    ("varbit", -1, "1" * 200, "/////////////////////////////////w=="),
    ("numeric", -1, "NaN", "NaN"),
    ("numeric", numeric(5, 2), "1.10", "1.10"),
    ("int4[]", -1, "{1,-2,NULL}", [1, -2, None]),
    ("int4[]", -1, "{}", []),
    ("int4[]", -1, "[0:1]={5,6}", [5, 6]),
    ("int4[]", -1, "{{1,2},{3,4}}", [[1, 2], [3, 4]]),
    ("bool[]", -1, "{t,f}", [True, False]),
    ("text[]", -1, '{NULL,"NULL","","a,b","{x}","qu\\"o","b\\\\s"," sp ",é😀}',
     [None, "NULL", "", "a,b", "{x}", 'qu"o', "b\\s", " sp ", "é😀"]),
    ("text[]", -1, "{NULS,NULL,NULA,null}", ["NULS", None, "NULA", "null"]),
    ("bytea[]", -1, '{"\\\\x0102",NULL,"\\\\x"}', ["AQI=", None, ""]),
    ("timestamp[]", 3, '{"2016-11-04 13:51:30.123"}', [1478267490123]),
    ("date[]", -1, "{NULL,2016-11-04}", [None, 17109]),
    ("jsonb[]", -1, '{"{\\"a\\": 1}"}', ['{"a": 1}']),
]  # fmt: skip


@pytest.mark.parametrize(("type_name", "modifier", "text", "expected"), VALUES)
def test_a_value_has_its_documented_form(type_name: str, modifier: int, text: str, expected: Any) -> None:
    found = after(relation(column("v", type_name, modifier=modifier)), text)
    assert found == expected
    assert type(found) is type(expected)


DECIMALS = [
    ("precise", numeric(5, 2), "1.10", "bg=="),
    ("precise", numeric(5, 2), "-2.56", "/wA="),
    ("precise", numeric(5, 0), "128", "AIA="),
    ("precise", numeric(5, 0), "-128", "gA=="),
    ("precise", numeric(3, 5), "0.00999", "A+c="),
    ("precise", numeric(38, 8), "-123456789012345678901234567890.12345678", "9rZPCQ/9zOw7tm+vIccMsg=="),
    ("precise", -1, "-3.3300", {"scale": 2, "value": "/rM="}),
    ("precise", -1, "100", {"scale": 0, "value": "ZA=="}),
    ("precise", -1, "1.0", {"scale": 0, "value": "AQ=="}),
    ("precise", -1, "0", {"scale": 0, "value": "AA=="}),
    ("precise", numeric(5, -2), "1200", {"scale": 0, "value": "BLA="}),
    ("double", numeric(5, 2), "-1.10", -1.1),
    ("double", -1, "1" + "0" * 100, 1e100),
    ("double", -1, "NaN", "NaN"),
]


@pytest.mark.parametrize(("decimal", "modifier", "text", "expected"), DECIMALS)
def test_a_numeric_has_the_form_that_is_asked_for(decimal: str, modifier: int, text: str, expected: Any) -> None:
    assert after(relation(column("v", "numeric", modifier=modifier)), text, decimal=decimal) == expected


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_a_numeric_without_a_precise_form_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"public\.t, column v.*decimal: string"):
        after(relation(column("v", "numeric")), text, decimal="precise")


WRONG = [
    ("int4", "12a"), ("int4", ""), ("int4", "-"), ("int4", "007"), ("float8", "1."), ("float8", "e5"), ("float8", "1e"),
    ("bool", "true"), ("bytea", "abc"), ("bytea", "\\xa"), ("bytea", "\\xzz"), ("date", "04/11/2016"),
    ("date", "2016-13-01"), ("date", "2016-11-04x"), ("time", "1:2:3"), ("timestamp", "2016-11-04T00:00:00"),
    ("timestamp", "2016-11-04 00:00:00 AD"), ("timestamptz", "2016-11-04 00:00:00+01"), ("timestamptz", "2016-11-04"),
    ("timetz", "00:00:00"), ("timetz", "00:00:00+1"), ("interval", "P1Y"), ("interval", "1 fortnight"), ("bit", "12"),
    ("varbit", "102"), ("int4[]", "{1,2"), ("int4[]", "{1,,2}"), ("int4[]", "1,2"), ("int4[]", "{1}}"),
    ("int4[]", "{}{}"), ("int4[]", "{1{2}}"), ("int4[]", ""), ("text[]", '{"a'), ("text[]", '{"a\\'),
    ("text[]", '{"a"b}'),
]  # fmt: skip


@pytest.mark.parametrize(("type_name", "text"), WRONG)
def test_text_that_is_not_of_its_type_is_refused_without_saying_it(type_name: str, text: str) -> None:
    modifier = 1 if type_name == "bit" else -1
    with pytest.raises(ProtocolError, match=r"public\.t, column v") as refused:
        after(relation(column("v", type_name, modifier=modifier)), text)
    assert not text or text not in str(refused.value)


def own(oid: int, modifier: int = -1) -> Relation:
    return relation(RelationColumn("v", oid, modifier, False))


def test_a_domain_s_values_have_the_form_of_its_base() -> None:
    assert after(own(DOMAIN), "12.50", decimal="precise") == "BOI="
    assert after(own(DOMAIN2), "12.50", decimal="precise") == "BOI="
    assert after(own(ARRAY_DOMAIN), "{1,2}") == [1, 2]


def test_types_that_are_not_built_in_have_their_text() -> None:
    assert after(own(ENUM), "happy") == "happy"
    assert after(own(ENUMS), "{sad,NULL}") == ["sad", None]
    assert after(own(COMPOSITE), '("Main ""St""",12)') == '("Main ""St""",12)'
    assert after(own(RANGE), "[1.5,2.5)") == "[1.5,2.5)"
    assert after(own(99_999), "whatever") == "whatever"


def test_an_array_has_the_delimiter_of_its_elements() -> None:
    assert after(own(BOXES), "{(1,1),(0,0);(2,2),(1,1)}") == ["(1,1),(0,0)", "(2,2),(1,1)"]


def test_an_array_of_a_domain_over_an_array_has_its_elements_text() -> None:
    assert after(own(ARRAYS), '{"{1,2}"}') == ["{1,2}"]


@pytest.mark.parametrize("quirks", [True, False])
def test_an_array_of_vectors_that_are_arrays_to_debezium_has_their_text(quirks: bool) -> None:
    handling = Handling(quirks=quirks)
    assert after(own(VECTOR), "1 2", handling=handling) == ([] if quirks else "1 2")
    assert after(own(VECTORS), '{"1 2",NULL}', handling=handling) == ["1 2", None]


DESCRIPTIONS = [
    (20, -1, "bigint", "bigint"),
    (1700, numeric(12, 2), "numeric(12,2)", "numeric(12,2)"),
    (1700, numeric(5, -2), "numeric(5,-2)", "numeric(5,-2)"),
    (1043, 24, "character varying(20)", "character varying(20)"),
    (1042, 9, "character(5)", "character(5)"),
    (1114, 3, "timestamp(3) without time zone", "timestamp(3) without time zone"),
    (1184, -1, "timestamp with time zone", "timestamp with time zone"),
    (1186, 0x1C08 << 16 | 3, "interval day to second(3)", "interval(3)"),
    (1186, 0x0006 << 16 | 0xFFFF, "interval year to month", "interval"),
    (1560, 3, "bit(3)", "bit(3)"),
    (18, -1, '"char"', '"char"'),
    (100_025, -1, "text[]", "text[]"),
    (101_700, numeric(6, 2), "numeric(6,2)[]", "numeric(6,2)[]"),
    (790, -1, "money", "numeric"),
    (ENUM, -1, 'shop."Mood"', "text"),
    (ENUMS, -1, 'shop."Mood"[]', "text[]"),
    (DOMAIN2, -1, "shop.fee", "numeric(6,2)"),
    (ARRAY_DOMAIN, -1, "shop.numbers", "integer[]"),
    (ARRAYS, -1, "shop.numbers[]", "text"),
    (LTREE, -1, "public.ltree", "text"),
    (RANGE, -1, "shop.myrange", "text"),
    (COMPOSITE, -1, "shop.address", "text"),
    (3904, -1, "int4range", "int4range"),
]


@pytest.mark.parametrize(("oid", "modifier", "source", "target"), DESCRIPTIONS)
def test_a_type_is_described_as_sql_writes_it(oid: int, modifier: int, source: str, target: str) -> None:
    assert type_text(oid, modifier, OWN_TYPES) == source
    assert target_type(oid, modifier, OWN_TYPES) == target


def test_the_catalog_s_rows_become_types() -> None:
    row = (ENUM, "Mood", "shop", "e", None, None, -1, ",", ["sad", "happy"])
    assert types_from_rows([row]) == {ENUM: OWN_TYPES[ENUM]}


def test_a_table_s_description_tells_forms_keys_and_numbers() -> None:
    of = relation(
        column("id", "int8", key=True), column("paid", "numeric", modifier=numeric(12, 2)), column("tags", "date[]")
    )
    planned = plan_table(
        of,
        TYPES,
        options=TableOptions(),
        key_columns=["id"],
        topic="shop.public.t",
        source=SourceInfo("shop", "w", "0"),
        handling=Handling("precise"),
        mask_key=None,
        facts=Facts(not_null={"id", "paid"}, attnums={"id": 1, "paid": 3, "tags": 4}),
    )
    schema = planned.schema("00000000/00000001/0000000001")
    assert TableSchema.from_bytes(schema.to_bytes()) == schema
    identity, paid, tags = schema.columns
    assert (schema.table, schema.topic, schema.key) == ("public.t", "shop.public.t", ("id",))
    assert (identity.form, identity.semantic, identity.nullable, identity.attnum) == ("int64", None, False, 1)
    assert (paid.type, paid.form, paid.semantic) == ("numeric(12,2)", "bytes", "org.apache.kafka.connect.data.Decimal")
    assert paid.parameters == {"scale": 2, "precision": 12}
    assert (tags.form, tags.nullable, tags.type, tags.target_type) == ("array", True, "date[]", "date[]")
    assert tags.items is not None
    assert (tags.items.form, tags.items.semantic, tags.items.type) == ("int32", "io.debezium.time.Date", "date")


def test_only_the_chosen_columns_are_published_and_those_of_the_key() -> None:
    of = relation(column("id", "int4", key=True), column("a", "text"), column("b", "text"))
    chosen = plan(of, key=("id",), columns=ColumnChoice(include=["a"]))
    assert chosen.copy_columns == ("id", "a")
    left = plan(of, key=("id",), columns=ColumnChoice(exclude=["id", "b"]))
    assert left.copy_columns == ("id", "a")
    assert [one.name for one in left.schema("").columns] == ["id", "a"]


def test_a_masked_column_is_described_as_text() -> None:
    masked = plan(relation(column("v", "int4")), mask={"v": "hmac"}).schema("").columns[0]
    assert (masked.type, masked.target_type, masked.form) == ("integer", "text", "string")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask": {"id": Constant(constant="x")}}, "key column id cannot be masked by a constant"),
        ({"truncate": {"id": 3}}, "key column id cannot be truncated"),
        ({"truncate": {"n": 3}}, "column n is not text"),
        ({"truncate": {"m": 3}}, "column m is not text"),
    ],
)
def test_settings_that_would_make_wrong_events_are_refused(options: dict[str, Any], said: str) -> None:
    of = relation(column("id", "text", key=True), column("n", "int4"), column("m", "numeric"))
    with pytest.raises(ConfigError, match=said):
        plan(of, key=("id",), **options)


def test_an_hmac_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a key"):
        plan_table(
            relation(column("v", "text")), TYPES, options=TableOptions(mask={"v": "hmac"}), key_columns=[], topic="t",
            source=SourceInfo("s", "d", "0"), handling=Handling(), mask_key=None,
        )  # fmt: skip


def test_a_mask_key_is_not_shown() -> None:
    assert "b'key'" not in repr(plan(relation(column("v", "text"))))


def test_columns_that_are_not_there_are_named() -> None:
    options = TableOptions(mask={"emial": "hmac"}, message_key=["id"])
    problems = unknown_columns(relation(column("id", "int4"), column("email", "text")), options)
    assert [str(problem) for problem in problems] == [
        "table public.t has no column emial (mask) (its columns: id, email)"
    ]


def test_a_key_that_deletes_cannot_carry_is_refused_with_the_line_that_mends_it() -> None:
    of = relation(column("id", "int4"), column("n", "int4", key=True), identity="i")
    with pytest.raises(Refused, match=r"key column id is not in the replica identity \(n\).*") as refused:
        plan(of, key=("id",))
    assert refused.value.hint == "ALTER TABLE public.t REPLICA IDENTITY FULL, or set message_key: [n]"
    with pytest.raises(Refused, match="key column other is not in the publication"):
        plan(of, key=("other",))


def test_a_key_is_free_where_old_rows_are_whole_or_never_come() -> None:
    for identity in ("f", "n"):
        of = relation(
            column("id", "int4", key=identity == "f"), column("n", "int4", key=identity == "f"), identity=identity
        )
        assert plan(of, key=("n",)).key == ("n",)


def test_money_of_any_length_is_rounded() -> None:
    encoder = RowEncoder(plan(relation(column("v", "money")), handling=Handling("precise", money_fraction_digits=1)))
    (written,) = json.loads(encoder.copy_row(b"$%b.57\n" % (b"7" * 40))[1]).values()
    assert int.from_bytes(b64decode(written), "big") == int("7" * 40 + "6")


def test_the_interval_that_has_no_positive_is_written() -> None:
    encoder = RowEncoder(plan(relation(column("v", "interval")), handling=Handling(interval="string")))
    assert encoder.copy_row(b"-2562047788:00:54.775808\n")[1] == b'{"v":"P0Y0M0DT-2562047788H0M-54.775808S"}'
