"""The messages between controller and agent, generated from ``bench.proto``, and the name of their one call."""

from __future__ import annotations

from kvspic.bench.proto.bench_pb2 import ControlMessage, LiveStats

__all__ = ["METHOD", "PROTOCOL", "SERVICE", "ControlMessage", "LiveStats"]

SERVICE = "kvspic.bench.v1.Agent"
METHOD = "ExecuteWorkload"
PROTOCOL = 1
"""The version that both sides must have."""
