"""Compiled-optional modules: which run compiled, and what lets the same file run interpreted. Reads files only.

A hot module is named `*_cy.py`, is plain Python, and begins so:

    try:
        import cython
    except ModuleNotFoundError:
        from cdc.compiled import cython  # type: ignore[no-redef, assignment]

Cython compiles the file when the project is installed (`setup.py`); where that was not
possible, or `CDC_INTERPRETED=1` is set, the source itself runs, with or without Cython
installed. `python setup.py build_ext --inplace` compiles again after an edit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HotModule:
    """A compiled-optional module and what an import of it loads.

    Args:
        name: its dotted name.
        source: the `*_cy.py` file.
        binary: the compiled file, or None where the source runs.
    """

    name: str
    source: Path
    binary: Path | None

    @property
    def compiled(self) -> bool:
        return self.binary is not None

    @property
    def stale(self) -> bool:
        """True when the source was edited after it was compiled: the binary would win."""
        return self.binary is not None and self.source.stat().st_mtime > self.binary.stat().st_mtime


def hot_modules() -> list[HotModule]:
    """All compiled-optional modules of the core and of the installed plugins, by name."""
    return sorted(_hot_modules(), key=lambda module: module.name)


def summary() -> str:
    """One line for people: which modules run compiled and which interpreted."""
    modules = hot_modules()
    kinds = {
        "compiled": [module.name for module in modules if module.compiled],
        "interpreted": [module.name for module in modules if not module.compiled],
    }
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names) or "no compiled modules"


def _packages() -> set[str]:
    plugins = [*entry_points(group="cdc.connectors"), *entry_points(group="cdc.sinks")]
    return {"cdc", *(point.module.partition(".")[0] for point in plugins)}


def _hot_modules() -> Iterator[HotModule]:
    for package in _packages():
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for source in Path(folder).rglob("*_cy.py"):
                name = ".".join((package, *source.relative_to(folder).with_suffix("").parts))
                found = find_spec(name)
                origin = found.origin if found else None
                yield HotModule(name, source, Path(origin) if origin and not origin.endswith(".py") else None)


class _SourceFirst(MetaPathFinder):
    """Finds the source of a compiled-optional module although a binary lies beside it."""

    def __init__(self) -> None:
        self._packages = _packages()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, _ = fullname.partition(".")
        if not fullname.endswith("_cy") or package not in self._packages:
            return None
        for folder in path or ():
            source = Path(folder, fullname.rpartition(".")[2] + ".py")
            if source.exists():
                return spec_from_file_location(fullname, source)
        return None


def install() -> None:
    """Let `CDC_INTERPRETED=1` work: load compiled-optional modules from their sources."""
    if os.environ.get("CDC_INTERPRETED") == "1":
        sys.meta_path.insert(0, _SourceFirst())


class _Type:
    """A C type where no C is: calls convert, `[…]` (pointers, views, const) changes nothing."""

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert

    def __call__(self, value: Any = 0) -> Any:
        return self._convert(value)

    def __getitem__(self, _: Any) -> _Type:
        return self


def _as_is(value: Any) -> Any:
    return value


def _decorator(*_: Any, **__: Any) -> Callable[[_T], _T]:
    return _as_is


class _Shim:
    """What hot modules use of `cython`, where Cython is not installed. Nothing is checked or wrapped."""

    compiled = False
    char = uchar = short = ushort = int = uint = long = ulong = longlong = ulonglong = _Type(int)
    Py_ssize_t = size_t = _Type(int)
    float = double = _Type(float)
    bint = _Type(bool)
    void = const = p_char = p_uchar = p_void = _Type(_as_is)
    cclass = ccall = cfunc = inline = final = staticmethod(_as_is)
    locals = returns = exceptval = annotation_typing = staticmethod(_decorator)
    boundscheck = wraparound = cdivision = initializedcheck = nonecheck = staticmethod(_decorator)
    overflowcheck = infer_types = freelist = staticmethod(_decorator)

    @staticmethod
    def declare(_: Any = None, value: Any = None) -> Any:
        return value

    @staticmethod
    def cast(_: Any, value: Any, **__: Any) -> Any:
        return value

    @staticmethod
    def pointer(of: Any) -> Any:
        return of


cython = _Shim()
