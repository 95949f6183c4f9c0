"""Connections to PostgreSQL that notice when the other end is gone without a word. Touches the database.

TCP sees a peer that vanished (`tcp_user_timeout` and keepalives, in `cdc.databases`), but not one
behind a proxy or a load balancer that goes on answering for it. Then a query waits for ever:
nothing fails, nothing is told. So whoever waits asks after a while, over another connection,
whether the server is still at work on what it was asked; if not, the wait ends as it does when a
connection breaks.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.waiting import Ready

T = TypeVar("T")

SILENT_SECONDS = 20.0
"""After so long without a byte the server is asked, and again after each such time."""

ANSWER_SECONDS = 10
"""It must answer within this."""

# A pooler tells its clients another process number than the server's; it hands on application_name.
_LOOK = """
SELECT pid = %(pid)s, state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'
FROM pg_stat_activity
WHERE usename = current_user AND datname = current_database() AND application_name = %(name)s
  AND pid <> pg_backend_pid()
"""

_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = %(pid)s AND usename = current_user AND application_name = %(name)s
"""


class WatchedConnection(psycopg.Connection[Any]):
    """A connection whose waits end when the server no longer works for it.

    They end with psycopg.OperationalError, and the connection is a broken one from then on. What
    the server still kept of it, locks above all, is ended too, where the server can be reached.
    """

    silent_seconds = SILENT_SECONDS

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """As psycopg's own."""
        return super().wait(self._watched(gen), *args, **options)

    def _watched(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """The same steps; when nothing has come for too long, the server is asked."""
        heard = time.monotonic()
        try:
            step = next(gen)
            while True:
                ready = yield step
                if ready != Ready.NONE:
                    heard = time.monotonic()
                elif time.monotonic() - heard > self.silent_seconds:
                    self._ask()
                    heard = time.monotonic()
                step = gen.send(ready)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _ask(self) -> None:
        """Hang up, unless the server is at work for us."""
        try:
            works = self._works()
        except psycopg.Error:  # it cannot be reached, or does not answer either
            works = False
        if not works:
            end = socket.socket(fileno=os.dup(self.pgconn.socket))
            with end:
                end.shutdown(socket.SHUT_RDWR)

    def _works(self) -> bool:
        info = self.info
        mine = {"pid": info.backend_pid, "name": info.parameter_status("application_name") or ""}
        conninfo = make_conninfo(
            info.dsn,
            host=info.host,
            hostaddr=info.hostaddr or None,
            port=info.port,
            password=info.password or None,
            application_name="cdc",
            connect_timeout=ANSWER_SECONDS,
        )
        with _Impatient.connect(conninfo, autocommit=True) as other:
            found: list[tuple[bool, bool]] = other.execute(_LOOK, mine).fetchall()
            if not any(ours for ours, _ in found):
                return any(works for _, works in found)
            if any(ours and works for ours, works in found):
                return True
            other.execute(_END, mine)
            return False


class _Impatient(WatchedConnection):
    """One that asks nobody."""

    silent_seconds = ANSWER_SECONDS

    def _works(self) -> bool:
        return False
