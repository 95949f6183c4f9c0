"""A column's type as Debezium tells it: name, length and scale, as the JDBC driver makes them of a modifier. Pure.

`ColumnMetaData` and `PostgresType` (Debezium 3.6) over `TypeInfoCache` (pgjdbc 42.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from .relation import RelationColumn
from .types import TypeInfo, base_of

UNLIMITED: Final = 2**31 - 1

_PRECISIONS: Final[Mapping[str, int]] = {
    "int2": 5,
    "int4": 10,
    "oid": 10,
    "int8": 19,
    "float4": 8,
    "float8": 17,
    "char": 1,
    "bool": 1,
    "date": 13,
    "interval": 49,
}
_UNLIMITED_NUMERIC: Final = 131_089
_SCALES: Final[Mapping[str, int]] = {"float4": 8, "float8": 17}
_WIDTHS: Final[Mapping[str, int]] = {"time": 8, "timetz": 14, "timestamp": 22, "timestamptz": 28}
_TEXTS: Final = frozenset({"text", "varchar", "bpchar", "char", "name"})


@dataclass(frozen=True, slots=True)
class SourceType:
    """A column's type.

    Args:
        name: of the type in the catalogue.
        length, scale: as the driver tells them; the length of a text without limit is `UNLIMITED`; a scale may lack.
        is_text: whether it is text to JDBC; enums are.
    """

    name: str
    length: int
    scale: int | None
    is_text: bool

    def parameters(self, column: str) -> dict[str, str]:
        """`PropagateSourceMetadataToSchemaParameter`."""
        prefix = "__debezium.source.column."
        return {
            f"{prefix}type": self.name.upper(),
            f"{prefix}length": str(self.length),
            **({} if self.scale is None else {f"{prefix}scale": str(self.scale)}),
            f"{prefix}name": column,
        }

    @property
    def in_snapshot(self) -> SourceType:
        """What the driver's list of columns says of it, by which schemas of snapshots are made, if it says another."""
        unlimited = self.name == "numeric" and self.length == _UNLIMITED_NUMERIC
        return replace(self, length=0, scale=None) if unlimited else self


def source_type(column: RelationColumn, types: Mapping[int, TypeInfo]) -> SourceType:
    """The type of a column."""
    own = types.get(column.type_oid)
    if own is None:
        return SourceType("", UNLIMITED, 0, is_text=False)
    base, modifier = base_of(column.type_oid, column.type_modifier, types)
    element = types.get(base.element_oid) if base is not None and base.element_oid is not None else base
    name = element.name if element is not None and element.schema == "pg_catalog" else ""
    is_text = base is not None and (base.kind == "e" or (base.schema == "pg_catalog" and base.name in _TEXTS))
    return SourceType(own.name, _length(name, modifier), _scale(name, modifier), is_text)


def _length(name: str, modifier: int) -> int:
    if name in _WIDTHS:
        return _WIDTHS[name] + _fraction_width(modifier)
    match name:
        case "numeric":
            return (modifier - 4) >> 16 & 0xFFFF if modifier >= 4 else _UNLIMITED_NUMERIC
        case "bpchar" | "varchar":
            return modifier - 4 if modifier >= 4 else UNLIMITED
        case "bit" | "varbit":
            return modifier if modifier >= 0 else UNLIMITED
        case _:
            return _PRECISIONS.get(name, UNLIMITED)


def _fraction_width(modifier: int) -> int:
    match modifier:
        case -1:
            return 7
        case 0:
            return 0
        case 1:
            return 3
        case _:
            return modifier + 1


def _scale(name: str, modifier: int) -> int:
    if name in _WIDTHS:
        return modifier if modifier >= 0 else 6
    match name:
        case "numeric":
            return (modifier - 4) & 0xFFFF if modifier >= 4 else 0
        case "interval":
            return modifier & 0xFFFF if modifier >= 0 else 6
        case _:
            return _SCALES.get(name, 0)
