"""Whose writing transaction is the oldest: new slots wait for it, and WAL is kept for it. Reads the catalog."""

from __future__ import annotations

from dataclasses import dataclass

from .catalog import Session, reading


@dataclass(frozen=True, slots=True)
class Writer:
    """The transaction that has been writing for the longest.

    Args:
        name: `transaction of pid 4711 (psql)`, or `prepared transaction 'x'`.
        seconds: how long; None: our role may not see that.
    """

    name: str
    seconds: float | None


WRITERS_QUERY = """
SELECT format('transaction of pid %s%s', pid, ' (' || nullif(application_name, '') || ')'),
       extract(epoch FROM clock_timestamp() - xact_start)::float8, age(backend_xid) AS age
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL
SELECT format('prepared transaction %L', gid),
       extract(epoch FROM clock_timestamp() - prepared)::float8, age(transaction)
FROM pg_prepared_xacts
ORDER BY age DESC LIMIT 1
"""


def oldest_writer(session: Session, subject: str) -> Writer | None:
    """Whose writing transaction is the oldest; None: nobody writes."""
    with reading(subject):
        row = session.execute(WRITERS_QUERY).fetchone()
    return None if row is None else Writer(row[0], row[1])
