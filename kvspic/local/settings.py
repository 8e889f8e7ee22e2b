"""The settings of the local endpoint: limits of the service, delays, and the account that it claims.

Pure data. Sizes in bytes, times in 100 ns ticks. Defaults are the published limits of PutMedia (AWS developer guide,
"Kinesis Video Streams quotas"); tests and simulations shorten what they need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kvspic.local.quotas import Quotas
from kvspic.units import HNS_PER_MS, HNS_PER_S

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Settings of the model; the socket side has its own in ``server.py``."""

    region: str = "us-east-1"
    account: str = "123456789012"
    quotas: Quotas = field(default_factory=Quotas)
    """What a client may do how often; :meth:`~kvspic.local.quotas.Quotas.off` lifts all of it."""
    creating_hns: int = 100 * HNS_PER_MS
    """How long a new stream is CREATING."""
    updating_hns: int = 100 * HNS_PER_MS
    """How long a changed stream is UPDATING."""
    deleting_hns: int = 100 * HNS_PER_MS
    """How long a deleted stream is DELETING; its media is gone at once."""
    persist_delay_hns: int = 0
    """Added between durable on disk and the PERSISTED ACK, to behave like a service that is far away."""
    idle_interval_hns: int = 5 * HNS_PER_S
    """An IDLE ACK after each such time without data."""
    idle_max_hns: int = 30 * HNS_PER_S
    """A session without data this long is closed."""
    session_age_max_hns: int = 45 * 60 * HNS_PER_S
    fragment_size_max: int = 50 * 1024 * 1024
    fragment_duration_max_hns: int = 20 * HNS_PER_S
    header_size_max: int = 8 * 1024 * 1024
    """Not published; it bounds what a session may send before its first Cluster."""
    elements_max: int = 50_000
    """Not published: Matroska elements of a fragment, or before the first; 20 s of frames have a tenth of them."""
    tracks_max: int = 3
    tags_max: int = 10
    host_buffer_hns: int = 5 * 60 * HNS_PER_S
    """How long fragments of a stream with retention 0 can still be read."""

    @classmethod
    def unlimited(cls, **others: Any) -> Settings:
        """Return settings without quotas and waits, for benchmarks and tests of other things; ``others`` are set."""
        return cls(**{
            "quotas": Quotas.off(),
            "creating_hns": 0,
            "updating_hns": 0,
            "deleting_hns": 0,
            **others,
        })  # fmt: skip
