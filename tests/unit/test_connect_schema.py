"""Keys and values with Connect's schemas: what Debezium 3.6.3 and its JsonConverter wrote for the same columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from cdc.errors import ConfigError
from cdc.formats.connect_schema import adjusted
from cdc.formats.handling import Adjustment, Handling, Style
from cdc.formats.postgres.encode_cy import RowEncoder, Transaction
from cdc.formats.postgres.plan import Facts, SourceInfo, TablePlan, plan_table
from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TypeInfo
from cdc.table_settings import ColumnChoice
from connectors.postgres_wal.options import TableOptions
from tests.unit.row_messages import insert

OIDS = {
    name: oid
    for oid, name in enumerate(
        ("int2", "int4", "int8", "text", "varchar", "numeric", "timestamp", "timestamptz", "bool", "uuid", "jsonb",
         "date", "bit", "interval", "float4", "float8", "time", "bytea", "bpchar", "pg_lsn"), start=100,
    )
}  # fmt: skip
TYPES = {oid: TypeInfo(oid, name, "pg_catalog", "b") for name, oid in OIDS.items()}
TYPES[200] = TypeInfo(200, "_int4", "pg_catalog", "b", element_oid=OIDS["int4"])
TYPES[201] = TypeInfo(201, "mood", "public", "e", labels=("sad", "happy"))
TYPES[202] = TypeInfo(202, "_text", "pg_catalog", "b", element_oid=OIDS["text"])
OIDS |= {"_int4": 200, "mood": 201, "_text": 202}
for oid, name in enumerate(("date", "uuid", "bytea", "bool", "timestamp", "timestamptz"), start=203):
    TYPES[oid] = TypeInfo(oid, f"_{name}", "pg_catalog", "b", element_oid=OIDS[name])
    OIDS[f"_{name}"] = oid


def planned(
    columns: Mapping[str, str | tuple[str, int]],
    *,
    key: tuple[str, ...] = ("id",),
    not_null: tuple[str, ...] = ("id",),
    defaults: Mapping[str, str] | None = None,
    options: TableOptions | None = None,
    handling: Handling | None = None,
    **style: Any,
) -> TablePlan:
    told = {name: kind if isinstance(kind, tuple) else (kind, -1) for name, kind in {"id": "int4", **columns}.items()}
    relation = Relation(
        1,
        "public",
        "t",
        "d",
        tuple(RelationColumn(name, OIDS[kind], modifier, name in key) for name, (kind, modifier) in told.items()),
    )
    return plan_table(
        relation,
        TYPES,
        options=options or TableOptions(),
        key_columns=key,
        topic="conf.public.t",
        source=SourceInfo("conf", "conformance", "3.6.3.Final"),
        handling=handling or Handling("precise", quirks=True),
        mask_key=None,
        style=Style(**{"with_cdc": False, "with_schemas": True, **style}),
        facts=Facts(not_null=not_null, defaults=defaults or {}),
    )


def schema(plan: TablePlan) -> dict[str, str]:
    """The schema of each column in rows, as text."""
    text = (plan.schemas.value + b"null}").decode()
    row = json.loads(text)["schema"]["fields"][1]["fields"]
    return {field["field"]: json.dumps(field, separators=(",", ":"), ensure_ascii=False) for field in row}


def copied(plan: TablePlan, line: bytes) -> tuple[bytes, dict[str, Any]]:
    encoder = RowEncoder(plan)
    encoder.begin(Transaction(1, 2, 3, None, "true", 4, 5))
    records: list[Any] = []
    encoder.encode_copy(line, records)
    return records[0][1], json.loads(records[0][2])["payload"]


def test_keys_and_values_are_schema_and_payload() -> None:
    plan = planned({"v": "text"})
    key, payload = copied(plan, b"1\ta\n")
    assert key == (
        b'{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}],"optional":false,'
        b'"name":"conf.public.t.Key"},"payload":{"id":1}}'
    )
    assert payload["after"] == {"id": 1, "v": "a"}
    row = (
        '{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},{"type":"string","optional":true,'
        '"field":"v"}],"optional":true,"name":"conf.public.t.Value","field":"%s"}'
    )
    source = (
        '{"type":"struct","fields":[{"type":"string","optional":false,"field":"version"},{"type":"string","optional":'
        'false,"field":"connector"},{"type":"string","optional":false,"field":"name"},{"type":"int64","optional":false,'
        '"field":"ts_ms"},{"type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,"parameters":'
        '{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},"default":'
        '"false","field":"snapshot"},{"type":"string","optional":false,"field":"db"},{"type":"string","optional":true,'
        '"field":"sequence"},{"type":"int64","optional":true,"field":"ts_us"},{"type":"int64","optional":true,"field":'
        '"ts_ns"},{"type":"string","optional":false,"field":"schema"},{"type":"string","optional":false,"field":'
        '"table"},{"type":"int64","optional":true,"field":"txId"},{"type":"int64","optional":true,"field":"lsn"},'
        '{"type":"int64","optional":true,"field":"xmin"},{"type":"string","optional":true,"field":"origin"},{"type":'
        '"int64","optional":true,"field":"origin_lsn"}],"optional":false,"name":"io.debezium.connector.postgresql'
        '.Source","version":1,"field":"source"}'
    )
    block = (
        '{"type":"struct","fields":[{"type":"string","optional":false,"field":"id"},{"type":"int64","optional":false,'
        '"field":"total_order"},{"type":"int64","optional":false,"field":"data_collection_order"}],"optional":true,'
        '"name":"event.block","version":1,"field":"transaction"}'
    )
    rest = (
        '{"type":"string","optional":false,"field":"op"},{"type":"int64","optional":true,"field":"ts_ms"},{"type":'
        '"int64","optional":true,"field":"ts_us"},{"type":"int64","optional":true,"field":"ts_ns"}'
    )
    assert plan.schemas.value.decode() == (
        f'{{"schema":{{"type":"struct","fields":[{row % "before"},{row % "after"},{source},{block},{rest}],'
        '"optional":false,"name":"conf.public.t.Envelope","version":2},"payload":'
    )


def test_our_own_member_is_in_the_schema_where_it_is_in_values() -> None:
    assert b'"name":"cdc"' in planned({}, with_cdc=True).schemas.value
    assert b'"name":"cdc"' not in planned({}).schemas.value


def test_forms_have_their_names_versions_and_parameters() -> None:
    found = schema(planned({"d": ("numeric", (5 << 16) + 2 + 4), "l": "mood", "p": ("bit", 3), "a": "_int4"}))
    assert found["d"] == (
        '{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":'
        '{"scale":"2","connect.decimal.precision":"5"},"field":"d"}'
    )
    assert found["l"] == (
        '{"type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,"parameters":'
        '{"allowed":"sad,happy"},"field":"l"}'
    )
    assert found["p"] == (
        '{"type":"bytes","optional":true,"name":"io.debezium.data.Bits","version":1,"parameters":{"length":"3"},'
        '"field":"p"}'
    )
    assert found["a"] == '{"type":"array","items":{"type":"int32","optional":true},"optional":true,"field":"a"}'


DEFAULTS: list[tuple[str, str | tuple[str, int], str, str | None]] = [
    ("integer", "int4", "5", "5"),
    ("cast", "int8", "'9223372036854775807'::bigint", "9223372036854775807"),
    ("negative", "int4", "'-5'::integer", "-5"),
    ("too large", "int2", "'32768'::smallint", None),
    ("expression", "int4", "(1 + 1)", None),
    ("sequence", "int4", "nextval('t_id_seq'::regclass)", "0"),
    ("quote", "text", "'x''y'::text", '"x\'y"'),
    ("null", "text", "NULL::text", None),
    ("function", "text", "lower('X'::text)", '""'),
    ("varchar", "varchar", "'abc'::character varying", '"abc"'),
    ("numeric", ("numeric", (5 << 16) + 2 + 4), "1.5", '"AJY="'),
    ("struct", "numeric", "1.5", None),
    ("timestamp", "timestamp", "'2020-01-01 00:00:00'::timestamp without time zone", "1577836800000000"),
    ("now", "timestamp", "CURRENT_TIMESTAMP", "0"),
    ("timestamptz", "timestamptz", "now()", '"1970-01-01T00:00:00.000000Z"'),
    ("bool", "bool", "true", "true"),
    ("bytea", "bytea", "'\\x01'::bytea", None),
    ("uuid", "uuid", "gen_random_uuid()", '"00000000-0000-0000-0000-000000000000"'),
    ("json", "jsonb", "'{\"a\": 1}'::jsonb", '"{\\"a\\": 1}"'),
    ("date", "date", "'2020-01-01'::date", "18262"),
    ("enum", "mood", "'happy'::mood", '"happy"'),
    ("enum elsewhere", "mood", "'happy'::s.mood", '"happy"'),
    ("enum function", "mood", "pick()", None),
    ("bits", ("bit", 3), "'101'::\"bit\"", '"BQ=="'),
    ("interval", "interval", "'1 day'::interval", "86400000000"),
    ("array", "_text", "'{a,b}'::text[]", None),
    ("real", "float4", "1.25", "1.25"),
    ("time", "time", "'01:02:03'::time without time zone", "3723000000"),
    ("a parenthesis that is never closed, and many commas", "text", "pick(" + "a, " * 200 + "'b'", '"b"'),
    ("last time", "time", "'24:00:00'::time without time zone", "86399999999"),
    ("before 1 AD", "date", "'0044-03-15 BC'::date", "-735160"),
    ("last date", "date", "'infinity'::date", "169560311"),
    ("first date", "date", "'-infinity'::date", "-170999002"),
    ("last timestamp", "timestamp", "'infinity'::timestamp without time zone", "-9223372036853775810"),
    ("first timestamp", "timestamp", "'-infinity'::timestamp without time zone", "-9223372036854775808"),
    ("last ms", ("timestamp", 3), "'infinity'::timestamp without time zone", None),
    ("last instant", "timestamptz", "'infinity'::timestamp with time zone", None),
    (
        "ms",
        ("timestamptz", 3),
        "'8608-06-07 18:30:00.863704+00'::timestamp with time zone",
        '"8608-06-07T18:30:00.863Z"',
    ),
    ("seconds", ("timestamptz", 0), "'2020-01-01 00:00:00.5+00'::timestamp with time zone", '"2020-01-01T00:00:00.5Z"'),
    ("infinite", "float8", "'Infinity'::double precision", '"Infinity"'),
    ("not a number", ("numeric", (5 << 16) + 2 + 4), "'NaN'::numeric", None),
    ("long", ("numeric", (50 << 16) + 40 + 4), "'1.5'::numeric", '"LBS+6qUK9x+BlvARgAAAAAA="'),
]


@pytest.mark.parametrize(
    ("kind", "expression", "expected"), [row[1:] for row in DEFAULTS], ids=[r[0] for r in DEFAULTS]
)
def test_a_constant_default_is_the_schema_s(kind: str | tuple[str, int], expression: str, expected: str | None) -> None:
    found = schema(planned({"c": kind}, defaults={"c": expression}))["c"]
    assert found.partition('"default":')[2] == ("" if expected is None else f'{expected},"field":"c"}}')


def test_null_is_the_default_to_those_who_read_it_by_its_schema_and_so_in_debezium_s_json() -> None:
    plan = planned({"a": "int4", "b": "int4"}, not_null=("id", "b"), defaults={"a": "5", "b": "6"})
    assert copied(plan, b"1\t\\N\t7\n")[1]["after"] == {"id": 1, "a": 5, "b": 7}
    assert [column.zero for column in plan.columns] == [b"0", b"5", b"6"]


def test_without_quirks_no_null_is_lost_and_only_not_null_has_a_default() -> None:
    plan = planned({"a": "int4", "b": "int4"}, not_null=("id", "b"), defaults={"a": "5", "b": "6"}, handling=Handling())
    assert copied(plan, b"1\t\\N\t7\n")[1]["after"] == {"id": 1, "a": None, "b": 7}
    assert "default" not in schema(plan)["a"]
    assert '"default":6' in schema(plan)["b"]


def test_source_types_are_told_where_it_is_asked() -> None:
    columns = {
        "v": ("varchar", 24),
        "n": ("numeric", (8 << 16) + 3 + 4),
        "d": "float8",
        "a": "_int4",
        "ts": ("timestamp", 3),
        "x": "text",
    }
    plan = planned(columns, propagated=(r"/public\.t\.[^x]+/",))
    told = {
        name: [
            value
            for key, value in json.loads(text).get("parameters", {}).items()
            if key.startswith("__debezium.source.column.")
        ]
        for name, text in schema(plan).items()
    }
    assert told == {
        "id": ["INT4", "10", "0", "id"],
        "v": ["VARCHAR", "20", "0", "v"],
        "n": ["NUMERIC", "8", "3", "n"],
        "d": ["FLOAT8", "17", "17", "d"],
        "a": ["_INT4", "10", "0", "a"],
        "ts": ["TIMESTAMP", "26", "3", "ts"],
        "x": [],
    }
    by_type = planned(columns, propagated_types=(r"/.*\.text/",))
    assert [name for name, text in schema(by_type).items() if "__debezium" in text] == ["x"]
    assert "parameters" not in plan.schemas.key.decode()


@pytest.mark.parametrize(
    ("name", "how", "of_field", "expected"),
    [
        ("My Schema.My-Table", "none", False, "My Schema.My-Table"),
        ("conf.My Table", "avro", False, "conf.My_Table"),
        ("dot.ted", "avro", True, "dot_ted"),
        ("1st", "avro", True, "_1st"),
        ("Ünï", "avro", True, "_n_"),
        ("a_b", "avro_unicode", True, "a_u005fb"),
        ("1st", "avro_unicode", True, "_u0031st"),
        ("č😀", "avro_unicode", True, "_u10d_ud83d_ude00"),
    ],
)
def test_names_are_changed_as_debezium_changes_them(name: str, how: Adjustment, of_field: bool, expected: str) -> None:
    assert adjusted(name, how, of_field=of_field) == expected


def test_columns_have_changed_names_in_events_keys_schemas_and_descriptions() -> None:
    plan = planned({"a-b": "int4", "Id 2": "int4"}, key=("Id 2",), field_names="avro")
    key, payload = copied(plan, b"1\t2\t3\n")
    assert json.loads(key)["payload"] == {"Id_2": 3}
    assert payload["after"] == {"id": 1, "a_b": 2, "Id_2": 3}
    assert plan.copy_columns == ("id", "a-b", "Id 2")
    described = plan.schema("")
    assert [column.name for column in described.columns] == ["id", "a_b", "Id_2"]
    assert described.key == ("Id_2",)


def test_two_columns_with_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="the same name"):
        planned({"a-b": "int4", "a b": "int4"}, field_names="avro")


# Columns that are chosen, masked and cut.


def test_columns_are_named_by_expressions_over_their_full_name() -> None:
    options = TableOptions(columns=ColumnChoice(exclude=[r"/PUBLIC\.t\.(b|c)/", "d"]), truncate={"/.*/": 2})
    plan = planned({"a": "text", "b": "text", "c": "int4", "d": "int4"}, options=options)
    assert copied(plan, b"1\tabc\n")[1]["after"] == {"id": 1, "a": "ab"}


def test_asterisks_stand_for_null_too_and_are_told() -> None:
    options = TableOptions.model_validate({"mask": {"v": {"asterisks": 3}}})
    plan = planned({"v": "text"}, options=options)
    assert copied(plan, b"1\t\\N\n")[1]["after"] == {"id": 1, "v": "***"}
    assert schema(plan)["v"] == '{"type":"string","optional":true,"parameters":{"masked":"true"},"field":"v"}'


def test_debezium_leaves_numbers_unmasked_and_so_do_quirks_alone() -> None:
    options = TableOptions.model_validate({"mask": {"n": {"asterisks": 3}}})
    assert copied(planned({"n": "int4"}, options=options), b"1\t5\n")[1]["after"]["n"] == 5
    assert copied(planned({"n": "int4"}, options=options, handling=Handling()), b"1\t5\n")[1]["after"]["n"] == "***"


def test_hashes_are_debezium_s_and_cut_to_the_column() -> None:
    mask = {"hash": "SHA-256", "salt": "CzQMA0cB5K"}
    options = TableOptions.model_validate({"mask": {"v": mask, "w": mask}})
    plan = planned({"v": "text", "w": ("varchar", 12)}, options=options)
    assert copied(plan, b"1\tJane Doe\tJane Doe\n")[1]["after"] == {
        "id": 1,
        "v": "d982b6339fb58e9bef01ad7fe5c25abcc6d79c20e6e1ee073561feb9e50a0900",
        "w": "d982b633",
    }
    assert "CzQMA0cB5K" not in repr(plan) + repr(options)


def test_keys_have_their_columns_as_they_are_under_quirks() -> None:
    options = TableOptions.model_validate(
        {"mask": {"k": {"asterisks": 3}}, "columns": {"exclude": ["id"]}, "truncate": {"v": 1}}
    )
    plan = planned({"k": "text", "v": "text"}, key=("id", "k"), options=options)
    assert plan.copy_columns == ("k", "v", "id", "k")
    key, payload = copied(plan, b"secret\tvv\t1\tsecret\n")
    assert json.loads(key)["payload"] == {"id": 1, "k": "secret"}
    assert payload["after"] == {"k": "***", "v": "v"}


CUT: list[tuple[str, str | tuple[str, int], dict[str, Any], int, str, str]] = [
    ("text", "text", {}, 3, "ünïcödé", '"ünï"'),
    ("half a character", "text", {}, 2, "a😀b", '"a\\uD83D"'),
    ("nothing", "text", {}, 0, "😀", '""'),
    ("escapes", "jsonb", {}, 4, '{"a": 1}', '"{\\"a\\""'),
    ("enum", "mood", {}, 3, "happy", '"hap"'),
    ("uuid", "uuid", {}, 2, "896bef16-aa0d-2d76-b9ce-f056e3fbe288", '"89"'),
    ("timestamptz", "timestamptz", {}, 3, "1936-01-02 03:04:05+00", '"193"'),
    ("number as text", ("numeric", (5 << 16) + 2 + 4), {"decimal": "string"}, 4, "123.45", '"123."'),
    ("below the column's", ("numeric", (5 << 16) + 2 + 4), {"decimal": "string"}, 5, "123.45", '"123.45"'),
    ("date as text", "date", {"time_precision": "isostring"}, 4, "2020-01-02", '"2020"'),
    ("bytes", "bytea", {}, 3, r"\\xbca1c04a", '"vKHA"'),
    ("padded bytes", "bytea", {}, 1, r"\\xbca1c04a", '"vA=="'),
    ("fewer bytes", "bytea", {}, 5, r"\\xbca1c04a", '"vKHASg=="'),
    ("bytes as text", "bytea", {"binary": "hex"}, 3, r"\\xbca1c04a", '"bca"'),
    ("unknown", "pg_lsn", {"unknown_types": "bytes"}, 3, "16/B374D848", '"MTYv"'),
    ("number", "int4", {}, 1, "123", "123"),
    ("decimal", ("numeric", (5 << 16) + 2 + 4), {"decimal": "precise"}, 1, "123.45", '"MDk="'),
    ("bits", ("bit", 24), {}, 1, "110000000000000000000001", '"AQDA"'),
    ("array", "_text", {}, 1, "{abc}", '["abc"]'),
]


@pytest.mark.parametrize(
    ("kind", "handling", "limit", "given", "expected"), [row[1:] for row in CUT], ids=[row[0] for row in CUT]
)
def test_whatever_is_a_string_or_bytes_in_java_is_cut(
    kind: str | tuple[str, int], handling: dict[str, Any], limit: int, given: str, expected: str
) -> None:
    how = Handling(quirks=True, **handling)
    plan = planned({"v": kind}, options=TableOptions(truncate={"v": limit}), handling=how)
    assert RowEncoder(plan).copy_row(b"1\t" + given.encode() + b"\n")[1] == b'{"id":1,"v":%b}' % expected.encode()


NEGATIVE_SCALE = ("numeric", (1 << 16) + 2046 + 4)

ACCIDENTS = [
    # What Debezium 3.6.3 has by accident: kind, handling, value, its JSON under quirks and without.
    (NEGATIVE_SCALE, {"decimal": "string"}, "-300", f'"-300.{"0" * 2046}"', '"-300"'),
    (NEGATIVE_SCALE, {"decimal": "string"}, "NaN", '"NAN"', '"NaN"'),
    ("_timestamp", {}, '{"0423-06-27 00:00:00.195",NULL}', "[-48803212799805000,null]", "[-48803299199805000,null]"),
    ("_timestamp", {}, '{"0044-03-15 12:00:00 BC"}', "[-63517953600000000]", "[-63517780800000000]"),
    ("_timestamp", {"time_precision": "isostring"}, '{"1582-10-05 01:00:00"}', '["1582-10-15T01:00:00Z"]',
     '["1582-10-05T01:00:00Z"]'),
    ("_timestamptz", {}, '{"0044-03-15 12:00:00+00 BC",infinity}', '["0044-03-15T12:00:00.000000Z","infinity"]',
     '["-0043-03-15T12:00:00.000000Z","infinity"]'),
    ("_timestamptz", {}, "{-infinity}", '["+292269055-12-02T23:00:00.000000Z"]', '["-infinity"]'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "handling", "given", "debezium", "plain"), ACCIDENTS)
def test_accidents_are_imitated_under_quirks_alone(
    kind: str | tuple[str, int], handling: dict[str, Any], given: str, debezium: str, plain: str
) -> None:
    for quirks, expected in ((True, debezium), (False, plain)):
        encoder = RowEncoder(planned({"v": kind}, handling=Handling(quirks=quirks, **handling)))
        value = encoder.copy_row(b"1\t" + given.encode() + b"\n")[1]
        assert value == b'{"id":1,"v":%b}' % expected.encode()


def test_a_numeric_without_limit_has_no_length_in_a_snapshot() -> None:
    options = TableOptions(truncate={"c": 2})
    how = Handling("string", quirks=True)
    plan = planned({"n": "numeric", "c": "numeric"}, options=options, handling=how, propagated=("/.*/",))
    streamed, read = (
        {
            field["field"]: field.get("parameters")
            for field in json.loads(text + b"null}")["schema"]["fields"][1]["fields"]
        }
        for text in (plan.schemas.value, plan.schemas.read)
    )
    numeric = {"__debezium.source.column.type": "NUMERIC", "__debezium.source.column.name": "n"}
    limits = {"__debezium.source.column.length": "131089", "__debezium.source.column.scale": "0"}
    assert streamed["n"] == {**numeric, **limits}
    assert read["n"] == {**numeric, "__debezium.source.column.length": "0"}
    assert (streamed["c"], read["c"]) == ({"truncateLength": "2"}, None)
    encoder = RowEncoder(plan)
    encoder.begin(Transaction(1, 2, 3, None, "true", 4, 5))
    records: list[Any] = []
    encoder.encode_copy(b"1\t123\t123\n", records)
    encoder.encode(insert(["1", "123", "123"]), 0, 1, 1, records)
    first, second = (json.loads(record[2]) for record in records)
    assert first["schema"]["fields"][1]["fields"][1]["parameters"] == read["n"]
    assert second["schema"]["fields"][1]["fields"][1]["parameters"] == streamed["n"]
    assert (first["payload"]["after"]["c"], second["payload"]["after"]["c"]) == ("123", "12")


def test_what_stands_for_a_value_that_is_not_known_is_cut_too() -> None:
    plan = planned({"v": "timestamptz"}, not_null=("id", "v"), options=TableOptions(truncate={"v": 4}))
    assert plan.columns[1].zero == b'"1970"'
    options = TableOptions(truncate={"v": 3})
    by_default = planned({"v": "text"}, not_null=("id", "v"), defaults={"v": "'word'"}, options=options)
    assert (by_default.columns[1].zero, by_default.columns[1].default) == (b'"wor"', b'"word"')


def test_what_has_a_limit_below_is_not_cut_and_does_not_say_so() -> None:
    plan = planned({"v": ("varchar", 14), "t": "text"}, options=TableOptions(truncate={"v": 20, "t": 20}))
    assert "truncateLength" not in schema(plan)["v"]
    assert '"parameters":{"truncateLength":"20"}' in schema(plan)["t"]


PLACEHOLDERS: list[tuple[str | tuple[str, int], str | None]] = [
    ("text", '"?!"'),
    (("varchar", 24), '"?!"'),
    ("jsonb", '"?!"'),
    ("bytea", '"PyE="'),
    ("_text", '["?!"]'),
    ("_int4", "[63,33]"),
    ("_date", "[63,33]"),
    ("_uuid", '["c16da609-b86c-31f1-aa2c-609eac4ccb0c"]'),
    ("_bytea", '["PyE="]'),
    ("_bool", None),
    ("int4", None),
]


@pytest.mark.parametrize(("kind", "expected"), PLACEHOLDERS)
def test_a_placeholder_has_the_form_of_its_column(kind: str | tuple[str, int], expected: str | None) -> None:
    (_, column) = planned({"v": kind}, placeholder="?!").columns
    assert column.placeholder == (expected and expected.encode())
    assert column.description.placeholder == (None if expected is None else json.loads(expected))


def test_an_algorithm_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be one of MD5"):
        TableOptions.model_validate({"mask": {"v": {"hash": "SHA-9", "salt": "x"}}})
