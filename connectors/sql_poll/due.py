"""What `schedule` says: a duration, or a cron line of five fields; and what is due next by it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from pydantic import TypeAdapter

from cdc.settings import Duration

NEITHER = (
    "must be a duration, such as 5s, or a cron line of five fields (minute, hour, day, month, weekday), "
    "such as */5 8-18 * * mon-fri"
)

SHORTEST, LONGEST = 0.001, 366 * 86400.0

_DURATION: TypeAdapter[float] = TypeAdapter(Duration)
_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d{1,3}))?", re.ASCII)
_TICK = timedelta(microseconds=1)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Every:
    """A duration after another.

    Args:
        trigger: the IntervalTrigger that counts them.
    """

    trigger: Any

    def after(self, moment: datetime) -> datetime:
        """What is due next after `moment`, in UTC."""
        found: datetime = self.trigger.get_next_fire_time(moment, moment)
        return found


@dataclass(frozen=True, slots=True)
class Cron:
    """The minutes that a cron line matches.

    Args:
        triggers: CronTriggers; what one of them matches is due.
    """

    triggers: Sequence[Any]

    def after(self, moment: datetime) -> datetime:
        """What is due next after `moment`, in UTC; a minute that the clock skips is due as much later."""
        return min(found for trigger in self.triggers if (found := _match(trigger, moment + _TICK)) is not None)


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: Sequence[str] = ()

    def values(self, text: str) -> list[int]:
        """Every number that the field's text stands for. Raises: ValueError."""
        return sorted({value for part in text.lower().split(",") for value in self._part(part)})

    def _part(self, part: str) -> range:
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{self.name}: {part!r} is no number, range, or step such as */5")
        first, last = self.first, self.last
        if found[1] is not None:
            first = self._value(found[1])
            last = self._value(found[2]) if found[2] is not None else first
        if self.name == "weekday" and found[2] is not None and last == 0:
            last = 7  # a week may end with Sunday as well
        if last < first:
            raise ValueError(f"{self.name}: {part} runs backwards")
        step = int(found[3] or 1)
        if found[3] is not None and (step == 0 or step > last - first):
            raise ValueError(
                f"{self.name}: {part} needs a range that its step fits into, such as {self.first}-{self.last}/2"
            )
        return range(first, last + 1, step)

    def _value(self, text: str) -> int:
        if text in self.names:
            return self.first + self.names.index(text)
        if not text.isdecimal() or not self.first <= int(text) <= self.last:
            names = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
            raise ValueError(f"{self.name}: {text} is not {self.first}-{self.last}{names}")
        return int(text)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    _Field("weekday", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def read(text: str, zone: tzinfo = UTC) -> Every | Cron:
    """What a schedule means.

    Args:
        text: a duration as elsewhere in the YAML, or a cron line as crontab(5) has it.
        zone: the time zone of a cron line.
    Raises:
        ValueError: it is neither; with words that follow the setting's name.
    """
    fields = text.split()
    if len(fields) == len(_FIELDS):
        return Cron(_cron(fields, zone))
    try:
        seconds = _DURATION.validate_python(text)
    except ValueError:
        raise ValueError(NEITHER) from None
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError("must be from 1ms to 366d")
    return Every(IntervalTrigger(seconds=seconds, timezone=UTC))


def _cron(fields: Sequence[str], zone: tzinfo) -> list[Any]:
    minute, hour, day, month, weekday = (
        "*" if text == "*" else field.values(text) for field, text in zip(_FIELDS, fields, strict=True)
    )
    # APScheduler 3 counts weekdays from Monday, crontab from Sunday.
    weekday = weekday if weekday == "*" else [(int(value) - 1) % 7 for value in weekday]
    days = [(day, weekday)]
    if not fields[2].startswith("*") and not fields[4].startswith("*"):
        # crontab(5): where both are given, either is enough; to APScheduler both would have to match.
        days = [(day, "*"), ("*", weekday)]
    triggers = [
        CronTrigger.from_crontab(
            " ".join(",".join(map(str, field)) for field in (minute, hour, one, month, other)), timezone=zone
        )
        for one, other in days
    ]
    triggers = [trigger for trigger in triggers if _match(trigger, _LONG_AGO) is not None]
    if not triggers:
        raise ValueError(f"never comes: no {fields[2]} in month {fields[3]}")
    return triggers


def _match(trigger: Any, earliest: datetime) -> datetime | None:
    found: datetime | None = trigger.get_next_fire_time(None, earliest)
    return None if found is None else found.astimezone(UTC)
