"""Bytes as JSON strings: base64 in two alphabets, hexadecimal. Pure; compiled where possible.

C types of attributes and arguments are in `binary_cy.pxd`.
"""

# mypy: ignore-errors
# As in writer_cy: half of it is C in Python's clothes.

import math
import struct
from binascii import Error, b2a_base64, hexlify, unhexlify

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
    from cython.cimports.libc.string import memcpy
else:
    from cdc.formats.postgres.writer_cy import Writer

NOT_HEX = "not hexadecimal: bytea_output must be hex"

BASE64 = cython.declare(cython.int, 0)
URL_SAFE = cython.declare(cython.int, 1)
HEX = cython.declare(cython.int, 2)

if cython.compiled:
    _digits = cython.declare(cython.p_uchar, b"0123456789abcdef")
    _base64 = cython.declare(cython.p_uchar, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


class BinaryWriter(Writer):
    """Writes bytes as strings; how is BASE64, URL_SAFE or HEX."""

    def binary(
        self, how: cython.int, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t
    ) -> cython.int:
        """Bytes, as the setting `binary` asks."""
        if how != HEX:
            at: cython.Py_ssize_t = self.size
            self.base64(src, start, end)
            return self.url_safe(at) if how == URL_SAFE else 0
        if not cython.compiled:
            return self.constant(b'"' + hexlify(src[start:end]) + b'"')
        self.put(34)
        for place in range(start, end):
            self.put(_digits[src[place] >> 4])
            self.put(_digits[src[place] & 15])
        return self.put(34)

    def digits_of_bytes(
        self, how: cython.int, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t
    ) -> cython.int:
        """Hexadecimal digits of bytes, as the setting `binary` asks."""
        at: cython.Py_ssize_t = self.size
        self.hexadecimal(src, start, end)
        if how == URL_SAFE:
            return self.url_safe(at)
        if how == HEX:
            # They are hexadecimal: base64 of them was well written.
            self.shrink(at)
            self.put(34)
            self.raw(src, start, end)
            return self.put(34)
        return 0

    def url_safe(self, start: cython.Py_ssize_t) -> cython.int:
        """Change base64 that was written to the other alphabet (RFC 4648, 5)."""
        if not cython.compiled:
            self.buffer[start:] = self.buffer[start:].translate(bytes.maketrans(b"+/", b"-_"))
            return 0
        for place in range(start, self.size):
            if self.out[place] == 43:
                self.out[place] = 45
            elif self.out[place] == 47:
                self.out[place] = 95
        return 0

    def hexadecimal(self, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """Hexadecimal digits as a JSON string of base64."""
        if not cython.compiled:
            try:
                return self.constant(b'"' + b2a_base64(unhexlify(src[start:end]), newline=False) + b'"')
            except Error:
                raise ValueError(NOT_HEX) from None
        if (end - start) % 2:
            raise ValueError(NOT_HEX)
        self.reserve((end - start) // 6 * 4 + 6)
        self.put(34)
        group: cython.uint = 0
        high: cython.int = 0
        low: cython.int = 0
        count: cython.int = 0
        at: cython.Py_ssize_t = start
        while at < end:
            group = 0
            count = 0
            while count < 3 and at < end:
                high = _hex_value(src[at])
                low = _hex_value(src[at + 1])
                if high < 0 or low < 0:
                    raise ValueError(NOT_HEX)
                group |= (high << 4 | low) << (16 - 8 * count)
                count += 1
                at += 2
            _put_group(self, group, count)
        self.put(34)
        return 0

    def base64(self, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """Bytes as a JSON string of base64."""
        if not cython.compiled:
            return self.constant(b'"' + b2a_base64(src[start:end], newline=False) + b'"')
        self.put(34)
        group: cython.uint = 0
        count: cython.int = 0
        at: cython.Py_ssize_t = start
        while at < end:
            group = 0
            count = 0
            while count < 3 and at < end:
                group |= cython.cast(cython.uint, src[at]) << (16 - 8 * count)
                count += 1
                at += 1
            _put_group(self, group, count)
        self.put(34)
        return 0

    def integer_bytes(self, value: cython.longlong) -> cython.int:
        """An integer's shortest big-endian two's complement, as a JSON string of base64 (Java's BigInteger)."""
        size: cython.int = 1
        probe: cython.longlong = value if value >= 0 else -(value + 1)
        while probe >= 128:
            probe = probe >> 8
            size += 1
        if not cython.compiled:
            return self.base64(value.to_bytes(size, "big", signed=True), 0, size)
        self.put(34)
        group: cython.uint = 0
        count: cython.int = 0
        for place in range(size - 1, -1, -1):
            group |= cython.cast(cython.uint, (value >> (8 * place)) & 255) << (16 - 8 * count)
            count += 1
            if count == 3 or place == 0:
                _put_group(self, group, count)
                group = 0
                count = 0
        self.put(34)
        return 0

    def float64(self, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """A number's eight bytes, little-endian, as they are."""
        if not cython.compiled:
            return self.constant(struct.pack("<d", float(src[start:end])))
        # Behind what is written there is room for the text and its end.
        self.reserve(end - start + 1)
        memcpy(self.out + self.size, src + start, end - start)
        self.out[self.size + end - start] = 0
        value: cython.double = PyOS_string_to_double(  # noqa: F821
            cython.cast(cython.p_char, self.out + self.size), cython.NULL, cython.NULL
        )
        bits: cython.ulonglong = 0
        memcpy(cython.address(bits), cython.address(value), 8)
        for _ in range(8):
            self.put(bits & 255)
            bits = bits >> 8
        return 0

    def power_of_two(self, size: cython.int) -> cython.bint:
        """Whether the number whose text was written is one, as a float of `size` bytes."""
        if not cython.compiled:
            value = float(bytes(self.buffer))
            if size == 4:
                (value,) = struct.unpack("f", struct.pack("f", value))
            return math.frexp(value)[0] == 0.5
        self.reserve(1)
        self.out[self.size] = 0
        read: cython.double = PyOS_string_to_double(  # noqa: F821
            cython.cast(cython.p_char, self.out), cython.NULL, cython.NULL
        )
        if size == 4:
            read = cython.cast(cython.float, read)
        bits: cython.ulonglong = 0
        memcpy(cython.address(bits), cython.address(read), 8)
        return (bits << 12) == 0


if cython.compiled:

    @cython.cfunc
    @cython.inline
    def _hex_value(digit: cython.int) -> cython.int:
        if 48 <= digit <= 57:
            return digit - 48
        if 97 <= digit <= 102:
            return digit - 87
        if 65 <= digit <= 70:
            return digit - 55
        return -1

    @cython.cfunc
    @cython.exceptval(-1)
    def _put_group(writer: Writer, group: cython.uint, count: cython.int) -> cython.int:
        """Up to three bytes (the high ones of 24 bits) as four characters of base64."""
        writer.reserve(4)
        out: cython.p_uchar = writer.out + writer.size
        out[0] = _base64[group >> 18]
        out[1] = _base64[group >> 12 & 63]
        out[2] = _base64[group >> 6 & 63] if count > 1 else 61
        out[3] = _base64[group & 63] if count > 2 else 61
        writer.size += 4
        return 0
