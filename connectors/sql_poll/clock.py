"""The source's time, and since when its oldest transaction is open: asked, or declared. Reads the source.

Whoever looks does so before the pass begins: a transaction that the pass does not see, and that had begun by then,
is among those that are open.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from cdc.errors import SourceError

from .marks import Watermark
from .values import MYSQL

TOLERANCE_SECONDS = 1.0
"""Clocks may differ, and be put right, by so much; what is read twice for it costs little."""

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_STARTED = time.time() - time.clock_gettime(_STEADY)


def steady() -> float:
    """Our own time, seconds since the Unix epoch. While this process runs nobody sets it back: whoever sets the clock
    of a machine may set the source's too, and then they would agree that nothing had happened."""
    return _STARTED + time.clock_gettime(_STEADY)


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen.

    Args:
        now: the source's time.
        oldest: when the oldest transaction began that was open, or `now`.
        prepared: whether one is prepared, or hidden (`track_activities`): nobody tells when that began.
        ahead: whether one began later than now: the clock was set back.
        wall: our own time, as `steady` has it.
    """

    now: datetime
    oldest: datetime
    prepared: bool = False
    ahead: bool = False
    wall: float = field(default_factory=steady)

    def as_json(self, before: Watermark | None) -> Watermark:
        """What to know at the next look; `oldest` is None if it may be any time."""
        oldest: str | None = self.oldest.isoformat()
        if self.prepared:
            # It began after the last look at which none was prepared, if there was one, and the clock went on since.
            known = before["oldest"] if before is not None and not self.set_back(before) else None
            oldest = known if known is None or datetime.fromisoformat(known) < self.oldest else oldest
        return {"now": self.now.isoformat(), "oldest": oldest, "wall": self.wall}

    def set_back(self, before: Watermark) -> bool:
        """Whether the source's clock was set back since: it went slower than ours."""
        passed = (self.now - datetime.fromisoformat(before["now"])).total_seconds()
        return self.ahead or passed < 0 or passed < self.wall - before["wall"] - TOLERANCE_SECONDS

    def none_is_open_since(self, moment: datetime) -> bool:
        """Whether all transactions that were open at that moment have ended."""
        return not self.prepared and not self.ahead and self.oldest > moment


class Clock(Protocol):
    """Of one source."""

    def look(self, connection: sa.Connection) -> Look:
        """Ask. The connection is not within a transaction. Raises: SourceError: not allowed to."""
        ...

    def bound(self, column: sa.ColumnElement[Any], moment: datetime) -> sa.ColumnElement[Any]:
        """A moment, to compare a column with; a little earlier, as clocks differ."""
        ...

    def largest(self, connection: sa.Connection, source: sa.FromClause, column: sa.ColumnElement[Any]) -> Any:
        """The largest value of a column, fit to be stored; None if there is no row."""
        ...


_UTC = frozenset({"UTC", "Etc/UTC", "GMT", "+00:00"})

_NOW = sa.text("SELECT clock_timestamp(), (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone')")

_OPEN = sa.text("""
SELECT (SELECT min(xact_start) FROM pg_stat_activity WHERE pid <> pg_backend_pid()),
       (SELECT max(xact_start) FROM pg_stat_activity WHERE pid <> pg_backend_pid()) > clock_timestamp(),
       EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
         OR EXISTS (SELECT FROM pg_stat_activity WHERE state = 'disabled' AND datname = current_database()),
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), current_user::text
""")


class PostgresClock:
    """Asks `pg_stat_activity` and `pg_prepared_xacts`, unless it was declared how long a transaction may be open.

    Args:
        subject: what to call the connector in errors.
        look_back: seconds, if declared.
    """

    def __init__(self, subject: str, look_back: float | None = None) -> None:
        self._subject = subject
        self._look_back = look_back
        self._zone = "UTC"

    def look(self, connection: sa.Connection) -> Look:
        with connection.begin():
            now, self._zone = connection.execute(_NOW).one()
            if self._look_back is not None:
                return Look(now, now - timedelta(seconds=self._look_back))
            oldest, ahead, prepared, allowed, user = connection.execute(_OPEN).one()
        if not allowed:
            raise SourceError(
                f"{self._subject}: role {user} may not see since when others' transactions are open",
                hint=f'GRANT pg_read_all_stats TO "{user}"; or declare look_back: the longest that one may be open',
            )
        return Look(now, min(oldest or now, now), bool(prepared), bool(ahead))

    def bound(self, column: sa.ColumnElement[Any], moment: datetime) -> sa.ColumnElement[Any]:
        earlier = f"'{(moment - timedelta(seconds=TOLERANCE_SECONDS)).isoformat()}'::timestamptz"
        if not getattr(column.type, "without_zone", False):
            return sa.literal_column(earlier)
        in_utc = f"{earlier} AT TIME ZONE 'UTC'"
        if self._zone in _UTC:
            return sa.literal_column(f"({in_utc})")
        # Written in UTC, or by sessions that have the server's zone; there an hour comes twice when summer time ends.
        zone = self._zone.replace("'", "''")
        return sa.literal_column(f"least({in_utc}, {earlier} AT TIME ZONE '{zone}' - interval '1 hour')")

    def largest(self, connection: sa.Connection, source: sa.FromClause, column: sa.ColumnElement[Any]) -> Any:
        found = connection.execute(sa.select(sa.func.max(column)).select_from(source)).scalar()
        return None if found is None else str(found)


_MYSQL_ZONE = sa.text("""
SELECT if(@@global.time_zone = 'SYSTEM', @@system_time_zone, @@global.time_zone),
       timestampdiff(SECOND, utc_timestamp(), convert_tz(utc_timestamp(), '+00:00', @@global.time_zone))
""")


class DeclaredClock:
    """Believes that no transaction is open for longer than declared.

    Args:
        look_back: seconds.
    """

    def __init__(self, look_back: float) -> None:
        self._look_back = timedelta(seconds=look_back)
        self._shift = timedelta()

    def look(self, connection: sa.Connection) -> Look:
        with connection.begin():
            now = connection.execute(sa.select(sa.func.now())).scalar_one()
            if connection.dialect.name in MYSQL:
                zone, ahead = connection.execute(_MYSQL_ZONE).one()
                # As for PostgreSQL: what a DATETIME was set to by a session with the server's zone, or in UTC.
                shift = timedelta(seconds=ahead or 0) - timedelta(hours=1)
                self._shift = timedelta() if zone in _UTC else min(shift, timedelta())
        if isinstance(now, str):
            now = datetime.fromisoformat(now)
        return Look(now, now - self._look_back)

    def bound(self, column: sa.ColumnElement[Any], moment: datetime) -> sa.ColumnElement[Any]:
        earlier = moment - timedelta(seconds=TOLERANCE_SECONDS)
        return sa.literal(earlier if getattr(column.type, "zoned", False) else earlier + self._shift, column.type)

    def largest(self, connection: sa.Connection, source: sa.FromClause, column: sa.ColumnElement[Any]) -> Any:
        return connection.execute(sa.select(sa.func.max(column)).select_from(source)).scalar()
