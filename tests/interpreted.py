"""Compiled-optional modules as their sources run, whatever is compiled. For tests that compare both."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import cdc
import sinks

ENCODER = [
    f"cdc.formats.postgres.{name}"
    for name in (
        *("writer_cy", "binary_cy", "numbers_cy", "temporal_cy", "iso_cy", "structs_cy", "transcode_cy"),
        *("tuples_cy", "rows_cy", "encode_cy"),
    )
]
"""The row encoder and what it imports, in the order in which they are."""

DECODER = [f"sinks.postgres.{name}" for name in ("scan_cy", "values_cy", "decode_cy")]
"""The same of the sink's decoder."""

_ROOTS = {"cdc": Path(cdc.__file__).parent, "sinks": Path(sinks.__file__).parent}


def interpreted(names: list[str]) -> ModuleType:
    """Load the sources of these modules, each of which may import the ones before it; returns the last."""
    kept = {name: sys.modules.pop(name, None) for name in names}
    try:
        for name in names:
            package, *path = name.split(".")
            spec = spec_from_file_location(name, _ROOTS[package].joinpath(*path).with_suffix(".py"))
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[name] = module_from_spec(spec)
            spec.loader.exec_module(module)
        return sys.modules[names[-1]]
    finally:
        sys.modules.update({name: module for name, module in kept.items() if module is not None})
