"""Twenty cameras and every error of the service in turn, against its quotas: ``python benchmarks/quotas_soak.py``.

Two processes: ``kvspic serve`` with all quotas on, and this one with a producer. Five streams each have a key frame at
every frame, every 5, 25 and 250 frames (25 a second). Each id of an ERROR ACK has an equal share of the run: all
connections are ended, and for half of that time each new one earns the error (the KMS ids as a key that cannot be
used), then the service is well again. A line every ten seconds says how it stands. At the end a table; exit code 0 when
every frame is done or dropped with a reason, every id was met, the endpoint has what is done, refused no call, and saw
no fragment beyond its quotas; 1 when not. A stream's last fragment may be short: its begin is on the wire when the end
comes. Ten minutes by default; ``--seconds 120`` for a look, on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

__all__: list[str] = []

FPS = 25
GOPS = (1, 5, 25, 250)
EACH = 5  # streams of a GOP
KEY_SIZE, FRAME_SIZE = 3000, 600
CLOSE_TIMEOUT_S = 90.0
SAY_S = 10.0
HNS_PER_S = 10_000_000
SHORT_MS = 990  # a second, but for rounding
LAST = "fragments of a second"


def error_ids() -> list[int]:
    """Every id of an ERROR ACK."""
    from kvspic.local.acks import AckError

    return [int(error) for error in AckError]


def script(seconds: int) -> list[dict[str, Any]]:
    """The faults of the run: each id in its turn, in the first half of it, and a new connection for all."""
    faults: list[dict[str, Any]] = []
    turn_s = seconds / len(error_ids())
    for number, error in enumerate(error_ids()):
        begin_s = number * turn_s + turn_s / 8
        kind = "kms-key" if 4500 <= error < 4507 else "error-ack"
        faults.append({"kind": "restart", "begin_s": begin_s, "end_s": begin_s + 1, "delay_ms": 10})
        faults.append({
            "kind": kind, "operation": "PutMedia", "error_id": error, "fragment": 0 if number % 2 else 1,
            "begin_s": begin_s, "end_s": begin_s + turn_s / 2,
        })  # fmt: skip
    return faults


class Endpoint:
    """``kvspic serve``, and what its log says."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.warnings: list[str] = []
        self.is_last = False  # what comes now may be a last fragment
        self.answers: Counter[tuple[str, str]] = Counter()  # by path and status
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read_log(self) -> None:
        for line in self.process.stderr or ():
            request = re.search(r"POST /(\w+) (\d{3}) ", line)
            if request is not None:
                self.answers[request[1], request[2]] += 1
            elif ("WARNING" in line or "ERROR" in line) and not (self.is_last and LAST in line):
                self.warnings.append(line.strip())


@contextlib.contextmanager
def serving(folder: Path, seconds: int) -> Iterator[Endpoint]:
    """Start it with its faults; end it with the block, its data stays."""
    (folder / "faults.json").write_text(json.dumps(script(seconds)))
    command = [sys.executable, "-m", "kvspic", "-v", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    command += ["--faults", str(folder / "faults.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        url = re.search(r"https?://\S+", line)
        if url is None:
            raise SystemExit(f"kvspic serve did not start: {line}")
        yield Endpoint(process, url[0].rstrip("/."))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def payload(number: int, is_key: bool) -> bytes:
    """A frame that says which one it is."""
    return number.to_bytes(4, "big") + bytes((KEY_SIZE if is_key else FRAME_SIZE) - 4)


def produce(endpoint: Endpoint, seconds: int) -> tuple[dict[str, Any], dict[str, Counter[str]]]:
    """Put the frames at their times; return each stream's report and how often it got which ERROR."""
    import kvspic

    track = kvspic.Track("V_TEST", "video/x-test")
    errors: dict[str, Counter[str]] = {}

    def note(event: Any) -> None:
        if isinstance(event, kvspic.ErrorAck):
            errors.setdefault(event.stream, Counter())[str(event.error_id)] += 1

    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        gops = {f"gop-{gop}-{number}": gop for gop in GOPS for number in range(EACH)}
        streams = {name: producer.open_stream(name, [track], on_event=note) for name in gops}
        base_ns, start, say_s = time.time_ns() // 1_000_000 * 1_000_000, time.monotonic(), SAY_S
        for number in range(seconds * FPS):
            time.sleep(max(0.0, start + number / FPS - time.monotonic()))
            for name, stream in streams.items():
                is_key = number % gops[name] == 0
                pts = base_ns + number * 1_000_000_000 // FPS
                stream.put_frame(payload(number, is_key), pts=pts, key_frame=is_key)
            if number / FPS >= say_s:
                say_s += SAY_S
                say(number / FPS, streams, errors)
        endpoint.is_last = True
        reports = {report.name: report for report in producer.close(CLOSE_TIMEOUT_S)}
    return reports, errors


def say(at_s: float, streams: dict[str, Any], errors: dict[str, Counter[str]]) -> None:
    """One line of how it stands."""
    found = [stream.metrics() for stream in streams.values()]
    healths = Counter(
        "healthy" if stream.health().is_healthy else stream.health().reason for stream in streams.values()
    )
    print(
        f"{at_s:6.0f} s: {sum(one.frames_put for one in found)} frames put, "
        f"{sum(one.frames_done for one in found)} done, {sum(one.frames_dropped for one in found)} dropped; "
        f"{sum(one.total() for one in errors.values())} ERROR ACKs; "
        f"{', '.join(f'{count} {name}' for name, count in healths.most_common(2))[:160]}",
        flush=True,
    )


# ---- what the endpoint has


def stored(folder: Path, names: list[str]) -> dict[str, dict[str, float]]:
    """Of each stream: how many frames, and the rates at which its fragments came."""
    import asyncio

    from kvspic.local.server import LocalEndpoint

    async def look() -> dict[str, dict[str, float]]:
        async with LocalEndpoint(folder / "data") as endpoint:
            return {name: rates_of(endpoint.fragments(name)) for name in names}

    return asyncio.run(look())


def rates_of(fragments: list[Any]) -> dict[str, float]:
    """Frames, the most fragments that began in one second, and the shortest fragment that another one followed."""
    recent: deque[int] = deque()
    most = 0
    for at_hns in sorted(fragment.server_hns for fragment in fragments):
        recent.append(at_hns)
        while recent[0] <= at_hns - HNS_PER_S:
            recent.popleft()
        most = max(most, len(recent))
    frames = {int.from_bytes(block.payload[:4], "big") for one in fragments for block in one.blocks}
    begins = sorted({fragment.producer_hns for fragment in fragments})
    shortest_hns = min((after - before for before, after in pairwise(begins)), default=0)
    return {"frames": len(frames), "fragments": len(fragments), "most": most, "shortest_ms": shortest_hns / 10_000}


# ---- the table


def table(folder: Path, reports: dict[str, Any], errors: dict[str, Counter[str]]) -> list[str]:
    """Print a line for each stream; return what is not as it should be."""
    wrong: list[str] = []
    print(f"\n{'stream':10} {'put':>6} {'done':>6} {'dropped':>34} {'stored':>6} {'sent/put':>8} "
          f"{'ERRORs':>6} {'frag':>5} {'most/s':>6} {'shortest':>9}")  # fmt: skip
    for name, found in stored(folder, list(reports)).items():
        report, refused = reports[name], errors.get(name, Counter()).total()
        dropped = {reason.name: count for reason, count in report.dropped.items() if count}
        share = report.bytes_sent / max(report.bytes_put, 1)
        print(f"{name:10} {report.frames_put:6} {report.frames_done:6} {json.dumps(dropped):>34} "
              f"{found['frames']:6.0f} {share:8.2f} {refused:6} {found['fragments']:5.0f} "
              f"{found['most']:6.0f} {found['shortest_ms']:6.0f} ms")  # fmt: skip
        if report.frames_buffered or not report.adds_up:
            wrong.append(f"{name}: {report}")
        if set(dropped) - {"ERROR_ACK", "SKIPPED"}:
            wrong.append(f"{name}: frames dropped as {sorted(dropped)}")
        if found["frames"] < report.frames_done:
            wrong.append(f"{name}: {report.frames_done} frames are done, {found['frames']:.0f} are stored")
        if found["shortest_ms"] < SHORT_MS:
            wrong.append(f"{name}: a fragment of {found['shortest_ms']:.0f} ms")
    return wrong


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="kvspic-soak-") as name:
        folder = Path(name)
        with serving(folder, seconds) as endpoint:
            reports, errors = produce(endpoint, seconds)
        wrong = table(folder, reports, errors)
        by_id: Counter[str] = sum(errors.values(), Counter())
        print("\nERROR ACKs by id: " + ", ".join(f"{name} {count}" for name, count in sorted(by_id.items())))
        answers = sorted(endpoint.answers.items())
        print("Answers: " + ", ".join(f"{operation} {status} {count}" for (operation, status), count in answers))
        wrong += [f"the endpoint: {line}" for line in endpoint.warnings]
        wrong += [f"{operation} was refused {count} times" for (operation, status), count in answers if status == "400"]
        missing = [error for error in error_ids() if str(error) not in by_id]
        wrong += [f"no stream met the ids {missing}"] if missing else []
    print("\n".join(wrong) or "Every frame is done or counted with its reason, and every quota was kept.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
