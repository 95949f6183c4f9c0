"""Unchanged TOAST values, read from the table and encoded again. Touches the database, reads only.

The server leaves out large values that an UPDATE did not touch. Where events must be whole
(a compacted topic may lose the event that held them), the current value is read by key and
the event says so: it may be newer than the event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.generators import execute
from psycopg.pq import DiagnosticField, ExecStatus

from cdc.errors import SourceError, SourceUnavailable
from cdc.event import Record
from cdc.formats.debezium_json import Transaction

from .catalog import Session, reading
from .replication import PASSING
from .tables import PlannedTable

KEYS_PER_QUERY = 32
DROPPED = ("42703", "42P01")
"""SQLSTATEs of a column or table that is no longer there: there is nothing to read."""

Key = tuple[bytes | None, ...]
Row = dict[int, bytes | None]

GONE: Row = {}
"""A row that is no longer there: its event says so, and a later one ends it."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A row that was encoded without its unchanged values.

    Args:
        index, count: its records in the batch.
        table, data, lsn, ordinal, transaction: what it takes to encode it again.
    """

    index: int
    count: int
    table: PlannedTable
    data: bytes
    lsn: int
    ordinal: int
    transaction: Transaction


def resolve(
    connection: Session,
    pending: Sequence[Pending],
    records: list[Record],
    header: int,
    subject: str,
) -> int:
    """Replace the records of pending rows by ones with the values that the table has now.

    A row that is gone is flagged (`cdc.gone`): a later event ends it.

    Returns: bytes of the records that were made again.
    Raises: SourceUnavailable, SourceError: the table cannot be read.
    """
    size = 0
    by_table: dict[int, list[Pending]] = defaultdict(list)
    for row in pending:
        by_table[id(row.table)].append(row)
    for rows in by_table.values():
        for start in range(0, len(rows), KEYS_PER_QUERY):
            size += _resolve_some(connection, rows[start : start + KEYS_PER_QUERY], records, header, subject)
    return size


def _resolve_some(
    connection: Session,
    rows: Sequence[Pending],
    records: list[Record],
    header: int,
    subject: str,
) -> int:
    table = rows[0].table
    encoder = table.encoder
    keys = [tuple(encoder.key_text(row.data, header)) for row in rows]
    columns = sorted({column for row in rows for column in encoder.unchanged_columns(row.data, header)})
    found = _current_values(connection, table, list(dict.fromkeys(keys)), columns, subject)
    if found is None:
        return 0
    size = 0
    for row, key in zip(rows, keys, strict=True):
        values = found.get(key, GONE)
        again: list[Record] = []
        encoder.begin(row.transaction)
        size += encoder.encode(row.data, header, row.lsn, row.ordinal, again, values)
        if table.append:
            again = [(topic, k, value, partition, 0, headers) for topic, k, value, partition, _, headers in again]
        records[row.index : row.index + row.count] = again
    table.begun = None
    return size


def _of_those_left(
    connection: Session, table: PlannedTable, keys: Sequence[Key], columns: Sequence[int], subject: str
) -> dict[Key, Row] | None:
    """The same without the columns that are no longer there; None if none is."""
    found: dict[Key, Row] | None = None
    for column in columns if len(columns) > 1 else ():
        values = _current_values(connection, table, keys, [column], subject)
        if values is not None:
            found = {} if found is None else found
            for key, row in values.items():
                found.setdefault(key, {}).update(row)
    return found


def _current_values(
    connection: Session,
    table: PlannedTable,
    keys: Sequence[Key],
    columns: Sequence[int],
    subject: str,
) -> dict[Key, Row] | None:
    """The text of `columns` (indexes into the relation's) for the keys that exist, as pgoutput would send it.

    None: a column or the table was dropped.
    """
    relation = table.relation
    key = sql.SQL(", ").join(sql.Identifier(name) for name in table.plan.key)
    numbered = iter(range(1, len(keys) * len(table.plan.key) + 1))
    listed = sql.SQL(", ").join(
        sql.SQL("({})").format(sql.SQL(", ").join(sql.SQL(f"${next(numbered)}") for _ in table.plan.key)) for _ in keys
    )
    wanted = sql.SQL(", ").join(sql.Identifier(relation.columns[column].name) for column in columns)
    query = sql.SQL("SELECT {}, {} FROM {} WHERE ({}) IN ({})").format(
        key, wanted, sql.Identifier(relation.schema, relation.name), key, listed
    )
    # Not through psycopg's adapters: the server's own text is what pgoutput would have sent.
    with reading(subject):
        connection.pgconn.send_query_params(query.as_bytes(connection), [part for one in keys for part in one])
        (result,) = connection.wait(execute(connection.pgconn))
    if result.status != ExecStatus.TUPLES_OK:
        sqlstate = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
        if sqlstate in DROPPED:
            return _of_those_left(connection, table, keys, columns, subject)
        what = f"{subject}: unchanged values of {table.full_name} cannot be read (SQLSTATE {sqlstate})"
        if sqlstate[:2] in PASSING:
            raise SourceUnavailable(what)
        raise SourceError(what, hint=f"GRANT SELECT ON {relation.schema}.{relation.name}, or set unchanged: mark")
    width = len(table.plan.key)
    found: dict[Key, Row] = {}
    for row in range(result.ntuples):
        at = tuple(result.get_value(row, column) for column in range(width))
        found[at] = {column: result.get_value(row, width + place) for place, column in enumerate(columns)}
    return found
