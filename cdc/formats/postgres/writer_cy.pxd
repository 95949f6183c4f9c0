# What the compiled writer_cy shares with the modules that are compiled against it.

cdef class Writer:
    cdef unsigned char* out
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t capacity
    # Whether characters beyond U+FFFF are written as two escapes.
    cdef bint pairs

    cdef int reset(self) except -1
    cdef int reserve(self, Py_ssize_t room) except -1
    cdef bytes take(self)
    cdef int shrink(self, Py_ssize_t size) except -1
    cdef bytes cut(self, Py_ssize_t start)
    cdef int put(self, int byte) except -1
    cdef int raw(self, unsigned char* src, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int constant(self, bytes literal) except -1
    cdef int number(self, long long value) except -1
    cdef int padded(self, long long value, int width) except -1
    cdef int text(self, unsigned char* src, Py_ssize_t start, Py_ssize_t end) except -1
    cdef unsigned char* content(self)
