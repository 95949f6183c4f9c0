"""A cursor over one value's text, and the numbers it reads: integers, floats, numerics, money. Pure.

Floats are spelled as Java's `Double.toString` does, for JsonConverter writes them so: in E notation below
0.001 and from 10,000,000 on. Compiled where possible. C types of attributes and arguments are in
`numbers_cy.pxd`.
"""

from decimal import ROUND_HALF_UP, Context, Decimal

from cdc import cython
from cdc.formats.postgres.java import digits_of_float

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.binary_cy import BinaryWriter

MALFORMED = "a value's text is not what its type writes (is SESSION_SETTINGS applied?)"
NOT_FINITE = "NaN and Infinity have no form under decimal: precise; set decimal: string"

QUIRK = cython.declare(cython.int, 16)
AS_TEXT = cython.declare(cython.int, -2)
AS_DOUBLE = cython.declare(cython.int, -1)


class NumberWriter(BinaryWriter):
    """Writes what a cursor over one value's text reads: numbers here, all else in the modules that follow."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0
        self.end = 0
        self.scratch = BinaryWriter()
        self.plain = BinaryWriter()
        self.plain.pairs = False  # a JSON text inside of a text is escaped by the outer one
        if not cython.compiled:
            self.src = b""

    # The cursor.

    def digits(self, least: cython.int, most: cython.int) -> cython.longlong:
        """Read `least` to `most` (18 or fewer) decimal digits."""
        value: cython.longlong = 0
        count: cython.int = 0
        while self.at < self.end and count < most and 48 <= self.src[self.at] <= 57:
            value = value * 10 + (self.src[self.at] - 48)
            self.at += 1
            count += 1
        if count < least:
            raise ValueError(MALFORMED)
        return value

    def skip(self, char: cython.int) -> cython.int:
        """Read one given character."""
        if self.at >= self.end or self.src[self.at] != char:
            raise ValueError(MALFORMED)
        self.at += 1
        return 0

    def finished(self) -> cython.int:
        """Make sure that nothing is left."""
        if self.at != self.end:
            raise ValueError(MALFORMED)
        return 0

    # Integers and floats.

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

    def float_number(self, size: cython.int) -> cython.int:
        """A float of `size` bytes from its shortest digits, with QUIRK by Java 17's; NaN and Infinity as strings."""
        src: cython.p_uchar = self.src
        start: cython.Py_ssize_t = self.at
        if start < self.end and src[start] == 45:
            self.at += 1
        if self.at < self.end and (src[self.at] == 78 or src[self.at] == 73):
            return self.not_finite(start)
        first: cython.Py_ssize_t = self.at
        point: cython.Py_ssize_t = self.number_end()
        if self.at == self.end:
            # Between 0.001 and 10,000,000 Java's spelling is the same, but for `.0`.
            small: cython.bint = src[first] == 48 and self.end - first > 4 and src[first + 2] == 48
            few: cython.bint = not size & QUIRK or self.end - first < 7
            if few and point - first <= 7 and not (small and src[first + 3] == 48 and src[first + 4] == 48):
                self.raw(src, start, self.end)
                return self.constant(b".0") if point == self.end else 0
        exponent: cython.longlong = self.exponent()
        if first > start:
            self.put(45)
        return self.respelled(first, point, exponent, size)

    def double(self, size: cython.int) -> cython.int:
        """A numeric as the nearest double; `size` is 8, and may have QUIRK."""
        src: cython.p_uchar = self.src
        start: cython.Py_ssize_t = self.at
        if start < self.end and src[start] == 45:
            self.at += 1
        if self.at < self.end and (src[self.at] == 78 or src[self.at] == 73):
            return self.not_finite(start)
        first: cython.Py_ssize_t = self.at
        point: cython.Py_ssize_t = self.number_end()
        self.finished()
        if self.end - first <= 16:
            # Up to 15 digits are the shortest that a double has, but for zeros at the end.
            if first > start:
                self.put(45)
            return self.respelled(first, point, 0, size)
        nearest: bytes = repr(float(src[start : self.end])).replace("inf", "Infinity").encode()
        self.src = nearest
        self.at = 0
        self.end = len(nearest)
        return self.float_number(size)

    def not_finite(self, start: cython.Py_ssize_t) -> cython.int:
        """`NaN`, `Infinity` or `-Infinity`, which begins at `start`, as a string."""
        word: bytes = self.src[start : self.end]
        if word not in (b"NaN", b"Infinity", b"-Infinity"):
            raise ValueError(MALFORMED)
        return self.text(self.src, start, self.end)

    def number_end(self) -> cython.Py_ssize_t:
        """Read digits, and a point and digits; returns where the point is, or the end of the digits."""
        first: cython.Py_ssize_t = self.at
        while self.at < self.end and 48 <= self.src[self.at] <= 57:
            self.at += 1
        if self.at == first or (self.src[first] == 48 and self.at - first > 1):
            raise ValueError(MALFORMED)
        point: cython.Py_ssize_t = self.at
        if self.at < self.end and self.src[self.at] == 46:
            self.at += 1
            self.digits(1, 1)
            while self.at < self.end and 48 <= self.src[self.at] <= 57:
                self.at += 1
        return point

    def exponent(self) -> cython.longlong:
        """Read `e-07` to the value's end, if it is there."""
        if self.at == self.end:
            return 0
        self.skip(101)
        negative: cython.bint = self.at < self.end and self.src[self.at] == 45
        if negative or (self.at < self.end and self.src[self.at] == 43):
            self.at += 1
        value: cython.longlong = self.digits(1, 4)
        self.finished()
        return -value if negative else value

    def respelled(
        self, first: cython.Py_ssize_t, point: cython.Py_ssize_t, exponent: cython.longlong, size: cython.int
    ) -> cython.int:
        """The digits from `first` on, with their point at `point`, times 10 to the exponent, as Java spells it."""
        digits: BinaryWriter = self.scratch
        digits.reset()
        # The value is 0.DIGITS times 10 to `scale`.
        scale: cython.longlong = exponent + (point - first)
        place: cython.Py_ssize_t = first
        while place < self.end and self.src[place] != 101:
            if self.src[place] != 46:
                if digits.size or self.src[place] != 48:
                    digits.put(self.src[place])
                else:
                    scale -= 1
            place += 1
        count: cython.Py_ssize_t = digits.size
        src: cython.p_uchar = digits.content()
        while count and src[count - 1] == 48:
            count -= 1
        if count == 0:
            return self.constant(b"0.0")
        others: bytes = b""
        if size & QUIRK and self.java_has_others(count, scale, size & 15):
            others, scale = digits_of_float(b"0.%se%d" % (digits.take()[:count], scale), size & 15)
            src = others
            count = len(others)
        elif size & QUIRK:
            src = digits.content()  # it may have grown
        if scale > 7 or scale < -2:
            return self.scientific(src, count, scale)
        if scale <= 0:
            self.constant(b"0.")
            while scale < 0:
                self.put(48)
                scale += 1
            return self.raw(src, 0, count)
        if count > scale:
            self.raw(src, 0, scale)
            self.put(46)
            return self.raw(src, scale, count)
        self.raw(src, 0, count)
        while count < scale:
            self.put(48)
            count += 1
        return self.constant(b".0")

    def java_has_others(self, count: cython.Py_ssize_t, scale: cython.longlong, size: cython.int) -> cython.bint:
        """Whether `digits_of_float` may know other digits than the shortest, which `scratch` holds."""
        if size == 4 and (scale > 7 or scale < -35):
            return True
        if scale > 15 or scale < -305:
            return True
        if count < (6 if size == 4 else 14):
            return False
        self.scratch.put(101)
        self.scratch.number(scale - (self.scratch.size - 1))
        return self.scratch.power_of_two(size)

    def scientific(self, src: cython.p_uchar, count: cython.Py_ssize_t, scale: cython.longlong) -> cython.int:
        self.put(src[0])
        self.put(46)
        if count == 1:
            self.put(48)
        self.raw(src, 1, count)
        self.put(69)
        return self.number(scale - 1)

    # Numerics and money.

    def numeric_text(self, zeros: cython.int) -> cython.int:
        """A numeric as text, with Debezium's words for what is no number (`SpecialValueDecimal`).

        Args:
            zeros: of a fraction that the driver takes a negative scale for.
        """
        last: cython.int = self.src[self.end - 1] if self.end > self.at else 0
        if last == 78:
            return self.constant(b'"NAN"')
        if last == 121:
            return self.constant(b'"NEGATIVE_INFINITY"' if self.src[self.at] == 45 else b'"POSITIVE_INFINITY"')
        self.text(self.src, self.at, self.end)
        if zeros:
            self.shrink(self.size - 1)
            self.constant(b"." + b"0" * zeros + b'"')
        return 0

    def money(self, how: cython.int) -> cython.int:
        """Money without its locale's symbols: AS_TEXT, AS_DOUBLE, or precise with `how` digits of a fraction.

        The point is the last of the characters `.` and `,`, unless that is a comma before three digits.
        """
        src: cython.p_uchar = self.src
        point: cython.Py_ssize_t = self.end
        negative: cython.bint = False
        place: cython.Py_ssize_t = self.at
        for place in range(self.at, self.end):
            if src[place] == 46 or src[place] == 44:
                point = place
            elif src[place] == 45 or src[place] == 40:
                negative = True
        plain: BinaryWriter = self.plain
        plain.reset()
        if negative:
            plain.put(45)
        after: cython.Py_ssize_t = 0
        for place in range(point + 1, self.end):
            after += 48 <= src[place] <= 57
        if after == 0 or (after == 3 and src[point] == 44):
            point = self.end
            after = 0
        for place in range(self.at, self.end):
            if 48 <= src[place] <= 57:
                plain.put(src[place])
            elif place == point:
                if plain.size == negative:
                    raise ValueError(MALFORMED)
                plain.put(46)
        if plain.size == negative:
            raise ValueError(MALFORMED)
        rounded: bytes = b""
        if how >= 0 and after > how:
            rounded = _rounded(plain.take(), how)
            plain.reset()
            plain.constant(rounded)
        self.src = plain.content()
        self.at = 0
        self.end = plain.size
        if how == AS_TEXT:
            return self.text(self.src, 0, self.end)
        return self.double(8) if how == AS_DOUBLE else self.decimal(how)

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


def _rounded(plain: bytes, digits: cython.int) -> bytes:
    exact = Context(prec=len(plain) + digits + 1)
    unit = Decimal((0, (1,), -int(digits)))
    return f"{Decimal(plain.decode()).quantize(unit, ROUND_HALF_UP, exact):f}".encode()


def _large_integer(digits: bytes, negative: bool) -> bytes:
    """More digits than an int64 is sure to hold, in the form of `Writer.integer_bytes`."""
    value = int(Decimal(digits.decode()))  # int() itself refuses more than 4300 digits
    value = -value if negative else value
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    writer = BinaryWriter()
    writer.base64(value.to_bytes(size, "big", signed=True), 0, size)
    return writer.take()
