"""JSON values, checked for what they should be. Raises ValueError, naming no value, where they are not. Pure."""

from __future__ import annotations

from base64 import b64decode
from typing import Any


def whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("not a string")
    if "\0" in value:
        raise ValueError("holds a zero byte, which PostgreSQL cannot store")
    return value


def number(value: Any) -> str:
    if type(value) is float or type(value) is int:
        return repr(value)
    if value in ("NaN", "Infinity", "-Infinity"):
        return str(value)
    raise ValueError("not a number")


def decoded(value: Any) -> bytes:
    try:
        return b64decode(text(value), validate=True)
    except ValueError:
        raise ValueError("not base64") from None
