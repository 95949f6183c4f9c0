# What the compiled numbers_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.binary_cy cimport BinaryWriter

cdef class NumberWriter(BinaryWriter):
    cdef unsigned char* src
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    cdef BinaryWriter scratch
    cdef BinaryWriter plain

    cdef long long digits(self, int least, int most) except -1
    cdef int skip(self, int char) except -1
    cdef int finished(self) except -1
    cdef int integer(self) except -1
    cdef int float_number(self, int size) except -1
    cdef int double(self, int size) except -1
    cdef int not_finite(self, Py_ssize_t start) except -1
    cdef Py_ssize_t number_end(self) except -1
    cdef long long exponent(self) except? -1
    cdef int respelled(self, Py_ssize_t first, Py_ssize_t point, long long exponent, int size) except -1
    cdef bint java_has_others(self, Py_ssize_t count, long long scale, int size) except -1
    cdef int scientific(self, unsigned char* src, Py_ssize_t count, long long scale) except -1
    cdef int numeric_text(self, int zeros) except -1
    cdef int money(self, int how) except -1
    cdef int decimal(self, int scale) except -1
    cdef int variable_decimal(self) except -1
