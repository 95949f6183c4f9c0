"""One value's text, as PostgreSQL writes it under SESSION_SETTINGS, becomes JSON in Debezium's form. Pure.

Compiled where possible; which transcoder a column needs is decided in `types.py`, what each
gives is in docs/types.md. Text that is not of its type raises ValueError without the value.
C types of attributes and arguments are in `transcode_cy.pxd`.
"""

from collections.abc import Sequence
from decimal import Decimal

from cdc import cython
from cdc.formats.masks import Digest
from cdc.formats.postgres.temporal_cy import MALFORMED

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.temporal_cy import TemporalWriter
    from cdc.formats.postgres.writer_cy import Writer

TEXT = cython.declare(cython.int, 0)
INTEGER = cython.declare(cython.int, 1)
FLOAT = cython.declare(cython.int, 2)
BOOLEAN = cython.declare(cython.int, 3)
BYTES = cython.declare(cython.int, 4)
DATE = cython.declare(cython.int, 5)
TIME = cython.declare(cython.int, 6)
TIMESTAMP = cython.declare(cython.int, 7)
ZONED_TIMESTAMP = cython.declare(cython.int, 8)
ZONED_TIME = cython.declare(cython.int, 9)
INTERVAL = cython.declare(cython.int, 10)
DECIMAL = cython.declare(cython.int, 11)
VARIABLE_DECIMAL = cython.declare(cython.int, 12)
BIT = cython.declare(cython.int, 13)
BITS = cython.declare(cython.int, 14)
TRUNCATED = cython.declare(cython.int, 16)
DIGEST = cython.declare(cython.int, 17)

NOT_FINITE = "NaN and Infinity have no form under decimal: precise; set decimal: string"


class ValueWriter(TemporalWriter):
    """Writes values by transcoder. `value` sets a cursor over the text that the others read."""

    def __init__(self, digests: Sequence[Digest] = ()) -> None:
        super().__init__()
        self.digests = tuple(digests)
        self.scratch = Writer()

    def value(
        self,
        transcoder: cython.int,
        argument: cython.int,
        src: cython.p_uchar,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> cython.int:
        """Write one value that is not NULL and not an array.

        Args:
            transcoder, argument: of its form.
            src, start, end: its text.
        """
        if transcoder == TEXT:
            return self.text(src, start, end)
        self.src = src
        self.at = start
        self.end = end
        if transcoder == INTEGER:
            return self.integer()
        if transcoder == ZONED_TIMESTAMP:
            return self.zoned_timestamp(argument)
        if transcoder == TIMESTAMP:
            return self.timestamp(argument)
        if transcoder == BOOLEAN:
            return self.boolean()
        if transcoder == FLOAT:
            return self.float_number()
        if transcoder == DATE:
            return self.date()
        if transcoder == TIME:
            return self.time(argument)
        if transcoder == ZONED_TIME:
            return self.zoned_time()
        if transcoder == INTERVAL:
            return self.interval()
        if transcoder == BYTES:
            return self.octets()
        if transcoder == DECIMAL:
            return self.decimal(argument)
        if transcoder == VARIABLE_DECIMAL:
            return self.variable_decimal()
        if transcoder == BIT:
            return self.bit()
        if transcoder == BITS:
            return self.bits()
        if transcoder == TRUNCATED:
            return self.truncated(argument)
        if transcoder == DIGEST:
            return self.digest(argument)
        raise ValueError("no such transcoder")

    # Numbers, truth and bytes.

    def integer(self) -> cython.int:
        """Digits as they are, once they are known to be a JSON number."""
        src: cython.p_uchar = self.src
        first: cython.Py_ssize_t = self.at
        if first < self.end and src[first] == 45:
            first += 1
        length: cython.Py_ssize_t = self.end - first
        if length < 1 or length > 20 or (src[first] == 48 and length > 1):
            raise ValueError(MALFORMED)
        place: cython.Py_ssize_t = 0
        for place in range(first, self.end):
            if src[place] < 48 or src[place] > 57:
                raise ValueError(MALFORMED)
        return self.raw(src, self.at, self.end)

    def float_number(self) -> cython.int:
        """A number as it is, with `.0` where it would read as an integer; NaN and Infinity as strings."""
        start: cython.Py_ssize_t = self.at
        if start < self.end and self.src[start] == 45:
            self.at += 1
        if self.at < self.end and (self.src[self.at] == 78 or self.src[self.at] == 73):  # NaN, Infinity
            return self.text(self.src, start, self.end)
        first: cython.Py_ssize_t = self.at
        while self.at < self.end and 48 <= self.src[self.at] <= 57:
            self.at += 1
        if self.at == first or (self.src[first] == 48 and self.at - first > 1):
            raise ValueError(MALFORMED)
        whole: cython.bint = True
        if self.at < self.end and self.src[self.at] == 46:
            whole = False
            self.at += 1
            self.digits(1, 1)
            while self.at < self.end and 48 <= self.src[self.at] <= 57:
                self.at += 1
        if self.at < self.end and self.src[self.at] == 101:
            whole = False
            self.at += 1
            if self.at < self.end and (self.src[self.at] == 43 or self.src[self.at] == 45):
                self.at += 1
            self.digits(1, 4)
        self.finished()
        self.raw(self.src, start, self.end)
        if whole:
            self.put(46)
            self.put(48)
        return 0

    def boolean(self) -> cython.int:
        if self.end - self.at == 1 and self.src[self.at] == 116:
            return self.constant(b"true")
        if self.end - self.at == 1 and self.src[self.at] == 102:
            return self.constant(b"false")
        raise ValueError(MALFORMED)

    def octets(self) -> cython.int:
        """A bytea's `\\x…` as base64."""
        self.skip(92)
        self.skip(120)
        return self.hexadecimal(self.src, self.at, self.end)

    def bit(self) -> cython.int:
        """`bit(1)`; a `varbit(1)` may be empty, which no boolean is."""
        if self.at == self.end:
            return self.constant(b"null")
        value: cython.int = self.src[self.at]
        if self.end - self.at != 1 or (value != 48 and value != 49):
            raise ValueError(MALFORMED)
        return self.constant(b"true" if value == 49 else b"false")

    def bits(self) -> cython.int:
        """Little-endian bytes without trailing zeros (Java's BitSet), as base64."""
        while self.at < self.end and self.src[self.at] == 48:
            self.at += 1
        self.scratch.reset()
        last: cython.Py_ssize_t = self.end
        value: cython.int = 0
        place: cython.int = 0
        digit: cython.int = 0
        while last > self.at:
            last -= 1
            digit = self.src[last]
            if digit != 48 and digit != 49:
                raise ValueError(MALFORMED)
            value |= (digit - 48) << place
            place += 1
            if place == 8 or last == self.at:
                self.scratch.put(value)
                value = 0
                place = 0
        return self.base64(self.scratch.content(), 0, self.scratch.size)

    # Masks.

    def truncated(self, characters: cython.int) -> cython.int:
        """The first characters (not bytes) of a text."""
        start: cython.Py_ssize_t = self.at
        left: cython.int = characters
        while self.at < self.end:
            if self.src[self.at] & 0xC0 != 0x80:
                if left == 0:
                    break
                left -= 1
            self.at += 1
        return self.text(self.src, start, self.at)

    def digest(self, place: cython.int) -> cython.int:
        """What a mask puts for the value's text; it needs no escapes."""
        text: bytes = self.src[self.at : self.end]
        digest: bytes = self.digests[place](text)
        self.put(34)
        self.constant(digest)
        return self.put(34)

    # Exact decimals.

    def decimal(self, scale: cython.int) -> cython.int:
        """The unscaled value as big-endian two's complement in base64."""
        negative: cython.bint = self.at < self.end and self.src[self.at] == 45
        if negative:
            self.at += 1
        if self.at < self.end and (self.src[self.at] == 78 or self.src[self.at] == 73):  # NaN, Infinity
            raise ValueError(NOT_FINITE)
        # The digits without the point, padded with zeros up to the scale.
        self.scratch.reset()
        missing: cython.int = scale
        point: cython.bint = False
        char: cython.int = 0
        while self.at < self.end:
            char = self.src[self.at]
            if char == 46 and not point:
                point = True
            elif 48 <= char <= 57:
                if point:
                    missing -= 1
                self.scratch.put(char)
            else:
                raise ValueError(MALFORMED)
            self.at += 1
        if missing < 0 or self.scratch.size == 0:
            raise ValueError(MALFORMED)
        while missing > 0:
            self.scratch.put(48)
            missing -= 1
        if self.scratch.size > 18:
            return self.constant(_large_integer(self.scratch.take(), negative))
        unscaled: cython.longlong = 0
        self.src = self.scratch.content()
        for place in range(self.scratch.size):
            unscaled = unscaled * 10 + (self.src[place] - 48)
        return self.integer_bytes(-unscaled if negative else unscaled)

    def variable_decimal(self) -> cython.int:
        """Scale and unscaled value without zeros at the end, where the type has no scale of its own."""
        point: cython.Py_ssize_t = self.at
        while point < self.end and self.src[point] != 46:
            point += 1
        if point < self.end:
            while self.src[self.end - 1] == 48:
                self.end -= 1
            if self.end == point + 1:
                self.end = point
        scale: cython.Py_ssize_t = self.end - point - 1 if point < self.end else 0
        self.constant(b'{"scale":')
        self.number(scale)
        self.constant(b',"value":')
        self.decimal(cython.cast(cython.int, scale))
        return self.put(125)

    # Arrays.

    def array(
        self,
        transcoder: cython.int,
        argument: cython.int,
        delimiter: cython.int,
        src: cython.p_uchar,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> cython.int:
        """A JSON array, nested for more dimensions; lower bounds are left out.

        Args:
            transcoder, argument: of the elements.
            delimiter: between them.
            src, start, end: the array's text.
        """
        at: cython.Py_ssize_t = start
        if at < end and src[at] == 91:  # [0:1]={…}
            while at < end and src[at] != 61:
                at += 1
            at += 1
        depth: cython.int = 0
        element: cython.bint = True  # an element or a brace may come here; else a delimiter or a brace
        empty: cython.bint = True  # … and a closing one too
        first: cython.Py_ssize_t = 0
        while at < end:
            if depth == 0 and (not element or src[at] != 123):
                raise ValueError(MALFORMED)
            if src[at] == 123 and element:
                self.put(91)
                depth += 1
                empty = True
                at += 1
            elif src[at] == 125 and (empty or not element):
                self.put(93)
                depth -= 1
                element = False
                empty = False
                at += 1
            elif src[at] == delimiter and not element:
                self.put(44)
                element = True
                at += 1
            elif not element:
                raise ValueError(MALFORMED)
            else:
                if src[at] == 34:
                    at = self.quoted(transcoder, argument, src, at + 1, end)
                else:
                    first = at
                    while at < end and src[at] != delimiter and src[at] != 125:
                        at += 1
                    if at == first:
                        raise ValueError(MALFORMED)
                    if at - first == 4 and src[first] == 78 and src[first + 1] == 85 and src[first + 2] == 76:
                        self.constant(b"null")
                    else:
                        self.value(transcoder, argument, src, first, at)
                element = False
                empty = False
        if depth != 0 or element:
            raise ValueError(MALFORMED)
        return 0

    def quoted(
        self,
        transcoder: cython.int,
        argument: cython.int,
        src: cython.p_uchar,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Write an element whose opening quote is before `start`; returns where its closing quote is passed."""
        at: cython.Py_ssize_t = start
        while at < end and src[at] != 34 and src[at] != 92:
            at += 1
        if at < end and src[at] == 34:
            self.value(transcoder, argument, src, start, at)
            return at + 1
        # A transcoder may need the scratch buffer itself: those of quoted elements with escapes do not.
        plain: Writer = Writer()
        plain.raw(src, start, at)
        while at < end and src[at] != 34:
            if src[at] == 92:
                at += 1
            if at < end:
                plain.put(src[at])
                at += 1
        if at >= end:
            raise ValueError(MALFORMED)
        self.value(transcoder, argument, plain.content(), 0, plain.size)
        return at + 1


def _large_integer(digits: bytes, negative: bool) -> bytes:
    """More digits than an int64 is sure to hold, in the form of `Writer.integer_bytes`."""
    value = int(Decimal(digits.decode()))  # int() itself refuses more than 4300 digits
    value = -value if negative else value
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    writer = Writer()
    writer.base64(value.to_bytes(size, "big", signed=True), 0, size)
    return writer.take()
