"""Python sources keep their layers and their size. Goal: what is pure stays pure, and one module meets C.

Each rule is first shown to catch a bad example, then applied to the tree.
"""

import pytest
from tidy import c_rules, py_rules
from tidy.project import entries, limited, report, sources


@pytest.fixture(scope="module")
def package():
    return sources(".py", under="kvspic/")


@pytest.fixture(scope="module")
def code():
    return limited(sources(".py"))


def module(path: str, text: str) -> dict[str, str]:
    others = ["_lib", "core", "driver/__init__", "errors", "local/__init__", "sources/__init__", "testing/__init__"]
    return {f"kvspic/{other}.py": "" for other in others} | {f"kvspic/{path}.py": text}


# What each rule catches: rule, modules with one fault, words of the finding.
BAD = [
    (py_rules.purity, module("retry", "import os.path\n"), "kvspic.retry is pure and must not import os"),
    (py_rules.purity, module("retry", "def f():\n    from time import sleep\n"), "retry.py:2: kvspic.retry is pure"),
    (py_rules.order, module("core", "from kvspic import driver\n"), "kvspic.core must not use kvspic.driver"),
    (py_rules.order, module("core", "import kvspic.driver\n"), "kvspic.core must not use kvspic.driver"),
    (py_rules.order, module("core", "from . import driver\n"), "kvspic.core must not use kvspic.driver"),
    (py_rules.order, module("driver/aio", "from .. import Producer\n"), "kvspic.driver.aio must not use kvspic,"),
    (py_rules.order, module("driver/aio", "from kvspic import Producer\n"), "kvspic.driver.aio must not use kvspic,"),
    (py_rules.order, module("types", "from kvspic.core import Client\n"), "kvspic.types must not use kvspic.core"),
    (py_rules.apart, module("local/app", "from kvspic._lib import lib\n"), "kvspic.local.app must not use kvspic._lib"),
    (py_rules.apart, module("local/app", "from kvspic.sources import annexb\n"), "must not use kvspic.sources"),
    (py_rules.apart, module("local/app", "from kvspic import Producer\n"), "kvspic.local.app must not use kvspic."),
    (py_rules.apart, module("sources/file", "from ..driver import aio\n"), "must not use kvspic.driver"),
    (py_rules.native, module("core", "from kvspic._native import lib\n"), "only kvspic._lib imports"),
    (py_rules.native, module("core", "from kvspic import _native\n"), "only kvspic._lib imports"),
    (py_rules.testing, module("core", "from kvspic import testing\n"), "must not use kvspic.testing"),
    (
        py_rules.waits,
        {"a.py": "import threading\nthreading.Event().wait()\n"},
        "a.py:2: threading.Event().wait() blocks",
    ),
    (py_rules.waits, {"a.py": "thread.join()\n"}, "thread.join() blocks Ctrl-C"),
    (py_rules.waits, {"a.py": "asyncio.run_coroutine_threadsafe(a, b).result()\n"}, "Use join, result_of or"),
    (py_rules.public_names, {"a.py": "b = 1\n"}, "no __all__"),
    (py_rules.public_names, {"a.py": '__all__ = ["b", "A"]\n'}, "['A', 'b']"),
    (py_rules.public_names, {"a.py": '__all__ = ["b", "b"]\n'}, "['b']"),
    (py_rules.docstrings, {"a.py": "# what\n"}, "no module docstring"),
    (py_rules.function_length, {"a.py": "def f():\n" + "    x()\n" * 70}, "a.f has 71 lines"),
    (py_rules.parameters, {"a.py": "def f(self, a, b, c, d, *, e, g, h): pass\n"}, "a.f has 7 parameters"),
    (
        py_rules.nesting,
        {"a.py": "def f():\n if a:\n  for b in c:\n   with d:\n    try: x()\n    except E:\n     if g: y()\n"},
        "a.f nests 4 deep",
    ),
]


@pytest.mark.parametrize(("rule", "modules", "words"), BAD)
def test_a_rule_catches_a_bad_example(rule, modules, words):
    findings = rule(modules)
    assert len(findings) == 1
    assert words in findings[0]


# What looks like a fault and is none.
GOOD = [
    (py_rules.purity, module("retry", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ssl\n")),
    (py_rules.purity, module("retry", "import operator\nfrom kvspic import time\n")),
    (py_rules.order, module("driver/aio", "from kvspic import core, errors\nfrom . import turn\n")),
    (py_rules.order, module("cli", "import kvspic\nfrom kvspic.local import app\n")),
    (py_rules.apart, module("local/app", "from kvspic.local import a\nfrom . import b\n")),
    (py_rules.native, module("_lib", "from kvspic._native import ffi\n")),
    (py_rules.testing, module("testing/run", "from kvspic.testing import clock\n")),
    (py_rules.waits, {"a.py": "async def f():\n await x.wait()\n await asyncio.wait_for(x.wait(), 1)\n"}),
    (py_rules.waits, {"a.py": "y.wait(1)\n''.join(z)\ntask.result()\nthread.join(2)\n"}),
    (py_rules.public_names, {"a.py": '__all__ = ["H9", "H10", "LATE", "Abc", "abc"]\n', "b.py": "__all__: L = []\n"}),
    (py_rules.function_length, {"a.py": "def f():\n" + "    x()\n" * 69}),
    (py_rules.parameters, {"a.py": "def f(self, a, b, c, d, *, e, g, **h): pass\n"}),
    (py_rules.nesting, {"a.py": "def f():\n if a: x()\n elif b: x()\n elif c: x()\n elif d: x()\n else: x()\n"}),
    (py_rules.nesting, {"a.py": "def f():\n if a:\n  if b:\n   if c:\n    def g():\n     if d: x()\n"}),
]


@pytest.mark.parametrize(("rule", "modules"), GOOD)
def test_a_rule_passes_a_good_example(rule, modules):
    assert rule(modules) == []


def test_a_listed_module_that_touches_nothing_is_named():
    modules = module("aio", "import asyncio\n")
    findings = py_rules.impure_in_vain(modules, {"kvspic.aio", "kvspic.core", "kvspic.gone"})
    assert [finding.split()[1] for finding in findings] == ["kvspic.core", "kvspic.gone"]


def test_pure_modules_touch_no_world(package):
    listed = entries("impure.txt")
    report(py_rules.purity(package, set(listed)))
    report(py_rules.impure_in_vain(package, set(listed)))
    report([f"tests/tidy/impure.txt: {name} has no reason. Say it after #." for name, why in listed.items() if not why])


@pytest.mark.parametrize(
    "rule",
    [py_rules.order, py_rules.apart, py_rules.testing, py_rules.waits, py_rules.public_names, py_rules.docstrings],
)
def test_package(rule, package):
    report(rule(package))


def test_one_module_imports_the_extension(code):
    report(py_rules.native(code))


@pytest.mark.parametrize("rule", [c_rules.file_length, c_rules.line_length, py_rules.function_length, py_rules.nesting])
def test_limits(rule, code):
    report(rule(code))


def test_limit_of_parameters(code):
    excepted = {name for name in entries("many_parameters.txt") if "." in name}
    report(py_rules.parameters(code, excepted))


def test_exceptions_from_the_limit_of_parameters_are_needed_and_have_a_reason(code):
    c_text = sources(".c", ".h", under="csrc/") | sources(".c", ".h", under="tests/native/")
    findings = py_rules.parameters(code) + c_rules.parameters(c_text)
    over = {finding.split(": ")[1].split(" has ")[0] for finding in findings}
    listed = entries("many_parameters.txt")
    report([f"tests/tidy/many_parameters.txt: {name} needs no exception." for name in sorted(set(listed) - over)])
    report([f"tests/tidy/many_parameters.txt: {name} has no reason." for name, why in listed.items() if not why])
