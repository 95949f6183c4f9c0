# What the compiled transcode_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.temporal_cy cimport TemporalWriter
from cdc.formats.postgres.writer_cy cimport Writer

cdef class ValueWriter(TemporalWriter):
    cdef tuple digests
    cdef Writer scratch

    cdef int value(
        self, int transcoder, int argument, unsigned char* src, Py_ssize_t start, Py_ssize_t end
    ) except -1
    cdef int array(
        self,
        int transcoder,
        int argument,
        int delimiter,
        unsigned char* src,
        Py_ssize_t start,
        Py_ssize_t end,
    ) except -1
    cdef Py_ssize_t quoted(
        self, int transcoder, int argument, unsigned char* src, Py_ssize_t start, Py_ssize_t end
    ) except -1
    cdef int integer(self) except -1
    cdef int float_number(self) except -1
    cdef int boolean(self) except -1
    cdef int octets(self) except -1
    cdef int bit(self) except -1
    cdef int bits(self) except -1
    cdef int truncated(self, int characters) except -1
    cdef int digest(self, int place) except -1
    cdef int decimal(self, int scale) except -1
    cdef int variable_decimal(self) except -1
