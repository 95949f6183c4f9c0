# What the compiled rows_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.transcode_cy cimport ValueWriter
from cdc.formats.postgres.tuples_cy cimport TupleReader

cdef class RowWriter(TupleReader):
    cdef readonly object plan
    cdef ValueWriter writer
    cdef str table
    cdef int shown
    cdef int key_width
    cdef bint keyed
    # Per column.
    cdef list names
    cdef list constants
    cdef list nulls
    cdef list zeros
    cdef list placeholders
    cdef int[::1] transcoders
    cdef int[::1] arguments
    cdef int[::1] elements
    cdef int[::1] delimiters
    cdef int[::1] rules
    # Transcoders and arguments of row messages and of a snapshot's rows.
    cdef tuple streamed
    cdef tuple copied
    cdef bint copies_differ
    # Per column of the key: its place among the columns.
    cdef list key_names
    cdef int[::1] key_columns
    cdef bytes key_end
    cdef int failing

    cdef tuple _copy_row(self, bytes line)
    cdef bytes key(self, unsigned char* src, int base, bint key_only)
    cdef int row(self, unsigned char* src, int base, bint key_only) except -1
    cdef int column(self, unsigned char* src, int column, Py_ssize_t start, Py_ssize_t stop) except -1
    cdef int cut(self, unsigned char* src, int column, Py_ssize_t start, Py_ssize_t stop) except -1
