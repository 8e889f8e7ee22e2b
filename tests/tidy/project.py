"""Where the project's files are. A finding is one line of text: place, what is wrong, what to do about it."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".venv", "build", "dist", "__pycache__", "kvspic-data"}

# The field's header and its callback types follow other people's shapes, not our limits.
EXEMPT = ("csrc/include/pic", "csrc/include/com/", "csrc/pic/pic_")
# Written by a generator, from a file beside it: no rule about how we write is for them.
GENERATED = {"kvspic/bench/proto/bench_pb2.py"}


def files() -> list[Path]:
    """All files that belong to the project, relative to its root: what git knows or would add, else what lies there."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        found = [Path(name) for name in listing.stdout.split("\0") if name]
    else:
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
    return sorted(path for path in found if (ROOT / path).is_file() and not SKIPPED & set(path.parts))


def sources(*suffixes: str, under: str = "") -> dict[str, str]:
    """Text of each file with one of ``suffixes`` below the folder ``under``, by its path."""
    paths = [path.as_posix() for path in files() if path.suffix in suffixes]
    return {
        path: (ROOT / path).read_text(encoding="utf-8")
        for path in paths
        if path.startswith(under) and path not in GENERATED
    }


def limited(texts: dict[str, str]) -> dict[str, str]:
    """``texts`` without the files that are exempt from the limits."""
    return {path: text for path, text in texts.items() if not path.startswith(EXEMPT)}


def entries(name: str) -> dict[str, str]:
    """Lines ``word  # reason`` of a list beside this file, as word -> reason."""
    lines = [line.partition("#") for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()]
    return {word.strip(): reason.strip() for word, _, reason in lines if word.strip()}


def report(findings: list[str]) -> None:
    """Fail with all findings of a rule, one a line."""
    assert not findings, "\n" + "\n".join(findings)
