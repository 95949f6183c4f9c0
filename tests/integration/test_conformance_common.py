"""The encoder gives what Debezium gives: its recorded events against ours, from the same SQL on a real server.

`debezium_events.json` was recorded from Debezium 3.6.3 on PostgreSQL 18 by the project's
conformance runs: per case the SQL, and of each event table, key, op, before, after and
headers. Here the SQL runs again, pgoutput's messages come through SQL functions, rows of
before the slot through COPY, and events are compared as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from psycopg import sql

from cdc.event import BY_KEY, Record
from cdc.formats.handling import Handling
from cdc.formats.postgres.encode_cy import RowEncoder, Transaction
from cdc.formats.postgres.plan import Facts, SourceInfo, plan_table
from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TYPES_QUERY, session_settings, types_from_rows
from cdc.table_settings import ColumnChoice
from connectors.postgres_wal.options import TableOptions
from connectors.postgres_wal.pgoutput import Begin, Truncate, parse
from tests.databases import Database


def spelled(text: str | bytes) -> Any:
    """JSON whose numbers with a fraction stay as they are written."""
    return json.loads(text, parse_float=lambda number: f"#{number}")


CASES = {
    case["name"]: case for case in spelled(Path(__file__).with_name("debezium_events.json").read_text(encoding="utf-8"))
}

OPTIONS = {
    "columns_exclude": {"public.t": TableOptions(columns=ColumnChoice(exclude=["secret", "n"]))},
    "columns_include": {"public.t": TableOptions(columns=ColumnChoice(include=["id", "name"]))},
    "columns_truncate": {"public.t": TableOptions(truncate={"note": 20, "name": 20})},
    "message_key_columns": {
        "public.t": TableOptions(message_key=["a", "b"]),
        "public.np": TableOptions(message_key=["y"]),
    },
}

_OLD = "Debezium reads timestamps in arrays by the Julian calendar, and those with a zone lose their era"
_JULIAN = {"tsa": _OLD, "ts3a": _OLD, "tza": _OLD, "tz0a": _OLD}

DIFFERENT = {
    "defaults_and_nulls": {"*": "Debezium writes a column's default where the row has NULL: see tests of the plan"},
    "x_numeric_string": {"nneg": "Debezium takes the scale -2 for 2046 and writes as many zeros"},
    **{
        f"x_{kind}_{mode}": _JULIAN
        for kind in ("temporal", "extremes")
        for mode in ("adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds")
    },
}
"""Where events differ on purpose, per column, and why; see docs/types.md."""

HANDLING = {
    "decimal.handling.mode": "decimal",
    "time.precision.mode": "time_precision",
    "binary.handling.mode": "binary",
    "interval.handling.mode": "interval",
    "hstore.handling.mode": "hstore",
}


def handling_of(connector: dict[str, str]) -> Handling:
    """As the profile `debezium` has it."""
    chosen: dict[str, Any] = {ours: connector[theirs] for theirs, ours in HANDLING.items() if theirs in connector}
    return Handling(
        **{"decimal": "precise", **chosen},
        money_fraction_digits=int(connector.get("money.fraction.digits", 2)),
        unknown_types="bytes" if connector.get("include.unknown.datatypes") == "true" else "skip",
        quirks=True,
    )


def types_of(connection: psycopg.Connection[Any], relation: Relation) -> Any:
    oids = [column.type_oid for column in relation.columns]
    return types_from_rows(connection.execute(TYPES_QUERY, [oids]).fetchall())


def keys_of(connection: psycopg.Connection[Any], relation: Relation, options: TableOptions) -> list[str]:
    if options.message_key is not None:
        return options.message_key
    rows = connection.execute(
        "SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place) "
        "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
        "WHERE i.indrelid = %s AND i.indisprimary ORDER BY k.place",
        [relation.oid],
    ).fetchall()
    if rows or relation.replica_identity != "i":
        return [name for (name,) in rows]
    return [column.name for column in relation.columns if column.in_key]


def encoder_for(connection: psycopg.Connection[Any], relation: Relation, case: dict[str, Any]) -> RowEncoder:
    table = f"{relation.schema}.{relation.name}"
    options = OPTIONS.get(case["name"], {}).get(table, TableOptions())
    not_null = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND attnotnull", [relation.oid]
    )
    plan = plan_table(
        relation,
        types_of(connection, relation),
        options=options,
        key_columns=keys_of(connection, relation, options),
        topic=table,
        source=SourceInfo("conf", "conformance", "0"),
        handling=handling_of(case["connector"]),
        mask_key=None,
        facts=Facts(not_null={name for (name,) in not_null}),
    )
    return RowEncoder(plan)


def relation_of(connection: psycopg.Connection[Any], oid: int) -> Relation:
    schema, name = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s",
        [oid],
    ).fetchone() or ("", "")
    columns = connection.execute(
        "SELECT attname, atttypid, atttypmod FROM pg_attribute WHERE attrelid = %s AND attnum > 0 ORDER BY attnum",
        [oid],
    )
    return Relation(
        oid, schema, name, "f", tuple(RelationColumn(name, type_, modifier, True) for name, type_, modifier in columns)
    )


def snapshot(connection: psycopg.Connection[Any], case: dict[str, Any]) -> Iterator[Record]:
    tables = connection.execute(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY c.relname"
    ).fetchall()
    for (oid,) in tables:
        relation = relation_of(connection, oid)
        encoder = encoder_for(connection, relation, case)
        encoder.begin(Transaction(1, 2, 3, None, "true", 4, 5))
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in encoder.plan.copy_columns)
        copy = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
            columns, sql.Identifier(relation.schema, relation.name)
        )
        with connection.cursor().copy(copy) as lines:
            for line in lines:
                records: list[Record] = []
                encoder.encode_copy(bytes(line), records)
                yield from records


def stream(connection: psycopg.Connection[Any], case: dict[str, Any]) -> Iterator[Record]:
    encoders: dict[int, RowEncoder] = {}
    transaction = Transaction(0, 0, 0, None, "false", 0, 0)
    changes = connection.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes('conformance', NULL, NULL, "
        "'proto_version', '1', 'publication_names', 'conformance')"
    ).fetchall()
    for ordinal, (data,) in enumerate(changes):
        records: list[Record] = []
        if data[:1] in (b"I", b"U", b"D"):
            encoder = encoders[int.from_bytes(data[1:5], "big")]
            encoder.begin(transaction)
            encoder.encode(b"header" + data, 6, 100 + ordinal, ordinal, records)
            yield from records
            continue
        match parse(data, 0):
            case Begin(final_lsn, commit_time, xid):
                transaction = Transaction(final_lsn, commit_time, xid, None, "false", 0, 0)
            case Relation() as relation:
                encoders[relation.oid] = encoder_for(connection, relation, case)
            case Truncate(oids):
                for oid in oids:
                    encoders[oid].begin(transaction)
                    encoders[oid].truncate(100 + ordinal, ordinal, records, BY_KEY)
                yield from records


def run(database: Database, case: dict[str, Any]) -> list[Record]:
    with database.connect() as writer:
        for statement in case["setup"]:
            writer.execute(statement.replace("ALTER DATABASE conformance", f"ALTER DATABASE {database.name}"))
        writer.execute("CREATE PUBLICATION conformance FOR ALL TABLES")
        writer.execute("SELECT pg_create_logical_replication_slot('conformance', 'pgoutput')")
        with database.connect() as reader:
            for name, value in session_settings(quirks=True).items():
                reader.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            records = list(snapshot(reader, case)) if case["connector"]["snapshot.mode"] == "initial" else []
            for step in case["stream"]:
                if isinstance(step, str):
                    writer.execute(step)
                else:
                    with pytest.raises(psycopg.Error) as refused:
                        writer.execute(step["sql"])
                    assert refused.value.sqlstate == step["expect_error"]
            records += stream(reader, case)
        writer.execute("SELECT pg_drop_replication_slot('conformance')")
        return records


def differences(found: dict[str, Any], expected: dict[str, Any], different: dict[str, str]) -> list[tuple[Any, ...]]:
    """What two events differ in: members, as written and in their order, but for columns that are different."""
    said = [
        (part, found[part], expected[part]) for part in ("table", "key", "headers") if found[part] != expected[part]
    ]
    one, other = found["value"], expected["value"]
    if one is None or other is None:
        return said if one == other else [*said, ("value", one, other)]
    if one["op"] != other["op"]:
        said.append(("op", one["op"], other["op"]))
    for side in ("before", "after"):
        ours, theirs = (row[side] or {"": row[side]} for row in (one, other))
        if list(ours) != list(theirs):
            said.append((side, list(ours), list(theirs)))
        said += [
            (column, ours.get(column), value)
            for column, value in theirs.items()
            if column not in different and "*" not in different
            if json.dumps(ours.get(column)) != json.dumps(value)
        ]
    return said


def ours(record: Record) -> dict[str, Any]:
    table, key, value, _, _, headers = record
    document = spelled(value) if value is not None else None
    if value is not None:
        orjson.loads(value)  # strict JSON: no NaN, valid UTF-8
    return {
        "table": table,
        "key": key.decode() if key is not None else None,
        "value": document and {part: document[part] for part in ("op", "before", "after")},
        "headers": [[name, content.decode()] for name, content in headers or () if isinstance(content, bytes)],
    }


@pytest.mark.parametrize("name", CASES)
def test_events_equal_debezium_s(name: str, database: Database) -> None:
    case = CASES[name]
    different = DIFFERENT.get(name, {})
    # A tombstone without a key tells nobody anything: ours are left out.
    expected = [event for event in case["events"] if event["key"] or event["value"]]
    found = [event for event in map(ours, run(database, case)) if event["key"] or event["value"]]
    assert len(found) == len(expected)
    assert [
        (number, *difference)
        for number, events in enumerate(zip(found, expected, strict=True))
        for difference in differences(*events, different)
    ] == []


def test_unchanged_toast_is_left_out_and_named_or_taken_from_the_old_row(database: Database) -> None:
    case = {
        "name": "toast",
        "connector": {"snapshot.mode": "never"},
        "setup": [
            "CREATE TABLE t (id int PRIMARY KEY, v int, big text)",
            "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        ],
        "stream": [
            "INSERT INTO t VALUES (1, 1, repeat('x', 10000))",
            "UPDATE t SET v = 2",
            "UPDATE t SET id = 2",
            "ALTER TABLE t REPLICA IDENTITY FULL",
            "UPDATE t SET v = 3",
        ],
    }
    big = "x" * 10_000
    events = [(record[1], json.loads(record[2])) for record in run(database, case) if record[2] is not None]
    assert [(key, value["op"], value["after"], value["cdc"].get("unchanged")) for key, value in events] == [
        (b'{"id":1}', "c", {"id": 1, "v": 1, "big": big}, None),
        (b'{"id":1}', "u", {"id": 1, "v": 2}, ["big"]),
        (b'{"id":1}', "d", None, None),
        (b'{"id":2}', "c", {"id": 2, "v": 2}, ["big"]),
        (b'{"id":2}', "u", {"id": 2, "v": 3, "big": big}, None),
    ]
