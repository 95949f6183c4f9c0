"""The tables that the load writes to, and the rows that are there before it. Touches Postgres.

Every kind that the bridge treats in its own way: default and full replica identity, a
composite key, a table without key, a partitioned one, values stored out of line. Each row
image has a `version` of its own, so that no two are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the load.

    Args:
        name: `schema.table`.
        key: its primary key; empty without one.
        full: whether its replica identity is FULL.
        loose: how the names of columns begin that are added and dropped meanwhile; empty: none are.
    """

    name: str
    key: tuple[str, ...]
    full: bool = False
    loose: str = ""


ITEMS = Table("public.items", ("id",))
ACCOUNTS = Table("public.accounts", ("id",), full=True)
DOCS = Table("public.docs", ("id",))
SHEETS = Table("public.sheets", ("id",), full=True)
AUDIT = Table("public.audit", (), full=True)
LINES = Table("sales.lines", ("line_no", "order_id"))
VISITS = Table("sales.visits", ("region", "id"))
MARKS = Table("public.marks", ("id",))
VAULT = Table("public.vault", ("id",))
SHAPES = Table("public.shapes", ("id",), loose="extra")
SCRATCH = Table("public.scratch", ("id",))
BULK = Table("public.bulk", ("id",))

TABLES = (ITEMS, ACCOUNTS, DOCS, SHEETS, AUDIT, LINES, VISITS, MARKS, VAULT, SHAPES, SCRATCH)
"""What the judge compares event by event; `BULK` is too large for that."""
REGIONS = ("eu", "us", "asia")
ROOTS: Mapping[str, str] = {f"sales.visits_{region}": VISITS.name for region in ("eu", "us", "rest")}

SCHEMA = """
CREATE SEQUENCE versions CACHE 50;
CREATE SEQUENCE ids START 1000000;
CREATE TABLE items (
    id bigint PRIMARY KEY, name text NOT NULL, price numeric(12,2), active boolean, note text, added date,
    version bigint NOT NULL DEFAULT nextval('versions'));
CREATE TABLE marks (id bigint PRIMARY KEY, version bigint NOT NULL DEFAULT nextval('versions'));
CREATE TABLE vault (
    id integer PRIMARY KEY, balance bigint NOT NULL, moves bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT nextval('versions'));
CREATE TABLE shapes (id bigint PRIMARY KEY, size integer, version bigint NOT NULL DEFAULT nextval('versions'));
CREATE TABLE scratch (id bigint PRIMARY KEY, what text, version bigint NOT NULL DEFAULT nextval('versions'));
CREATE TABLE bulk (id bigint PRIMARY KEY, what text NOT NULL);
CREATE TABLE accounts (
    id integer PRIMARY KEY, owner text, balance numeric, tags text[], seen timestamptz,
    version bigint NOT NULL DEFAULT nextval('versions'));
ALTER TABLE accounts REPLICA IDENTITY FULL;
CREATE TABLE docs (
    id integer PRIMARY KEY, title text, body text, version bigint NOT NULL DEFAULT nextval('versions'));
ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
CREATE TABLE sheets (
    id integer PRIMARY KEY, title text, body text, version bigint NOT NULL DEFAULT nextval('versions'));
ALTER TABLE sheets ALTER body SET STORAGE EXTERNAL;
ALTER TABLE sheets REPLICA IDENTITY FULL;
CREATE TABLE audit (who text, what text, at timestamptz, version bigint NOT NULL DEFAULT nextval('versions'));
ALTER TABLE audit REPLICA IDENTITY FULL;
CREATE SCHEMA sales;
CREATE TABLE sales.lines (
    order_id bigint, quantity smallint, line_no integer, data jsonb,
    version bigint NOT NULL DEFAULT nextval('versions'), PRIMARY KEY (line_no, order_id));
CREATE TABLE sales.visits (
    id bigint, region text, page text, version bigint NOT NULL DEFAULT nextval('versions'), PRIMARY KEY (region, id)
) PARTITION BY LIST (region);
CREATE TABLE sales.visits_eu PARTITION OF sales.visits FOR VALUES IN ('eu');
CREATE TABLE sales.visits_us PARTITION OF sales.visits FOR VALUES IN ('us');
CREATE TABLE sales.visits_rest PARTITION OF sales.visits DEFAULT;
"""

FILL = """
INSERT INTO items SELECT i, 'item ' || i, i / 100.0, i %% 3 = 0, CASE WHEN i %% 5 > 0 THEN 'note ''' || i END,
    date '2001-01-01' + i %% 9000 FROM generate_series(1, %(items)s) i;
INSERT INTO accounts SELECT i, 'owner "' || i || '"', i * 1.5, ARRAY['a', 'b' || i],
    timestamptz '2020-02-02 02:02:02.25Z' + i * interval '1 hour' FROM generate_series(1, %(few)s) i;
INSERT INTO docs SELECT i, 'title ' || i, repeat(md5(i::text), 100) FROM generate_series(1, %(docs)s) i;
INSERT INTO sheets SELECT i, 'title ' || i, repeat(md5(i::text), 100) FROM generate_series(1, %(docs)s) i;
INSERT INTO audit SELECT 'fill', E'line one\nline\ttwo \\ ' || i, '2020-02-02 02:02:02Z'
    FROM generate_series(1, %(few)s) i;
INSERT INTO vault SELECT i, 1000 FROM generate_series(1, 50) i;
INSERT INTO shapes SELECT i, i %% 1000 FROM generate_series(1, %(few)s) i;
INSERT INTO scratch SELECT i, 'before ' || i FROM generate_series(1, %(few)s) i;
INSERT INTO sales.lines SELECT 1 + i / 4, 1 + i %% 9, i %% 4, jsonb_build_object('i', i, 'text', 'ü "q" ' || i)
    FROM generate_series(1, %(items)s) i;
INSERT INTO sales.visits SELECT i, (ARRAY['eu', 'us', 'asia'])[1 + i %% 3], '/page/' || i
    FROM generate_series(1, %(items)s / 2) i;
"""


def create(connection: psycopg.Connection[Any]) -> None:
    """Make the tables."""
    connection.execute(SCHEMA.encode())


def fill(connection: psycopg.Connection[Any], items: int) -> None:
    """Put in the rows that are there before the bridge comes: about 2.8 times `items`, and some large ones."""
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(FILL.encode(), {"items": items, "few": items // 6, "docs": max(1, items // 60)})


def body(rng: Random) -> str:
    """A text that is stored out of line."""
    return f"{rng.getrandbits(64):016x}" * rng.randint(160, 260)
