"""The plan of a run: YAML text in, a checked :class:`Plan` out (pure). ``docs/bench.md`` has a row for each field.

Every field is checked, and an error names every bad one at once, so that a plan is mended in one go. A field that is
unknown, or given twice, is an error: a misspelled limit would else be a limit that never breaks.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from typing import Any

from kvspic.plain_text import PlainTextError, parse_text

__all__ = [
    "COMMAND_WORDS", "LIMITS", "PLAN_SIZE_MAX", "STREAMS_MAX", "Limits", "Plan", "PlanError", "Step", "parse_plan",
]  # fmt: skip

PLAN_SIZE_MAX = 256 * 1024  # bytes
AGENTS_MAX, STREAMS_MAX, STEPS_MAX = 1000, 10_000, 100
BRACKETS_MAX = 500  # PyYAML takes minutes for some thousand nested ones
COMMAND_WORDS = ("stream", "endpoint", "file")  # what {braces} in ``command`` may name

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PREFIX = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_BRACES = re.compile(r"\{([^{}]*)\}")


class PlanError(ValueError):
    """The plan cannot be run; the text names every bad field and what it may be."""


@dataclass(frozen=True)
class Limits:
    """What a run must not exceed; None: not looked at.

    Attributes:
        dropped: frames. late_p99_ms: how late frames were put. put_p99_ms: until put_frame returned, from the due time.
        persisted_p99_ms: from the end of a fragment to its PERSISTED ACK. cpu_percent: of all cores of an agent.
    """

    dropped: float | None = None
    late_p99_ms: float | None = None
    put_p99_ms: float | None = None
    persisted_p99_ms: float | None = None
    cpu_percent: float | None = None


LIMITS = tuple(one.name for one in fields(Limits))


@dataclass(frozen=True)
class Step:
    """One step of a ramp: the plan is run with so many streams an agent."""

    streams: int


@dataclass(frozen=True)
class Plan:
    """A checked plan; the fields are explained in ``docs/bench.md``. Times are seconds unless the name says else.

    ``streams_total`` 0: each agent has ``streams_per_agent``. ``processes`` 0: one for each core of the agent.
    """

    name: str = "bench"
    duration_s: float = 30.0
    warmup_s: float = 5.0
    drain_s: float = 30.0
    start_delay_s: float = 0.0
    tolerate: int = 0
    spread_max_ms: float = 100.0
    stall_s: float = 10.0
    dead_s: float = 60.0
    seed: int = 1
    streams_per_agent: int = 10
    streams_total: int = 0
    fps: Fraction = Fraction(30)
    gop_s: float = 2.0
    kbps: float = 2000.0
    phase: str = "spread"
    endpoint: str = "local"
    region: str = ""
    stream_prefix: str = "kvsbench-"
    keep_streams: bool = False
    engine: str = "kvspic"
    command: str = ""
    processes: int = 0
    limits: Limits = field(default_factory=Limits)
    steps: tuple[Step, ...] = ()

    @property
    def is_shared(self) -> bool:
        """Whether all agents share one set of streams, each with a slice of its own."""
        return self.streams_total > 0

    @property
    def frames_per_gop(self) -> int:
        """Frames from one key frame to the next."""
        return max(1, round(self.fps * Fraction(self.gop_s)))

    def slice(self, index: int, agents: int) -> range:
        """Return the numbers of the streams of agent ``index`` of ``agents``; all slices together are all streams."""
        if not self.is_shared:
            return range(index * self.streams_per_agent, (index + 1) * self.streams_per_agent)
        return range(index * self.streams_total // agents, (index + 1) * self.streams_total // agents)

    def at_step(self, step: Step) -> Plan:
        """Return the plan of one step of the ramp."""
        return replace(self, streams_per_agent=step.streams, streams_total=0, steps=())

    def to_yaml(self) -> str:
        """Return text that :func:`parse_plan` reads back as the same plan."""
        import yaml

        value = {key: found for key, found in asdict(self).items() if found != ""}
        value["fps"] = int(self.fps) if self.fps.denominator == 1 else float(self.fps)
        value["processes"] = self.processes or "auto"
        value["limits"] = {key: found for key, found in value["limits"].items() if found is not None}
        value["steps"] = [asdict(step) for step in self.steps]
        del value["streams_per_agent" if self.is_shared else "streams_total"]
        kept = {key: found for key, found in value.items() if found not in ({}, [])}
        text: str = yaml.safe_dump(kept, sort_keys=False)
        return text


def parse_plan(text: str, agents: int = 1) -> Plan:
    """Return the plan that the YAML ``text`` says, for ``agents`` agents.

    Raises:
        PlanError: it is no YAML, too large, or a field is unknown or bad; the text names all of them.
    """
    if not 1 <= agents <= AGENTS_MAX:
        raise PlanError(f"A run has 1 to {AGENTS_MAX} agents, and {agents} were given: see --agents and --local.")
    if len(text.encode("utf-8", "replace")) > PLAN_SIZE_MAX:
        raise PlanError(f"The plan is larger than {PLAN_SIZE_MAX} bytes: it should be a page of YAML.")
    if text.count("[") + text.count("{") > BRACKETS_MAX:
        raise PlanError(f"The plan has more than {BRACKETS_MAX} brackets: it should be a page of YAML.")
    value = _loaded(text)
    reader = _Reader(value)
    plan = _read(reader)
    if plan.tolerate >= agents and "tolerate" not in reader.bad:
        reader.bad["tolerate"] = f"tolerate must be below the number of agents, which is {agents}"
    if plan.is_shared and plan.streams_total < agents and "streams_total" not in reader.bad:
        reader.bad["streams_total"] = f"streams_total must be at least the number of agents, which is {agents}"
    reader.finish("")
    if reader.bad:
        raise PlanError("The plan has errors: " + "; ".join(reader.bad.values()) + ".")
    return plan


def _loaded(text: str) -> Mapping[object, object]:
    try:
        value = parse_text(text, "bench")
    except PlainTextError as error:
        words = str(error).replace('in "<unicode string>", ', "at ")
        raise PlanError(f"The plan {words}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PlanError("The plan is no mapping: write it as in `fps: 30`, a field a line.")
    return value


class _Reader:
    """Takes fields out of a mapping; collects in ``bad`` what is wrong with them, by field."""

    def __init__(self, value: Mapping[object, object], prefix: str = "") -> None:
        self._value = dict(value)
        self._prefix = prefix
        self.bad: dict[str, str] = {}

    def has(self, name: str) -> bool:
        """Whether the field was given and is not taken yet."""
        return name in self._value

    def take(self, name: str) -> Any:
        """Take a field."""
        return self._value.pop(name)

    def complain(self, name: str, must: str, found: object) -> None:
        """Note that a field is bad."""
        shown = repr(found)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        self.bad[self._prefix + name] = f"{self._prefix}{name} must be {must}, not {shown}"

    def number(self, name: str, least: float, most: float, default: float) -> float:
        """Take a number from ``least`` to ``most``."""
        if not self.has(name):
            return default
        found = self.take(name)
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not least <= found <= most:
            self.complain(name, f"a number from {least:,.10g} to {most:,.10g}", found)
            return default
        return float(found)

    def whole(self, name: str, least: int, most: int, default: int) -> int:
        """Take a whole number from ``least`` to ``most``."""
        if not self.has(name):
            return default
        found = self.take(name)
        if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
            self.complain(name, f"a whole number from {least:,} to {most:,}", found)
            return default
        return found

    def text(self, name: str, is_fit: Callable[[str], object], must: str, default: str) -> str:
        """Take a text for which ``is_fit`` is true."""
        if not self.has(name):
            return default
        found = self.take(name)
        if not isinstance(found, str) or not is_fit(found):
            self.complain(name, must, found)
            return default
        return found

    def boolean(self, name: str, default: bool) -> bool:
        """Take true or false."""
        if not self.has(name):
            return default
        found = self.take(name)
        if not isinstance(found, bool):
            self.complain(name, "true or false", found)
            return default
        return found

    def finish(self, where: str) -> None:
        """Note what was not taken."""
        for name in self._value:
            shown = str(name)[:60]
            self.bad[f"{where}{shown}"] = f"{where}{shown} is no field of a plan"


def _read(reader: _Reader) -> Plan:
    if reader.has("streams_per_agent") and reader.has("streams_total"):
        reader.bad["streams"] = "streams_per_agent and streams_total exclude each other"
    engine = reader.text("engine", ("kvspic", "command").__contains__, "kvspic or command", "kvspic")
    command = reader.text("command", _is_command, _COMMAND_MUST, "")
    if (engine == "command") != bool(command) and "command" not in reader.bad:
        text = "is needed by the engine command" if engine == "command" else "is for the engine command only"
        reader.bad["command"] = f"command {text}"
    endpoint = reader.text("endpoint", _is_endpoint, "aws, local, or an http or https URL", "local")
    if engine == "command" and endpoint == "aws":
        reader.bad["endpoint"] = "endpoint must be a local one for the engine command: only that shows what arrived"
    return Plan(
        name=reader.text("name", _NAME.fullmatch, "1 to 64 of a-z A-Z 0-9 _ -", "bench"),
        duration_s=reader.number("duration_s", 1, 86_400, 30),
        warmup_s=reader.number("warmup_s", 0, 600, 5),
        drain_s=reader.number("drain_s", 1, 600, 30),
        start_delay_s=reader.number("start_delay_s", 0, 50, 0),
        tolerate=reader.whole("tolerate", 0, AGENTS_MAX - 1, 0),
        spread_max_ms=reader.number("spread_max_ms", 0, 60_000, 100),
        stall_s=reader.number("stall_s", 2, 600, 10),
        dead_s=reader.number("dead_s", 5, 3600, 60),
        seed=reader.whole("seed", 0, 2**63 - 1, 1),
        streams_per_agent=reader.whole("streams_per_agent", 1, STREAMS_MAX, 10),
        streams_total=reader.whole("streams_total", 1, AGENTS_MAX * STREAMS_MAX, 0),
        fps=Fraction(reader.number("fps", 1, 240, 30)).limit_denominator(1001),
        gop_s=reader.number("gop_s", 0.5, 10, 2),
        kbps=reader.number("kbps", 16, 100_000, 2000),
        phase=reader.text("phase", ("spread", "aligned").__contains__, "spread or aligned", "spread"),
        endpoint=endpoint,
        region=reader.text("region", _REGION.fullmatch, "a region such as eu-central-1", ""),
        stream_prefix=reader.text("stream_prefix", _PREFIX.fullmatch, "1 to 128 of a-z A-Z 0-9 _ . -", "kvsbench-"),
        keep_streams=reader.boolean("keep_streams", False),
        engine=engine,
        command=command,
        processes=_processes(reader),
        limits=_limits(reader),
        steps=_steps(reader),
    )


_COMMAND_MUST = "a command line whose {braces} name only " + ", ".join(COMMAND_WORDS) + ", {stream} among them"


def _is_command(text: str) -> bool:
    try:
        words = shlex.split(text)
    except ValueError:
        return False
    names = _BRACES.findall(text)
    return bool(words) and len(text) <= 4096 and "stream" in names and set(names) <= set(COMMAND_WORDS)


def _is_endpoint(text: str) -> bool:
    return text in ("aws", "local") or (len(text) <= 2048 and _URL.fullmatch(text) is not None)


def _processes(reader: _Reader) -> int:
    if not reader.has("processes"):
        return 0
    found = reader.take("processes")
    if found == "auto":
        return 0
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= 1024:
        reader.complain("processes", "auto or a whole number from 1 to 1,024", found)
        return 0
    return found


def _limits(reader: _Reader) -> Limits:
    if not reader.has("limits"):
        return Limits()
    found = reader.take("limits")
    if not isinstance(found, dict):
        reader.complain("limits", f"a mapping with {', '.join(LIMITS)}", found)
        return Limits()
    inner = _Reader(found, "limits.")
    bounds = dict.fromkeys(LIMITS, 3_600_000.0) | {"dropped": 1e12, "cpu_percent": 100.0}
    made = {name: inner.number(name, 0, bounds[name], math.nan) for name in LIMITS if inner.has(name)}
    inner.finish("limits.")
    reader.bad.update(inner.bad)
    return Limits(**made)


def _steps(reader: _Reader) -> tuple[Step, ...]:
    if not reader.has("steps"):
        return ()
    found = reader.take("steps")
    is_list = isinstance(found, list) and 1 <= len(found) <= STEPS_MAX
    if not is_list or not all(isinstance(one, dict) for one in found):
        reader.complain("steps", f"a list of 1 to {STEPS_MAX} mappings such as streams: 20", found)
        return ()
    made = []
    for number, one in enumerate(found, 1):
        where = f"steps[{number}]."
        inner = _Reader(one, where)
        if not inner.has("streams"):
            inner.bad[f"{where}streams"] = f"{where}streams is missing"
        made.append(Step(inner.whole("streams", 1, STREAMS_MAX, 1)))
        inner.finish(where)
        reader.bad.update(inner.bad)
    return tuple(made)
