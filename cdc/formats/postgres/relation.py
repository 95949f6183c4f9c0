"""A table's columns in the order in which its rows come. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A published column; `in_key` marks those of the replica identity (all of them under FULL)."""

    name: str
    type_oid: int
    type_modifier: int
    in_key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as its next row messages show it.

    Args:
        oid: what row messages name it by.
        schema, name: as in the catalogue, unquoted.
        replica_identity: `d` default, `n` nothing, `f` full, `i` index.
        columns: in the order of the row messages.
    """

    oid: int
    schema: str
    name: str
    replica_identity: str
    columns: tuple[RelationColumn, ...]
