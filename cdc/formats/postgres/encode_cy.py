"""Rows become events: a table's row messages and COPY lines → keys and values in Debezium's JSON. Pure.

Compiled where possible. A message is first read through to the offsets of its values, every
length checked; only then is anything written. C types are in `encode_cy.pxd`.
"""

from array import array
from collections.abc import Sequence
from typing import TypeAlias

from orjson import dumps, loads

from cdc import cython
from cdc.errors import ProtocolError
from cdc.event import BY_KEY, Headers, Record
from cdc.formats.debezium_json import NEW_KEY, OLD_KEY, Transaction, envelope, text
from cdc.formats.postgres.plan import TablePlan
from cdc.formats.postgres.tuples_cy import Fill

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.transcode_cy import ValueWriter
    from cdc.formats.postgres.tuples_cy import TupleReader

__all__ = ["RowEncoder", "Transaction"]

Names: TypeAlias = list[bytes]
"""Columns, as JSON strings."""

ARRAY = cython.declare(cython.int, 15)
CONSTANT = cython.declare(cython.int, 18)

NULL = cython.declare(cython.Py_ssize_t, -1)
UNCHANGED = cython.declare(cython.Py_ssize_t, -2)

INSERT = cython.declare(cython.int, 73)
DELETE = cython.declare(cython.int, 68)
KEY_TUPLE = cython.declare(cython.int, 75)

PARTITION_BY_KEY = cython.declare(cython.int, BY_KEY)  # not looked up for each row

CREATED = cython.declare(cython.int, 99)
UPDATED = cython.declare(cython.int, 117)
DELETED = cython.declare(cython.int, 100)
READ = cython.declare(cython.int, 114)
TRUNCATED = cython.declare(cython.int, 116)


class RowEncoder(TupleReader):
    """Encodes one table's rows. Not for two threads at once.

    `unchanged` says after `encode` how many columns of the row hold an unchanged TOAST value
    that neither the message nor `fill` has.

    Args:
        plan: what its columns need.
    """

    def __init__(self, plan: TablePlan) -> None:
        super().__init__(plan)
        self.plan = plan
        self.topic = plan.topic
        self.table = plan.table
        self.writer = ValueWriter(plan.mask_key)
        self.failing = -1
        self.with_cdc = plan.style.with_cdc
        self.keyed = bool(plan.key)
        columns = plan.columns
        self.names = [b"," + _member(column.name) for column in columns]
        self.constants = [column.constant or b"" for column in columns]
        self.zeros = [b"null" if column.description.nullable else column.form.zero.encode() for column in columns]
        self.transcoders = array("i", [column.form.transcoder for column in columns])
        elements = [column.form.element or column.form for column in columns]
        self.elements = array("i", [element.transcoder for element in elements])
        self.arguments = array("i", [element.argument for element in elements])
        self.delimiters = array("i", [ord(column.form.delimiter) for column in columns])
        order = {column.name: place for place, column in enumerate(columns)}
        self.key_columns = array("i", [order[name] for name in plan.key])
        self.key_width = len(plan.key)
        self.key_names = [(b"," if place else b"{") + _member(name) for place, name in enumerate(plan.key)]
        self.before_lsn = self.between_lsns = self.before_op = self.before_ordinal = b""
        self.snapshot_lsn = 0
        self.timestamp = 0

    def begin(self, transaction: Transaction) -> None:
        """Make the constant parts for the rows that follow; once per table and transaction."""
        parts = envelope(
            self.plan.source, self.plan.relation.schema, self.plan.relation.name, transaction, self.with_cdc
        )
        self.before_lsn = parts.before_lsn
        self.between_lsns = parts.between_lsns
        self.before_op = parts.before_op
        self.before_ordinal = parts.before_ordinal
        self.snapshot_lsn = transaction.commit_lsn
        self.timestamp = transaction.timestamp_ms

    def encode(
        self,
        data: bytes,
        offset: cython.Py_ssize_t,
        lsn: cython.ulonglong,
        ordinal: cython.longlong,
        out: list[Record],
        fill: Fill | None = None,
    ) -> int:
        """Append the records of one row message.

        Args:
            data: a whole CopyData payload.
            offset: of the pgoutput message (`I`, `U` or `D`) in it.
            lsn: of the row.
            ordinal: of the row message in its transaction.
            out: gets the records.
            fill: for unchanged columns, by their place in the relation: the text of their value,
                or None for NULL; an empty dict says that the row was looked for and is gone.

        Returns:
            bytes of keys and values appended.

        Raises:
            ProtocolError: not a row message of this table, or a value that is not of its type or
                has no form under the settings; nothing was appended.
        """
        self.failing = -1
        try:
            return self._encode(data, offset, lsn, ordinal, out, fill)
        except ValueError as error:
            raise self._refusal(error) from None

    def _encode(
        self,
        data: bytes,
        offset: cython.Py_ssize_t,
        lsn: cython.ulonglong,
        ordinal: cython.longlong,
        out: list[Record],
        fill: Fill | None,
    ) -> cython.Py_ssize_t:
        old_kind: cython.int = self.parse(data, offset)
        src: cython.p_uchar = data
        kind: cython.int = src[offset]
        old_key: bytes = b""
        if kind == DELETE:
            if self.keyed:
                old_key = self.key(src, self.width)
            return self.end_key(out, old_key, self.deleted(src, lsn, ordinal, old_kind), None)
        reselected: Names | None = None
        if self.unchanged and fill:
            reselected = self.unchanged_names()
            data = self.filled(data, fill)
            src = data
            missing = self.unchanged_names()
            reselected = [name for name in reselected if name not in missing]
        new_key: bytes = b""
        removal: bytes | None = None
        op: cython.int = CREATED if kind == INSERT else UPDATED
        if self.keyed:
            new_key = self.key(src, 0)
            if old_kind != 0:
                old_key = self.key(src, self.width)
                if old_key != new_key:
                    removal = self.deleted(src, lsn, ordinal, old_kind)
                    old_kind = 0
                    op = CREATED
        writer: ValueWriter = self.writer
        writer.reset()
        if old_kind != 0:
            writer.constant(b'{"before":')
            self.row(src, self.width, old_kind == KEY_TUPLE)
            writer.constant(b',"after":')
        else:
            writer.constant(b'{"before":null,"after":')
        self.row(src, 0, False)
        self.tail(
            lsn,
            ordinal,
            op,
            self.unchanged_names() if self.unchanged else None,
            reselected,
            fill is not None and not fill,
        )
        value: bytes = writer.take()
        if removal is None:
            return self.emit(out, new_key, value, None)
        size: cython.Py_ssize_t = self.end_key(out, old_key, removal, [(NEW_KEY, new_key)])
        return size + self.emit(out, new_key, value, [(OLD_KEY, old_key)])

    def encode_copy(self, line: bytes, out: list[Record]) -> int:
        """Append the record of one line of `COPY … TO STDOUT` in text format.

        Args:
            line: with its newline; its columns are `plan.copy_columns`.
            out: gets the record.

        Returns:
            bytes of key and value appended.

        Raises:
            ProtocolError: not such a line.
        """
        self.failing = -1
        try:
            return self._encode_copy(line, out)
        except ValueError as error:
            raise self._refusal(error) from None

    def _encode_copy(self, line: bytes, out: list[Record]) -> cython.Py_ssize_t:
        line = self.fields(line)
        src: cython.p_uchar = line
        key: bytes = self.key(src, 0) if self.keyed else b""
        writer: ValueWriter = self.writer
        writer.reset()
        writer.constant(b'{"before":null,"after":')
        self.row(src, 0, False)
        self.tail(self.snapshot_lsn, 0, READ, None, None, False)
        return self.emit(out, key, writer.take(), None)

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
        line = self.fields(line)
        src: cython.p_uchar = line
        key: bytes = self.key(src, 0) if self.keyed else b""
        self.writer.reset()
        self.row(src, 0, False)
        return key, self.writer.take()

    def gone(self, keys: Sequence[bytes], ordinal: int, out: list[Record]) -> None:
        """Append deletes and tombstones of rows that a snapshot does not have.

        Args:
            keys: event keys; the delete has nothing else of the row.
            ordinal: of their position.
            out: gets the records.
        """
        writer: ValueWriter = self.writer
        for key in keys:
            values = loads(key)
            writer.reset()
            writer.constant(b'{"before":')
            members = [
                self.names[place][1:] + (dumps(values[column.name]) if column.name in values else self.zeros[place])
                for place, column in enumerate(self.plan.columns)
            ]
            writer.constant(b"{" + b",".join(members) + b"}")
            writer.constant(b',"after":null')
            self.tail(self.snapshot_lsn, ordinal, DELETED, None, None, False)
            self.end_key(out, key, writer.take(), None)

    def truncate(self, lsn: cython.ulonglong, ordinal: cython.longlong, out: list[Record], partition: int) -> int:
        """Append the record that says that the table was emptied; returns the bytes appended."""
        writer: ValueWriter = self.writer
        writer.reset()
        writer.constant(b'{"before":null,"after":null')
        self.tail(lsn, ordinal, TRUNCATED, None, None, False)
        value: bytes = writer.take()
        out.append((self.topic, None, value, partition, self.timestamp, None))
        return len(value)

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
            self.names[column][1:-1] for column in range(self.count) if self.starts[self.places[column]] == UNCHANGED
        ]

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def key(self, src: cython.p_uchar, base: cython.int) -> bytes:
        """The event key."""
        writer: ValueWriter = self.writer
        writer.reset()
        place: cython.int = 0
        part: cython.int = 0
        for part in range(self.key_width):
            writer.constant(self.key_names[part])
            place = self.places[self.key_columns[part]]
            if self.starts[base + place] == UNCHANGED:
                raise ValueError("the key's value is not in the message")
            self.column(src, self.key_columns[part], self.starts[base + place], self.stops[base + place])
        writer.put(125)
        return writer.take()

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def row(self, src: cython.p_uchar, base: cython.int, key_only: cython.bint) -> cython.int:
        """`before` or `after`. A tuple of the key alone has nothing of the other columns, not even NULL."""
        writer: ValueWriter = self.writer
        names: list[bytes] = self.names
        opening: cython.Py_ssize_t = writer.size
        place: cython.int = 0
        column: cython.int = 0
        name: bytes = b""
        writer.put(123)
        for column in range(self.count):
            place = self.places[column]
            if self.starts[base + place] == UNCHANGED:
                continue
            name = names[column]
            if writer.size == opening + 1:
                writer.raw(name, 1, len(name))
            else:
                writer.constant(name)
            if key_only and not self.identity[place]:
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
            return self.writer.constant(b"null")
        self.failing = column
        transcoder: cython.int = self.transcoders[column]
        if transcoder == CONSTANT:
            return self.writer.constant(self.constants[column])
        if transcoder == ARRAY:
            return self.writer.array(
                self.elements[column], self.arguments[column], self.delimiters[column], src, start, stop
            )
        return self.writer.value(transcoder, self.arguments[column], src, start, stop)

    def tail(
        self,
        lsn: cython.ulonglong,
        ordinal: cython.longlong,
        op: cython.int,
        unchanged: Names | None,
        reselected: Names | None,
        gone: cython.bint,
    ) -> cython.int:
        """Everything behind `after`."""
        writer: ValueWriter = self.writer
        writer.constant(self.before_lsn)
        writer.number(lsn)
        writer.constant(self.between_lsns)
        writer.number(lsn)
        writer.constant(self.before_op)
        writer.put(op)
        writer.constant(self.before_ordinal)
        if not self.with_cdc:
            return 0
        writer.padded(ordinal, 10)
        writer.put(34)
        if unchanged:
            writer.constant(b',"unchanged":[' + b",".join(unchanged) + b"]")
            if gone:
                writer.constant(b',"gone":true')
        if reselected:
            writer.constant(b',"reselected":[' + b",".join(reselected) + b"]")
        return writer.constant(b"}}")

    def deleted(
        self, src: cython.p_uchar, lsn: cython.ulonglong, ordinal: cython.longlong, old_kind: cython.int
    ) -> bytes:
        """The value of a delete."""
        writer: ValueWriter = self.writer
        writer.reset()
        writer.constant(b'{"before":')
        self.row(src, self.width, old_kind == KEY_TUPLE)
        writer.constant(b',"after":null')
        self.tail(lsn, ordinal, DELETED, None, None, False)
        return writer.take()

    def end_key(self, out: list[Record], key: bytes, value: bytes, headers: Headers | None) -> cython.Py_ssize_t:
        """Append a delete and, where the table has a key, its tombstone."""
        size: cython.Py_ssize_t = self.emit(out, key, value, headers)
        if self.keyed:
            out.append((self.topic, key, None, PARTITION_BY_KEY, self.timestamp, headers))
            size += len(key)
        return size

    def emit(self, out: list[Record], key: bytes, value: bytes, headers: Headers | None) -> cython.Py_ssize_t:
        """Append one record, its key empty where the table has none."""
        out.append((self.topic, key if self.keyed else None, value, PARTITION_BY_KEY, self.timestamp, headers))
        return len(key) + len(value)


def _member(name: str) -> bytes:
    return text(name) + b":"
