"""Event bytes → COPY text, without a Python object per column. Compiled where it can be; pure.

`RowPlan` takes exactly the JSON that `cdc.formats` writes (no spaces, members in the plan's
order). Whatever is different in form, kind of value or order gives None, and `decode` takes
the general path, which knows all forms and says what is wrong. Nothing here trusts its input:
every index is checked against the length, every value against its kind.
C types of attributes and arguments are in `decode_cy.pxd`.
"""

from __future__ import annotations

from cdc import cython

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from sinks.postgres.values_cy import ValueScanner

_SLACK = cython.declare(cython.Py_ssize_t, 64)
# Bytes of output that a column may need beyond twice its input (a timestamp from one digit).


class RowPlan(ValueScanner):
    """Transcodes rows of one shape: the same members, in the same order.

    Args:
        names: the members as JSON writes them, with quotes and colon: `b'"id":'`.
        kinds: one kind per member, as bytes.
    """

    def __init__(self, names: list[bytes], kinds: bytes) -> None:
        super().__init__()
        self.names = [(b"{" if i == 0 else b",") + name for i, name in enumerate(names)]
        self.kinds = kinds
        self.room = _SLACK * (len(names) + 1)

    def row(self, data: bytes) -> bytes | None:
        """A JSON object of the plan's members (an event's key) as COPY text without line end."""
        self.begin(data, self.room)
        if self.members() and self.at == self.end:
            return self.taken()
        return None

    def event(self, value: bytes, offset: cython.longlong) -> tuple[int, bytes, bytes | None, bytes] | None:
        """An event's value.

        Args:
            offset: where it is: its position, if it has no other.

        Returns:
            (op as a character code, `cdc.pos`, COPY text of `after` followed by the position or
            None without `after`, the JSON text of `cdc.unchanged` and a `gone` behind it, or b"");
            None when the form is another.
        """
        start: cython.Py_ssize_t
        op: cython.int
        has_row: cython.bint = False
        self.begin(value, self.room)
        if not (self.literal(b'{"before":') and self.skip() and self.literal(b',"after":')):
            return None
        if self.at < self.end and self.src[self.at] == 110:
            if not self.literal(b"null"):
                return None
        elif self.members():
            has_row = True
        else:
            return None
        if not (self.literal(b',"source":') and self.skip() and self.literal(b',"transaction":') and self.skip()):
            return None
        if not self.literal(b',"op":"') or self.at + 1 >= self.end:
            return None
        op = self.src[self.at]
        self.at += 1
        if not self.literal(b'","ts_ms":') or not self.skip():
            return None
        if not self.literal(b',"ts_us":') or not self.skip():
            return None
        if not self.literal(b',"ts_ns":') or not self.skip():
            return None
        if self.at + 1 == self.end and self.literal(b"}"):
            position = b"o%020d" % offset
            return op, position, self.taken() + b"\t" + position if has_row else None, b""
        if not self.literal(b',"cdc":{"pos":"'):
            return None
        start = self.at
        while self.at < self.end and self.plain_position(self.src[self.at]):
            self.at += 1
        position = value[start : self.at]
        if not self.literal(b'"'):
            return None
        unchanged = b""
        if self.literal(b',"unchanged":'):
            start = self.at
            if not self.skip():
                return None
            self.literal(b',"gone":true')
            unchanged = value[start : self.at]
        if self.literal(b',"reselected":') and not self.skip():
            return None
        if not self.literal(b"}}") or self.at != self.end:
            return None
        if not has_row:
            return op, position, None, unchanged
        return op, position, self.taken() + b"\t" + position, unchanged

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def members(self) -> cython.bint:
        kinds: cython.p_uchar = self.kinds
        name: bytes
        j: cython.Py_ssize_t
        for j in range(len(self.names)):
            name = self.names[j]
            if not self.literal(name):
                return False
            if j:
                self.put(9)
            if self.at < self.end and self.src[self.at] == 110:
                if not self.literal(b"null"):
                    return False
                self.put(92)
                self.put(78)
            elif not self.field(kinds[j]):
                return False
        return self.literal(b"}")

    def plain_position(self, c: cython.int) -> cython.bint:
        # Digits, `/`, `A` to `F`; `g` and `.` of the generation that a healed connector begins with.
        return 46 <= c <= 57 or 65 <= c <= 70 or c == 103
