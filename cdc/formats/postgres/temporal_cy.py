"""Dates, times and intervals: PostgreSQL's ISO text becomes Debezium's numbers. Pure.

Arguments of transcoders are digits of a fraction (3, 6 or 9: ms, µs or ns) and may have QUIRK, IN_ARRAY (what
Debezium has in arrays came through java.sql's types) or, for dates, AS_STREAMED or AS_SNAPSHOT: then what
Debezium 3.6 does by accident is done too.

Compiled where possible. C types of attributes and arguments are in `temporal_cy.pxd`.
"""

from cdc import cython
from cdc.formats.postgres.java import sql_timestamp, sql_timestamp_fields
from cdc.formats.postgres.numbers_cy import MALFORMED

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.numbers_cy import NumberWriter

DAY_US = cython.declare(cython.longlong, 86_400_000_000)
MONTH_US = cython.declare(cython.longlong, 2_629_800_000_000)
"""30.4375 days, a month's average length: Debezium's measure for intervals."""

INT64_MAX = cython.declare(cython.longlong, 9223372036854775807)
LAST_SECOND = cython.declare(cython.longlong, 9223372036854)
LAST_FRACTION = cython.declare(cython.longlong, 775807)
FAR_MICROS = cython.declare(cython.longlong, 1 << 61)
LAST_DAY = cython.declare(cython.longlong, 106_751_991)
"""The last day, counted from 1970, whose first µs an int64 can hold."""

LAST_NANOS_US = cython.declare(cython.longlong, 9_223_372_036_854_775)
"""The last µs whose ns an int64 can hold."""

FIRST_NANOS_US = cython.declare(cython.longlong, -9_223_372_036_000_000)
"""The first one whose whole seconds are in Java's reach, as ns (`Conversions.toEpochNanos`)."""

QUIRK = cython.declare(cython.int, 16)
IN_ARRAY = cython.declare(cython.int, 32)
AS_STREAMED = cython.declare(cython.int, 1)
AS_SNAPSHOT = cython.declare(cython.int, 2)

BEYOND_NANOS = "a timestamp outside of 1677 to 2262 does not fit 64 bits of ns; set another time_precision"


class TemporalWriter(NumberWriter):
    """Writes temporal values as numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.before_christ = False
        self.respelled_text = b""

    def infinity(self) -> cython.int:
        """1 for `infinity`, 2 for `-infinity`, else 0."""
        length: cython.Py_ssize_t = self.end - self.at
        if length == 8 and self.src[self.at] == 105:
            return 1
        if length == 9 and self.src[self.at] == 45:
            return 2
        return 0

    def era(self) -> cython.longlong:
        """Read a year; the years before 1 AD are 0, -1, … as in ISO 8601."""
        self.before_christ = (
            self.end - self.at > 3
            and self.src[self.end - 1] == 67
            and self.src[self.end - 2] == 66
            and self.src[self.end - 3] == 32
        )
        if self.before_christ:
            self.end -= 3
        year: cython.longlong = self.digits(4, 7)
        return 1 - year if self.before_christ else year

    def through_java(self, fields: cython.bint) -> cython.int:
        """Go on with the text as java.sql.Timestamp makes it, by its fields or by its instant."""
        at: cython.Py_ssize_t = self.at
        old: cython.bint = self.end - at > 19 and self.src[self.end - 1] == 67
        if not old and self.end - at > 5 and self.src[at + 4] == 45 and self.src[at] < 50:
            # A year below 2000: the rest is looked at in Python.
            old = self.src[at] == 48 or self.src[at + 1] < 54
        if not old:
            return 0
        text: bytes = self.src[at : self.end]
        try:
            text = sql_timestamp_fields(text) if fields else sql_timestamp(text)
        except ValueError:
            raise ValueError(MALFORMED) from None
        self.respelled_text = text  # the cursor is over it
        self.src = text
        self.at = 0
        self.end = len(text)
        return 0

    def calendar_days(self) -> cython.longlong:
        """Read a date; days since 1970-01-01 in the proleptic Gregorian calendar."""
        year: cython.longlong = self.era()
        self.skip(45)
        month: cython.longlong = self.digits(2, 2)
        self.skip(45)
        day: cython.longlong = self.digits(2, 2)
        if month < 1 or month > 12 or day < 1 or day > 31:
            raise ValueError(MALFORMED)
        # Years begin in March, so that the leap day is the last; 400 years have 146,097 days.
        # 8,000 years more keep every division's operands positive.
        if month <= 2:
            year -= 1
            month += 12
        year += 8000
        return (
            365 * year
            + year // 4
            - year // 100
            + year // 400
            + (153 * (month - 3) + 2) // 5
            + day
            - 1
            - 719_468
            - 20 * 146_097
        )

    def clock(self) -> cython.longlong:
        """Read a time of day; µs since midnight."""
        hours: cython.longlong = self.digits(2, 2)
        self.skip(58)
        minutes: cython.longlong = self.digits(2, 2)
        self.skip(58)
        seconds: cython.longlong = self.digits(2, 2)
        return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + self.fraction()

    def fraction(self) -> cython.longlong:
        """Read `.ffffff` if it is there; in µs."""
        if self.at >= self.end or self.src[self.at] != 46:
            return 0
        self.at += 1
        start: cython.Py_ssize_t = self.at
        value: cython.longlong = self.digits(1, 6)
        for _ in range(6 - (self.at - start)):
            value *= 10
        return value

    def date(self, rule: cython.int) -> cython.int:
        """Days since 1970-01-01; PostgreSQL's own extremes for the infinities.

        Debezium streams infinite dates as days of LocalDate's wrapped-around ones, and takes those of a
        snapshot through java.sql.Date, which knows no era and has ten days less in October 1582.
        """
        infinite: cython.int = self.infinity()
        if infinite:
            if rule == AS_STREAMED:
                return self.constant(b"-2147472692" if infinite == 1 else b"-2147472691")
            if rule == AS_SNAPSHOT:
                return self.constant(b"-622191234" if infinite == 1 else b"-625821272")
            return self.constant(b"2147483647" if infinite == 1 else b"-2147483648")
        if rule == AS_SNAPSHOT:
            self.without_era()
        days: cython.longlong = self.calendar_days()
        self.finished()
        if rule == AS_SNAPSHOT and -141_437 <= days <= -141_428:
            days += 10
        return self.number(days)

    def without_era(self) -> cython.int:
        """Leave ` BC` out."""
        if self.end - self.at > 3 and self.src[self.end - 1] == 67 and self.src[self.end - 3] == 32:
            self.end -= 3
        return 0

    def time(self, digits: cython.int) -> cython.int:
        """Since midnight: ms for 3 digits, µs for 6, ns for 9; with QUIRK, ms at most and no 24:00 (java.sql.Time)."""
        value: cython.longlong = self.clock()
        self.finished()
        if digits & QUIRK:
            value = value // 1000 * 1000 % DAY_US
            digits -= QUIRK
        if digits == 9:
            return self.number(value * 1000)
        return self.number(value // 1000 if digits == 3 else value)

    def timestamp(self, digits: cython.int) -> cython.int:
        """Since 1970 in no zone: ms for 3 digits, µs for 6, ns for 9.

        Beyond the year 294247 µs stop at the int64's end, with QUIRK they wrap around. What has no ns is
        refused, with QUIRK null. With IN_ARRAY old dates are taken for Julian ones.
        """
        quirk: cython.bint = digits & QUIRK != 0
        in_array: cython.bint = digits & IN_ARRAY != 0
        digits &= 15
        infinite: cython.int = self.infinity()
        if infinite:
            if digits == 9:
                return self.constant(b"9223372036854775807" if infinite == 1 else b"-9223372036854775808")
            # The driver's constants for infinity (pgjdbc), in ms and in µs.
            if digits == 3:
                return self.constant(b"9223372036825200" if infinite == 1 else b"-9223372036832400")
            return self.constant(b"9223372036825200000" if infinite == 1 else b"-9223372036832400000")
        if in_array:
            self.through_java(False)
        days: cython.longlong = self.calendar_days()
        self.skip(32)
        clock: cython.longlong = self.clock()
        self.finished()
        if digits == 3:
            return self.number(days * (DAY_US // 1000) + clock // 1000)
        if days > LAST_DAY or (days == LAST_DAY and clock > INT64_MAX - LAST_DAY * DAY_US):
            if digits == 6:
                return self.number(_wrapped(days, clock) if quirk else INT64_MAX)
            days = LAST_DAY
        if digits == 6:
            return self.number(days * DAY_US + clock)
        if days >= LAST_DAY or not FIRST_NANOS_US <= days * DAY_US + clock <= LAST_NANOS_US:
            if quirk:
                return self.constant(b"null")
            raise ValueError(BEYOND_NANOS)
        return self.number((days * DAY_US + clock) * 1000)

    def interval(self, rule: cython.int) -> cython.int:
        """µs, with months of 30.4375 days; stops at the int64's ends. With QUIRK, rounded as Java's doubles are."""
        infinite: cython.int = self.infinity()
        if infinite and self.src[self.at + infinite - 1] == 105:
            return self.constant(b"9223372036854775807" if infinite == 1 else b"-9223372036854775808")
        self.parts()
        if rule == QUIRK:
            return self.constant(_rounded_interval(self.years * 12 + self.months, self.days, self.micros))
        months: cython.longlong = self.years * 12 + self.months
        # A million years stay far from overflow; what is beyond is added up in Python's integers.
        far: cython.bint = self.micros > FAR_MICROS or self.micros < -FAR_MICROS
        if far or abs(months) > 1_000_000 or abs(self.days) > 30_000_000:
            return self.constant(_large_interval(months, self.days, self.micros))
        return self.number(months * MONTH_US + self.days * DAY_US + self.micros)

    def parts(self) -> cython.int:
        """Read an interval's parts: years, months, days, and the µs of its time."""
        self.years = 0
        self.months = 0
        self.days = 0
        self.micros = 0
        while self.at < self.end:
            negative: cython.bint = self.src[self.at] == 45
            if negative or self.src[self.at] == 43:
                self.at += 1
            value: cython.longlong = self.digits(1, 10)
            if self.at < self.end and self.src[self.at] == 58:
                self.skip(58)
                minutes: cython.longlong = self.digits(2, 2)
                self.skip(58)
                seconds: cython.longlong = self.digits(2, 2)
                self.micros = _clock((value * 60 + minutes) * 60 + seconds, self.fraction(), negative)
            else:
                self.skip(32)
                unit: cython.int = self.src[self.at] if self.at < self.end else 0
                value = -value if negative else value
                if unit == 121:  # year
                    self.years += value
                elif unit == 109:  # mon
                    self.months += value
                elif unit == 100:  # day
                    self.days += value
                else:
                    raise ValueError(MALFORMED)
                while self.at < self.end and self.src[self.at] != 32:
                    self.at += 1
            if self.at < self.end:
                self.skip(32)
        return 0


def _clock(seconds: cython.longlong, fraction: cython.longlong, negative: cython.bint) -> cython.longlong:
    """An interval's µs; the server has no more of them than an int64 holds, and the last one below zero."""
    if seconds > LAST_SECOND or (seconds == LAST_SECOND and fraction > LAST_FRACTION + negative):
        raise ValueError(MALFORMED)
    return -seconds * 1_000_000 - fraction if negative else seconds * 1_000_000 + fraction


def _wrapped(days: cython.longlong, clock: cython.longlong) -> cython.longlong:
    """µs of a timestamp beyond 64 bits, as `Conversions.toEpochMicros` has them: whole seconds stop, their µs wrap."""
    seconds = int(days) * 86_400 + int(clock) // 1_000_000
    exact = min(seconds * 1_000_000, 2**63 - 1) + int(clock) % 1_000_000
    return (exact + 2**63) % 2**64 - 2**63


def _rounded_interval(months: cython.longlong, days: cython.longlong, micros: cython.longlong) -> bytes:
    """As `MicroDuration.durationMicros` adds up, in doubles; its driver has hours, minutes and seconds apart."""
    sign = -1 if micros < 0 else 1
    whole, fraction = divmod(abs(int(micros)), 1_000_000)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days_and_months = int(months) * (365.25 / 12.0) + int(days)
    total = ((days_and_months * 24 + sign * hours) * 60 + sign * minutes) * 60 + sign * (seconds + fraction / 1e6)
    return b"%d" % max(-(2**63), min(2**63 - 1, int(total * 1e6)))


def _large_interval(months: cython.longlong, days: cython.longlong, micros: cython.longlong) -> bytes:
    exact = int(months) * int(MONTH_US) + int(days) * int(DAY_US) + int(micros)
    return b"%d" % max(-(2**63), min(2**63 - 1, exact))
