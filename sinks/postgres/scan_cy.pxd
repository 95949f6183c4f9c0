# What the compiled scan_cy shares with the modules that are compiled against it.

cdef class Scanner:
    cdef bytearray buffer
    cdef unsigned char* out
    cdef unsigned char* src
    cdef Py_ssize_t end
    cdef Py_ssize_t at
    cdef Py_ssize_t written
    cdef long long whole

    cdef bint begin(self, bytes data, Py_ssize_t room) except -1
    cdef bint put(self, int c) except -1
    cdef bint literal(self, bytes text) except -1
    cdef bint skip(self) except -1
    cdef bint text(self) except -1
    cdef bint escape(self) except -1
    cdef int hex4(self) except? -1
    cdef bint character(self, int code) except -1
    cdef bint ascii(self, bytes text) except -1
    cdef Py_ssize_t digits(self) except -1
    cdef bint integer(self) except -1
    cdef bytes taken(self)
