"""Kafka Connect's transformations, taken over: what becomes of routers, outbox and flattening, and what is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cdc.config import parse
from cdc.debezium.java import Expression, of_tables, replacement, samples
from cdc.debezium.text import text_of
from cdc.debezium.translate import Translation, translate
from cdc.debezium.values import BadValue
from cdc.patterns import most_specific
from cdc.settings import Settings
from connectors.postgres_wal.options import TableOptions
from connectors.postgres_wal.settings import PostgresWalSettings

LEAST = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "database.hostname": "db.example.com",
    "database.user": "debezium",
    "database.dbname": "inventory",
    "topic.prefix": "shop",
    "plugin.name": "pgoutput",
    "value.converter.schemas.enable": "false",
}

ROUTER = "io.debezium.transforms.ByLogicalTableRouter"
REGEX = "org.apache.kafka.connect.transforms.RegexRouter"
OUTBOX = "io.debezium.transforms.outbox.EventRouter"
UNWRAP = "io.debezium.transforms.ExtractNewRecordState"
MATCHES = "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"


def taken(more: dict[str, str], **transforms: dict[str, str]) -> Translation:
    """What becomes of a connector with these properties and transformations."""
    named = {f"transforms.{name}.{key}": value for name, given in transforms.items() for key, value in given.items()}
    return translate("Inventory", {**LEAST, "transforms": ",".join(transforms), **named, **more})


def settings(translation: Translation) -> Settings:
    """As the bridge reads the YAML that is written."""
    assert not translation.wrong
    return parse(text_of(translation, "connector.json"), {})


def section(translation: Translation) -> PostgresWalSettings:
    (found,) = settings(translation).connectors.values()
    assert isinstance(found, PostgresWalSettings)
    return found


def options(translation: Translation, table: str) -> TableOptions | None:
    """Those that hold for a table; None if it is not captured."""
    tables = section(translation).tables
    entry = most_specific(tables, table)
    return None if entry is None else tables[entry]


def topic(translation: Translation, table: str) -> str:
    found = section(translation)
    entry = most_specific(found.tables, table)
    assert entry is not None
    return found.topic_of("shop", entry, *table.split("."))


def routed(regex: str, to: str) -> dict[str, str]:
    return {"type": REGEX, "regex": regex, "replacement": to}


@pytest.mark.parametrize(
    ("regex", "to", "topics"),
    [
        (r"([^.]+)\.([^.]+)\.([^.]+)", "$3", {"public.orders": "orders", "a.b": "b"}),
        (r"([^.]+)\.([^.]+)\.([^.]+)", "$1-$3", {"public.orders": "shop-orders"}),
        (r"(.*)\.(.*)\.(.*)", "$2_$3", {"public.orders": "public_orders"}),
        (
            r"(.*)orders_(\d+)",
            "$1orders",
            {"public.orders_7": "shop.public.orders", "public.items": "shop.public.items"},
        ),
        (r"shop\.public\.(?<what>orders|items)_\d+", "all.${what}", {"public.items_1": "all.items"}),
        (r"shop.public.(.*)", "prod.$1", {"public.orders": "prod.orders", "sales.orders": "shop.sales.orders"}),
        (r"(.*)", "dev_$1", {"public.orders": "dev_shop.public.orders"}),
        (r"(.*)_\d", "$10", {"public.t_1": "shop.public.t0"}),
        (
            r"(shop)\.(public)\.Orders",
            r"$2\.$1",
            {"public.Orders": "public.shop", "public.orders": "shop.public.orders"},
        ),
    ],
)
def test_a_router_becomes_the_topics_of_tables(regex: str, to: str, topics: dict[str, str]) -> None:
    translation = taken({}, route=routed(regex, to))
    assert not translation.lost
    assert {table: topic(translation, table) for table in topics} == topics


@pytest.mark.parametrize(
    "regex", [r"(.*?)\.(.*)", r"other\.(.*)", r"(shop\.public)\.(.*)", r"(.*shop.*)\.t", r".*p\.public\.(.*)"]
)
def test_a_router_that_looks_at_more_than_the_table_is_told(regex: str) -> None:
    translation = taken({}, route=routed(regex, "x"))
    assert [told.name for told in translation.lost] == ["transforms.route.regex"]
    assert topic(translation, "public.t") == "shop.public.t"


@pytest.mark.parametrize(
    ("regex", "to", "wrong"),
    [
        ("(", "x", "regex"),
        ("(.*)", "$2", "replacement"),
        ("(.*)", "${no}", "replacement"),
        (r"\Qa\E", "x", "regex"),
        ("", "x", "regex"),
        ("a", "", "replacement"),
    ],
)
def test_a_router_that_kafka_connect_would_refuse_is_wrong(regex: str, to: str, wrong: str) -> None:
    assert [told.name for told in taken({}, route=routed(regex, to)).wrong] == [f"transforms.route.{wrong}"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("table.expand.json.payload", "yes"),
        ("route.topic.regex", "("),
        ("route.topic.replacement", "${no}"),
        ("table.op.invalid.behavior", "ignore"),
        ("table.fields.additional.placement", "type"),
    ],
)
def test_what_an_event_router_would_refuse_is_told_at_its_property(option: str, value: str) -> None:
    assert [told.name for told in taken({}, o={"type": OUTBOX, option: value}).wrong] == [f"transforms.o.{option}"]


def test_a_router_without_a_prefix_of_topics_is_no_error_of_ours() -> None:
    given = {f"transforms.route.{name}": value for name, value in routed("(.*)", "x.$1").items()}
    config = {
        name: value for name, value in {**LEAST, "transforms": "route", **given}.items() if name != "topic.prefix"
    }
    assert [told.name for told in translate("Inventory", config).wrong] == ["topic.prefix"]


def test_only_captured_tables_are_routed() -> None:
    translation = taken({"table.include.list": r"public\.orders_.*,public.items"}, route=routed(r"(.*)_\d+", "$1"))
    assert topic(translation, "public.orders_1") == "shop.public.orders"
    assert topic(translation, "public.items") == "shop.public.items"
    assert options(translation, "public.people_1") is None


def test_a_table_that_is_named_has_its_topic_written_down() -> None:
    translation = taken({"table.include.list": r"public.items_1,public\.x"}, route=routed(r"(.*)_\d+", "$1"))
    found = section(translation).tables
    assert {entry: one.topic for entry, one in found.items()} == {
        "/public.items_1/": "{name}.public.items",
        r"/public\.x/": None,
    }


def test_a_table_whose_snapshot_is_a_statement_is_routed_too() -> None:
    more = {
        "snapshot.select.statement.overrides": "public.items_1",
        "snapshot.select.statement.overrides.public.items_1": "SELECT 1",
    }
    assert topic(taken(more, route=routed(r"(.*)_\d+", "$1")), "public.items_1") == "shop.public.items"


def test_topics_beside_those_of_tables_keep_their_names_and_that_is_told() -> None:
    more = {"heartbeat.interval.ms": "1000", "provide.transaction.metadata": "true"}
    told = "\n".join(taken(more, route=routed("(.*)", "x.$1")).remarks)
    assert re.findall(r"route: (\S+) keeps", told) == [
        "shop.message",
        "shop.transaction",
        "__debezium-heartbeat.shop",
    ]


def test_a_logical_router_adds_the_table_to_keys_unless_told_otherwise() -> None:
    given = {"type": ROUTER, "topic.regex": r"(.*)_\d+", "topic.replacement": "$1"}
    found = options(taken({}, route=given), "public.orders_1")
    assert found is not None
    assert found.transforms is not None
    assert found.transforms[0].key == {"__dbz__physicalTableIdentifier": "{name}.{schema}.{table}"}
    named = options(taken({}, route={**given, "key.field.name": "shard"}), "public.orders_1")
    assert named is not None
    assert named.transforms is not None
    assert named.transforms[0].key == {"shard": "{name}.{schema}.{table}"}
    plain = taken({}, route={**given, "key.enforce.uniqueness": "false"})
    assert (options(plain, "public.orders_1"), plain.lost) == (TableOptions(topic="{name}.{g_1}"), [])


def test_the_part_of_a_name_in_keys_is_told() -> None:
    given = {"type": ROUTER, "topic.regex": r"(.*)_\d+", "topic.replacement": "$1"}
    translation = taken({}, route={**given, "key.field.regex": r"(.*)_(\d+)", "key.field.replacement": "$2"})
    assert [told.name for told in translation.lost] == ["transforms.route.key.field.regex"]


def test_a_truncate_of_one_table_empties_no_topic_of_several() -> None:
    translation = taken({"skipped.operations": "none"}, route=routed(r"(.*)_\d+", "$1"))
    routed_, other = options(translation, "public.t_1"), options(translation, "public.t")
    assert routed_ is not None
    assert other is not None
    assert (routed_.truncates, other.truncates, section(translation).truncates) == ("skip", None, "fan_out")


def test_an_outbox_with_its_defaults() -> None:
    translation = taken({"table.include.list": "public.outbox"}, box={"type": OUTBOX})
    found = options(translation, "public.outbox")
    assert found is not None
    assert found.outbox is not None
    assert found.outbox.model_fields_set == set()
    assert not translation.lost


def test_an_outbox_with_all_that_is_taken_over() -> None:
    given = {
        "table.field.event.id": "eid",
        "table.field.event.key": "ekey",
        "table.field.event.type": "etype",
        "table.field.event.payload": "body",
        "table.field.event.timestamp": "at",
        "table.fields.additional.placement": "etype:header:eventType, tenant:envelope",
        "table.op.invalid.behavior": "fatal",
        "table.expand.json.payload": "true",
        "route.by.field": "kind",
        "route.topic.regex": "(?<what>[a-z]+)-(.*)",
        "route.topic.replacement": "shop.${what}.$2",
        "route.tombstone.on.empty.payload": "true",
    }
    translation = taken({"table.include.list": "public.outbox"}, box={"type": OUTBOX, **given})
    assert not translation.lost
    found = options(translation, "public.outbox")
    assert found is not None
    assert found.outbox is not None
    assert found.outbox.model_dump(exclude_unset=True) == {
        "id": "eid",
        "payload_id": "ekey",
        "payload": "body",
        "timestamp": "at",
        "placement": [
            {"column": "etype", "to": "header", "name": "eventType"},
            {"column": "tenant", "to": "envelope"},
        ],
        "updates": "fail",
        "expand_json": True,
        "route_by": "kind",
        "pattern": "(?P<what>[a-z]+)-(?P<g2>.*)",
        "topic": "shop.{what}.{g2}",
        "tombstone_on_empty_payload": True,
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("table.field.event.schema.version", "v"),
        ("table.field.additional.missing", "ignore"),
        ("table.json.payload.null.behavior", "optional_bytes"),
        ("tracing.operation.name", "x"),
        ("table.fields.additional.placement", "n:partition"),
        ("frobnicate", "1"),
    ],
)
def test_what_an_outbox_has_no_place_for_is_told(option: str, value: str) -> None:
    translation = taken({"table.include.list": "public.outbox"}, box={"type": OUTBOX, option: value})
    assert [told.name for told in translation.lost] == [f"transforms.box.{option}"]


def chosen(pattern: str, negate: str = "false") -> dict[str, str]:
    return {
        "predicates": "p",
        "predicates.p.type": MATCHES,
        "predicates.p.pattern": pattern,
        "transforms.box.predicate": "p",
        "transforms.box.negate": negate,
    }


def test_a_predicate_chooses_tables() -> None:
    translation = taken(chosen(r"shop\.public\.outbox"), box={"type": OUTBOX})
    box, other = options(translation, "public.outbox"), options(translation, "public.t")
    assert box is not None
    assert box.outbox is not None
    assert other == TableOptions()


def test_a_predicate_that_is_negated_leaves_tables_out() -> None:
    translation = taken(chosen(r".*\.raw", "true"), box={"type": UNWRAP})
    assert options(translation, "public.t") == TableOptions(format="json")
    assert options(translation, "public.raw") == TableOptions()


def test_other_predicates_are_told_and_nothing_is_done_to_all_tables_instead() -> None:
    kind = "org.apache.kafka.connect.transforms.predicates.HasHeaderKey"
    translation = taken({**chosen("x"), "predicates.p.type": kind}, box={"type": OUTBOX})
    assert [(told.name, "HasHeaderKey" in told.words) for told in translation.lost] == [
        ("transforms.box.predicate", True)
    ]
    assert options(translation, "public.outbox") == TableOptions()


DELETES: dict[str, tuple[bool, list[str], bool]] = {
    "rewrite-with-tombstone": (True, ["t"], False),
    "rewrite": (False, ["t"], False),
    "drop": (True, ["t", "d"], False),
    "tombstone": (True, ["t"], True),
    "delete-to-tombstone": (True, ["t"], True),
}


@pytest.mark.parametrize("mode", DELETES)
def test_flattened_rows_are_a_format(mode: str) -> None:
    translation = taken({}, flat={"type": UNWRAP, "delete.tombstone.handling.mode": mode, "add.fields": "op"})
    found = section(translation)
    tombstones, skipped, told = DELETES[mode]
    assert options(translation, "public.t") == TableOptions(format="json")
    assert (found.tombstones, {*found.skipped_operations}) == (
        tombstones,
        {*skipped} - ({"t"} if mode != "drop" else set()),
    )
    assert bool(translation.lost) is told


@pytest.mark.parametrize(
    ("deletes", "drop", "mode"),
    [
        ("rewrite", "false", "rewrite-with-tombstone"),
        ("rewrite", "", "rewrite"),
        ("", "true", "drop"),
        ("", "false", "tombstone"),
        ("none", "true", "delete-to-tombstone"),
    ],
)
def test_deletes_as_they_were_handled_before_debezium_3(deletes: str, drop: str, mode: str) -> None:
    older = {"delete.handling.mode": deletes, "drop.tombstones": drop}
    translation = taken({}, flat={"type": UNWRAP, **{name: value for name, value in older.items() if value}})
    same = taken({}, flat={"type": UNWRAP, "delete.tombstone.handling.mode": mode})
    assert (translation.document, translation.lost) == (same.document, same.lost)


def test_tables_that_two_transformations_are_for_have_the_options_of_both() -> None:
    route = {"type": ROUTER, "topic.regex": r"(.*)orders_\d", "topic.replacement": "$1orders"}
    flat = {"type": UNWRAP, "predicate": "p", "negate": "true"}
    translation = taken(chosen(r".*\.outbox"), route=route, flat=flat)
    assert options(translation, "public.orders_1") == TableOptions(format="json", topic="{name}.{g_1}orders")
    assert options(translation, "public.outbox") == TableOptions()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("add.fields", "op,source.ts_ms"),
        ("add.fields", "op:OPERATION"),
        ("add.fields.prefix", "x_"),
        ("add.headers", "op"),
        ("route.by.field", "kind"),
        ("drop.fields.header.name", "x"),
    ],
)
def test_what_flattened_rows_have_no_place_for_is_told(option: str, value: str) -> None:
    given = {"type": UNWRAP, "delete.tombstone.handling.mode": "rewrite-with-tombstone", option: value}
    assert [told.name for told in taken({}, flat=given).lost] == [f"transforms.flat.{option}"]


def test_an_outbox_beside_flattened_rows_keeps_its_format() -> None:
    translation = taken(chosen(r".*\.outbox"), flat={"type": UNWRAP}, box={"type": OUTBOX})
    box = options(translation, "public.outbox")
    assert box is not None
    assert (box.outbox is not None, box.format) == (True, None)
    assert options(translation, "public.t") == TableOptions(format="json")


def test_flattened_rows_have_no_member_more_in_their_keys() -> None:
    given = {"type": ROUTER, "topic.regex": r"(.*)_\d+", "topic.replacement": "$1"}
    translation = taken({}, route=given, flat={"type": UNWRAP})
    assert options(translation, "public.t_1") == TableOptions(format="json", topic="{name}.{g_1}")
    assert "flattened rows have none" in "\n".join(translation.remarks)


def test_a_predicate_is_asked_for_the_topic_that_a_router_made() -> None:
    box = {"type": "EventRouter", "predicate": "p"}
    other = taken(chosen(r".*\.outbox"), route=routed(r"(.*)orders_\d+", "$1orders"), box=box)
    assert (options(other, "public.outbox"), other.lost) == (TableOptions.model_validate({"outbox": {}}), [])
    same = taken(chosen(r".*\.outbox_1"), route=routed(r"(.*)_\d+", "$1"), box=box)
    assert [told.name for told in same.lost] == ["transforms.box.predicate"]


def test_of_two_routers_for_one_table_the_first_is_taken_over() -> None:
    translation = taken({}, one=routed(r"(.*)_\d+", "$1"), two=routed(r"(.*)orders", "$1o"))
    assert topic(translation, "public.orders_1") == "shop.public.orders"
    assert [told.name for told in translation.lost] == ["transforms.two.regex"]


def test_what_the_first_router_renames_the_second_does_not_see() -> None:
    """The expression of the second says nothing of the tables that the first leaves to it."""
    first = routed(r"shop\.audit\.(.*)", "audit-$1")
    translation = taken({}, one=first, two=routed(r"shop\.(.*)", "prod.$1"))
    assert topic(translation, "audit.log") == "audit-log"
    assert [told.name for told in translation.lost] == ["transforms.two.regex"]
    listed = taken(
        {"table.include.list": r"audit.log,public\.orders"}, one=first, two=routed(r"shop\.public\.(.*)", "prod.$1")
    )
    assert (topic(listed, "audit.log"), topic(listed, "public.orders")) == ("audit-log", "prod.orders")
    assert not listed.lost


def test_names_of_schemas_are_tried_too() -> None:
    more = {"schema.include.list": "billing,public"}
    translation = taken(more, one=routed(r"shop\.[a-e]\w+\.(.*)", "x-$1"), two=routed(r"shop\.(.*)", "prod.$1"))
    assert topic(translation, "billing.t") == "x-t"
    assert [told.name for told in translation.lost] == ["transforms.two.regex"]


@pytest.mark.parametrize(
    ("regex", "told"), [(r"(.*)", True), (r"outbox\.event\.(.*)", True), (r"shop\.public\.(.*)", False)]
)
def test_messages_of_an_outbox_are_not_routed_again_and_that_is_told(regex: str, told: bool) -> None:
    translation = taken({}, o={"type": OUTBOX}, r=routed(regex, "dev.$1"))
    assert bool(translation.lost) is told
    other = taken({}, r=routed(r"(.*)", "dev.$1"), o={"type": OUTBOX})
    assert not other.lost


def test_a_router_that_is_not_taken_over_renames_nothing_for_those_behind_it() -> None:
    more = {
        **chosen(r"shop\.public\.orders"),
        "predicates.c.type": MATCHES,
        "predicates.c.pattern": r"shop\.public\.customers",
        "transforms.flat.predicate": "c",
    }
    flat = {"type": UNWRAP, "delete.tombstone.handling.mode": "rewrite-with-tombstone"}
    translation = taken(more, box=routed(r"(.*)", "x.$1"), flat=flat)
    assert [told.name for told in translation.lost] == ["transforms.box.predicate"]
    assert options(translation, "public.customers") == TableOptions(format="json")
    assert "keeps its name" not in "\n".join(translation.remarks)


def test_many_tables_take_no_time() -> None:
    """A router is tried with so many names at most, however long lists are."""
    tables = [f"schema{number % 7}.table{number}" for number in range(400)]
    assert len(list(samples("(.*)", [word for table in tables for word in table.split(".")]))) < 20_000
    translation = taken({"table.include.list": ",".join(tables)}, route=routed(r"(.*)\.table399", "$1.last"))
    assert topic(translation, tables[-1]) == "shop.schema0.last"
    assert topic(translation, tables[0]) == "shop.schema0.table0"


def test_deletes_that_are_left_out_twice_are_left_out() -> None:
    flat = {"type": UNWRAP, "delete.tombstone.handling.mode": "drop"}
    assert section(taken({"skipped.operations": "d"}, flat=flat)).skipped_operations == ["d"]


@pytest.mark.parametrize("mode", ["drop", "rewrite"])
def test_deletes_of_some_tables_are_not_left_out(mode: str) -> None:
    translation = taken(chosen(r".*\.t"), box={"type": UNWRAP, "delete.tombstone.handling.mode": mode})
    assert [told.name for told in translation.lost] == ["transforms.box.delete.tombstone.handling.mode"]
    assert (section(translation).skipped_operations, section(translation).tombstones) == ([], True)


def test_a_transformation_without_a_type_is_wrong() -> None:
    assert [told.name for told in taken({"transforms": "mine"}).wrong] == ["transforms.mine.type"]


def test_a_transformation_that_is_not_known_is_told() -> None:
    translation = taken({}, mine={"type": "com.example.Mine$Value", "x": "1"})
    assert [(told.name, "Mine" in told.words) for told in translation.lost] == [("transforms.mine.type", True)]


@pytest.mark.parametrize(
    ("text", "names", "named"),
    [
        (r"a(b)(?:c)(?<d>e)", (None, "d"), r"a(?P<x>b)(?:c)(?P<y>e)"),
        (r"[(](\()", (None,), r"[(](?P<x>\()"),
        (r"(?=a)(?!b)(?<!c)(?<=d)(.)", (None,), r"(?=a)(?!b)(?<!c)(?<=d)(?P<x>.)"),
    ],
)
def test_groups_get_names(text: str, names: Any, named: str) -> None:
    expression = Expression.read(text)
    assert expression.names == names
    assert expression.named(["x", "y"]) == named


@pytest.mark.parametrize("text", [r"\Qa\E", r"\p{L}", "a++", "[a&&b]", r"(a)\1", "(?i)a", "("])
def test_forms_that_are_read_in_another_way_are_refused(text: str) -> None:
    with pytest.raises(BadValue):
        Expression.read(text)


def test_a_replacement_has_as_many_digits_as_there_are_groups() -> None:
    assert replacement("$12x", Expression.read("(a)(b)")) == [1, "2", "x"]
    assert replacement(r"\.1${n}", Expression.read("(a)(?<n>b)")) == [".", "1", 2]


def test_what_a_prefix_may_match_is_no_expression_of_tables() -> None:
    with pytest.raises(BadValue, match="cannot be told"):
        of_tables(Expression.read(r"(.*)shop\.(.*)"), "shop", [2], [])
