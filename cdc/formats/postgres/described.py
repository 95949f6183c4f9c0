"""A planned table's Connect schemas, for formats that make something of them. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from cdc.formats.contract import Described

from .planned import TablePlan
from .table_schema import connect_schemas


def described(plan: TablePlan) -> Described:
    """What a format's writer needs of a table."""
    key = [plan.columns[place] for place in plan.key_places]
    schemas = connect_schemas(plan.topic, plan.style, plan.columns[: plan.shown], key)
    return Described(plan.topic, _schema(schemas.key) if key else None, _schema(schemas.value))


def _schema(before_payload: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(before_payload + b"null}")
    return dict(document["schema"])
