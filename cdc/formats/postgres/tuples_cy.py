"""Row messages and COPY lines, read through to the offsets of their values. Pure.

Compiled where possible. Every length is checked against the message, so that whoever uses the
offsets need not. What cannot be understood raises ValueError without any value. C types are
in `tuples_cy.pxd`.
"""

import re
from array import array
from typing import TypeAlias

from cdc import cython
from cdc.formats.postgres.planned import TablePlan

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this

NULL = cython.declare(cython.Py_ssize_t, -1)
UNCHANGED = cython.declare(cython.Py_ssize_t, -2)

INSERT = cython.declare(cython.int, 73)
UPDATE = cython.declare(cython.int, 85)
DELETE = cython.declare(cython.int, 68)
KEY_TUPLE = cython.declare(cython.int, 75)
OLD_TUPLE = cython.declare(cython.int, 79)
NEW_TUPLE = cython.declare(cython.int, 78)

COPY_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
COPY_ESCAPED = re.compile(rb"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)

CUT_SHORT = "a row message ends too early"
TOO_FEW = "a COPY line has fewer columns than were asked for"
TOO_MANY = "a COPY line has more columns than were asked for"

Fill: TypeAlias = dict[int, bytes | None]
"""Values for unchanged columns, by their place in the relation: their text, or None for NULL."""


class TupleReader:
    """Holds the offsets of the values of the message read last, by column of the relation.

    `unchanged` says how many published columns of the new tuple hold an unchanged TOAST value
    that the message does not have.

    Args:
        plan: which columns are there, and which are published.
    """

    def __init__(self, plan: TablePlan) -> None:
        relation = plan.relation.columns
        self.width = len(relation)
        self.count = len(plan.columns)
        self.unchanged = 0
        self.places = array("i", [column.index for column in plan.columns])
        published = {column.index for column in plan.columns}
        self.published = array("i", [place in published for place in range(self.width)])
        self.identity = array("i", [column.in_key for column in relation])
        self.starts = array("q", [NULL] * (2 * self.width))
        self.stops = array("q", [NULL] * (2 * self.width))

    def parse(self, data: bytes, offset: cython.Py_ssize_t) -> cython.int:
        """Find every value of a row message; returns the kind of its old tuple, 0 for none."""
        size: cython.Py_ssize_t = len(data)
        if offset < 0 or size - offset < 6:
            raise ValueError(CUT_SHORT)
        src: cython.p_uchar = data
        kind: cython.int = src[offset]
        at: cython.Py_ssize_t = offset + 5
        old_kind: cython.int = src[at]
        self.unchanged = 0
        if kind == INSERT:
            old_kind = 0
        elif old_kind in (KEY_TUPLE, OLD_TUPLE):
            at = self.tuple_values(data, at + 1, self.width)
        elif kind == UPDATE:
            old_kind = 0
        else:
            raise ValueError("not a row message" if kind != DELETE else "a delete without the old row")
        if kind != DELETE:
            if (kind != INSERT and kind != UPDATE) or at >= size or src[at] != NEW_TUPLE:
                raise ValueError("not a row message")
            at = self.tuple_values(data, at + 1, 0)
            self.resolve(old_kind)
        if at != size:
            raise ValueError("a row message is longer than its values")
        return old_kind

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def tuple_values(self, data: bytes, at: cython.Py_ssize_t, base: cython.int) -> cython.Py_ssize_t:
        """Find the values of one tuple, the old one's behind the new one's (`base`); returns where it ends."""
        size: cython.Py_ssize_t = len(data)
        src: cython.p_uchar = data
        if size - at < 2:
            raise ValueError(CUT_SHORT)
        if (src[at] << 8 | src[at + 1]) != self.width:
            raise ValueError("a row message has not as many columns as its relation")
        at += 2
        kind: cython.int = 0
        length: cython.Py_ssize_t = 0
        place: cython.int = 0
        for place in range(self.width):
            if at >= size:
                raise ValueError(CUT_SHORT)
            kind = src[at]
            at += 1
            if kind == 116:  # text
                if size - at < 4:
                    raise ValueError(CUT_SHORT)
                length = (
                    cython.cast(cython.Py_ssize_t, src[at]) << 24 | src[at + 1] << 16 | src[at + 2] << 8 | src[at + 3]
                )
                at += 4
                if length > size - at:
                    raise ValueError(CUT_SHORT)
                self.starts[base + place] = at
                at += length
                self.stops[base + place] = at
            elif kind == 110:  # null
                self.starts[base + place] = NULL
            elif kind == 117:  # unchanged TOAST
                self.starts[base + place] = UNCHANGED
            else:
                raise ValueError("a row message has a value of unknown kind")
        return at

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def resolve(self, old_kind: cython.int) -> cython.int:
        """Take unchanged values from the old tuple where it has them; count what is missing."""
        known: cython.bint = False
        place: cython.int = 0
        for place in range(self.width):
            if self.starts[place] == UNCHANGED:
                known = old_kind == OLD_TUPLE or (old_kind == KEY_TUPLE and self.identity[place] != 0)
                if known and self.starts[self.width + place] != UNCHANGED:
                    self.starts[place] = self.starts[self.width + place]
                    self.stops[place] = self.stops[self.width + place]
                elif self.published[place]:
                    self.unchanged += 1
        return 0

    def filled(self, data: bytes, fill: Fill) -> bytes:
        """Take given values for unchanged ones, as if the message had them; returns it with them."""
        parts = [data]
        at = len(data)
        for column in range(self.count):
            place: cython.int = self.places[column]
            if self.starts[place] != UNCHANGED or place not in fill:
                continue
            value = fill[place]
            if value is None:
                self.starts[place] = NULL
            else:
                self.starts[place] = at
                at += len(value)
                self.stops[place] = at
                parts.append(value)
            self.unchanged -= 1
        return b"".join(parts)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def fields(self, line: bytes) -> bytes:
        """Find the values of a COPY line; returns the text that they are in."""
        size: cython.Py_ssize_t = len(line)
        src: cython.p_uchar = line
        if size > 0 and src[size - 1] == 10:
            size -= 1
        at: cython.Py_ssize_t = 0
        place: cython.int = 0
        start: cython.Py_ssize_t = 0
        escaped: cython.bint = False
        column: cython.int = 0
        for column in range(self.count):
            place = self.places[column]
            start = at
            escaped = False
            if cython.compiled:
                while at < size and src[at] != 9:
                    if src[at] == 92:
                        escaped = True
                    at += 1
            else:
                at = line.find(b"\t", start, size)
                at = size if at < 0 else at
                escaped = line.find(b"\\", start, at) >= 0
            if escaped:
                if at - start != 2 or src[start + 1] != 78:  # \N
                    return self.unescaped(line)
                self.starts[place] = NULL
            else:
                self.starts[place] = start
                self.stops[place] = at
            if column < self.count - 1:
                if at >= size:
                    raise ValueError(TOO_FEW)
                at += 1
        if at != size:
            raise ValueError(TOO_MANY)
        return line

    def unescaped(self, line: bytes) -> bytes:
        """The same for a line with escapes: the values are in a new text."""
        values = line.removesuffix(b"\n").split(b"\t")
        if len(values) != self.count:
            raise ValueError(TOO_FEW if len(values) < self.count else TOO_MANY)
        at = 0
        for column in range(self.count):
            value = values[column]
            place: cython.int = self.places[column]
            if value == b"\\N":
                values[column] = b""
                self.starts[place] = NULL
                continue
            if b"\\" in value:
                values[column] = value = COPY_ESCAPED.sub(_copy_character, value)
            self.starts[place] = at
            at += len(value)
            self.stops[place] = at
        return b"".join(values)


def _copy_character(found: re.Match[bytes]) -> bytes:
    """What a backslash and what follows it stand for in COPY's text format."""
    escape = found[1]
    if escape[:1] in b"01234567":
        return bytes((int(escape, 8) & 255,))
    if escape[:1] == b"x" and len(escape) > 1:
        return bytes((int(escape[1:], 16),))
    return COPY_ESCAPES.get(escape, escape)
