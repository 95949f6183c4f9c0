"""JSON text, read once from left to right into COPY text. Compiled where it can be; pure.

A method passes over what it reads and says whether it was there; the cursor of one that says no
is anywhere. Nothing here trusts its input: every index is checked against the length.
C types of attributes and arguments are in `scan_cy.pxd`.
"""

from __future__ import annotations

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this

_MAX_DEPTH = cython.declare(cython.int, 64)
# Arrays and objects inside each other, at most, in a part that is passed over.


class Scanner:
    """A cursor over JSON bytes and the output that is made of them."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def begin(self, data: bytes, room: cython.Py_ssize_t) -> cython.bint:
        """Start over with this input; `room`: bytes of output beyond twice the input's."""
        needed: cython.Py_ssize_t = 2 * len(data) + room
        if len(self.buffer) < needed:
            self.buffer = bytearray(2 * needed)
        self.out = self.buffer
        self.src = data
        self.end = len(data)
        self.at = 0
        self.written = 0
        return True

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def put(self, c: cython.int) -> cython.bint:
        self.out[self.written] = c
        self.written += 1
        return True

    def literal(self, text: bytes) -> cython.bint:
        """Pass over exactly this text."""
        p: cython.p_uchar = text
        length: cython.Py_ssize_t = len(text)
        j: cython.Py_ssize_t
        if self.end - self.at < length:
            return False
        for j in range(length):
            if self.src[self.at + j] != p[j]:
                return False
        self.at += length
        return True

    def skip(self) -> cython.bint:
        """Pass over one JSON value: well-formed strings, and brackets that match in number."""
        p: cython.p_uchar = self.src
        n: cython.Py_ssize_t = self.end
        i: cython.Py_ssize_t = self.at
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
        self.at = i
        return depth == 0 and i > start

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def text(self) -> cython.bint:
        p: cython.p_uchar = self.src
        n: cython.Py_ssize_t = self.end
        i: cython.Py_ssize_t = self.at
        w: cython.Py_ssize_t = self.written
        out = self.out
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
                out[w] = c
                w += 1
                i += 1
                continue
            self.at = i
            self.written = w
            if not self.escape():
                return False
            i = self.at
            w = self.written
        self.at = i + 1
        self.written = w
        return True

    def escape(self) -> cython.bint:
        """One JSON escape → the character, escaped as COPY needs it."""
        c: cython.int
        code: cython.int
        low: cython.int
        if self.at + 1 >= self.end:
            return False
        c = self.src[self.at + 1]
        self.at += 2
        if c == 34 or c == 47:
            return self.put(c)
        if c == 92 or c == 110 or c == 116 or c == 114 or c == 98 or c == 102:
            # COPY's escapes of backslash, line ends, tab, backspace and form feed are JSON's.
            self.put(92)
            return self.put(c)
        if c != 117:
            return False
        code = self.hex4()
        if code <= 0 or 0xDC00 <= code <= 0xDFFF:
            return False
        if code >= 0xD800 and code <= 0xDBFF:
            if not self.literal(b"\\u"):
                return False
            low = self.hex4()
            if low < 0xDC00 or low > 0xDFFF:
                return False
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return self.character(code)

    def hex4(self) -> cython.int:
        code: cython.int = 0
        c: cython.int
        j: cython.int
        if self.at + 4 > self.end:
            return -1
        for j in range(4):
            c = self.src[self.at + j]
            if 48 <= c <= 57:
                c -= 48
            elif 97 <= c <= 102:
                c -= 87
            elif 65 <= c <= 70:
                c -= 55
            else:
                return -1
            code = code * 16 + c
        self.at += 4
        return code

    def character(self, code: cython.int) -> cython.bint:
        if code == 10 or code == 13 or code == 9 or code == 92:
            self.put(92)
            return self.put(110 if code == 10 else 114 if code == 13 else 116 if code == 9 else 92)
        if code < 0x80:
            return self.put(code)
        if code < 0x800:
            self.put(0xC0 | (code >> 6))
        elif code < 0x10000:
            self.put(0xE0 | (code >> 12))
            self.put(0x80 | ((code >> 6) & 0x3F))
        else:
            self.put(0xF0 | (code >> 18))
            self.put(0x80 | ((code >> 12) & 0x3F))
            self.put(0x80 | ((code >> 6) & 0x3F))
        return self.put(0x80 | (code & 0x3F))

    def ascii(self, text: bytes) -> cython.bint:
        p: cython.p_uchar = text
        j: cython.Py_ssize_t
        for j in range(len(text)):
            self.put(p[j])
        return True

    def digits(self) -> cython.Py_ssize_t:
        """Copy digits; how many."""
        start: cython.Py_ssize_t = self.at
        while self.at < self.end and 48 <= self.src[self.at] <= 57:
            self.put(self.src[self.at])
            self.at += 1
        return self.at - start

    def integer(self) -> cython.bint:
        """A whole number of at most 18 digits, into `_value`."""
        value: cython.longlong = 0
        start: cython.Py_ssize_t
        negative: cython.bint = self.literal(b"-")
        start = self.at
        while self.at < self.end and 48 <= self.src[self.at] <= 57 and self.at - start < 18:
            value = value * 10 + (self.src[self.at] - 48)
            self.at += 1
        if self.at == start or (self.at - start > 1 and self.src[start] == 48):
            return False
        self.whole = -value if negative else value
        return self.at >= self.end or not 48 <= self.src[self.at] <= 57

    def taken(self) -> bytes:
        """The output."""
        return bytes(memoryview(self.buffer)[: self.written])
