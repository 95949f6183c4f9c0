"""Event bytes → COPY text, without a Python object per column. Compiled where it can be; pure.

`RowPlan` takes exactly the JSON that `cdc.formats` writes (no spaces, members in the plan's
order). Whatever is different in form, kind of value or order gives None, and `decode` takes
the general path, which knows all forms and says what is wrong. Nothing here trusts its input:
every index is checked against the length, every number against its kind.
"""

from __future__ import annotations

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this

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

_SLACK = cython.declare(cython.Py_ssize_t, 64)
# Bytes of output that a column may need beyond twice its input (a timestamp from one digit).

_MAX_DEPTH = cython.declare(cython.int, 64)
# Arrays and objects inside each other, at most, in a part of the event that is passed over.


@cython.cclass
class RowPlan:
    """Transcodes rows of one shape: the same members, in the same order.

    Args:
        names: the members as JSON writes them, with quotes and colon: `b'"id":'`.
        kinds: one kind per member, as bytes.
    """

    _names: list[bytes]
    _kinds: bytes
    _out: bytearray
    _o: cython.p_uchar
    _p: cython.p_uchar
    _n: cython.Py_ssize_t
    _i: cython.Py_ssize_t
    _w: cython.Py_ssize_t
    _value: cython.longlong

    def __init__(self, names: list[bytes], kinds: bytes) -> None:
        self._names = [(b"{" if i == 0 else b",") + name for i, name in enumerate(names)]
        self._kinds = kinds
        self._out = bytearray()

    def row(self, data: bytes) -> bytes | None:
        """A JSON object of the plan's members (an event's key) as COPY text without line end."""
        self._begin(data)
        if self._row() and self._i == self._n:
            return bytes(memoryview(self._out)[: self._w])
        return None

    def event(self, value: bytes) -> tuple[int, bytes, bytes | None, bytes] | None:
        """An event's value.

        Returns:
            (op as a character code, `cdc.pos`, COPY text of `after` followed by the position or
            None without `after`, the JSON text of `cdc.unchanged` and a `gone` behind it, or b"");
            None when the form is another.
        """
        start: cython.Py_ssize_t
        op: cython.int
        has_row: cython.bint = False
        self._begin(value)
        if not (self._literal(b'{"before":') and self._skip() and self._literal(b',"after":')):
            return None
        if self._i < self._n and self._p[self._i] == 110:
            if not self._literal(b"null"):
                return None
        elif self._row():
            has_row = True
        else:
            return None
        if not (self._literal(b',"source":') and self._skip() and self._literal(b',"transaction":') and self._skip()):
            return None
        if not self._literal(b',"op":"') or self._i + 1 >= self._n:
            return None
        op = self._p[self._i]
        self._i += 1
        if not self._literal(b'","ts_ms":') or not self._skip():
            return None
        if not self._literal(b',"ts_us":') or not self._skip():
            return None
        if not self._literal(b',"ts_ns":') or not self._skip():
            return None
        if not self._literal(b',"cdc":{"pos":"'):
            return None
        start = self._i
        while self._i < self._n and self._plain_position(self._p[self._i]):
            self._i += 1
        position = value[start : self._i]
        if not self._literal(b'"'):
            return None
        unchanged = b""
        if self._literal(b',"unchanged":'):
            start = self._i
            if not self._skip():
                return None
            self._literal(b',"gone":true')
            unchanged = value[start : self._i]
        if self._literal(b',"reselected":') and not self._skip():
            return None
        if not self._literal(b"}}") or self._i != self._n:
            return None
        if not has_row:
            return op, position, None, unchanged
        return op, position, bytes(memoryview(self._out)[: self._w]) + b"\t" + position, unchanged

    @cython.cfunc
    def _begin(self, data: bytes) -> cython.bint:
        needed: cython.Py_ssize_t = 2 * len(data) + _SLACK * (len(self._names) + 1)
        if len(self._out) < needed:
            self._out = bytearray(2 * needed)
        self._o = self._out  # type: ignore[assignment]
        self._p = data
        self._n = len(data)
        self._i = 0
        self._w = 0
        return True

    @cython.cfunc
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def _row(self) -> cython.bint:
        kinds: cython.p_uchar = self._kinds
        name: bytes
        j: cython.Py_ssize_t
        for j in range(len(self._names)):
            name = self._names[j]
            if not self._literal(name):
                return False
            if j:
                self._put(9)
            if self._i < self._n and self._p[self._i] == 110:
                if not self._literal(b"null"):
                    return False
                self._put(92)
                self._put(78)
            elif not self._field(kinds[j]):
                return False
        return self._literal(b"}")

    @cython.cfunc
    def _field(self, kind: cython.int) -> cython.bint:
        if kind == _TEXT:
            return self._text()
        if kind in (_INTEGER, _FLOAT):
            return self._number(kind == _FLOAT)
        if kind in (_BOOLEAN, _BIT):
            return self._boolean(kind == _BIT)
        if kind in (_TIMESTAMP_US, _TIMESTAMP_MS):
            return self._timestamp(kind == _TIMESTAMP_MS)
        if kind == _ZONED:
            return self._zoned()
        if kind == _NUMERIC:
            return self._numeric()
        if kind == _DATE:
            return self._date()
        if kind in (_TIME_US, _TIME_MS):
            return self._time(kind == _TIME_MS)
        if kind == _BYTES:
            return self._bytes()
        return False

    @cython.cfunc
    @cython.inline
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def _put(self, c: cython.int) -> cython.bint:
        self._o[self._w] = c  # type: ignore[index]
        self._w += 1
        return True

    @cython.cfunc
    @cython.inline
    def _plain_position(self, c: cython.int) -> cython.bint:
        return 47 <= c <= 57 or 65 <= c <= 70

    @cython.cfunc
    def _literal(self, text: bytes) -> cython.bint:
        """Pass over exactly this text."""
        p: cython.p_uchar = text
        length: cython.Py_ssize_t = len(text)
        j: cython.Py_ssize_t
        if self._n - self._i < length:
            return False
        for j in range(length):
            if self._p[self._i + j] != p[j]:
                return False
        self._i += length
        return True

    @cython.cfunc
    def _skip(self) -> cython.bint:
        """Pass over one JSON value: well-formed strings, and brackets that match in number."""
        p: cython.p_uchar = self._p
        n: cython.Py_ssize_t = self._n
        i: cython.Py_ssize_t = self._i
        start: cython.Py_ssize_t = i
        depth: cython.int = 0
        c: cython.int
        while i < n:
            c = p[i]
            if c == 34:
                i += 1
                while i < n and p[i] != 34:
                    i += 2 if p[i] == 92 else 1
                if i >= n:
                    return False
                i += 1
            elif c == 123 or c == 91:
                depth += 1
                if depth > _MAX_DEPTH:
                    return False
                i += 1
                continue
            elif c == 125 or c == 93:
                if depth == 0:
                    break
                depth -= 1
                i += 1
            elif c == 44:
                if depth == 0:
                    break
                i += 1
                continue
            else:
                i += 1
                continue
            if depth == 0:
                break
        self._i = i
        return depth == 0 and i > start

    @cython.cfunc
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def _text(self) -> cython.bint:
        p: cython.p_uchar = self._p
        n: cython.Py_ssize_t = self._n
        i: cython.Py_ssize_t = self._i
        w: cython.Py_ssize_t = self._w
        out: cython.p_uchar = self._o
        c: cython.int
        if i >= n or p[i] != 34:
            return False
        i += 1
        while True:
            if i >= n:
                return False
            c = p[i]
            if c == 34:
                break
            if c < 32:
                return False
            if c != 92:
                out[w] = c  # type: ignore[index]
                w += 1
                i += 1
                continue
            self._i = i
            self._w = w
            if not self._escape():
                return False
            i = self._i
            w = self._w
        self._i = i + 1
        self._w = w
        return True

    @cython.cfunc
    def _escape(self) -> cython.bint:
        """One JSON escape → the character, escaped as COPY needs it."""
        c: cython.int
        code: cython.int
        low: cython.int
        if self._i + 1 >= self._n:
            return False
        c = self._p[self._i + 1]
        self._i += 2
        if c == 34 or c == 47:
            return self._put(c)
        if c == 92 or c == 110 or c == 116 or c == 114 or c == 98 or c == 102:
            # COPY's escapes of backslash, line ends, tab, backspace and form feed are JSON's.
            self._put(92)
            return self._put(c)
        if c != 117:
            return False
        code = self._hex4()
        if code <= 0 or 0xDC00 <= code <= 0xDFFF:
            return False
        if code >= 0xD800 and code <= 0xDBFF:
            if not self._literal(b"\\u"):
                return False
            low = self._hex4()
            if low < 0xDC00 or low > 0xDFFF:
                return False
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return self._character(code)

    @cython.cfunc
    def _hex4(self) -> cython.int:
        code: cython.int = 0
        c: cython.int
        j: cython.int
        if self._i + 4 > self._n:
            return -1
        for j in range(4):
            c = self._p[self._i + j]
            if 48 <= c <= 57:
                c -= 48
            elif 97 <= c <= 102:
                c -= 87
            elif 65 <= c <= 70:
                c -= 55
            else:
                return -1
            code = code * 16 + c
        self._i += 4
        return code

    @cython.cfunc
    def _character(self, code: cython.int) -> cython.bint:
        if code == 10 or code == 13 or code == 9 or code == 92:
            self._put(92)
            return self._put(110 if code == 10 else 114 if code == 13 else 116 if code == 9 else 92)
        if code < 0x80:
            return self._put(code)
        if code < 0x800:
            self._put(0xC0 | (code >> 6))
        elif code < 0x10000:
            self._put(0xE0 | (code >> 12))
            self._put(0x80 | ((code >> 6) & 0x3F))
        else:
            self._put(0xF0 | (code >> 18))
            self._put(0x80 | ((code >> 12) & 0x3F))
            self._put(0x80 | ((code >> 6) & 0x3F))
        return self._put(0x80 | (code & 0x3F))

    @cython.cfunc
    def _digits(self) -> cython.Py_ssize_t:
        """Copy digits; how many."""
        start: cython.Py_ssize_t = self._i
        while self._i < self._n and 48 <= self._p[self._i] <= 57:
            self._put(self._p[self._i])
            self._i += 1
        return self._i - start

    @cython.cfunc
    def _number(self, fraction: cython.bint) -> cython.bint:
        """A JSON number as it is written; a float may also be the text NaN or Infinity."""
        first: cython.Py_ssize_t
        count: cython.Py_ssize_t
        if fraction and self._i < self._n and self._p[self._i] == 34:
            return self._not_finite()
        if self._i < self._n and self._p[self._i] == 45:
            self._put(45)
            self._i += 1
        first = self._i
        count = self._digits()
        if count == 0 or (count > 1 and self._p[first] == 48):
            return False
        if not fraction:
            return True
        if self._i < self._n and self._p[self._i] == 46:
            self._put(46)
            self._i += 1
            if self._digits() == 0:
                return False
        if self._i < self._n and (self._p[self._i] == 101 or self._p[self._i] == 69):
            self._put(101)
            self._i += 1
            if self._i < self._n and (self._p[self._i] == 43 or self._p[self._i] == 45):
                self._put(self._p[self._i])
                self._i += 1
            if self._digits() == 0:
                return False
        return True

    @cython.cfunc
    def _not_finite(self) -> cython.bint:
        word: bytes
        for word in (b'"NaN"', b'"Infinity"', b'"-Infinity"'):
            if self._literal(word):
                return self._ascii(word[1:-1])
        return False

    @cython.cfunc
    def _ascii(self, text: bytes) -> cython.bint:
        p: cython.p_uchar = text
        j: cython.Py_ssize_t
        for j in range(len(text)):
            self._put(p[j])
        return True

    @cython.cfunc
    def _boolean(self, bit: cython.bint) -> cython.bint:
        if self._literal(b"true"):
            return self._put(49 if bit else 116)
        if self._literal(b"false"):
            return self._put(48 if bit else 102)
        return False

    @cython.cfunc
    def _numeric(self) -> cython.bint:
        """A numeric written as a string: digits, sign, point; words take the general path."""
        if not self._literal(b'"'):
            return False
        if self._i < self._n and self._p[self._i] == 45:
            self._put(45)
            self._i += 1
        if self._digits() == 0:
            return False
        if self._i < self._n and self._p[self._i] == 46:
            self._put(46)
            self._i += 1
            if self._digits() == 0:
                return False
        return self._literal(b'"')

    @cython.cfunc
    def _zoned(self) -> cython.bint:
        """ISO text of a year from 1000 to 9999; other years and the infinities take the general path."""
        c: cython.int
        if self._n - self._i < 2 or self._p[self._i] != 34 or not 49 <= self._p[self._i + 1] <= 57:
            return False
        self._i += 1
        while self._i < self._n:
            c = self._p[self._i]
            self._i += 1
            if c == 34:
                return True
            if not (48 <= c <= 58 or c == 45 or c == 46 or c == 84 or c == 90 or c == 43):
                return False
            self._put(c)
        return False

    @cython.cfunc
    def _bytes(self) -> cython.bint:
        """Base64 → `\\x` and hexadecimal, its backslash escaped."""
        bits: cython.uint = 0
        have: cython.int = 0
        count: cython.Py_ssize_t = 0
        padding: cython.Py_ssize_t = 0
        c: cython.int
        if not self._literal(b'"'):
            return False
        self._ascii(b"\\\\x")
        while self._i < self._n:
            c = self._p[self._i]
            self._i += 1
            if c == 34:
                # What remains of the last group must be padding, and its spare bits zero.
                return (count + padding) % 4 == 0 and padding <= 2 and bits == 0
            if c == 61:
                padding += 1
                continue
            c = _sextet(c)
            if c < 0 or padding:
                return False
            count += 1
            bits = (bits << 6) | c
            have += 6
            if have >= 8:
                have -= 8
                c = (bits >> have) & 0xFF
                bits &= (1 << have) - 1
                self._put(_hex(c >> 4))
                self._put(_hex(c & 15))
        return False

    @cython.cfunc
    def _integer(self) -> cython.bint:
        """A whole number of at most 18 digits, into `_value`."""
        value: cython.longlong = 0
        start: cython.Py_ssize_t
        negative: cython.bint = self._literal(b"-")
        start = self._i
        while self._i < self._n and 48 <= self._p[self._i] <= 57 and self._i - start < 18:
            value = value * 10 + (self._p[self._i] - 48)
            self._i += 1
        if self._i == start or (self._i - start > 1 and self._p[start] == 48):
            return False
        self._value = -value if negative else value
        return self._i >= self._n or not 48 <= self._p[self._i] <= 57

    @cython.cfunc
    def _two(self, value: cython.longlong) -> cython.bint:
        self._put(48 + value // 10)
        return self._put(48 + value % 10)

    @cython.cfunc
    def _day(self, days: cython.longlong) -> cython.bint:
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
        self._two(year // 100)
        self._two(year % 100)
        self._put(45)
        self._two(mp + 3 if mp < 10 else mp - 9)
        self._put(45)
        return self._two(doy - (153 * mp + 2) // 5 + 1)

    @cython.cfunc
    def _clock(self, micros: cython.longlong) -> cython.bint:
        """Microseconds of a day (24:00:00 included) → `HH:MM:SS` and a fraction if there is one."""
        seconds: cython.longlong = micros // 1000000
        fraction: cython.longlong = micros % 1000000
        self._two(seconds // 3600)
        self._put(58)
        self._two(seconds // 60 % 60)
        self._put(58)
        self._two(seconds % 60)
        if fraction:
            self._put(46)
            self._two(fraction // 10000)
            self._two(fraction // 100 % 100)
            self._two(fraction % 100)
        return True

    @cython.cfunc
    def _date(self) -> cython.bint:
        return self._integer() and self._day(self._value)

    @cython.cfunc
    def _time(self, millis: cython.bint) -> cython.bint:
        if not self._integer() or self._value < 0 or self._value > (86400000 if millis else 86400000000):
            return False
        return self._clock(self._value * 1000 if millis else self._value)

    @cython.cfunc
    def _timestamp(self, millis: cython.bint) -> cython.bint:
        if not self._integer():
            return False
        if millis:
            if self._value > 300000000000000 or self._value < -300000000000000:
                return False
            self._value *= 1000
        if not self._day(self._value // 86400000000):
            return False
        self._put(32)
        return self._clock(self._value % 86400000000)


@cython.cfunc
@cython.inline
def _sextet(c: cython.int) -> cython.int:
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
def _hex(c: cython.int) -> cython.int:
    return 48 + c if c < 10 else 87 + c
