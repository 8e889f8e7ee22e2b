"""Builds ``kvspic/_native`` from csrc, nothing else; all metadata is in pyproject.toml.

cffi's build script declares sources and flags. The extension keeps to the limited API of Python 3.10, so one wheel
serves that Python and every later one; builds without a GIL have no such API and get a wheel of their own.
"""

import sysconfig

from setuptools import setup

__all__: list[str] = []

HAS_LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["kvspic/_ffi_build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if HAS_LIMITED_API else {},
)
