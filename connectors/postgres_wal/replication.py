"""One replication connection to the server: commands, the COPY stream, feedback. Touches the network.

psycopg has no replication API, so this uses its libpq wrapper (`psycopg.pq`). libpq's
connection may be used by one thread at a time; nothing here takes a lock.

Source: https://www.postgresql.org/docs/current/protocol-replication.html
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import pq, sql
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus

from cdc.errors import SourceError, SourceUnavailable

from .pgoutput import standby_status

PASSING = ("08", "53", "55", "57", "58")
"""Classes of SQLSTATE that may be over soon: connection, resources, object state, intervention, system."""


ANSWER_SECONDS = 30.0
"""A server that says nothing for so long is gone: TCP does not see that behind a proxy."""


class ReplicationError(SourceError):
    """The server refused a command; `sqlstate` tells why."""

    def __init__(self, message: str, sqlstate: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class ReplicationConnection:
    """A session in the walsender (`replication=database`): it takes SQL and replication commands.

    Args:
        conninfo: libpq connection string with `replication=database`.
        subject: what to call it in errors ("connector warehouse").
    Raises:
        SourceUnavailable: no connection.
    """

    def __init__(self, conninfo: str, subject: str) -> None:
        self._subject = subject
        self.pgconn = pq.PGconn.connect(conninfo.encode())
        if self.pgconn.status != ConnStatus.OK:
            message, role = _text(self.pgconn.get_error_message()), _text(self.pgconn.user)
            self.pgconn.finish()
            raise connection_error(subject, message, role)
        self.pgconn.nonblocking = 1
        self._poll = select.poll()
        self._poll.register(self.pgconn.socket, select.POLLIN)
        self._pipe: tuple[int, ...] = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        self._poll_wake = select.poll()
        for poll in (self._poll, self._poll_wake):
            poll.register(self._pipe[0], select.POLLIN)

    def close(self) -> None:
        """End the session; the server frees its locks and temporary slots. A second time does nothing."""
        self.pgconn.finish()
        descriptors, self._pipe = self._pipe, ()
        for descriptor in descriptors:
            os.close(descriptor)

    def cancel(self) -> None:
        """End the command that is under way: a server that waits for other transactions does not see us go."""
        with suppress(psycopg.Error):
            self.pgconn.get_cancel().cancel()

    def execute(self, command: str, each_second: Callable[[], None] | None = None) -> list[tuple[str | None, ...]]:
        """Run one command by the simple protocol; rows come as text.

        Args:
            command: SQL or a replication command.
            each_second: called while waiting; may raise to give up. Without it the server must
                answer within ANSWER_SECONDS.
        Raises:
            ReplicationError: refused. SourceUnavailable: the connection broke.
        """
        with self._broken():
            self.pgconn.send_query(command.encode())
        rows: list[tuple[str | None, ...]] = []
        while (result := self._next_result(each_second)) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                error = self._error(result)
                while self._next_result(each_second) is not None:
                    pass
                raise error
            for row in range(result.ntuples):
                values = (result.get_value(row, column) for column in range(result.nfields))
                rows.append(tuple(None if value is None else _text(value) for value in values))
            if result.status == ExecStatus.COPY_BOTH:
                break
        return rows

    def wake(self) -> None:
        """Let a `wait` on this connection return now. From any thread."""
        for end in self._pipe[1:]:
            with suppress(OSError):  # already awake, or just closed
                os.write(end, b"!")

    def wait(self, seconds: float, *, readable: bool = True) -> bool:
        """Wait until there is something to read, `wake` was called, or the time is over.

        Args:
            readable: False waits for `wake` only, leaving what the server sent in the socket.
        Returns: whether the socket is readable.
        """
        poll = self._poll if readable else self._poll_wake
        found = poll.poll(max(0.0, seconds) * 1000)
        socket_ready = False
        for descriptor, _ in found:
            if descriptor == self._pipe[0]:
                with suppress(BlockingIOError):
                    os.read(descriptor, 4096)
            else:
                socket_ready = True
        return socket_ready

    def consume(self) -> None:
        """Take what the socket has into libpq's buffer.

        Raises: SourceUnavailable: the connection broke.
        """
        with self._broken():
            self.pgconn.consume_input()

    def send_status(self, flushed: int, *, ask: bool = False) -> None:
        """Standby status update: everything before `flushed` may be forgotten by the server.

        Args:
            ask: want a keepalive in answer.
        """
        now = time.time_ns() // 1000
        with self._broken():
            self.pgconn.put_copy_data(standby_status(flushed, flushed, flushed, now, ask))
            self.pgconn.flush()

    def stream_end(self) -> SourceError:
        """Why the COPY stream ended, as an error to raise."""
        try:
            with self._broken():
                result = self.pgconn.get_result()
        except SourceUnavailable as error:
            return error
        if result is None or result.status != ExecStatus.FATAL_ERROR:
            return SourceUnavailable(f"{self._subject}: the server ended the stream")
        return self._error(result)

    def _next_result(self, each_second: Callable[[], None] | None) -> pq.abc.PGresult | None:
        with self._broken():
            self.pgconn.flush()
        deadline = time.monotonic() + ANSWER_SECONDS
        while self.pgconn.is_busy():
            if self.wait(1.0):
                self.consume()
            elif each_second is not None:
                each_second()
            elif time.monotonic() > deadline:
                raise SourceUnavailable(f"{self._subject}: the server has not answered for {ANSWER_SECONDS:.0f} s")
        with self._broken():
            return self.pgconn.get_result()

    @contextmanager
    def _broken(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise SourceUnavailable(f"{self._subject}: the replication connection broke: {_line(error)}") from error

    def _error(self, result: pq.abc.PGresult) -> SourceError:
        sqlstate = _text(result.error_field(DiagnosticField.SQLSTATE) or b"")
        message = _text(result.error_field(DiagnosticField.MESSAGE_PRIMARY) or result.error_message or b"")
        hint = result.error_field(DiagnosticField.MESSAGE_HINT)
        if self.pgconn.status != ConnStatus.OK or sqlstate[:2] in ("08", "53", "57", "58"):
            return SourceUnavailable(f"{self._subject}: {message or 'the connection broke'}")
        return ReplicationError(f"{self._subject}: {message}", sqlstate, hint=_text(hint) if hint else None)


def connection_error(subject: str, message: str, role: str = "") -> SourceError:
    """The error for a connection that could not be made; a wrong password is not worth a retry."""
    text = " ".join(message.split())
    refused = f"{subject}: cannot connect: {text}"
    if "permission denied to start WAL sender" in text or "must be superuser or replication role" in text:
        quoted = sql.Identifier(role).as_string()
        return SourceError(refused, hint=f"a superuser runs: ALTER ROLE {quoted} REPLICATION;")
    final = ("password authentication failed", "no pg_hba.conf entry", "does not exist", "no password supplied")
    if any(part in text for part in final):
        return SourceError(refused, hint="check url and password; the role needs LOGIN and REPLICATION")
    return SourceUnavailable(refused, hint="it is tried again; check that the server runs and can be reached")


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
