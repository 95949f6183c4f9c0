"""What was committed, by a witness of our own: a `test_decoding` slot that `pg_recvlogical` reads. Touches Postgres.

Nothing of the bridge is used: another output plugin, another program, another parser. Make
the slot before the first row, and `transactions` tells everything that was ever committed, in
commit order.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psycopg

PATIENCE = 600.0
"""Seconds for one run of `pg_recvlogical`."""


class _Unchanged:
    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()
"""A value stored out of line that an UPDATE did not touch: the server does not send it."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Args:
        table: `schema.table`; a partition's changes are its root's.
        kind: INSERT, UPDATE, DELETE or TRUNCATE.
        old: the old tuple, as far as the replica identity has it; None if there is none.
        new: the new tuple; None for a DELETE and a TRUNCATE.
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
        end_lsn: the end of its commit record, or the first of the LSNs that were asked about that is not before it.
        changes: in order.
    """

    xid: int
    end_lsn: int
    changes: list[Change] = field(default_factory=list)


class Witness:
    """A slot of our own.

    Args:
        url: of the database.
        slot: its name; made when this is. Where the server can (17 and newer) standbys take it over.
        roots: partition → its root.
        program: `pg_recvlogical`.
        folder: where what was decoded is kept while it is parsed.
        fold: table → what takes (transaction's number, line of an INSERT) of a table that is too large to be kept.
    """

    def __init__(
        self,
        url: str,
        slot: str,
        roots: Mapping[str, str],
        program: Path,
        folder: Path,
        fold: Mapping[str, Callable[[int, str], None]] | None = None,
    ) -> None:
        self._slot, self._roots, self._program, self._folder = slot, roots, program, folder
        self._fold = dict(fold or {})
        self.types: dict[str, dict[str, str]] = {}
        with psycopg.connect(url, autocommit=True) as connection:
            more = ", false, false, true" if connection.info.server_version >= 170000 else ""
            connection.execute(f"SELECT pg_create_logical_replication_slot(%s, 'test_decoding'{more})", [slot])

    def transactions(self, url: str, boundaries: Iterable[int]) -> Iterator[Transaction]:
        """Everything committed since the slot was made or this was last asked; the server forgets it then.

        Args:
            url: of the database, wherever it is now. Nothing must be written there meanwhile.
            boundaries: LSNs; of each transaction it is told which of them is the first that is not before its end.
        """
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        now = number(row[0])
        decoded = self._folder / f"{self._slot}.decoded"
        for boundary in [*sorted(lsn for lsn in set(boundaries) if lsn < now), now]:
            self._decode(url, boundary, decoded)
            with decoded.open(encoding="utf-8", newline="\n") as lines:
                yield from parse(lines, self._roots, self.types, boundary, self._fold)
            decoded.unlink()

    def _decode(self, url: str, until: int, to: Path) -> None:
        """Write down all that was committed up to an LSN; what ends later is cut off, and sent again next time."""
        end = f"{until >> 32:X}/{until & 0xFFFFFFFF:X}"
        command = [str(self._program), "--start", "--no-loop", f"--slot={self._slot}", f"--endpos={end}"]
        command += [f"--file={to}", "--option=skip-empty-xacts=1", "--fsync-interval=0", f"--dbname={url}"]
        environment = {**os.environ, "PGOPTIONS": "-c timezone=UTC -c datestyle=ISO -c wal_sender_timeout=60s"}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        if ran.returncode:
            raise RuntimeError(f"pg_recvlogical failed: {ran.stderr}")


def parse(
    lines: Iterable[str],
    roots: Mapping[str, str],
    types: dict[str, dict[str, str]],
    end_lsn: int,
    fold: Mapping[str, Callable[[int, str], None]] | None = None,
) -> Iterator[Transaction]:
    """Transactions from lines of `test_decoding`.

    Args:
        roots: partition → its root.
        types: learns table → column → type.
        end_lsn: what the transactions' is.
        fold: as for `Witness`; such changes are in no transaction.
    """
    changes: list[Change] = []
    xid = 0
    folded = {f"table {table}: INSERT:": take for table, take in (fold or {}).items()}
    for line in _whole(lines):
        if line.startswith("BEGIN "):
            changes = []
            xid = int(line.split()[1])
        elif line.startswith("COMMIT "):
            yield Transaction(xid, end_lsn, changes)
            changes = []
        elif (take := folded.get(line[: line.find(":", line.find(":") + 1) + 1])) is not None:
            take(xid, line)
        else:
            changes += _changes(line, roots, types)


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """A value may hold line breaks: a line is whole when its quotes are closed."""
    begun = ""
    for line in lines:
        begun += line
        if begun.count("'") % 2 == 0:
            yield begun.rstrip("\n")
            begun = ""


def number(lsn: str) -> int:
    """An LSN as Postgres writes it (`16/B374D848`), or as `cdc.pos` has it (maybe behind `g07.`), as a number."""
    high, low = lsn.rpartition(".")[2].split("/")[:2]
    return int(high, 16) << 32 | int(low, 16)


_HEAD = re.compile(r"table (\S+): (INSERT|UPDATE|DELETE):")
_TRUNCATE = re.compile(r"table ([^:]+): TRUNCATE:")
_COLUMN = re.compile(
    r"""\ (?:"((?:[^"]|"")+)"|([^\s\["]+))       # name
        \[((?:[^\[\]]|\[\])+)\]:                 # type, arrays end in []
        (?:B?'((?:[^']|'')*)'|(\S+))             # quoted, or bare""",
    re.VERBOSE,
)


def _changes(line: str, roots: Mapping[str, str], types: dict[str, dict[str, str]]) -> Sequence[Change]:
    truncated = _TRUNCATE.match(line)
    if truncated is None:
        return [_change(line, roots, types)]
    tables = dict.fromkeys(roots.get(name, name) for name in truncated[1].split(", "))
    return [Change(table, "TRUNCATE", None, None) for table in tables]


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
