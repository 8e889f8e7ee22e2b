"""How an upload went: its figures, as the one JSON object that scripts read and as the lines that people read. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvspic.commands.exits import CliError, ExitCode

__all__ = ["UploadResult", "quantile"]


def quantile(samples: Sequence[int], fraction: float) -> int | None:
    """Return the value that ``fraction`` of the samples do not exceed; None without samples. ``samples`` is sorted."""
    return samples[min(int(fraction * len(samples)), len(samples) - 1)] if samples else None


@dataclass(frozen=True)
class UploadResult:
    """The end of an upload. Latencies are None where nothing was measured.

    ``frames_offered`` are those that the source gave, ``frames_put`` those that the stream took, with the
    ``frames_recovered`` that an earlier upload had left in the spool; ``frames_spooled`` are left there now, None
    without a spool. ``put_ns_*`` is the time of one call of ``put_frame``, waiting for room not counted;
    ``ack_persisted_ms_*`` is from a fragment's first byte sent to its PERSISTED.
    """

    frames_offered: int = 0
    frames_put: int = 0
    frames_persisted: int = 0
    frames_dropped: int = 0
    frames_buffered: int = 0
    fragments_persisted: int = 0
    bytes_sent: int = 0
    put_ns_p50: int | None = None
    put_ns_p99: int | None = None
    ack_persisted_ms_p50: float | None = None
    ack_persisted_ms_p99: float | None = None
    seconds: float = 0.0
    state: str = "NEW"
    dropped: Mapping[str, int] = field(default_factory=dict)
    adds_up: bool = True
    problem: CliError | None = None
    frames_spooled: int | None = None
    frames_recovered: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether everything that the source gave, and the spool held, is persisted."""
        offered = self.frames_offered + self.frames_recovered
        return self.frames_persisted == self.frames_put == offered and self.adds_up

    def failure(self) -> CliError | None:
        """Return why the command does not end with 0; None if it does."""
        if self.problem is not None or self.is_complete:
            return self.problem
        offered = self.frames_offered + self.frames_recovered
        lost = offered - self.frames_persisted
        remedy = "put the input again"
        if self.frames_spooled:
            remedy = f"{self.frames_spooled} are in the spool and go first when the command is run again"
        return CliError(ExitCode.INCOMPLETE, f"{lost} of {offered} frames were not persisted: {remedy}.")

    def to_json(self) -> str:
        """Return the object of ``--json``; its keys never change, only a failure adds ``error``, a spool its two."""
        shown: dict[str, Any] = {
            "frames_put": self.frames_put,
            "frames_persisted": self.frames_persisted,
            "frames_dropped": self.frames_dropped,
            "frames_buffered": self.frames_buffered,
            "fragments_persisted": self.fragments_persisted,
            "bytes_sent": self.bytes_sent,
            "put_ns_p50": self.put_ns_p50,
            "put_ns_p99": self.put_ns_p99,
            "ack_persisted_ms_p50": self.ack_persisted_ms_p50,
            "ack_persisted_ms_p99": self.ack_persisted_ms_p99,
            "seconds": round(self.seconds, 3),
            "state": self.state,
        }
        if self.frames_spooled is not None:
            shown |= {"frames_spooled": self.frames_spooled, "frames_recovered": self.frames_recovered}
        failure = self.failure()
        return json.dumps(shown if failure is None else {**shown, "error": str(failure)})

    def lines(self) -> list[str]:
        """Return the report for people: the ledger first, which adds up."""
        reasons = ", ".join(f"{name} {count}" for name, count in self.dropped.items() if count)
        why = f" ({reasons})" if reasons else ""
        ledger = (
            f"{self.frames_put} frames put = {self.frames_persisted} persisted + {self.frames_dropped} dropped{why}"
            f" + {self.frames_buffered} buffered"
        )
        if self.frames_spooled is not None:
            ledger += f" + {self.frames_spooled} spooled ({self.frames_recovered} recovered)"
        lines = [
            f"Ledger     {ledger}{'' if self.adds_up else ' - which does not add up; please report it'}",
            f"Fragments  {self.fragments_persisted} persisted",
            f"Sent       {self.bytes_sent} bytes in {self.seconds:.2f} s ({self._rate():.2f} MB/s)",
            f"put_frame  {_us(self.put_ns_p50)} (p50), {_us(self.put_ns_p99)} (p99)",
            f"PERSISTED  {_ms(self.ack_persisted_ms_p50)} (p50), {_ms(self.ack_persisted_ms_p99)} (p99)"
            " after a fragment's first byte",
        ]
        return lines

    def _rate(self) -> float:
        return self.bytes_sent / 1e6 / self.seconds if self.seconds else 0.0


def _us(value_ns: int | None) -> str:
    return "-" if value_ns is None else f"{value_ns / 1000:.1f} us"


def _ms(value_ms: float | None) -> str:
    return "-" if value_ms is None else f"{value_ms:.1f} ms"
