"""Stands for the module `cython` where a hot module runs interpreted: types are Python's, the rest is nothing.

Names are added here when a hot module needs them; pointers are the objects they point into.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

_T = TypeVar("_T")

compiled: Final = False

char: TypeAlias = builtins.int
uchar: TypeAlias = builtins.int
short: TypeAlias = builtins.int
ushort: TypeAlias = builtins.int
int: TypeAlias = builtins.int
uint: TypeAlias = builtins.int
long: TypeAlias = builtins.int
ulong: TypeAlias = builtins.int
longlong: TypeAlias = builtins.int
ulonglong: TypeAlias = builtins.int
Py_ssize_t: TypeAlias = builtins.int
size_t: TypeAlias = builtins.int
float: TypeAlias = builtins.float
double: TypeAlias = builtins.float
bint: TypeAlias = builtins.bool
p_char: TypeAlias = builtins.bytes
p_uchar: TypeAlias = builtins.bytes


def _unchanged(decorated: _T) -> _T:
    return decorated


def _unchanged_by(*_: Any, **__: Any) -> Callable[[_T], _T]:
    return _unchanged


cclass = ccall = cfunc = final = inline = _unchanged
boundscheck = cdivision = exceptval = freelist = initializedcheck = nonecheck = wraparound = _unchanged_by


def cast(_: type[_T], value: Any, *, typecheck: builtins.bool = False) -> _T:
    return value  # type: ignore[no-any-return]


def declare(_: type[_T], value: Any = None) -> _T:
    return value  # type: ignore[no-any-return]
