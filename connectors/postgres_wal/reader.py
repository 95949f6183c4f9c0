"""The reader's thread: takes the stream, and rows of snapshots beside it, into batches.

It alone touches the replication socket and the catalog session while it runs. It never waits
on Kafka: while the mailbox is full it reads nothing and goes on sending feedback.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import NoReturn

from cdc.connector import Stopped
from cdc.errors import SchemaChanged, SourceError, SourceUnavailable
from cdc.event import Batch, Record
from cdc.failpoints import reach
from cdc.position import Position

from .catalog import Session
from .ledger import Ledger
from .mailbox import Mailbox
from .options import BatchSettings
from .pgoutput import PAYLOAD_OFFSET, XLOG_DATA, Keepalive, parse_header
from .replication import ReplicationConnection
from .reselect import resolve
from .snapshots import Snapshots
from .transactions import Transactions

MESSAGES_PER_LOOK = 1000
"""Messages taken from libpq before feedback and stop are looked at again."""

BUSY_ROWS = 500
"""A batch with fewer rows when its linger is over is handed over at once, a fuller one a little later."""

BUSY_LINGER = 0.05
"""Seconds: how much later; a busy source gains more from large transactions than from low latency."""

POLL_SECONDS = 0.5
"""Longest wait for snapshot rows before feedback and stop are looked at again."""

BESIDE_SECONDS = 0.005
"""Longest wait for snapshot rows while the stream, which is idle, may go on."""

GIVE_UP_SECONDS = 20.0
"""After so long without Kafka a snapshot is given up: its locks would hold back DDL, and with that everybody."""

IDLE_BYTES = 4 * 1024 * 1024
"""After so much WAL of others an idle source's position is stored without waiting for the interval."""

SOONEST_SECONDS = 0.25
"""But no sooner than this after the last tick."""

CONFIRM_SECONDS = 0.1
"""At most this often the server is told of a newly stored position."""


class Reader:
    """What runs in the thread.

    Args:
        connection: the replication connection, streaming.
        catalog: a catalog session, for reselects.
        transactions: where the stream is assembled.
        ledger, snapshots: whose rows are read, and are being read.
        batch: when a batch closes.
        heartbeat: seconds between heartbeats; None: none.
        idle_interval: seconds between stored positions of an idle source.
        session_timeout: seconds after which the server gives us up without feedback.
        each_look: called at least once a second, cheap.
        each_tick: called every `idle_interval`; raises when the source is no longer as it must be.
        ends_with_snapshot: do not go on with the stream behind the tables' rows.
        subject: what to call the connector in errors.
    """

    def __init__(
        self,
        connection: ReplicationConnection,
        catalog: Session,
        transactions: Transactions,
        ledger: Ledger,
        snapshots: Snapshots,
        *,
        batch: BatchSettings,
        heartbeat: float | None,
        idle_interval: float,
        session_timeout: float,
        each_look: Callable[[], None],
        each_tick: Callable[[], None],
        ends_with_snapshot: bool,
        subject: str,
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self.transactions = transactions
        self._ledger = ledger
        self.snapshots = snapshots
        self._linger = batch.linger
        self._heartbeat = heartbeat
        # Debezium's first one comes before what it streams.
        self._beat_at = time.monotonic()
        self._idle_interval = idle_interval
        self._feedback_seconds = session_timeout / 3
        self._silence_seconds = 2 * session_timeout
        self._heard_at = time.monotonic()
        self._each_look = each_look
        self._each_tick = each_tick
        self._ends_with_snapshot = ends_with_snapshot
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
        self._thread: Thread | None = None

    def stop(self) -> None:
        """End soon. From any thread."""
        self.stopping = True
        self._connection.wake()

    def wake(self) -> None:
        """Look at commands now. From any thread."""
        self._connection.wake()

    def start(self) -> None:
        """Begin, in a thread of its own; the mailbox ends with it, with or without an error."""
        self._thread = Thread(target=self._run, name="reader", daemon=True)
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

    def _run(self) -> None:
        try:
            self._read()
        except Stopped:
            self.mailbox.end()
        except BaseException as error:
            self.mailbox.end(error)
        else:
            self.mailbox.end()

    def _read(self) -> None:
        """Until stopped, or until all rows are read and nothing else is wanted.

        Raises: Stopped, SourceUnavailable, ProtocolError, Gap.
        """
        snapshots = self.snapshots
        while True:
            try:
                more = not snapshots.frozen and self._take()
            except SchemaChanged:
                self._flush()  # what is before it
                raise
            self.drained = not more
            if self._reached_hold():
                self._begin_snapshot()
            if snapshots.reading:
                snapshots.step(0.0 if more else BESIDE_SECONDS)
                if self.transactions.full:
                    self._hand_over()
            pause = self._look()
            if self._ends_with_snapshot and not snapshots.reading and not self._ledger.unfinished():
                self._flush()
                return
            if snapshots.frozen:
                self._connection.wait(min(1.0, pause), readable=False)
                self._heard_at = time.monotonic()
            elif not more:
                self._wait(0.0 if snapshots.reading else pause)

    def _wait(self, seconds: float) -> None:
        if self._connection.wait(seconds):
            self._connection.consume()
            self._heard_at = time.monotonic()
        else:
            self._check_silence()

    def _take(self) -> bool:
        """Take messages that are there, up to a hold; whether there may be more."""
        get = self._connection.pgconn.get_copy_data
        transactions = self.transactions
        feed = transactions.feed
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
                    return True
                self._resolve()
                if transactions.full:
                    self._hand_over()
        if length < 0:
            self._explain(self._connection.stream_end())
        return length > 0

    def _begin_snapshot(self) -> None:
        """The stream has reached a snapshot: rows for which it is held come first."""
        snapshots, transactions = self.snapshots, self.transactions
        snapshots.begin()
        while snapshots.reading and snapshots.held_for is not None:
            snapshots.step(POLL_SECONDS)
            if transactions.full:
                self._hand_over()
            self._look()
        self._heard_at = time.monotonic()
        transactions.resume()

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
        transactions = self.transactions
        hold = transactions.hold_at
        return transactions.held or (
            hold is not None and not transactions.open and transactions.position.end_lsn >= hold
        )

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
        if self._tick(now):
            self._offer_idle()
        transactions = self.transactions
        soon = min(self._feedback_seconds, self.snapshots.look(), self._beat(now))
        if transactions.open:
            return soon
        if transactions.records or self._ledger.dirty:
            if self._filling_since is None:
                self._filling_since = now
            linger = self._linger if len(transactions.records) < BUSY_ROWS else max(self._linger, BUSY_LINGER)
            due = self._filling_since + linger - now
            if due > 0:
                return due
            if self.mailbox.wanted:
                self._hand_over()
            return soon
        return min(soon, max(0.0, self._ticked_at + self._idle_interval - now))

    def _look_idle(self, now: float) -> None:
        """Stop, commands and feedback. Raises: Stopped."""
        if self.stopping:
            raise Stopped
        self._each_look()
        self._feedback(now)

    def _tick(self, now: float) -> bool:
        """Every idle interval look at the source, sooner when others write much; whether it was time.

        Raises what the tick raises.
        """
        passed = self.transactions.position.end_lsn - self._offered_lsn
        interval = self._idle_interval if passed < IDLE_BYTES else min(SOONEST_SECONDS, self._idle_interval)
        if now - self._ticked_at < interval:
            return False
        self._ticked_at = now
        self._each_tick()
        return True

    def _beat(self, now: float) -> float:
        """A heartbeat where one is due; returns the seconds until the next one."""
        if self._heartbeat is None:
            return float("inf")
        if now >= self._beat_at:
            self._beat_at = now + self._heartbeat
            self.transactions.add_heartbeat()
        return self._beat_at - now

    def _offer_idle(self) -> None:
        """Store an idle source's position. After the tick.

        On PostgreSQL 18 a dropped publication is skipped silently, and keepalives go on past its changes.
        """
        transactions = self.transactions
        idle = not transactions.records and not transactions.open
        if idle and transactions.position.end_lsn > self._offered_lsn:
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
        if self.transactions.records or self._ledger.dirty:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the batch to the worker; while that is busy, only feedback and the tick go on.

        Raises: Stopped, and what the tick raises.
        """
        batch = self._close_batch()
        reach("stream.before_hand_over")
        began = time.monotonic()
        while not self.mailbox.offer(batch):
            self._connection.wait(min(1.0, self._feedback_seconds), readable=False)
            now = time.monotonic()
            self._look_idle(now)
            self._tick(now)
            if now - began > GIVE_UP_SECONDS and self.snapshots.reading and self.snapshots.held_for is None:
                self.snapshots.give_up()
        self._heard_at = time.monotonic()  # nothing was read meanwhile

    def _resolve(self) -> None:
        """Read the unchanged values that events wait for. Raises: SourceUnavailable, SourceError."""
        transactions = self.transactions
        if transactions.pending:
            pending, transactions.pending = transactions.pending, []
            transactions.size += resolve(self._catalog, pending, transactions.records, PAYLOAD_OFFSET, self._subject)

    def _close_batch(self) -> Batch:
        self._resolve()
        transactions = self.transactions
        records: list[Record] = transactions.records
        position: Position = transactions.position.stored(self._ledger.as_json() if self._ledger.dirty else None)
        self._offered_lsn = transactions.position.end_lsn
        batch = Batch(records, position, tuple(transactions.topics), self.snapshots.take_complete())
        transactions.clear()
        self._filling_since = None
        return batch
