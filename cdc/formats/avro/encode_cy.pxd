# C types of encode_cy's attributes and methods.

from cdc.formats.avro.scalars_cy cimport ScalarEncoder

cdef class AvroEncoder(ScalarEncoder):
    cdef bytes prefix
    # Per node of the schema; a record's fields are nodes in a row.
    cdef int[::1] kinds
    cdef int[::1] nulls
    cdef int[::1] first
    cdef int[::1] counts
    cdef list names
    cdef list missing
    # Of the document: the member that was begun last.
    cdef int field

    cpdef bytes encode(self, bytes document)
    cdef int node(self, int node) except -1
    cdef int record(self, int node) except -1
    cdef int array(self, int node) except -1
    cdef int map(self, int node) except -1
    cdef int entry(self, int node) except -1
    cdef Py_ssize_t items(self) except -1
