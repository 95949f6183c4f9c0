"""Builds the compiled-optional modules: every `*_cy.py` becomes an extension, or stays plain Python.

CDC_SKIP_EXTENSIONS=1 builds none. All else about the distribution is in pyproject.toml.
"""

import os
import sys
from pathlib import Path

import Cython.Distutils  # first: setuptools' build_ext becomes a subclass of Cython's only then
from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, CompileError, ExecError, PlatformError

PACKAGES = ("cdc", "connectors", "sinks")


class BuildOptionalExtensions(build_ext):
    """Says once, in one line, which modules could not be compiled and that they work all the same."""

    def run(self):
        self.failed = {}
        super().run()
        if self.failed:
            print(
                f"cdc-bridge: not compiled, will run as plain Python (same results, several times slower): "
                f"{', '.join(self.failed)}: {next(iter(self.failed.values()))}",
                file=sys.stderr,
            )

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except (CCompilerError, CompileError, ExecError, PlatformError) as error:
            self.failed[ext.name] = error
            # An older binary in the source tree would win over the source it no longer matches.
            in_place, _ = self._get_inplace_equivalent(self.get_finalized_command("build_py"), ext)
            Path(in_place).unlink(missing_ok=True)


def extensions():
    if os.environ.get("CDC_SKIP_EXTENSIONS") == "1":
        return []
    # Cython's own Extension, since cythonize() would drop `optional`.
    return [
        Cython.Distutils.Extension(
            ".".join(source.with_suffix("").parts),
            [source.as_posix()],
            optional=True,
            cython_directives={"language_level": "3"},
        )
        for package in PACKAGES
        for source in sorted(Path(package).rglob("*_cy.py"))
    ]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOptionalExtensions})
