"""What no public checker asks of our wheels: `make wheel-check` runs it (.ci/wheel-check).

Each wheel has one extension, stripped and small, and no functions that only tests use. What the extension asks of the
system is in any installation of it: musl's libc.so alone (auditwheel knows musl only on a machine that runs it), DLLs
of Windows and of Python alone.
Usage: python tools/wheelcheck.py WHEEL...
"""

import io
import sys
import zipfile
from pathlib import Path

import pefile
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

__all__ = ["faults", "main"]

EXTENSION_MAX = 600_000  # bytes, as in tests/tidy/test_release.py
WINDOWS_DLLS = {"advapi32.dll", "bcrypt.dll", "kernel32.dll", "python3.dll", "ws2_32.dll"}
WINDOWS_RUNTIME = "api-ms-win-crt-"
TEST_ONLY = b"_internals"


def elf_faults(data: bytes, wheel: str) -> list[str]:
    """Return what is wrong with the extension of a Linux wheel."""
    elf = ELFFile(io.BytesIO(data))
    faults = [f"has the section {name}" for name in (".symtab", ".debug_info") if elf.get_section_by_name(name)]
    dynamic = elf.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)
    needed = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}
    if "musllinux" in wheel and needed != {"libc.so"}:
        faults.append(f"needs {sorted(needed)}, and may need libc.so only")
    return faults


def pe_faults(data: bytes) -> list[str]:
    """Return what is wrong with the extension of a Windows wheel."""
    image = pefile.PE(data=data)
    needed = {entry.dll.decode().lower() for entry in image.DIRECTORY_ENTRY_IMPORT}
    strange = {name for name in needed - WINDOWS_DLLS if not name.startswith(WINDOWS_RUNTIME)}
    return [f"needs {sorted(strange)}, which a fresh Windows may not have"] if strange else []


def faults(path: Path) -> list[str]:
    """Return what is wrong with a wheel, a sentence each."""
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.endswith((".so", ".pyd", ".dylib"))]
        if len(names) != 1 or not names[0].startswith("kvspic/_native."):
            return [f"has {names}, and may have kvspic/_native alone"]
        data = wheel.read(names[0])
    found = [f"is {len(data)} bytes, more than {EXTENSION_MAX}"] if len(data) > EXTENSION_MAX else []
    if TEST_ONLY in data:
        found.append("has functions that only tests use")
    if data.startswith(b"\x7fELF"):
        found += elf_faults(data, path.name)
    elif data.startswith(b"MZ"):
        found += pe_faults(data)
    return [f"{names[0]} {fault}" for fault in found]


def main(paths: list[str]) -> None:
    """Print what is wrong with each wheel and end with 1, or one line if nothing is."""
    wrong = [f"{Path(path).name}: {fault}" for path in paths for fault in faults(Path(path))]
    if wrong or not paths:
        sys.exit("\n".join(wrong) or "There is no wheel to check: make wheels")
    print(f"{len(paths)} wheels: one small extension each, which needs the system alone")


if __name__ == "__main__":
    main(sys.argv[1:])
