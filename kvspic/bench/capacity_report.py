"""The page of a capacity search: the answer, what each number of cameras measured, and the curve (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kvspic.bench.page import document, figures_table, plot, said, section_of_plots, tiles, title_line

__all__ = ["capacity_page"]


def capacity_page(value: Mapping[str, Any]) -> str:
    """Return the page of what ``kvspic bench capacity --json`` prints."""
    curve = sorted(value["curve"], key=lambda one: one["streams"])
    best: dict[int, Mapping[str, Any]] = {one["streams"]: one for one in curve}
    at, found = list(best), list(best.values())
    late = [("LATE p99", [one["late_p99_ms"] for one in found]), ("PUT p99", [one["put_p99_ms"] for one in found])]
    cpu = [
        ("load and producer", [one["cpu_percent"] for one in found]),
        ("endpoint here", [one["endpoint_cpu_percent"] for one in found]),
        ("other programs", [one["other_cpu_percent"] for one in found]),
    ]
    persisted = [one["persisted_p99_ms"] for one in found]
    memory = [one["rss_bytes"] / 1e6 for one in found]
    plots = [
        plot("late", "Late, and put since due, ms", "cameras", at, late),
        plot("cpu", "Processors, % of all cores", "cameras", at, cpu),
        plot("persisted", "Fragment end to persisted, p99, ms", "cameras", at, [("PERS p99", persisted)]),
        plot("rss", "Memory of load and producer, MB", "cameras", at, [("RSS", memory)]),
    ]
    names = ["cameras", "offered", "missing", "dropped", "LATE p99, ms", "PUT p99, ms", "PERS p99, ms", "oldest, s"]
    names += ["growth, %", "CPU, %", "endpoint, %", "others, %", "RSS, MB"]
    rows = [
        [
            one["streams"], one["offered"], one["missing"], one["dropped"], round(one["late_p99_ms"], 2),
            round(one["put_p99_ms"], 2), round(one["persisted_p99_ms"], 1), round(one["lag_s"], 1),
            round(100 * one["growth"], 2), round(one["cpu_percent"], 1), round(one["endpoint_cpu_percent"], 1),
            round(one["other_cpu_percent"], 1), round(one["rss_bytes"] / 1e6, 1),
        ]
        for one in value["curve"]
    ]  # fmt: skip
    body = [
        title_line("Capacity", f"{value['streams']} cameras", value["streams"] > 0),
        said("good" if value["streams"] else "bad", value["line"]),
        tiles([(f"{value['streams']:,}", "cameras held"), *((words, "broken beyond") for words in value["limits"])]),
        section_of_plots(plots),
        figures_table("Each trial, in order", names, rows),
    ]
    return document("Capacity", body, plots)
