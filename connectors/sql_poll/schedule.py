"""When polls begin, and when they rest. Pure: the clock is passed in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from random import Random

from cdc.errors import ConfigError, Problem

from .due import Cron, read
from .settings import SqlPollSettings

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


class Schedule:
    """When polls begin, by `schedule`, `jitter` and `not_between`. All times it returns are in UTC.

    Args:
        section: the connector's.
        random: where the jitter comes from.
    Raises:
        ConfigError: `not_between` leaves no time of the day.
    """

    def __init__(self, section: SqlPollSettings, random: Random | None = None) -> None:
        self._zone = section.zone
        self._due = read(section.schedule, self._zone)
        self._jitter = section.jitter
        self._random = random or Random()
        self._windows = [_times(window) for window in section.not_between]
        if all(any(_holds(window, minute) for window in self._windows) for minute in _minutes()):
            raise ConfigError([Problem(f"not_between: {', '.join(section.not_between)} leaves no time for a poll")])

    @property
    def waits_first(self) -> bool:
        """Whether the first poll waits for a cron line to match."""
        return isinstance(self._due, Cron)

    def first(self, now: datetime) -> datetime:
        """When the first poll begins: now, or when the cron line matches; never inside a window."""
        return self.next(now, now) if self.waits_first else self._outside(now.astimezone(UTC))

    def next(self, after: datetime, now: datetime) -> datetime:
        """When the next poll begins: never before `now`, never inside a window.

        Args:
            after: when the last one began. However many were due since, one poll makes up for them.
            now: the time.
        """
        due = self._outside(self._due.after(after.astimezone(UTC)))
        due += timedelta(seconds=self._random.uniform(0, self._jitter))
        return self._outside(max(due, now.astimezone(UTC)))

    def paused(self, now: datetime) -> datetime | None:
        """The end of the window that `now` is in, past all that adjoin it; None outside."""
        end = None
        while (later := self._end(end or now.astimezone(UTC))) is not None:
            end = later
        return end

    def _outside(self, moment: datetime) -> datetime:
        return self.paused(moment) or moment

    def _end(self, moment: datetime) -> datetime | None:
        """The end of a window that `moment` is in."""
        today = moment.astimezone(self._zone).date()
        for day in (today - _DAY, today, today + _DAY):
            for start, end in self._windows:
                begin = self._instant(datetime.combine(day, start), fold=0)
                # Where a clock that is set back shows the end twice, it is the later one.
                over = self._instant(datetime.combine(day if start < end else day + _DAY, end), fold=1)
                if begin <= moment < over:
                    return over
        return None

    def _instant(self, wall: datetime, fold: int) -> datetime:
        """When local clocks show this time; if they skip it, when they do so."""
        moment = wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC)
        if moment.astimezone(self._zone).replace(tzinfo=None) == wall:
            return moment
        # Read with the offset from after the jump it is before it, and the other way round.
        early, late = (wall.replace(tzinfo=self._zone, fold=side).astimezone(UTC) for side in (1, 0))
        offset = late.astimezone(self._zone).utcoffset()

        def jumped(seconds: int) -> bool:
            return (early + timedelta(seconds=seconds)).astimezone(self._zone).utcoffset() == offset

        return early + timedelta(seconds=bisect_left(range((late - early) // _SECOND), True, key=jumped))


def _times(window: str) -> tuple[time, time]:
    start, _, end = window.partition("-")
    return time.fromisoformat(start), time.fromisoformat(end)


def _holds(window: tuple[time, time], moment: time) -> bool:
    start, end = window
    return start <= moment < end if start < end else moment >= start or moment < end


def _minutes() -> Iterator[time]:
    return (time(hour, minute) for hour in range(24) for minute in range(60))
