"""The three things that are compiled when minirun is installed; for setuptools only, named in pyproject.toml.

The C module `minirun.kernel._linux` is written by cffi in API mode: `_abi.py` holds the prototypes of the man pages,
and the C compiler checks them against the system's own headers. The command `minirun` is a small C program,
`launcher/minirun.c`, which says itself why it is one. The hot-path archive is bytecode (`minirun.hot_path`).
"""

from __future__ import annotations

import os
import runpy
import sys

# setuptools comes first: it brings distutils, which newer versions of Python have no longer
# isort: off
from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from distutils.ccompiler import new_compiler
from distutils.command.build_scripts import build_scripts
from distutils.errors import LinkError
from distutils.sysconfig import customize_compiler
# isort: on


class BuildModules(build_py):
    """`build_py` with the hot-path archive beside the modules."""

    def run(self) -> None:
        """Copy the modules, and compile those of the hot path; not for an editable install, which copies nothing."""
        super().run()
        if not self.editable_mode:
            # Without the instructions' columns, which only the carets in a traceback need: a twelfth less to read.
            script = "import runpy, sys; runpy.run_path('minirun/hot_path.py')['write'](sys.argv[1], sealed=False)"
            command = [sys.executable, "-X", "no_debug_ranges", "-c", script, os.path.join(self.build_lib, "minirun")]
            self.spawn(command)


class BuildModule(build_ext):
    """`build_ext` with one more kind of source: a cffi build script (a .py file that makes an `ffi`)."""

    def build_extension(self, ext: Extension) -> None:
        """Let cffi write the C file, then compile it like any other."""
        script = ext.sources[0]
        ext.sources = [os.path.join(self.build_temp, ext.name + ".c")]
        os.makedirs(self.build_temp, exist_ok=True)
        runpy.run_path(script)["ffi"].emit_c_code(ext.sources[0])
        super().build_extension(ext)


class BuildLauncher(build_scripts):
    """`build_scripts` for a script that is a C program: "minirun.c" is compiled and linked to "minirun"."""

    def run(self) -> None:
        """Compile every script; what is in the build directory is installed into bin/ afterwards."""
        compiler = new_compiler(force=True)
        customize_compiler(compiler)
        # Not the interpreter of the virtual environment that a build may run in, which is gone afterwards.
        python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        temporary = self.get_finalized_command("build").build_temp
        for source in self.scripts:
            name = os.path.splitext(os.path.basename(source))[0]
            objects = compiler.compile([source], temporary, macros=[("PYTHON", f'"{python}"')])
            try:  # without shared libraries it starts in half the time; a C library may not come in that form
                compiler.link_executable(objects, name, output_dir=self.build_dir, extra_postargs=["-static"])
            except LinkError:
                compiler.link_executable(objects, name, output_dir=self.build_dir)
