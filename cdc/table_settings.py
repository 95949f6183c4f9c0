"""What the YAML may say of tables: which, and which columns, masked, truncated, as the key. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import Field, GetJsonSchemaHandler, SecretStr, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from cdc.formats.masks import ALGORITHMS, Digest, hash_digest
from cdc.patterns import is_expression, matches
from cdc.settings import Model

_T = TypeVar("_T")


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


class Asterisks(Model):
    """Mask: every value, NULL too, becomes so many asterisks, as Debezium's `column.mask.with.N.chars`."""

    asterisks: Annotated[int, Field(ge=0, le=100_000)]
    """How many."""


class Hashed(Model):
    """Mask: a salted hash in hexadecimal, cut to the column's length, as Debezium's `column.mask.hash`."""

    hash: str
    """Java's name of the algorithm: `SHA-256`, `SHA-512`, `MD5` …"""
    salt: SecretStr
    """What is hashed before the value."""
    version: Literal[1, 2] = 2
    """`2` hashes the text itself, `1` the text as Java serialises it."""

    @field_validator("hash")
    @classmethod
    def _known(cls, value: str) -> str:
        if value.upper() not in ALGORITHMS:
            raise ValueError(f"must be one of {', '.join(ALGORITHMS)}")
        return value

    def digest(self, length: int | None) -> Digest:
        """What does it; `length` is the column's."""
        return hash_digest(self.hash, self.salt.get_secret_value(), self.version, length)


Mask: TypeAlias = Literal["hmac"] | Constant | Asterisks | Hashed


class ColumnSettings(Model):
    """Which columns of a table are published, and how.

    A column is named, or by a regular expression between slashes, which `schema.table.column` must match.
    """

    columns: ColumnChoice = ColumnChoice()
    """Which columns are published."""
    mask: dict[str, Mask] = Field(default_factory=dict)
    """Column → `hmac` (HMAC-SHA-256 in hex, keyed by the connector's `mask_key`), `{constant: TEXT}`,
    `{asterisks: N}` or `{hash: SHA-256, salt: TEXT}`."""
    truncate: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Column → at most this many characters."""
    message_key: Annotated[list[str], Field(min_length=1)] | None = None
    """Columns of the event key instead of the primary key."""

    def publishes(self, table: str, column: str, key: Collection[str]) -> bool:
        """Whether events of a table ("schema.table") have a column; those of the key always."""
        if column in key:
            return True
        if self.columns.include is not None:
            return any(_means(pattern, table, column) for pattern in self.columns.include)
        return not any(_means(pattern, table, column) for pattern in self.columns.exclude or ())

    def mask_of(self, table: str, column: str) -> Mask | None:
        """A column's mask."""
        return _of(self.mask, table, column)

    def truncated(self, table: str, column: str) -> int | None:
        """How many characters of a column are kept; None: all."""
        return _of(self.truncate, table, column)

    def keys(self, table: str, columns: Iterable[str]) -> list[str]:
        """Those of a table's columns that `message_key` means, in its order; as they are named where it has one."""
        present, found = list(columns), []
        for pattern in self.message_key or ():
            found += [name for name in present if _means(pattern, table, name)] if is_expression(pattern) else [pattern]
        return list(dict.fromkeys(found))

    def expressions(self) -> Iterator[tuple[str, str]]:
        """The settings and what they name columns by, where that is a regular expression."""
        for setting, named in (
            ("columns", (*(self.columns.include or ()), *(self.columns.exclude or ()))),
            ("mask", self.mask),
            ("truncate", self.truncate),
            ("message_key", self.message_key or ()),
        ):
            for pattern in named:
                if is_expression(pattern):
                    yield setting, pattern


def _means(pattern: str, table: str, column: str) -> bool:
    return pattern == column or (is_expression(pattern) and matches(pattern, f"{table}.{column}"))


def _of(settings: Mapping[str, _T], table: str, column: str) -> _T | None:
    """A column's own, or that of the first expression that means it."""
    if column in settings:
        return settings[column]
    return next((value for pattern, value in settings.items() if _means(pattern, table, column)), None)


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
