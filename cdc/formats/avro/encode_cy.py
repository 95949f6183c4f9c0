"""An event's JSON → Avro's bytes, by a schema, read once from left to right. Compiled where it can be; pure.

It takes exactly the JSON that the row encoders write: no spaces, the members in the schema's order, some of them
left out. C types of attributes and arguments are in `encode_cy.pxd`.
"""

# mypy: ignore-errors
# As in writer_cy: half of it is C in Python's clothes.

from array import array

from cdc import cython
from cdc.formats.avro.scalars_cy import OTHER

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.avro.scalars_cy import ScalarEncoder

RECORD = cython.declare(cython.int, 0)
STRING = cython.declare(cython.int, 1)
INTEGER = cython.declare(cython.int, 2)
FLOAT = cython.declare(cython.int, 3)
DOUBLE = cython.declare(cython.int, 4)
BOOLEAN = cython.declare(cython.int, 5)
BYTES = cython.declare(cython.int, 6)
ARRAY = cython.declare(cython.int, 7)
MAP = cython.declare(cython.int, 8)
ENTRY = cython.declare(cython.int, 9)
"""A record of two fields whose JSON is an array: of a map whose keys are no strings."""


class AvroEncoder(ScalarEncoder):
    """Encodes documents of one schema. Not for two threads at once.

    Args:
        prefix: what each encoded document begins with.
        nodes: the schema's, root first: (kind, null, first, count, name, missing): kind as above; null 0 for a type
            that is not nullable, 1 where null is the union's first branch, 2 where its second; the place of the
            first of `count` fields, or of the items; the member's name and colon as JSON writes them; what stands for a
            member that is left out.
    """

    def __init__(self, prefix: bytes, nodes: list[tuple[int, int, int, int, bytes, bytes]]) -> None:
        super().__init__()
        self.prefix = prefix
        self.kinds = array("i", [node[0] for node in nodes])
        self.nulls = array("i", [node[1] for node in nodes])
        self.first = array("i", [node[2] for node in nodes])
        self.counts = array("i", [node[3] for node in nodes])
        self.names = [node[4] for node in nodes]
        self.missing = [node[5] for node in nodes]

    def encode(self, document: bytes) -> bytes:
        """A JSON document, encoded.

        Raises:
            ValueError: it is not of the schema; says no value.
        """
        self.src = document
        self.at = 0
        self.end = len(document)
        self.field = 0
        self.writer.reset()
        self.writer.constant(self.prefix)
        try:
            self.node(0)
            if self.at != self.end:
                raise ValueError(OTHER)
        except ValueError:
            raise ValueError(f"{OTHER}, at or behind member {self.names[self.field].decode()[1:-2]}") from None
        return self.writer.take()

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def node(self, node: cython.int) -> cython.int:
        """One value."""
        kind: cython.int = self.kinds[node]
        null: cython.int = self.nulls[node]
        if null != 0:
            if self.at < self.end and self.src[self.at] == 110:
                if not self.literal(b"null"):
                    raise ValueError(OTHER)
                return self.writer.put(0 if null == 1 else 2)
            self.writer.put(2 if null == 1 else 0)
        if kind == RECORD:
            return self.record(node)
        if kind == STRING:
            return self.text()
        if kind == INTEGER:
            return self.integer()
        if kind == BOOLEAN:
            return self.boolean()
        if kind == BYTES:
            return self.base64()
        if kind == ARRAY:
            return self.array(node)
        if kind == MAP:
            return self.map(node)
        if kind == ENTRY:
            return self.entry(node)
        return self.real(kind)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def record(self, node: cython.int) -> cython.int:
        place: cython.int = self.first[node]
        stop: cython.int = place + self.counts[node]
        names: list[bytes] = self.names
        name: bytes = b""
        length: cython.Py_ssize_t = 0
        at: cython.Py_ssize_t = 0
        comma: cython.int = 0
        self.expect(123)
        while place < stop:
            name = names[place]
            length = len(name)
            at = self.at + comma
            # The first member that is there has no comma before it.
            if at + length < self.end and (comma == 0 or self.src[self.at] == 44) and self.has(name, at, length):
                self.at = at + length
                self.field = place
                self.node(place)
                comma = 1
            else:
                self.writer.constant(self.missing[place])
            place += 1
        return self.expect(125)

    def array(self, node: cython.int) -> cython.int:
        items: cython.Py_ssize_t = self.items()
        self.expect(91)
        if items:
            self.varint(items)
            while items > 0:
                self.node(self.first[node])
                items -= 1
                if items:
                    self.expect(44)
        self.expect(93)
        return self.writer.put(0)

    def map(self, node: cython.int) -> cython.int:
        items: cython.Py_ssize_t = self.items()
        self.expect(123)
        if items:
            self.varint(items)
            while items > 0:
                self.text()
                self.expect(58)
                self.node(self.first[node])
                items -= 1
                if items:
                    self.expect(44)
        self.expect(125)
        return self.writer.put(0)

    def entry(self, node: cython.int) -> cython.int:
        self.expect(91)
        self.node(self.first[node])
        self.expect(44)
        self.node(self.first[node] + 1)
        return self.expect(93)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def items(self) -> cython.Py_ssize_t:
        """How many values the array or object here has; stays where it is."""
        p: cython.p_uchar = self.src
        i: cython.Py_ssize_t = self.at + 1
        n: cython.Py_ssize_t = self.end
        depth: cython.int = 1
        commas: cython.Py_ssize_t = 0
        c: cython.int = 0
        if i < n and (p[i] == 93 or p[i] == 125):
            return 0
        while i < n and depth > 0:
            c = p[i]
            if c == 34:
                i += 1
                while i < n and p[i] != 34:
                    i += 2 if p[i] == 92 else 1
            elif c == 91 or c == 123:
                depth += 1
            elif c == 93 or c == 125:
                depth -= 1
            elif c == 44 and depth == 1:
                commas += 1
            i += 1
        return commas + 1
