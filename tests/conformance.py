"""Makes docs/conformance.md from the C tests: which scenario is held where, which statuses are provoked by name.

The tests say it themselves by ``HELD(...)`` and ``REPLACED(...)`` (tests/native/scenario.h); the titles stand in
tests/native/scenarios.txt. Nothing is run here. ``python tests/conformance.py`` writes the page, and
tests/tidy/test_conformance.py fails while it is stale or a scenario is named nowhere.
"""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGE", "Proof", "main", "page", "proofs", "statuses", "titles"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "conformance.md"
NATIVE = ROOT / "tests" / "native"
CODE = ROOT / "csrc"

MARK = re.compile(r'\b(HELD|REPLACED)\(\s*((?:"[^"]*"\s*)+)(?:,\s*((?:"[^"]*"\s*)+))?\)')
IDS = re.compile(r"\b(C[SD])-(\d+)\b")
STATUS = re.compile(r"\bKVS_E_([A-Z0-9_]+)\b")
RULE_NUMBERS = re.compile(r"^(?:(?:design [\d.]+|[DW]\d+)(?:, | and )?)+: ")
LAYERS = ("base", "media", "store", "wire", "machine", "engine")

HEAD = """# Conformance

Made by `python tests/conformance.py` from the C tests; do not edit. A scenario is something that a producer core has to
do, numbered once (CS: states and sessions, CD: data). Each row names the tests that show it and their level: **view**
(content store and view alone), **kvspic.h** (the core), **pic.h** (the field's names over it). *Held* means as the
scenario says. *Replaced* means that another rule stands in its place, and that rule is what the test shows; several
scenarios of the first producer libraries encode what kvspic does differently on purpose:

- a new session starts at the oldest frame that is not done, never by a replay duration;
- a stream that failed is FAILED, visible with its cause, keeps its store and goes on taking frames;
- authentication and bad arguments are final in every state, tags are optional;
- realtime gives up the oldest whole fragments, never the one that is being sent;
- pressure is an event when it begins and when it ends, and a counter; idle work happens by a deadline and a poke.
"""


@dataclass(frozen=True)
class Proof:
    """One test that shows a scenario: ``rule`` is empty where it holds as written."""

    level: str
    rule: str
    test: str


def text_of(literals: str) -> str:
    """The text of adjacent C string literals."""
    return "".join(re.findall(r'"([^"]*)"', literals))


def level_of(path: Path) -> str:
    """The level that a test file speaks at."""
    if path.parent.name == "pic":
        return "pic.h"
    return "view" if path.name.startswith("test_store") else "kvspic.h"


def titles() -> dict[str, str]:
    """Every scenario there is, with what it is about."""
    lines = (NATIVE / "scenarios.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if line)


def proofs() -> dict[str, list[Proof]]:
    """Every scenario that a test names, with the tests that do."""
    found: dict[str, list[Proof]] = {}
    for path in sorted([*NATIVE.glob("test_*.c"), *NATIVE.glob("pic/test_*.c")]):
        for verdict, ids, rule in MARK.findall(path.read_text(encoding="utf-8")):
            words = RULE_NUMBERS.sub("", text_of(rule)) if verdict == "REPLACED" else ""
            proof = Proof(level_of(path), words, path.relative_to(NATIVE).with_suffix("").as_posix())
            for kind, number in IDS.findall(text_of(ids)):
                found.setdefault(f"{kind}-{number}", []).append(proof)
    return found


def statuses() -> list[tuple[str, list[str], list[str]]]:
    """Every status of the table: name, the layers that return it, the tests that name it."""
    table = (CODE / "include" / "kvspic_status.h").read_text(encoding="utf-8")
    layers = {layer: names_in((CODE / layer).glob("*.c")) for layer in LAYERS}
    tests = {path: names_in([path]) for path in sorted([*NATIVE.glob("*.c"), *NATIVE.glob("*.h")])}
    return [
        (
            name,
            [layer for layer in LAYERS if name in layers[layer]],
            [path.stem for path, names in tests.items() if name in names],
        )
        for name in re.findall(r"^ *X\(([A-Z0-9_]+),", table, re.MULTILINE)
    ]


def names_in(paths) -> set[str]:
    """The statuses that occur in these files."""
    return {name for path in paths for name in STATUS.findall(path.read_text(encoding="utf-8"))}


def cell(group: list[Proof]) -> str:
    """What one level says of a scenario."""
    rules = sorted({proof.rule for proof in group if proof.rule})
    verdict = "held" if not rules else "replaced: " + "; ".join(rules)
    tests = sorted({proof.test for proof in group})
    return f"{group[0].level}: {verdict} ({', '.join(f'`{test}`' for test in tests)})"


def row(scenario: str, title: str, named: list[Proof]) -> str:
    """One row of the scenario table."""
    groups = [[proof for proof in named if proof.level == level] for level in ("view", "kvspic.h", "pic.h")]
    cells = [cell(group) for group in groups if group] or ["**open: no test names it**"]
    return f"| {scenario} | {title} | {'<br>'.join(cells)} |"


def count_line(known: dict[str, str], named: dict[str, list[Proof]]) -> str:
    """The sums above the table."""
    held = sum(all(not proof.rule for proof in named.get(scenario, [])) for scenario in known if scenario in named)
    replaced = sum(scenario in named for scenario in known) - held
    by_level = {
        level: sum(any(proof.level == level for proof in named.get(scenario, [])) for scenario in known)
        for level in ("view", "kvspic.h", "pic.h")
    }
    levels = ", ".join(f"{count} at {level}" for level, count in by_level.items())
    return (
        f"{len(known)} scenarios: {held} held, {replaced} replaced at one level or more, "
        f"{len(known) - held - replaced} open; shown {levels}.\n"
    )


def status_lines() -> list[str]:
    """The statuses that no layer returns or that no test names; all others are both."""
    rows = statuses()
    returned = [entry for entry in rows if entry[1]]
    named = [entry for entry in returned if entry[2]]
    missing = [f"`{name}` ({', '.join(layers)})" for name, layers, tests in returned if not tests]
    unused = [f"`{name}`" for name, layers, _ in rows if not layers]
    return [
        "\n## Statuses\n",
        f"{len(rows)} statuses; {len(returned)} are returned by the core, {len(named)} of them are provoked by name.\n",
        f"Returned and named in no test: {', '.join(missing) or 'none'}.\n",
        f"Returned by no layer of the core (kept for pic.h, the facade, or later): {', '.join(unused) or 'none'}.",
    ]


def page() -> str:
    """The whole page."""
    known, named = titles(), proofs()
    lines = [HEAD, count_line(known, named), "| scenario | what | level: verdict (tests) |", "|---|---|---|"]
    lines += [row(scenario, known[scenario], named.get(scenario, [])) for scenario in known]
    return "\n".join([*lines, *status_lines()]) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
