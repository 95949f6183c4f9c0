"""Target tables: types that hold others, statements that make a table fit, names that are only names."""

from __future__ import annotations

import pytest

from cdc.errors import SinkError
from cdc.formats.postgres.widening import holds
from cdc.subscription import subscription
from sinks.postgres.tables import Existing, changes, creation, text, wanted
from tests.sink_events import column, described

TOPIC = "shop.sales.orders"
VERSION = described(TOPIC, [column("id", "bigint"), column("note", "text")], table="sales.orders")
TARGET = wanted([VERSION], "public", None, mark=False)
KEYS = frozenset({frozenset({"id"})})


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("bigint", "integer"),
        ("numeric", "smallint"),
        ("double precision", "real"),
        ("text", "character varying(20)"),
        ("character varying(30)", "character varying(20)"),
        ("character varying", "character varying(20)"),
        ("numeric(14,3)", "numeric(12,2)"),
        ("numeric", "numeric(12,2)"),
        ("timestamp without time zone", "timestamp(3) without time zone"),
        ("timestamp(6) with time zone", "timestamp(3) with time zone"),
        ("bigint[]", "integer[]"),
        ("bit varying", "bit(8)"),
    ],
)
def test_a_wider_type_holds_a_narrower_one_and_not_the_reverse(wide: str, narrow: str) -> None:
    assert holds(wide, narrow)
    assert holds(narrow, narrow)
    assert not holds(narrow, wide)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("text", "integer"),
        ("numeric(12,4)", "numeric(12,2)"),
        ("text", "character(5)"),
        ("bigint[]", "integer"),
        ("timestamp with time zone", "timestamp without time zone"),
        ("public.mood", "integer"),
    ],
)
def test_types_of_which_neither_holds_the_other(one: str, other: str) -> None:
    assert not holds(one, other)
    assert not holds(other, one)


def test_a_table_is_created_with_the_sources_types_and_its_key() -> None:
    assert [text(statement) for statement in creation(TARGET)] == [
        'CREATE TABLE "public"."orders" ("id" bigint, "note" text, '
        '"_cdc_pos" text COLLATE "C" NOT NULL DEFAULT \'\', PRIMARY KEY ("id"))'
    ]


def test_a_table_that_fits_is_left_alone() -> None:
    there = Existing({"id": "bigint", "note": "text", "_cdc_pos": "text", "mine": "integer"}, frozenset({"id"}), KEYS)
    assert changes(TARGET, there) == []


def test_new_columns_are_added_and_narrow_ones_widened() -> None:
    there = Existing({"id": "integer", "_cdc_pos": "text"}, frozenset({"id"}), KEYS)
    assert [text(statement) for statement in changes(TARGET, there)] == [
        'ALTER TABLE "public"."orders" ALTER COLUMN "id" TYPE bigint',
        'ALTER TABLE "public"."orders" ADD COLUMN "note" text',
    ]


def test_an_enum_of_the_owners_may_stand_for_text() -> None:
    there = Existing({"id": "bigint", "note": "sales.mood", "_cdc_pos": "text"}, frozenset({"id"}), KEYS)
    assert changes(TARGET, there) == []


@pytest.mark.parametrize(
    ("there", "message", "hint"),
    [
        (
            Existing({"id": "bigint", "note": "integer", "_cdc_pos": "text"}, frozenset(), KEYS),
            "column note is integer, and its values are now text",
            'ALTER TABLE "public"."orders" ALTER COLUMN "note" TYPE text',
        ),
        (
            Existing({"id": "bigint", "note": "text", "_cdc_pos": "text"}, frozenset(), frozenset()),
            "no unique key of (id)",
            'ALTER TABLE "public"."orders" ADD PRIMARY KEY ("id")',
        ),
        (
            Existing({"id": "bigint", "note": "text", "_cdc_pos": "text", "x": "text"}, frozenset({"x"}), KEYS),
            "column x is NOT NULL without default",
            "SET DEFAULT",
        ),
    ],
)
def test_a_table_that_cannot_fit_is_an_error_with_the_owners_sql(there: Existing, message: str, hint: str) -> None:
    with pytest.raises(SinkError, match=r"target table public\.orders") as error:
        changes(TARGET, there)
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_names_are_quoted_and_types_are_types() -> None:
    odd = described(TOPIC, [column('i"d; DROP', "bigint")], ['i"d; DROP'], table='sales.or"ders')
    (statement,) = creation(wanted([odd], "public", None, mark=False))
    assert '"public"."or""ders" ("i""d; DROP" bigint' in text(statement)
    for type_ in ("bigint); DROP TABLE x; --", "text COLLATE x", "serial DEFAULT 1", ""):
        with pytest.raises(SinkError, match="has a type that is none"):
            wanted([described(TOPIC, [column("id", type_)])], "public", None, mark=False)


@pytest.mark.parametrize(
    "type_",
    [
        "numeric(12,2)", "numeric(3,-2)", "timestamp(3) with time zone", "character varying(20)[]", '"char"',
        "double precision", "interval day to second(3)", "timestamp without time zone", "tsvector", "int4range",
    ],
)  # fmt: skip
def test_the_types_of_sources_are_taken(type_: str) -> None:
    wanted([described(TOPIC, [column("id", type_)])], "public", None, mark=False)


def test_a_table_may_have_another_name_and_schema() -> None:
    assert wanted([VERSION], "public", "archive.sold", mark=False).full_name == "archive.sold"
    assert wanted([VERSION], "mine", "sold", mark=True).full_name == "mine.sold"


def test_a_source_column_with_the_name_of_ours_is_an_error() -> None:
    with pytest.raises(SinkError, match="_cdc_pos has the name of one the sink adds"):
        wanted([described(TOPIC, [column("id", "bigint"), column("_cdc_pos", "text")])], "public", None, mark=False)


@pytest.mark.parametrize(
    ("topic", "expression"),
    [
        ("shop.public.orders", "shop.public.orders"),
        ("shop.public.*", r"^shop\.public\..*$"),
        ("shop.*.order?", r"^shop\..*\.order.$"),
        ("shop.[!p]*", r"^shop\.[^p].*$"),
    ],
)
def test_patterns_are_anchored_expressions_for_kafka(topic: str, expression: str) -> None:
    assert subscription(topic) == expression
