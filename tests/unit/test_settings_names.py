"""Derived names: legal, unique, and the same every time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc import names, patterns

BRIDGES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
WORKERS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,80}", fullmatch=True)


def test_plain_names_stay_readable() -> None:
    assert names.event_topic("shop", "public", "orders") == "shop.public.orders"
    assert names.slot_name("shop", "warehouse") == "cdc_shop_warehouse"
    assert names.group_id("shop", "billing") == "shop.billing"
    assert names.transactional_id("shop", "warehouse") == "shop.cdc-warehouse-0"
    assert names.offsets_topic("shop") == "shop.cdc.offsets"


@given(BRIDGES, st.text(min_size=1, max_size=63), st.text(min_size=1, max_size=63))
def test_every_table_has_a_legal_topic(bridge: str, schema: str, table: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,249}", names.event_topic(bridge, schema, table))


@given(BRIDGES, WORKERS)
def test_every_connector_has_a_legal_slot(bridge: str, connector: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,63}", names.slot_name(bridge, connector))


@given(st.tuples(BRIDGES, WORKERS), st.tuples(BRIDGES, WORKERS))
def test_no_two_connectors_share_a_slot_a_group_or_a_transactional_id(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    for derive in (names.slot_name, names.group_id, names.transactional_id):
        assert (derive(*one) == derive(*other)) == (one == other)


def test_pairs_that_read_alike_are_told_apart() -> None:
    alike = [("a_b", "c"), ("a", "b_c"), ("a.b", "c"), ("a-b", "c"), ("a", "b-c")]
    assert len({names.slot_name(*pair) for pair in alike}) == len(alike)
    assert len({names.transactional_id(*pair) for pair in alike}) == len(alike)


def test_tables_whose_topics_meet_are_found() -> None:
    tables = [("public", "order lines"), ("public", "order_lines"), ("public", "x"), ("cdc", "offsets"), ("a.b", "c")]
    assert names.collisions("shop", tables) == {
        "shop.public.order_lines": ["public.order lines", "public.order_lines"],
        "shop.cdc.offsets": ["the bridge's own topic shop.cdc.offsets", "cdc.offsets"],
    }
    assert names.collisions("shop", [("a", "b_c"), ("a_b", "c")]) == {"shop.a.b_c": ["a.b_c", "a_b.c"]}


def test_the_most_specific_pattern() -> None:
    known = ["*", "public.*", "public.audit_?", "public.orders", "public.o*"]
    assert patterns.most_specific(known, "public.orders") == "public.orders"
    assert patterns.most_specific(known, "public.other") == "public.o*"
    assert patterns.most_specific(known, "public.audit_1") == "public.audit_?"
    assert patterns.most_specific(known, "Public.x") == "*"
    assert patterns.most_specific(["a.*"], "b.c") is None


def test_a_regular_expression_matches_whole_names_of_either_case_as_debeziums_lists_do() -> None:
    tables = ["s1.orders", "S1.Orders_old", "s1.lord", "s11.orders", "s1xorders"]
    assert [table for table in tables if patterns.matches(r"/s1\.ord.*/", table)] == ["s1.orders", "S1.Orders_old"]
    assert [table for table in tables if patterns.matches("/s1.orders|x/", table)] == ["s1.orders", "s1xorders"]
    assert not patterns.matches("/\\w+/", "é")  # Java's classes are ASCII's


def test_a_regular_expression_is_the_least_specific() -> None:
    known = ["public.*", "/public.orders_with_a_long_expression|.*/", "*.*"]
    assert patterns.matching(known, "public.orders") == [known[1], "*.*", "public.*"]
    assert patterns.most_specific([known[1], "public.orders"], "public.orders") == "public.orders"


def test_the_topics_of_a_regular_expression_begin_with_the_bridges_name() -> None:
    topics = names.topic_of_entry("shop", r"/s1\.ord.*|x.y/")
    assert patterns.matches(topics, "shop.S1.orders")
    assert patterns.matches(topics, "shop.x.y")
    assert not patterns.matches(topics, "SHOP.s1.orders")
    assert not patterns.matches(topics, "shopxs1.orders")
    assert patterns.beginning(topics) == "shop."


@pytest.mark.parametrize(
    ("pattern", "beginning"),
    [("public.orders", "public.orders"), ("public.o*", "public.o"), ("?x", ""), (r"/public\.o/", "")],
)
def test_what_all_names_of_a_pattern_begin_with(pattern: str, beginning: str) -> None:
    assert patterns.beginning(pattern) == beginning
