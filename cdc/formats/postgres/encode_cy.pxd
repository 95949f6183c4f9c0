# C types of encode_cy's attributes and methods.

from cdc.formats.postgres.transcode_cy cimport ValueWriter
from cdc.formats.postgres.tuples_cy cimport TupleReader

cdef class RowEncoder(TupleReader):
    cdef readonly object plan
    cdef ValueWriter writer
    cdef str topic
    cdef str table
    cdef int key_width
    cdef bint keyed
    cdef bint with_cdc
    # Per published column.
    cdef list names
    cdef list constants
    cdef list zeros
    cdef int[::1] transcoders
    cdef int[::1] arguments
    cdef int[::1] elements
    cdef int[::1] delimiters
    # Per column of the key: its place among the published ones.
    cdef list key_names
    cdef int[::1] key_columns
    cdef int failing
    # Of the transaction.
    cdef unsigned long long snapshot_lsn
    cdef bytes before_lsn
    cdef bytes between_lsns
    cdef bytes before_op
    cdef bytes before_ordinal
    cdef object timestamp

    cdef Py_ssize_t _encode(
        self, bytes data, Py_ssize_t offset, unsigned long long lsn, long long ordinal, list out, dict fill
    ) except -1
    cdef Py_ssize_t _encode_copy(self, bytes line, list out) except -1
    cdef tuple _copy_row(self, bytes line)
    cdef bytes key(self, unsigned char* src, int base)
    cdef int row(self, unsigned char* src, int base, bint key_only) except -1
    cdef int column(self, unsigned char* src, int column, Py_ssize_t start, Py_ssize_t stop) except -1
    cdef int tail(
        self, unsigned long long lsn, long long ordinal, int op, list unchanged, list reselected, bint gone
    ) except -1
    cdef bytes deleted(self, unsigned char* src, unsigned long long lsn, long long ordinal, int old_kind)
    cdef Py_ssize_t end_key(self, list out, bytes key, bytes value, list headers) except -1
    cdef Py_ssize_t emit(self, list out, bytes key, bytes value, list headers) except -1
