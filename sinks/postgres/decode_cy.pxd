# C types of what decode_cy keeps.

from sinks.postgres.values_cy cimport ValueScanner

cdef class RowPlan(ValueScanner):
    cdef list names
    cdef bytes kinds
    cdef Py_ssize_t room

    cpdef row(self, bytes data)
    cpdef event(self, bytes value, long long offset)
    cdef bint members(self) except -1
    cdef bint plain_position(self, int c) except -1
