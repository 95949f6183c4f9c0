"""What becomes of a connector while its properties are taken over, one by one. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Variable(str):
    """Text with `${VAR}` in it, which the YAML keeps as it stands."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of a property.

    Args:
        name: of the property, as it was given; it may hold a salt (see `values.shown`).
        words: what is the matter.
    """

    name: str = field(repr=False)
    words: str


@dataclass(slots=True)
class Draft:
    """Sections of our document, as rules fill them.

    Args:
        connector, database, topics, registry: sections; `topics` is its `defaults`.
        table: options of every captured table.
        remarks: what is taken over, but not as it was.
        salts: variable → the salt that it stands for.
    """

    connector: dict[str, Any] = field(default_factory=dict)
    database: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, Any] = field(default_factory=dict)
    registry: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    salts: dict[str, str] = field(default_factory=dict, repr=False)

    def section(self, name: str) -> dict[str, Any]:
        """A section of the connector."""
        found: dict[str, Any] = self.connector.setdefault(name, {})
        return found

    def columns(self, option: str) -> dict[str, Any]:
        """A mapping of columns, of every table."""
        found: dict[str, Any] = self.table.setdefault(option, {})
        return found

    def salt(self, salt: str) -> Variable:
        """What stands for a salt, which is written nowhere."""
        name = next((known for known, held in self.salts.items() if held == salt), f"MASK_SALT_{len(self.salts) + 1}")
        self.salts[name] = salt
        return Variable(f"${{{name}}}")

    def parameters(self) -> dict[str, Any]:
        """libpq's, of the database."""
        found: dict[str, Any] = self.database.setdefault("parameters", {})
        return found
