"""Reference pages of the documentation site, made from the code at each build: Python, C headers, commands, metrics.

Nothing of this is kept in the repository, so nothing of it can be old. tools/docs_site.py gives the pages to mkdocs;
mkdocstrings replaces each line ``::: name`` by the signature and the docstring of that name. Every public name of
kvspic stands on exactly one page: tests/unit/test_docs_site.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADERS = ROOT / "csrc" / "include"
SECTION = re.compile(r"^/\* ---- (.+?) -+ \*/\n", re.M)
HELP = re.compile(r"^# HELP (\w+) (.*)\n# TYPE \w+ (\w+)$", re.M)

PYTHON_PAGES = {
    "producer": (
        "Producer and streams",
        "A producer owns the memory for frames, the connections and the credentials. A stream takes frames. Times in "
        "this interface are nanoseconds since 1970. Each duration is a `datetime.timedelta` unless its description "
        "names another unit.",
        ("Producer", "AsyncProducer", "Stream", "AsyncStream", "StreamReport", "Health", "StreamMetrics",
         "ClientMetrics", "StreamState", "DropReason"),
    ),
    "options": (
        "Tracks and options",
        "What a stream is opened with.",
        ("StreamOptions", "Track", "H264Track", "H265Track", "MjpegTrack", "AacTrack", "PcmTrack", "TrackType",
         "FullPolicy", "BackwardPolicy", "ClockPolicy", "LongGop", "Order"),
    ),
    "credentials": (
        "Credentials and retries",
        "Where keys come from, and what is done about a stream that fails. The guides are "
        "[Credentials](../credentials.md) and [Networks](../networks.md).",
        ("BotocoreCredentials", "StaticCredentials", "FileCredentials", "IotCredentials", "IotRole",
         "CallableCredentials", "Credentials", "CredentialFetchError", "RetryPolicy", "DefaultRetryPolicy", "Situation",
         "Keep", "RetryStream", "ResetConnection", "GiveUp"),
    ),
}  # fmt: skip
ERRORS = ("KvsError", "UsageError", "StateError", "MediaError", "ResourceError", "ServiceError", "InternalError",
          "StoreFullError", "StreamStoppedError", "TimedOutError", "UnknownTrackError")  # fmt: skip
EVENTS_INTRO = (
    "Events come to `on_event=` of `open_stream`, to `stream.on_event(callback)`, or by `async for event in "
    "stream.events()`. A callback runs on the thread of the event loop and must not wait. Fields whose names end in "
    "`_ns` are nanoseconds."
)
METRICS_INTRO = """\
`kvspic.metrics.register(producer)` and `kvspic put --metrics PORT` give a producer's figures in the text form of
Prometheus; the extra `metrics` is needed. Each row of a stream has the label `stream`; `kvspic_frames_dropped` also has
`reason`, `kvspic_ack_latency_seconds` has `ack`, `kvspic_stream_state` has `state`. Names of counters end in `_total`.
[Operations](../operations.md) says what to alarm on; [dashboard.json](../dashboard.json) is a dashboard for Grafana.
"""
FLEET_MODULES = ("kvspic.fleet.FleetClient", "kvspic.fleet.AsyncFleetClient", "kvspic.fleet.run_worker")


def pages() -> dict[str, str]:
    """Return the Markdown of every page by its address on the site."""
    made = {f"reference/{name}.md": python_page(*page) for name, page in PYTHON_PAGES.items()}
    made["reference/events.md"] = python_page("Events", EVENTS_INTRO, event_names())
    made["reference/sources.md"] = sources_page()
    made["reference/fleet.md"] = names_page(
        "The fleet's client", "The guide is [A fleet of cameras](../fleet.md).", FLEET_MODULES
    )
    made["reference/metrics.md"] = metrics_page()
    made["reference/cli.md"] = cli_page()
    for name in ("kvspic", "pic"):
        made[f"reference/{name}-h.md"] = header_page(f"{name}.h", (HEADERS / f"{name}.h").read_text(encoding="utf-8"))
    return made


def event_names() -> list[str]:
    """The events, and the enumerations in their fields, as kvspic exports them."""
    import kvspic

    elsewhere = {name for _, _, names in PYTHON_PAGES.values() for name in names} | set(ERRORS)
    return [name for name in kvspic.__all__ if name not in elsewhere and not name.startswith("_")]


def python_page(title: str, intro: str, names: Sequence[str]) -> str:
    """A page of names that ``kvspic`` exports."""
    return names_page(title, intro, [f"kvspic.{name}" for name in names])


def names_page(title: str, intro: str, names: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", intro, *(f"::: {name}" for name in names)]) + "\n"


def sources_page() -> str:
    import kvspic.sources

    names = sorted(kvspic.sources.__all__, key=lambda name: (name[0].isupper(), name))
    intro = "`kvspic.sources` needs the extra `media`. The guide is [Cameras and files](../sources.md)."
    return names_page("Sources", intro, [f"kvspic.sources.{name}" for name in names])


def header_page(name: str, text: str) -> str:
    """A C header in sections: its first comment as prose, then the code between two ``/* ---- name ---- */``."""
    first, *sections = SECTION.split(text)
    parts = [f"# {name}", f"`#include <{name}>`. The comments of the header are its reference.", code(first)]
    for title, body in zip(sections[::2], sections[1::2]):
        parts += [f"## {title[0].upper()}{title[1:]}", code(body)]
    return "\n\n".join(parts) + "\n"


def code(text: str, kind: str = "c") -> str:
    return f"```{kind}\n{text.strip()}\n```"


def metrics_page() -> str:
    """The figures of a producer, of the local endpoint and of a fleet's server, as each of them prints them."""
    sections = [("A producer", METRICS_INTRO, producer_figures())]
    sections.append(("The local endpoint", "`kvspic serve` shows these at `/metrics`.", endpoint_figures()))
    sections.append(("A server of a fleet", "`kvspic fleet serve` shows these at `/metrics`.", fleet_figures()))
    parts = ["# Metrics"]
    for title, intro, text in sections:
        rows = [f"| `{name}` | {kind} | {words} |" for name, words, kind in sorted(HELP.findall(text))]
        parts.append(f"## {title}\n\n{intro}\n\n| name | kind | what it is |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def producer_figures() -> str:
    import prometheus_client

    import kvspic
    from kvspic.metrics import register

    registry = prometheus_client.CollectorRegistry()
    with kvspic.Producer(endpoint_url="http://127.0.0.1:1") as producer:
        register(producer, registry)
        return prometheus_client.generate_latest(registry).decode()


def endpoint_figures() -> str:
    from kvspic.local.counts import Counts

    return Counts().text(0, 0)


def fleet_figures() -> str:
    from kvspic.fleet.metrics import Figures, Metrics

    return Metrics().text(Figures({}, [], 0, 0, False, 0)).decode()


def cli_page() -> str:
    """Every command with its options, as ``--help`` has them."""
    from kvspic.commands.root import root

    return "\n\n".join(["# Command line", *command_parts(root, ("kvspic",))]) + "\n"


def command_parts(command: object, names: tuple[str, ...]) -> Iterator[str]:
    """The parts of one command's description, then those of the commands below it."""
    import click

    assert isinstance(command, click.Command)
    context = click.Context(command, info_name=" ".join(names), max_content_width=90, terminal_width=90)
    if len(names) > 1:
        yield f"{'#' * min(len(names), 3)} {' '.join(names)}"
    yield code(command.get_help(context), "text")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from command_parts(command.get_command(context, name), (*names, name))
