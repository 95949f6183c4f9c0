"""Dates, times and durations in events → PostgreSQL's text of them. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from .checked import text, whole

_EPOCH_DAYS: Final = date(1970, 1, 1).toordinal()
_ERA: Final = 146_097
"""Days of 400 years, after which the calendar repeats itself."""

_WRAPPED: Final = -(2**63) + 1_000_000
"""What is below is Debezium's overflow of a timestamp beyond 64 bits: their end, and the fraction of a second."""

_INFINITE_DAYS: Final = {
    2**31 - 1: "infinity",
    -(2**31): "-infinity",
    # Debezium's own, overflows: of a snapshot, and of the stream.
    -622_191_234: "infinity",
    -625_821_272: "-infinity",
    -2_147_472_692: "infinity",
    -2_147_472_691: "-infinity",
}
_INFINITE_MILLIS: Final = {9_223_372_036_825_200: "infinity", -9_223_372_036_832_400: "-infinity"}
_INFINITE_MICROS: Final = {9_223_372_036_825_200_000: "infinity", -9_223_372_036_832_400_000: "-infinity"}
_INFINITE_DURATIONS: Final = {2**63 - 1: "infinity", -(2**63): "-infinity"}
"""PostgreSQL's infinities in events; those of timestamps are the JDBC driver's."""

_INFINITE_TEXTS: Final = {
    "-5877611-06-21Z": "infinity",
    "-5877611-06-22Z": "-infinity",
    "+292278994-08-16Z": "infinity",
    "+292269055-12-02Z": "-infinity",
    "+294247-01-10T04:00:25.2Z": "infinity",
    "-290308-12-21T19:59:27.6Z": "-infinity",
}
"""The same under `isostring`: dates of the stream, of a snapshot, and timestamps. Only the last but one could be a
time of PostgreSQL's, too."""


def _day(days: int) -> tuple[str, str]:
    """Days since 1970-01-01 → date and era, as PostgreSQL writes them: `("0044-03-15", " BC")`."""
    eras, within = divmod(days + _EPOCH_DAYS - 1, _ERA)
    day = date.min + timedelta(days=within)
    year = day.year + 400 * eras
    shown, era = (year, "") if year > 0 else (1 - year, " BC")
    return f"{shown:04}-{day.month:02}-{day.day:02}", era


def day_text(value: Any) -> str:
    days = whole(value)
    return _INFINITE_DAYS.get(days) or "".join(_day(days))


def _clock(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    whole_seconds = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{whole_seconds}.{fraction:06}" if fraction else whole_seconds


def time_us(value: Any) -> str:
    if not 0 <= whole(value) <= 86_400_000_000:
        raise ValueError("not a time of day")
    return _clock(value)


def time_ms(value: Any) -> str:
    return time_us(whole(value) * 1000)


def _timestamp(value: int) -> str:
    days, micros = divmod(value, 86_400_000_000)
    day, era = _day(days)
    return f"{day} {_clock(micros)}{era}"


def timestamp_us(value: Any) -> str:
    micros = whole(value)
    return _INFINITE_MICROS.get(micros) or _timestamp(micros if micros >= _WRAPPED else 2**63 - 1)


def timestamp_ms(value: Any) -> str:
    return _INFINITE_MILLIS.get(whole(value)) or _timestamp(value * 1000)


def zoned(value: Any) -> str:
    """ISO years have a sign beyond 9999 and count on below 1; PostgreSQL's do neither."""
    written = text(value)
    if written in ("infinity", "-infinity"):
        return written
    if written.startswith("+292269055-12-02T"):  # Debezium's in arrays, far behind PostgreSQL's last
        return "-infinity"
    sign, rest = (written[0], written[1:]) if written[:1] in ("+", "-") else ("", written)
    year, dash, tail = rest.partition("-")
    if not (year.isdecimal() and dash):
        raise ValueError("not an ISO timestamp")
    number = -int(year) if sign == "-" else int(year)
    if number > 0:
        return f"{number:04}-{tail}"
    return f"{1 - number:04}-{tail} BC"


def time_ns(value: Any) -> str:
    return time_us(whole(value) // 1000)


def timestamp_ns(value: Any) -> str:
    return _INFINITE_DURATIONS.get(whole(value)) or _timestamp(value // 1000)


def iso(value: Any) -> str:
    """A date, time or timestamp with a Z that says nothing: PostgreSQL's type has no zone."""
    infinite = _INFINITE_TEXTS.get(text(value))
    if infinite is not None:
        return infinite
    written = text(value).removesuffix("Z")
    return written if written[2:3] == ":" else zoned(written)


def duration(value: Any) -> str:
    micros = whole(value)
    return _INFINITE_DURATIONS.get(micros) or (f"-{_clock(-micros)}" if micros < 0 else _clock(micros))
