"""What a PostgreSQL table is made of: the heaps of it and of its partitions. Reads the source."""

from __future__ import annotations

import sqlalchemy as sa

_HEAPS = """
WITH RECURSIVE heap (oid) AS (
    SELECT CAST(:name AS regclass)::oid
    UNION SELECT i.inhrelid FROM heap JOIN pg_inherits i ON i.inhparent = heap.oid
          JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
"""

_FILES = sa.text(f"{_HEAPS} SELECT oid::bigint, coalesce(pg_relation_filenode(oid), 0)::bigint FROM heap ORDER BY 1")

_SIZES = sa.text(
    f"{_HEAPS} SELECT coalesce(sum(pg_relation_size(oid)), 0)::bigint, coalesce(max(pg_relation_size(oid)), 0)::bigint,"
    " current_setting('block_size')::bigint FROM heap"
)


def files(connection: sa.Connection, regclass: str) -> list[list[int]]:
    """OID and file of each heap.

    Args:
        connection: within a transaction.
        regclass: the table's name, quoted.
    """
    return [[int(oid), int(file)] for oid, file in connection.execute(_FILES, {"name": regclass})]


def sizes(connection: sa.Connection, regclass: str) -> tuple[int, int, int]:
    """Bytes of all heaps, bytes of the largest, bytes of a block; see `files`."""
    total, largest, block = connection.execute(_SIZES, {"name": regclass}).one()
    return int(total), int(largest), int(block)
