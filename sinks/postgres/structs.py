"""Values of more than one part in events → PostgreSQL's text of them: points, geometries, vectors, hstore. Pure."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import orjson

from .checked import decoded, number, text, whole


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise ValueError(f"not an object with {name}")
    return value[name]


def _coordinate(value: Any) -> str:
    return number(value).removesuffix(".0")


def point(value: Any) -> str:
    return f"({_coordinate(_member(value, 'x'))},{_coordinate(_member(value, 'y'))})"


def geometry(value: Any) -> str:
    """PostGIS's own text, whose well-known binary has the reference system in it."""
    return decoded(_member(value, "wkb")).hex().upper()


def _single(value: Any) -> str:
    """As PostgreSQL writes a `real`, since a target may have vectors as text: from 1e+06 on with an exponent."""
    written = _coordinate(value)
    if not 1e6 <= abs(float(value)) < math.inf:
        return written
    digits = Decimal(written).normalize().as_tuple().digits
    return f"{float(value):.{len(digits) - 1}e}"


def vector(value: Any) -> str:
    if not isinstance(value, list):
        raise ValueError("not an array")
    return "[" + ",".join(map(_single, value)) + "]"


def sparse_vector(value: Any) -> str:
    pairs = _member(value, "vector")
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("not pairs of index and element")
    elements = ",".join(f"{whole(index)}:{_single(element)}" for index, element in pairs)
    return f"{{{elements}}}/{whole(_member(value, 'dimensions'))}"


def hstore(value: Any) -> str:
    """A map, or a JSON text of one."""
    entries = orjson.loads(value) if isinstance(value, str) else value
    if not isinstance(entries, dict):
        raise ValueError("not a map")
    return ", ".join(f"{_quoted(key)}=>{'NULL' if entry is None else _quoted(entry)}" for key, entry in entries.items())


def _quoted(value: Any) -> str:
    return '"' + text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
