"""Builds the compiled-optional modules: every `*_cy.py` becomes an extension, or stays plain Python.

CDC_SKIP_EXTENSIONS=1 builds none. All else about the distribution is in pyproject.toml.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, CompileError, ExecError, PlatformError

PACKAGES = ("cdc", "connectors", "sinks")
DIRECTIVES = {"language_level": "3", "show_performance_hints": False, "warn.unreachable": False}


class BuildOptionalExtensions(build_ext):
    """Says once, in one line, which modules could not be compiled and that they work all the same."""

    def run(self):
        self.failed = {}
        super().run()
        if self.failed:
            print(
                "cdc-bridge: not compiled, will run as plain Python (same results, several times slower): "
                f"{', '.join(sorted(self.failed))}: {next(iter(self.failed.values()))}",
                file=sys.stderr,
            )

    def build_extensions(self):
        # cythonize() gives back extensions that are no longer optional: only their C files are of use.
        translated = cythonize(
            self.extensions, compiler_directives=DIRECTIVES, force=self.force, quiet=self.verbose == 0
        )
        for extension, to_c in zip(self.extensions, translated, strict=True):
            extension.sources = to_c.sources
        super().build_extensions()

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except (CCompilerError, CompileError, ExecError, PlatformError) as error:
            self.failed[ext.name] = error
            # An older binary would win over the source it no longer matches.
            for binary in self._get_inplace_equivalent(self.get_finalized_command("build_py"), ext):
                Path(binary).unlink(missing_ok=True)


def extensions():
    if os.environ.get("CDC_SKIP_EXTENSIONS") == "1":
        return []
    return [
        Extension(
            ".".join(source.with_suffix("").parts),
            [source.as_posix()],
            extra_compile_args=["-g0"],  # debug information would take a third of the time
            optional=True,
        )
        for package in PACKAGES
        for source in sorted(Path(package).rglob("*_cy.py"))
    ]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOptionalExtensions})
