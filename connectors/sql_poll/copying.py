"""The lines of a COPY; wherever it is left, the connection is of use again. Touches the socket."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from cdc.errors import SourceUnavailable

SILENCE_SECONDS = 900
"""A server that is at work on a statement says nothing for as long as its `statement_timeout`."""

CANCEL_SECONDS = 10.0


def copied(
    connection: psycopg.Connection[Any], statement: str, subject: str, check: Callable[[], None]
) -> Generator[bytes, None, None]:
    """The lines of a COPY, each with its newline. One that is not read to its end is cancelled.

    Args:
        check: called each second while the server says nothing.
    Raises: psycopg.Error; SourceUnavailable: the server has gone silent; what `check` raises.
    """
    connection.execute("SELECT 1")  # the transaction begins
    pgconn = connection.pgconn
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN)

    def arrive() -> None:
        for _ in range(SILENCE_SECONDS):
            if waiting.poll(1000):
                pgconn.consume_input()
                return
            check()
        raise SourceUnavailable(f"{subject}: the server has sent nothing for {SILENCE_SECONDS} s")

    ended = False
    pgconn.send_query(statement.encode())
    try:
        pgconn.flush()
        while pgconn.is_busy():
            arrive()
        result = pgconn.get_result()
        if result is None or result.status != ExecStatus.COPY_OUT:
            ended = _drained(pgconn)
            raise _failed(result)
        take = pgconn.get_copy_data
        while True:
            length, line = take(1)
            if length > 0:
                yield bytes(line)
            elif length == 0:
                arrive()
            else:
                break
        result = pgconn.get_result()
        ended = _drained(pgconn)
        if result is None or result.status != ExecStatus.COMMAND_OK:
            raise _failed(result)
    finally:
        if not ended:
            _cancel(pgconn, waiting)


def _drained(pgconn: PGconn) -> bool:
    while pgconn.get_result() is not None:
        pass
    return True


def _cancel(pgconn: PGconn, waiting: select.poll) -> None:
    """End what the server does for us, so that the connection is of use again; or end the connection."""
    try:
        pgconn.get_cancel().cancel()
        deadline = time.monotonic() + CANCEL_SECONDS
        while time.monotonic() < deadline:
            length, _ = pgconn.get_copy_data(1)
            if length < 0:
                _drained(pgconn)
                return
            if length == 0 and waiting.poll(1000):
                pgconn.consume_input()
    except psycopg.Error:
        pass
    pgconn.finish()


def _failed(result: PGresult | None) -> psycopg.Error:
    if result is None:
        return psycopg.OperationalError("the connection broke")
    return psycopg.errors.error_from_result(result)
