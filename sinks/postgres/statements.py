"""The statements that write a batch to a target table. Pure.

Each compares positions: what is in the table and not older stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from psycopg import sql

from sinks.postgres.decode import ARRIVED
from sinks.postgres.tables import DELETED, OP, POS, Target

_COMMA = sql.SQL(", ")


def stage(target: Target, name: str, columns: Sequence[str]) -> sql.Composed:
    """A temporary table with some of the target's columns, emptied at each commit."""
    return sql.SQL("CREATE TEMP TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA").format(
        sql.Identifier(name), _names(columns), target.identifier
    )


def copy(name: str, columns: Sequence[str]) -> sql.Composed:
    """The COPY into a stage."""
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier("pg_temp", name), _names(columns))


def upsert(target: Target, name: str, columns: Sequence[str]) -> sql.Composed:
    """Staged rows into a table with a key; those that are older than what is there change nothing.

    The key is set too: of two equal ones that are spelled differently (1.0 and 1.00) the newer stays.
    """
    assignments = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in columns]
    if target.mark:
        assignments.append(sql.SQL("{} = false").format(sql.Identifier(DELETED)))
    return sql.SQL(
        "INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM {stage} "
        "ON CONFLICT ({key}) DO UPDATE SET {assignments} WHERE {newer}"
    ).format(
        table=target.identifier,
        columns=_names(columns),
        stage=sql.Identifier("pg_temp", name),
        key=_names(target.key),
        assignments=_COMMA.join(assignments),
        newer=_newer("excluded"),
    )


def update(target: Target, name: str, columns: Sequence[str]) -> sql.Composed:
    """Staged rows over rows that are there; columns that are not staged keep their values."""
    assignments = [sql.SQL("{0} = s.{0}").format(sql.Identifier(column)) for column in columns]
    if target.mark:
        assignments.append(sql.SQL("{} = false").format(sql.Identifier(DELETED)))
    return sql.SQL("UPDATE {table} t SET {assignments} FROM {stage} s WHERE {same} AND {newer}").format(
        table=target.identifier,
        assignments=_COMMA.join(assignments),
        stage=sql.Identifier("pg_temp", name),
        same=_same_key(target),
        newer=_newer("s"),
    )


def missing(target: Target, name: str) -> sql.Composed:
    """One staged row, if any, that the target does not have."""
    return sql.SQL("SELECT 1 FROM {stage} s WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same}) LIMIT 1").format(
        stage=sql.Identifier("pg_temp", name), table=target.identifier, same=_same_key(target)
    )


def append(target: Target, name: str, columns: Sequence[str]) -> sql.Composed:
    """Staged rows into a table without key."""
    return sql.SQL("INSERT INTO {} ({columns}) SELECT {columns} FROM {}").format(
        target.identifier, sql.Identifier("pg_temp", name), columns=_names(columns)
    )


def delete(target: Target, name: str) -> sql.Composed:
    """Delete, or mark, the rows of staged keys, unless they are newer.

    Strictly newer than the row: both events of a key change have one position, and where two
    spellings of a key are one row of the target (1.0 and 1.00), the create must stand.
    """
    if target.mark:
        query = (
            "UPDATE {table} t SET {deleted} = true, {pos} = CASE WHEN s.{pos} = '~' THEN t.{pos} ELSE s.{pos} END "
            "FROM {stage} s WHERE {same} AND {newer}"
        )
    else:
        query = "DELETE FROM {table} t USING {stage} s WHERE {same} AND {newer}"
    return sql.SQL(query).format(
        table=target.identifier,
        deleted=sql.Identifier(DELETED),
        pos=sql.Identifier(POS),
        stage=sql.Identifier("pg_temp", name),
        same=_same_key(target),
        newer=_newer("s"),
    )


def truncate(target: Target) -> sql.Composed:
    """Delete, or mark, every row older than a position (one parameter, twice for a mark)."""
    if target.mark and target.key:
        query = "UPDATE {table} SET {deleted} = true, {pos} = %(pos)s WHERE {pos} < %(pos)s"
    else:
        query = "DELETE FROM {table} WHERE {pos} < %(pos)s"
    return sql.SQL(query).format(table=target.identifier, deleted=sql.Identifier(DELETED), pos=sql.Identifier(POS))


def unmark(target: Target) -> sql.Composed:
    """Take the position from every row: any event overwrites it then, and `sweep` takes away what none has."""
    return sql.SQL("UPDATE {table} SET {pos} = '' WHERE {pos} <> ''").format(
        table=target.identifier, pos=sql.Identifier(POS)
    )


def empty(target: Target) -> sql.Composed:
    """Delete every row."""
    return sql.SQL("DELETE FROM {}").format(target.identifier)


def sweep(target: Target) -> sql.Composed:
    """Delete, or mark, every row without position."""
    if target.mark and target.key:
        query = "UPDATE {table} SET {deleted} = true WHERE {pos} = '' AND NOT {deleted}"
    else:
        query = "DELETE FROM {table} WHERE {pos} = ''"
    return sql.SQL(query).format(table=target.identifier, deleted=sql.Identifier(DELETED), pos=sql.Identifier(POS))


def staged_columns(target: Target, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of a stage: the row's own, its position, and without a key its op."""
    return (*columns, POS) if target.key else (*columns, POS, OP)


def _newer(event: LiteralString) -> sql.Composed:
    """Whether an event is newer than the row; see `decode.is_older`."""
    query = "(t.{pos} < {event}.{pos} OR (t.{pos} ^@ {arrived} AND NOT {event}.{pos} ^@ {arrived}))"
    arrived = sql.Literal(ARRIVED.decode())
    return sql.SQL(query).format(pos=sql.Identifier(POS), event=sql.SQL(event), arrived=arrived)


def _same_key(target: Target) -> sql.Composed:
    return sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in target.key)


def _names(columns: Sequence[str]) -> sql.Composed:
    return _COMMA.join(map(sql.Identifier, columns))
