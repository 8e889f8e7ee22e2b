"""What ``import kvspic`` costs: time in a fresh process, and which of the large modules it loads (goal: none).

The time is that of the import statement alone, best of several processes, byte code cached.
"""

from __future__ import annotations

import subprocess
import sys

from report import say

__all__: list[str] = []

RUNS = 12
LARGE = ("boto3", "botocore", "av", "requests", "asyncio", "ssl", "h11", "numpy", "aiohttp")
CODE = f"""
import sys, time
begin = time.perf_counter_ns()
import kvspic
print((time.perf_counter_ns() - begin) / 1e6, *[name for name in {LARGE!r} if name in sys.modules])
"""


def main() -> None:
    best_ms, loaded = float("inf"), set[str]()
    for _ in range(RUNS):
        words = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()
        best_ms = min(best_ms, float(words[0]))
        loaded.update(words[1:])
    say("import kvspic", best_ms, "ms", 40, loads=sorted(loaded))


if __name__ == "__main__":
    main()
