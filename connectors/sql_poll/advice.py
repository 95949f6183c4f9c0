"""SQL that an owner runs so that PostgreSQL can be polled, and what polling costs. Reads the source."""

from __future__ import annotations

import time
from collections.abc import Mapping

import sqlalchemy as sa
from psycopg import sql

from cdc.plugins import Finding

from . import heaps
from .rows import Polled

SAMPLE_BLOCKS = 4096
"""So much of a table is read to tell how long all of it takes."""


def scan_note(connection: sa.Connection, regclass: str, what: str) -> Finding:
    """How long a poll that reads all of a PostgreSQL table takes, measured on some of it."""
    with connection.begin():
        size, _, block = heaps.sizes(connection, regclass)
        began = time.monotonic()
        bound: sa.ColumnElement[object] = sa.literal_column(f"'({SAMPLE_BLOCKS},0)'::tid")
        table = sa.text(regclass)
        connection.execute(
            sa.select(sa.func.count()).select_from(table).where(sa.literal_column("ctid") < bound)
        ).scalar_one()
        seconds = time.monotonic() - began
    sample = SAMPLE_BLOCKS * block
    return Finding(
        "note",
        what,
        f"each poll at which something has changed reads all of it: {size / 1e6:,.0f} MB, about "
        f"{seconds * max(1.0, size / sample):.1f} s by {min(size, sample) / 1e6:,.0f} MB that were read now",
        "mode: tx_column, if a column and a trigger may be added",
    )


def tx_column_sql(polled: Polled, column: str) -> str:
    """What the owner runs for mode `tx_column`."""
    return _sql(
        """
        BEGIN;
        ALTER TABLE {table} ADD COLUMN {column} xid8;
        CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN NEW.{column} := pg_current_xact_id(); RETURN NEW; END$$;
        CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();
        CREATE INDEX ON {table} ({column}, {key});
        COMMIT
        """,
        table=sql.Identifier(polled.schema, polled.table),
        column=sql.Identifier(column),
        function=sql.Identifier(polled.schema, f"{polled.table}_{column}"),
        trigger=sql.Identifier(f"{polled.table}_{column}"),
        key=sql.SQL(", ").join(map(sql.Identifier, polled.key)),
    )


def delete_log_sql(polled: Polled, types: Mapping[str, str]) -> str:
    """What the owner runs for `deletes: log`.

    Args:
        types: column of the key → its SQL type.
    """
    schema, _, table = (polled.options.delete_log or "").partition(".")
    return _sql(
        """
        CREATE TABLE {log} ({columns}, _tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
          at timestamptz NOT NULL DEFAULT now());
        CREATE INDEX ON {log} (_tx, {key});
        CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
          $$BEGIN INSERT INTO {log} ({key}) VALUES ({old}); RETURN NULL; END$$;
        CREATE TRIGGER {trigger} AFTER DELETE OR UPDATE OF {key} ON {table}
          FOR EACH ROW EXECUTE FUNCTION {function}();
        -- and now and then: DELETE FROM {log} WHERE at < now() - interval '7 days'
        """,
        log=sql.Identifier(schema, table),
        table=sql.Identifier(polled.schema, polled.table),
        function=sql.Identifier(schema, f"{table}_write"),
        trigger=sql.Identifier(f"{table}_write"),
        columns=sql.SQL(", ").join(
            sql.SQL("{} {} NOT NULL").format(sql.Identifier(name), sql.SQL(types[name])) for name in polled.key
        ),
        key=sql.SQL(", ").join(map(sql.Identifier, polled.key)),
        old=sql.SQL(", ").join(sql.SQL("OLD.{}").format(sql.Identifier(name)) for name in polled.key),
    )


def _sql(text: str, **parts: sql.Composable) -> str:
    lines = [line.strip() for line in text.strip().splitlines()]
    return sql.SQL("\n".join(lines)).format(**parts).as_string()
