# What the compiled structs_cy shares with the modules that are compiled against it.

from cdc.formats.postgres.binary_cy cimport BinaryWriter
from cdc.formats.postgres.iso_cy cimport IsoWriter

cdef class StructWriter(IsoWriter):
    cdef int octets(self, int how) except -1
    cdef int geometric(self, int how) except -1
    cdef bint numeral(self, Py_ssize_t at) noexcept
    cdef Py_ssize_t coordinate(self, int stop, int size) except -1
    cdef int point(self, int size) except -1
    cdef int geometry(self) except -1
    cdef long long byte(self, int place) except -1
    cdef long long word(self, int place, bint little) except -1
    cdef int vector(self, int size) except -1
    cdef int sparse_vector(self, int rule) except -1
    cdef int hstore(self, int rule) except -1
    cdef int unquoted(self) except -1
