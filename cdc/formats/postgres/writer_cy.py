"""Writes JSON into one growing buffer: constants, numbers, texts. Pure; compiled where possible.

Compiled, the buffer is C memory and nothing is made into a Python object; interpreted, it is
a `bytearray`. Both write the same bytes. What cannot be written raises ValueError without
saying the value. C types of attributes and arguments are in `writer_cy.pxd`.
"""

# mypy: ignore-errors
# Half of this module is C in Python's clothes, which has no types that mypy knows; the tests
# run both halves on the same input. Callers see the annotations all the same.

import re

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
    from cython.cimports.libc.stdlib import free, realloc
    from cython.cimports.libc.string import memcpy

KEPT = cython.declare(cython.Py_ssize_t, 1 << 20)
"""A buffer that one large row made larger than this is given back."""

CHUNK = cython.declare(cython.Py_ssize_t, 1 << 12)
"""So many bytes of a text at a time: its worst case, six times as long, is reserved ahead."""

NOT_UTF8 = "not valid UTF-8"

ESCAPES = {bytes((code,)): b"\\u%04X" % code for code in range(32)} | {
    b"\b": b"\\b",
    b"\t": b"\\t",
    b"\n": b"\\n",
    b"\f": b"\\f",
    b"\r": b"\\r",
    b'"': b'\\"',
    b"\\": b"\\\\",
}
SPECIAL = re.compile(rb'[\x00-\x1f"\\]')
BEYOND = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
"""A character beyond U+FFFF."""

if cython.compiled:
    _digits = cython.declare(cython.p_uchar, b"0123456789ABCDEF")


class Writer:
    """A buffer that grows, and what can be written to its end."""

    def __init__(self) -> None:
        self.size = 0
        self.pairs = True
        if not cython.compiled:
            self.buffer = bytearray()

    def __dealloc__(self) -> None:
        if cython.compiled:
            free(self.out)

    def reset(self) -> cython.int:
        """Forget what was written."""
        self.size = 0
        if cython.compiled:
            if self.capacity > KEPT:
                free(self.out)
                self.out = cython.NULL
                self.capacity = 0
        else:
            self.buffer.clear()
        return 0

    def reserve(self, room: cython.Py_ssize_t) -> cython.int:
        """Make sure that `room` more bytes fit."""
        if cython.compiled:
            wanted: cython.Py_ssize_t = self.size + room
            if wanted > self.capacity:
                wanted = max(wanted, self.capacity * 2, 512)
                grown: cython.p_uchar = cython.cast(cython.p_uchar, realloc(self.out, wanted))
                if grown == cython.NULL:
                    raise MemoryError
                self.out = grown
                self.capacity = wanted
        return 0

    def take(self) -> bytes:
        """What was written."""
        if cython.compiled:
            return self.out[: self.size]
        return bytes(self.buffer)

    def content(self) -> cython.p_uchar:
        """What was written, valid until the next call."""
        if cython.compiled:
            return self.out
        return bytes(self.buffer)

    def shrink(self, size: cython.Py_ssize_t) -> cython.int:
        """Forget what was written behind the first `size` bytes."""
        self.size = size
        if not cython.compiled:
            del self.buffer[size:]
        return 0

    def cut(self, start: cython.Py_ssize_t) -> bytes:
        """What was written from `start` on; it is taken out."""
        written: bytes = self.out[start : self.size] if cython.compiled else bytes(self.buffer[start:])
        self.shrink(start)
        return written

    def put(self, byte: cython.int) -> cython.int:
        """One byte."""
        if cython.compiled:
            if self.size >= self.capacity:
                self.reserve(1)
            self.out[self.size] = byte
            self.size += 1
        else:
            self.buffer.append(byte)
            self.size += 1
        return 0

    def raw(self, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """Bytes as they are."""
        if cython.compiled:
            if self.size + end - start > self.capacity:
                self.reserve(end - start)
            memcpy(self.out + self.size, src + start, end - start)
        else:
            self.buffer += src[start:end]
        self.size += end - start
        return 0

    def constant(self, literal: bytes) -> cython.int:
        """A Python bytes object as it is."""
        if not cython.compiled:
            return self.raw(literal, 0, len(literal))
        length: cython.Py_ssize_t = len(literal)
        if self.size + length > self.capacity:
            self.reserve(length)
        memcpy(self.out + self.size, cython.cast(cython.p_uchar, literal), length)
        self.size += length
        return 0

    def number(self, value: cython.longlong) -> cython.int:
        """A whole number in decimal digits."""
        if not cython.compiled:
            return self.constant(b"%d" % value)
        self.reserve(20)
        # The smallest value has no positive counterpart, so the digits are taken unsigned.
        rest: cython.ulonglong = value
        if value < 0:
            self.out[self.size] = 45
            self.size += 1
            rest = -rest
        width: cython.int = 1
        limit: cython.ulonglong = 10
        while width < 19 and rest >= limit:
            limit *= 10
            width += 1
        out: cython.p_uchar = self.out + self.size
        place: cython.int = width
        while place > 0:
            place -= 1
            out[place] = cython.cast(cython.uchar, 48 + rest % 10)
            rest = rest // 10
        self.size += width
        return 0

    def padded(self, value: cython.longlong, width: cython.int) -> cython.int:
        """A whole number ≥ 0 in at least `width` digits."""
        if not cython.compiled:
            return self.constant(b"%0*d" % (width, value))
        limit: cython.longlong = 10
        zeros: cython.int = width - 1
        while zeros > 0 and value >= limit:
            limit *= 10
            zeros -= 1
        while zeros > 0:
            self.put(48)
            zeros -= 1
        return self.number(value)

    def text(self, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """A UTF-8 text as a JSON string, escaped as Debezium's serialiser does.

        That (Jackson's UTF8JsonGenerator) escapes control characters and those beyond U+FFFF, as Java's two.
        """
        if not cython.compiled:
            return self.constant(_json_string(src[start:end], self.pairs))
        self.reserve(2)
        self.out[self.size] = 34
        self.size += 1
        at: cython.Py_ssize_t = start
        while at < end:
            at = _escape_chunk(self, src, at, end)
        # The chunk before reserved more than it wrote.
        self.out[self.size] = 34
        self.size += 1
        return 0


def _json_string(raw: bytes, pairs: bool) -> bytes:
    """The interpreted `text`."""
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise ValueError(NOT_UTF8) from None
    escaped = SPECIAL.sub(lambda found: ESCAPES[found[0]], raw)
    return b'"' + (BEYOND.sub(_pair, escaped) if pairs else escaped) + b'"'


def _pair(found: re.Match[bytes]) -> bytes:
    units = found[0].decode().encode("utf-16-be")
    return b"\\u%02X%02X\\u%02X%02X" % tuple(units)


if cython.compiled:

    @cython.cfunc
    @cython.inline
    def _special(word: cython.ulonglong) -> cython.bint:
        """Whether any of eight bytes is a control character, a quote, a backslash or not ASCII."""
        ones: cython.ulonglong = 0x0101010101010101
        tops: cython.ulonglong = 0x8080808080808080
        quote: cython.ulonglong = word ^ (ones * 34)
        slash: cython.ulonglong = word ^ (ones * 92)
        return (word | ((word - ones * 32) & ~word) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & tops != 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _escape_chunk(
        writer: Writer, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """Write about CHUNK bytes of a text; returns where it stopped, never inside a character."""
        stop: cython.Py_ssize_t = min(end, start + CHUNK)
        # A character that begins in the chunk may end up to three bytes behind it.
        writer.reserve((stop - start) * 6 + 16)
        out: cython.p_uchar = writer.out
        size: cython.Py_ssize_t = writer.size
        at: cython.Py_ssize_t = start
        word: cython.ulonglong = 0
        char: cython.uchar = 0
        more: cython.int = 0
        few: cython.Py_ssize_t = 0
        while at < stop:
            if stop - at >= 8:
                memcpy(cython.address(word), src + at, 8)
                if not _special(word):
                    memcpy(out + size, src + at, 8)
                    at += 8
                    size += 8
                    continue
            few = min(stop, at + 8)
            while at < few:
                char = src[at]
                if char >= 128:
                    more = _following(src, at, end)
                    if more == 0:
                        raise ValueError(NOT_UTF8)
                    if more == 3 and writer.pairs:
                        size = _put_pair(out, size, src, at)
                        at += 4
                        continue
                    for place in range(more + 1):
                        out[size + place] = src[at + place]
                    size += more + 1
                    at += more + 1
                    continue
                if char >= 32 and char != 34 and char != 92:
                    out[size] = char
                    size += 1
                else:
                    out[size] = 92
                    size = size + 1
                    if char == 34 or char == 92:
                        out[size] = char
                    elif char == 8:
                        out[size] = 98
                    elif char == 9:
                        out[size] = 116
                    elif char == 10:
                        out[size] = 110
                    elif char == 12:
                        out[size] = 102
                    elif char == 13:
                        out[size] = 114
                    else:
                        memcpy(out + size, cython.cast(cython.p_char, b"u00"), 3)
                        out[size + 3] = _digits[char >> 4]
                        out[size + 4] = _digits[char & 15]
                        size += 4
                    size += 1
                at += 1
        writer.size = size
        return at

    @cython.cfunc
    def _put_pair(
        out: cython.p_uchar, size: cython.Py_ssize_t, src: cython.p_uchar, at: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """Write a character of four bytes as Java's two, each an escape; returns the new size."""
        code: cython.int = (
            (src[at] & 7) << 18 | (src[at + 1] & 63) << 12 | (src[at + 2] & 63) << 6 | (src[at + 3] & 63)
        ) - 0x10000
        unit: cython.int = 0xD800 | code >> 10
        for _ in range(2):
            out[size] = 92
            out[size + 1] = 117
            for place in range(4):
                out[size + 2 + place] = _digits[unit >> (12 - 4 * place) & 15]
            size += 6
            unit = 0xDC00 | (code & 1023)
        return size

    @cython.cfunc
    def _following(src: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """How many bytes follow the first of a character beyond ASCII; 0 if it is not valid UTF-8."""
        first: cython.int = src[at]
        low: cython.int = 0x80
        high: cython.int = 0xBF
        more: cython.int
        if 0xC2 <= first <= 0xDF:
            more = 1
        elif 0xE0 <= first <= 0xEF:
            more = 2
            if first == 0xE0:
                low = 0xA0
            elif first == 0xED:
                high = 0x9F
        elif 0xF0 <= first <= 0xF4:
            more = 3
            if first == 0xF0:
                low = 0x90
            elif first == 0xF4:
                high = 0x8F
        else:
            return 0
        if end - at <= more or src[at + 1] < low or src[at + 1] > high:
            return 0
        for place in range(2, more + 1):
            if src[at + place] < 0x80 or src[at + place] > 0xBF:
                return 0
        return more
