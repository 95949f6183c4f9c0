"""Debezium's JSON → Avro behind a schema's id, and back. Asks the registry once for each schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from cdc.formats.contract import Described

from .decode_cy import AvroDecoder
from .encode_cy import AvroEncoder
from .nodes import nodes, sparse
from .registry import Registry
from .schema import avro_schema

MAGIC: Final = b"\0"
"""What Confluent's wire format begins with; the schema's id follows, four bytes, the highest first."""

HEAD: Final = 5

_UNCHANGED: Final = b'"unchanged":['


class AvroWriter:
    """Writes one table's records; registers its schemas with the first of them.

    Subjects are Confluent's `TopicNameStrategy`: `{topic}-key` and `{topic}-value`.
    """

    def __init__(self, registry: Registry, table: Described) -> None:
        self._registry, self._table = registry, table
        self.key: Callable[[bytes], bytes] = self._first_key
        self.value: Callable[[bytes], bytes] = self._first_value

    def _first_key(self, json: bytes) -> bytes:
        assert self._table.key is not None
        self.key = self._encoder("key", self._table.key).encode
        return self.key(json)

    def _first_value(self, json: bytes) -> bytes:
        self.value = self._encoder("value", self._table.value).encode
        return self.value(json)

    def _encoder(self, part: str, connect: Mapping[str, Any]) -> AvroEncoder:
        schema = avro_schema(dict(connect))
        schema_id = self._registry.register(f"{self._table.topic}-{part}", schema)
        return AvroEncoder(MAGIC + schema_id.to_bytes(HEAD - 1, "big"), nodes(schema))


class AvroReader:
    """Reads records by the schemas that their ids name."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._decoders: dict[bytes, AvroDecoder] = {}

    def key(self, data: bytes) -> bytes:
        return self._decoder(data).decode(data, HEAD)

    def value(self, data: bytes) -> bytes:
        document = self._decoder(data).decode(data, HEAD)
        ours = document.rfind(b',"cdc":{')
        return _without_unchanged(document) if ours > 0 and document.find(_UNCHANGED, ours) > 0 else document

    def _decoder(self, data: bytes) -> AvroDecoder:
        head = data[:HEAD]
        decoder = self._decoders.get(head)
        if decoder is None:
            if len(head) < HEAD or not head.startswith(MAGIC):
                raise ValueError("not Avro behind a schema's id")
            schema = self._registry.schema(int.from_bytes(head[1:], "big"))
            decoder = self._decoders[head] = AvroDecoder(nodes(schema), sparse(schema))
        return decoder


def _without_unchanged(document: bytes) -> bytes:
    """Columns that `cdc.unchanged` names are left out of `after`, where Avro has to have something."""
    event = orjson.loads(document)
    for name in event["cdc"]["unchanged"]:
        event["after"].pop(name, None)
    return orjson.dumps(event)
