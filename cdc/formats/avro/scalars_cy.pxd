# C types of scalars_cy's attributes and methods.

from cdc.formats.postgres.writer_cy cimport Writer

cdef class ScalarEncoder:
    cdef Writer writer
    cdef Writer scratch
    # Of the document.
    cdef unsigned char* src
    cdef Py_ssize_t at
    cdef Py_ssize_t end

    cdef int varint(self, long long value) except -1
    cdef int integer(self) except -1
    cdef int real(self, int kind) except -1
    cdef int boolean(self) except -1
    cdef int text(self) except -1
    cdef int escape(self) except -1
    cdef int hex4(self) except -1
    cdef int character(self, int code) except -1
    cdef int base64(self) except -1
    cdef bint literal(self, bytes text) except -1
    cdef bint has(self, bytes text, Py_ssize_t at, Py_ssize_t length) noexcept
    cdef int expect(self, int byte) except -1
