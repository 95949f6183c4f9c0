"""How much WAL the slot holds back, and why; a warning, and at a limit the end of the slot. Touches the database.

Source: https://www.postgresql.org/docs/current/view-pg-replication-slots.html. The server keeps WAL from
`restart_lsn` on. That follows `confirmed_flush_lsn`, but stays at the start of the oldest transaction that was
running, and moves only when the server logs what is running: at checkpoints, every 15 s while it writes, and
when a role that may execute pg_log_standby_snapshot() (PostgreSQL 16 on) wants it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from psycopg import sql
from psycopg.rows import class_row

from cdc.commands.words import duration, size
from cdc.errors import Gap

from .catalog import Session, reading
from .options import RetainedWalSettings
from .slot import drop_free_slot
from .writers import Writer, oldest_writer

INACTIVE_SINCE = 170000
"""pg_replication_slots.inactive_since is there from PostgreSQL 17 on."""

KAFKA_SECONDS = 10.0
"""A batch that is not stored for so long is not just a slow one."""

TRANSACTION_SECONDS = 20.0
"""A younger transaction is not what holds WAL back: the server has not logged what runs now."""

GRACE_SECONDS = 30.0
"""For so long the limit must be passed: a burst of a neighbour database is let go of within 25 s by itself."""

LOGGED_SINCE = 160000
"""pg_log_standby_snapshot() is there from PostgreSQL 16 on."""

LET_GO_BYTES = 4 * 1024 * 1024
"""When so much is kept although it is confirmed, the server is asked to log what is running."""

WORTH_TELLING = 64 * 1024 * 1024
"""Bytes: for less no cause is looked for, unless the limit of the warning is lower."""

SAFE_SHARE = 0.25
"""With less than this share of what the server allows left it is time for a warning, whatever the limit."""

SAMPLES = 360


@dataclass(frozen=True, slots=True)
class Held:
    """What the server says of the slot. LSNs are text; sizes bytes; None where the server says NULL."""

    active: bool
    status: str | None
    safe: int | None
    retained: int | None
    unconfirmed: int | None
    confirmed: str | None
    now: str
    now_bytes: int
    inactive_seconds: float | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why WAL is held back: a word that stays the same, and a sentence that counts on."""

    kind: str
    text: str


class Log(Protocol):
    """Where warnings go."""

    def warning(self, event: str, **details: Any) -> Any: ...

    def info(self, event: str, **details: Any) -> Any: ...


class Retention:
    """What one slot holds back, looked at again and again. For one thread, but for its two public attributes.

    `publishing_since` (monotonic seconds, or None) is when the batch that the publisher has was given to it;
    `held_for` the table without a key for whose rows the stream is held, or None.

    Args:
        settings: the limits.
        slot, connector: their names.
        why: what is wrong with the connector, where not the connector itself looks; None: it reads the slot.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: RetainedWalSettings,
        slot: str,
        connector: str,
        *,
        why: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        log: Log | None = None,
    ) -> None:
        self._settings, self._slot, self._connector, self._why, self._clock = settings, slot, connector, why, clock
        self._subject = f"connector {connector}"
        self._log = log or structlog.get_logger().bind(connector=connector)
        self._ages = Ages()
        self._told: set[str] = set()
        self._over_since: float | None = None
        self.publishing_since: float | None = None
        self.held_for: str | None = None

    def look(self, session: Session, release: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """What `status` shows; warns, once, where the limit is passed.

        Args:
            release: lets go of the slot, which can then be dropped.
        Raises:
            Gap: the slot was dropped, as the settings want it at their limit.
            SourceUnavailable, SourceError.
        """
        held = find(session, self._slot, self._subject)
        if held is None:
            return dict.fromkeys(FIGURES)
        if held.active and (held.retained or 0) - (held.unconfirmed or 0) > LET_GO_BYTES:
            log_running(session, self._subject)
        cause = self._cause(session, held)
        figures = self.judge(held, cause)
        if self._over(held):
            release()
            drop_free_slot(session, self._slot, self._subject)
            raise self._dropped(held, cause)
        return figures

    def judge(self, held: Held, cause: Cause | None) -> dict[str, Any]:
        """The figures, and the warning where one is due."""
        warning = self._warning(held, cause)
        kind = cause.kind if cause else "unknown"
        if warning is not None and kind not in self._told:
            self._told.add(kind)
            self._log.warning(warning)
        elif warning is None and self._told:
            self._told.clear()
            self._log.info("the slot holds back no more WAL than it should", slot=self._slot)
        age = self._ages.seconds(self._clock(), held.now_bytes, held.now_bytes - (held.unconfirmed or 0))
        if held.unconfirmed and not held.active:
            age = max(age, held.inactive_seconds or 0.0)
        values = (held.retained, held.safe, held.status, round(age, 1), cause.text if cause else None, warning)
        return dict(zip(FIGURES, values, strict=True))

    def _warning(self, held: Held, cause: Cause | None) -> str | None:
        """In words; it ends when a fifth less than the limit is held back."""
        retained, limit = held.retained or 0, self._settings.warn_at * (0.8 if self._told else 1.0)
        scarce = held.safe is not None and held.safe < SAFE_SHARE * (held.safe + retained)
        if retained < limit and not scarce and held.status not in ("unreserved", "lost"):
            return None
        if held.status == "lost":
            return f"the server has given up slot {self._slot}: it held back more WAL than max_slot_wal_keep_size"
        kept = f"slot {self._slot} holds back {size(retained)} of WAL"
        why = f": {cause.text}" if cause else ""
        left = "" if held.safe is None else f"; the server gives the slot up after {size(max(0, held.safe))} more"
        return f"{kept}{why}{left}"

    def _cause(self, session: Session, held: Held) -> Cause | None:
        retained = held.retained or 0
        if held.status != "lost" and retained < min(WORTH_TELLING, self._settings.warn_at * 0.8):
            return None
        behind_confirmed = retained - (held.unconfirmed or 0)
        trailing = behind_confirmed > (held.unconfirmed or 0)
        writer = oldest_writer(session, self._subject) if trailing else None
        publishing = self.publishing_since
        seconds = None if publishing is None else self._clock() - publishing
        return cause_of(held, trailing, writer, self._why, seconds, self.held_for)

    def _over(self, held: Held) -> bool:
        """Whether the slot has been past its last limit for long enough, and may be dropped by us."""
        limit = self._settings.drop_slot_at
        if limit is None or (held.retained or 0) < limit or (held.active and self._why is not None):
            self._over_since = None
            return False
        now = self._clock()
        if self._over_since is None:
            self._over_since = now
        return now - self._over_since >= GRACE_SECONDS

    def _dropped(self, held: Held, cause: Cause | None) -> Gap:
        limit = size(self._settings.drop_slot_at)
        because = f" ({cause.text})" if cause else ""
        missing = f"changes from {held.confirmed} to {held.now} (now) are missing"
        return Gap(
            f"{self._subject}: replication slot {self._slot} held back {size(held.retained)} of WAL{because} "
            f"and was dropped, as drop_slot_at: {limit} wants it: {missing}",
            hint=f"`cdc heal {self._connector}` shows what is missing, and with --yes mends it",
        )


FIGURES = (
    "retained_wal_bytes",
    "safe_wal_bytes",
    "wal_status",
    "unconfirmed_seconds",
    "wal_held_by",
    "wal_warning",
)
"""Members of `Connector.status`."""


def cause_of(
    held: Held,
    trailing: bool,
    writer: Writer | None,
    why: str | None,
    publishing_seconds: float | None,
    held_for: str | None,
) -> Cause:
    """Why WAL is held back.

    Args:
        trailing: more is held back that is confirmed than that is not.
        writer: the oldest writing transaction.
        why: what is wrong with the connector; None: it runs, and it is it that asks.
        publishing_seconds: how long the publisher has had its batch.
        held_for: the table without a key that is being read.
    """
    if not held.active:
        return Cause("unread", f"nobody reads the slot: {why or 'the connector is only starting'}")
    if trailing:
        if writer is None or (writer.seconds is not None and writer.seconds < TRANSACTION_SECONDS):
            return Cause("server", "the server lets go of it when it logs what is running, every 15 s")
        unseen = "for how long is seen by roles with pg_read_all_stats"
        long = unseen if writer.seconds is None else f"for {duration(writer.seconds)}"
        return Cause("transaction", f"the {writer.name} is open, {long}")
    if publishing_seconds is not None and publishing_seconds >= KAFKA_SECONDS:
        return Cause("kafka", f"Kafka has not stored a batch for {duration(publishing_seconds)}")
    if held_for is not None:
        return Cause("snapshot", f"the stream waits for the rows of {held_for}, which has no key, to be read")
    return Cause("behind", f"the stream is {size(held.unconfirmed)} behind")


class Ages:
    """How old what is not confirmed is, by where the WAL was when."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    def seconds(self, now: float, written: int, confirmed: int) -> float:
        """Note that the WAL is `written` long now; age of the oldest of it behind `confirmed`, to within a look."""
        samples = [sample for sample in self._samples if sample[1] > confirmed]
        if written > (samples[-1][1] if samples else confirmed):
            samples.append((now, written))
        # The oldest one is kept, it is the answer; between the others less often is enough.
        self._samples = samples if len(samples) <= SAMPLES else samples[::2]
        return now - samples[0][0] if samples else 0.0


HELD_QUERY = """
SELECT s.active, s.wal_status AS status, s.safe_wal_size::bigint AS safe,
       (n.lsn - s.restart_lsn)::bigint AS retained, (n.lsn - s.confirmed_flush_lsn)::bigint AS unconfirmed,
       s.confirmed_flush_lsn::text AS confirmed, n.lsn::text AS now, (n.lsn - '0/0'::pg_lsn)::bigint AS now_bytes,
       {inactive} AS inactive_seconds
FROM pg_replication_slots AS s,
     (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END) AS n (lsn)
WHERE s.slot_name = %s AND s.plugin = 'pgoutput' AND s.database = current_database()
"""


def find(session: Session, slot: str, subject: str) -> Held | None:
    """What the server says of the slot; None when there is none."""
    since = "extract(epoch FROM clock_timestamp() - s.inactive_since)::float8"
    known = session.info.server_version >= INACTIVE_SINCE
    query = sql.SQL(HELD_QUERY).format(inactive=sql.SQL(since if known else "NULL::float8"))
    with reading(subject), session.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(query, [slot]).fetchone()


def log_running(session: Session, subject: str) -> None:
    """Let the server log which transactions run, if our role may: what is kept for older ones is let go of then."""
    if session.info.server_version >= LOGGED_SINCE:
        with reading(subject):
            session.execute(
                "SELECT pg_log_standby_snapshot() WHERE has_function_privilege('pg_log_standby_snapshot()', 'EXECUTE')"
            )
