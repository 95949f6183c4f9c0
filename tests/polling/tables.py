"""The tables that are polled, one for each mode: each has what its mode needs and nothing else."""

from __future__ import annotations

from typing import Final

ITEMS: Final = ("items_xmin", "items_tx", "items_at", "items_xmin_alone", "items_at_alone")
"""Written alike by each transaction: the same keys, `n` and `note`."""

ALONE: Final = ("items_xmin_alone", "items_at_alone")
"""Those of which deletes are not captured: to compare all rows now and then would mend what a mode has missed."""

LOG: Final = "log"
"""Rows are only added; as many as change in each of the others."""

SCHEMA: Final = """
CREATE SEQUENCE ids;

CREATE TABLE items_xmin (id bigint PRIMARY KEY, n bigint NOT NULL, note text);

CREATE TABLE items_tx (
    id bigint PRIMARY KEY, n bigint NOT NULL, note text, _tx xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX ON items_tx (_tx, id);
CREATE FUNCTION stamp_tx() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW._tx := pg_current_xact_id(); RETURN NEW; END$$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON items_tx FOR EACH ROW EXECUTE FUNCTION stamp_tx();
CREATE TABLE items_tx_deleted (
    id bigint NOT NULL, _tx xid8 NOT NULL DEFAULT pg_current_xact_id(), at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON items_tx_deleted (_tx, id);
CREATE FUNCTION note_delete() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO items_tx_deleted (id) VALUES (OLD.id); RETURN NULL; END$$;
CREATE TRIGGER note_delete AFTER DELETE ON items_tx FOR EACH ROW EXECUTE FUNCTION note_delete();

CREATE TABLE items_at (
    id bigint PRIMARY KEY, n bigint NOT NULL, note text, updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON items_at (updated_at, id);
CREATE FUNCTION stamp_at() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at := now(); RETURN NEW; END$$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON items_at FOR EACH ROW EXECUTE FUNCTION stamp_at();

CREATE TABLE items_xmin_alone (LIKE items_xmin INCLUDING ALL);
CREATE TABLE items_at_alone (LIKE items_at INCLUDING ALL);
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON items_at_alone FOR EACH ROW EXECUTE FUNCTION stamp_at();

CREATE TABLE log (id bigserial PRIMARY KEY, n bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
"""
