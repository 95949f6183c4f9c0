# What the compiled binary_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.writer_cy cimport Writer

cdef extern from "Python.h":
    double PyOS_string_to_double(const char* text, char** end, void* overflow) except? -1.0

cdef class BinaryWriter(Writer):
    cdef int binary(self, int how, unsigned char* src, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int digits_of_bytes(self, int how, unsigned char* src, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int url_safe(self, Py_ssize_t start) except -1
    cdef int hexadecimal(self, unsigned char* src, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int base64(self, unsigned char* src, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int integer_bytes(self, long long value) except -1
    cdef int float64(self, unsigned char* src, Py_ssize_t start, Py_ssize_t end) except -1
    cdef bint power_of_two(self, int size) except -1
