"""``put_source`` of both streams. Goal: a whole source in one call, at the right time, with all that frames carry."""

import asyncio
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest

import kvspic
from kvspic.sources import SourceError, SourceFrame, SourceTrack

pytest.importorskip("aiohttp")
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

S = 1_000_000_000
TRACK = SourceTrack(1, "video", "V_TEST", "test", b"first", "video/x-test")


class Frames:
    """Four seconds of frames, a key frame every second; the private data changes in the middle."""

    tracks = (TRACK,)
    content_type = TRACK.content_type
    notices = ()

    def __init__(self, start_ns=None, duration_ns=4 * S, breaks_at=None):
        self.start_ns, self.duration_ns, self._breaks_at = start_ns, duration_ns, breaks_at

    def frames(self):
        for number in range(40):
            if number == self._breaks_at:
                raise SourceError("The medium is broken: repair it.")
            at_ns = number * S // 10
            frame = SourceFrame(1, bytes(100), at_ns, at_ns, S // 10, number % 10 == 0)
            yield replace(frame, codec_private=b"second") if number == 20 else frame


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("put-source")
    with LocalEndpoint.run_in_thread(folder, settings=Settings.unlimited()) as running:
        yield running


def put(endpoint, name, source, begin_ns=None, **options):
    """Put the source and return the report, the stored fragments, and when the call began and ended."""
    with (
        kvspic.Producer(endpoint_url=endpoint.url) as producer,
        producer.open_stream(name, source.tracks, **options) as stream,
    ):
        before_ns = time.time_ns()
        stream.put_source(source, begin_ns)
        after_ns = time.time_ns()
    return stream.report, endpoint.fragments(name), before_ns, after_ns


def begin_of(fragments):
    return fragments[0].producer_hns * 100


def test_all_frames_and_the_private_data_that_changes(endpoint):
    report, fragments, _, _ = put(endpoint, "all", Frames(), fragment_duration_min=timedelta(0))
    assert report.frames_put == report.frames_done == 40
    assert [fragment.tracks[0].codec_private for fragment in fragments] == [b"first"] * 2 + [b"second"] * 2


def test_a_live_stream_begins_now(endpoint):
    _, fragments, before_ns, after_ns = put(endpoint, "live", Frames())
    assert before_ns - S // 1000 <= begin_of(fragments) <= after_ns


def test_the_source_of_an_offline_stream_ends_now(endpoint):
    _, fragments, before_ns, after_ns = put(endpoint, "offline", Frames(), offline=True)
    assert before_ns - S // 1000 <= begin_of(fragments) + 4 * S <= after_ns


def test_an_offline_source_that_does_not_know_how_long_it_is_begins_now(endpoint):
    _, fragments, before_ns, after_ns = put(endpoint, "pipe", Frames(duration_ns=None), offline=True)
    assert before_ns - S // 1000 <= begin_of(fragments) <= after_ns


@pytest.mark.parametrize("begin_ns", [None, 1_750_000_000 * S])
def test_a_recording_keeps_its_start_unless_the_caller_knows_better(endpoint, begin_ns):
    start_ns = 1_700_000_000 * S
    _, fragments, _, _ = put(endpoint, f"recording-{begin_ns}", Frames(start_ns), begin_ns, offline=True)
    assert begin_of(fragments) == (begin_ns or start_ns)


def test_what_a_source_gave_before_it_broke_is_uploaded(endpoint):
    with (
        kvspic.Producer(endpoint_url=endpoint.url) as producer,
        producer.open_stream("broken", [TRACK]) as stream,
        pytest.raises(SourceError),
    ):
        stream.put_source(Frames(breaks_at=15))
    assert stream.report.frames_done == 15


# ---- the same, awaited


async def put_awaited(endpoint, name, source, begin_ns=None, **options):
    async with (
        kvspic.AsyncProducer(endpoint_url=endpoint.url) as producer,
        producer.open_stream(name, source.tracks, **options) as stream,
    ):
        await stream.put_source(source, begin_ns)
    return stream.report, endpoint.fragments(name)


def test_awaited_all_frames_and_the_private_data_that_changes(endpoint):
    begin_ns = 1_750_000_000 * S
    report, fragments = asyncio.run(
        put_awaited(endpoint, "awaited", Frames(), begin_ns, offline=True, fragment_duration_min=timedelta(0))
    )
    assert report.frames_put == report.frames_done == 40
    assert [fragment.tracks[0].codec_private for fragment in fragments] == [b"first"] * 2 + [b"second"] * 2
    assert begin_of(fragments) == begin_ns


def test_awaited_a_recording_keeps_its_start(endpoint):
    start_ns = 1_700_000_000 * S
    _, fragments = asyncio.run(put_awaited(endpoint, "awaited-recording", Frames(start_ns), offline=True))
    assert begin_of(fragments) == start_ns


def test_awaited_a_source_that_breaks_raises_after_the_frames_before(endpoint):
    async def main():
        async with (
            kvspic.AsyncProducer(endpoint_url=endpoint.url) as producer,
            producer.open_stream("awaited-broken", [TRACK]) as stream,
        ):
            with pytest.raises(SourceError):
                await stream.put_source(Frames(breaks_at=15))
        return stream.report

    assert asyncio.run(main()).frames_done == 15


def test_awaited_a_source_that_waits_leaves_the_loop_free_and_may_be_cancelled(endpoint):
    is_read, may_go_on = threading.Event(), threading.Event()

    class Waiting(Frames):
        def frames(self):
            is_read.set()
            may_go_on.wait(60)
            yield from super().frames()

    async def main():
        async with (
            kvspic.AsyncProducer(endpoint_url=endpoint.url) as producer,
            producer.open_stream("awaited-waiting", [TRACK]) as stream,
        ):
            task = asyncio.create_task(stream.put_source(Waiting()))
            while not is_read.is_set():
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            may_go_on.set()
        return stream.report

    assert asyncio.run(main()).frames_put == 0
