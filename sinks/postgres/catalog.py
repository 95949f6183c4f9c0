"""What target tables are there, and making them fit. Touches the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import errors, sql

from cdc.errors import SinkError
from sinks.postgres.offsets import NAME, Offsets
from sinks.postgres.tables import Existing, Target, changes, creation, text

Connection = psycopg.Connection[Any]

LOCK: Final = 0x63646373
"""Advisory lock under which members change tables, one at a time."""

SESSION: Final = (
    "SELECT set_config('search_path', 'pg_catalog', false), set_config('DateStyle', 'ISO, YMD', false), "
    "set_config('TimeZone', 'UTC', false), set_config('IntervalStyle', 'postgres', false), "
    # A stage has no statistics: the planner would take it for large, and read the whole target for a few rows.
    "set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false), "
    # A member that hangs in a transaction must not keep rows locked for ever.
    "set_config('idle_in_transaction_session_timeout', '60s', false)"
)
"""What a session of the sink sets: how values are read must not depend on the server's or the role's settings."""

_EXISTING: Final = """
SELECT (SELECT coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)), '{}') FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT coalesce(jsonb_agg(a.attname), '[]') FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''),
       (SELECT coalesce(jsonb_agg((SELECT jsonb_agg(a.attname) FROM pg_attribute a
                                   WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))), '[]')
        FROM pg_index i
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
          AND i.indpred IS NULL AND i.indexprs IS NULL)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""


def existing(connection: Connection, schema: str, name: str) -> Existing | None:
    """The table as it is, or None."""
    found = connection.execute(_EXISTING, [schema, name]).fetchone()
    if found is None:
        return None
    columns, required, keys = found
    return Existing(columns, frozenset(required), frozenset(frozenset(key) for key in keys))


def normalised(connection: Connection, types: Mapping[str, str]) -> dict[str, str]:
    """Types as the server writes them: `timestamp(3)` is `timestamp(3) without time zone`.

    Args:
        types: column → a type as `tables.wanted` has checked it.
    """
    names = {f"c{number}": column for number, column in enumerate(types)}
    probe = sql.SQL("CREATE TEMP TABLE cdc_probe ({})").format(
        sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(short), sql.SQL(types[column])) for short, column in names.items()
        )
    )
    with connection.transaction(force_rollback=True):
        connection.execute(probe)
        found = connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'pg_temp.cdc_probe'::regclass AND attnum > 0"
        ).fetchall()
    return {names[short]: written for short, written in found}


def statements_for(connection: Connection, target: Target) -> list[sql.Composed]:
    """What has to be run so that the target can be written; nothing is run.

    Raises:
        SinkError: the table cannot be made to fit.
    """
    there = existing(connection, target.schema, target.name)
    return creation(target) if there is None else changes(target, there)


def make_fit(connection: Connection, target: Target, *, create: bool) -> None:
    """Create the table, or add what it lacks.

    Args:
        connection: in autocommit.
        target: with types as `normalised` gives them.
        create: whether we may; else what is missing is an error.

    Raises:
        SinkError: it cannot be made to fit, or we may not; with the SQL for the owner.
    """
    statements = statements_for(connection, target)
    if not statements:
        return
    if not create:
        lacks = f"target table {target.full_name} is not as {target.topic} needs it"
        raise SinkError(lacks, hint=_for_owner(statements))
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            for statement in statements_for(connection, target):  # another member may have been here
                connection.execute(statement)
    except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
        raise SinkError(
            f"target table {target.full_name} cannot be made to fit: {type(error).__name__} ({error.sqlstate})",
            hint=_for_owner(statements) + _or_grant(connection, target.schema),
        ) from None


def create_offsets(connection: Connection, schema: str, *, create: bool) -> None:
    """Create the table of offsets where it is missing, or add what an earlier release's lacks.

    Raises:
        SinkError: we may not; with the SQL for the owner.
    """
    statements = offsets_statements(connection, schema)
    if not statements:
        return
    table = f"target table {schema}.{NAME}"
    if not create:
        raise SinkError(f"{table} is missing, or not as this release needs it", hint=_for_owner(statements))
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            for statement in offsets_statements(connection, schema):
                connection.execute(statement)
    except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
        raise SinkError(
            f"{table} cannot be created: {type(error).__name__} ({error.sqlstate})",
            hint=_for_owner(statements) + _or_grant(connection, schema),
        ) from None


def offsets_statements(connection: Connection, schema: str) -> list[sql.Composed]:
    """What has to be run so that the table of offsets is as it should be; nothing is run."""
    there = existing(connection, schema, NAME)
    return [Offsets.definition(schema)] if there is None else Offsets.additions(schema, there.columns)


def _for_owner(statements: Sequence[sql.Composed]) -> str:
    return "let the owner run: " + " ".join(f"{text(statement)};" for statement in statements)


def _or_grant(connection: Connection, schema: str) -> str:
    grant = sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(
        sql.Identifier(schema), sql.Identifier(connection.info.user)
    )
    return f" Or let the sink do it: {text(grant)};"
