"""The reader's thread: takes the stream (or the snapshot while the stream is held) into batches.

It alone touches the replication socket and the catalog session while it runs. It never waits
on Kafka: while the mailbox is full it reads nothing and goes on sending feedback.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any, NoReturn

import structlog

from cdc.connector import Stopped
from cdc.errors import SourceError, SourceUnavailable
from cdc.event import Batch, Record
from cdc.formats.debezium_json import Transaction
from cdc.position import Position

from .catalog import Session
from .mailbox import Mailbox
from .pgoutput import PAYLOAD_OFFSET, XLOG_DATA, Keepalive, parse_header, position_text
from .replication import ReplicationConnection
from .reselect import resolve
from .settings import BatchSettings
from .snapshot import SnapshotReader, SnapshotTable
from .transactions import Transactions, begin_table

MESSAGES_PER_LOOK = 1000
"""Messages taken from libpq before feedback and stop are looked at again."""

BUSY_ROWS = 500
"""A batch with fewer rows when its linger is over is handed over at once, a fuller one a little later."""

BUSY_LINGER = 0.05
"""Seconds: how much later; a busy source gains more from large transactions than from low latency."""

POLL_SECONDS = 0.5
"""Longest wait for snapshot rows before feedback and stop are looked at again."""

CONFIRM_SECONDS = 0.1
"""At most this often the server is told of a newly stored position."""


class Reader:
    """What runs in the thread.

    Args:
        connection: the replication connection, streaming.
        catalog: a catalog session, for reselects.
        transactions: where the stream is assembled.
        batch: when a batch closes.
        idle_interval: seconds between stored positions of an idle source.
        session_timeout: seconds after which the server gives us up without feedback.
        each_tick: called every `idle_interval`; raises when the source is no longer as it must be.
        subject: what to call the connector in errors.
    """

    def __init__(
        self,
        connection: ReplicationConnection,
        catalog: Session,
        transactions: Transactions,
        *,
        batch: BatchSettings,
        idle_interval: float,
        session_timeout: float,
        each_tick: Callable[[], None],
        subject: str,
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self.transactions = transactions
        self._linger = batch.linger
        self._turn = batch.bytes // 8
        self._idle_interval = idle_interval
        self._feedback_seconds = session_timeout / 3
        self._silence_seconds = 2 * session_timeout
        self._heard_at = time.monotonic()
        self._each_tick = each_tick
        self._subject = subject
        self.mailbox = Mailbox(connection.wake)
        self.stopping = False
        self.confirmed = transactions.position.end_lsn
        self._sent = self.confirmed
        self._sent_at = time.monotonic()
        self._offered_lsn = self.confirmed
        self._filling_since: float | None = None
        self._ticked_at = time.monotonic()
        self.server_lsn = self.confirmed
        self.drained = False
        self.snapshot: SnapshotReader | None = None
        self._thread: Thread | None = None

    def stop(self) -> None:
        """End soon. From any thread."""
        self.stopping = True
        self._connection.wake()

    def start(self, work: Callable[[], None]) -> None:
        """Do `work` in a thread of its own; the mailbox ends with it, with or without an error."""
        self._thread = Thread(target=self._run, args=(work,), name="reader", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the thread has ended; the connections are the caller's again."""
        if self._thread is not None:
            self._thread.join()

    def lag_seconds(self) -> float:
        """Age of the newest commit that was read while there is more behind it; 0 when all is stored."""
        if self.drained and self.confirmed >= self._offered_lsn:
            return 0.0
        commit = self.transactions.commit_time_us
        return round(max(0.0, time.time() - commit / 1e6), 3) if commit else 0.0

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Stopped:
            self.mailbox.end()
        except BaseException as error:
            self.mailbox.end(error)
        else:
            self.mailbox.end()

    def stream(self) -> None:
        """Read until stopped, or until the transactions are held.

        Raises: Stopped, SourceUnavailable, ProtocolError, Gap.
        """
        get = self._connection.pgconn.get_copy_data
        transactions = self.transactions
        feed = transactions.feed
        while True:
            length = 1
            for _ in range(MESSAGES_PER_LOOK):
                length, view = get(1)
                if length <= 0:
                    break
                message = bytes(view)
                if message[0] != XLOG_DATA:
                    self._keepalive(message)
                elif feed(message):
                    if transactions.held:
                        self.drained = False
                        return
                    self._resolve()
                    if transactions.full:
                        self._hand_over()
            if length < 0:
                self._explain(self._connection.stream_end())
            if length > 0:
                self.drained = False
                self._look()
            elif self._connection.wait(self._look()):
                self._connection.consume()
                self._heard_at = time.monotonic()
            else:
                self._check_silence()
            if self._reached_hold():
                return

    def read_snapshot(
        self, snapshot: SnapshotReader, finished: Callable[[SnapshotTable], Mapping[str, Any]], transaction: Transaction
    ) -> None:
        """Publish the tables' rows while the stream is held.

        Args:
            finished: a table is complete → the ledger that says so.
            transaction: what the rows' events say of position and time.
        Raises: Stopped, SourceUnavailable, SourceError.
        """
        transactions = self.transactions
        self._flush()
        self.snapshot = snapshot
        ledgers: list[Mapping[str, Any]] = []
        for table in snapshot.tables:
            transactions.announce(table.planned, position_text(transaction.commit_lsn, 0))
            begin_table(table.planned, transaction)
        try:
            snapshot.begin()
            while not snapshot.done:
                transactions.size += snapshot.read(
                    POLL_SECONDS, self._turn, transactions.records, lambda table: ledgers.append(finished(table))
                )
                self._look_idle()
                if transactions.full:
                    self._hand_over(ledgers[-1] if ledgers else None)
                    ledgers.clear()
        finally:
            snapshot.close()
        self._hand_over(ledgers[-1] if ledgers else None)
        self.snapshot = None
        self._heard_at = time.monotonic()
        transactions.resume()
        structlog.get_logger().info("snapshot done", **snapshot.progress.as_json())

    def wait_each_second(self) -> None:
        """Keep the held stream alive while something else is waited for. Raises: Stopped."""
        if self.stopping:
            raise Stopped
        self._feedback(time.monotonic())

    def _check_silence(self) -> None:
        """Half-open connections: the server was asked for a keepalive and says nothing.

        Raises: SourceUnavailable.
        """
        silent = time.monotonic() - self._heard_at
        if silent > self._silence_seconds:
            raise SourceUnavailable(f"{self._subject}: the server has been silent for {silent:.0f} s; connecting anew")

    def _explain(self, end: SourceError) -> NoReturn:
        """Raise why the stream ended; a publication that is gone or changed is a Gap."""
        if not end.retriable:
            self._each_tick()
        raise end

    def _reached_hold(self) -> bool:
        hold = self.transactions.hold_at
        return hold is not None and not self.transactions.open and self.transactions.position.end_lsn >= hold

    def _keepalive(self, message: bytes) -> None:
        keepalive = parse_header(message)
        assert isinstance(keepalive, Keepalive)
        self.server_lsn = max(self.server_lsn, keepalive.end_lsn)
        if not self.transactions.open:
            self.transactions.idle(keepalive.end_lsn)
        if keepalive.reply:
            self._send(time.monotonic())

    def _look(self) -> float:
        """Feedback, the tick, and a batch if one is due; returns how long there is nothing to do."""
        now = time.monotonic()
        self._look_idle(now)
        transactions = self.transactions
        if transactions.open:
            return self._feedback_seconds
        if transactions.records:
            self.drained = False
            if self._filling_since is None:
                self._filling_since = now
            linger = self._linger if len(transactions.records) < BUSY_ROWS else max(self._linger, BUSY_LINGER)
            due = self._filling_since + linger - now
            if due > 0:
                return due
            if self.mailbox.wanted:
                self._hand_over()
            return self._feedback_seconds
        self.drained = True
        return min(self._feedback_seconds, max(0.0, self._ticked_at + self._idle_interval - now))

    def _look_idle(self, now: float | None = None) -> None:
        """Stop, feedback and the tick. Raises: Stopped, and what the tick raises."""
        now = time.monotonic() if now is None else now
        if self.stopping:
            raise Stopped
        self._feedback(now)
        if now - self._ticked_at >= self._idle_interval:
            self._ticked_at = now
            if self.snapshot is not None:
                structlog.get_logger().info("snapshot", **self.snapshot.progress.as_json())
            # Before an idle position is confirmed: on PostgreSQL 18 a dropped publication is
            # skipped silently, and keepalives go on past its changes.
            end_lsn = self.transactions.position.end_lsn
            self._each_tick()
            if not self.transactions.records and not self.transactions.open and end_lsn > self._offered_lsn:
                self._hand_over()

    def _feedback(self, now: float) -> None:
        since = now - self._sent_at
        if since >= self._feedback_seconds:
            self._send(now, ask=True)
        elif self.confirmed > self._sent and since >= CONFIRM_SECONDS:
            self._send(now)

    def _send(self, now: float, *, ask: bool = False) -> None:
        self._sent, self._sent_at = self.confirmed, now
        self._connection.send_status(self._sent, ask=ask)

    def _flush(self) -> None:
        if self.transactions.records:
            self._hand_over()

    def _hand_over(self, ledger: Mapping[str, Any] | None = None) -> None:
        """Give the batch to the worker; while it is busy, only feedback goes on.

        Raises: Stopped.
        """
        batch = self._close_batch(ledger)
        while not self.mailbox.offer(batch):
            self._connection.wait(min(1.0, self._feedback_seconds), readable=False)
            self.wait_each_second()
        self._heard_at = time.monotonic()  # nothing was read meanwhile

    def _resolve(self) -> None:
        """Read the unchanged values that events wait for. Raises: SourceUnavailable, SourceError."""
        transactions = self.transactions
        if transactions.pending:
            pending, transactions.pending = transactions.pending, []
            transactions.size += resolve(self._catalog, pending, transactions.records, PAYLOAD_OFFSET, self._subject)

    def _close_batch(self, ledger: Mapping[str, Any] | None) -> Batch:
        self._resolve()
        transactions = self.transactions
        records: list[Record] = transactions.records
        position: Position = transactions.position.stored(ledger)
        self._offered_lsn = transactions.position.end_lsn
        batch = Batch(records, position, tuple(transactions.topics))
        transactions.clear()
        self._filling_since = None
        return batch
