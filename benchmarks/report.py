"""The form of a figure: one line of JSON on standard output, collected by run.py. The C programs print the same."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["say"]


def say(figure: str, value: float, unit: str, goal: float = 0, **more: Any) -> None:
    """Print a figure; goal 0 means that there is none."""
    line: dict[str, Any] = {"figure": figure, "value": float(f"{value:.4g}"), "unit": unit}
    if goal:
        line["goal"] = goal
    print(json.dumps(line | more), flush=True)
