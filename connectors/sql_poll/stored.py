"""Drivers' values kept as JSON between two pages, to be compared with again. Pure."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from .temporal import NoForm
from .values import MYSQL

_STORED: Final[tuple[tuple[type, str, Callable[[Any], str], Callable[[str], Any]], ...]] = (
    (datetime, "datetime", datetime.isoformat, datetime.fromisoformat),
    (date, "date", date.isoformat, date.fromisoformat),
    (time, "time", time.isoformat, time.fromisoformat),
    (timedelta, "µs", lambda span: str(span // timedelta(microseconds=1)), lambda text: timedelta(0, 0, int(text))),
    (Decimal, "decimal", str, Decimal),
    (bytes, "bytes", lambda value: b64encode(value).decode(), b64decode),
    (UUID, "uuid", str, UUID),
    (int, "integer", str, int),
    (float, "float", repr, float),
)


def stored(value: Any) -> Any:
    """A driver's value as JSON: text, a number, or `{KIND: TEXT}`. Raises: NoForm."""
    if value is None or isinstance(value, (str, bool, dict)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    for type_, name, write, _ in _STORED:
        if isinstance(value, type_):
            return {name: write(value)}
    raise NoForm("it cannot be stored, and so not be paged by")


def bound(value: Any) -> Any:
    """The driver's value again, of what `stored` made of it; any other is left as it is."""
    if not isinstance(value, dict):
        return value
    ((name, written),) = value.items()
    return next(read(written) for _, known, _, read in _STORED if known == name)


class SourceType(sa.types.UserDefinedType[Any]):
    """A column's type where it is compared and paged by: its values are what `stored` makes of them.

    Args:
        sql: the type, as the source writes it.
        zoned: whether its values are moments, and not what some clock showed.
    """

    cache_ok = True

    def __init__(self, sql: str, zoned: bool = False) -> None:
        self.sql, self.zoned = sql, zoned

    def get_col_spec(self, **_: Any) -> str:
        return self.sql

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], Any]:
        return stored

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[Any], Any]:
        # PyMySQL leaves the zone out, and knows its session to be in UTC.
        keep_zone = self.zoned and dialect.name not in MYSQL

        def process(value: Any) -> Any:
            value = bound(value)
            if isinstance(value, datetime):
                if value.tzinfo is not None and not keep_zone:
                    value = value.astimezone(UTC).replace(tzinfo=None)
                return value.isoformat(" ") if dialect.name == "sqlite" else value
            return value

        return process
