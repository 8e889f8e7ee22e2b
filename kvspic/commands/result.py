"""How an upload went: its figures, as the one JSON object that scripts read and as the lines that people read. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvspic.commands.exits import CliError, ExitCode

__all__ = ["UploadResult", "quantile"]

# Why frames were dropped, and what helps: the same input put again in the same way would lose some of them again.
REMEDIES = {
    "skipped": "came without the key frame that they need, before the first one or after a gap, and cannot be decoded: "
    "let the input begin with a key frame",
    "store_full": "found no room, because the link was too slow for the pace: put the input with --offline, or give a "
    "larger --store-size",
    "buffer_duration": "waited too long, because the link was too slow for the pace: put the input with --offline",
    "error_ack": "were refused by the service: -v shows its errors",
    "backward": "had times that go back: make new times first (ffmpeg -i IN -c copy OUT.mkv)",
    "late": "came after their fragment had ended: interleave the input first (ffmpeg -i IN -c copy OUT.mkv)",
    "spool_full": "went when the spool was full: give it more room",
    "spool_lost": "could not be kept in the spool: look at its disk",
}


def quantile(samples: Sequence[int], fraction: float) -> int | None:
    """Return the value that ``fraction`` of the samples do not exceed; None without samples. ``samples`` is sorted."""
    return samples[min(int(fraction * len(samples)), len(samples) - 1)] if samples else None


@dataclass(frozen=True)
class UploadResult:
    """The end of an upload. Latencies are None where nothing was measured.

    ``frames_offered`` are those that the source gave, ``frames_put`` those that the stream took, with the
    ``frames_recovered`` that an earlier upload had left in the spool; ``frames_spooled`` are left there now, None
    without a spool. ``put_ns_*`` is the time of one call of ``put_frame``, waiting for room not counted;
    ``ack_persisted_ms_*`` is from a fragment's first byte sent to its PERSISTED. ``undecodable`` is what the media
    check said of media that no player can show; empty when it found nothing of that kind.
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
    undecodable: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether everything that the source gave, and the spool held, is persisted."""
        offered = self.frames_offered + self.frames_recovered
        return self.frames_persisted == self.frames_put == offered and self.adds_up

    def failure(self) -> CliError | None:
        """Return why the command does not end with 0; None if it does."""
        is_incomplete = self.problem is None or self.problem.code == ExitCode.INCOMPLETE
        if self.undecodable and is_incomplete:
            return CliError(ExitCode.MEDIA, f"What was uploaded cannot be decoded: {self.undecodable}.")
        if self.problem is not None or self.is_complete:
            return self.problem
        offered = self.frames_offered + self.frames_recovered
        lost = offered - self.frames_persisted
        why = "; ".join(self._losses()) or "put the input again"
        return CliError(ExitCode.INCOMPLETE, f"{lost} of {offered} frames were not persisted: {why}.")

    def _losses(self) -> Iterator[str]:
        """Say of each loss how many frames it took, why, and what helps."""
        for reason, remedy in REMEDIES.items():
            if self.dropped.get(reason):
                yield f"{self.dropped[reason]} {remedy}"
        refused = self.frames_offered + self.frames_recovered - self.frames_put
        if refused > 0 and self.frames_put:
            yield f"{refused} were refused or never put: repair the input"
        if self.frames_buffered:
            yield f"{self.frames_buffered} were still to be sent: put the input again"
        if self.frames_spooled:
            yield f"{self.frames_spooled} are in the spool and go first when the command is run again"

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
            f"put_frame  {_us(self.put_ns_p50)} (p50), {_us(self.put_ns_p99)} (p99), at the pace of this upload",
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
