"""Cameras and encoders as they are, through the facade to the local endpoint. Goal: what is persisted can be decoded,
and is shown at the times that were given, however the frames were cut into calls."""

import re
import time
from datetime import timedelta

import boto3
import pytest

import kvspic
from kvspic.local.mkv_events import Block, ClusterStart, Header
from kvspic.local.mkv_reader import MkvReader
from kvspic.local.server import LocalEndpoint
from kvspic.sources import open_source

MS = 1_000_000
CLIPS = {
    "h264": ("h264_baseline_320x240_25fps.h264", kvspic.H264Track),
    "h265": ("h265_main_aud_640x360_25fps.h265", kvspic.H265Track),
}
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path_factory.mktemp("data")) as endpoint:
        yield endpoint.url


@pytest.fixture(params=list(CLIPS))
def clip(request, media_dir):
    """Codec, track, and its access units: NALs, is_key."""
    name, track = CLIPS[request.param]
    with open_source(str(media_dir / name), fps=25) as source:
        units = [(nals_of(bytes(frame.data)), frame.key_frame) for frame in source.frames()]
    return request.param, track, units


def nals_of(data):
    return [nal for nal in re.split(rb"\x00*\x00\x00\x01", data) if nal]


def is_set(codec, nal):
    return nal[0] & 31 in (7, 8) if codec == "h264" else nal[0] >> 1 in (32, 33, 34)


def annexb(*nals):
    return b"".join(b"\0\0\0\1" + nal for nal in nals)


def lengths(*nals):
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def uploaded(url, name, tracks, puts, **options):
    """Put (data, pts in ms, key flag) and return the report and what the endpoint has: (ms, payload), headers."""
    base_ms = time.time_ns() // MS - 60_000
    with kvspic.Producer(endpoint_url=url) as producer:
        with producer.open_stream(name, tracks, **{"offline": True, "media_check": False} | options) as stream:
            for data, pts_ms, key in puts:
                stream.put_frame(data, pts=(base_ms + pts_ms) * MS, key_frame=key)
        report, metrics = stream.report, stream.metrics()
    blocks, headers = stored(url, name)
    return report, metrics, [(at - base_ms, payload) for at, payload in blocks], headers


def stored(url, name):
    control = boto3.client("kinesisvideo", endpoint_url=url, **KEYS)
    data_url = control.get_data_endpoint(StreamName=name, APIName="LIST_FRAGMENTS")["DataEndpoint"]
    archived = boto3.client("kinesis-video-archived-media", endpoint_url=data_url, **KEYS)
    span = {"StartTimestamp": 0, "EndTimestamp": 8_000_000_000}
    selector = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": span}
    pages = archived.get_paginator("list_fragments").paginate(StreamName=name, FragmentSelector=selector)
    found = [fragment for page in pages for fragment in page["Fragments"]]
    numbers = [fragment["FragmentNumber"] for fragment in sorted(found, key=lambda f: f["ProducerTimestamp"])]
    reader, blocks, headers = MkvReader(keep_payload=True), [], []
    body = archived.get_media_for_fragment_list(StreamName=name, Fragments=numbers)["Payload"].read()
    for event in reader.feed(body):
        if isinstance(event, Header):
            headers.append(event.tracks[0].codec_private)
        elif isinstance(event, Block):
            blocks.append((event.timecode, event.payload))
        else:
            assert not isinstance(event, ClusterStart) or event.timecode
    return blocks, headers


@pytest.mark.parametrize("frame_of", [annexb, lengths])
def test_each_nal_in_a_call_of_its_own(url, clip, frame_of):
    codec, track, units = clip
    puts = [
        (frame_of(nal), number * 40, key and not is_set(codec, nal))
        for number, (nals, key) in enumerate(units[:60])
        for nal in nals
    ]
    report, metrics, blocks, headers = uploaded(url, f"own-{codec}-{frame_of.__name__}", [track()], puts)
    assert report.frames_done == report.frames_put == 60
    assert metrics.calls_joined == len(puts) - 60
    assert metrics.fragments_without_cpd[0] == 0
    assert all(headers)
    assert len(set(headers)) == 1
    assert blocks == [(number * 40, lengths(*nals)) for number, (nals, _) in enumerate(units[:60])]


def test_a_configuration_buffer_and_frames_without_sets(url, clip):
    codec, track, units = clip
    sets = [nal for nal in units[0][0] if is_set(codec, nal)]
    frames = [[nal for nal in nals if not is_set(codec, nal)] for nals, _ in units[:60]]
    puts = [(annexb(*sets), 0, True)] + [
        (annexb(*nals), number * 40, units[number][1]) for number, nals in enumerate(frames)
    ]
    report, metrics, blocks, headers = uploaded(url, f"config-{codec}", [track()], puts)
    assert (report.frames_done, metrics.fragments_without_cpd[0]) == (60, 0)
    assert all(headers)
    assert len(set(headers)) == 1
    assert blocks[0][1] == lengths(*sets, *frames[0])
    assert [payload for _, payload in blocks[1:]] == [lengths(*nals) for nals in frames[1:]]


def test_calls_without_a_picture_are_counted_right_with_a_spool(url, clip, tmp_path):
    codec, track, units = clip
    puts = [(annexb(nal), number * 40, key) for number, (nals, key) in enumerate(units[:30]) for nal in nals]
    report, _, blocks, _ = uploaded(url, f"spool-{codec}", [track()], puts, spool=tmp_path)
    assert (report.frames_put, report.frames_done, report.frames_spooled) == (30, 30, 0)
    assert report.adds_up
    assert len(blocks) == 30
    again, _, _, _ = uploaded(url, f"spool-{codec}", [track()], [], spool=tmp_path)
    assert again.frames_recovered == 0  # all calls were settled


def test_empty_nal_units_and_zeros_are_left_out(url, clip):
    codec, track, units = clip
    puts = []
    for number, (nals, key) in enumerate(units[:30]):
        parts = [b"", nals[0], b"", *nals[1:], b""]
        data = lengths(*parts) if number % 2 else b"\0\0\0\1".join([b"", *parts]) + b"\0\0\0"
        puts.append((data, number * 40, key))
    report, _, blocks, _ = uploaded(url, f"empty-{codec}", [track()], puts)
    assert report.frames_done == 30
    assert blocks == [(number * 40, lengths(*nals)) for number, (nals, _) in enumerate(units[:30])]


def test_b_frames_with_a_pts_and_no_dts_are_shown_when_they_were_to_be(url, clip):
    codec, track, units = clip
    order = [0, 120, 40, 80]  # decoding order of times to show; what is in the frames does not matter
    times = [number // 4 * 160 + order[number % 4] for number in range(32)]
    puts = [(annexb(*units[0][0]), at, number % 8 == 0) for number, at in enumerate(times)]
    report, metrics, blocks, _ = uploaded(url, f"pts-{codec}", [track()], puts)
    assert [at for at, _ in blocks] == times
    assert (report.times_shifted, report.times_bumped, metrics.shift_hns) == (0, 0, 0)
    assert report.frames_done == 32


def test_a_clock_that_goes_back_and_comes_right_again(url, clip):
    codec, track, units = clip
    events = []
    times = [number * 40 - (5000 if 20 <= number < 60 else 0) + 10_000 for number in range(100)]
    puts = [(annexb(*units[0][0]), at, number % 10 == 0) for number, at in enumerate(times)]
    report, metrics, blocks, _ = uploaded(url, f"clock-{codec}", [track()], puts, on_event=events.append)
    assert [at for at, _ in blocks] == [number * 40 + 10_000 for number in range(100)]
    assert (report.times_shifted, metrics.shift_hns) == (1, 0)
    restored = [event for event in events if isinstance(event, kvspic.TimesRestored)]
    assert [(event.track, event.shift_ns) for event in restored] == [(1, 5000 * MS)]


@pytest.mark.parametrize("begin_ms", [1000, 2000, 3000])
@pytest.mark.parametrize("offline", [True, False])
def test_a_track_that_begins_later_gets_a_fragment_that_announces_it(url, media_dir, offline, begin_ms):
    """Short groups of pictures of a file share a fragment; sound that comes back has to end it."""
    with open_source(str(media_dir / "h264_baseline_320x240_25fps.h264"), fps=25) as source:
        key = next(bytes(frame.data) for frame in source.frames())
    sound = kvspic.AacTrack(number=2, sample_rate=48000, channels=2)
    base_ns = time.time_ns() - 60_000 * MS
    with kvspic.Producer(endpoint_url=url) as producer:
        with producer.open_stream(
            f"late-{begin_ms}-{offline}", [kvspic.H264Track(number=1), sound], offline=offline, media_check=False
        ) as stream:
            for at_ms in range(0, 5000, 20):
                if at_ms % 40 == 0:
                    stream.put_frame(key, pts=base_ns + at_ms * MS, key_frame=at_ms % 1000 == 0)
                if at_ms >= begin_ms:
                    stream.put_frame(b"\x21\x10\x07", pts=base_ns + at_ms * MS, track=2)
        assert sum(stream.report.dropped.values()) == 0
        assert stream.metrics().sessions <= 3


@pytest.mark.parametrize("in_calls", [1, 2])
def test_a_configuration_buffer_that_left_the_ring_goes_out_with_a_trigger(url, clip, in_calls):
    codec, track, units = clip
    sets = [nal for nal in units[0][0] if is_set(codec, nal)]
    pictures = [(annexb(*(nal for nal in nals if not is_set(codec, nal))), key) for nals, key in units[:60]]
    base_ns = time.time_ns() - 60_000 * MS
    name, size = f"ring-{codec}-{in_calls}", 2 * sum(len(data) for data, _ in pictures)
    with kvspic.Producer(endpoint_url=url) as producer:
        with producer.open_stream(name, [track()], pre_roll=timedelta(seconds=1), pre_roll_size=size) as stream:
            for part in [sets] if in_calls == 1 else [[nal] for nal in sets]:
                stream.put_frame(annexb(*part), pts=base_ns)
            for number in range(600):  # so many that the first ones leave the ring
                data, key = pictures[number % 60]
                stream.put_frame(data, pts=base_ns + number * 40 * MS, key_frame=key)
            assert stream.report.frames_expired > len(sets)
            stream.trigger(timedelta(seconds=5))
        report = stream.report
        assert report.media_problems == 0
        assert report.adds_up
    blocks, headers = stored(url, name)
    assert blocks
    assert all(headers)


@pytest.mark.parametrize("offline", [True, False])
def test_sets_that_change_within_the_least_length_of_a_fragment_open_a_session(url, media_dir, offline):
    """An encoder that is set up again after half a second, and back: each run of pictures keeps its own sets."""
    runs = []
    for name in ("h264_baseline_320x240_25fps.h264", "h264_high_640x360_25fps.h264"):
        with open_source(str(media_dir / name), fps=25) as source:
            frames = [(bytes(frame.data), frame.key_frame) for frame in source.frames()][:12]
        runs.append(frames)
    puts = [
        (data, (run * 12 + number) * 40, key) for run in range(4) for number, (data, key) in enumerate(runs[run % 2])
    ]
    name = f"sets-{offline}"
    report, metrics, blocks, headers = uploaded(url, name, [kvspic.H264Track()], puts, offline=offline)
    assert report.frames_done == len(blocks) == 48
    assert metrics.fragments_put == 4
    assert len(set(headers)) == 2
    assert headers == [headers[0], headers[1]] * 2
