"""One value's text, as PostgreSQL writes it under SESSION_SETTINGS, becomes JSON in Debezium's form. Pure.

Compiled where possible; which transcoder a column needs is decided in `types.py`, what each
gives is in docs/types.md. Text that is not of its type raises ValueError without the value.
C types of attributes and arguments are in `transcode_cy.pxd`.
"""

from collections.abc import Sequence

from cdc import cython
from cdc.formats.masks import Digest
from cdc.formats.postgres.numbers_cy import MALFORMED

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.structs_cy import StructWriter
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
DOUBLE = cython.declare(cython.int, 20)
NUMERIC_TEXT = cython.declare(cython.int, 21)
MONEY = cython.declare(cython.int, 22)
ISO_DATE = cython.declare(cython.int, 23)
ISO_TIME = cython.declare(cython.int, 24)
ISO_TIMESTAMP = cython.declare(cython.int, 25)
ISO_INTERVAL = cython.declare(cython.int, 26)
TEXT_BYTES = cython.declare(cython.int, 27)
GEOMETRIC = cython.declare(cython.int, 28)
POINT = cython.declare(cython.int, 29)
GEOMETRY = cython.declare(cython.int, 30)
VECTOR = cython.declare(cython.int, 31)
SPARSE_VECTOR = cython.declare(cython.int, 32)
HSTORE = cython.declare(cython.int, 33)


FLAT = cython.declare(cython.int, 1)
NO_NULLS = cython.declare(cython.int, 2)
FINITE = cython.declare(cython.int, 4)
EMPTY = cython.declare(cython.int, 8)
"""Rules of arrays, as in `form.ArrayRule`."""


class ValueWriter(StructWriter):
    """Writes values by transcoder. `value` sets a cursor over the text that the others read."""

    def __init__(self, digests: Sequence[Digest] = ()) -> None:
        super().__init__()
        self.digests = tuple(digests)

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
            return self.float_number(argument)
        if transcoder == DATE:
            return self.date(argument)
        if transcoder == TIME:
            return self.time(argument)
        if transcoder == ZONED_TIME:
            return self.zoned_time(argument)
        if transcoder == INTERVAL:
            return self.interval(argument)
        if transcoder == BYTES:
            return self.octets(argument)
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
        return self.rarer(transcoder, argument)

    def rarer(self, transcoder: cython.int, argument: cython.int) -> cython.int:
        """The transcoders of settings and types that few have."""
        if transcoder == DOUBLE:
            return self.double(argument)
        if transcoder == NUMERIC_TEXT:
            return self.numeric_text(argument)
        if transcoder == MONEY:
            return self.money(argument)
        if transcoder == ISO_TIMESTAMP:
            return self.iso_timestamp(argument)
        if transcoder == ISO_DATE:
            return self.iso_date(argument)
        if transcoder == ISO_TIME:
            return self.iso_time(argument)
        if transcoder == ISO_INTERVAL:
            return self.iso_interval(argument)
        if transcoder == POINT:
            return self.point(argument)
        if transcoder == GEOMETRY:
            return self.geometry()
        if transcoder == VECTOR:
            return self.vector(argument)
        if transcoder == SPARSE_VECTOR:
            return self.sparse_vector(argument)
        if transcoder == HSTORE:
            return self.hstore(argument)
        if transcoder == TEXT_BYTES:
            return self.binary(argument, self.src, self.at, self.end)
        if transcoder == GEOMETRIC:
            return self.geometric(argument)
        raise ValueError("no such transcoder")

    # Truth and bits.

    def boolean(self) -> cython.int:
        if self.end - self.at == 1 and self.src[self.at] == 116:
            return self.constant(b"true")
        if self.end - self.at == 1 and self.src[self.at] == 102:
            return self.constant(b"false")
        raise ValueError(MALFORMED)

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

    # Arrays.

    def array(
        self,
        transcoder: cython.int,
        argument: cython.int,
        delimiter: cython.int,
        rules: cython.int,
        src: cython.p_uchar,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> cython.int:
        """A JSON array, nested for more dimensions; lower bounds are left out.

        Args:
            transcoder, argument: of the elements.
            delimiter: between them.
            rules: FLAT, NO_NULLS, FINITE, EMPTY: what Debezium cannot write is null.
            src, start, end: the array's text.
        """
        if rules & EMPTY and end - start != 2:
            return self.constant(b"null")
        opening: cython.Py_ssize_t = self.size
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
            if src[at] == 123 and element and depth == 1 and rules & FLAT:
                at = self.passed(src, at, end)
                self.constant(b"null")
                element = False
                empty = False
            elif src[at] == 123 and element:
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
                    if (
                        at - first == 4
                        and src[first] == 78
                        and src[first + 1] == 85
                        and src[first + 2] == 76
                        and src[first + 3] == 76
                    ):
                        if rules & NO_NULLS:
                            self.shrink(opening)
                            return self.constant(b"null")
                        self.constant(b"null")
                    elif rules & FINITE and (src[at - 1] == 78 or src[at - 1] == 121):  # NaN, Infinity
                        self.shrink(opening)
                        return self.constant(b"null")
                    else:
                        self.value(transcoder, argument, src, first, at)
                element = False
                empty = False
        if depth != 0 or element:
            raise ValueError(MALFORMED)
        return 0

    def passed(self, src: cython.p_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the inner array that begins at `start` is passed."""
        at: cython.Py_ssize_t = start
        depth: cython.int = 0
        quoted: cython.bint = False
        while at < end:
            if src[at] == 92:
                at += 1
            elif src[at] == 34:
                quoted = not quoted
            elif src[at] == 123 and not quoted:
                depth += 1
            elif src[at] == 125 and not quoted:
                depth -= 1
                if depth == 0:
                    return at + 1
            at += 1
        raise ValueError(MALFORMED)

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
