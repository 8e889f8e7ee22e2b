"""The result of a run as one JSON value, and which limits it broke (pure). ``docs/bench-result.schema.json`` has its
form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kvspic.bench.collect import Collector
from kvspic.bench.histogram import CLASSES, Histogram, HistogramError, Histograms
from kvspic.bench.plan import Limits
from kvspic.bench.record import AgentRecord, RunRecord

__all__ = ["FRAMES", "SCHEMA", "broken_limits", "latency_of", "result_of"]

SCHEMA = 1
FRAMES = ("offered", "put", "persisted", "dropped", "buffered", "unknown")
ALL = "ALL"
MIB = 1 << 20


def result_of(record: RunRecord, collector: Collector, limits: Limits) -> dict[str, Any]:
    """Return the result. A run that the controller counts as completed fails where a limit or a ledger is broken."""
    agents = [_agent(agent, collector) for agent in record.agents]
    merged = Histograms()
    for agent in agents:
        merged.add(agent["_hist"])
    frames = {name: sum(agent["frames"][name] for agent in agents) for name in FRAMES}
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": record.run_id,
        "name": record.name,
        "begun_s": record.begun_s,
        "exit_code": record.exit_code,
        "comparable": record.is_comparable,
        "reason": record.reason,
        "start_spread_us": record.start_spread_us,
        "common_window_s": _common_window_s(record, agents),
        "wall_s": record.wall_s,
        "frames": frames,
        "rates": _rates(agents),
        "latency": latency_of(merged),
        "hist": merged.to_json(),
        "limits": {name: bound for name, bound in asdict(limits).items() if bound is not None},
        "broken": [],
        "cpu_percent": sum(agent["cpu_percent"] for agent in agents),
        "machine_cpu_percent": max([agent["machine_cpu_percent"] for agent in agents], default=0.0),
        "clamped": sum(agent["clamped"] for agent in agents),
        "agents": [{key: value for key, value in agent.items() if key != "_hist"} for agent in agents],
    }
    result["broken"] = [*broken_limits(result), *_broken_ledgers(agents), *_nothing_persisted(agents)]
    if result["broken"] and result["exit_code"] == 0:
        result["exit_code"], result["reason"] = 1, result["broken"][0]
    return result


def latency_of(found: Histograms) -> dict[str, dict[str, dict[str, float]]]:
    """Return the percentiles of each kind by size class, and of all classes together as ``ALL``."""
    made: dict[str, dict[str, dict[str, float]]] = {}
    for kind, index, one in found:
        made.setdefault(kind, {})[CLASSES[index]] = _figures(one)
    for kind, classes in made.items():
        classes[ALL] = _figures(found.all_sizes(kind))
    return made


def broken_limits(result: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each limit of the plan that the run broke."""
    found = {
        "dropped": float(result["frames"]["dropped"]),
        "late_p99_ms": _p99_ms(result, "LATE"),
        "put_p99_ms": _p99_ms(result, "PUT"),
        "persisted_p99_ms": _p99_ms(result, "PERS"),
        "cpu_percent": result["machine_cpu_percent"],
    }
    return [
        f"The limit {name} is broken: {found[name]:,.10g}, and at most {bound:,.10g} is allowed."
        for name, bound in result["limits"].items()
        if found[name] > bound
    ]


def _broken_ledgers(agents: list[dict[str, Any]]) -> list[str]:
    return [
        f"The ledger of {agent['id']} does not add up: {agent['frames']}."
        for agent in agents
        if agent["frames"]["put"] != sum(agent["frames"][name] for name in FRAMES[2:])
    ]


def _nothing_persisted(agents: list[dict[str, Any]]) -> list[str]:
    """Of agents that ended in order: a load of which nothing arrived measures no camera."""
    return [
        f"Nothing of {agent['id']} was persisted, of {agent['frames']['offered']:,} frames that were due: see that its "
        "endpoint takes them, or raise duration_s and drain_s."
        for agent in agents
        if agent["state"] == "completed" and agent["frames"]["offered"] and not agent["frames"]["persisted"]
    ]


def _p99_ms(result: Mapping[str, Any], kind: str) -> float:
    found: float = result["latency"].get(kind, {}).get(ALL, {}).get("p99_us", 0.0)
    return found / 1000


def _figures(one: Histogram) -> dict[str, float]:
    p50, p90, p95, p99 = one.percentiles([50, 90, 95, 99])
    return {
        "count": one.count, "mean_us": round(one.mean_us, 2), "p50_us": p50, "p90_us": p90, "p95_us": p95,
        "p99_us": p99, "max_us": one.max_us,
    }  # fmt: skip


def _agent(agent: AgentRecord, collector: Collector) -> dict[str, Any]:
    """One agent's part. One that sent no summary counts by its last message, its frames as ``unknown``."""
    summary, last = agent.summary, agent.last
    found = collector.histograms(agent.id)
    if summary is not None:
        frames = {name: int(summary.get("frames", {}).get(name, 0)) for name in FRAMES}
        size, measured_s = int(summary.get("bytes", 0)), float(summary.get("measured_s", 0.0))
        found = _summary_histograms(summary, found)
    else:
        put = 0 if last is None else int(last.put_ops)
        frames = {name: put if name in ("offered", "put", "unknown") else 0 for name in FRAMES}
        size = 0 if last is None else int(last.put_bytes)
        measured_s = sum(row.span_s for row in collector.rows(agent.id) if row.put_ops)
    kept = {key: value for key, value in (summary or {}).items() if key != "hist"}
    return {
        "id": agent.id,
        "address": agent.address,
        "state": agent.state,
        "error": agent.error,
        "offset_ns": agent.offset_ns,
        "bound_ns": agent.bound_ns,
        "rtt_ns": agent.rtt_ns,
        "started_ns": agent.started_ns,
        "reconnects": agent.reconnects,
        "gaps": agent.gaps,
        "clamped": int(kept.get("clamped", 0)),
        "states": [[at_s, state] for at_s, state in agent.states],
        "frames": frames,
        "bytes": size,
        "measured_s": measured_s,
        "cpu_percent": float(kept.get("cpu_percent", 0.0)),
        "machine_cpu_percent": float(kept.get("machine_cpu_percent", 0.0)),
        "rss_bytes": int(kept.get("rss_bytes", 0 if last is None else last.rss_bytes)),
        "summary": kept if summary is not None else None,
        "_hist": found,
    }


def _summary_histograms(summary: Mapping[str, Any], heard: Histograms) -> Histograms:
    try:
        found = Histograms.from_json(summary.get("hist", {}))
    except HistogramError:
        return heard
    return found if list(found) else heard


def _rates(agents: list[dict[str, Any]]) -> dict[str, float]:
    """Frames and MiB a second: of the agents' own measured times, added, and over the longest of them."""
    walls = [agent["measured_s"] for agent in agents]
    wall = max(walls, default=0.0)
    frames, size = sum(agent["frames"]["put"] for agent in agents), sum(agent["bytes"] for agent in agents)
    own = [(agent["frames"]["put"] / span, agent["bytes"] / span) for agent, span in zip(agents, walls) if span > 0]
    return {
        "frames_per_s": sum(one for one, _ in own),
        "mib_per_s": sum(one for _, one in own) / MIB,
        "frames_per_s_wall": frames / wall if wall else 0.0,
        "mib_per_s_wall": size / MIB / wall if wall else 0.0,
    }


def _common_window_s(record: RunRecord, agents: list[dict[str, Any]]) -> float:
    """From the latest start to the earliest end of the agents that reported a start."""
    spans = [
        (one.started_ns / 1e9, one.started_ns / 1e9 + agent["measured_s"])
        for one, agent in zip(record.agents, agents, strict=True)
        if one.started_ns
    ]
    if not spans:
        return 0.0
    begin, end = max(begin for begin, _ in spans), min(end for _, end in spans)
    return float(max(0.0, end - begin))
