"""What is not made of others in an event's JSON → Avro's bytes: numbers, texts, bytes. Compiled where it can be; pure.

C types of attributes and arguments are in `scalars_cy.pxd`.
"""

# mypy: ignore-errors
# As in writer_cy: half of it is C in Python's clothes.

import struct
import sys

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
    from cython.cimports.libc.stdlib import strtod
    from cython.cimports.libc.string import memchr, memcmp
else:
    from cdc.formats.postgres.writer_cy import Writer

FLOAT = cython.declare(cython.int, 3)
"""As in `encode_cy`."""

NUMBER = cython.declare(cython.int, 19)
"""Digits of a whole number, at most."""

FLOATS = struct.Struct("<f")
DOUBLES = struct.Struct("<d")

LITTLE_ENDIAN = cython.declare(cython.bint, sys.byteorder == "little")

OTHER = "not of its Avro schema"


class ScalarEncoder:
    """Encodes what stands at a place of a document. Not for two threads at once."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.scratch = Writer()

    def varint(self, value: cython.longlong) -> cython.int:
        """A whole number, zigzag, seven bits at a time."""
        rest: cython.ulonglong = 0
        if value < 0:
            rest = -(value + 1)
            rest = rest * 2 + 1
        else:
            rest = value
            rest = rest * 2
        writer: Writer = self.writer
        if cython.compiled:
            if writer.size + 10 > writer.capacity:
                writer.reserve(10)
            out: cython.p_uchar = writer.out + writer.size
            count: cython.int = 0
            while rest > 127:
                out[count] = cython.cast(cython.uchar, (rest & 127) | 128)
                count += 1
                rest = rest >> 7
            out[count] = cython.cast(cython.uchar, rest)
            writer.size += count + 1
            return 0
        while rest > 127:
            writer.put((rest & 127) | 128)
            rest = rest >> 7
        return writer.put(rest)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def integer(self) -> cython.int:
        p: cython.p_uchar = self.src
        at: cython.Py_ssize_t = self.at
        end: cython.Py_ssize_t = self.end
        value: cython.ulonglong = 0
        negative: cython.bint = at < end and p[at] == 45
        if negative:
            at += 1
        start: cython.Py_ssize_t = at
        while at < end and 48 <= p[at] <= 57:
            value = value * 10 + (p[at] - 48)
            at += 1
        if at == start or at - start > NUMBER:
            raise ValueError(OTHER)
        self.at = at
        whole: cython.longlong = 0
        if negative:
            # The smallest has no positive counterpart.
            whole = value - 1
            return self.varint(-whole - 1)
        whole = value
        return self.varint(whole)

    def real(self, kind: cython.int) -> cython.int:
        start: cython.Py_ssize_t = self.at
        c: cython.int = 0
        if start < self.end and self.src[start] == 34:
            start += 1
        while self.at < self.end:
            c = self.src[self.at]
            if c == 44 or c == 125 or c == 93:
                break
            self.at += 1
        stop: cython.Py_ssize_t = self.at
        if stop > start and self.src[stop - 1] == 34:
            stop -= 1
        number: cython.double = 0.0
        if cython.compiled:
            first: cython.p_char = cython.cast(cython.p_char, self.src) + start
            behind: cython.p_char = cython.NULL
            number = strtod(first, cython.address(behind))
            if behind == first or behind - first != stop - start:
                raise ValueError(OTHER)
            if LITTLE_ENDIAN:
                short: cython.float = cython.cast(cython.float, number)
                if kind == FLOAT:
                    return self.writer.raw(cython.cast(cython.p_uchar, cython.address(short)), 0, 4)
                return self.writer.raw(cython.cast(cython.p_uchar, cython.address(number)), 0, 8)
        else:
            number = float(self.src[start:stop])
        return self.writer.constant(FLOATS.pack(number) if kind == FLOAT else DOUBLES.pack(number))

    def boolean(self) -> cython.int:
        if self.literal(b"true"):
            return self.writer.put(1)
        if self.literal(b"false"):
            return self.writer.put(0)
        raise ValueError(OTHER)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def text(self) -> cython.int:
        """A JSON string as UTF-8 behind its length."""
        self.expect(34)
        p: cython.p_uchar = self.src
        start: cython.Py_ssize_t = self.at
        at: cython.Py_ssize_t = start
        end: cython.Py_ssize_t = self.end
        c: cython.int = 0
        if cython.compiled:
            quote: cython.p_uchar = cython.cast(cython.p_uchar, memchr(p + at, 34, end - at))
            at = end if quote == cython.NULL else quote - p
            escape: cython.p_uchar = cython.cast(cython.p_uchar, memchr(p + start, 92, at - start))
            if escape != cython.NULL:
                at = escape - p
        else:
            while at < end and p[at] != 34 and p[at] != 92:
                at += 1
        self.at = at
        if at < end and p[at] == 34:
            self.varint(at - start)
            self.writer.raw(p, start, at)
            self.at += 1
            return 0
        self.scratch.reset()
        self.scratch.raw(self.src, start, self.at)
        while self.at < self.end:
            c = self.src[self.at]
            if c == 34:
                break
            if c == 92:
                self.escape()
                continue
            start = self.at
            while self.at < self.end and self.src[self.at] != 34 and self.src[self.at] != 92:
                self.at += 1
            self.scratch.raw(self.src, start, self.at)
        self.varint(self.scratch.size)
        self.writer.raw(self.scratch.content(), 0, self.scratch.size)
        return self.expect(34)

    def escape(self) -> cython.int:
        """One escape of JSON."""
        if self.at + 1 >= self.end:
            raise ValueError(OTHER)
        c: cython.int = self.src[self.at + 1]
        self.at += 2
        if c == 34 or c == 47 or c == 92:
            return self.scratch.put(c)
        if c == 110:
            return self.scratch.put(10)
        if c == 116:
            return self.scratch.put(9)
        if c == 114:
            return self.scratch.put(13)
        if c == 98:
            return self.scratch.put(8)
        if c == 102:
            return self.scratch.put(12)
        if c != 117:
            raise ValueError(OTHER)
        code: cython.int = self.hex4()
        if 0xD800 <= code <= 0xDBFF:
            if not self.literal(b"\\u"):
                raise ValueError(OTHER)
            code = 0x10000 + ((code - 0xD800) << 10) + (self.hex4() - 0xDC00)
        return self.character(code)

    def hex4(self) -> cython.int:
        if self.at + 4 > self.end:
            raise ValueError(OTHER)
        digits: bytes = self.src[self.at : self.at + 4]
        self.at += 4
        return int(digits, 16)

    def character(self, code: cython.int) -> cython.int:
        if code < 0x80:
            return self.scratch.put(code)
        if code < 0x800:
            self.scratch.put(0xC0 | (code >> 6))
        elif code < 0x10000:
            self.scratch.put(0xE0 | (code >> 12))
            self.scratch.put(0x80 | ((code >> 6) & 0x3F))
        else:
            self.scratch.put(0xF0 | (code >> 18))
            self.scratch.put(0x80 | ((code >> 12) & 0x3F))
            self.scratch.put(0x80 | ((code >> 6) & 0x3F))
        return self.scratch.put(0x80 | (code & 0x3F))

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def base64(self) -> cython.int:
        """A JSON string of base64 as the bytes it stands for, behind their number."""
        self.expect(34)
        start: cython.Py_ssize_t = self.at
        stop: cython.Py_ssize_t = 0
        bits: cython.uint = 0
        have: cython.int = 0
        while self.at < self.end and self.src[self.at] != 34:
            self.at += 1
        stop = self.at
        while stop > start and self.src[stop - 1] == 61:
            stop -= 1
        self.varint((stop - start) * 3 // 4)
        while start < stop:
            bits = ((bits << 6) | sextet(self.src[start])) & 0xFFFFFF
            start += 1
            have += 6
            if have >= 8:
                have -= 8
                self.writer.put((bits >> have) & 0xFF)
        return self.expect(34)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def literal(self, text: bytes) -> cython.bint:
        """Pass over exactly this text, or stay."""
        length: cython.Py_ssize_t = len(text)
        if self.end - self.at < length or not self.has(text, self.at, length):
            return False
        self.at += length
        return True

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def has(self, text: bytes, at: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.bint:
        """Whether exactly this text, of that length, is at a place; the document has to be long enough."""
        if cython.compiled:
            return memcmp(self.src + at, cython.cast(cython.p_uchar, text), length) == 0
        return self.src[at : at + length] == text

    def expect(self, byte: cython.int) -> cython.int:
        if self.at >= self.end or self.src[self.at] != byte:
            raise ValueError(OTHER)
        self.at += 1
        return 0


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
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
    raise ValueError("not base64")
