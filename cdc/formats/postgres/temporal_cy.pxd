# What the compiled temporal_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.writer_cy cimport Writer

cdef class TemporalWriter(Writer):
    cdef unsigned char* src
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    cdef bint before_christ

    cdef int date(self) except -1
    cdef int time(self, int digits) except -1
    cdef int timestamp(self, int digits) except -1
    cdef int zoned_timestamp(self, int digits) except -1
    cdef int zoned_time(self) except -1
    cdef int interval(self) except -1
    cdef long long era(self) except? -1
    cdef long long digits(self, int least, int most) except -1
    cdef int skip(self, int char) except -1
    cdef long long calendar_days(self) except? -1
    cdef long long clock(self) except -1
    cdef long long fraction(self) except -1
    cdef int infinity(self) except -1
    cdef int finished(self) except -1
