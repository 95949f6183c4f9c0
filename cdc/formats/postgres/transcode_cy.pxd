# What the compiled transcode_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.structs_cy cimport StructWriter
from cdc.formats.postgres.writer_cy cimport Writer

cdef class ValueWriter(StructWriter):
    cdef tuple digests

    cdef int value(
        self, int transcoder, int argument, unsigned char* src, Py_ssize_t start, Py_ssize_t end
    ) except -1
    cdef int array(
        self,
        int transcoder,
        int argument,
        int delimiter,
        int rules,
        unsigned char* src,
        Py_ssize_t start,
        Py_ssize_t end,
    ) except -1
    cdef int rarer(self, int transcoder, int argument) except -1
    cdef Py_ssize_t passed(self, unsigned char* src, Py_ssize_t start, Py_ssize_t end) except -1
    cdef Py_ssize_t quoted(
        self, int transcoder, int argument, unsigned char* src, Py_ssize_t start, Py_ssize_t end
    ) except -1
    cdef int boolean(self) except -1
    cdef int bit(self) except -1
    cdef int bits(self) except -1
    cdef int truncated(self, int characters) except -1
    cdef int digest(self, int place) except -1
