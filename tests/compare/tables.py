"""Random tables, and the SQL that fills and changes them. Pure; all from one `Random`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.compare.kinds import Kind, random_key, random_kind

_NAMES: Final = ("id", "name", "Mixed", "with space", "dot.ted", "ünï", "a$b", "order", "x_1", "quo'te", "UPPER")


@dataclass(slots=True)
class Table:
    """A table.

    Args:
        name: in schema public.
        create: the SQL that makes it and its first rows.
        stream: the SQL that changes it while both connectors stream.
    """

    name: str
    create: list[str] = field(default_factory=list)
    stream: list[str] = field(default_factory=list)

    def sql(self) -> str:
        """All of it, to run by hand."""
        return ";\n".join([*self.create, "-- from here on it is streamed", *self.stream]) + ";"

    def topics(self, prefix: str) -> set[str]:
        """Its topic, as it is or as Debezium makes one fit for Kafka."""
        return {f"{prefix}.public.{name}" for name in (self.name, re.sub(r"[^a-zA-Z0-9._-]", "_", self.name))}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: Kind
    options: str
    required: bool

    def literal(self, random: Random, *, needed: bool = False) -> str:
        if not (needed or self.required) and random.random() < 0.15:
            return "NULL"
        return literal(self.kind.value(random))


def literal(text: str) -> str:
    """A text as a string constant, whose type its place decides."""
    plain = "'" + text.replace("'", "''") + "'"
    return "E" + plain.replace("\\", "\\\\") if "\\" in text else plain


def random_table(random: Random, number: int) -> Table:
    """A table of a few columns: a key or none, any replica identity, some rows, and changes of them."""
    table = Table(f"t{number}" if random.random() < 0.9 else f'T {number}"é')
    names = random.sample(_NAMES, k=random.randint(0, 3)) + [f"c{place}" for place in range(6)]
    columns = [_column(random, name) for name in names[: random.randint(1, 7)]]
    keys = [] if random.random() < 0.1 else _keys(random)
    columns = keys + columns if random.random() < 0.8 else columns + keys
    definitions = [f"{quoted(column.name)} {column.kind.sql}{column.options}" for column in columns]
    if keys:
        definitions.append(f"PRIMARY KEY ({', '.join(quoted(column.name) for column in keys)})")
    name = quoted(table.name)
    table.create.append(f"CREATE TABLE {name} ({', '.join(definitions)})")
    if not keys or random.random() < 0.25:
        table.create.append(f"ALTER TABLE {name} REPLICA IDENTITY FULL")
    if random.random() < 0.1:
        table.create += [f"COMMENT ON TABLE {name} IS 'about it'", _comment(random, name, columns)]
    rows = _Rows(random, name, columns, keys)
    table.create += [rows.insert() for _ in range(random.choice((0, 1, 2, 3)))]
    table.stream += _changes(random, rows)
    return table


def quoted(name: str) -> str:
    """A name as SQL reads it."""
    return '"' + name.replace('"', '""') + '"'


def _column(random: Random, name: str) -> _Column:
    kind = random_kind(random)
    required = kind.required and random.random() < 0.25
    options = " NOT NULL" if required else ""
    if random.random() < 0.15:
        options += f" DEFAULT {literal(kind.value(random))}"
    return _Column(name, kind, options, required)


def _keys(random: Random) -> list[_Column]:
    kinds = [random_key(random) for _ in range(random.choice((1, 1, 1, 2)))]
    return [_Column(f"k{place}", kind, "", True) for place, kind in enumerate(kinds)]


def _comment(random: Random, table: str, columns: list[_Column]) -> str:
    return f"COMMENT ON COLUMN {table}.{quoted(random.choice(columns).name)} IS 'what it is'"


class _Rows:
    """Statements on rows of one table; keys that are in use are remembered, so that none of them fails."""

    def __init__(self, random: Random, table: str, columns: list[_Column], keys: list[_Column]) -> None:
        self._random = random
        self._table = table
        self._columns = columns
        self._keys = keys
        self._used: list[list[str]] = []

    def insert(self) -> str:
        key = self._fresh()
        if key is None:
            return self.update()
        values = dict(zip((column.name for column in self._keys), key, strict=True))
        chosen = [c for c in self._columns if c.required or self._random.random() < 0.9]
        row = [values.get(column.name) or column.literal(self._random) for column in chosen]
        names = ", ".join(quoted(column.name) for column in chosen)
        if not chosen:
            return f"INSERT INTO {self._table} DEFAULT VALUES"
        return f"INSERT INTO {self._table} ({names}) VALUES ({', '.join(row)}) ON CONFLICT DO NOTHING"

    def update(self) -> str:
        others = [column for column in self._columns if column not in self._keys]
        changed = self._random.sample(others, self._random.randint(1, len(others)))
        sets = [f"{quoted(column.name)} = {column.literal(self._random)}" for column in changed]
        return f"UPDATE {self._table} SET {', '.join(sets)}{self._where()}"

    def change_key(self) -> str:
        key = self._fresh() if self._keys and self._used else None
        if key is None:
            return self.update()
        sets = [f"{quoted(c.name)} = {value}" for c, value in zip(self._keys, key, strict=True)]
        where = self._where(self._used[-2])
        self._used.remove(self._used[-2])
        return f"UPDATE {self._table} SET {', '.join(sets)}{where}"

    def delete(self) -> str:
        return f"DELETE FROM {self._table}{self._where()}"

    def _fresh(self) -> list[str] | None:
        for _ in range(5):
            key = [column.literal(self._random, needed=True) for column in self._keys]
            if key not in self._used:
                self._used.append(key)
                return key
        return None if self._keys else []

    def _where(self, key: list[str] | None = None) -> str:
        """One row by its key, or all rows."""
        if not self._keys or not self._used:
            return ""
        key = key or self._random.choice(self._used)
        tests = [f"{quoted(c.name)} = {value}" for c, value in zip(self._keys, key, strict=True)]
        return f" WHERE {' AND '.join(tests)}"


def _changes(random: Random, rows: _Rows) -> list[str]:
    """Inserts, updates, changes of keys and deletes; some of them in one transaction, some rolled back."""
    statements = [rows.insert() for _ in range(random.choice((1, 2)))]
    actions = (rows.insert, rows.update, rows.update, rows.change_key, rows.delete)
    statements += [random.choice(actions)() for _ in range(random.randint(2, 5))]
    if random.random() < 0.4:
        start = random.randrange(len(statements))
        statements[start:] = ["BEGIN", *statements[start:], random.choice(("COMMIT", "COMMIT", "ROLLBACK"))]
    return statements
