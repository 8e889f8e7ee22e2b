"""The package's face. Goal: importing it is light, and each public name is there, once and with one meaning."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kvspic

HEAVY = ("asyncio", "av", "boto3", "botocore", "h11", "numpy", "requests", "ssl")


def test_the_import_loads_nothing_heavy():
    text = f"import sys, kvspic; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", kvspic.__all__)
def test_each_public_name_is_there(name):
    assert getattr(kvspic, name) is not None
    assert name in dir(kvspic)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(kvspic.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {(node.module, alias.name) for node in block.body for alias in node.names}
    assert seen == {(module, name) for name, module in kvspic.HOME_OF.items()}
    assert sorted(kvspic.__all__) == sorted(kvspic.HOME_OF)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Producr"):
        _ = kvspic.Producr
