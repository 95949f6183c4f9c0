"""Transforms: each declared step on key, value, headers, schemas and descriptions; functions; tombstones; errors."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from cdc.errors import ConfigError, TransformFailed
from cdc.event import Batch, EventTopic, Record
from cdc.formats.debezium_json import NEW_KEY
from cdc.position import Position
from cdc.schemas import Column, TableSchema
from cdc.transforms import Event
from cdc.transforms.chain import Chain, made
from cdc.transforms.settings import OutboxSettings, Step
from cdc.transforms.stage import Stage

TOPIC = "shop.public.orders"
SECRET = "4111-1111"


def value(op: str, before: dict[str, Any] | None, after: dict[str, Any] | None, **cdc: Any) -> bytes:
    source = {"schema": "public", "table": "orders", "lsn": 7}
    return orjson.dumps(
        {"before": before, "after": after, "source": source, "op": op, "ts_ms": 1, "cdc": {"pos": "P7", **cdc}}
    )


def record(op: str, before: dict[str, Any] | None, after: dict[str, Any] | None, **cdc: Any) -> Record:
    row = after or before or {}
    return (TOPIC, orjson.dumps({"id": row["id"]}), value(op, before, after, **cdc), -1, 5, None)


CREATED = record("c", None, {"id": 1, "name": "Ann", "total": "7"})
DELETED = record("d", {"id": 1, "name": None, "total": None}, None)
TOMBSTONE: Record = (TOPIC, b'{"id":1}', None, -1, 5, None)


def chain(*steps: dict[str, Any], schemas: bool = False) -> Chain:
    return made([Step.model_validate(step) for step in steps], None, schemas)


def run(of: Chain, *records: Record) -> list[tuple[str, Any, Any]]:
    out = of.records(records, "public.orders")
    return [(r[0], r[1] and orjson.loads(r[1]), r[2] and orjson.loads(r[2])) for r in out]


def after(*steps: dict[str, Any]) -> dict[str, Any]:
    ((_, _, changed),) = run(chain(*steps), CREATED)
    row: dict[str, Any] = changed["after"]
    return row


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Event], Any]], dict[str, str]]:
    """Makes a step of a function."""
    module = types.ModuleType("shop_transforms")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def step(it: Callable[[Event], Any]) -> dict[str, str]:
        module.it = it  # type: ignore[attr-defined]
        return {"python": "shop_transforms:it"}

    return step


def test_columns_are_renamed_in_key_value_and_what_names_them() -> None:
    old = record("u", None, {"id": 1, "name": "Ann"}, unchanged=["total"], reselected=["name"])
    ((_, key, changed),) = run(chain({"rename": {"id": "number", "total": "sum"}}), old)
    assert key == {"number": 1}
    assert list(changed["after"]) == ["number", "name"]
    assert changed["cdc"] == {"pos": "P7", "unchanged": ["sum"], "reselected": ["name"]}


def test_a_header_that_holds_a_key_has_the_renamed_key() -> None:
    moved = (*DELETED[:5], [(NEW_KEY, b'{"id":2}')])
    (out,) = chain({"rename": {"id": "number"}}).records([moved], "public.orders")
    assert out[5] == [(NEW_KEY, b'{"number":2}')]


def test_columns_are_dropped_and_kept_but_never_those_of_the_key() -> None:
    assert after({"drop": ["name"]}) == {"id": 1, "total": "7"}
    assert after({"keep": ["name"]}) == {"id": 1, "name": "Ann"}


def test_constants_and_casts() -> None:
    assert after({"set": {"region": "eu"}}, {"cast": {"total": "int64"}}) == {
        "id": 1,
        "name": "Ann",
        "total": 7,
        "region": "eu",
    }


def test_headers_may_hold_values() -> None:
    (out,) = chain({"headers": {"who": "{name}/{id}"}}).records([CREATED], "public.orders")
    assert out[5] == [("who", "Ann/1")]


def test_a_filter_looks_at_rows_and_lets_deletes_through() -> None:
    only = chain({"filter": {"include": {"name": ["Ann", "Bob"]}, "exclude": {"id": 2}}})
    others = record("u", None, {"id": 2, "name": "Ann"}), record("u", None, {"id": 3, "name": "Cy"})
    assert [(key, value and value["op"]) for _, key, value in run(only, CREATED, *others, DELETED, TOMBSTONE)] == [
        ({"id": 1}, "c"),
        ({"id": 1}, "d"),
        ({"id": 1}, None),
    ]


def test_a_route_takes_groups_of_the_pattern_and_leaves_other_rows() -> None:
    by_name = chain({"route": {"field": "name", "pattern": "(?P<first>[A-Z])n+", "topic": "people.{first} x"}})
    assert [topic for topic, _, _ in run(by_name, CREATED, record("c", None, {"id": 1, "name": "Bob"}))] == [
        "people.A_x",
        TOPIC,
    ]


def test_a_tombstone_goes_where_its_delete_went() -> None:
    deleted = record("d", {"id": 1, "name": "Ann"}, None)
    by_name = chain({"route": {"field": "name", "topic": "people.{value}"}}, {"rename": {"id": "number"}})
    assert [(topic, key) for topic, key, _ in run(by_name, deleted, TOMBSTONE)] == [("people.Ann", {"number": 1})] * 2


def test_a_function_drops_changes_and_multiplies(function: Callable[..., dict[str, str]]) -> None:
    def split(event: Event) -> list[Event] | None:
        if event.op == "d":
            return None
        other = event.copy()
        other.topic = "audit"
        return [event, other]

    assert [
        (topic, value["after"]["n"]) for topic, _, value in run(chain(function(split), {"set": {"n": 1}}), CREATED)
    ] == [
        (TOPIC, 1),
        ("audit", 1),
    ]
    assert run(chain(function(split)), DELETED, TOMBSTONE) == []


def test_no_tombstone_follows_a_delete_that_became_something_else(function: Callable[..., dict[str, str]]) -> None:
    def marked(event: Event) -> Event:
        event.value["op"] = "u" if event.op == "d" else event.op
        return event

    assert [value["op"] for _, _, value in run(chain(function(marked)), DELETED, TOMBSTONE)] == ["u"]


def test_an_error_names_table_and_position_and_no_value(function: Callable[..., dict[str, str]]) -> None:
    def broken(event: Event) -> Event:
        raise RuntimeError(f"cannot do with {SECRET}")

    with pytest.raises(TransformFailed) as failed:
        run(chain(function(broken)), record("c", None, {"id": 1, "card": SECRET}))
    said = str(failed.value)
    assert "public.orders" in said
    assert "P7" in said
    assert "shop_transforms:it: RuntimeError at test_transforms.py:" in said
    assert SECRET not in said
    with pytest.raises(TransformFailed, match=r"step 1 \(cast\): ValueError") as failed:
        run(chain({"cast": {"card": "int32"}}), record("c", None, {"id": 1, "card": SECRET}))
    assert SECRET not in str(failed.value)


def test_a_function_must_give_events_back_that_are_json(function: Callable[..., dict[str, str]]) -> None:
    with pytest.raises(TransformFailed, match="gave back str and no Event"):
        run(chain(function(lambda event: ["x"])), CREATED)

    def unfit(event: Event) -> Event:
        event.value["after"]["x"] = object()
        return event

    with pytest.raises(TransformFailed, match="no form in JSON"):
        run(chain(function(unfit)), CREATED)


@pytest.mark.parametrize("name", ["no_such_module:f", "orjson:no_such_function", "orjson:__version__"])
def test_a_function_that_is_not_there_is_a_wrong_setting(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        chain({"python": name})


def test_steps_change_connect_schemas_too() -> None:
    def struct(*fields: str) -> dict[str, Any]:
        return {"type": "struct", "fields": [{"type": "int32", "optional": False, "field": name} for name in fields]}

    schema = {"type": "struct", "fields": [{**struct("id", "n", "x"), "field": name} for name in ("before", "after")]}
    payload = orjson.loads(value("c", None, {"id": 1, "n": 2, "x": 3}))
    one = (
        TOPIC,
        orjson.dumps({"schema": struct("id"), "payload": {"id": 1}}),
        orjson.dumps({"schema": schema, "payload": payload}),
        -1,
        0,
        None,
    )
    steps = {"rename": {"id": "number"}}, {"drop": ["x"]}, {"cast": {"n": "string"}}, {"set": {"region": "eu"}}
    ((_, key, changed),) = run(chain(*steps, schemas=True), one)
    assert key["schema"]["fields"] == [{"type": "int32", "optional": False, "field": "number"}]
    assert key["payload"] == {"number": 1}
    assert changed["payload"]["after"] == {"number": 1, "n": "2", "region": "eu"}
    for row in changed["schema"]["fields"]:
        assert [(field["field"], field["type"]) for field in row["fields"]] == [
            ("number", "int32"),
            ("n", "string"),
            ("region", "string"),
        ]


DESCRIBED = TableSchema(
    "public.orders",
    TOPIC,
    (Column("id", "integer", "integer", "int32", nullable=False, attnum=1), Column("n", "text", "text", "string")),
    ("id",),
    "P",
)


def test_descriptions_follow_the_steps() -> None:
    steps = {"rename": {"id": "number"}}, {"drop": ["n"]}, {"set": {"m": 1}}, {"key": {"origin": "{schema}.{table}"}}
    described = chain(*steps).describe(DESCRIBED)
    assert [(column.name, column.target_type, column.attnum) for column in described.columns] == [
        ("number", "integer", 1),
        ("m", "bigint", 0),
        ("origin", "text", 0),
    ]
    assert described.key == ("number", "origin")
    ((_, key, changed),) = run(chain(*steps), CREATED)
    assert key == {"number": 1, "origin": "public.orders"}
    assert changed["after"]["origin"] == "public.orders"


@pytest.mark.parametrize("step", [{"drop": ["id"]}, {"rename": {"n": "id"}}, {"cast": {"id": "string"}}])
def test_what_would_break_the_key_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"public\.orders"):
        chain(step).describe(DESCRIBED)


@pytest.mark.parametrize(
    "step",
    [
        {},
        {"drop": ["a"], "keep": ["b"]},
        {"python": "nothing"},
        {"route": {"field": "a", "topic": "x.{missing}"}},
        {"route": {"field": "a", "pattern": "(", "topic": "x"}},
    ],
)
def test_wrong_steps_are_refused(step: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"step|match|group|expression"):
        Step.model_validate(step)


def stage(of: Chain, *, compacted: bool = True) -> Stage:
    return Stage(lambda table: of if table == "public.orders" else None, "shop.cdc.schemas", lambda topic: compacted)


def description(topic: str = TOPIC) -> Record:
    return ("shop.cdc.schemas", b"public.orders", DESCRIBED.to_bytes(), -1, 0, None)


def batch(*records: Record) -> Batch:
    topics = EventTopic(TOPIC, "public.orders", ("id",)), EventTopic("shop.public.other", "public.other", ("id",))
    return Batch([description(), *records], Position("P"), topics, (TOPIC,))


def test_other_tables_pass_a_stage_as_they_are() -> None:
    other: Record = ("shop.public.other", b"no json", b"no json", -1, 0, None)
    out = stage(chain({"drop": ["name"]})).batch(batch(other, CREATED, other))
    assert [one[0] for one in out.records] == ["shop.cdc.schemas", other[0], TOPIC, other[0]]
    assert out.records[1] is other
    assert [topic.topic for topic in out.topics] == [TOPIC, "shop.public.other"]
    assert out.complete == (TOPIC,)


def test_what_is_of_no_table_passes_a_stage_of_all_tables() -> None:
    beside: Record = ("shop.message", b"{}", b'{"op":"m"}', -1, 0, None)
    of = chain({"filter": {"include": {"name": "Ann"}}})
    everything = Stage(lambda table: of, "shop.cdc.schemas", lambda topic: True)
    message = EventTopic("shop.message", "shop.message", (), rows=False)
    out = everything.batch(Batch([beside], Position("P"), (message,)))
    assert out.records == [beside]
    assert out.topics == (message,)
    topics = EventTopic(TOPIC, "public.orders", ("id",)), message
    assert everything.batch(Batch([beside, CREATED], Position("P"), topics)).records == [beside, CREATED]


def test_a_topic_that_only_a_row_names_is_prepared_and_described_before_its_first_event() -> None:
    routing = stage(chain({"route": {"field": "name", "topic": "people.{value}"}}))
    out = routing.batch(batch(CREATED, CREATED))
    assert [topic.topic for topic in out.topics] == ["shop.public.other", "people.Ann"]
    assert not out.topics[1].distinct
    assert [(one[0], one[1]) for one in out.records] == [
        ("shop.cdc.schemas", b"public.orders>people.Ann"),
        ("people.Ann", CREATED[1]),
        ("people.Ann", CREATED[1]),
    ]
    assert TableSchema.from_bytes(out.records[0][2] or b"").topic == "people.Ann"
    again = routing.batch(Batch([CREATED], Position("Q")))
    assert (again.topics, len(again.records)) == ((), 1)


def test_an_event_without_key_on_a_compacted_topic_is_told(function: Callable[..., dict[str, str]]) -> None:
    def keyless(event: Event) -> Event:
        event.key = None
        return event

    with pytest.raises(TransformFailed, match="has no key"):
        stage(chain(function(keyless))).batch(batch(CREATED))
    assert stage(chain(function(keyless)), compacted=False).batch(batch(CREATED)).records[1][1] is None


def test_a_row_that_is_gone_is_deleted_by_the_key_that_readers_have() -> None:
    healing = stage(chain({"rename": {"id": "number"}}, {"filter": {"include": {"name": "Ann"}}}))
    healing.batch(batch())
    key = b'{"number":1}'
    delete: Record = (TOPIC, key, value("d", {"id": 0, "name": None}, None), -1, 5, None)
    tombstone: Record = (TOPIC, key, None, -1, 5, None)
    out = healing.gone(TOPIC, [delete, tombstone])
    assert [one[1] for one in out] == [key, key]
    assert orjson.loads(out[0][2] or b"")["before"] == {"number": 1, "name": None}


ROW = {"id": "e1", "aggregatetype": "order", "aggregateid": "o7", "type": "Placed", "payload": '{"a": [1]}'}


def messages(row: dict[str, Any], op: str = "c", **settings: Any) -> list[Record]:
    one: Record = (TOPIC, b'{"id":"e1"}', value(op, None, row), -1, 5, None)
    return made([], OutboxSettings.model_validate(settings), False).records([one], "public.outbox")


def test_a_row_of_an_outbox_is_a_message_as_debezium_makes_it_by_default() -> None:
    (message,) = messages(ROW)
    assert message == ("outbox.event.order", b'"o7"', rb'"{\"a\": [1]}"', -1, 5, [("id", "e1")])


def test_an_outbox_with_settings() -> None:
    placement = [{"column": "type", "to": "header", "name": "eventType"}, {"column": "version", "to": "envelope"}]
    (message,) = messages(
        {**ROW, "k": "key", "at": 1_700_000_000_123, "version": 3},
        key="k",
        timestamp="at",
        topic="{area}.events",
        pattern="(?P<area>[a-z]+)",
        placement=placement,
        expand_json=True,
    )
    topic, key, content, _, timestamp, headers = message
    assert (topic, key, timestamp) == ("order.events", b'"key"', 1_700_000_000_123)
    assert orjson.loads(content or b"") == {"payload": {"a": [1]}, "version": 3}
    assert headers == [("id", "e1"), ("eventType", "Placed")]


def test_an_outbox_value_that_is_not_as_the_pattern_says_is_made_a_legal_topic() -> None:
    only = {"pattern": "(?P<area>[a-z]+)", "topic": "{area}.events"}
    assert [messages({**ROW, "aggregatetype": value}, **only)[0][0] for value in ("Order", "an order/ä")] == [
        "Order",
        "an_order__",
    ]
    with pytest.raises(TransformFailed, match="aggregatetype names no topic"):
        messages({**ROW, "aggregatetype": ".."}, **only)


def test_an_outbox_knows_the_times_of_each_table() -> None:
    of = made([], OutboxSettings(timestamp="at"), False)
    for table, semantic in (("orders", "io.debezium.time.MicroTimestamp"), ("other", "io.debezium.time.Timestamp")):
        at = Column("at", "timestamp", "timestamp", "int64", semantic=semantic)
        of.learn(replace(DESCRIBED, table=f"public.{table}", columns=(at,)))
    row = {**ROW, "at": 1_700_000_000_123_000}
    one: Record = (TOPIC, b'{"id":"e1"}', value("c", None, row), -1, 5, None)
    assert of.records([one], "public.orders")[0][4] == 1_700_000_000_123


def test_an_outbox_key_that_is_null_is_the_payload_id() -> None:
    assert messages({**ROW, "k": None}, key="k")[0][1] == b'"o7"'


def test_only_inserts_are_messages(capsys: pytest.CaptureFixture[str]) -> None:
    assert messages(ROW, "d") == messages(ROW, "u") == []
    assert len(messages(ROW, "r")) == 1
    with pytest.raises(TransformFailed, match=r"public\.orders.*was updated"):
        messages(ROW, "u", updates="fail")


def test_an_empty_payload_is_a_null_or_a_tombstone() -> None:
    assert messages({**ROW, "payload": None})[0][2] == b"null"
    assert messages({**ROW, "payload": None}, tombstone_on_empty_payload=True)[0][2] is None


@pytest.mark.parametrize("wrong", [{"payload": "body"}, {"id": "event"}, {"route_by": "kind"}])
def test_a_column_that_an_outbox_lacks_is_named(wrong: dict[str, str]) -> None:
    with pytest.raises(TransformFailed, match=f"no column {next(iter(wrong.values()))}"):
        messages(ROW, **wrong)
