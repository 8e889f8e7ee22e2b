"""Sessions, clips and pictures. Goal: what players get of a stream are the frames that went up, at their own times."""

import base64
import hashlib
import io
import subprocess
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

import av
import pytest
from botocore.exceptions import ClientError
from unit.local.aws import client

from kvspic.commands.upload import Upload, UploadPlan
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.sources import open_source

CLIPS = {
    "b-frames": "h264_high_bframes_640x360_25fps.mp4",
    "with-sound": "av_h264_main_aac_44100_640x360_25fps.mp4",
    "h265": "h265_main_opengop_320x240_25fps.mp4",
}
STARTS = {}
"""When each stream begins, in seconds since 1970, by its producer; filled by the fixture."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory, media_dir):
    """An endpoint that holds each clip in a stream of its name, and VP9 in one more."""
    folder = tmp_path_factory.mktemp("stored")
    with LocalEndpoint.run_in_thread(folder, settings=Settings.unlimited()) as endpoint:
        for name, clip in {**CLIPS, "vp9": "vp9_320x240_25fps.webm"}.items():
            with open_source(str(media_dir / clip)) as source:
                plan = UploadPlan(source, name, endpoint_url=endpoint.url)
                assert Upload(plan).run().is_complete
            STARTS[name] = endpoint.fragments(name)[0].producer_hns / 1e7
        yield endpoint


@pytest.fixture
def archive(stored):
    made = client("kinesis-video-archived-media", stored.url)
    yield made
    made.close()


def span(begin_s=-1, end_s=3600, name="b-frames"):
    base = STARTS[name]
    return {
        "FragmentSelectorType": "PRODUCER_TIMESTAMP",
        "TimestampRange": {"StartTimestamp": base + begin_s, "EndTimestamp": base + end_s},
    }


def pictures(source, require_tool):
    """A hash of each decoded picture, in the order in which they are shown."""
    command = [require_tool("ffmpeg"), "-v", "error", "-i", str(source), "-map", "0:v", "-vsync", "passthrough"]
    done = subprocess.run([*command, "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
    return [line.split()[-1] for line in done.stdout.splitlines() if line and line[0] != "#"]


def hls(archive, name, **options):
    options = {"PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": span(name=name), **options}
    return archive.get_hls_streaming_session_url(StreamName=name, **options)["HLSStreamingSessionURL"]


def read(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode(), answer.headers


def refused(call, **options):
    with pytest.raises(ClientError) as caught:
        call(**options)
    return caught.value.response["Error"]["Code"]


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("container", ["FRAGMENTED_MP4", "MPEG_TS"])
def test_a_player_of_hls_gets_every_picture(archive, media_dir, require_tool, name, container):
    if (name, container) == ("h265", "FRAGMENTED_MP4"):
        pytest.skip("FFmpeg's reader of HLS loses a leading picture where fragments have movie boxes of their own")
    url = hls(archive, name, ContainerFormat=container)
    assert pictures(url, require_tool) == pictures(media_dir / CLIPS[name], require_tool)


@pytest.mark.parametrize("name", CLIPS)
def test_a_player_of_dash_gets_every_picture(archive, media_dir, require_tool, name):
    answer = archive.get_dash_streaming_session_url(
        StreamName=name, PlaybackMode="ON_DEMAND", DASHFragmentSelector=span(name=name)
    )
    url = answer["DASHStreamingSessionURL"]
    assert pictures(url, require_tool) == pictures(media_dir / CLIPS[name], require_tool)


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_has_the_packets_that_went_up(archive, media_dir, name):
    payload = archive.get_clip(StreamName=name, ClipFragmentSelector=span(name=name))["Payload"].read()
    with av.open(io.BytesIO(payload)) as clip, av.open(str(media_dir / CLIPS[name])) as source:
        for kind in ("video", "audio"):
            if not getattr(source.streams, kind):
                continue
            packets = [[bytes(p) for p in one.demux(getattr(one.streams, kind)[0]) if p.size] for one in (clip, source)]
            assert packets[0] == packets[1]
            clip.seek(0)
            source.seek(0)


def test_a_clip_keeps_to_its_limits(archive):
    assert (
        refused(archive.get_clip, StreamName="h265", ClipFragmentSelector=span(100, 200)) == "ResourceNotFoundException"
    )
    assert refused(archive.get_clip, StreamName="h265", ClipFragmentSelector=span(3, 1)) == "InvalidArgumentException"
    assert (
        refused(archive.get_clip, StreamName="vp9", ClipFragmentSelector=span())
        == "UnsupportedStreamMediaTypeException"
    )


def test_times_of_a_playlist_are_the_producers(stored, archive):
    url = hls(archive, "b-frames", DisplayFragmentTimestamp="ALWAYS").replace("getHLSMaster", "getHLSMedia")
    text, headers = read(url)
    times = [line for line in text.splitlines() if line.startswith("#EXT-X-PROGRAM-DATE-TIME")]
    produced = [fragment.producer_hns // 10_000 for fragment in stored.fragments("b-frames")]
    wanted = [datetime.fromtimestamp(0, timezone.utc) + timedelta(milliseconds=ms) for ms in produced]
    assert times == [f"#EXT-X-PROGRAM-DATE-TIME:{one.isoformat(timespec='milliseconds')[:-6]}Z" for one in wanted]
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Content-Type"] == "application/x-mpegURL"


def test_a_session_needs_media_that_players_take(archive):
    call = archive.get_hls_streaming_session_url
    options = {"PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": span()}
    assert refused(call, StreamName="vp9", **options) == "UnsupportedStreamMediaTypeException"
    options["HLSFragmentSelector"] = span(100, 200)
    assert refused(call, StreamName="h265", **options) == "ResourceNotFoundException"
    assert refused(call, StreamName="h265", PlaybackMode="ON_DEMAND") == "InvalidArgumentException"
    options["PlaybackMode"] = "LIVE"
    assert refused(call, StreamName="h265", **options) == "InvalidArgumentException"
    assert refused(call, StreamName="no-such") == "ResourceNotFoundException"


def test_a_stream_that_keeps_nothing_has_no_sessions(stored, archive):
    control = client("kinesisvideo", stored.url)
    control.create_stream(StreamName="unkept", DataRetentionInHours=0)
    assert refused(archive.get_hls_streaming_session_url, StreamName="unkept") == "NoDataRetentionException"
    assert refused(archive.get_clip, StreamName="unkept", ClipFragmentSelector=span()) == "NoDataRetentionException"


def test_a_stranger_has_no_session(stored):
    for path in ("/hls/v1/getHLSMasterPlaylist.m3u8?SessionToken=guess", "/hls/v1/getHLSMasterPlaylist.m3u8"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            read(stored.url + path)
        assert caught.value.code == 403
        assert "get a new URL" in caught.value.read().decode()
        caught.value.close()


def test_a_fragment_that_does_not_exist_is_not_found(archive):
    url = hls(archive, "h265").replace("getHLSMasterPlaylist.m3u8", "getMP4MediaFragment.mp4")
    with pytest.raises(urllib.error.HTTPError) as caught:
        read(url + "&FragmentNumber=12345")
    assert caught.value.code == 404
    caught.value.close()


def image_options(**options):
    base = STARTS["b-frames"]
    named = {"StreamName": "b-frames", "ImageSelectorType": "PRODUCER_TIMESTAMP", "Format": "JPEG"}
    return {**named, "StartTimestamp": base, "EndTimestamp": base + 4, "SamplingInterval": 1000, **options}


def test_pictures_come_at_their_interval_in_the_size_asked_for(archive):
    images = archive.get_images(**image_options(WidthPixels=320))["Images"]
    assert [round(image["TimeStamp"].timestamp() - STARTS["b-frames"], 3) for image in images] == [0, 1, 2, 3]
    sizes = set()
    for image in images:
        with av.open(io.BytesIO(decoded(image)), format="jpeg_pipe") as opened:
            sizes.add((opened.streams.video[0].width, opened.streams.video[0].height))
    assert sizes == {(320, 180)}
    assert len({hashlib.sha256(decoded(image)).hexdigest() for image in images}) == 4


def decoded(image):
    return base64.b64decode(image["ImageContent"])


def test_a_png_is_the_picture_itself(archive, media_dir):
    images = archive.get_images(**image_options(Format="PNG", EndTimestamp=STARTS["b-frames"] + 0.5))["Images"]
    with av.open(io.BytesIO(decoded(images[0])), format="png_pipe") as opened:
        png = next(opened.decode(video=0)).to_ndarray(format="rgb24")
    with av.open(str(media_dir / CLIPS["b-frames"])) as source:
        first = next(source.decode(video=0)).to_ndarray(format="rgb24")
    assert (png == first).all()


def test_pictures_are_given_in_pages(archive):
    first = archive.get_images(**image_options(MaxResults=3))
    rest = archive.get_images(**image_options(MaxResults=3), NextToken=first["NextToken"])
    assert [len(first["Images"]), len(rest["Images"])] == [3, 1]
    assert "NextToken" not in rest


@pytest.mark.parametrize("inside", ["-1", "-" + "9" * 40, "[" * 2500, "true", "1.5", "null", "no JSON"])
def test_a_page_token_of_pictures_must_be_one_of_ours(archive, inside):
    token = base64.b64encode(inside.encode()).decode()
    assert refused(archive.get_images, **image_options(NextToken=token)) == "InvalidArgumentException"


def test_where_there_is_no_media_there_is_no_picture(archive):
    base = STARTS["b-frames"]
    images = archive.get_images(**image_options(StartTimestamp=base + 500, EndTimestamp=base + 501))["Images"]
    assert [(image.get("Error"), "ImageContent" in image) for image in images] == [("NO_MEDIA", False)]


@pytest.mark.parametrize(
    "options",
    [{"SamplingInterval": 100}, {"FormatConfig": {"JPEGQuality": "0"}}, {"EndTimestamp": 1.0}, {"MaxResults": 101}],
    ids=str,
)
def test_a_bad_request_for_pictures_is_refused(archive, options):
    assert refused(archive.get_images, **image_options(**options)) == "InvalidArgumentException"


@pytest.fixture
def damaged(tmp_path):
    """An endpoint whose stream has a damaged fragment, its second one, and when the stream begins."""
    with LocalEndpoint.run_in_thread(tmp_path, settings=Settings.unlimited()) as endpoint:
        with open_source("testsrc:width=320,height=240,duration=20") as source:
            assert Upload(UploadPlan(source, "cam", endpoint_url=endpoint.url)).run().is_complete
        first, second, *others = endpoint.fragments("cam")
        (path,) = (tmp_path / "media").glob("*.mkv")
        content = bytearray(path.read_bytes())
        content[content.index(second.blocks[0].payload) + 50] ^= 1
        path.write_bytes(content)
        reader = client("kinesis-video-archived-media", endpoint.url)
        yield reader, [first, *others], second
        reader.close()


def around(fragment):
    base = fragment.producer_hns / 1e7
    return {
        "FragmentSelectorType": "PRODUCER_TIMESTAMP",
        "TimestampRange": {"StartTimestamp": base - 1, "EndTimestamp": base + 3600},
    }


def test_a_playlist_leaves_a_damaged_fragment_out(damaged, require_tool):
    archive, sound, broken = damaged
    session = {"StreamName": "cam", "PlaybackMode": "ON_DEMAND", "DiscontinuityMode": "ON_DISCONTINUITY"}
    answer = archive.get_hls_streaming_session_url(**session, HLSFragmentSelector=around(sound[0]))
    url = answer["HLSStreamingSessionURL"]
    text, _ = read(url.replace("getHLSMaster", "getHLSMedia"))
    for fragment in sound:
        assert f"FragmentNumber={fragment.number}&" in text
    assert broken.number not in text
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    frames = sum(len(fragment.blocks) for fragment in sound)
    assert frames - 2 <= len(pictures(url, require_tool)) <= frames  # leading pictures lack what was damaged


def test_a_clip_leaves_a_damaged_fragment_out(damaged):
    archive, sound, broken = damaged
    answer = archive.get_clip(StreamName="cam", ClipFragmentSelector=around(sound[0]))
    with av.open(io.BytesIO(answer["Payload"].read())) as clip:
        assert sum(packet.size > 0 for packet in clip.demux()) == sum(len(one.blocks) for one in sound)
    only = {"StartTimestamp": broken.producer_hns / 1e7, "EndTimestamp": broken.producer_hns / 1e7 + 0.5}
    selector = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": only}
    assert refused(archive.get_clip, StreamName="cam", ClipFragmentSelector=selector) == "ResourceNotFoundException"


def test_a_damaged_fragment_has_no_picture(damaged):
    archive, _, broken = damaged
    begin = broken.producer_hns / 1e7
    options = {"ImageSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": begin, "EndTimestamp": begin + 0.2}
    (image,) = archive.get_images(StreamName="cam", SamplingInterval=200, Format="JPEG", **options)["Images"]
    assert image["Error"] == "MEDIA_ERROR"
