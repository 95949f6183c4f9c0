"""Formats: which there are, what is said of one that is not, and what reads a topic."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cdc.config import parse
from cdc.errors import ConfigError
from cdc.formats.contract import Format, all_readers, formats, reader_of
from cdc.formats.documents import event_of, value_of
from cdc.formats.flat import FlatReader
from cdc.settings import Settings

POSITION = "00000001/00000002/0000000003"

REGISTRY = "\nschema_registry: {url: 'http://registry:8081'}"


def settings(connector: str = "", more: str = "") -> Settings:
    return parse(
        f"""
name: shop
kafka: {{bootstrap_servers: k:9092}}
databases: {{w: {{url: 'postgresql://h/d'}}}}
connectors:
  w: {{type: postgres_wal, database: w, tables: {{public.orders: {{}}}}{connector}}}{more}
"""
    )


def wrong(connector: str, more: str = "") -> str:
    with pytest.raises(ConfigError) as raised:
        settings(connector, more)
    return str(raised.value)


def test_formats_are_found_by_entry_point() -> None:
    assert set(formats()) == {"avro", "debezium-json", "debezium-json-schemas", "json"}
    assert all(isinstance(found, Format) for found in formats().values())


def test_a_format_that_is_not_installed_is_a_wrong_setting() -> None:
    assert "connectors.w.format: there is no format xml (installed are avro, debezium-json" in wrong(", format: xml")
    assert "there is no format jsn (did you mean json?)" in wrong(", format: jsn")


def test_transforms_need_an_envelope_in_json() -> None:
    steps = ", transforms: [{drop: [note]}]"
    settings(steps)
    assert "format json has no transforms and no outbox" in wrong(f", format: json{steps}")
    assert "format avro has no transforms and no outbox" in wrong(f", format: avro{steps}", REGISTRY)


def test_avro_needs_a_registry() -> None:
    assert "connectors.w.format: avro needs a schema registry (add schema_registry:" in wrong(", format: avro")
    settings(", format: avro", REGISTRY)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("{url: 'http://u:p@registry:8081'}", "schema_registry.url"),
        ("{url: 'ftp://registry'}", "schema_registry.url"),
        (
            "{url: 'http://r', username: u}",
            "schema_registry.username: is of no use without password (add password_file)",
        ),
        ("{url: 'http://r', password: p}", "schema_registry.password: is of no use without username"),
        ("{url: 'http://r', ssl_key: /dev/null}", "schema_registry.ssl_key: is of no use without ssl_certificate"),
        ("{url: 'http://r', ssl_ca: /not/there}", "schema_registry.ssl_ca: there is no file /not/there"),
        ("{url: 'http://r', proxy: x}", "schema_registry.proxy"),
    ],
)
def test_a_registry_is_described_as_far_as_it_is_safe(section: str, says: str) -> None:
    text = wrong("", f"\nschema_registry: {section}")
    assert says in text
    assert "u:p" not in text


def test_the_registrys_password_is_shown_nowhere() -> None:
    shown = repr(settings("", "\nschema_registry: {url: 'http://r', username: u, password: hush}"))
    assert "hush" not in shown


def flat(**members: Any) -> bytes:
    return orjson.dumps(members)


@pytest.mark.parametrize(
    ("value", "event"),
    [
        (
            flat(id=1, a='","__deleted":"x', __deleted="false", __op="u", __pos=POSITION),
            {"before": None, "after": {"id": 1, "a": '","__deleted":"x'}, "op": "u", "cdc": {"pos": POSITION}},
        ),
        (
            flat(id=1, __deleted="true", __op="d", __pos=POSITION),
            {"before": {"id": 1}, "after": None, "op": "d", "cdc": {"pos": POSITION}},
        ),
        (
            flat(__deleted="false", __op="t", __pos=POSITION),
            {"before": None, "after": None, "op": "t", "cdc": {"pos": POSITION}},
        ),
        (
            flat(id=1, __deleted="false", __op="u", __pos=POSITION, __unchanged=["a"], __gone=True),
            {
                "before": None,
                "after": {"id": 1},
                "op": "u",
                "cdc": {"pos": POSITION, "unchanged": ["a"], "gone": True},
            },
        ),
    ],
)
def test_a_flattened_row_is_read_as_an_event(value: bytes, event: dict[str, Any]) -> None:
    read = orjson.loads(FlatReader().value(value))
    assert {name: read[name] for name in event} == event


@pytest.mark.parametrize("value", [b"", b"x", b'{"op":"c"}', b'{"id":1,"__deleted":"fal', b"[]"])
def test_what_is_no_flattened_row_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"flattened|unexpected"):
        FlatReader().value(value)


def test_a_topic_whose_format_changed_is_read_to_its_end() -> None:
    reader = reader_of(settings(), ["debezium-json", "json"])
    assert reader is not None
    assert reader.value(b'{"op":"c"}') == b'{"op":"c"}'
    assert b'"op":"r"' in reader.value(flat(id=1, __deleted="false", __op="r", __pos=POSITION))
    with pytest.raises(ValueError, match="none of the formats"):
        reader.value(b"\0\0\0\0\1")


def test_debezium_s_json_needs_no_reader() -> None:
    assert reader_of(settings(), ["debezium-json", "debezium-json-schemas"]) is None


def test_a_topic_in_avro_is_not_read_without_a_registry() -> None:
    assert not any("Avro" in type(reader).__name__ for reader in all_readers(settings()))
    with pytest.raises(ValueError, match="schema_registry"):
        reader_of(settings(), ["avro"])


def test_a_dead_letter_of_any_format_is_shown_as_an_event() -> None:
    readers = all_readers(settings())
    value = flat(id=1, note="x", __deleted="false", __op="u", __pos=POSITION)
    assert event_of(value_of(value, readers), readers)["after"] == {"id": 1, "note": "x"}
    assert event_of(value_of(b"\0\xff", readers), readers) == "\0\ufffd"
    assert event_of({"schema": {"type": "struct"}, "payload": {"op": "c"}}, readers) == {"op": "c"}
