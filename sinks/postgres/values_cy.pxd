# What the compiled values_cy shares with the modules that are compiled against it.

from sinks.postgres.scan_cy cimport Scanner

cdef class ValueScanner(Scanner):
    cdef bint field(self, int kind) except -1
    cdef bint number(self, bint fraction) except -1
    cdef bint not_finite(self) except -1
    cdef bint boolean(self, bint bit) except -1
    cdef bint numeric(self) except -1
    cdef bint zoned(self) except -1
    cdef bint bytes(self) except -1
    cdef bint two(self, long long value) except -1
    cdef bint day(self, long long days) except -1
    cdef bint clock(self, long long micros) except -1
    cdef bint date(self) except -1
    cdef bint time(self, bint millis) except -1
    cdef bint timestamp(self, bint millis) except -1
