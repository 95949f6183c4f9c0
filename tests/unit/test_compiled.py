"""Compiled-optional modules: which is loaded, told by where it comes from. Compiles nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cdc.compiled import HotModule, hot_modules, summary

WHERE_FROM = """
import importlib, sys
sys.modules["cython"] = None
from cdc.compiled import hot_modules
for module in hot_modules():
    assert not module.compiled, module
    loaded = importlib.import_module(module.name)
    assert loaded.__file__ == str(module.source), loaded
    print(module.name)
"""


def test_every_hot_module_can_be_told_to_run_from_its_source_without_cython() -> None:
    environment = {**os.environ, "CDC_INTERPRETED": "1"}
    ran = subprocess.run([sys.executable, "-c", WHERE_FROM], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [module.name for module in hot_modules()]


def test_the_summary_names_every_hot_module() -> None:
    assert all(module.name in summary() for module in hot_modules())


def test_a_binary_older_than_its_source_is_stale(tmp_path: Path) -> None:
    source, binary = tmp_path / "fast_cy.py", tmp_path / "fast_cy.so"
    source.touch()
    binary.touch()
    module = HotModule("fast_cy", source, binary)
    os.utime(binary, (2_000, 2_000))
    os.utime(source, (1_000, 1_000))
    assert not module.stale
    os.utime(source, (3_000, 3_000))
    assert module.stale


def test_a_binary_older_than_its_declarations_is_stale(tmp_path: Path) -> None:
    source, binary, declarations = tmp_path / "fast_cy.py", tmp_path / "fast_cy.so", tmp_path / "fast_cy.pxd"
    for file, when in ((source, 1_000), (binary, 2_000), (declarations, 3_000)):
        file.touch()
        os.utime(file, (when, when))
    assert HotModule("fast_cy", source, binary).stale


def test_what_runs_interpreted_is_never_stale(tmp_path: Path) -> None:
    assert not HotModule("fast_cy", tmp_path / "fast_cy.py", None).stale
