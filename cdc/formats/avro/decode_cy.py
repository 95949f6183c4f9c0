"""Avro's bytes → an event's JSON, by the schema that they were written by. Compiled where it can be; pure.

The JSON is what `encode_cy` takes: values as Kafka Connect's JsonConverter has them, members in the schema's order.
Nothing here trusts its input: every index is checked against the length. C types of attributes and arguments are in
`decode_cy.pxd`.
"""

# mypy: ignore-errors
# As in writer_cy: half of it is C in Python's clothes.

import math
import struct
from array import array

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.binary_cy import BinaryWriter

# As in encode_cy.
RECORD = cython.declare(cython.int, 0)
STRING = cython.declare(cython.int, 1)
INTEGER = cython.declare(cython.int, 2)
FLOAT = cython.declare(cython.int, 3)
DOUBLE = cython.declare(cython.int, 4)
BOOLEAN = cython.declare(cython.int, 5)
BYTES = cython.declare(cython.int, 6)
ARRAY = cython.declare(cython.int, 7)
MAP = cython.declare(cython.int, 8)

FLOATS = struct.Struct("<f")
DOUBLES = struct.Struct("<d")

SUBNORMAL = 1.2e-38
"""Below it a float has fewer digits than six."""

OTHER = "not of its Avro schema"


class AvroDecoder:
    """Decodes records of one schema. Not for two threads at once.

    Args:
        nodes: as for `encode_cy.AvroEncoder`.
        sparse: for each node whether a null of it is left out of its object.
    """

    def __init__(self, nodes: list[tuple[int, int, int, int, bytes, bytes]], sparse: list[bool]) -> None:
        self.writer = BinaryWriter()
        self.kinds = array("i", [node[0] for node in nodes])
        self.nulls = array("i", [node[1] for node in nodes])
        self.first = array("i", [node[2] for node in nodes])
        self.counts = array("i", [node[3] for node in nodes])
        self.sparse = array("i", sparse)
        self.names = [b"," + node[4] for node in nodes]

    def decode(self, data: bytes, offset: cython.Py_ssize_t) -> bytes:
        """What is behind an offset, as JSON.

        Raises:
            ValueError: it is not of the schema; says no value.
        """
        self.src = data
        self.at = offset
        self.end = len(data)
        self.writer.reset()
        self.node(0)
        if self.at != self.end:
            raise ValueError(OTHER)
        return self.writer.take()

    def node(self, node: cython.int) -> cython.int:
        """One value."""
        if self.branch(node):
            return self.writer.constant(b"null")
        return self.bare(node)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def branch(self, node: cython.int) -> cython.int:
        """Whether it is null."""
        null: cython.int = self.nulls[node]
        if null == 0:
            return 0
        chosen: cython.longlong = self.varint()
        if chosen != 0 and chosen != 1:
            raise ValueError(OTHER)
        return 1 if chosen == null - 1 else 0

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def bare(self, node: cython.int) -> cython.int:
        """A value that is not null."""
        kind: cython.int = self.kinds[node]
        if kind == RECORD:
            return self.record(node)
        if kind == STRING:
            return self.text()
        if kind == INTEGER:
            return self.writer.number(self.varint())
        if kind == BOOLEAN:
            return self.boolean()
        if kind == BYTES:
            return self.octets()
        if kind == ARRAY:
            return self.array(node)
        if kind == MAP:
            return self.map(node)
        if kind in (FLOAT, DOUBLE):
            return self.real(kind)
        return self.entry(node)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def record(self, node: cython.int) -> cython.int:
        place: cython.int = self.first[node]
        stop: cython.int = place + self.counts[node]
        writer: BinaryWriter = self.writer
        names: list[bytes] = self.names
        name: bytes = b""
        opening: cython.Py_ssize_t = writer.size + 1
        null: cython.int = 0
        writer.put(123)
        while place < stop:
            null = self.branch(place)
            if not (null and self.sparse[place]):
                name = names[place]
                if writer.size == opening:
                    writer.raw(name, 1, len(name))
                else:
                    writer.constant(name)
                if null:
                    writer.constant(b"null")
                else:
                    self.bare(place)
            place += 1
        return writer.put(125)

    def array(self, node: cython.int) -> cython.int:
        left: cython.longlong = self.block()
        comma: cython.bint = False
        self.writer.put(91)
        while left > 0:
            while left > 0:
                if comma:
                    self.writer.put(44)
                comma = True
                self.node(self.first[node])
                left -= 1
            left = self.block()
        return self.writer.put(93)

    def map(self, node: cython.int) -> cython.int:
        left: cython.longlong = self.block()
        comma: cython.bint = False
        self.writer.put(123)
        while left > 0:
            while left > 0:
                if comma:
                    self.writer.put(44)
                comma = True
                self.text()
                self.writer.put(58)
                self.node(self.first[node])
                left -= 1
            left = self.block()
        return self.writer.put(125)

    def entry(self, node: cython.int) -> cython.int:
        """Of a map whose keys are no strings."""
        self.writer.put(91)
        self.node(self.first[node])
        self.writer.put(44)
        self.node(self.first[node] + 1)
        return self.writer.put(93)

    def block(self) -> cython.longlong:
        """How many items come next; 0 ends them. Never more than there are bytes: each has one at least."""
        count: cython.longlong = self.varint()
        if count < 0:
            count = -count
            self.varint()
        if count < 0 or count > self.end - self.at:
            raise ValueError(OTHER)
        return count

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def varint(self) -> cython.longlong:
        """A whole number, zigzag, seven bits at a time."""
        value: cython.ulonglong = 0
        shift: cython.int = 0
        byte: cython.ulonglong = 128
        while byte & 128:
            if self.at >= self.end or shift > 63:
                raise ValueError(OTHER)
            byte = self.src[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
        whole: cython.longlong = value >> 1
        return -whole - 1 if value & 1 else whole

    def length(self) -> cython.Py_ssize_t:
        """Of what comes next, all of which is there."""
        length: cython.longlong = self.varint()
        if length < 0 or length > self.end - self.at:
            raise ValueError(OTHER)
        return length

    def text(self) -> cython.int:
        stop: cython.Py_ssize_t = self.length()
        stop += self.at
        self.writer.text(self.src, self.at, stop)
        self.at = stop
        return 0

    def octets(self) -> cython.int:
        stop: cython.Py_ssize_t = self.length()
        stop += self.at
        self.writer.base64(self.src, self.at, stop)
        self.at = stop
        return 0

    def boolean(self) -> cython.int:
        if self.at >= self.end or self.src[self.at] > 1:
            raise ValueError(OTHER)
        self.at += 1
        return self.writer.constant(b"true" if self.src[self.at - 1] else b"false")

    def real(self, kind: cython.int) -> cython.int:
        width: cython.Py_ssize_t = 4 if kind == FLOAT else 8
        if self.end - self.at < width:
            raise ValueError(OTHER)
        packed: bytes = self.src[self.at : self.at + width]
        self.at += width
        number: float = (FLOATS if kind == FLOAT else DOUBLES).unpack(packed)[0]
        if math.isnan(number):
            return self.writer.constant(b'"NaN"')
        if math.isinf(number):
            return self.writer.constant(b'"Infinity"' if number > 0 else b'"-Infinity"')
        return self.writer.constant(repr(shortest(number, packed) if kind == FLOAT else number).encode())


def shortest(number: float, packed: bytes) -> float:
    """The number with the fewest digits that is the same as a 32-bit float: 0.1, not 0.10000000149011612."""
    for digits in range(1 if abs(number) < SUBNORMAL else 6, 9):
        shorter = float(f"{number:.{digits}g}")
        if FLOATS.pack(shorter) == packed:
            return shorter
    return float(f"{number:.9g}")
