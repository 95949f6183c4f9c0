"""JSON values of the common kinds → COPY text. Compiled where it can be; pure.

Each kind takes only what it is sure of and checks it: a number its grammar, base64 its padding, a day
its year. C types of attributes and arguments are in `values_cy.pxd`.
"""

from __future__ import annotations

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from sinks.postgres.scan_cy import Scanner

# Kinds of values, as in `forms.Kind`; 0 stands for any other.
_TEXT = cython.declare(cython.int, 1)
_INTEGER = cython.declare(cython.int, 2)
_FLOAT = cython.declare(cython.int, 3)
_BOOLEAN = cython.declare(cython.int, 4)
_BIT = cython.declare(cython.int, 5)
_NUMERIC = cython.declare(cython.int, 6)
_BYTES = cython.declare(cython.int, 7)
_DATE = cython.declare(cython.int, 8)
_TIME_MS = cython.declare(cython.int, 9)
_TIME_US = cython.declare(cython.int, 10)
_TIMESTAMP_MS = cython.declare(cython.int, 11)
_TIMESTAMP_US = cython.declare(cython.int, 12)
_ZONED = cython.declare(cython.int, 13)


class ValueScanner(Scanner):
    """Reads one value of a given kind."""

    def field(self, kind: cython.int) -> cython.bint:
        if kind == _TEXT:
            return self.text()
        if kind in (_INTEGER, _FLOAT):
            return self.number(kind == _FLOAT)
        if kind in (_BOOLEAN, _BIT):
            return self.boolean(kind == _BIT)
        if kind in (_TIMESTAMP_US, _TIMESTAMP_MS):
            return self.timestamp(kind == _TIMESTAMP_MS)
        if kind == _ZONED:
            return self.zoned()
        if kind == _NUMERIC:
            return self.numeric()
        if kind == _DATE:
            return self.date()
        if kind in (_TIME_US, _TIME_MS):
            return self.time(kind == _TIME_MS)
        if kind == _BYTES:
            return self.bytes()
        return False

    def number(self, fraction: cython.bint) -> cython.bint:
        """A JSON number as it is written; a float may also be the text NaN or Infinity."""
        first: cython.Py_ssize_t
        count: cython.Py_ssize_t
        if fraction and self.at < self.end and self.src[self.at] == 34:
            return self.not_finite()
        if self.at < self.end and self.src[self.at] == 45:
            self.put(45)
            self.at += 1
        first = self.at
        count = self.digits()
        if count == 0 or (count > 1 and self.src[first] == 48):
            return False
        if not fraction:
            return True
        if self.at < self.end and self.src[self.at] == 46:
            self.put(46)
            self.at += 1
            if self.digits() == 0:
                return False
        if self.at < self.end and (self.src[self.at] == 101 or self.src[self.at] == 69):
            self.put(101)
            self.at += 1
            if self.at < self.end and (self.src[self.at] == 43 or self.src[self.at] == 45):
                self.put(self.src[self.at])
                self.at += 1
            if self.digits() == 0:
                return False
        return True

    def not_finite(self) -> cython.bint:
        word: bytes
        for word in (b'"NaN"', b'"Infinity"', b'"-Infinity"'):
            if self.literal(word):
                return self.ascii(word[1:-1])
        return False

    def boolean(self, bit: cython.bint) -> cython.bint:
        if self.literal(b"true"):
            return self.put(49 if bit else 116)
        if self.literal(b"false"):
            return self.put(48 if bit else 102)
        return False

    def numeric(self) -> cython.bint:
        """A numeric written as a string: digits, sign, point; words take the general path."""
        if not self.literal(b'"'):
            return False
        if self.at < self.end and self.src[self.at] == 45:
            self.put(45)
            self.at += 1
        if self.digits() == 0:
            return False
        if self.at < self.end and self.src[self.at] == 46:
            self.put(46)
            self.at += 1
            if self.digits() == 0:
                return False
        return self.literal(b'"')

    def zoned(self) -> cython.bint:
        """ISO text of a year from 1000 to 9999; other years and the infinities take the general path."""
        c: cython.int
        if self.end - self.at < 2 or self.src[self.at] != 34 or not 49 <= self.src[self.at + 1] <= 57:
            return False
        self.at += 1
        while self.at < self.end:
            c = self.src[self.at]
            self.at += 1
            if c == 34:
                return True
            if not (48 <= c <= 58 or c == 45 or c == 46 or c == 84 or c == 90 or c == 43):
                return False
            self.put(c)
        return False

    def bytes(self) -> cython.bint:
        """Base64 → `\\x` and hexadecimal, its backslash escaped."""
        bits: cython.uint = 0
        have: cython.int = 0
        count: cython.Py_ssize_t = 0
        padding: cython.Py_ssize_t = 0
        c: cython.int
        if not self.literal(b'"'):
            return False
        self.ascii(b"\\\\x")
        while self.at < self.end:
            c = self.src[self.at]
            self.at += 1
            if c == 34:
                # What remains of the last group must be padding, and its spare bits zero.
                return (count + padding) % 4 == 0 and padding <= 2 and bits == 0
            if c == 61:
                padding += 1
                continue
            c = sextet(c)
            if c < 0 or padding:
                return False
            count += 1
            bits = (bits << 6) | c
            have += 6
            if have >= 8:
                have -= 8
                c = (bits >> have) & 0xFF
                bits &= (1 << have) - 1
                self.put(hexadecimal(c >> 4))
                self.put(hexadecimal(c & 15))
        return False

    def two(self, value: cython.longlong) -> cython.bint:
        self.put(48 + value // 10)
        return self.put(48 + value % 10)

    def day(self, days: cython.longlong) -> cython.bint:
        """Days since 1970-01-01 → `YYYY-MM-DD`, for the years 1 to 9999 of the proleptic calendar.

        The civil calendar by eras of 400 years, counted from 1 March of the year 0.
        """
        era: cython.longlong
        doe: cython.longlong
        yoe: cython.longlong
        doy: cython.longlong
        mp: cython.longlong
        year: cython.longlong
        if days < -719162 or days > 2932896:
            return False
        days += 719468
        era = days // 146097
        doe = days - era * 146097
        yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
        doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
        mp = (5 * doy + 2) // 153
        year = yoe + era * 400
        if mp >= 10:
            year += 1
        self.two(year // 100)
        self.two(year % 100)
        self.put(45)
        self.two(mp + 3 if mp < 10 else mp - 9)
        self.put(45)
        return self.two(doy - (153 * mp + 2) // 5 + 1)

    def clock(self, micros: cython.longlong) -> cython.bint:
        """Microseconds of a day (24:00:00 included) → `HH:MM:SS` and a fraction if there is one."""
        seconds: cython.longlong = micros // 1000000
        fraction: cython.longlong = micros % 1000000
        self.two(seconds // 3600)
        self.put(58)
        self.two(seconds // 60 % 60)
        self.put(58)
        self.two(seconds % 60)
        if fraction:
            self.put(46)
            self.two(fraction // 10000)
            self.two(fraction // 100 % 100)
            self.two(fraction % 100)
        return True

    def date(self) -> cython.bint:
        return self.integer() and self.day(self.whole)

    def time(self, millis: cython.bint) -> cython.bint:
        if not self.integer() or self.whole < 0 or self.whole > (86400000 if millis else 86400000000):
            return False
        return self.clock(self.whole * 1000 if millis else self.whole)

    def timestamp(self, millis: cython.bint) -> cython.bint:
        if not self.integer():
            return False
        if millis:
            if self.whole > 300000000000000 or self.whole < -300000000000000:
                return False
            self.whole *= 1000
        if not self.day(self.whole // 86400000000):
            return False
        self.put(32)
        return self.clock(self.whole % 86400000000)


@cython.cfunc
@cython.inline
def sextet(c: cython.int) -> cython.int:
    if 65 <= c <= 90:
        return c - 65
    if 97 <= c <= 122:
        return c - 71
    if 48 <= c <= 57:
        return c + 4
    if c == 43:
        return 62
    if c == 47:
        return 63
    return -1


@cython.cfunc
@cython.inline
def hexadecimal(c: cython.int) -> cython.int:
    return 48 + c if c < 10 else 87 + c
