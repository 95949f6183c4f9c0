# C types of decode_cy's attributes and methods.

from cdc.formats.postgres.binary_cy cimport BinaryWriter

cdef class AvroDecoder:
    cdef BinaryWriter writer
    # Per node of the schema; a record's fields are nodes in a row.
    cdef int[::1] kinds
    cdef int[::1] nulls
    cdef int[::1] first
    cdef int[::1] counts
    cdef int[::1] sparse
    cdef list names
    # Of the record.
    cdef unsigned char* src
    cdef Py_ssize_t at
    cdef Py_ssize_t end

    cpdef bytes decode(self, bytes data, Py_ssize_t offset)
    cdef int node(self, int node) except -1
    cdef int branch(self, int node) except -1
    cdef int bare(self, int node) except -1
    cdef int record(self, int node) except -1
    cdef int array(self, int node) except -1
    cdef int map(self, int node) except -1
    cdef int entry(self, int node) except -1
    cdef long long varint(self) except? -1
    cdef long long block(self) except -1
    cdef Py_ssize_t length(self) except -1
    cdef int text(self) except -1
    cdef int octets(self) except -1
    cdef int boolean(self) except -1
    cdef int real(self, int kind) except -1
