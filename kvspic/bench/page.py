"""The report as one HTML file that opens without a network: numbers as text, plots by uPlot, which is inlined .

Every string of a run is escaped here or goes into the JSON of the plots, which no parser of HTML takes for markup.
"""

from __future__ import annotations

import functools
import html
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kvspic.bench.histogram import HistogramError, Histograms

__all__ = [
    "Plot", "document", "figures_table", "plot", "run_page", "said", "section_of_plots", "tiles", "title_line",
]  # fmt: skip

Plot = dict[str, Any]
WEB = Path(__file__).resolve().parents[1] / "web"
PERCENTILES = (50, 90, 99, 99.9, 99.99)
SPREAD_WIDTH, SPREAD_ROW = 900, 18


def run_page(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of a run: ``result.json`` and the rows of ``perf_log.tsv``."""
    plots = [*_second_plots(rows), *_percentile_plot(result)]
    begun = f"{datetime.fromtimestamp(result['begun_s'], timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    word = "completed" if result["exit_code"] == 0 else f"exit code {result['exit_code']}"
    body = [
        title_line(result["name"], word, result["exit_code"] == 0),
        f'<p class="sub">{_text(begun)}, {_agents(len(result["agents"]))}, run {_text(result["run_id"])}</p>',
        *(said("bad", words) for words in dict.fromkeys([result["reason"], *result["broken"]]) if words),
        "" if result["comparable"] else said("warn", "The agents did not start together: compare this run with none."),
        tiles(_run_tiles(result)),
        section_of_plots(plots),
        _starts(result["agents"]),
        figures_table("Agents", *_agent_rows(result["agents"])),
        figures_table("Latency", *_latency_rows(result["latency"])),
        figures_table("What was allowed", *_limit_rows(result)) if result["limits"] else "",
    ]
    return document(result["name"], body, plots)


def document(title: str, body: Iterable[str], plots: Sequence[Plot]) -> str:
    """Return a whole page."""
    data = json.dumps(plots).replace("<", "\\u003c")
    style = _file("vendor/uPlot.min.css") + _file("bench/report.css")
    script = _file("vendor/uPlot.iife.min.js")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:\">"
        f'<title>{_text(title)}</title><link rel="icon" href="data:,"><style>{style}</style></head>\n'
        f"<body><main>{''.join(body)}</main>\n"
        f"<!-- uPlot, which draws the plots:\n{_file('vendor/uPlot-LICENSE')}\n-->\n"
        f'<script type="application/json" id="plots">{data}</script>\n'
        f"<script>{script}</script><script>{_file('bench/report.js')}</script></body></html>\n"
    )


def plot(name: str, title: str, x: str, at: Sequence[float], lines: Iterable[tuple[str, Sequence[Any]]]) -> Plot:
    """Return a plot: ``lines`` are (label, values), one value for each of ``at``, None where there is none."""
    return {
        "id": f"plot-{name}", "title": title, "x": x, "at": list(at),
        "lines": [{"label": label, "values": list(values)} for label, values in lines],
    }  # fmt: skip


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Return figures in large letters: (figure, words)."""
    made = (f'<div class="tile"><b>{_text(figure)}</b><span>{_text(words)}</span></div>' for figure, words in figures)
    return f'<div class="tiles">{"".join(made)}</div>'


def figures_table(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a card with a table; long text stands left, numbers right."""
    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    inner = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return _card(title, inner)


def title_line(title: str, word: str, is_good: bool) -> str:
    """Return the head of a page: its title, and a word in a badge."""
    kind = "good" if is_good else "bad"
    return f'<header><h1>{_text(title)}</h1><span class="badge {kind}">{_text(word)}</span></header>'


def said(kind: str, words: str) -> str:
    """Return a sentence in a box; ``kind``: good, warn, bad."""
    return f'<p class="said {kind}">{_text(words)}</p>'


def _card(title: str, inner: str) -> str:
    return f'<section class="card"><h2>{_text(title)}</h2>{inner}</section>'


def section_of_plots(plots: Iterable[Plot]) -> str:
    """Return the places where the script draws the plots."""
    made = (_card(one["title"], f'<div id="{one["id"]}"></div>') for one in plots)
    return f'<div class="plots">{"".join(made)}</div>'


def _run_tiles(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    rates, frames, spread = result["rates"], result["frames"], result["start_spread_us"]
    p99 = {kind: classes["ALL"]["p99_us"] for kind, classes in result["latency"].items()}
    made = [
        (f"{rates['frames_per_s']:,.1f}", f"frames a second (longest agent's time: {rates['frames_per_s_wall']:,.1f})"),
        (f"{rates['mib_per_s']:,.2f}", f"MiB a second (longest agent's time: {rates['mib_per_s_wall']:,.2f})"),
        (f"{frames['persisted']:,} of {frames['put']:,}", "frames persisted, of those put"),
        (f"{frames['dropped']:,}", "frames dropped"),
    ]
    words = {"LATE": "late, p99", "PUT": "put since due, p99", "PERS": "fragment end to persisted, p99"}
    made += [(_duration(p99[kind]), name) for kind, name in words.items() if kind in p99]
    made.append(("-" if spread is None else _duration(spread), "between first and last start"))
    return made


def _second_plots(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Plots over time; agents are joined by the second in which the controller heard them."""
    measured = [row for row in rows if isinstance(row.get("elapsed_s"), float)]
    if not measured:
        return []
    agents = list(dict.fromkeys(str(row["agent_id"]) for row in measured))
    seconds = sorted({int(row["elapsed_s"]) for row in measured})
    by_second: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in measured:
        by_second[int(row["elapsed_s"])].append(row)

    def worst(name: str, scale: float, needs: str) -> list[float | None]:
        found = ([row[name] / scale for row in by_second[second] if row[needs]] for second in seconds)
        return [max(values, default=None) for values in found]

    def of_agents(value: Any, needs: str = "agent_id") -> list[tuple[str, list[float | None]]]:
        kept: dict[str, dict[int, float]] = {agent: {} for agent in agents}
        for row in measured:
            if row[needs]:
                kept[str(row["agent_id"])][int(row["elapsed_s"])] = value(row)
        return [(agent, [kept[agent].get(second) for second in seconds]) for agent in agents]

    x = "seconds"
    frames = of_agents(lambda row: row["put_iops"])
    total: list[float | None] = [
        sum(values[place] or 0.0 for _, values in frames) for place in range(len(seconds))
    ]  # one row an agent
    lines = frames if len(agents) == 1 else [("all", total), *frames]
    cpu = of_agents(lambda row: row["cpu_user_pct"] + row["cpu_system_pct"], "rss_bytes")
    put = [("p50", worst("put_p50_us", 1e3, "put_ops")), ("p99", worst("put_p99_us", 1e3, "put_ops"))]
    persisted = [(p, worst(f"persisted_{p}_us", 1e3, "persisted")) for p in ("p50", "p99")]
    return [
        plot("frames", "Throughput, frames a second", x, seconds, lines),
        plot("bytes", "Throughput, Mbit/s", x, seconds, of_agents(lambda row: row["put_mbps"] * 8)),
        plot("put", "Put since due, ms, of the slowest agent", x, seconds, put),
        plot("persisted", "Fragment end to persisted, ms, of the slowest agent", x, seconds, persisted),
        plot("cpu", "Processor time, % of one core", x, seconds, cpu),
        plot("rss", "Memory (RSS), MB", x, seconds, of_agents(lambda row: row["rss_bytes"] / 1e6, "rss_bytes")),
    ]


def _percentile_plot(result: Mapping[str, Any]) -> list[Plot]:
    try:
        found = Histograms.from_json(result["hist"])
    except HistogramError:
        return []
    at = list(range(len(PERCENTILES)))
    lines = []
    for kind in ("LATE", "PUT", "RECV", "PERS"):
        one = found.all_sizes(kind)
        if one.counts:
            lines.append((kind, [max(1e-3, value / 1000) for value in one.percentiles(PERCENTILES)]))
    if not lines:
        return []
    made = plot("percentiles", "Latency by percentile, ms", "percentile", at, lines)
    return [{**made, "log": True, "ticks": [[place, f"{percent:g}"] for place, percent in enumerate(PERCENTILES)]}]


def _starts(agents: Sequence[Mapping[str, Any]]) -> str:
    """When each agent began to measure, as dots on a line."""
    known = [agent for agent in agents if agent["started_ns"]]
    if len(known) < 2:
        return ""
    first = min(agent["started_ns"] for agent in known)
    spread = max(agent["started_ns"] for agent in known) - first
    dots, label_width = [], 240
    for place, agent in enumerate(known):
        y = place * SPREAD_ROW + 14
        x = label_width + 10 + (agent["started_ns"] - first) / (spread or 1) * (SPREAD_WIDTH - label_width - 110)
        words = f"+{_duration((agent['started_ns'] - first) / 1000)}"
        dots.append(
            f'<line x1="{label_width}" x2="{SPREAD_WIDTH}" y1="{y}" y2="{y}"/><circle cx="{x:.1f}" cy="{y}" r="5"/>'
            f'<text x="0" y="{y + 4}">{_text(str(agent["id"])[-34:])}</text>'
            f'<text x="{x + 10:.1f}" y="{y - 2}">{_text(words)}</text>'
        )
    size = f'viewBox="0 0 {SPREAD_WIDTH} {len(known) * SPREAD_ROW + 10}"'
    inner = f'<div class="scroll"><svg class="starts" {size}>{"".join(dots)}</svg></div>'
    return _card("Start of measuring, after the first agent", inner)


def _agent_rows(agents: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[object]]]:
    names = [
        "agent", "state", "frames put", "persisted", "dropped", "CPU, %", "RSS, MB", "clock offset", "± bound",
        "reconnects", "gaps", "error",
    ]  # fmt: skip
    rows: list[list[object]] = [
        [
            agent["id"], agent["state"], agent["frames"]["put"], agent["frames"]["persisted"],
            agent["frames"]["dropped"], round(agent["cpu_percent"], 1), round(agent["rss_bytes"] / 1e6, 1),
            _duration(agent["offset_ns"] / 1000), _duration(agent["bound_ns"] / 1000), agent["reconnects"],
            agent["gaps"], agent["error"],
        ]
        for agent in agents
    ]  # fmt: skip
    return names, rows


def _latency_rows(latency: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    names = ["kind", "size", "count", "mean", "p50", "p90", "p95", "p99", "max"]
    rows: list[list[object]] = []
    for kind, classes in latency.items():
        for name, one in classes.items():
            if name == "ALL" and len(classes) == 2:
                continue
            values = [_duration(one[f"{key}_us"]) for key in ("mean", "p50", "p90", "p95", "p99", "max")]
            rows.append([kind, name, int(one["count"]), *values])
    return names, rows


def _limit_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    broken = " ".join(result["broken"])
    rows: list[list[object]] = [
        [name, f"{bound:,.10g}", "broken" if f"limit {name} " in broken else "kept"]
        for name, bound in result["limits"].items()
    ]
    return ["limit", "at most", ""], rows


def _duration(us: float) -> str:
    size = abs(us)
    if size >= 10_000_000:
        return f"{us / 1e6:,.1f} s"
    if size >= 1000:
        return f"{us / 1000:,.1f} ms" if size < 100_000 else f"{us / 1000:,.0f} ms"
    return f"{us:.0f} us"


def _cell(value: object) -> str:
    if isinstance(value, (int, float)):
        return f"<td>{value:,}</td>"
    return f'<td class="text">{_text(str(value))}</td>' if len(str(value)) > 24 else f"<td>{_text(str(value))}</td>"


def _agents(count: int) -> str:
    return "1 agent" if count == 1 else f"{count} agents"


def _text(text: str) -> str:
    return html.escape(text)


@functools.cache
def _file(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8").strip()
