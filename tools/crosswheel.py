"""Builds the wheels of ten platforms on one Linux machine: `make wheels`.

zig (the package ``ziglang``) is the C compiler, because it brings the headers and link libraries of every platform that
is named below. The Python part is the same everywhere, so one wheel of this machine is built first, and its extension
is replaced for each platform. The stable ABI makes one extension right for Python 3.10 and all later ones.
Usage: python tools/crosswheel.py OUT [END-OF-A-PLATFORM-TAG...]
"""

import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["TARGETS", "main"]

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "wheels"
ZIG = [sys.executable, "-m", "ziglang"]
JOBS = 2
TARGETS = {  # platform tag of the wheel -> target of zig; the C library's oldest version is part of both
    "manylinux2014_x86_64.manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux2014_aarch64.manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "manylinux2014_armv7l.manylinux_2_17_armv7l": "arm-linux-gnueabihf.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
    "musllinux_1_2_armv7l": "arm-linux-musleabihf",
    "macosx_11_0_x86_64": "x86_64-macos.11.0",
    "macosx_11_0_arm64": "aarch64-macos.11.0",
    "win_amd64": "x86_64-windows-gnu",
    "win_arm64": "aarch64-windows-gnu",
}
# What Python.h asks of its configuration, for any platform. Each Python ships the one of its own machine.
PYCONFIG = """
#if defined(_WIN32)
#define MS_WINDOWS 1
#define HAVE_DECLSPEC_DLL 1
#define Py_ENABLE_SHARED 1
#define Py_NO_LINK_LIB 1
#endif
#define HAVE_STDDEF_H 1
#define HAVE_STDINT_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_ERRNO_H 1
#define SIZEOF_VOID_P __SIZEOF_POINTER__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_INT __SIZEOF_INT__
#define SIZEOF_LONG_LONG __SIZEOF_LONG_LONG__
#define SIZEOF_WCHAR_T __SIZEOF_WCHAR_T__
#define ALIGNOF_MAX_ALIGN_T __BIGGEST_ALIGNMENT__
"""


def run(*command: object) -> str:
    """Run a program in the project's root; its complaints end this one."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def prepare() -> Path:
    """Lay out what all platforms share, and return the folder of an unpacked wheel without its extension."""
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(sysconfig.get_path("include"), WORK / "include")
    (WORK / "include" / "pyconfig.h").write_text(PYCONFIG)
    runpy.run_path(str(ROOT / "kvspic" / "_ffi_build.py"))["ffibuilder"].emit_c_code(str(WORK / "_native.c"))
    run(sys.executable, "-m", "build", "--outdir", WORK / "here", ".")
    run(sys.executable, "-m", "wheel", "unpack", "--dest", WORK, *(WORK / "here").glob("*.whl"))
    (unpacked,) = WORK.glob("kvspic-*")
    for extension in unpacked.glob("kvspic/_native*"):
        extension.unlink()
    return unpacked


def compile_extension(target: str, out: Path, *more: object) -> None:
    """Compile cffi's file and the core for a target of zig."""
    build = runpy.run_path(str(ROOT / "kvspic" / "_ffi_build.py"))
    macros = [f"-DPy_LIMITED_API={build['LIMITED_API']}"]
    folders = [f"-I{folder}" for folder in (WORK / "include", *build["INCLUDE_DIRS"])]
    flags = ["-std=gnu11", "-O2", "-g0", "-s", "-shared", "-fPIC", "-fvisibility=hidden"]
    sources = [WORK / "_native.c", *build["sources"]()]
    run(*ZIG, "cc", "-target", target, *flags, *macros, *folders, *sources, *more, "-o", out)


def windows_libraries(target: str, folder: Path) -> list[object]:
    """Make an import library of python3.dll with all names of Python's headers; what is not used leaves no trace."""
    texts = [header.read_text(encoding="utf-8") for header in (WORK / "include").glob("*.h")]
    names = sorted({name for text in texts for name in re.findall(r"\b_?Py\w+", text)})
    (folder / "python3.def").write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *names]) + "\n")
    machine = "arm64" if target.startswith("aarch64") else "i386:x86-64"
    run(*ZIG, "dlltool", "-m", machine, "-d", folder / "python3.def", "-l", folder / "python3.lib")
    return [folder / "python3.lib", "-lws2_32"]


def make_wheel(unpacked: Path, tag: str, out: Path) -> str:
    """Build the wheel of one platform and return its file's name."""
    folder, target = WORK / tag, TARGETS[tag]
    shutil.copytree(unpacked, folder / unpacked.name)
    is_windows = target.endswith("windows-gnu")
    more = windows_libraries(target, folder) if is_windows else []
    if "macos" in target:
        more = ["-Wl,-undefined,dynamic_lookup"]
    name = "_native.pyd" if is_windows else "_native.abi3.so"
    compile_extension(target, folder / unpacked.name / "kvspic" / name, *more)
    run(sys.executable, "-m", "wheel", "pack", "--dest", folder, folder / unpacked.name)
    (packed,) = folder.glob("*.whl")
    named = run(sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag, packed).split()[-1]
    shutil.copy(folder / named, out)
    return named


def main(arguments: list[str]) -> None:
    """Build the wheels of the named platforms, or of all, and the source archive beside them."""
    out, ends = Path(arguments[0]).resolve(), tuple(arguments[1:])
    tags = [tag for tag in TARGETS if not ends or tag.endswith(ends)]
    if not tags:
        sys.exit(f"No platform tag ends with any of {ends}. There are: {', '.join(TARGETS)}")
    out.mkdir(parents=True, exist_ok=True)
    unpacked = prepare()
    with ThreadPoolExecutor(JOBS) as pool:
        for name in pool.map(lambda tag: make_wheel(unpacked, tag, out), tags):
            print(name, flush=True)
    for archive in (WORK / "here").glob("*.tar.gz"):
        shutil.copy(archive, out)


if __name__ == "__main__":
    main(sys.argv[1:])
