"""Which tables' rows are all published, and how each table is published. Pure.

Stored beside the position, but only when it changes. A table is `pending` until the last row of
its snapshot is published, then `done`; a done table whose publication changed is a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from .catalog import Publication


class Ledger:
    """The tables of one connector, by full name.

    Args:
        stored: what `as_json` gave, from the offsets topic; None at the first start.
    """

    def __init__(self, stored: Mapping[str, Any] | None = None) -> None:
        self._tables: dict[str, dict[str, str]] = dict((stored or {}).get("tables", {}))

    def as_json(self) -> dict[str, Any]:
        return {"tables": dict(self._tables)}

    def done(self) -> set[str]:
        """Tables whose rows are all published."""
        return {name for name, entry in self._tables.items() if entry["state"] == "done"}

    def mark(self, tables: Set[str], state: str, publication: Publication) -> None:
        """These tables are `pending` or `done` now, published as they are."""
        fingerprints = {f"{schema}.{name}": found for (schema, name), found in publication.tables.items()}
        for name in sorted(tables):
            self._tables[name] = {"state": state, "published": fingerprints.get(name, "")}

    def keep(self, captured: Set[str]) -> bool:
        """Forget tables that are no longer captured: back again, they are read again. Whether any was."""
        removed = self._tables.keys() - captured
        for name in removed:
            del self._tables[name]
        return bool(removed)

    def published(self, table: str) -> str | None:
        """How a done table was published when it was captured; None for others."""
        entry = self._tables.get(table)
        return entry["published"] if entry is not None and entry["state"] == "done" else None
