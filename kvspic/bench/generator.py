"""One load process: ``python -m kvspic.bench.generator``, a child of ``load.py``. Orders come as JSON lines.

    {"do": "open", ...}     open streams; answered by "ready" lines, with how many can upload
    {"do": "warm_up"}       begin to put frames, not measured
    {"do": "measure", "at_ns": .., "duration_s": .., "then_end": ..}
    {"do": "close", "count": .., "limit_s": ..}    close the newest streams
    {"do": "stop", "limit_s": ..}    put no more, close all; answered by "done" with what became of the frames

Once a second it says what it has measured since the last time. When its input ends it ends, with nothing waited for.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from kvspic.bench.cameras import Cameras, ProducerLike
from kvspic.bench.children import say
from kvspic.bench.pace import Lane
from kvspic.bench.pictures import Pictures
from kvspic.bench.sink import Sink
from kvspic.threads import join

__all__ = ["main"]

TICK_S = 1.0
STORE_S, STORE_MIN = 30, 64 << 20  # seconds of media that a producer may hold; bytes


class _Generator:
    """Carries out orders; a thread says what was measured."""

    def __init__(self, spec: dict[str, Any]) -> None:
        pictures = Pictures.unpack(Path(spec["pictures"]).read_bytes())
        fps = Fraction(spec["fps"])
        producer = _producer(spec, pictures.size * fps / len(pictures.frames))
        self._cameras = Cameras(producer, pictures, fps, self._changed, spec["options"])
        self._wake = threading.Event()
        self._is_ending = False
        self._said: tuple[int, list[str]] = (-1, [])
        self._ticker = threading.Thread(target=self._tick, name="kvspic-bench-tick", daemon=True)
        self._ticker.start()

    def do(self, order: dict[str, Any]) -> None:
        """Carry out one order."""
        what = order["do"]
        if what == "open":
            lanes = [Lane(phase_ns, first) for phase_ns, first in order["lanes"]]
            self._cameras.open(order["names"], lanes)
        elif what == "warm_up":
            self._cameras.start()
        elif what == "measure":
            self._cameras.measure(order["at_ns"], order["duration_s"], then_end=order["then_end"])
        elif what == "close":
            self._cameras.close_last(order["count"], order["limit_s"])
            say(say="closed")
        elif what == "stop":
            self._stop(order["limit_s"])

    def _stop(self, limit_s: float) -> None:
        outcome = self._cameras.stop(limit_s)
        self._is_ending = True
        self._wake.set()
        join(self._ticker)
        self._say_measured()
        say(say="done", outcome=vars(outcome))

    def _changed(self) -> None:
        self._wake.set()

    def _tick(self) -> None:
        try:
            while not self._is_ending:
                is_change = self._wake.wait(TICK_S)
                self._wake.clear()
                self._say_ready()
                if not is_change:
                    self._say_measured()
        except Exception as error:  # without this thread the parent would wait for figures that never come
            say(say="error", text=f"{type(error).__name__}: {error}")
            traceback.print_exc()

    def _say_ready(self) -> None:
        now = self._cameras.ready_count, self._cameras.failures
        if now != self._said:
            self._said = now
            say(say="ready", count=now[0], failures=now[1])

    def _say_measured(self) -> None:
        found = self._cameras.recorder.take()
        totals = self._cameras.totals()
        say(
            say="measured", outcome=vars(totals), begun_ns=self._cameras.begun_ns, unsent=self._cameras.unsent(),
            lag_s=self._cameras.lag_s(), clamped=found.clamped, hist=found.to_json(),
        )  # fmt: skip


def _producer(spec: dict[str, Any], bytes_per_s: Fraction) -> ProducerLike:
    """Return what the streams are opened at: a producer, or the sink that measures the cost of the load itself."""
    if spec["endpoint"] == "sink":
        return Sink()
    import kvspic
    from kvspic.retry import CallRates

    share = spec["call_share"]  # of an account's quotas; 0: an endpoint that has none
    rates = CallRates()
    scaled = CallRates(**{name: rate * share for name, rate in vars(rates).items()})
    wanted = int(bytes_per_s * spec["streams"] * STORE_S)
    return kvspic.Producer(
        endpoint_url=spec["endpoint"] or None,
        region=spec["region"] or None,
        store_size=max(STORE_MIN, min(wanted, spec["store_max"])),
        client_id="kvspic-bench",
        call_rates=scaled,
    )


def stream_options() -> dict[str, Any]:
    """The options of each stream; an hour of retention is the least that a service acknowledges as persisted."""
    return {"retention": timedelta(hours=1), "media_check": False}


def main() -> None:
    """Carry out the orders of standard input until it ends."""
    made: _Generator | None = None
    try:
        for line in sys.stdin:
            order = json.loads(line)
            if made is None:
                order["options"] = stream_options()
                made = _Generator(order)
            else:
                made.do(order)
    except Exception as error:
        say(say="error", text=f"{type(error).__name__}: {error}")
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(0)  # open connections are cut: the program that closed our input does not wait for them


if __name__ == "__main__":
    main()
