"""Uploads that are made to hurt. Goal: each ends with ERROR 4006 after a bounded number of elements, and the loop is
never held for long, so that others are served meanwhile."""

import tracemalloc
from contextlib import suppress

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import Upload
from unit.local.test_put_session import Session, T

from kvspic.local.mkv_masters import parse_tags, parse_tracks
from kvspic.local.mkv_reader import UPLOAD_LIMITS, MkvReader
from kvspic.local.quotas import Quotas
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

VOID = bytes.fromhex("EC80")
EMPTY_TAG = bytes.fromhex("67C880")
PIECE = 256 * 1024
INVALID = "ERROR 4006"


def nested(ident, depth, inner=b""):
    for _ in range(depth):
        inner = mkv.element(ident, inner)
    return inner


def tags_of_a_million():
    return mkv.element("1254C367", mkv.element("7373", EMPTY_TAG * 300_000))


HOSTILE = {
    "tags of a million elements": mkv.header() + tags_of_a_million(),
    "tags of a million elements in parts": mkv.header() + mkv.element("1254C367", EMPTY_TAG * 20_000) * 41,
    "voids before a cluster": mkv.header() + VOID * 200_000,
    "voids in a cluster": mkv.header() + mkv.cluster(T) + VOID * 200_000,
    "voids before the segment": mkv.ebml() + VOID * 200_000,
    "voids in tracks": mkv.ebml() + mkv.segment_head() + mkv.info() + mkv.element("1654AE6B", VOID * 1_000_000),
    "voids in info": mkv.ebml() + mkv.segment_head() + mkv.element("1549A966", VOID * 30_000),
    "voids in the EBML head": mkv.element("1A45DFA3", VOID * 2000),
    "tiny tracks": mkv.ebml()
    + mkv.segment_head()
    + mkv.info()
    + mkv.element("1654AE6B", b"".join(mkv.element("AE", mkv.uint("D7", i + 1)) for i in range(50_000))),
    "nested video": mkv.ebml()
    + mkv.segment_head()
    + mkv.info()
    + mkv.element("1654AE6B", mkv.element("AE", mkv.uint("D7", 1) + nested("E0", 5000))),
    "nested tags": mkv.header() + mkv.element("1254C367", mkv.element("7373", nested("67C8", 5000))),
    "empty frames": mkv.header() + mkv.cluster(T) + mkv.block(1, b"") * 200_000,
}


def fed(session, data, piece=PIECE):
    """The ACKs of an upload as the endpoint reads it, and the most elements that it looked at in a row."""
    session.core.read_in_slices(1000)
    acks, most, before = [], 0, 0
    for start in range(0, len(data), piece):
        acks += session.feed(data[start : start + piece])
        most, before = max(most, session.core._reader.elements - before), session.core._reader.elements
        while session.core.has_more:
            acks += session.feed(b"")
            most, before = max(most, session.core._reader.elements - before), session.core._reader.elements
    return acks, most


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_hurt_ends_with_an_error(name):
    acks, most = fed(Session(), HOSTILE[name])
    assert acks[-1] == INVALID
    assert most <= 1000


@pytest.mark.parametrize("name", ["tags of a million elements", "tiny tracks", "nested tags"])
def test_its_memory_is_bounded(name):
    session = Session()
    data = HOSTILE[name]
    tracemalloc.start()
    fed(session, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("parse", [parse_tags, parse_tracks])
def test_a_held_element_is_read_up_to_its_limit_of_elements(parse):
    parse(VOID * 100, 0, 100)
    with pytest.raises(Exception, match="larger than the reader accepts"):
        parse(VOID * 101, 0, 100)


@pytest.mark.parametrize("piece", [1, 7, 1000, PIECE])
def test_slices_change_no_event(piece):
    data = mkv.header() + b"".join(mkv.cluster(T + 1000 * i, *[mkv.block(t) for t in range(50)]) for i in range(5))
    whole = MkvReader(limits=UPLOAD_LIMITS)
    expected = whole.feed(data)
    sliced = MkvReader(limits=UPLOAD_LIMITS)
    sliced.slice_max = 3
    found = []
    for start in range(0, len(data), piece):
        found += sliced.feed(data[start : start + piece])
        while sliced.has_more:
            found += sliced.feed(b"")
    assert found == expected
    assert sliced.offset == whole.offset


def test_a_slice_ends_after_a_held_element_that_is_large():
    """Each Tags element is one element, but takes milliseconds."""
    reader = MkvReader(limits=UPLOAD_LIMITS)
    reader.slice_max = 250
    tags = mkv.tags(*[("name", "value")] * 150)
    counts = [len(reader.feed(mkv.header() + tags * 20))]
    while reader.has_more:
        counts.append(len(reader.feed(b"")))
    assert sum(counts) == 22  # the document, its header, the tags
    assert counts == [3] + [1] * 19


FRAGMENT_MAX = 8_000_000
GREEDY = {
    "a whole fragment": mkv.header() + mkv.cluster(T, mkv.block(0, bytes(7_900_000))) + mkv.END,
    "a fragment without an end": mkv.header() + mkv.cluster(T, mkv.block(0, bytes(20_000_000))),
    "a fragment of many frames": mkv.header() + mkv.cluster(T, *[mkv.block(0, bytes(500))] * 15_000),
    "a header": mkv.ebml() + mkv.segment_head() + mkv.info() + mkv.element("1654AE6B", bytes(4_000_000)),
    "tags": mkv.header() + mkv.tags(*[("name" * 9, "value" * 9)] * 150) * 300,
}


@pytest.mark.parametrize("name", GREEDY)
def test_a_connection_needs_less_than_two_fragments_of_memory(name, tmp_path):
    settings = Settings.unlimited(fragment_size_max=FRAGMENT_MAX)
    with LocalEndpoint.run_in_thread(tmp_path, settings=settings) as endpoint:
        control = client("kinesisvideo", endpoint.url)
        control.create_stream(StreamName="cam", DataRetentionInHours=24)
        control.close()
        data = memoryview(GREEDY[name])
        tracemalloc.start()
        try:
            with Upload(endpoint.url) as upload, suppress(OSError, EOFError):
                for start in range(0, len(data), PIECE):
                    upload.send(data[start : start + PIECE])
                upload.end()
                upload.head()
                upload.acks()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert 1_000_000 < peak < 2 * FRAGMENT_MAX


def test_a_fragment_of_the_greatest_size_passes_in_slices():
    session = Session(Settings.unlimited(quotas=Quotas.off(), fragment_size_max=100_000))
    fragment = mkv.cluster(T, *[mkv.block(time, bytes(85)) for time in range(1000)], known=True)
    assert 95_000 < len(fragment) <= 100_000
    acks, _ = fed(session, mkv.header() + fragment + mkv.END + mkv.cluster(T + 5000, *[mkv.block()] * 500))
    assert acks[:2] == ["BUFFERING", "RECEIVED"]


def test_others_are_served_while_one_uploads_what_hurts(endpoint, control, camera):
    with Upload(endpoint.url) as upload:
        upload.send(mkv.header() + mkv.cluster(T) + VOID * 45_000)
        assert upload.head()[0] == 200
        assert control.describe_stream(StreamName="cam")["StreamInfo"]["Status"] == "ACTIVE"
        upload.send(VOID * 60_000)
        assert [ack["EventType"] for ack in upload.acks()] == ["BUFFERING", "ERROR"]
        assert upload.is_over()
