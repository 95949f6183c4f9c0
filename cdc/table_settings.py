"""What the YAML may say of tables: which, and which columns, masked, truncated, as the key. No I/O."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from cdc.settings import Model


class ColumnChoice(Model):
    """Which columns are published: `include` or `exclude`, not both. Key columns always are."""

    include: list[str] | None = None
    """Only these columns."""
    exclude: list[str] | None = None
    """All columns but these."""

    @model_validator(mode="after")
    def _one_of_both(self) -> ColumnChoice:
        if self.include is not None and self.exclude is not None:
            raise ValueError("give include or exclude, not both")
        return self


class Constant(Model):
    """Mask: every value (NULL stays NULL) becomes this text."""

    constant: str
    """The text."""


class ColumnSettings(Model):
    """Which columns of a table are published, and how."""

    columns: ColumnChoice = ColumnChoice()
    """Which columns are published."""
    mask: dict[str, Literal["hmac"] | Constant] = Field(default_factory=dict)
    """Column → `hmac` (HMAC-SHA-256 in hex, keyed by the connector's `mask_key`) or `{constant: TEXT}`."""
    truncate: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Column → at most this many characters."""
    message_key: Annotated[list[str], Field(min_length=1)] | None = None
    """Columns of the event key instead of the primary key."""

    def publishes(self, column: str, key: Collection[str]) -> bool:
        """Whether events have a column; those of the key always."""
        if column in key:
            return True
        if self.columns.include is not None:
            return column in self.columns.include
        return column not in (self.columns.exclude or ())


def listed_tables(value: Any) -> Any:
    """Accept a list of names, patterns and one-key mappings as well as a mapping to options."""
    if isinstance(value, list):
        tables: dict[str, Any] = {}
        for item in value:
            for name, options in item.items() if isinstance(item, dict) else [(str(item), {})]:
                if name in tables:
                    raise ValueError(f"{name} is given twice")
                tables[name] = options or {}
        return tables
    if isinstance(value, dict):
        return {name: options or {} for name, options in value.items()}
    return value


class ListToo:
    """In the JSON Schema: a list of names and of mappings, as well as the mapping."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        mapping = handler(core)
        options = {"anyOf": [mapping["additionalProperties"], {"type": "null"}]}
        mapping = {**mapping, "additionalProperties": options}
        return {"anyOf": [{"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, mapping]}}, mapping]}
