# What the compiled temporal_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.numbers_cy cimport NumberWriter

cdef class TemporalWriter(NumberWriter):
    cdef bint before_christ
    cdef bytes respelled_text
    # Of an interval.
    cdef long long years
    cdef long long months
    cdef long long days
    cdef long long micros

    cdef int date(self, int rule) except -1
    cdef int without_era(self) except -1
    cdef int time(self, int digits) except -1
    cdef int timestamp(self, int digits) except -1
    cdef int interval(self, int rule) except -1
    cdef int parts(self) except -1
    cdef long long era(self) except? -1
    cdef int through_java(self, bint fields) except -1
    cdef long long calendar_days(self) except? -1
    cdef long long clock(self) except -1
    cdef long long fraction(self) except -1
    cdef int infinity(self) except -1
