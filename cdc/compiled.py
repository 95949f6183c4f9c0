"""Compiled-optional modules: which run compiled, and what lets the same file run interpreted. Reads files only.

A hot module is named `*_cy.py`, is plain Python, and has after its other imports:

    from cdc import cython

    if cython.compiled:
        import cython  # type: ignore[no-redef]  # only the compiler needs to see this

Cython compiles the file when the project is installed (`setup.py`). Where that was not
possible, or `CDC_INTERPRETED=1` is set, the source itself runs, with `cdc.cython` in
Cython's place, whether Cython is installed or not. After an edit,
`python setup.py build_ext --inplace` compiles it again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


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
        """True when the source or its declarations were edited after it was compiled: the binary would win."""
        if self.binary is None:
            return False
        # Not others' declarations: the build knows whom those reach, and their own module is stale then.
        compiled_from = [file for file in (self.source, self.source.with_suffix(".pxd")) if file.exists()]
        return max(file.stat().st_mtime for file in compiled_from) > self.binary.stat().st_mtime


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
                origin = _origin(name, source.parent)
                yield HotModule(name, source, None if origin == source else origin)


def _origin(name: str, folder: Path) -> Path | None:
    """The file that an import would load; unlike importlib's `find_spec`, this imports no parent package."""
    for finder in sys.meta_path:
        spec = finder.find_spec(name, [str(folder)])
        if spec and spec.origin:
            return Path(spec.origin)
    return None


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
