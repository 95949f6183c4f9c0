"""The source's lock: one copy of a connector polls, the others wait. Touches the database, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from cdc.connections import WatchedConnection
from cdc.errors import SourceUnavailable

TRY_SECONDS = 1.0


@contextmanager
def advisory_lock(
    conninfo: str, key: int, timeout: float, subject: str, *, wait: Callable[[float], None], lost: Callable[[], None]
) -> Iterator[None]:
    """Wait for a PostgreSQL advisory lock, and hold it on a session that is kept busy.

    A holder that hangs keeps it busy no longer, and the server ends the session (`idle_session_timeout`).

    Args:
        conninfo: libpq's.
        key: of the lock.
        timeout: seconds after which the server ends a session that says nothing.
        subject: what to call the connector in errors.
        wait: waits for so many seconds; raises when it is time to stop.
        lost: called, in another thread, when the session was ended.
    Raises: SourceUnavailable.
    """
    try:
        session = WatchedConnection.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        raise SourceUnavailable(f"{subject}: {(str(error).splitlines() or ['no connection'])[0]}") from error
    ended = threading.Event()

    def keep_busy() -> None:
        while not ended.wait(timeout / 4):
            try:
                session.execute("SELECT 1")
            except Exception:
                if not ended.is_set():
                    lost()
                return

    keeper = threading.Thread(target=keep_busy, name="lock", daemon=True)
    try:
        try:
            session.execute(f"SET idle_session_timeout = {round(timeout * 1000)}")
            while session.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone() != (True,):
                wait(TRY_SECONDS)
        except psycopg.Error as error:
            raise SourceUnavailable(f"{subject}: the session for its lock ended ({type(error).__name__})") from error
        keeper.start()
        yield
    finally:
        ended.set()
        if keeper.is_alive():
            keeper.join()
        with suppress(psycopg.Error):
            session.close()
