"""The rules for Python, each a function from modules (path -> source text) to findings."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 6
NESTING_MAX = 3

# What touches the world: a module that imports one of these is listed in impure.txt. The first line is the rule of the
# architecture map, the second what would get around it.
WORLD = {
    "asyncio", "socket", "ssl", "threading", "time", "random", "os",
    "_thread", "concurrent", "multiprocessing", "secrets", "select", "selectors", "signal", "subprocess", "tempfile",
}  # fmt: skip

# Rule 4: a row may be used by the rows above it, never the other way round.
ORDER = [
    {"kvspic.cli", "kvspic.__main__"},
    {"kvspic.producer", "kvspic.stream", "kvspic"},
    {"kvspic.driver"},
    {"kvspic.spool"},
    {"kvspic.core"},
    {"kvspic._lib", "kvspic.errors", "kvspic.retry", "kvspic.types"},
]
ABOVE_LIB = {"kvspic.core", "kvspic.spool", "kvspic.driver", "kvspic.stream", "kvspic.producer", "kvspic.cli"}
# What else keeps apart: (folder or module, what it must not use, remedy).
APART = [
    (
        "kvspic.local",
        {"kvspic._lib", "kvspic._native", "kvspic.actions", "kvspic.provider", "kvspic.sources", *ABOVE_LIB},
        "The endpoint shares no code with the producer: a shared mistake would agree with itself.",
    ),
    (
        "kvspic.provider",
        {"kvspic._lib", "kvspic.local", "kvspic.sources", *ABOVE_LIB},
        "A provider does what an action asks for and answers; the driver joins it to the core.",
    ),
    (
        "kvspic.sources",
        {"kvspic._lib", "kvspic.local", "kvspic.provider", *ABOVE_LIB},
        "A source yields frames and does not know who takes them.",
    ),
    ("kvspic.spool", {"kvspic.local", "kvspic.provider", "kvspic.sources"}, "A spool knows files and the core."),
    ("kvspic.driver", {"kvspic.local"}, "The driver speaks to any endpoint; the command line starts the local one."),
    ("kvspic.producer", {"kvspic.local"}, "The facade speaks to any endpoint; the command line starts the local one."),
]  # fmt: skip

BUILT = {"kvspic", "kvspic._enums", "kvspic._native"}  # what is there beside the files that git knows
DOWNWARDS = "Take what you need as an argument, or move it down."
Modules = dict[str, str]


def module_name(path: str) -> str:
    """Dotted name of the module at ``path``."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name: str, group: set[str]) -> bool:
    """Whether module ``name`` is one of ``group`` or lies in a package of it; the root package has only itself."""
    return any(name == member or (member != "kvspic" and name.startswith(member + ".")) for member in group)


def parsed(texts: Modules) -> Iterator[tuple[str, str, ast.Module]]:
    """(path, module name, syntax tree) of each module."""
    for path, text in texts.items():
        yield path, module_name(path), ast.parse(text, path)


def imports(tree: ast.Module, module: str, path: str, *, types: bool) -> Iterator[tuple[int, str]]:
    """Each imported name as (line, dotted name), those inside functions too, those for type checkers if ``types``."""
    package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
    hidden = {id(node) for test in ast.walk(tree) if for_types(test) for node in ast.walk(test)}
    for node in ast.walk(tree):
        if not types and id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def for_types(node: ast.AST) -> bool:
    """Whether ``node`` is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def resolved(name: str, known: set[str]) -> str:
    """The module of ours that an imported dotted name means: itself, or the module that has the attribute."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def purity(texts: Modules, impure: set[str] = frozenset()) -> list[str]:
    """Rule 3: only modules listed in impure.txt import what touches the world."""
    return [
        f"{path}:{line}: {module} is pure and must not import {name.partition('.')[0]}. Take bytes, now_hns or a "
        "seeded generator as arguments; or, if its work is to touch the world, list it in tests/tidy/impure.txt."
        for path, module, tree in parsed(texts)
        if module not in impure
        for line, name in imports(tree, module, path, types=False)
        if name.partition(".")[0] in WORLD
    ]


def impure_in_vain(texts: Modules, impure: set[str]) -> list[str]:
    """Rule 3: the list names no module that is gone or has become pure."""
    needed = {
        module
        for path, module, tree in parsed(texts)
        for _, name in imports(tree, module, path, types=False)
        if name.partition(".")[0] in WORLD
    }
    vain = sorted(impure - needed)
    return [f"tests/tidy/impure.txt: {module} is gone or touches nothing. Take it off the list." for module in vain]


def order(texts: Modules) -> list[str]:
    """Rule 4: ``_lib <- core <- spool <- driver <- producer <- cli``."""
    known = {module_name(path) for path in texts} | BUILT
    findings = []
    for path, module, tree in parsed(texts):
        row = next((index for index, group in enumerate(ORDER) if within(module, group)), None)
        for line, name in imports(tree, module, path, types=True):
            found = resolved(name, known)
            above = next((index for index, group in enumerate(ORDER) if within(found, group)), None)
            if row is not None and above is not None and above < row:
                findings.append(f"{path}:{line}: {module} must not use {found}, which stands above it. {DOWNWARDS}")
    return findings


def apart(texts: Modules) -> list[str]:
    """Rule 4: what shares no code."""
    known = {module_name(path) for path in texts} | BUILT
    return [
        f"{path}:{line}: {module} must not use {found}. {remedy}"
        for path, module, tree in parsed(texts)
        for part, others, remedy in APART
        if within(module, {part})
        for line, name in imports(tree, module, path, types=True)
        for found in [resolved(name, known | others)]
        if within(found, others) or (found == "kvspic" and name != "kvspic")
    ]


def native(texts: Modules) -> list[str]:
    """Rule 4: one module owns the boundary to C."""
    return [
        f"{path}:{line}: only kvspic._lib imports kvspic._native. Import what you need from kvspic._lib."
        for path, module, tree in parsed(texts)
        if module != "kvspic._lib"
        for line, name in imports(tree, module, path, types=True)
        if name.startswith("kvspic._native")
    ]


def testing(texts: Modules) -> list[str]:
    """The package works without its test helpers; one command is there to run them."""
    return [
        f"{path}:{line}: {module} must not use kvspic.testing, which is for tests. Move what both need."
        for path, module, tree in parsed(texts)
        if not within(module, {"kvspic.testing", "kvspic.commands.simulate"})
        for line, name in imports(tree, module, path, types=True)
        if within(name, {"kvspic.testing"})
    ]


def waits(texts: Modules) -> list[str]:
    """No wait without a limit but that of kvspic.threads, which comes in pieces: Windows hears Ctrl-C between them."""
    findings = []
    for path, module, tree in parsed(texts):
        inner = ast.Await | ast.Call  # a coroutine that is awaited, or given to asyncio
        others = {id(part) for node in ast.walk(tree) if isinstance(node, inner) for part in ast.iter_child_nodes(node)}
        for node in ast.walk(tree):
            if module == "kvspic.threads" or not is_endless(node) or id(node) in others:
                continue
            findings.append(
                f"{path}:{node.lineno}: {ast.unparse(node)[:60]} blocks Ctrl-C on Windows. Use join, result_of or "
                "in_pieces of kvspic.threads."
            )
    return findings


def is_endless(node: ast.AST) -> bool:
    """Whether ``node`` is ``x.join()``, ``x.wait()``, or ``result()`` of what was given to a loop of another thread."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)) or node.args or node.keywords:
        return False
    if node.func.attr == "result":
        return "run_coroutine_threadsafe" in ast.unparse(node.func.value)
    return node.func.attr in ("join", "wait")


def public_names(texts: Modules) -> list[str]:
    """Each module says in ``__all__``, sorted, what it offers; an empty list where it offers nothing."""
    findings = []
    for path, _, tree in parsed(texts):
        found = [value for node in tree.body for value in [assigned_to_all(node)] if value is not None]
        if not found:
            findings.append(f"{path}: no __all__. List the names it offers, or write __all__: list[str] = [].")
        elif found[0] != sorted(set(found[0]), key=rank):
            findings.append(f"{path}: __all__ is not sorted. Write it as {sorted(set(found[0]), key=rank)}.")
    return findings


def rank(name: str) -> tuple[int, list[tuple[str, int]]]:
    """Sort key of a public name, the order that ruff writes: CONSTANTS, Classes, functions; numbers by their value."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def assigned_to_all(node: ast.stmt) -> list[str] | None:
    """The literal list that ``node`` assigns to ``__all__``, if it does."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
        return None
    return list(ast.literal_eval(node.value))


def docstrings(texts: Modules) -> list[str]:
    """Each module says what it is."""
    return [
        f"{path}:1: no module docstring. Say what this is, what it is not, and what always holds."
        for path, _, tree in parsed(texts)
        if not ast.get_docstring(tree)
    ]


def functions(texts: Modules) -> Iterator[tuple[str, str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(path, module.name, definition) of each function and method."""
    for path, module, tree in parsed(texts):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, f"{module}.{node.name}", node


def function_length(texts: Modules) -> list[str]:
    """A function has at most 70 lines, its docstring included."""
    return [
        f"{path}:{node.lineno}: {name} has {node.end_lineno - node.lineno + 1} lines, {FUNCTION_LINES_MAX} at most. "
        "Name a part of it and move that out."
        for path, name, node in functions(texts)
        if node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]


def parameters(texts: Modules, excepted: set[str] = frozenset()) -> list[str]:
    """A function has at most 6 parameters besides self."""
    findings = []
    for path, name, node in functions(texts):
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        count = len([arg for index, arg in enumerate(given) if index or arg.arg not in ("self", "cls")])
        if count > PARAMETERS_MAX and name not in excepted:
            findings.append(
                f"{path}:{node.lineno}: {name} has {count} parameters, {PARAMETERS_MAX} at most. Pass a dataclass, or "
                "list it with its reason in tests/tidy/many_parameters.txt."
            )
    return findings


def nesting(texts: Modules) -> list[str]:
    """At most 3 of ``if for while try match`` lie within each other; ``with`` and ``elif`` do not count."""
    return [
        f"{path}:{node.lineno}: {name} nests {depth(node.body)} deep, {NESTING_MAX} at most. Return early, or "
        "move the inner loop out."
        for path, name, node in functions(texts)
        if depth(node.body) > NESTING_MAX
    ]


def depth(body: list[ast.stmt]) -> int:
    """Control statements around the innermost statement of ``body``; inner functions count on their own."""
    return max((depth_of(node) for node in body), default=0)


def depth_of(node: ast.AST) -> int:
    """The same for one statement, itself included."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return 0
    blocks = ast.stmt | ast.excepthandler | ast.match_case
    inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, blocks)]
    if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return max(1 + depth(node.body), depth_of(node.orelse[0]))
    counts = isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While | ast.Try | ast.Match)
    return counts + max((depth_of(child) for child in inner), default=0)
