"""A database of its own for one test, on a server that tests share. Connects to Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cdc.testing.servers import PostgresServer
from cdc.testing.system import wait_for


@dataclass(frozen=True, slots=True)
class Database:
    """A database on a server, and short ways to use it.

    Args:
        name: of the database.
        server: where it is.
    """

    name: str
    server: PostgresServer

    def url(self, user: str = "postgres", password: str | None = None) -> str:
        return self.server.url(self.name, user, password)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection of the superuser; autocommit unless told otherwise."""
        return psycopg.connect(self.url(), **{"autocommit": True, **options})

    def execute(self, statements: str) -> None:
        """Run statements, each committed when it is done."""
        with self.connect() as connection:
            connection.execute(statements)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query).fetchall()


@contextmanager
def fresh_database(server: PostgresServer, name: str, options: LiteralString = "") -> Iterator[Database]:
    """A new database, with `options` of CREATE DATABASE; in the end it is dropped with its replication slots and
    whoever still uses it."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(name)))
    try:
        yield Database(name, server)
    finally:
        _drop(server, name)


def _drop(server: PostgresServer, name: str) -> None:
    _roll_back_prepared(server, name)
    with psycopg.connect(server.url(), autocommit=True) as connection:

        def slots_are_gone() -> bool:
            slots = connection.execute(
                "SELECT slot_name, pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = %s",
                [name],
            ).fetchall()
            for slot, _ in slots:
                try:
                    connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
                except (psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
                    return False
            return True

        wait_for(slots_are_gone, timeout=10)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _roll_back_prepared(server: PostgresServer, name: str) -> None:
    """A database with prepared transactions cannot be dropped, and only its own sessions can end them."""
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        query = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        for (gid,) in connection.execute(query).fetchall():
            connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
