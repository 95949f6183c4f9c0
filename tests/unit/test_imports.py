"""The structure that no single test file owns: who imports whom, what is public, what every file begins with."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import cdc
import cdc.config

ROOT = Path(__file__).parents[2]
PACKAGES = ("cdc", "connectors", "sinks")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "build" not in path.parts)
CONFIGURATIONS = sorted((ROOT / "config").rglob("*.y*ml"))

START_OF_HOT_MODULE = "from cdc import cython\n", "if cython.compiled:\n    import cython  # type: ignore[no-redef]"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Everything a file imports, wherever in it, as absolute dotted names."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)


def plugin_of(name: str) -> str | None:
    """The plugin that a module belongs to, as `connectors.postgres_wal`, or None for the core and the rest."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in ("connectors", "sinks") else None


@pytest.mark.parametrize("path", [m for m in MODULES if not plugin_of(name_of(m))], ids=name_of)
def test_the_core_imports_no_plugin(path: Path) -> None:
    assert [name for name in imports(path) if plugin_of(name)] == []


@pytest.mark.parametrize("path", [m for m in MODULES if plugin_of(name_of(m))], ids=name_of)
def test_a_plugin_imports_no_other_plugin(path: Path) -> None:
    own = plugin_of(name_of(path))
    assert [name for name in imports(path) if plugin_of(name) not in (None, own)] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_ships_imports_no_tests(path: Path) -> None:
    assert [
        name for name in imports(path) if name.split(".")[0] in ("tests", "benchmarks", "pytest", "hypothesis")
    ] == []


@pytest.mark.parametrize("path", [m for m in MODULES if m.name.endswith("_cy.py")], ids=name_of)
def test_a_hot_module_runs_without_cython(path: Path) -> None:
    """By its first lines, which take `cdc.cython` wherever the module is not compiled."""
    assert [line for line in START_OF_HOT_MODULE if line not in path.read_text()] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_in_its_first_line_what_it_is_for(path: Path) -> None:
    first_line = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    assert re.search(r"\w.*[.:?]$", first_line), f"{path.relative_to(ROOT)} begins with {first_line!r}"


@pytest.mark.parametrize("name", [name_of(m) for m in MODULES if "__all__" in m.read_text()])
def test_public_names_exist_and_are_sorted(name: str) -> None:
    module = import_module(name)
    assert list(module.__all__) == sorted(module.__all__)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


def test_the_core_has_public_names() -> None:
    assert {"Batch", "Connector", "Event", "Position", "Sink"} <= set(cdc.__all__)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_configuration_to_copy_loads(path: Path, tmp_path: Path) -> None:
    """Once the variables without default are set and the secrets are where it says."""
    text = path.read_text()
    for secret in re.findall(r"\$\{SECRETS:-[^}]*\}/([\w.-]+)", text):
        (tmp_path / secret).write_text("secret")
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "given") | {"SECRETS": str(tmp_path)}
    assert cdc.config.load(path, environ=environ).name


def test_dependencies_are_locked_with_hashes_and_without_addresses() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        pinned = re.findall(r"^\S+==\S+(?: ;.*?)? \\\n +--hash=sha256:", text, re.MULTILINE)
        assert len(pinned) == len(re.findall(r"^\w", text, re.MULTILINE)) > 0, lock
        assert not re.search(r"://|--(extra-)?index|--find-links|file:", text), lock
