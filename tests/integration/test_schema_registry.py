"""The schema registry: registered once, refused with the difference, away for a while. Confluent's client over HTTP."""

from __future__ import annotations

import orjson
import pytest

from cdc.errors import PublishError, RegistryUnavailable
from cdc.formats.avro.codec import AvroReader, AvroWriter
from cdc.formats.avro.registry import Registry
from cdc.formats.contract import Described
from cdc.settings import SchemaRegistrySettings
from tests.schema_registry import SchemaRegistry, running

TOPIC = "shop.public.orders"


def settings(url: str, **more: object) -> SchemaRegistrySettings:
    return SchemaRegistrySettings.model_validate({"url": url, **more})


def table(*columns: dict[str, object]) -> Described:
    key = {"type": "struct", "fields": [{"type": "int32", "optional": False, "field": "id"}], "name": f"{TOPIC}.Key"}
    row = {"type": "struct", "fields": [*key["fields"], *columns], "optional": True, "name": f"{TOPIC}.Value"}
    fields = [{**row, "field": "before"}, {**row, "field": "after"}, {"type": "string", "field": "op"}]
    return Described(TOPIC, key, {"type": "struct", "fields": fields, "name": f"{TOPIC}.Envelope"})


A = {"type": "string", "optional": True, "field": "a"}


def writer(registry: SchemaRegistry, *columns: dict[str, object]) -> AvroWriter:
    return AvroWriter(Registry(settings(registry.url)), table(*columns))


def test_records_carry_the_ids_that_the_registry_gave() -> None:
    with running() as registry:
        made = writer(registry, A)
        key, value = made.key(b'{"id":1}'), made.value(b'{"before":null,"after":{"id":1,"a":"x"},"op":"c"}')
        assert set(registry.subjects) == {f"{TOPIC}-key", f"{TOPIC}-value"}
        assert key == b"\0" + registry.subjects[f"{TOPIC}-key"][0].to_bytes(4, "big") + b"\x02"
        assert registry.latest(f"{TOPIC}-value")["name"] == "Envelope"
        reader = AvroReader(Registry(settings(registry.url)))
        assert reader.key(key) == b'{"id":1}'
        assert orjson.loads(reader.value(value)) == {"before": None, "after": {"id": 1, "a": "x"}, "op": "c"}


def test_the_registry_is_asked_once_for_a_schema() -> None:
    with running() as registry:
        made = writer(registry, A)
        for _ in range(100):
            made.key(b'{"id":1}')
        asked = len(registry.requests)
        again = writer(registry, A)
        again.key(b'{"id":1}')
        assert asked == 3  # is it there; is there any; register
        assert registry.requests[asked:] == [f"POST /subjects/{TOPIC}-key"]
        assert len(registry.schemas) == 1


def test_a_column_more_is_a_new_version() -> None:
    with running() as registry:
        writer(registry).value(b'{"before":null,"after":{"id":1},"op":"c"}')
        writer(registry, A).value(b'{"before":null,"after":{"id":1,"a":null},"op":"c"}')
        assert len(registry.subjects[f"{TOPIC}-value"]) == 2


def test_an_incompatible_schema_is_refused_with_the_difference() -> None:
    with running() as registry:
        writer(registry, A).value(b'{"before":null,"after":{"id":1,"a":"x"},"op":"c"}')
        changed = {"type": "int64", "optional": True, "field": "a"}
        with pytest.raises(PublishError) as raised:
            writer(registry, changed).value(b'{"before":null,"after":{"id":1,"a":2},"op":"c"}')
        assert not raised.value.retriable
        assert f"subject {TOPIC}-value" in str(raised.value)
        assert "Value.a was null or string, is null or long" in str(raised.value)
        assert len(registry.subjects[f"{TOPIC}-value"]) == 1


def test_a_registry_that_is_away_is_worth_another_try() -> None:
    with running() as registry:
        url = registry.url
    with pytest.raises(RegistryUnavailable, match=f"schema registry {url} does not answer") as raised:
        Registry(settings(url)).schema(1)
    assert raised.value.retriable


def test_a_registry_that_fails_is_worth_another_try() -> None:
    with running() as registry:
        registry.failing = 503
        made = writer(registry)
        with pytest.raises(RegistryUnavailable, match=r"told to fail \(503"):
            made.key(b'{"id":1}')
        registry.failing = None
        assert made.key(b'{"id":1}').startswith(b"\0")


def test_a_login_is_shown_to_the_registry_and_in_no_error() -> None:
    with running(login="u:hush") as registry:
        login = {"username": "u", "password": "hush"}
        assert Registry(settings(registry.url, **login)).reach() == 0
        with pytest.raises(PublishError, match="Unauthorized") as raised:
            Registry(settings(registry.url, username="u", password="wrong-one")).reach()
        assert "wrong-one" not in str(raised.value)
        assert not raised.value.retriable


def test_an_id_that_nobody_gave_is_no_record_of_ours() -> None:
    with running() as registry, pytest.raises(ValueError, match="no Avro schema of id 7"):
        AvroReader(Registry(settings(registry.url))).value(b"\0\0\0\0\x07\0")
