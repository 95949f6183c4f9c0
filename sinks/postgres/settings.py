"""The YAML section of a `postgres` sink. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from cdc import patterns
from cdc.settings import Model, Settings, SinkSettings, Wrong


class SchemaPolicy(Model):
    """What is done to a target table when the source's table changes. `stop`: the sink says what it would take."""

    add: Literal["apply", "stop"] = "apply"
    """A new column: add it."""
    widen: Literal["apply", "stop"] = "apply"
    """A type that grew: widen the column."""
    rename: Literal["apply", "add", "stop"] = "apply"
    """A column with another name: rename it, or add one of that name and leave the old one as it is."""
    drop: Literal["keep", "apply", "stop"] = "keep"
    """A column that is gone: keep it with its values, or drop it."""


class PostgresSinkSettings(SinkSettings):
    """A sink that keeps tables of a PostgreSQL database equal to topics."""

    model_config = ConfigDict(populate_by_name=True)

    type: Literal["postgres"] = "postgres"
    """The kind of sink."""
    database: str
    """A name under `databases:`."""
    target_schema: Annotated[str, Field(alias="schema", min_length=1, max_length=63)] = "public"
    """Schema of the target tables."""
    tables: Annotated[dict[str, str], Field(default_factory=dict)]
    """Topic → target table (`orders` or `sales.orders`), where it is not the source table's name."""
    deletes: Literal["apply", "mark"] = "apply"
    """A deleted row: delete it, or keep it with `_cdc_deleted` set."""
    schema_changes: SchemaPolicy = SchemaPolicy()
    """What is done to target tables when those of the source change."""
    create: bool = True
    """Create target tables and add columns; false: the owner does, and errors say what is missing."""

    def wrongs(self, settings: Settings, name: str) -> Iterable[Wrong]:
        if self.database not in settings.databases and not settings.knows(("databases", self.database)):
            close = get_close_matches(self.database, settings.databases, n=1)
            yield Wrong(
                ("database",),
                f"no database {self.database} under databases:",
                f"did you mean {close[0]}?" if close else None,
            )
        for topic in self.tables:
            if not patterns.matching(self.topics, topic):
                yield Wrong(("tables", topic), "is none of this sink's topics", "add it to topics, or remove it here")
