"""Dates, times and intervals as drivers give them, or as text, in the forms of events. Pure.

Between the two they are whole numbers, of days or of µs, or ±inf.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

Moment = int | float

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
MONTH: Final = 2_629_800 * SECOND
"""30.4375 days, as Debezium counts them."""

_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_DAYS: Final = _EPOCH.toordinal()
_ERA: Final = 146_097
"""Days of 400 years, after which the calendar repeats itself."""

_INFINITE: Final = {"infinity": math.inf, "-infinity": -math.inf}
_WORDS: Final = {number: word for word, number in _INFINITE.items()}
_INFINITE_DAYS: Final = {math.inf: 2**31 - 1, -math.inf: -(2**31)}
_INFINITE_MILLIS: Final = {math.inf: 9_223_372_036_825_200, -math.inf: -9_223_372_036_832_400}

_BC: Final = r"( \(BC\)| BC)?"
_CLOCK: Final = r"(\d{1,3}):(\d\d)(?::(\d\d)(?:\.(\d+))?)?"
_MOMENT: Final = re.compile(rf"(\d{{4,6}})-(\d\d)-(\d\d){_BC}(?:[ T]{_CLOCK})?{_BC} ?(Z|[+-]\d\d(?::?\d\d){{0,2}})?")
_TIME: Final = re.compile(rf"([+-]?){_CLOCK}(Z|[+-]\d\d(?::?\d\d){{0,2}})?")
_SPAN: Final = re.compile(r"([+-]?\d+) (year|month|mon|day)s?")
_PARTS: Final = {"year": 12 * MONTH, "month": MONTH, "mon": MONTH, "day": DAY}


class NoForm(ValueError):
    """A value that no event can hold; says why, and not which."""


def is_zero_date(value: Any) -> bool:
    """Whether it is MySQL's date of no day: `0000-00-00`, or one whose month or day is 0."""
    return isinstance(value, str) and (value.startswith("0000-") or "-00" in value[4:10])


def micros(value: Any) -> Moment:
    """µs since 1970; in UTC, if the value has a zone."""
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        since: timedelta = value - _EPOCH
        return since // timedelta(microseconds=1)
    if isinstance(value, date):
        return (value.toordinal() - _EPOCH_DAYS) * DAY
    if not isinstance(value, str):
        raise NoForm("it is no time")
    if value in _INFINITE:
        return _INFINITE[value]
    found = _MOMENT.fullmatch(value)
    if found is None:
        raise NoForm("it is no time in ISO form")
    year, month, day, early, *clock, late, zone = found.groups()
    return _day_number(int(year), int(month), int(day), bool(early or late)) * DAY + _clock(clock) - _offset(zone)


def days(value: Any) -> Moment:
    """Days since 1970."""
    found = micros(value)
    return found if isinstance(found, float) else found // DAY


def time_micros(value: Any) -> int:
    """µs since midnight; in UTC, if the value has a zone."""
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, time):
        since = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
        offset = value.utcoffset()
        return since // timedelta(microseconds=1) if offset is None else (since - offset) // timedelta(0, 0, 1) % DAY
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise NoForm("it is no time of day")
    sign, *clock, zone = found.groups()
    since_midnight = _clock(clock) * (-1 if sign == "-" else 1)
    return since_midnight if zone is None else (since_midnight - _offset(zone)) % DAY


def interval_micros(value: Any) -> int:
    """µs, a month counted as 30.4375 days."""
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if not isinstance(value, str):
        raise NoForm("it is no interval")
    total = sum(int(count) * _PARTS[part] for count, part in _SPAN.findall(value))
    rest = _SPAN.sub("", value).strip()
    return total + (time_micros(rest) if rest else 0)


def date_json(value: Any) -> int:
    found = days(value)
    return _INFINITE_DAYS[found] if isinstance(found, float) else found


def millis_json(value: Any) -> int:
    found = micros(value)
    return _INFINITE_MILLIS[found] if isinstance(found, float) else found // 1000


def micros_json(value: Any) -> int:
    found = micros(value)
    return _INFINITE_MILLIS[found] * 1000 if isinstance(found, float) else min(found, 2**63 - 1)


def zoned_json(value: Any, digits: int) -> str:
    """ISO 8601 in UTC with so many digits of a second."""
    found = micros(value)
    if isinstance(found, float):
        return _WORDS[found]
    number, rest = divmod(found, DAY)
    year, ending = _calendar(number)
    written = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}"
    fraction = f".{rest % SECOND:06d}"[: digits + 1] if digits else ""
    return f"{written}{ending}T{_hms(rest)}{fraction}Z"


def zoned_time_json(value: Any) -> str:
    """ISO 8601 in UTC."""
    return time_text(value) + "Z"


def date_text(value: Any) -> str:
    """As PostgreSQL writes it."""
    found = days(value)
    return _WORDS[found] if isinstance(found, float) else "".join(_dated(found))


def timestamp_text(value: Any) -> str:
    """As PostgreSQL writes it."""
    found = micros(value)
    if isinstance(found, float):
        return _WORDS[found]
    number, rest = divmod(found, DAY)
    day, era = _dated(number)
    return f"{day} {_hms(rest)}{_fraction(rest)}{era}"


def zoned_text(value: Any) -> str:
    """As PostgreSQL writes it in a session in UTC."""
    text = timestamp_text(value)
    if text in _INFINITE:
        return text
    return text.removesuffix(" BC") + "+00" + (" BC" if text.endswith(" BC") else "")


def time_text(value: Any) -> str:
    """As PostgreSQL writes it; of one with a zone, what it is in UTC."""
    found = time_micros(value)
    return ("-" if found < 0 else "") + _hms(abs(found)) + _fraction(abs(found))


def _clock(parts: list[str | None]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * SECOND + int(f"{fraction or '':0<6.6}")


def _offset(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    parts = re.findall(r"\d\d", zone)
    seconds = sum(int(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    return (-seconds if zone[0] == "-" else seconds) * SECOND


def _day_number(year: int, month: int, day: int, before_christ: bool) -> int:
    eras, within = divmod((1 - year if before_christ else year) - 1, 400)
    try:
        return date(within + 1, month, day).toordinal() - _EPOCH_DAYS + eras * _ERA
    except ValueError:
        raise NoForm("it is no day of the calendar") from None


def _calendar(number: int) -> tuple[int, str]:
    """Days since 1970 → astronomical year, and `-MM-DD`."""
    eras, within = divmod(number + _EPOCH_DAYS - 1, _ERA)
    day = date.min + timedelta(days=within)
    return day.year + 400 * eras, f"-{day.month:02d}-{day.day:02d}"


def _dated(number: int) -> tuple[str, str]:
    """Days since 1970 → date and era."""
    year, ending = _calendar(number)
    return (f"{year:04d}{ending}", "") if year > 0 else (f"{1 - year:04d}{ending}", " BC")


def _hms(since_midnight: int) -> str:
    seconds = since_midnight // SECOND
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _fraction(since_midnight: int) -> str:
    return f".{since_midnight % SECOND:06d}".rstrip("0").rstrip(".")
