# C types of encode_cy's attributes and methods.

from cdc.formats.postgres.writer_cy cimport Writer

cdef class AvroEncoder:
    cdef Writer writer
    cdef Writer scratch
    cdef bytes prefix
    # Per node of the schema; a record's fields are nodes in a row.
    cdef int[::1] kinds
    cdef int[::1] nulls
    cdef int[::1] first
    cdef int[::1] counts
    cdef list names
    cdef list missing
    # Of the document; `field` is the member that was begun last.
    cdef int field
    cdef unsigned char* src
    cdef Py_ssize_t at
    cdef Py_ssize_t end

    cpdef bytes encode(self, bytes document)
    cdef int node(self, int node) except -1
    cdef int record(self, int node) except -1
    cdef int array(self, int node) except -1
    cdef int map(self, int node) except -1
    cdef int entry(self, int node) except -1
    cdef int varint(self, long long value) except -1
    cdef int integer(self) except -1
    cdef int real(self, int kind) except -1
    cdef int boolean(self) except -1
    cdef int text(self) except -1
    cdef int escape(self) except -1
    cdef int hex4(self) except -1
    cdef int character(self, int code) except -1
    cdef int base64(self) except -1
    cdef Py_ssize_t items(self) except -1
    cdef bint literal(self, bytes text) except -1
    cdef bint has(self, bytes text, Py_ssize_t at, Py_ssize_t length) noexcept
    cdef int expect(self, int byte) except -1
