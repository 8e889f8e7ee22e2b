"""Figures of a producer for Prometheus; needs the extra ``metrics``. They are read when they are asked for.

``register(producer)`` once, then every scrape shows the ledger of each open stream by reason, bytes, the buffer, the
latency of ACKs as a histogram, and health. A stream that is closed is no longer shown. ``docs/dashboard.json`` draws
all of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvspic.producer import AsyncProducer, Producer
from kvspic.types import DropReason

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from kvspic.driver.stream import StreamWork
    from kvspic.driver.work import ProducerWork

__all__ = ["ProducerCollector", "register"]

# Name, field of StreamMetrics, and what it counts; all with the label ``stream``.
COUNTERS = (
    ("kvspic_frames_put", "frames_put", "Frames that were put."),
    ("kvspic_frames_done", "frames_done", "Frames that the service has: persisted, or received at retention 0."),
    ("kvspic_bytes_put", "bytes_put", "Bytes of the frames that were put."),
    ("kvspic_bytes_done", "bytes_done", "Bytes of the frames that are done."),
    ("kvspic_bytes_dropped", "bytes_dropped", "Bytes of the frames that were dropped."),
    ("kvspic_bytes_sent", "bytes_sent", "Bytes of all PutMedia bodies, repetitions and headers included."),
    ("kvspic_fragments_done", "fragments_done", "Fragments that are done."),
    ("kvspic_fragments_resent", "fragments_resent", "Fragments that were sent once more after a cut."),
    ("kvspic_sessions", "sessions", "PutMedia connections that stood, also those that the service then refused."),
)
GAUGES = (
    ("kvspic_frames_buffered", "frames_buffered", "Frames in memory that are not done."),
    ("kvspic_bytes_buffered", "bytes_buffered", "Bytes of the frames in memory that are not done."),
    ("kvspic_frames_spooled", "frames_spooled", "Frames that are only in the spool's files."),
)


def register(producer: Producer | AsyncProducer, registry: CollectorRegistry | None = None) -> ProducerCollector:
    """Show a producer's figures in ``registry`` (default: the one of the process) until it is unregistered there.

    Raises:
        ImportError: prometheus_client is not installed: ``pip install 'kvspic[metrics]'``.
    """
    try:
        import prometheus_client
    except ImportError as error:
        text = "Metrics need prometheus_client, which is not installed: run `pip install 'kvspic[metrics]'`."
        raise ImportError(text, name="prometheus_client") from error
    collector = ProducerCollector(producer)
    (registry or prometheus_client.REGISTRY).register(collector)
    return collector


class ProducerCollector:
    """What a registry asks. It does not keep the producer alive."""

    def __init__(self, producer: Producer | AsyncProducer) -> None:
        self._work: weakref.ref[ProducerWork] = weakref.ref(producer._work)

    def describe(self) -> list[Metric]:
        """Nothing, so that registering asks no producer."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures now; none once the producer is closed."""
        work = self._work()
        if work is None or work.is_closed:
            return
        # Of two open streams with one name the later one is shown.
        streams = {stream.name: stream for stream in list(work.streams.values())}
        yield from _ledgers(streams)
        yield from _latencies(streams)
        yield from _states(streams, work)
        yield from _store(work)


def _ledgers(streams: dict[str, StreamWork]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    found = {name: stream.metrics() for name, stream in streams.items()}
    for family, field, text in COUNTERS:
        counter = CounterMetricFamily(family, text, labels=["stream"])
        for name, metrics in found.items():
            counter.add_metric([name], getattr(metrics, field))
        yield counter
    dropped = CounterMetricFamily("kvspic_frames_dropped", "Frames that were dropped.", labels=["stream", "reason"])
    for name, metrics in found.items():
        for reason in DropReason:
            dropped.add_metric([name, reason.name.lower()], metrics.dropped[reason])
    yield dropped
    for family, field, text in GAUGES:
        gauge = GaugeMetricFamily(family, text, labels=["stream"])
        for name, metrics in found.items():
            gauge.add_metric([name], getattr(metrics, field))
        yield gauge


def _latencies(streams: dict[str, StreamWork]) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily

    text = "From the first byte of a fragment on the wire to its ACK."
    family = HistogramMetricFamily("kvspic_ack_latency_seconds", text, labels=["stream", "ack"])
    for name, stream in streams.items():
        for kind, histogram in stream.latency.histograms.items():
            family.add_metric([name, kind.name.lower()], histogram.buckets(), histogram.sum_ns / 1e9)
    yield family


def _states(streams: dict[str, StreamWork], work: ProducerWork) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    healthy = GaugeMetricFamily("kvspic_stream_healthy", "1 while the stream streams, else 0.", labels=["stream"])
    text = "1 for the state that the stream is in."
    state = GaugeMetricFamily("kvspic_stream_state", text, labels=["stream", "state"])
    problems = GaugeMetricFamily("kvspic_media_problems", "What the media check found so far.", labels=["stream"])
    for name, stream in streams.items():
        health = stream.health(work.next_deadline_hns())
        healthy.add_metric([name], float(health.is_healthy))
        state.add_metric([name, health.state.name.lower()], 1.0)
        problems.add_metric([name], stream.report().media_problems)
    yield from (healthy, state, problems)


def _store(work: ProducerWork) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    found = work.metrics()
    yield GaugeMetricFamily("kvspic_store_used_bytes", "Memory of frames, in whole slabs.", value=found.store_used)
    yield GaugeMetricFamily("kvspic_store_max_bytes", "Memory that frames may take.", value=found.store_max)
