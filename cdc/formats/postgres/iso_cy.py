"""Dates, times and intervals as ISO 8601 texts, as Debezium writes them. Pure.

Compiled where possible. C types of attributes and arguments are in `iso_cy.pxd`.
"""

from cdc import cython
from cdc.formats.postgres.java import interval_seconds
from cdc.formats.postgres.numbers_cy import MALFORMED

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.temporal_cy import TemporalWriter

PATTERN = cython.declare(cython.p_uchar, b"-00-00 00:00:00")
"""What follows the year; 0 stands for any digit."""

MOST_MICROS = cython.declare(cython.longlong, 9223372036854775807)

QUIRK = cython.declare(cython.int, 16)
IN_ARRAY = cython.declare(cython.int, 32)
AS_STREAMED = cython.declare(cython.int, 1)
AS_SNAPSHOT = cython.declare(cython.int, 2)
"""As in `temporal_cy`."""


class IsoWriter(TemporalWriter):
    """Writes temporal values as texts."""

    def iso_date(self, rule: cython.int) -> cython.int:
        """`2016-11-04Z`; the infinities as PostgreSQL writes them, or as Debezium counts them (see `date`)."""
        infinite: cython.int = self.infinity()
        if infinite:
            if rule == AS_STREAMED:
                return self.constant(b'"-5877611-06-21Z"' if infinite == 1 else b'"-5877611-06-22Z"')
            if rule == AS_SNAPSHOT:
                return self.constant(b'"+292278994-08-16Z"' if infinite == 1 else b'"+292269055-12-02Z"')
            return self.constant(b'"infinity"' if infinite == 1 else b'"-infinity"')
        if rule == AS_SNAPSHOT:
            self.without_era()
        self.put(34)
        year: cython.longlong = self.iso_year()
        self.matches(6)
        at: cython.Py_ssize_t = self.at
        self.at += 6
        self.finished()
        day: cython.int = (self.src[at + 4] - 48) * 10 + self.src[at + 5] - 48
        if rule == AS_SNAPSHOT and year == 1582 and self.src[at + 1] == 49 and self.src[at + 2] == 48 and 4 < day < 15:
            self.constant(b"-10-")
            self.number(day + 10)
        else:
            self.raw(self.src, at, at + 6)
        self.put(90)
        return self.put(34)

    def iso_time(self, rule: cython.int) -> cython.int:
        """`13:51:30.123456Z`; with QUIRK 24:00 is 0:00, with IN_ARRAY there are ms at most."""
        start: cython.Py_ssize_t = self.at
        self.clock()
        self.finished()
        stop: cython.Py_ssize_t = self.end
        if rule & IN_ARRAY and stop - start > 12:
            stop = start + 12
            while self.src[stop - 1] == 48:
                stop -= 1
            if self.src[stop - 1] == 46:
                stop -= 1
        self.put(34)
        if rule and self.src[start] == 50 and self.src[start + 1] == 52:
            self.constant(b"00")
            start += 2
        self.raw(self.src, start, stop)
        self.put(90)
        return self.put(34)

    def iso_timestamp(self, rule: cython.int) -> cython.int:
        """`2016-11-04T13:51:30.123456Z`; the infinities as PostgreSQL writes them, or, with QUIRK, as pgjdbc's.

        With IN_ARRAY old dates are taken for Julian ones.
        """
        infinite: cython.int = self.infinity()
        if infinite:
            if rule & QUIRK:
                return self.constant(
                    b'"+294247-01-10T04:00:25.2Z"' if infinite == 1 else b'"-290308-12-21T19:59:27.6Z"'
                )
            return self.constant(b'"infinity"' if infinite == 1 else b'"-infinity"')
        if rule & IN_ARRAY:
            self.through_java(False)
        self.put(34)
        self.iso_year()
        self.day_and_clock()
        start: cython.Py_ssize_t = self.at
        self.fraction()
        self.finished()
        self.raw(self.src, start, self.end)
        self.put(90)
        return self.put(34)

    def iso_year(self) -> cython.longlong:
        """Read a year and write it: years after 9999 have a sign, those before 1 AD are 0000, -0001, …"""
        start: cython.Py_ssize_t = self.at
        year: cython.longlong = self.era()
        if self.before_christ or year > 9999:
            if year != 0:
                self.put(45 if year < 0 else 43)
            self.padded(-year if year < 0 else year, 4)
        else:
            self.raw(self.src, start, self.at)
        return year

    def matches(self, length: cython.int) -> cython.int:
        """Make sure that the beginning of PATTERN comes next."""
        if self.end - self.at < length:
            raise ValueError(MALFORMED)
        at: cython.Py_ssize_t = self.at
        place: cython.int = 0
        for place in range(length):
            if PATTERN[place] == 48:
                if self.src[at + place] < 48 or self.src[at + place] > 57:
                    raise ValueError(MALFORMED)
            elif self.src[at + place] != PATTERN[place]:
                raise ValueError(MALFORMED)
        return 0

    def day_and_clock(self) -> cython.int:
        """Read what PATTERN shows and write it with a T."""
        self.matches(15)
        self.raw(self.src, self.at, self.at + 6)
        self.put(84)
        self.raw(self.src, self.at + 7, self.at + 15)
        self.at += 15
        return 0

    def zoned_timestamp(self, digits: cython.int) -> cython.int:
        """ISO 8601 in UTC with as many digits of a second as the type keeps; with IN_ARRAY without an era."""
        in_array: cython.bint = digits & IN_ARRAY != 0
        digits &= 15
        infinite: cython.int = self.infinity()
        if infinite == 2 and in_array:
            self.constant(b'"+292269055-12-02T23:00:00')
            self.constant(b"." + b"0" * digits if digits else b"")
            return self.constant(b'Z"')
        if infinite:
            return self.constant(b'"infinity"' if infinite == 1 else b'"-infinity"')
        if in_array:
            self.through_java(True)
        self.put(34)
        self.iso_year()
        self.day_and_clock()
        left: cython.int = digits
        start: cython.Py_ssize_t = 0
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

    def zoned_time(self, rule: cython.int) -> cython.int:
        """The same instant in UTC, with the fraction as it is; with QUIRK without one."""
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
        if rule != QUIRK:
            self.raw(self.src, start, stop)
        self.put(90)
        return self.put(34)

    def iso_interval(self, rule: cython.int) -> cython.int:
        """`P1Y2M3DT4H5M6.78S`, every part with its own sign; infinite ones as PostgreSQL writes them.

        With QUIRK seconds went through a double.
        """
        infinite: cython.int = self.infinity()
        if infinite and self.src[self.at + infinite - 1] == 105:
            return self.constant(b'"infinity"' if infinite == 1 else b'"-infinity"')
        self.parts()
        self.constant(b'"P')
        self.number(self.years)
        self.put(89)
        self.number(self.months)
        self.put(77)
        self.number(self.days)
        self.constant(b"DT")
        if self.micros < -MOST_MICROS:  # one more below zero, of which an int64 has no positive
            return self.constant(b'-2562047788H0M-54.775808S"')
        negative: cython.bint = self.micros < 0
        micros: cython.longlong = -self.micros if negative else self.micros
        self.signed(negative, micros // 3_600_000_000)
        self.put(72)
        self.signed(negative, micros // 60_000_000 % 60)
        self.put(77)
        micros %= 60_000_000
        seconds: cython.double = micros // 1_000_000 + micros % 1_000_000 / 1e6
        if rule == QUIRK and seconds != micros / 1e6:
            self.constant(interval_seconds(negative, micros))
            return self.constant(b'S"')
        if negative and micros:
            self.put(45)
        self.number(micros // 1_000_000)
        micros %= 1_000_000
        if micros:
            self.put(46)
            width: cython.int = 6
            while micros % 10 == 0:
                micros //= 10
                width -= 1
            self.padded(micros, width)
        return self.constant(b'S"')

    def signed(self, negative: cython.bint, value: cython.longlong) -> cython.int:
        return self.number(-value if negative else value)
