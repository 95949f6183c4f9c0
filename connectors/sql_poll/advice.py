"""SQL that an owner runs so that PostgreSQL can be polled, and what polling costs. Reads the source."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

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


_FIRES = sa.text("""
SELECT c.relkind NOT IN ('r', 'p') OR EXISTS (
    SELECT FROM pg_trigger t
    WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & :kind = :kind
) FROM pg_class c WHERE c.oid = to_regclass(:name)
""")

BEFORE_ROW_UPDATE, DELETE = 19, 8
"""Bits of `pg_trigger.tgtype`."""


def missing_triggers(connection: sa.Connection, polled: Polled, regclass: str, what: str) -> Iterator[Finding]:
    """What a mode or a log of deletes leans on, and the table has not. Of views it is on what they read."""
    options = polled.options

    def fires(kind: int) -> bool:
        with connection.begin():
            return connection.execute(_FIRES, {"name": regclass, "kind": kind}).scalar() is not False

    if options.mode == "tx_column" and options.column is not None and not fires(BEFORE_ROW_UPDATE):
        message = f"no trigger sets column {options.column} when a row is changed: that is missed"
        yield Finding("warning", what, message, tx_column_sql(polled, options.column, there=True))
    if options.deletes == "log" and not fires(DELETE):
        message = f"no trigger of it fires for deletes: nothing comes to {options.delete_log}"
        yield Finding("warning", what, message, "AFTER DELETE, one that inserts the key of OLD there")


def tx_column_sql(polled: Polled, column: str, *, there: bool = False) -> str:
    """What the owner runs for mode `tx_column`.

    Args:
        there: whether the table has the column.
    """
    return _sql(
        """
        BEGIN;
        """
        + ("" if there else "ALTER TABLE {table} ADD COLUMN {column} xid8;")
        + """
        CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN NEW.{column} := pg_current_xact_id(); RETURN NEW; END$$;
        CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();
        CREATE INDEX ON {table} ({column}, {key});
        COMMIT;
        """,
        table=sql.Identifier(polled.schema, polled.table),
        column=sql.Identifier(column),
        function=sql.Identifier(polled.schema, f"{polled.table}_{column}"),
        trigger=sql.Identifier(f"{polled.table}_{column}"),
        key=sql.SQL(", ").join(map(sql.Identifier, polled.key)),
    )


def delete_log_sql(polled: Polled, types: Mapping[str, str], user: str, *, schema_there: bool = True) -> str:
    """What the owner runs for `deletes: log`.

    Args:
        types: column of the key → its SQL type.
        user: the role that polls.
        schema_there: whether the log's schema is there.
    """
    schema, _, table = (polled.options.delete_log or "").partition(".")
    return _sql(
        ("" if schema_there else "CREATE SCHEMA {schema};\nGRANT USAGE ON SCHEMA {schema} TO {user};")
        + """
        CREATE TABLE {log} ({columns}, _tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
          at timestamptz NOT NULL DEFAULT now());
        CREATE INDEX ON {log} (_tx, {key});
        GRANT SELECT ON {log} TO {user};
        CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
          $$BEGIN INSERT INTO {log} ({key}) VALUES ({old}); RETURN NULL; END$$;
        CREATE TRIGGER {trigger} AFTER DELETE OR UPDATE OF {key} ON {table}
          FOR EACH ROW EXECUTE FUNCTION {function}();
        -- and now and then: DELETE FROM {log} WHERE at < now() - interval '7 days'
        """,
        schema=sql.Identifier(schema),
        user=sql.Identifier(user),
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
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return sql.SQL("\n".join(lines)).format(**parts).as_string()
