"""The directory of a run: ``write_report`` makes it, ``read_result`` reads it again (files only).

``result.json`` has everything; the others are for reading (``report.html``, ``STATUS.txt``, ``console_log.txt``) and
for tools that take tables (``results.tsv``, ``perf_log.tsv``; readers go by the names of the columns).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kvspic.bench.collect import Collector, Second
from kvspic.bench.page import run_page
from kvspic.bench.plan import Limits
from kvspic.bench.record import RunRecord
from kvspic.bench.result import MIB, SCHEMA, result_of

__all__ = ["ReportError", "folder_name", "perf_log_tsv", "read_result", "results_tsv", "status_text", "write_report"]

RESULTS = (
    "operation", "size_bucket", "bucket_idx", "mean_us", "p50_us", "p90_us", "p95_us", "p99_us", "max_us", "avg_bytes",
    "ops_per_sec", "throughput_mibps", "count",
)  # fmt: skip
_GROUPS = ("ops", "bytes", "iops", "mbps", "mean_us", "p50_us", "p90_us", "p99_us")
PERF_LOG = (
    "agent_id", "timestamp_epoch_ms", "elapsed_s", "stage",
    *(f"get_{name}" for name in _GROUPS), *(f"put_{name}" for name in _GROUPS),
    "meta_ops", "meta_iops", "meta_mean_us", "meta_p50_us", "meta_p90_us", "meta_p99_us",
    "cpu_user_pct", "cpu_system_pct", "cpu_iowait_pct", "errors", "is_warmup",
    "late_p99_us", "persisted", "persisted_p50_us", "persisted_p99_us", "rss_bytes",
)  # fmt: skip
_NUMBERS = [name for name in PERF_LOG if name not in ("agent_id", "stage")]
_ALL_INDEX = {"META": 97, "PUT": 99}  # GET would be 98; others follow below


class ReportError(ValueError):
    """A directory holds no result of a run that can be read."""


def folder_name(name: str, begun_s: float) -> str:
    """Return the name of the directory of a run that began then, UTC."""
    return f"kvsbench-{datetime.fromtimestamp(begun_s, timezone.utc):%Y%m%d-%H%M%S}-{name}"


def write_report(record: RunRecord, collector: Collector, limits: Limits, folder: Path) -> dict[str, Any]:
    """Write the directory of a run and return its result; its ``exit_code`` is what the command ends with.

    Raises:
        OSError: it cannot be written.
    """
    result = result_of(record, collector, limits)
    rows = [row for agent in record.agents for row in collector.rows(agent.id)]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "plan.yaml", record.plan_yaml)
    _write(folder / "result.json", json.dumps(result, indent=1) + "\n")
    _write(folder / "results.tsv", results_tsv(result))
    _write(folder / "perf_log.tsv", perf_log_tsv(rows))
    _write(folder / "console_log.txt", "".join(f"{line}\n" for line in [*collector.lines, *record.notes]))
    _write(folder / "STATUS.txt", status_text(result))
    for agent in result["agents"]:
        place = folder / "agents" / _file_name(agent["id"])
        place.mkdir(parents=True, exist_ok=True)
        _write(place / "summary.json", json.dumps(agent, indent=1) + "\n")
        _write(place / "perf_log.tsv", perf_log_tsv(collector.rows(agent["id"])))
    _write(folder / "report.html", run_page(result, read_rows(perf_log_tsv(rows))))
    return result


def read_result(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the result of a run and the rows of its seconds, from its directory.

    Raises:
        ReportError: there is none, or it is damaged.
    """
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        rows = read_rows((folder / "perf_log.tsv").read_text(encoding="utf-8"))
    except OSError as error:
        name = Path(error.filename or folder).name
        text = f"{folder} is no directory of a run: {name} cannot be read ({error.strerror})"
        raise ReportError(f"{text}. {_remedy(folder)}") from None
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{folder} is no directory of a run: {error}. {_remedy(folder)}") from None
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise ReportError(f"{folder}/result.json is of another version: this one reads schema {SCHEMA}.")
    _check(folder, result, rows)
    return result, rows


def _remedy(folder: Path) -> str:
    """Which directory was meant, as far as the files of this one say."""
    step = next((one for one in sorted(folder.glob("step-*")) if (one / "result.json").is_file()), None)
    if step is not None:
        return f"It has the steps of a ramp: name one of them, such as {step}."
    if (folder / "capacity.json").is_file():
        return "It has the answer of `kvspic bench capacity`: open its report.html."
    return "Name a directory that `kvspic bench run` wrote."


def _check(folder: Path, result: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    """See that a status and a page can be made of a result, and that its log has a number in each column of numbers.

    Raises:
        ReportError: a field or a column is missing, or of another kind.
    """
    damaged = "is damaged: copy the directory of the run again"
    try:
        status_text(result)
        run_page(result, [])
        if not isinstance(result["exit_code"], int):
            raise TypeError("exit_code is no whole number")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        raise ReportError(f"{folder}/result.json {damaged} ({type(error).__name__}: {error}).") from None
    for number, row in enumerate(rows, 2):
        bad = next((name for name in _NUMBERS if not isinstance(row.get(name), float)), None)
        if bad is not None:
            raise ReportError(f"{folder}/perf_log.tsv {damaged} (line {number} has no number for {bad}).")


def results_tsv(result: dict[str, Any]) -> str:
    """Return the latencies and rates of each kind and size class as a table."""
    lines = []
    span = max([agent["measured_s"] for agent in result["agents"]], default=0.0)
    put = result["frames"]["put"]
    sizes = {"PUT": sum(agent["bytes"] for agent in result["agents"]) / put if put else 0.0}
    for kind, classes in result["latency"].items():
        for index, (name, figures) in enumerate(sorted(classes.items(), key=lambda one: _index(kind, one[0]))):
            size = sizes.get(kind, 0.0) if name == "ALL" or len(classes) == 2 else 0.0
            rate = figures["count"] / span if span else 0.0
            lines.append((_index(kind, name), index, kind, name, figures, size, rate))
    lines.sort(key=lambda line: line[:2])
    rows = [
        (
            kind, name, bucket, *(f"{figures[key]:.2f}" for key in RESULTS[3:9]),
            f"{size:.0f}", f"{rate:.2f}", f"{rate * size / MIB:.2f}", int(figures["count"]),
        )
        for bucket, _, kind, name, figures, size, rate in lines
    ]  # fmt: skip
    return _table(RESULTS, rows)


def perf_log_tsv(rows: Iterable[Second]) -> str:
    """Return what each second of each agent said, one row each; counts are of that second."""
    return _table(PERF_LOG, [_perf_row(row) for row in rows])


def read_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of a table by the names of their columns, numbers as numbers."""
    lines = text.splitlines()
    names = lines[0].split("\t") if lines else []
    return [dict(zip(names, map(_value, line.split("\t")))) for line in lines[1:]]


def status_text(result: dict[str, Any]) -> str:
    """Return one word, counts, and what went wrong."""
    agents = result["agents"]
    failed = [agent for agent in agents if agent["state"] != "completed"]
    word = "SUCCESS" if result["exit_code"] == 0 else "FAILURE"
    if word == "SUCCESS" and failed:
        word = f"SUCCESS ({len(failed)} lost)"
    states = sorted({agent["state"] for agent in agents})
    counts = ", ".join(f"{sum(agent['state'] == state for agent in agents)} {state}" for state in states)
    frames = ", ".join(f"{name} {count}" for name, count in result["frames"].items())
    reconnects = sum(agent["reconnects"] for agent in agents)
    lines = [word, f"agents: {counts}", f"reconnects: {reconnects}", f"frames: {frames}"]
    if not result["comparable"]:
        lines.append(f"not comparable: the starts lie {result['start_spread_us']:.0f} us apart")
    buffered = result["frames"]["buffered"]
    lines += [f"{buffered} frames were not persisted when the time to drain was over"] if buffered else []
    lines += [result["reason"]] if result["reason"] else []
    errors = [f"{agent['id']}: {agent['error']}" for agent in failed if agent["error"]]
    lines += [words for words in errors if words != result["reason"]]
    lines += [words for words in result["broken"] if words != result["reason"]]
    return "\n".join(lines) + "\n"


def _perf_row(row: Second) -> Sequence[object]:
    span = row.span_s or 1.0
    zeros = [0] * len(_GROUPS)
    return (
        row.agent_id, row.epoch_ms, f"{row.at_s:.3f}", row.stage, *zeros, row.put_ops, row.put_bytes,
        f"{row.put_ops / span:.2f}", f"{row.put_bytes / span / 1e6:.3f}", *(f"{one:.0f}" for one in row.put_us),
        row.meta_ops, f"{row.meta_ops / span:.2f}", *(f"{one:.0f}" for one in row.meta_us),
        f"{row.cpu_user_percent:.1f}", f"{row.cpu_system_percent:.1f}", 0, row.errors, int(row.is_warmup),
        row.late_p99_us, row.persisted, *row.persisted_us, row.rss_bytes,
    )  # fmt: skip


def _index(kind: str, name: str) -> int:
    from kvspic.bench.histogram import CLASSES, KINDS

    return CLASSES.index(name) if name != "ALL" else _ALL_INDEX.get(kind, 90 + KINDS.index(kind))


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["\t".join(names), *("\t".join(_cell(one) for one in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return re.sub(r"[\t\r\n]+", " ", str(value))


def _value(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _file_name(name: str) -> str:
    """An agent's id as a name that every file system takes; two ids never share one."""
    return re.sub(r"[^a-zA-Z0-9.-]", lambda found: f"_{ord(found[0]):x}_", name).lstrip(".") or "_"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
