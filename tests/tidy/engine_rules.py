"""The layers of csrc/engine: which file is of which, what of a stream it may touch, whom it may call."""

import re
from pathlib import PurePosixPath

from tidy import c_code

# Lowest first: name of the layer (its header is named like it), its files, and what they keep of struct kvs_stream.
LAYERS = [
    ("client", {"client.c", "client.h", "format.c", "format.h", "heap.c", "names.c", "queue.c", "state.h"},
     {"client", "host", "lock", "writer", "mode", "limits", "prng", "member", "named", "timer", "out"}),
    ("ledger", {"ledger.c", "ledger.h", "lend.c"}, {"chain", "view", "order", "ledger", "lents"}),
    ("uploads", {"uploads.c", "uploads.h", "formats.c", "pace.c", "read.c", "stale.c", "unsent.c"},
     {"uploads", "formats", "pace"}),
    ("packer", {"packer.h", "package.c", "parts.c", "pressure.c", "put.c", "put.h", "room.c", "times.c", "times.h"},
     {"track_count", "tracks", "metadata", "generator", "packer", "opening", "pressure"}),
    ("stream", {"stream.c", "stream.h", "ack.c", "answer.c", "frame.c", "gate.c", "machine.c", "metrics.c", "poke.c",
                "recovery.c", "settle.c", "tags.c", "transfer.c", "validate.c", "validate.h"}, {"machine"}),
]  # fmt: skip
LAYER_OF = {name: number for number, (_, names, _) in enumerate(LAYERS) for name in names}
PART_OF = {part: number for number, (_, _, parts) in enumerate(LAYERS) for part in parts}
DATA = "state.h"  # what all layers keep, in one place; it includes types only
PART = re.compile(r"\bstream->(\w+)")
COUNTING = re.compile(
    r"\bmetrics(?:\.|->)((?:frames|bytes)_(?:put|done|dropped|buffered))\b[^;=!<>]*(?:[-+]?=(?!=)|\+\+|--)"
)
LEDGER = {"ledger.c", "ledger.h"}


def engine(texts: dict[str, str]) -> dict[str, str]:
    """The files of csrc/engine by name."""
    return {PurePosixPath(path).name: text for path, text in texts.items() if path.startswith("csrc/engine/")}


def _name(number: int) -> str:
    return LAYERS[number][0]


def placed(texts: dict[str, str]) -> list[str]:
    """Every file has a layer."""
    return [
        f"csrc/engine/{name} has no layer. Put it into LAYERS and into docs/architecture.md."
        for name in engine(texts)
        if name not in LAYER_OF
    ]


def included(texts: dict[str, str]) -> list[str]:
    """A file includes headers of its own layer and of lower ones."""
    findings = []
    for name, text in engine(texts).items():
        for line, target, _ in c_code.includes(text):
            if name == DATA or not target.startswith("engine/"):
                continue
            other = LAYER_OF.get(target.removeprefix("engine/"), 0)
            if other > LAYER_OF.get(name, len(LAYERS)):
                findings.append(
                    f"csrc/engine/{name}:{line}: a file of layer {_name(LAYER_OF[name])} must not include {target}. "
                    "Return what the higher layer has to know."
                )
    return findings


def touched(texts: dict[str, str]) -> list[str]:
    """A file names no part of a stream that a higher layer keeps."""
    return [
        f"csrc/engine/{name}:{number}: stream->{part} is the layer {_name(PART_OF[part])}'s. Take what is needed of it "
        "as an argument."
        for name, text in engine(texts).items()
        for number, line in enumerate(c_code.blank(text).splitlines(), 1)
        for part in PART.findall(line)
        if name in LAYER_OF and PART_OF.get(part, 0) > LAYER_OF[name]
    ]


def counted(texts: dict[str, str]) -> list[str]:
    """Only the ledger counts what becomes of frames."""
    return [
        f"csrc/engine/{name}:{number}: only the ledger changes {count}. Call ledger_put, ledger_drop or ledger_done."
        for name, text in engine(texts).items()
        for number, line in enumerate(c_code.blank(text).splitlines(), 1)
        for count in COUNTING.findall(line)
        if name not in LEDGER
    ]


def calls(texts: dict[str, str]) -> dict[tuple[str, str], str]:
    """Which file calls which: (caller, callee) -> one function that it calls."""
    sources = {name: c_code.blank(text) for name, text in engine(texts).items() if name.endswith(".c")}
    home = {}
    for name, text in sources.items():
        for function in c_code.functions(texts[f"csrc/engine/{name}"]):
            if not re.search(rf"^static\b[^;{{}}]*\b{function.name}\(", text, re.MULTILINE):
                home[function.name] = name
    return {
        (name, home[word]): word
        for name, text in sources.items()
        for word in re.findall(r"\b(\w+)\(", text)
        if word in home and home[word] != name
    }


def called(texts: dict[str, str]) -> list[str]:
    """No call goes to a higher layer, and no two files call each other, nor do more of them in a ring."""
    edges = calls(texts)
    findings = [
        f"csrc/engine/{caller}: calls {word} of the higher layer {_name(LAYER_OF[callee])} ({callee}). Return an event."
        for (caller, callee), word in edges.items()
        if LAYER_OF.get(caller, 0) < LAYER_OF.get(callee, 0)
    ]
    left = {caller for caller, _ in edges}
    while True:  # a file that calls none that is left leaves; a ring stays
        leaving = {name for name in left if not any(a == name and b in left for a, b in edges)}
        if not leaving:
            break
        left -= leaving
    ring = sorted((caller, callee) for caller, callee in edges if caller in left and callee in left)
    if ring:
        findings.append(f"csrc/engine: files that call each other in a ring: {ring}. Move down what both need.")
    return findings
