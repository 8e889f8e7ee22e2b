"""Says whether pip would take an installed wheel of kvspic on this Python: its tags, and the packages that it asks for.

.ci/wheel-test runs it by an emulated Python, where pip itself takes a minute; pip's wheel has to be on PYTHONPATH.
Usage: python tools/wheelfits.py WHEEL [EXTRA...]
"""

import os
import sys
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.tags import sys_tags
from pip._vendor.packaging.utils import parse_wheel_filename

__all__ = ["main", "missing"]


def missing(extras: list[str]) -> list[str]:
    """Return what kvspic asks for, with these extras, and this Python does not have in that version."""
    lacks = []
    for line in metadata.requires("kvspic") or ():
        wanted = Requirement(line)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        if wanted.name == "kvspic":
            lacks += missing(sorted(wanted.extras))
        elif metadata.version(wanted.name) not in wanted.specifier:
            lacks.append(f"{line}: here is {metadata.version(wanted.name)}")
    return lacks


def main(wheel: str, *extras: str) -> None:
    """End with 1 and a sentence where the wheel does not fit."""
    # packaging reads the processor's rules from the interpreter's file, and under qemu the one on record is a script.
    sys.executable = os.readlink("/proc/self/exe")
    tags = parse_wheel_filename(Path(wheel).name)[3]
    if tags.isdisjoint(sys_tags()):
        sys.exit(f"No tag of {Path(wheel).name} is one of this Python's: {next(iter(sys_tags()))} and older.")
    if lacks := missing(list(extras)):
        sys.exit("\n".join(lacks))


if __name__ == "__main__":
    main(*sys.argv[1:])
