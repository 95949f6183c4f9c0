"""What the source's catalog says: server, tables, keys, types, publication. Touches the database, reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from cdc.connections import WatchedConnection
from cdc.errors import SourceError, SourceUnavailable
from cdc.formats.postgres.plan import Facts
from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TYPES_QUERY, TypeInfo, session_settings, types_from_rows
from cdc.patterns import matches, most_specific

from .options import TableOptions
from .replication import connection_error
from .settings import Partitions

OLDEST_SERVER = 150000
"""PostgreSQL 15: the oldest release that its makers still mend."""

CONNECT_SECONDS = 10

Session: TypeAlias = psycopg.Connection[tuple[Any, ...]]
"""A connection for catalog queries."""


@dataclass(frozen=True, slots=True)
class Table:
    """A captured table.

    Args:
        oid, schema, name: as in the catalog.
        identity: replica identity: d, n, f or i.
        primary_key: column names in the key's order; empty without one.
        columns: the published ones (generated ones only if they were asked for), in the table's order.
        generated: those of them that are.
        estimated_rows: the planner's estimate, -1 if never analyzed.
        options: the settings of the entry under `tables:` that matched.
    """

    oid: int
    schema: str
    name: str
    identity: str
    primary_key: tuple[str, ...]
    columns: tuple[RelationColumn, ...]
    estimated_rows: int
    options: TableOptions
    generated: frozenset[str] = frozenset()

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def relation(self) -> Relation:
        """The Relation message that pgoutput would send for it now."""
        return Relation(self.oid, self.schema, self.name, self.identity, self.columns)


def connect(conninfo: str, subject: str, *, quirks: bool = False) -> Session:
    """A session for catalog queries, with the text formats that events are made from.

    Raises: SourceUnavailable, SourceError.
    """
    try:
        connection = WatchedConnection.connect(conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS)
    except psycopg.OperationalError as error:
        raise connection_error(subject, str(error)) from error
    with reading(subject):
        for name, value in session_settings(quirks=quirks).items():
            connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    return connection


@contextmanager
def reading(subject: str) -> Any:
    """Turn the driver's errors into the project's, without values."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise SourceUnavailable(f"{subject}: {_first_line(error)}") from error
    except psycopg.Error as error:
        raise SourceError(f"{subject}: {_first_line(error)} (SQLSTATE {error.sqlstate})") from error


TABLES_QUERY = """
SELECT c.oid, n.nspname, c.relname, c.relreplident, c.reltuples::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
  AND CASE %s WHEN 'roots' THEN NOT c.relispartition WHEN 'leaves' THEN c.relkind = 'r' ELSE true END
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%'
ORDER BY n.nspname, c.relname
"""

COLUMNS_QUERY = """
SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, a.attnum,
       -- As the JDBC driver tells it: of a domain that is NOT NULL, too.
       NOT (a.attnotnull OR (SELECT t.typtype = 'd' AND t.typnotnull FROM pg_type t WHERE t.oid = a.atttypid)),
       a.attgenerated <> '',
       (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum),
       a.attnum = ANY (coalesce((SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1]
                        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE i.indrelid = a.attrelid
                          AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END), '{}'))
FROM pg_attribute a
WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

PRIMARY_KEYS_QUERY = """
SELECT i.indrelid, array_agg(a.attname::text ORDER BY k.place)
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indisprimary AND i.indrelid = ANY (%s) AND k.place <= i.indnkeyatts
GROUP BY i.indrelid
"""


def matching(
    connection: Session, wanted: Mapping[str, TableOptions], subject: str, partitions: Partitions
) -> dict[str, int]:
    """Full name → OID of the tables that the names and patterns of `tables:` match; cheap."""
    with reading(subject):
        rows = connection.execute(TABLES_QUERY, [partitions]).fetchall()
    return {
        f"{schema}.{name}": oid
        for oid, schema, name, _, _ in rows
        if most_specific(wanted, f"{schema}.{name}") is not None
    }


def newest_table(connection: Session, subject: str) -> int:
    """The highest OID of a table that may be captured, now or under another name, in another schema, or once logged."""
    with reading(subject):
        row = connection.execute(
            "SELECT coalesce(max(oid), 0)::bigint FROM pg_class WHERE relkind IN ('r', 'p') AND relpersistence <> 't'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def check_readable(connection: Session, tables: Sequence[Table], subject: str) -> None:
    """Raises: SourceError: our role may not read one of the tables."""
    with reading(subject):
        denied = connection.execute(
            "SELECT oid FROM unnest(%s::oid[]) AS t (oid) WHERE NOT has_any_column_privilege(oid, 'SELECT')",
            [[table.oid for table in tables]],
        ).fetchall()
    for table in tables:
        if (table.oid,) in denied:
            raise SourceError(
                f"{subject}: permission denied for table {table.name} of schema {table.schema}",
                hint=f"its owner runs: GRANT SELECT ON {table.identifier.as_string()} TO "
                f"{sql.Identifier(connection.info.user).as_string()};",
            )


def captured_tables(
    connection: Session,
    wanted: Mapping[str, TableOptions],
    subject: str,
    partitions: Partitions = "roots",
    *,
    generated: bool = False,
) -> list[Table]:
    """The tables that the names and patterns of `tables:` match, by name.

    Args:
        partitions: whether they are captured through their root (`publish_via_partition_root`), or themselves.
        generated: whether generated columns are among theirs; pgoutput does not send them.
    """
    with reading(subject):
        found = []
        for oid, schema, name, identity, rows in connection.execute(TABLES_QUERY, [partitions]):
            entry = most_specific(wanted, f"{schema}.{name}")
            if entry is not None:
                found.append((oid, schema, name, identity, rows, wanted[entry]))
        oids = [row[0] for row in found]
        columns: dict[int, list[tuple[Any, ...]]] = {}
        for oid, *column in connection.execute(COLUMNS_QUERY, [oids]):
            columns.setdefault(oid, []).append(tuple(column))
        keys: dict[int, list[str]] = dict(connection.execute(PRIMARY_KEYS_QUERY, [oids]).fetchall())
    tables = []
    for oid, schema, name, identity, rows, options in found:
        described = columns.get(oid, [])
        in_key = identity == "f"
        tables.append(
            Table(
                oid=oid,
                schema=schema,
                name=name,
                identity=identity,
                primary_key=tuple(keys.get(oid, ())),
                columns=tuple(
                    RelationColumn(name=column, type_oid=type_oid, type_modifier=modifier, in_key=in_key or keyed)
                    for column, type_oid, modifier, _, _, is_generated, _, keyed in described
                    if generated or not is_generated
                ),
                generated=frozenset(row[0] for row in described if generated and row[5]),
                estimated_rows=rows,
                options=options,
            )
        )
    return tables


def unmatched(wanted: Iterable[str], tables: Sequence[Table]) -> list[str]:
    """Entries of `tables:` that match no table (a more specific entry may have taken them all)."""
    names = [table.full_name for table in tables]
    return [entry for entry in wanted if not any(matches(entry, name) for name in names)]


def all_tables(session: Session, subject: str, partitions: Partitions) -> list[str]:
    """Full names of all tables that could be captured, to suggest one from."""
    with reading(subject):
        return [f"{row[1]}.{row[2]}" for row in session.execute(TABLES_QUERY, [partitions])]


def load_types(connection: Session, oids: Iterable[int], subject: str) -> dict[int, TypeInfo]:
    """The types of these OIDs, with element and base types. A type that is gone is left out."""
    with reading(subject):
        return types_from_rows(connection.execute(TYPES_QUERY, [sorted(set(oids))]).fetchall())


COMMENTS_QUERY = """
SELECT obj_description(%(oid)s, 'pg_class'), coalesce(jsonb_object_agg(attname, col_description(attrelid, attnum))
  FILTER (WHERE col_description(attrelid, attnum) IS NOT NULL), '{}')
FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped
"""


def comments(connection: Session, oid: int, subject: str) -> tuple[str | None, dict[str, str]]:
    """The comment of a table, and of its columns by name, as they are now."""
    with reading(subject):
        row = connection.execute(COMMENTS_QUERY, {"oid": oid}).fetchone()
    return (row[0], row[1]) if row is not None else (None, {})


def describe_columns(connection: Session, oid: int, subject: str) -> Facts:
    """A table's columns as they are now."""
    with reading(subject):
        rows = connection.execute(COLUMNS_QUERY, [[oid]]).fetchall()
    return Facts(
        not_null=frozenset(row[1] for row in rows if not row[5]),
        attnums={row[1]: row[4] for row in rows},
        defaults={row[1]: row[7] for row in rows if row[7] is not None and not row[6]},
    )


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as it stands.

    Args:
        oid: another one when it is made again.
        tables: (schema, table) → what would change if the table had been out of the publication, was
            another table of that name, or got another row filter or column list.
        via_root, operations: `publish_via_partition_root` and `publish`.
        all_tables: whether it has every table, those too that are still to be made.
        filtered: (schema, table) of those that have a row filter.
        whole: (schema, table) of those that come by their schema, or as all do: no row filter of theirs counts.
    """

    oid: int
    tables: Mapping[tuple[str, str], str]
    via_root: bool
    operations: frozenset[str]
    all_tables: bool = False
    filtered: frozenset[tuple[str, str]] = frozenset()
    whole: frozenset[tuple[str, str]] = frozenset()


PUBLICATION_QUERY = """
SELECT p.oid, p.pubviaroot, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate
FROM pg_publication p WHERE p.pubname = %s
"""

PUBLISHED_QUERY = """
SELECT n.nspname, c.relname, concat_ws('/', c.oid, coalesce(r.oid, 0), md5(concat_ws('|', r.prqual, r.prattrs))),
       r.prqual IS NOT NULL, p.puballtables OR s.oid IS NOT NULL
FROM pg_publication p
CROSS JOIN pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
LEFT JOIN pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = n.oid
WHERE p.pubname = %s AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
  AND (r.oid IS NOT NULL OR p.puballtables OR s.oid IS NOT NULL)
"""
"""Not the view pg_publication_tables: that opens the tables, and waits for whoever has locked one."""


def find_publication(connection: Session, name: str, subject: str) -> Publication | None:
    """The publication of that name, or None."""
    with reading(subject), connection.transaction():
        row = connection.execute(PUBLICATION_QUERY, [name]).fetchone()
        if row is None:
            return None
        published = connection.execute(PUBLISHED_QUERY, [name]).fetchall()
    oid, via_root, all_tables, *flags = row
    operations = zip(("insert", "update", "delete", "truncate"), flags, strict=True)
    return Publication(
        oid,
        {(schema, table): fingerprint for schema, table, fingerprint, *_ in published},
        via_root,
        frozenset(operation for operation, on in operations if on),
        all_tables,
        frozenset((schema, table) for schema, table, _, filtered, _ in published if filtered),
        frozenset((schema, table) for schema, table, *_, whole in published if whole),
    )


FILTERS_QUERY = """
SELECT n.nspname, c.relname, pg_get_expr(r.prqual, r.prrelid)
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = %s AND r.prqual IS NOT NULL
"""
"""Waits for whoever has locked a table that has a filter, from PostgreSQL 17 on."""


def row_filters(connection: Session, name: str, subject: str) -> dict[str, str]:
    """Full name of a table → the publication's row filter on it, as SQL; tables without are left out."""
    with reading(subject):
        rows = connection.execute(FILTERS_QUERY, [name]).fetchall()
    return {f"{schema}.{table}": expression for schema, table, expression in rows}


UNIDENTIFIED_QUERY = """
SELECT DISTINCT a.attname
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_depend d ON d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid
  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = r.prrelid
JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = d.refobjsubid
WHERE p.pubname = %s AND r.prrelid = %s AND c.relreplident <> 'f'
  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.prrelid AND a.attnum = ANY (i.indkey)
                  AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END)
ORDER BY 1
"""


def unidentified(connection: Session, publication: str, table: int, subject: str) -> list[str]:
    """Columns of a table's row filter that are not in its replica identity: the server refuses its updates then."""
    with reading(subject):
        return [name for (name,) in connection.execute(UNIDENTIFIED_QUERY, [publication, table])]


def _first_line(error: psycopg.Error) -> str:
    # The first line only: DETAIL and CONTEXT may hold values.
    primary = error.diag.message_primary
    return primary if primary else (str(error).splitlines() or ["the connection broke"])[0]
