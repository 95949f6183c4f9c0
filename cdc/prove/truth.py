"""What was committed, by a witness of our own: a `test_decoding` slot, read and parsed here. Touches Postgres.

Nothing of the bridge is used: another output plugin, another parser. Make the slot before the
first row, and `transactions` tells everything that was ever committed, in commit order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import psycopg


class _Unchanged:
    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()
"""A value stored out of line that an UPDATE did not touch: the server does not send it."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One row change.

    Args:
        table: `schema.table`; a partition's changes are its root's.
        kind: INSERT, UPDATE or DELETE.
        old: the old tuple, as far as the replica identity has it; None if there is none.
        new: the new tuple; None for a DELETE.
    """

    table: str
    kind: str
    old: Row | None
    new: Row | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One committed transaction.

    Args:
        xid: its number.
        end_lsn: the end of its commit record.
        changes: in order.
    """

    xid: int
    end_lsn: int
    changes: list[Change] = field(default_factory=list)


class Witness:
    """A slot of our own.

    Args:
        url: of the database.
        slot: its name; made when this is.
        roots: partition → its root.
    """

    def __init__(self, url: str, slot: str, roots: Mapping[str, str]) -> None:
        self._url = url
        self._slot = slot
        self._roots = roots
        self.types: dict[str, dict[str, str]] = {}
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [slot])

    def transactions(self) -> list[Transaction]:
        """Everything committed since the slot was made or this was last asked; the server forgets it then."""
        with psycopg.connect(self._url, options="-c timezone=UTC -c datestyle=ISO") as connection:
            cursor = connection.cursor(name="witness")
            cursor.itersize = 20_000
            cursor.execute(
                "SELECT lsn::text, data FROM pg_logical_slot_get_changes(%s, NULL, NULL, 'skip-empty-xacts', '1')",
                [self._slot],
            )
            return list(parse(cursor, self._roots, self.types))


def parse(
    lines: Iterable[tuple[str, str]], roots: Mapping[str, str], types: dict[str, dict[str, str]]
) -> Iterator[Transaction]:
    """Transactions from (LSN, text) of `test_decoding`; `types` learns table → column → type."""
    transaction: Transaction | None = None
    changes: list[Change] = []
    for lsn, line in lines:
        if line.startswith("BEGIN "):
            changes = []
        elif line.startswith("COMMIT "):
            transaction = Transaction(int(line.split()[1]), number(lsn), changes)
            yield transaction
        else:
            changes.append(_change(line, roots, types))


def number(lsn: str) -> int:
    """An LSN as Postgres writes it (`16/B374D848`), or as `cdc.pos` begins, as a number."""
    high, low = lsn.split("/")[:2]
    return int(high, 16) << 32 | int(low, 16)


_HEAD = re.compile(r"table (\S+): (INSERT|UPDATE|DELETE):")
_COLUMN = re.compile(
    r"""\ (?:"((?:[^"]|"")+)"|([^\s\["]+))       # name
        \[((?:[^\[\]]|\[\])+)\]:                 # type, arrays end in []
        (?:B?'((?:[^']|'')*)'|(\S+))             # quoted, or bare""",
    re.VERBOSE,
)


def _change(line: str, roots: Mapping[str, str], types: dict[str, dict[str, str]]) -> Change:
    head = _HEAD.match(line)
    if head is None:
        raise ValueError(f"not a change: {line[:80]}")
    table = roots.get(head[1], head[1])
    known = types.setdefault(table, {})
    kind = head[2]
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    target = old if kind == "DELETE" else new
    at = head.end()
    while at < len(line):
        if line.startswith(" old-key:", at):
            target, at = old, at + len(" old-key:")
        elif line.startswith(" new-tuple:", at):
            target, at = new, at + len(" new-tuple:")
        else:
            column = _COLUMN.match(line, at)
            if column is None:
                raise ValueError(f"not a column at {at}: {line[:80]}")
            quoted_name, plain_name, type_name, quoted, bare = column.groups()
            name = plain_name if quoted_name is None else quoted_name.replace('""', '"')
            known[name] = type_name
            target[name] = _value(type_name, quoted, bare)
            at = column.end()
    return Change(table, kind, old or None, None if kind == "DELETE" else new)


def _value(type_name: str, quoted: str | None, bare: str | None) -> Any:
    if quoted is not None:
        return from_text(type_name, quoted.replace("''", "'"))
    if bare == "null":
        return None
    if bare == "unchanged-toast-datum":
        return UNCHANGED
    return from_text(type_name, bare or "")


def from_text(type_name: str, text: str) -> Any:
    """A value from Postgres' text of it (ISO dates, session in UTC), comparable with `from_event`'s."""
    match type_name:
        case "smallint" | "integer" | "bigint":
            return int(text)
        case "numeric":
            return Decimal(text)
        case "boolean":
            return text == "true"
        case "date":
            return date.fromisoformat(text)
        case "timestamp with time zone":
            return datetime.fromisoformat(text + ":00" if re.search(r"[+-]\d\d$", text) else text).astimezone(UTC)
        case "text[]":
            return text.strip("{}").split(",") if text != "{}" else []
        case "text" | "jsonb":
            return text
    raise NotImplementedError(f"the load has no type {type_name}")


def from_event(type_name: str, value: Any) -> Any:
    """The same value from an event's JSON (Debezium's forms)."""
    if value is None:
        return None
    match type_name:
        case "numeric":
            return Decimal(value)
        case "date":
            return date.fromordinal(date(1970, 1, 1).toordinal() + value)
        case "timestamp with time zone":
            return datetime.fromisoformat(value).astimezone(UTC)
    return value
