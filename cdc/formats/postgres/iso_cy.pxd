# What the compiled iso_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.temporal_cy cimport TemporalWriter

cdef class IsoWriter(TemporalWriter):
    cdef int iso_date(self, int rule) except -1
    cdef int iso_time(self, int rule) except -1
    cdef int iso_timestamp(self, int rule) except -1
    cdef long long iso_year(self) except? -1
    cdef int matches(self, int length) except -1
    cdef int day_and_clock(self) except -1
    cdef int zoned_timestamp(self, int digits) except -1
    cdef int zoned_time(self, int rule) except -1
    cdef int iso_interval(self, int rule) except -1
    cdef int signed(self, bint negative, long long value) except -1
