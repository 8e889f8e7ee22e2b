"""PyAV at first use. Goal: one sentence says what is missing, and never that something is which is there."""

import builtins
import sys

import pytest
from unit.sources.clips import MEDIA

from kvspic.sources import MissingDependencyError, open_source
from kvspic.sources.base import load_av


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("", name="av"), r"needs PyAV, which is not installed: run `pip install 'kvspic\[media\]'"),
        (ModuleNotFoundError("No module named 'numpy'", name="numpy"), "needs numpy, which is not installed"),
        (
            ImportError("libxcb.so.1: cannot open shared object file", name="av._core"),
            r"PyAV is installed, but cannot be loaded \(libxcb\.so\.1: cannot open .*: install that library",
        ),
    ],
    ids=["not installed", "its own need", "a library of the system"],
)  # fmt: skip
def test_what_is_missing_is_named(monkeypatch, error, said):
    real = builtins.__import__

    def fails(name, *arguments, **options):
        if name == "av":
            raise error
        return real(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "av", raising=False)
    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(MissingDependencyError, match=said):
        load_av()


def test_an_mp4_file_is_not_called_broken_where_pyav_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match="PyAV"):
        open_source(str(MEDIA / "h264_baseline_320x240_25fps.mp4"))
