"""Values of more than one part: points, geometries, vectors, hstore; and texts as bytes. Pure.

Compiled where possible. C types of attributes and arguments are in `structs_cy.pxd`.
"""

from cdc import cython
from cdc.formats.postgres.java import order_of_numbers, order_of_texts
from cdc.formats.postgres.numbers_cy import MALFORMED

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.binary_cy import BinaryWriter
    from cdc.formats.postgres.iso_cy import IsoWriter

QUIRK = cython.declare(cython.int, 16)
AS_MAP = cython.declare(cython.int, 1)

HAS_SRID = cython.declare(cython.longlong, 0x20000000)
"""The flag of PostGIS's extended well-known binary."""


class StructWriter(IsoWriter):
    """Writes structs, vectors and maps."""

    def octets(self, how: cython.int) -> cython.int:
        """A bytea's `\\x…`."""
        self.skip(92)
        self.skip(120)
        return self.digits_of_bytes(how, self.src, self.at, self.end)

    def geometric(self, how: cython.int) -> cython.int:
        """The bytes of a text with coordinates in it, those spelled as Java does (org.postgresql.geometric)."""
        opening: cython.Py_ssize_t = self.size
        stop: cython.Py_ssize_t = self.end
        start: cython.Py_ssize_t = 0
        while self.at < stop:
            if not self.numeral(self.at):
                self.put(self.src[self.at])
                self.at += 1
                continue
            start = self.at
            self.end = start
            while self.end < stop and self.numeral(self.end):
                self.end += 1
            if self.src[self.end - 1] == 78 or self.src[self.end - 1] == 121:
                self.raw(self.src, start, self.end)
            else:
                self.float_number(8 | how & QUIRK)
            self.at = self.end
        plain: BinaryWriter = self.plain
        plain.reset()
        plain.raw(self.content(), opening, self.size)
        self.shrink(opening)
        return self.binary(how & 15, plain.content(), 0, plain.size)

    def numeral(self, at: cython.Py_ssize_t) -> cython.bint:
        """Whether a character may be of a coordinate: digits, signs, point, e, NaN and Infinity."""
        char: cython.int = self.src[at]
        return 48 <= char <= 57 or char == 43 or char == 45 or char == 46 or 65 <= char <= 90 or 97 <= char <= 122

    def coordinate(self, stop: cython.int, size: cython.int) -> cython.Py_ssize_t:
        """Write the number up to a given character and pass that; returns where the number begins."""
        start: cython.Py_ssize_t = self.at
        end: cython.Py_ssize_t = self.end
        self.end = start
        while self.end < end and self.src[self.end] != stop:
            self.end += 1
        if self.end == end:
            raise ValueError(MALFORMED)
        self.float_number(size)
        self.at = self.end + 1
        self.end = end
        return start

    def point(self, size: cython.int) -> cython.int:
        """`(1,2)` as x, y (floats of `size` bytes) and well-known binary."""
        self.skip(40)
        self.constant(b'{"x":')
        x: cython.Py_ssize_t = self.coordinate(44, size)
        self.constant(b',"y":')
        y: cython.Py_ssize_t = self.coordinate(41, size)
        stop: cython.Py_ssize_t = self.at - 1
        self.finished()
        plain: BinaryWriter = self.plain
        plain.reset()
        plain.constant(b"\x01\x01\x00\x00\x00")
        plain.float64(self.src, x, y - 1)
        plain.float64(self.src, y, stop)
        self.constant(b',"wkb":')
        self.base64(plain.content(), 0, plain.size)
        return self.constant(b',"srid":null}')

    def geometry(self) -> cython.int:
        """PostGIS's hexadecimal extended well-known binary, and the reference system that it names."""
        little: cython.bint = self.byte(0) != 0
        self.constant(b'{"wkb":')
        self.hexadecimal(self.src, self.at, self.end)
        self.constant(b',"srid":')
        if self.word(1, little) & HAS_SRID:
            srid: cython.longlong = self.word(5, little)
            self.number(srid - (1 << 32) if srid >> 31 else srid)
        else:
            self.constant(b"null")
        return self.put(125)

    def byte(self, place: cython.int) -> cython.longlong:
        """A byte of hexadecimal digits."""
        at: cython.Py_ssize_t = self.at + 2 * place
        if at + 2 > self.end:
            raise ValueError(MALFORMED)
        value: cython.longlong = 0
        char: cython.int = 0
        for _ in range(2):
            char = self.src[at]
            at += 1
            if 48 <= char <= 57:
                value = value * 16 + char - 48
            elif 65 <= char <= 70:
                value = value * 16 + char - 55
            else:
                raise ValueError(MALFORMED)
        return value

    def word(self, place: cython.int, little: cython.bint) -> cython.longlong:
        """Four bytes of hexadecimal digits as an unsigned number."""
        value: cython.longlong = 0
        for step in range(4):
            value = value * 256 + self.byte(place + (3 - step if little else step))
        return value

    def vector(self, size: cython.int) -> cython.int:
        """pgvector's `[1,2.5]`, its elements floats of `size` bytes for Java."""
        self.skip(91)
        stop: cython.Py_ssize_t = self.end
        self.put(91)
        while True:
            self.end = self.at
            while self.end < stop and self.src[self.end] != 44 and self.src[self.end] != 93:
                self.end += 1
            self.float_number(size)
            self.at = self.end
            self.end = stop
            if self.at >= stop or self.src[self.at] == 93:
                break
            self.skip(44)
            self.put(44)
        self.skip(93)
        self.finished()
        return self.put(93)

    def sparse_vector(self, rule: cython.int) -> cython.int:
        """`{1:10,3:25.5}/25`: pairs of index and element, with QUIRK in the order of a Java HashMap."""
        opening: cython.Py_ssize_t = self.at
        slash: cython.Py_ssize_t = self.end - 1
        while slash > opening and self.src[slash] != 47:
            slash -= 1
        if slash < opening + 2 or self.src[slash - 1] != 125:
            raise ValueError(MALFORMED)
        self.constant(b'{"dimensions":')
        self.at = slash + 1
        self.number(self.digits(1, 10))
        self.finished()
        self.constant(b',"vector":[')
        self.at = opening
        self.end = slash
        self.skip(123)
        pairs: list[bytes] = []
        indexes: list[int] = []
        start: cython.Py_ssize_t = 0
        index: cython.longlong = 0
        more: cython.bint = self.src[self.at] != 125
        while more:
            index = self.digits(1, 10)
            self.skip(58)
            start = self.size
            self.put(91)
            self.number(index)
            self.put(44)
            self.end = self.at
            while self.end < slash and self.src[self.end] != 44 and self.src[self.end] != 125:
                self.end += 1
            self.float_number(8 | rule)
            self.put(93)
            self.at = self.end
            self.end = slash
            more = self.at < slash and self.src[self.at] == 44
            if rule == QUIRK:
                pairs.append(self.cut(start))
                indexes.append(index)
            elif more:
                self.put(44)
            if more:
                self.at += 1
        self.skip(125)
        self.finished()
        if rule == QUIRK:
            self.constant(b",".join([pairs[place] for place in order_of_numbers(indexes)]))
        return self.constant(b"]}")

    def hstore(self, rule: cython.int) -> cython.int:
        """`"k"=>"v", "n"=>NULL` as a JSON text, or as a map; with QUIRK in the order of a Java HashMap."""
        out: BinaryWriter = self.plain
        if rule & AS_MAP:
            out = self
        else:
            out.reset()
        entries: list[bytes] = []
        keys: list[str] = []
        start: cython.Py_ssize_t = 0
        more: cython.bint = self.at < self.end
        out.put(123)
        while more:
            start = out.size
            self.unquoted()
            out.text(self.scratch.content(), 0, self.scratch.size)
            if rule & QUIRK:
                keys.append(self.scratch.take().decode())
            out.put(58)
            self.skip(61)
            self.skip(62)
            if self.at < self.end and self.src[self.at] == 34:
                self.unquoted()
                out.text(self.scratch.content(), 0, self.scratch.size)
            else:
                self.skip(78)
                self.skip(85)
                self.skip(76)
                self.skip(76)
                out.constant(b"null")
            more = self.at < self.end
            if more:
                self.skip(44)
                self.skip(32)
            if rule & QUIRK:
                entries.append(out.cut(start))
            elif more:
                out.put(44)
        if rule & QUIRK:
            out.constant(b",".join([entries[place] for place in order_of_texts(keys)]))
        out.put(125)
        return 0 if rule & AS_MAP else self.text(out.content(), 0, out.size)

    def unquoted(self) -> cython.int:
        """Read a text between quotes, with backslashes before those in it, to `scratch`."""
        text: BinaryWriter = self.scratch
        text.reset()
        self.skip(34)
        while self.at < self.end and self.src[self.at] != 34:
            if self.src[self.at] == 92:
                self.at += 1
                if self.at == self.end:
                    raise ValueError(MALFORMED)
            text.put(self.src[self.at])
            self.at += 1
        return self.skip(34)
