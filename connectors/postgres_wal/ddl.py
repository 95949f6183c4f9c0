"""DDL in the stream: the event triggers that tell it, and what their messages say. Pure.

A function in the source writes each statement about tables as a transactional logical message. So it is in the
stream at its place, and one that was rolled back is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from pydantic import BaseModel, Field

from cdc.errors import ProtocolError
from cdc.schemas import ChangedTable, Statement

from .pgoutput import Message, lsn_text

PREFIX: Final = "cdc.ddl"
"""Of the messages; such are never published as messages."""

FUNCTION: Final = "cdc_ddl"
TRIGGERS: Final = {"cdc_ddl": "ddl_command_end", "cdc_ddl_drop": "sql_drop"}
"""Event triggers by name, and the event of each."""

TEXT_BYTES: Final = 64 * 1024
"""Of a statement's text so much is published, in UTF-8."""

TABLES: Final = 500
"""A record names at most so many tables, so that it stays below what Kafka takes."""

_TRIGGER = "\n".join(
    f"DROP EVENT TRIGGER IF EXISTS {name};\n"
    f"CREATE EVENT TRIGGER {name} ON {event} EXECUTE FUNCTION public.{FUNCTION}();"
    for name, event in TRIGGERS.items()
)

SETUP: Final = f"""\
CREATE OR REPLACE FUNCTION public.{FUNCTION}() RETURNS event_trigger
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
-- STABLE, so that its queries see the catalog as it was before the statement: the names that tables had.
DECLARE
  tables jsonb;
BEGIN
  IF tg_event = 'sql_drop' THEN  -- columns that DROP TYPE or DROP SCHEMA took along, too
    SELECT jsonb_agg(DISTINCT jsonb_build_object('oid', objid::bigint, 'partition', relispartition,
        'before', address_names[1:2],
        'now', CASE object_type WHEN 'table column' THEN address_names[1:2] END)) INTO tables
    FROM pg_event_trigger_dropped_objects() LEFT JOIN pg_class c ON c.oid = objid
    WHERE NOT is_temporary AND CASE object_type WHEN 'table' THEN original OR normal
                                                WHEN 'table column' THEN tg_tag <> 'ALTER TABLE' END;
  ELSE
    SELECT jsonb_agg(DISTINCT jsonb_build_object('oid', objid::bigint, 'partition', pg_partition_root(objid) <> objid,
        'before', CASE WHEN relname IS NOT NULL THEN ARRAY[nspname, relname] END,
        'now', (pg_identify_object_as_address('pg_class'::regclass, objid, 0)).object_names)) INTO tables
    FROM (SELECT objid FROM pg_event_trigger_ddl_commands()
          WHERE object_type IN ('table', 'table column') AND schema_name <> 'pg_temp'
          UNION SELECT c.oid FROM pg_event_trigger_ddl_commands() JOIN pg_class c ON relnamespace = objid
          WHERE tg_tag = 'ALTER SCHEMA' AND relkind IN ('r', 'p')) found
    LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = relnamespace) ON c.oid = objid;
  END IF;
  IF tables IS NOT NULL THEN
    PERFORM pg_logical_emit_message(true, '{PREFIX}', convert_to(json_build_object('command', tg_tag,
      'tables', tables, 'cut', length(current_query()) > {TEXT_BYTES}, 'text', left(current_query(), {TEXT_BYTES})
    )::text, 'UTF8'));
    -- A message counts from its end on: a row that begins there, outside of this subtransaction, could come before it.
    PERFORM pg_logical_emit_message(true, '{PREFIX}', '');
  END IF;
EXCEPTION WHEN OTHERS THEN  -- no statement fails because of its text
  RAISE WARNING '{FUNCTION}: the text of this statement is not told: %', sqlerrm;
END $$;
{_TRIGGER}"""
"""The SQL that makes function and triggers, or makes them anew; for a superuser."""

_Name = Annotated[str, Field(max_length=256)]
_Full = tuple[_Name, _Name]


class _Table(BaseModel):
    oid: Annotated[int, Field(ge=0, lt=2**32)]
    partition: bool | None
    before: _Full | None
    now: _Full | None


class _Message(BaseModel):
    command: _Name
    tables: list[_Table]
    text: str
    cut: bool


def separates(message: Message) -> bool:
    """Whether it only keeps rows apart from the message before it; on which side of a row it comes is not certain."""
    return message.prefix == PREFIX and not message.content


def statements(
    content: bytes, captures: Callable[[str, bool], bool], *, position: str, number: int, lsn: int, ts_ms: int
) -> list[Statement]:
    """What is published of one message: nothing where it is about no captured table.

    Args:
        content: the message's; any role of the source may have written it.
        captures: a table's full name, and whether it is a partition → whether it is captured.
        position, number, lsn, ts_ms: as in `Statement`.
    Returns: one statement; the same with other tables, where these are very many.
    Raises: ProtocolError: it is not of the event triggers.
    """
    try:
        message = _Message.model_validate_json(content)
    except ValueError:
        raise ProtocolError("a message of DDL is not as the event triggers write it") from None
    tables: list[ChangedTable] = []
    for one in message.tables:
        now, before = _full_name(one.now), _full_name(one.before)
        if any(name is not None and captures(name, bool(one.partition)) for name in (now, before)):
            tables.append(ChangedTable(now, before, one.oid))
    encoded = message.text.encode()
    return [
        Statement(
            command=message.command,
            tables=tuple(tables[first : first + TABLES]),
            ddl=encoded[:TEXT_BYTES].decode(errors="ignore"),
            cut=message.cut or len(encoded) > TEXT_BYTES,
            position=position,
            number=number,
            lsn=lsn_text(lsn),
            ts_ms=ts_ms,
        )
        for first in range(0, len(tables), TABLES)
    ]


def _full_name(name: _Full | None) -> str | None:
    return None if name is None else ".".join(name)
