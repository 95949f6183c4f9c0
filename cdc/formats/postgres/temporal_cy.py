"""Dates, times and intervals: PostgreSQL's ISO text becomes Debezium's numbers and texts. Pure.

Compiled where possible. C types of attributes and arguments are in `temporal_cy.pxd`.
"""

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.writer_cy import Writer

DAY_US = cython.declare(cython.longlong, 86_400_000_000)
MONTH_US = cython.declare(cython.longlong, 2_629_800_000_000)
"""30.4375 days, a month's average length: Debezium's measure for intervals."""

INT64_MAX = cython.declare(cython.longlong, 9223372036854775807)
LAST_DAY = cython.declare(cython.longlong, 106_751_991)
"""The last day, counted from 1970, whose first µs an int64 can hold."""

PATTERN = cython.declare(cython.p_uchar, b"-00-00 00:00:00")
"""What follows the year; 0 stands for any digit."""

MALFORMED = "a value's text is not what its type writes (is SESSION_SETTINGS applied?)"


class TemporalWriter(Writer):
    """Writes what a cursor over one value's text reads: temporal values here, all others in `transcode_cy`."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0
        self.end = 0
        self.before_christ = False
        if not cython.compiled:
            self.src = b""

    def digits(self, least: cython.int, most: cython.int) -> cython.longlong:
        """Read `least` to `most` (18 or fewer) decimal digits."""
        value: cython.longlong = 0
        count: cython.int = 0
        while self.at < self.end and count < most and 48 <= self.src[self.at] <= 57:
            value = value * 10 + (self.src[self.at] - 48)
            self.at += 1
            count += 1
        if count < least:
            raise ValueError(MALFORMED)
        return value

    def skip(self, char: cython.int) -> cython.int:
        """Read one given character."""
        if self.at >= self.end or self.src[self.at] != char:
            raise ValueError(MALFORMED)
        self.at += 1
        return 0

    def finished(self) -> cython.int:
        """Make sure that nothing is left."""
        if self.at != self.end:
            raise ValueError(MALFORMED)
        return 0

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

    def date(self) -> cython.int:
        """Days since 1970-01-01; PostgreSQL's own extremes for the infinities."""
        infinite: cython.int = self.infinity()
        if infinite:
            return self.constant(b"2147483647" if infinite == 1 else b"-2147483648")
        days: cython.longlong = self.calendar_days()
        self.finished()
        return self.number(days)

    def time(self, digits: cython.int) -> cython.int:
        """Since midnight: ms for 3 digits, µs for 6."""
        value: cython.longlong = self.clock()
        self.finished()
        return self.number(value // 1000 if digits == 3 else value)

    def timestamp(self, digits: cython.int) -> cython.int:
        """Since 1970 in no zone: ms for 3 digits, µs for 6. Beyond the year 294247 µs stop at the int64's end."""
        infinite: cython.int = self.infinity()
        if infinite:
            # The driver's constants for infinity (pgjdbc), in ms and in µs.
            if digits == 3:
                return self.constant(b"9223372036825200" if infinite == 1 else b"-9223372036832400")
            return self.constant(b"9223372036825200000" if infinite == 1 else b"-9223372036832400000")
        days: cython.longlong = self.calendar_days()
        self.skip(32)
        clock: cython.longlong = self.clock()
        self.finished()
        if digits == 3:
            return self.number(days * (DAY_US // 1000) + clock // 1000)
        if days > LAST_DAY or (days == LAST_DAY and clock > INT64_MAX - LAST_DAY * DAY_US):
            return self.number(INT64_MAX)
        return self.number(days * DAY_US + clock)

    def zoned_timestamp(self, digits: cython.int) -> cython.int:
        """ISO 8601 in UTC with as many digits of a second as the type keeps."""
        self.put(34)
        infinite: cython.int = self.infinity()
        if infinite:
            self.constant(b'infinity"' if infinite == 1 else b'-infinity"')
            return 0
        start: cython.Py_ssize_t = self.at
        year: cython.longlong = self.era()
        if self.before_christ or year > 9999:
            if year != 0:
                self.put(45 if year < 0 else 43)
            self.padded(-year if year < 0 else year, 4)
        else:
            self.raw(self.src, start, self.at)
        at: cython.Py_ssize_t = self.at
        if self.end - at < 15:
            raise ValueError(MALFORMED)
        place: cython.int = 0
        for place in range(15):
            if PATTERN[place] == 48:
                if self.src[at + place] < 48 or self.src[at + place] > 57:
                    raise ValueError(MALFORMED)
            elif self.src[at + place] != PATTERN[place]:
                raise ValueError(MALFORMED)
        self.raw(self.src, at, at + 6)
        self.put(84)
        self.raw(self.src, at + 7, at + 15)
        self.at = at + 15
        left: cython.int = digits
        if left > 0:
            self.put(46)
        if self.at < self.end and self.src[self.at] == 46:
            self.at += 1
            start = self.at
            while self.at < self.end and left > 0 and 48 <= self.src[self.at] <= 57:
                self.at += 1
                left -= 1
            self.raw(self.src, start, self.at)
        while left > 0:
            self.put(48)
            left -= 1
        self.put(90)
        self.put(34)
        # The session's zone is UTC.
        self.skip(43)
        self.skip(48)
        self.skip(48)
        return self.finished()

    def zoned_time(self) -> cython.int:
        """The same instant in UTC, with the fraction as it is."""
        hours: cython.longlong = self.digits(2, 2)
        self.skip(58)
        minutes: cython.longlong = self.digits(2, 2)
        self.skip(58)
        seconds: cython.longlong = self.digits(2, 2)
        start: cython.Py_ssize_t = self.at
        self.fraction()
        stop: cython.Py_ssize_t = self.at
        east: cython.bint = self.at < self.end and self.src[self.at] == 43
        self.skip(43 if east else 45)
        offset: cython.longlong = self.digits(2, 2) * 3600
        for unit in (60, 1):
            if self.at < self.end:
                self.skip(58)
                offset += self.digits(2, 2) * unit
        self.finished()
        value: cython.longlong = (hours * 60 + minutes) * 60 + seconds + (-offset if east else offset)
        # Offsets are below 16 hours; two days more keep the remainder's operand positive.
        value = (value + 2 * 86_400) % 86_400
        self.put(34)
        self.padded(value // 3600, 2)
        self.put(58)
        self.padded(value // 60 % 60, 2)
        self.put(58)
        self.padded(value % 60, 2)
        self.raw(self.src, start, stop)
        self.put(90)
        return self.put(34)

    def interval(self) -> cython.int:
        """µs, with months of 30.4375 days; stops at the int64's ends."""
        infinite: cython.int = self.infinity()
        if infinite and self.src[self.at + infinite - 1] == 105:
            return self.constant(b"9223372036854775807" if infinite == 1 else b"-9223372036854775808")
        months: cython.longlong = 0
        days: cython.longlong = 0
        micros: cython.longlong = 0
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
                value = ((value * 60 + minutes) * 60 + seconds) * 1_000_000 + self.fraction()
                micros = -value if negative else value
            else:
                self.skip(32)
                unit: cython.int = self.src[self.at] if self.at < self.end else 0
                value = -value if negative else value
                if unit == 121:  # year
                    months += value * 12
                elif unit == 109:  # mon
                    months += value
                elif unit == 100:  # day
                    days += value
                else:
                    raise ValueError(MALFORMED)
                while self.at < self.end and self.src[self.at] != 32:
                    self.at += 1
            if self.at < self.end:
                self.skip(32)
        # A million years stay far from overflow; what is beyond is added up in Python's integers.
        if abs(months) > 1_000_000 or abs(days) > 30_000_000 or abs(micros) > 1 << 61:
            return self.constant(_large_interval(months, days, micros))
        return self.number(months * MONTH_US + days * DAY_US + micros)


def _large_interval(months: cython.longlong, days: cython.longlong, micros: cython.longlong) -> bytes:
    exact = int(months) * int(MONTH_US) + int(days) * int(DAY_US) + int(micros)
    return b"%d" % max(-(2**63), min(2**63 - 1, exact))
