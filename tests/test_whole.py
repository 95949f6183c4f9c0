"""What `make test` asks beyond the tests themselves: clean to ruff and mypy, and right without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc.compiled import hot_modules

ROOT = Path(__file__).parents[1]


def run(*command: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.mark.parametrize(
    "arguments", [("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy",)], ids=" ".join
)
def test_the_code_is_clean(arguments: tuple[str, ...]) -> None:
    run(*arguments)


@pytest.mark.skipif(not any(module.compiled for module in hot_modules()), reason="this run is interpreted already")
def test_the_same_tests_pass_interpreted(record_property: Callable[[str, str], None]) -> None:
    said = run("pytest", "-q", "-m", "hot", "tests", CDC_INTERPRETED="1")
    record_property("interpreted", said.splitlines()[-1])


def test_hot_modules_were_compiled_where_that_is_required() -> None:
    if os.environ.get("CI") == "true" and os.environ.get("CDC_INTERPRETED") != "1":
        assert [module.name for module in hot_modules() if not module.compiled] == []
