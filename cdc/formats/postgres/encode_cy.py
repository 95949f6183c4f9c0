"""Rows become events: a table's row messages and COPY lines → keys and values in Debezium's JSON. Pure.

Compiled where possible; C types are in `encode_cy.pxd`.
"""

from collections.abc import Sequence
from typing import TypeAlias

from orjson import dumps, loads

from cdc import cython
from cdc.event import BY_KEY, Headers, Record
from cdc.formats.contract import Writer
from cdc.formats.debezium_json import NEW_KEY, OLD_KEY, Order, Transaction, envelope, position_prefix
from cdc.formats.payload import payload_of
from cdc.formats.postgres.planned import TablePlan
from cdc.formats.postgres.tuples_cy import Fill

if cython.compiled:
    import cython  # type: ignore[no-redef]  # only the compiler needs to see this
else:
    from cdc.formats.postgres.rows_cy import RowWriter
    from cdc.formats.postgres.transcode_cy import ValueWriter

__all__ = ["RowEncoder", "Transaction"]

Names: TypeAlias = list[bytes]
"""Columns, as JSON strings."""

INSERT = cython.declare(cython.int, 73)
DELETE = cython.declare(cython.int, 68)
KEY_TUPLE = cython.declare(cython.int, 75)

PARTITION_BY_KEY = cython.declare(cython.int, BY_KEY)  # not looked up for each row

CREATED = cython.declare(cython.int, 99)
UPDATED = cython.declare(cython.int, 117)
DELETED = cython.declare(cython.int, 100)
READ = cython.declare(cython.int, 114)
TRUNCATED = cython.declare(cython.int, 116)


class RowEncoder(RowWriter):
    """Encodes one table's rows. Not for two threads at once.

    `unchanged` says after `encode` how many columns of the row hold an unchanged TOAST value
    that neither the message nor `fill` has, and `moved` whether the row has another key than before.

    Args:
        plan: what its columns need.
        form: makes of keys and values what is put into records; None: nothing else.
    """

    def __init__(self, plan: TablePlan, form: Writer | None = None) -> None:
        super().__init__(plan)
        style = plan.style
        self.moved = False
        self.topic = plan.topic
        self.with_cdc = style.with_cdc
        # A tombstone without a key tells nobody anything; Debezium sends it all the same.
        self.tombstones = style.tombstones and (self.keyed or plan.quirks)
        self.skip_created = "c" in style.skipped
        self.skip_updated = "u" in style.skipped
        self.skip_deleted = "d" in style.skipped
        self.skip_truncated = "t" in style.skipped
        headers: Headers = [*style.context_headers]
        self.headers = headers or None
        self.form = form
        self.flat = style.flat
        self.opening = b"" if style.flat else plan.schemas.value + b'{"before":'
        self.opening_without = b"" if style.flat else self.opening + b'null,"after":'
        self.opening_read = b"" if style.flat else plan.schemas.read + b'{"before":null,"after":'
        self.closing = (b"}}" if style.with_cdc else b"") + (b"}" if plan.schemas.value else b"")
        self.before_lsn = self.between_lsns = self.before_op = self.before_ordinal = self.position = b""
        self.before_transaction = self.behind_transaction = b""
        self.order: Order | None = None
        self.xid = 0
        self.snapshot_lsn = 0
        self.timestamp = 0

    def begin(self, transaction: Transaction) -> None:
        """Make the constant parts for the rows that follow; once per table and transaction."""
        parts = envelope(
            self.plan.source, self.plan.relation.schema, self.plan.relation.name, transaction, self.with_cdc
        )
        self.before_lsn = parts.before_lsn
        self.between_lsns = parts.between_lsns
        self.before_op = parts.before_transaction + b"null" + parts.behind_transaction
        self.before_transaction = parts.before_transaction
        self.behind_transaction = parts.behind_transaction
        self.before_ordinal = parts.before_ordinal
        self.position = position_prefix(transaction.commit_lsn, transaction.generation).encode()
        self.order = transaction.order
        self.xid = transaction.xid
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
        if self.copies_differ:
            self.use(self.streamed)
        self.moved = False
        old_kind: cython.int = self.parse(data, offset)
        src: cython.p_uchar = data
        kind: cython.int = src[offset]
        old_key: bytes = b""
        if self.skip_deleted if kind == DELETE else self.skip_created if kind == INSERT else self.skip_updated:
            self.unchanged = 0
            return 0
        if kind == DELETE:
            if self.keyed:
                old_key = self.key(src, self.width, old_kind == KEY_TUPLE)
            return self.end_key(out, old_key, self.deleted(src, lsn, ordinal, old_kind), self.headers)
        reselected: Names | None = None
        if self.unchanged and fill:
            reselected = self.unchanged_names()
            data = self.filled(data, fill)
            src = data
            missing = self.unchanged_names()
            reselected = [name for name in reselected if name not in missing]
        new_key: bytes = b""
        removal: bytes | None = None
        headers: Headers | None = self.headers
        op: cython.int = CREATED if kind == INSERT else UPDATED
        if self.keyed:
            new_key = self.key(src, 0, False)
            if old_kind != 0:
                old_key = self.key(src, self.width, old_kind == KEY_TUPLE)
                if old_key != new_key:
                    self.moved = True
                    # A changed key is a delete and a create, each of which may be skipped.
                    if not self.skip_deleted:
                        removal = self.deleted(src, lsn, ordinal, old_kind)
                    if self.skip_created:
                        self.unchanged = 0
                        return self.end_key(out, old_key, removal, self.with_header(NEW_KEY, new_key)) if removal else 0
                    headers = self.with_header(OLD_KEY, old_key)
                    old_kind = 0
                    op = CREATED
        writer: ValueWriter = self.writer
        writer.reset()
        if old_kind != 0 and not self.flat:
            writer.constant(self.opening)
            self.row(src, self.width, old_kind == KEY_TUPLE)
            writer.constant(b',"after":')
        else:
            writer.constant(self.opening_without)
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
        size: cython.Py_ssize_t = 0
        if removal is not None:
            size = self.end_key(out, old_key, removal, self.with_header(NEW_KEY, new_key))
        return size + self.emit(out, new_key, value, headers)

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
        if self.copies_differ:
            self.use(self.copied)
        line = self.fields(line)
        src: cython.p_uchar = line
        key: bytes = self.key(src, 0, False) if self.keyed else b""
        writer: ValueWriter = self.writer
        writer.reset()
        writer.constant(self.opening_read)
        self.row(src, 0, False)
        self.tail(self.snapshot_lsn, 0, READ, None, None, False)
        return self.emit(out, key, writer.take(), self.headers)

    def gone(self, keys: Sequence[bytes], ordinal: int, out: list[Record]) -> None:
        """Append deletes and tombstones of rows that a snapshot does not have.

        Args:
            keys: event keys; the delete has nothing else of the row.
            ordinal: of their position.
            out: gets the records.
        """
        writer: ValueWriter = self.writer
        for key in keys if not self.skip_deleted else ():
            values = payload_of(loads(key))  # older ones may be spelled otherwise
            writer.reset()
            writer.constant(self.opening)
            members = [
                self.names[place][1:] + (dumps(values[column.label]) if column.label in values else self.zeros[place])
                for place, column in enumerate(self.plan.columns[: self.shown])
            ]
            writer.constant(b"{" + b",".join(members) + b"}")
            if not self.flat:
                writer.constant(b',"after":null')
            self.tail(self.snapshot_lsn, ordinal, DELETED, None, None, False)
            self.end_key(out, key, writer.take(), self.headers)

    def truncate(self, lsn: cython.ulonglong, ordinal: cython.longlong, out: list[Record], partition: int) -> int:
        """Append the record that says that the table was emptied; returns the bytes appended."""
        if self.skip_truncated:
            return 0
        writer: ValueWriter = self.writer
        writer.reset()
        writer.constant(self.opening_without)
        writer.constant(b"{}" if self.flat else b"null")
        self.tail(lsn, ordinal, TRUNCATED, None, None, False)
        value: bytes = writer.take()
        if self.form is not None:
            value = self.form.value(value)
        out.append((self.topic, None, value, partition, self.timestamp, self.headers))
        return len(value)

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
        if self.flat:
            return self.flat_tail(ordinal, op, unchanged, reselected, gone)
        writer: ValueWriter = self.writer
        writer.constant(self.before_lsn)
        writer.number(lsn)
        writer.constant(self.between_lsns)
        writer.number(lsn)
        if self.order is None:
            writer.constant(self.before_op)
        else:
            self.transaction_block(lsn)
        writer.put(op)
        writer.constant(self.before_ordinal)
        if not self.with_cdc:
            return writer.constant(self.closing)
        writer.padded(ordinal, 10)
        writer.put(34)
        if unchanged:
            writer.constant(b',"unchanged":[' + b",".join(unchanged) + b"]")
            if gone:
                writer.constant(b',"gone":true')
        if reselected:
            writer.constant(b',"reselected":[' + b",".join(reselected) + b"]")
        return writer.constant(self.closing)

    def flat_tail(
        self,
        ordinal: cython.longlong,
        op: cython.int,
        unchanged: Names | None,
        reselected: Names | None,
        gone: cython.bint,
    ) -> cython.int:
        """What follows a flattened row, in its own object; see `cdc.formats.flat`."""
        if self.order is not None:
            self.order.count(self.table)
        writer: ValueWriter = self.writer
        writer.shrink(writer.size - 1)
        if writer.size > 1:
            writer.put(44)
        writer.constant(b'"__deleted":"true","__op":"' if op == DELETED else b'"__deleted":"false","__op":"')
        writer.put(op)
        writer.constant(b'","__pos":"')
        writer.constant(self.position)
        writer.padded(ordinal, 10)
        writer.put(34)
        if unchanged:
            writer.constant(b',"__unchanged":[' + b",".join(unchanged) + b"]")
            if gone:
                writer.constant(b',"__gone":true')
        if reselected:
            writer.constant(b',"__reselected":[' + b",".join(reselected) + b"]")
        return writer.put(125)

    def transaction_block(self, lsn: cython.ulonglong) -> cython.int:
        """Which event of its transaction, and of its table in it, this is; up to `op`."""
        assert self.order is not None
        total, within = self.order.count(self.table)
        writer: ValueWriter = self.writer
        writer.constant(self.before_transaction)
        writer.constant(b'{"id":"%d:%d","total_order":%d,"data_collection_order":%d}' % (self.xid, lsn, total, within))
        return writer.constant(self.behind_transaction)

    def deleted(
        self, src: cython.p_uchar, lsn: cython.ulonglong, ordinal: cython.longlong, old_kind: cython.int
    ) -> bytes:
        """The value of a delete."""
        writer: ValueWriter = self.writer
        writer.reset()
        writer.constant(self.opening)
        self.row(src, self.width, old_kind == KEY_TUPLE)
        if not self.flat:
            writer.constant(b',"after":null')
        self.tail(lsn, ordinal, DELETED, None, None, False)
        return writer.take()

    def end_key(self, out: list[Record], key: bytes, value: bytes, headers: Headers | None) -> cython.Py_ssize_t:
        """Append a delete and its tombstone."""
        size: cython.Py_ssize_t = self.emit(out, key, value, headers)
        if self.tombstones:
            if self.form is not None and self.keyed:
                key = self.form.key(key)
            out.append((self.topic, key if self.keyed else None, None, PARTITION_BY_KEY, self.timestamp, headers))
            size += len(key)
        return size

    def emit(self, out: list[Record], key: bytes, value: bytes, headers: Headers | None) -> cython.Py_ssize_t:
        """Append one record, its key empty where the table has none."""
        if self.form is not None:
            self.failing = -1  # the columns are all written
            if self.keyed:
                key = self.form.key(key)
            value = self.form.value(value)
        out.append((self.topic, key if self.keyed else None, value, PARTITION_BY_KEY, self.timestamp, headers))
        return len(key) + len(value)

    def with_header(self, name: str, key: bytes) -> Headers:
        """The headers of one half of a changed key."""
        own: Headers = [(name, key)]
        return own if self.headers is None else own + self.headers
