# What the compiled tuples_cy shares with the modules that are compiled against it.

cdef class TupleReader:
    cdef readonly int unchanged
    cdef int width
    cdef int count
    # Per published column: its place in the relation.
    cdef int[::1] places
    # Per column of the relation.
    cdef int[::1] published
    cdef int[::1] identity
    # The same for the new tuple's values, and behind them for the old one's.
    cdef Py_ssize_t[::1] starts
    cdef Py_ssize_t[::1] stops

    cdef int parse(self, bytes data, Py_ssize_t offset) except -1
    cdef Py_ssize_t tuple_values(self, bytes data, Py_ssize_t at, int base) except -1
    cdef int resolve(self, int old_kind) except -1
    cdef bytes filled(self, bytes data, dict fill)
    cdef bytes fields(self, bytes line)
    cdef bytes unescaped(self, bytes line)
