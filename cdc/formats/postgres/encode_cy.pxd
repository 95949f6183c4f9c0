# C types of encode_cy's attributes and methods.

from cdc.formats.postgres.rows_cy cimport RowWriter

cdef class RowEncoder(RowWriter):
    cdef readonly bint moved
    cdef str topic
    cdef bint with_cdc
    cdef bint tombstones
    cdef bint skip_created
    cdef bint skip_updated
    cdef bint skip_deleted
    cdef bint skip_truncated
    cdef list headers
    cdef bytes opening
    cdef bytes opening_without
    cdef bytes opening_read
    cdef bytes closing
    cdef bint flat
    cdef object form
    # Of the transaction.
    cdef unsigned long long snapshot_lsn
    cdef bytes before_lsn
    cdef bytes between_lsns
    cdef bytes before_op
    cdef bytes before_transaction
    cdef bytes behind_transaction
    cdef bytes before_ordinal
    cdef bytes position
    cdef object order
    cdef unsigned int xid
    cdef object timestamp

    cdef Py_ssize_t _encode(
        self, bytes data, Py_ssize_t offset, unsigned long long lsn, long long ordinal, list out, dict fill
    ) except -1
    cdef Py_ssize_t _encode_copy(self, bytes line, list out) except -1
    cdef int tail(
        self, unsigned long long lsn, long long ordinal, int op, list unchanged, list reselected, bint gone
    ) except -1
    cdef int flat_tail(
        self, long long ordinal, int op, list unchanged, list reselected, bint gone
    ) except -1
    cdef int transaction_block(self, unsigned long long lsn) except -1
    cdef bytes deleted(self, unsigned char* src, unsigned long long lsn, long long ordinal, int old_kind)
    cdef Py_ssize_t end_key(self, list out, bytes key, bytes value, list headers) except -1
    cdef Py_ssize_t emit(self, list out, bytes key, bytes value, list headers) except -1
    cdef list with_header(self, str name, bytes key)
