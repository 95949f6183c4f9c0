"""A table's values become JSON: keys and rows, without what is around them. Pure.

Compiled where possible. A message is first read through to the offsets of its values, every
length checked; only then is anything written. C types are in `rows_cy.pxd`.
"""

from array import array
from typing import Any, TypeAlias

from cdc import cython
from cdc.errors import ProtocolError
from cdc.formats.debezium_json import text
from cdc.formats.postgres.cutting import shortened
from cdc.formats.postgres.form import Form
from cdc.formats.postgres.planned import TablePlan

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.transcode_cy import ValueWriter
    from cdc.formats.postgres.tuples_cy import TupleReader

__all__ = ["RowWriter"]

Names: TypeAlias = list[bytes]
"""Columns, as JSON strings."""

Transcoders: TypeAlias = tuple[Any, Any]
"""Arrays of C ints, by column: transcoders, and their arguments."""

ARRAY = cython.declare(cython.int, 15)
CONSTANT = cython.declare(cython.int, 18)
UNKNOWN = cython.declare(cython.int, 19)
CUT = cython.declare(cython.int, 34)

NULL = cython.declare(cython.Py_ssize_t, -1)
UNCHANGED = cython.declare(cython.Py_ssize_t, -2)


class RowWriter(TupleReader):
    """Writes one table's keys and rows. Not for two threads at once.

    Args:
        plan: what its columns need.
    """

    def __init__(self, plan: TablePlan) -> None:
        super().__init__(plan)
        self.plan = plan
        self.table = plan.table
        self.writer = ValueWriter(plan.digests)
        self.failing = -1
        self.keyed = bool(plan.key)
        columns = plan.columns
        self.shown = plan.shown
        self.names = [b"," + _member(column.label) for column in columns]
        self.constants = [column.constant or b"" for column in columns]
        self.nulls = [column.null for column in columns]
        self.zeros = [column.zero for column in columns]
        self.placeholders = [column.placeholder or b"" for column in columns]
        self.streamed = _transcoders([column.form for column in columns])
        self.copied = _transcoders([column.form.snapshot or column.form for column in columns])
        self.copies_differ = self.streamed != self.copied
        self.use(self.streamed)
        nested = [_nested(column.form) for column in columns]
        self.elements = array("i", [_inner(form).transcoder for form in nested])
        self.rules = array("i", [form.argument for form in nested])
        self.delimiters = array("i", [ord(column.form.delimiter) for column in columns])
        self.key_columns = array("i", plan.key_places)
        self.key_width = len(plan.key)
        self.key_names = [
            (b"," if part else plan.schemas.key + b"{") + _member(columns[place].label)
            for part, place in enumerate(plan.key_places)
        ]
        self.key_end = b"}}" if plan.schemas.key else b"}"

    def use(self, transcoders: Transcoders) -> None:
        """Write with these from now on: rows of a snapshot may have forms of their own."""
        self.transcoders, self.arguments = transcoders

    def copy_row(self, line: bytes) -> tuple[bytes, bytes]:
        """Key and row of one line of `COPY … TO STDOUT` in text format, as JSON; no envelope.

        Args:
            line: its columns are `plan.copy_columns`, with or without its newline.

        Raises:
            ProtocolError: not such a line.
        """
        self.failing = -1
        try:
            return self._copy_row(line)
        except ValueError as error:
            raise self._refusal(error) from None

    def _copy_row(self, line: bytes) -> tuple[bytes, bytes]:
        if self.copies_differ:
            self.use(self.copied)
        line = self.fields(line)
        src: cython.p_uchar = line
        key: bytes = self.key(src, 0, False) if self.keyed else b""
        self.writer.reset()
        self.row(src, 0, False)
        return key, self.writer.take()

    def unchanged_columns(self, data: bytes, offset: int) -> list[int]:
        """Places in the relation of the columns whose value a row message does not have."""
        self.parse_checked(data, offset)
        return [place for place in range(self.width) if self.published[place] and self.starts[place] == UNCHANGED]

    def key_text(self, data: bytes, offset: int) -> list[bytes | None]:
        """The key's values as the server wrote them (of a delete: the old ones), None for NULL."""
        self.parse_checked(data, offset)
        base: cython.int = self.width if data[offset : offset + 1] == b"D" else 0
        texts: list[bytes | None] = []
        for part in range(self.key_width):
            place: cython.int = base + self.places[self.key_columns[part]]
            texts.append(data[self.starts[place] : self.stops[place]] if self.starts[place] >= 0 else None)
        return texts

    def parse_checked(self, data: bytes, offset: int) -> None:
        self.failing = -1
        try:
            self.parse(data, offset)
        except ValueError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: ValueError) -> ProtocolError:
        where = f"table {self.table}"
        if 0 <= self.failing < self.count:
            where += f", column {self.plan.columns[self.failing].name}"
        return ProtocolError(f"{where}: {error}")

    def unchanged_names(self) -> Names:
        return [
            self.names[column][1:-1] for column in range(self.shown) if self.starts[self.places[column]] == UNCHANGED
        ]

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def key(self, src: cython.p_uchar, base: cython.int, key_only: cython.bint) -> bytes:
        """The event key. A tuple of the identity alone has nothing of the key's other columns."""
        writer: ValueWriter = self.writer
        writer.reset()
        place: cython.int = 0
        column: cython.int = 0
        part: cython.int = 0
        for part in range(self.key_width):
            writer.constant(self.key_names[part])
            column = self.key_columns[part]
            place = self.places[column]
            if key_only and not self.identity[place]:
                writer.constant(self.zeros[column])
                continue
            if self.starts[base + place] == UNCHANGED:
                raise ValueError("the key's value is not in the message")
            self.column(src, column, self.starts[base + place], self.stops[base + place])
        writer.constant(self.key_end)
        return writer.take()

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def row(self, src: cython.p_uchar, base: cython.int, key_only: cython.bint) -> cython.int:
        """`before` or `after`. A tuple of the identity alone has nothing of the other columns, not even NULL."""
        writer: ValueWriter = self.writer
        names: list[bytes] = self.names
        opening: cython.Py_ssize_t = writer.size
        place: cython.int = 0
        column: cython.int = 0
        name: bytes = b""
        writer.put(123)
        for column in range(self.shown):
            place = self.places[column]
            if self.starts[base + place] == UNCHANGED and not self.placeholders[column]:
                continue
            name = names[column]
            if writer.size == opening + 1:
                writer.raw(name, 1, len(name))
            else:
                writer.constant(name)
            if self.starts[base + place] == UNCHANGED:
                writer.constant(self.placeholders[column])
            elif key_only and not self.identity[place]:
                writer.constant(self.zeros[column])
            else:
                self.column(src, column, self.starts[base + place], self.stops[base + place])
        return writer.put(125)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def column(
        self, src: cython.p_uchar, column: cython.int, start: cython.Py_ssize_t, stop: cython.Py_ssize_t
    ) -> cython.int:
        """One value."""
        if start == NULL:
            return self.writer.constant(self.nulls[column])
        self.failing = column
        transcoder: cython.int = self.transcoders[column]
        if transcoder == CONSTANT:
            return self.writer.constant(self.constants[column])
        if transcoder == ARRAY:
            return self.writer.array(
                self.elements[column],
                self.arguments[column],
                self.delimiters[column],
                self.rules[column],
                src,
                start,
                stop,
            )
        if transcoder == UNKNOWN:
            return self.writer.constant(self.zeros[column])
        if transcoder == CUT:
            return self.cut(src, column, start, stop)
        return self.writer.value(transcoder, self.arguments[column], src, start, stop)

    def cut(
        self, src: cython.p_uchar, column: cython.int, start: cython.Py_ssize_t, stop: cython.Py_ssize_t
    ) -> cython.int:
        """What is left of one value that Debezium would cut."""
        opening: cython.Py_ssize_t = self.writer.size
        self.writer.value(self.elements[column], self.arguments[column], src, start, stop)
        return self.writer.constant(shortened(self.writer.cut(opening), self.rules[column]))


def _transcoders(forms: list[Form]) -> Transcoders:
    """The forms' transcoders, and their arguments: for arrays those of the elements, of what is cut the whole's."""
    return array("i", [form.transcoder for form in forms]), array("i", [_inner(form).argument for form in forms])


def _nested(form: Form) -> Form:
    """Where a form has another one in it, for row messages, a snapshot's rows, or both in the same way."""
    return form if form.snapshot is None or form.transcoder == CUT else form.snapshot


def _inner(form: Form) -> Form:
    return form.element if form.transcoder in (ARRAY, CUT) and form.element is not None else form


def _member(name: str) -> bytes:
    return text(name) + b":"
