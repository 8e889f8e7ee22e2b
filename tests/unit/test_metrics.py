"""Figures for Prometheus. Goal: what a scrape shows is the ledger of the open streams, and scraping never fails."""

import json
import re
import sys
import time
from pathlib import Path

import prometheus_client
import pytest

import kvspic
from kvspic.driver.watch import Histogram
from kvspic.local.server import LocalEndpoint
from kvspic.metrics import register

TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
FIGURE = re.compile(r"kvspic_\w+")
DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "dashboard.json"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path_factory.mktemp("data")) as endpoint:
        yield endpoint.url


def put(stream, count):
    for number in range(count):
        stream.put_frame(bytes(100), pts=time.time_ns() + number * 1_000_000_000, key_frame=True)


def scraped(registry):
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_the_ledger_of_each_stream(url):
    registry = prometheus_client.CollectorRegistry()
    with kvspic.Producer(endpoint_url=url) as producer:
        register(producer, registry)
        assert [key for key in scraped(registry) if key[1]] == []
        stream = producer.open_stream("one", TRACKS)
        producer.open_stream("two", TRACKS)
        put(stream, 4)
        stream.flush(20)
        found = scraped(registry)
        one = (("stream", "one"),)
        assert found["kvspic_frames_put_total", one] == found["kvspic_frames_done_total", one] == 4
        assert found["kvspic_bytes_done_total", one] == 400
        assert found["kvspic_frames_buffered", one] == 0
        assert found["kvspic_frames_dropped_total", (("reason", "store_full"), *one)] == 0
        assert found["kvspic_stream_healthy", one] == 1
        assert found["kvspic_frames_put_total", (("stream", "two"),)] == 0
        everything = (("ack", "persisted"), ("le", "+Inf"), *one)
        assert found["kvspic_ack_latency_seconds_bucket", everything] == stream.metrics().acks_persisted
        assert found["kvspic_store_max_bytes", ()] == 128 * 1024 * 1024
    assert scraped(registry) == {}


def test_a_histogram_counts_each_ack_in_the_least_bucket_that_holds_it():
    histogram = Histogram()
    for seconds in (0.05, 0.1, 0.3, 100):
        histogram.add(int(seconds * 1e9))
    assert histogram.buckets()[:3] == [("0.1", 2.0), ("0.25", 2.0), ("0.5", 3.0)]
    assert histogram.buckets()[-2:] == [("60.0", 3.0), ("+Inf", 4.0)]
    assert histogram.sum_ns == 100_450_000_000


def test_a_collector_keeps_no_producer_alive(url):
    registry = prometheus_client.CollectorRegistry()
    producer = kvspic.Producer(endpoint_url=url)
    register(producer, registry)
    thread = producer._thread._thread
    with pytest.warns(ResourceWarning, match="never closed"):
        del producer
    thread.join(10)
    assert scraped(registry) == {}


def test_without_the_package_the_command_is_named(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with kvspic.Producer(endpoint_url=url) as producer, pytest.raises(ImportError, match=r"'kvspic\[metrics\]'"):
        register(producer)


def test_the_dashboard_draws_figures_that_there_are(url):
    registry = prometheus_client.CollectorRegistry()
    with kvspic.Producer(endpoint_url=url) as producer:
        register(producer, registry)
        names = {sample.name for family in registry.collect() for sample in family.samples}
        names |= {family.name for family in registry.collect()}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    drawn = {name for panel in panels for target in panel["targets"] for name in FIGURE.findall(target["expr"])}
    assert len(drawn) >= 10
    assert {name.removesuffix("_total").removesuffix("_bucket") for name in drawn} <= names
