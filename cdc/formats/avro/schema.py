"""A Connect schema, as JsonConverter writes it, → the Avro schema that Confluent's AvroConverter makes of it. Pure.

The rules are those of `io.confluent.connect.avro.AvroData.fromConnectSchema` with its defaults
(`connect.meta.data` on, `enhanced.avro.schema.support` off): what Avro cannot say stands in properties
`connect.*`; a struct that comes again is named only.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final, TypeAlias

Connect: TypeAlias = dict[str, Any]
"""`{"type": …, "optional": …, "name": …, "fields": […], …}`."""

Avro: TypeAlias = str | dict[str, Any] | list[Any]

_PRIMITIVES: Final = {
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "long",
    "float32": "float",
    "float": "float",
    "float64": "double",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
    "bytes": "bytes",
}

_CONNECT: Final = "org.apache.kafka.connect.data."
DECIMAL: Final = _CONNECT + "Decimal"

_LOGICAL: Final = {
    _CONNECT + "Date": "date",
    _CONNECT + "Time": "time-millis",
    _CONNECT + "Timestamp": "timestamp-millis",
}

_DECIMAL_PRECISION: Final = "connect.decimal.precision"
_DEFAULT_PRECISION: Final = 64

_NAMELESS: Final = "ConnectDefault"
_NAMESPACE: Final = "io.confluent.connect.avro"

ENTRY: Final = "MapEntry"
"""Record of a key and its value; JsonConverter writes an array of both."""


def avro_schema(connect: Connect) -> Avro:
    """The Avro schema of a Connect schema."""
    return _Converter().schema(connect, "")


class _Converter:
    """One schema: records that were written are known by their full name."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def schema(self, connect: Connect, space: str) -> Avro:
        """The Avro schema; a union with null where it is optional, whose first branch the default is of.

        Args:
            space: the namespace around it.
        """
        base = self._base(connect, space)
        if not connect.get("optional"):
            return base
        return ["null", base] if connect.get("default") is None else [base, "null"]

    def _base(self, connect: Connect, space: str) -> Avro:
        match connect["type"]:
            case "struct":
                return self._record(connect, space)
            case "array":
                avro: dict[str, Any] = {"type": "array", "items": self.schema(connect["items"], space)}
            case "map":
                avro = self._map(connect, space)
            case primitive:
                avro = {"type": _PRIMITIVES[primitive]}
        if connect.get("name") == DECIMAL:
            avro |= {"scale": _scale(connect), "precision": _precision(connect)}
        avro |= _described(connect)
        logical = _LOGICAL.get(connect.get("name", ""))
        if connect.get("name") == DECIMAL:
            logical = "decimal"
        if logical is not None:
            avro["logicalType"] = logical
        return str(avro["type"]) if avro.keys() == {"type"} else avro

    def _record(self, connect: Connect, space: str) -> Avro:
        full_name = connect.get("name") or f"{_NAMESPACE}.{_NAMELESS}"
        namespace, _, name = full_name.rpartition(".")
        if full_name in self._known:
            return str(name if namespace == space else full_name)
        self._known.add(full_name)
        avro: dict[str, Any] = {"type": "record", "name": name}
        if namespace != space:
            avro["namespace"] = namespace
        avro["fields"] = [self._field(field, namespace) for field in connect["fields"]]
        return avro | _described({**connect, "type": "struct"})

    def _field(self, connect: Connect, space: str) -> dict[str, Any]:
        field: dict[str, Any] = {"name": connect["field"], "type": self.schema(connect, space)}
        if connect.get("default") is not None:
            field["default"] = _default(connect)
        elif connect.get("optional"):
            field["default"] = None
        return field

    def _map(self, connect: Connect, space: str) -> dict[str, Any]:
        """Avro's keys are strings that are not null; any other map is an array of entries."""
        key, value = connect["keys"], connect["values"]
        if key["type"] == "string" and not key.get("optional"):
            return {"type": "map", "values": self.schema(value, space)}
        entry = {"type": "struct", "name": f"{_NAMESPACE}.{ENTRY}"}
        fields = [{**key, "field": "key"}, {**value, "field": "value"}]
        return {"type": "array", "items": self._record({**entry, "fields": fields}, space)}


def _described(connect: Connect) -> dict[str, Any]:
    """What Avro has no word for, in AvroData's order."""
    described = {
        "connect.doc": connect.get("doc"),
        "connect.version": connect.get("version"),
        "connect.parameters": connect.get("parameters") or None,
        "connect.default": None if connect.get("default") is None else _default(connect),
        "connect.name": connect.get("name"),
        "connect.type": connect["type"] if connect["type"] in ("int8", "int16") else None,
    }
    return {name: value for name, value in described.items() if value is not None}


def _default(connect: Connect) -> Any:
    """A default as Avro's JSON has it; bytes are text of which each character is one byte."""
    default = connect["default"]
    if connect["type"] == "bytes" and isinstance(default, str):
        return b64decode(default).decode("latin-1")
    return default


def _scale(connect: Connect) -> int:
    return int(connect["parameters"]["scale"])


def _precision(connect: Connect) -> int:
    return int(connect["parameters"].get(_DECIMAL_PRECISION, _DEFAULT_PRECISION))
