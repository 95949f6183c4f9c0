"""The judge shares no code with the bridge."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROVE = Path(__file__).parents[2] / "cdc" / "prove"
OF_THE_JUDGE = ("bank", "bulk", "judge", "observed", "truth", "warehouse")
ALLOWED = {"confluent_kafka", "orjson", "psycopg", *sys.stdlib_module_names}


def imports(name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((PROVE / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not understood here"
            yield node.module or ""


@pytest.mark.parametrize("name", OF_THE_JUDGE)
def test_what_judges_imports_nothing_of_the_bridge(name: str) -> None:
    judges = {f"cdc.prove.{each}" for each in OF_THE_JUDGE}
    foreign = {module for module in imports(name) if module.split(".")[0] not in ALLOWED} - judges
    assert not foreign
