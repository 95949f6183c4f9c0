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
    cdef Py_ssize_t[::1] starts
    cdef Py_ssize_t[::1] stops
    cdef Py_ssize_t[::1] old_starts
    cdef Py_ssize_t[::1] old_stops

    cdef int parse(self, bytes data, Py_ssize_t offset) except -1
    cdef Py_ssize_t tuple_values(
        self, bytes data, Py_ssize_t at, Py_ssize_t[::1] starts, Py_ssize_t[::1] stops
    ) except -1
    cdef int resolve(self, int old_kind) except -1
    cdef bytes filled(self, bytes data, dict fill)
    cdef bytes fields(self, bytes line)
    cdef bytes unescaped(self, bytes line)
