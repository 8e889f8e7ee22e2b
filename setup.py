"""Builds ``kvspic/_native`` and writes ``kvspic/_enums.py``, both from csrc, nothing else.

Metadata is in pyproject.toml, the version in csrc/base/version.h; cffi's build script declares sources and flags. The
extension keeps to the limited API of Python 3.10, so one wheel serves that Python and every later one; PyPy and builds
without a GIL have no such API and get wheels of their own. An installation that stays in its checkout also gets the
functions that tests of the packager's parts need.
"""

import re
import runpy
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

__all__: list[str] = []

HAS_LIMITED_API = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
IS_IN_PLACE = not {"--inplace", "editable_wheel"}.isdisjoint(sys.argv)
MODULES = ["kvspic/_ffi_build.py:ffibuilder"]
TEST_MODULES = ["kvspic/_ffi_build.py:test_builder"]
VERSION = re.search(r'KVS_VERSION "([^"]+)"', Path("csrc/base/version.h").read_text(encoding="utf-8"))
assert VERSION is not None

runpy.run_path("kvspic/_ffi_build.py")["write_enumerations"]()

setup(
    version=VERSION[1],
    cffi_modules=MODULES + (TEST_MODULES if IS_IN_PLACE else []),
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if HAS_LIMITED_API else {},
)
