"""Ends the commands of an agent that was killed: ``python -m kvspic.bench.leash``, a child of ``engines.py``.

It reads the numbers of their process groups. When its input ends, the agent is gone, and it kills them all; an agent
that ends in order kills it first.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Wait for the end of standard input, then kill."""
    groups = [int(json.loads(line)["group"]) for line in sys.stdin]
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
