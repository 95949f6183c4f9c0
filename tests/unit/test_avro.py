"""Avro of Connect schemas and of events: names, forms, bytes, and back to the same event."""

from __future__ import annotations

import io
import json
from typing import Any

import avro.schema
import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.formats.avro.decode_cy import AvroDecoder
from cdc.formats.avro.encode_cy import AvroEncoder
from cdc.formats.avro.nodes import nodes, sparse
from cdc.formats.avro.registry import differences
from cdc.formats.avro.schema import avro_schema

TOPIC = "shop.public.orders"


def column(field: str, kind: str, optional: bool = True, **more: Any) -> dict[str, Any]:
    return {"type": kind, "optional": optional, **more, "field": field}


ID = column("id", "int32", optional=False)


def envelope(*columns: dict[str, Any]) -> dict[str, Any]:
    row = {"type": "struct", "fields": list(columns), "optional": True, "name": f"{TOPIC}.Value"}
    ours = [column("pos", "string", False), column("unchanged", "array", items={"type": "string", "optional": False})]
    return {
        "type": "struct",
        "optional": False,
        "name": f"{TOPIC}.Envelope",
        "version": 2,
        "fields": [
            {**row, "field": "before"},
            {**row, "field": "after"},
            column("op", "string", False),
            {"type": "struct", "fields": ours, "optional": False, "name": "cdc", "field": "cdc"},
        ],
    }


def event(after: dict[str, Any], **cdc: Any) -> bytes:
    document = {"before": None, "after": after, "op": "c", "cdc": {"pos": "1", **cdc}}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def coders(connect: dict[str, Any], prefix: bytes = b"") -> tuple[AvroEncoder, AvroDecoder, Any]:
    schema = avro_schema(connect)
    return AvroEncoder(prefix, nodes(schema)), AvroDecoder(nodes(schema), sparse(schema)), schema


def test_an_envelope_has_the_schema_that_avrodata_makes() -> None:
    schema = avro_schema(envelope(ID, column("name", "string")))
    assert schema == {
        "type": "record",
        "name": "Envelope",
        "namespace": TOPIC,
        "fields": [
            {
                "name": "before",
                "type": [
                    "null",
                    {
                        "type": "record",
                        "name": "Value",
                        "fields": [
                            {"name": "id", "type": "int"},
                            {"name": "name", "type": ["null", "string"], "default": None},
                        ],
                        "connect.name": f"{TOPIC}.Value",
                    },
                ],
                "default": None,
            },
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "op", "type": "string"},
            {
                "name": "cdc",
                "type": {
                    "type": "record",
                    "name": "cdc",
                    "namespace": "",
                    "fields": [
                        {"name": "pos", "type": "string"},
                        {
                            "name": "unchanged",
                            "type": ["null", {"type": "array", "items": "string"}],
                            "default": None,
                        },
                    ],
                    "connect.name": "cdc",
                },
            },
        ],
        "connect.version": 2,
        "connect.name": f"{TOPIC}.Envelope",
    }


@pytest.mark.parametrize(
    ("connect", "expected"),
    [
        ({"type": "int16"}, {"type": "int", "connect.type": "int16"}),
        ({"type": "float"}, "float"),
        ({"type": "double"}, "double"),
        (
            {"type": "int32", "name": "io.debezium.time.Date", "version": 1},
            {"type": "int", "connect.version": 1, "connect.name": "io.debezium.time.Date"},
        ),
        (
            {"type": "int32", "name": "org.apache.kafka.connect.data.Date", "version": 1},
            {
                "type": "int",
                "connect.version": 1,
                "connect.name": "org.apache.kafka.connect.data.Date",
                "logicalType": "date",
            },
        ),
        (
            {
                "type": "bytes",
                "name": "org.apache.kafka.connect.data.Decimal",
                "version": 1,
                "parameters": {"scale": "2", "connect.decimal.precision": "10"},
            },
            {
                "type": "bytes",
                "scale": 2,
                "precision": 10,
                "connect.version": 1,
                "connect.parameters": {"scale": "2", "connect.decimal.precision": "10"},
                "connect.name": "org.apache.kafka.connect.data.Decimal",
                "logicalType": "decimal",
            },
        ),
        (
            {"type": "string", "name": "io.debezium.data.Enum", "version": 1, "parameters": {"allowed": "a,b"}},
            {
                "type": "string",
                "connect.version": 1,
                "connect.parameters": {"allowed": "a,b"},
                "connect.name": "io.debezium.data.Enum",
            },
        ),
        (
            {"type": "map", "keys": {"type": "string", "optional": False}, "values": {"type": "string"}},
            {"type": "map", "values": "string"},
        ),
    ],
)
def test_a_type_says_what_avro_cannot_in_properties(connect: dict[str, Any], expected: Any) -> None:
    assert avro_schema({"optional": False, **connect}) == expected


def test_a_default_is_of_the_first_branch() -> None:
    row = {"type": "struct", "optional": False, "name": "v", "fields": []}
    fields = [column("a", "int32", True, default=7), column("b", "int32", False, default=7)]
    schema = avro_schema({**row, "fields": fields})
    assert isinstance(schema, dict)
    assert schema["fields"] == [
        {"name": "a", "type": [{"type": "int", "connect.default": 7}, "null"], "default": 7},
        {"name": "b", "type": {"type": "int", "connect.default": 7}, "default": 7},
    ]


VALUES = [
    ("int64", -(2**63)),
    ("int64", 2**63 - 1),
    ("int32", 0),
    ("int16", -1),
    ("boolean", True),
    ("boolean", False),
    ("float", 0.1),
    ("float", 3.4028235e38),
    ("double", 5e-324),
    ("double", "NaN"),
    ("double", "-Infinity"),
    ("string", ""),
    ("string", 'a"b\\c\n\t\x01é😀'),
    ("bytes", ""),
    ("bytes", "AA=="),
    ("bytes", "AAH/"),
    ("string", None),
]


@pytest.mark.parametrize(("kind", "value"), VALUES)
def test_a_value_is_the_same_behind_avro(kind: str, value: Any) -> None:
    encoder, decoder, schema = coders(envelope(ID, column("v", kind)))
    document = event({"id": 1, "v": value})
    data = encoder.encode(document)
    assert json.loads(decoder.decode(data, 0)) == json.loads(document)
    # And a reader of Avro that is not ours reads it, and writes the same bytes.
    again = io.BytesIO()
    parsed = fastavro.parse_schema(schema)
    fastavro.schemaless_writer(again, parsed, fastavro.schemaless_reader(io.BytesIO(data), parsed, None))
    assert again.getvalue() == data


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (column("v", "array", items={"type": "string", "optional": True}), ["a", None, "b,]"]),
        (column("v", "array", items={"type": "int32", "optional": False}), list(range(200))),
        (column("v", "array", items={"type": "int32", "optional": False}), []),
        (
            column("v", "map", keys={"type": "string", "optional": False}, values={"type": "string"}),
            {"k": "v", "l": ""},
        ),
        (
            column("v", "map", keys={"type": "int16", "optional": False}, values={"type": "double"}),
            [[1, 2.5], [3, 4.5]],
        ),
        (
            column(
                "v", "struct", name="io.debezium.data.VariableScaleDecimal", fields=[column("scale", "int32", False)]
            ),
            {"scale": 3},
        ),
    ],
)
def test_what_holds_values_is_the_same_behind_avro(field: dict[str, Any], value: Any) -> None:
    encoder, decoder, schema = coders(envelope(ID, field))
    avro.schema.parse(json.dumps(schema))
    document = event({"id": 1, "v": value})
    assert json.loads(decoder.decode(encoder.encode(document), 0)) == json.loads(document)


@given(st.text(st.characters(codec="utf-8")), st.integers(-(2**63), 2**63 - 1), st.binary())
def test_any_text_number_and_bytes_come_back(text: str, number: int, octets: bytes) -> None:
    from base64 import b64encode

    encoder, decoder, _ = coders(envelope(column("t", "string"), column("n", "int64"), column("b", "bytes")))
    row = {"t": text, "n": number, "b": b64encode(octets).decode()}
    for ascii_only in (True, False):
        document = json.dumps(
            {"before": row, "after": None, "op": "d", "cdc": {"pos": "1"}},
            separators=(",", ":"),
            ensure_ascii=ascii_only,
        ).encode()
        assert json.loads(decoder.decode(encoder.encode(document), 0)) == json.loads(document)


def test_a_member_that_is_left_out_is_null_or_zero() -> None:
    encoder, decoder, _ = coders(envelope(ID, column("a", "string"), column("b", "string", False)))
    document = event({"id": 1}, unchanged=["a", "b"])
    assert json.loads(decoder.decode(encoder.encode(document), 0))["after"] == {"id": 1, "a": None, "b": ""}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}x",
        b'{"after":{"id":"x"}}',
        b'{"before":nul',
        b'{"other":1}',
        b'{"op":"c',
        b'{"op":"\\',
        b'{"op":"\\u12"}',
    ],
)
def test_what_is_no_document_of_the_schema_is_refused_without_its_values(document: bytes) -> None:
    encoder, _, _ = coders(envelope(ID))
    with pytest.raises(ValueError, match="not of its Avro schema, at or behind member"):
        encoder.encode(document)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    _, decoder, _ = coders(envelope(ID, column("a", "array", items={"type": "double"}), column("b", "bytes")))
    try:
        decoder.decode(data, 0)
    except ValueError as error:
        assert "Avro" in str(error) or "UTF-8" in str(error)  # noqa: PT017


def test_differences_are_said_field_by_field() -> None:
    old = avro_schema(envelope(ID, column("a", "string"), column("gone", "int64")))
    new = avro_schema(envelope(ID, column("a", "int64"), column("more", "string", False)))
    assert list(differences(old, new)) == [
        "Value.a was null or string, is null or long",
        "Value.gone is gone",
        "Value.more is new (string, no default)",
    ]
