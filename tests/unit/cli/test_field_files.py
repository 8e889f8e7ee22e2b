"""Files as the field has them. Goal: what comes back shows the same pictures at the same times, or a sentence says why
not."""

import datetime
import itertools
import struct

import av
import pytest
from unit.cli.field import assert_shown_alike, copied, ffmpeg, film, hashes, shown

STREAMS = itertools.count()


@pytest.fixture
def trip(run, endpoint, tmp_path):
    """Put a file and get it back: what both commands printed, and the files that came back, in order."""

    def make(path, *words, code=0):
        stream = f"field-{next(STREAMS)}"
        put = run("put", "--stream", stream, "--offline", "--endpoint", endpoint.url, *words, "--", path)
        assert put.code == code, put.err
        if code:
            return put, ()
        out = tmp_path / f"{stream}.mkv"
        got = run("get", stream, "-o", out, "--endpoint", endpoint.url)
        assert got.code == 0, got.err
        parts = sorted(tmp_path.glob(f"{stream}*.mkv"), key=lambda part: (len(part.name), part.name))
        return put, parts

    return make


# ---- edit lists


@pytest.mark.parametrize("b_frames", [0, 3])
def test_what_an_edit_list_hides_before_a_key_frame_is_not_uploaded(trip, tmp_path, b_frames):
    whole = film(tmp_path / "whole.mp4", "-bf", b_frames, seconds=6, gop=50, sound=True)
    cut = copied(whole, tmp_path / "cut.mp4", before=("-ss", "2"))
    put, (back,) = trip(cut)
    assert "edit list" not in put.err
    assert_shown_alike(shown(cut), shown(back))


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_lead_in_that_decoding_needs_goes_out_as_invisible_and_that_is_said(trip, tmp_path, b_frames):
    whole = film(tmp_path / "whole.mp4", "-bf", b_frames, seconds=6, gop=100, sound=True)
    cut = copied(whole, tmp_path / "cut.mp4", before=("-ss", "3", "-t", "2"))
    wanted = shown(cut)
    put, (back,) = trip(cut)
    assert "are hidden by the file's edit list" in put.err
    assert_shown_alike(wanted, [(time - 3000, digest) for time, digest in shown(back)[-len(wanted) :]], slack_ms=90)
    with av.open(str(back)) as container:
        (chapter,) = container.chapters()
        assert chapter["start"] / 1e9 == pytest.approx(3, abs=0.1)
        assert chapter["end"] / 1e9 == pytest.approx(5, abs=0.2)


def test_a_trim_to_the_next_key_frame_leaves_the_lead_in_out(trip, tmp_path):
    whole = film(tmp_path / "whole.mp4", "-bf", "0", seconds=6, gop=50, sound=True)
    cut = copied(whole, tmp_path / "cut.mp4", before=("-ss", "1"))
    put, (back,) = trip(cut, "--trim", "next-key")
    assert "1.000 s are left out" in put.err
    assert hashes(back) == hashes(cut)[25:]
    with av.open(str(back)) as container:
        first = next(packet for packet in container.demux(audio=0))
        assert abs(float(first.pts * first.time_base)) < 0.05


def test_hidden_sound_is_left_out_but_for_the_priming(trip, tmp_path):
    whole = film(tmp_path / "whole.mp4", "-bf", "3", seconds=6, gop=100, sound=True)
    cut = copied(whole, tmp_path / "cut.mp4", before=("-ss", "3.3", "-t", "2"))
    with av.open(str(cut)) as container:
        flags = [packet.is_discard for packet in container.demux(audio=0) if packet.size]
    _, (back,) = trip(cut)
    with av.open(str(back)) as container:
        count = sum(1 for packet in container.demux(audio=0) if packet.size)
    assert count == len(flags) - sum(flags) + min(4, sum(flags))


# ---- the time of day


def begin_and_end_s(path):
    """When a file that came back begins and ends, in seconds since 1970."""
    with av.open(str(path)) as container:
        begin = datetime.datetime.fromisoformat(container.metadata["creation_time"].replace("Z", "+00:00")).timestamp()
        return begin, begin + container.duration / 1e6


def unfinished(path, tmp_path, kept_percent=80):
    cut = tmp_path / f"unfinished{path.suffix}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * kept_percent // 100])
    return cut


@pytest.mark.parametrize("kept_percent", [100, 80, 90])  # 80 is inside a header of a fragmented file
@pytest.mark.parametrize(
    "name,words",
    [
        ("fragments.mp4", ("-movflags", "frag_keyframe+empty_moov+default_base_moof+skip_trailer")),
        ("live.mkv", ("-live", "1")),
        ("stream.flv", ("-flvflags", "no_duration_filesize")),
        ("stream.ts", ()),
        ("whole.mkv", ()),
    ],
)
def test_a_file_ends_now_whether_it_says_its_length_or_not(trip, tmp_path, name, words, kept_percent):
    path = film(tmp_path / name, *words, seconds=20, sound=True)
    before = datetime.datetime.now().timestamp()
    _, (back,) = trip(path if kept_percent == 100 else unfinished(path, tmp_path, kept_percent))
    now = datetime.datetime.now().timestamp()
    begin, end = begin_and_end_s(back)
    assert end - begin == pytest.approx(20 * kept_percent / 100, abs=1.5)
    assert before - 1.5 <= end <= now + 0.5


def joined(path, *parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def recording(path, begin_s, *words):
    return film(path, "-output_ts_offset", begin_s, "-mpegts_copyts", "1", *words, sound=True)


@pytest.mark.parametrize("begins", [(1000, 10), (10, 1000), (1000, 10, 500), (95443, 0)])
def test_a_clock_that_jumps_goes_on_after_the_last_frame(trip, tmp_path, begins):
    parts = [recording(tmp_path / f"{place}.ts", begin) for place, begin in enumerate(begins)]
    put, (back,) = trip(joined(tmp_path / "in.ts", *parts))
    assert "is placed after the last frame" in put.err
    pictures = shown(back)
    assert [digest for _, digest in pictures] == hashes(*parts)
    assert all(0 < later[0] - earlier[0] < 100 for earlier, later in itertools.pairwise(pictures))
    with av.open(str(back)) as container:
        ends = {}
        for packet in container.demux():
            if packet.size:
                ends[packet.stream.type] = float(packet.pts * packet.time_base)
    assert abs(ends["audio"] - ends["video"]) < 0.3


def test_a_clock_that_wraps_goes_on(trip, tmp_path):
    path = recording(tmp_path / "wrap.ts", 2**33 / 90000 - 2)
    put, (back,) = trip(path)
    assert "jumps" not in put.err
    assert shown(back)[-1][0] == pytest.approx(4000 - 40, abs=2)


def test_a_hole_stays_and_is_reported_with_its_length(trip, tmp_path):
    parts = [recording(tmp_path / f"{begin}.ts", begin) for begin in (10, 34)]
    put, (back,) = trip(joined(tmp_path / "in.ts", *parts))
    assert "has a hole of 20.0 s after 4.0 s" in put.err
    assert shown(back)[-1][0] == pytest.approx(28_000 - 40, abs=2)


def test_few_pictures_a_second_are_no_holes(trip, tmp_path):
    slow = ffmpeg(
        "-f", "lavfi", "-i", "testsrc=size=160x120:rate=1/4:duration=40", *("-c:v", "libx264"), tmp_path / "a.mp4"
    )
    put, (back,) = trip(slow)
    assert "hole" not in put.err
    assert_shown_alike(shown(slow), shown(back))


def test_how_much_a_cut_file_lacks_is_said(trip, tmp_path):
    put, _ = trip(unfinished(film(tmp_path / "a.mkv", seconds=20, sound=True), tmp_path))
    assert "was cut: it ends after 1" in put.err
    assert "its header says 20.0 s" in put.err


# ---- true files


NAMES = (
    "2026-05-01T12:00:00Z.mp4", "cam1:front.mp4", "concat:x.mp4", "data:1.mp4", "testsrc", "testsrc:1", "a b.mp4",
    "100%.mp4", "%03d.mp4", "-dash.mp4", "\u00fcn\u00ef-\u65e5\u672c.mp4", "it's \"quoted\".mp4", "a,b;c[1]*?.mp4",
    "new\nline.mp4", "rtsp:x.mp4",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_a_file_whatever_its_name(run, endpoint, tmp_path, monkeypatch, name):
    from unit.sources.clips import BASELINE

    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(BASELINE.read_bytes())
    ran = run("put", "--stream", f"name-{next(STREAMS)}", "--endpoint", endpoint.url, "--json", "--", name)
    assert ran.code == 0, ran.err
    assert ran.json["frames_persisted"] == 200
    assert run("inspect", "--", name).code == 0


@pytest.mark.parametrize(
    "name,words",
    [
        ("order.mkv", ("-bf", "3")),
        ("pyramid.mkv", ("-bf", "8", "-x264-params", "b-pyramid=strict")),
        ("cts.mp4", ("-bf", "3", "-movflags", "negative_cts_offsets")),
        ("order.flv", ("-bf", "3")),
        ("order.ts", ("-bf", "3")),
        ("open.mp4", ("-x264-params", "open-gop=1:bframes=3:b-adapt=0")),
        ("refresh.mp4", ("-x264-params", "intra-refresh=1:bframes=0")),
        ("plain.avi", ("-bf", "0")),
        ("times.mov", ("-timecode", "01:00:00:00")),
    ],
)
def test_pictures_come_back_at_their_times(trip, tmp_path, name, words):
    path = film(tmp_path / name, *words)
    _, (back,) = trip(path)
    assert_shown_alike(shown(path), shown(back))


@pytest.mark.parametrize("lead_s", [2, 6])
def test_times_that_a_demuxer_guesses_move_no_picture(trip, tmp_path, lead_s):
    video = film(tmp_path / "v.mp4", seconds=12)
    sound = ffmpeg("-f", "lavfi", "-i", "sine=440:duration=18", "-c:a", "libmp3lame", tmp_path / "a.mp3")
    inputs = ("-itsoffset", lead_s, "-i", video, "-i", sound)
    path = ffmpeg(*inputs, "-map", "0", "-map", "1", "-c", "copy", tmp_path / "a.mkv")
    put, (back,) = trip(path)
    assert "The audio (mp3) cannot be packaged" in put.err
    assert_shown_alike(shown(path), shown(back))


# ---- several tracks


def test_covers_are_left_out_and_named(trip, tmp_path):
    video = film(tmp_path / "v.mp4", sound=True)
    cover = ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48", "-frames:v", "1", tmp_path / "c.jpg")
    for name, disposition in (("first.mkv", "0"), ("marked.mp4", "attached_pic")):
        words = ("-i", cover, "-i", video, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", disposition)
        path = ffmpeg(*words, tmp_path / name)
        put, (back,) = trip(path)
        assert "A picture, such as a cover, (mjpeg of 64x48" in put.err
        assert hashes(back) == hashes(video)


def test_of_two_films_the_first_is_taken_and_that_is_said(trip, tmp_path):
    one, other = film(tmp_path / "1.mp4"), film(tmp_path / "2.mp4", "-s", "64x48")
    both = ffmpeg("-i", one, "-i", other, "-map", "0", "-map", "1", "-c", "copy", tmp_path / "both.mkv")
    put, (back,) = trip(both)
    assert "Of 2 video streams only the first one" in put.err
    assert hashes(back) == hashes(one)


def test_a_video_that_cannot_be_packaged_gives_way_to_one_that_can(trip, tmp_path):
    one = film(tmp_path / "1.mp4")
    other = ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=1", "-c:v", "ffv1", tmp_path / "2.mkv")
    both = ffmpeg("-i", other, "-i", one, "-map", "0", "-map", "1", "-c", "copy", tmp_path / "both.mkv")
    put, (back,) = trip(both)
    assert "A video (ffv1 of 64x48, stream 0) is left out, which cannot be packaged." in put.err
    assert hashes(back) == hashes(one)


# ---- codec data that changes, flags that lie


def flv_tags(data):
    """Type, time and body of each tag."""
    place = 13
    while place + 11 <= len(data):
        size = int.from_bytes(data[place + 1 : place + 4], "big")
        time = int.from_bytes(data[place + 4 : place + 7], "big") | data[place + 7] << 24
        yield data[place], time, data[place + 11 : place + 11 + size]
        place += 15 + size


def flv_tag(kind, time, body):
    head = struct.pack(">B", kind) + len(body).to_bytes(3, "big") + (time & 0xFFFFFF).to_bytes(3, "big")
    return head + bytes((time >> 24, 0, 0, 0)) + body + struct.pack(">I", 11 + len(body))


def test_a_new_sequence_header_in_flv_opens_a_session(trip, tmp_path):
    from unit.cli.field import OTHER_PICTURES

    one = film(tmp_path / "1.flv", "-bf", "0")
    other = film(tmp_path / "2.flv", "-bf", "0", "-profile:v", "main", source=OTHER_PICTURES)
    data = one.read_bytes()[:13]
    for path, shift in ((one, 0), (other, 4000)):
        tags = [tag for tag in flv_tags(path.read_bytes()) if tag[0] == 9 and tag[2][1] != 2]
        data += b"".join(flv_tag(kind, time + shift, body) for kind, time, body in tags)
    path = tmp_path / "in.flv"
    path.write_bytes(data)
    _, parts = trip(path)
    assert [len(hashes(part)) for part in parts] == [100, 100]
    assert hashes(*parts) == hashes(one, other)


@pytest.mark.parametrize("flag", [1, 2])
def test_the_bits_decide_what_a_key_frame_is_where_a_camera_s_flags_lie(trip, tmp_path, flag):
    one = film(tmp_path / "1.flv", "-bf", "0")
    data = one.read_bytes()[:13]
    for kind, time, body in flv_tags(one.read_bytes()):
        lie = kind == 9 and body[1] == 1
        data += flv_tag(kind, time, bytes((flag << 4 | body[0] & 15,)) + body[1:] if lie else body)
    path = tmp_path / "lies.flv"
    path.write_bytes(data)
    _, (back,) = trip(path)
    assert hashes(back) == hashes(one)
    with av.open(str(back)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert keys == [number % 25 == 0 for number in range(100)]


def test_another_size_of_motion_jpeg_opens_a_session(trip, tmp_path):
    parts = [
        ffmpeg(
            "-f", "lavfi", "-i", f"testsrc=size={size}:rate=10:duration=2", "-c:v", "mjpeg", tmp_path / f"{size}.mjpeg"
        )
        for size in ("160x120", "320x180")
    ]
    _, back = trip(joined(tmp_path / "in.mjpeg", *parts), "--fps", "10")
    with av.open(str(back[0])) as one, av.open(str(back[1])) as other:
        assert [(file.streams.video[0].width, file.streams.video[0].height) for file in (one, other)] == [
            (160, 120), (320, 180)
        ]  # fmt: skip
    assert hashes(*back) == hashes(*parts)


# ---- descriptions


@pytest.mark.parametrize("name", ["a.ivf", "a.obu", "a.mp4"])
def test_av1_gets_its_description_whatever_holds_it(trip, tmp_path, name):
    words = ("-c:v", "libaom-av1", "-cpu-used", "8", "-g", "25")
    pictures = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration=2")
    first = ffmpeg(*pictures, *words, tmp_path / "first.mkv")
    path = copied(first, tmp_path / name)
    _, (back,) = trip(path)
    assert hashes(back) == hashes(first)
    with av.open(str(back)) as one, av.open(str(first)) as other:
        extra = [bytes(file.streams.video[0].codec_context.extradata) for file in (one, other)]
        assert extra[0][:4] == extra[1][:4]
        assert all(bytes(packet)[:2] != b"\x12\0" for packet in one.demux(video=0) if packet.size)


def test_encrypted_samples_are_refused(trip, tmp_path):
    key, ident = "76a6c65c5ea762046bd749a2e632ccbb", "a7e61c373e219033c21091fa607bf3b8"
    words = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", ident)
    put, _ = trip(film(tmp_path / "a.mp4", *words), code=3)
    assert "is encrypted" in put.err
    assert "decrypt it first" in put.err


def without_times(path, out, keeps):
    """A transport stream whose video packets have times only where ``keeps(number)``."""
    data = bytearray(path.read_bytes())
    number = 0
    for place in range(0, len(data), 188):
        pes = data.find(b"\0\0\1\xe0", place, place + 188) if data[place + 1] & 0x40 else -1
        if pes < 0:
            continue
        if not keeps(number):
            data[pes + 7] &= 0x3F
            data[pes + 9 : pes + 9 + data[pes + 8]] = b"\xff" * data[pes + 8]
        number += 1
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("keeps", [lambda number: number % 10 == 0, lambda number: False], ids=["some", "none"])
def test_pictures_without_times_follow_each_other_at_the_frame_rate(trip, tmp_path, keeps):
    whole = film(tmp_path / "a.ts", "-bf", "0", gop=10)
    _, (back,) = trip(without_times(whole, tmp_path / "b.ts", keeps))
    assert_shown_alike(shown(whole), shown(back))


def test_b_frames_without_times_are_refused_and_nothing_else_is_said_to_have_any(trip, tmp_path):
    whole = film(tmp_path / "a.ts", "-bf", "2")
    put, _ = trip(without_times(whole, tmp_path / "b.ts", lambda number: False), code=3)
    assert "has B frames but no times" in put.err


def test_avc3_with_nothing_in_its_description_is_taken(trip, tmp_path):
    whole = film(tmp_path / "a.mp4", "-bf", "0", "-x264-params", "repeat-headers=1")
    data = bytearray(whole.read_bytes())
    place = data.index(b"avcC")
    data[place + 9 : place + 11] = b"\xe0\0"
    path = tmp_path / "avc3.mp4"
    path.write_bytes(data.replace(b"avc1", b"avc3"))
    _, (back,) = trip(path)
    assert_shown_alike(shown(whole), shown(back))
    with av.open(str(back)) as container:
        assert bytes(container.streams.video[0].codec_context.extradata)[5] == 0xE1


@pytest.mark.parametrize("form,encoder", [("h264", "libx264"), ("hevc", "libx265"), ("mpegts", "libx264")])
def test_another_size_inside_a_stream_opens_a_session(trip, tmp_path, form, encoder):
    parts = [
        ffmpeg(
            *("-f", "lavfi", "-i", f"testsrc=size={size}:rate=25:duration=2", "-pix_fmt", "yuv420p", "-c:v", encoder),
            *("-g", "25", "-bf", "0", "-output_ts_offset", begin, "-mpegts_copyts", "1", "-f", form, tmp_path / size),
        )
        for size, begin in (("160x120", 10), ("320x180", 12))
    ]
    _, back = trip(joined(tmp_path / "in", *parts))
    assert [len(hashes(part)) for part in back] == [50, 50]
    assert hashes(*back) == hashes(*parts)


def test_a_named_pipe_is_read_once(run, endpoint, tmp_path):
    import os
    import threading

    from unit.sources.clips import BASELINE

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(BASELINE.read_bytes()))
    writer.start()
    ran = run("put", pipe, "--stream", "named-pipe", "--endpoint", endpoint.url, "--offline", "--json")
    writer.join()
    assert ran.code == 0, ran.err
    assert ran.json["frames_persisted"] == 200


def test_how_only_the_container_wants_pictures_shown_is_said(trip, tmp_path):
    turned = copied(film(tmp_path / "a.mp4"), tmp_path / "turned.mp4", "-metadata:s:v:0", "rotate=90")
    with av.open(str(turned)) as container:
        if next(container.decode(video=0)).rotation == 0:
            pytest.skip("this ffmpeg turns by another option")
    put, _ = trip(turned)
    assert "turns its pictures by 90 degrees; that is not put" in put.err
    stretched = copied(tmp_path / "a.mp4", tmp_path / "wide.mp4", "-aspect", "16:9")
    put, _ = trip(stretched)
    assert "stretches its pictures by 4/3; that is not put" in put.err


def test_he_aac_goes_out_with_the_rate_of_its_core(trip, tmp_path):
    sound = ("-f", "lavfi", "-i", "sine=440:duration=4:sample_rate=24000", "-c:a", "aac", "-ar", "24000")
    plain = ffmpeg(*sound, tmp_path / "a.m4a")
    data = plain.read_bytes()
    with av.open(str(plain)) as container:
        own = bytes(container.streams.audio[0].codec_context.extradata)
    assert own[:2] == b"\x13\x08"  # AAC-LC, 24 kHz, one channel; what follows says that there is no SBR
    explicit = b"\x2b\x09\x88\x00" + own[4:]  # the same with explicit SBR, 48 kHz
    path = tmp_path / "he.m4a"
    path.write_bytes(data.replace(own, explicit[: len(own)]))
    _, (back,) = trip(path)
    with av.open(str(back)) as one, av.open(str(plain)) as other:
        times = [
            [float(packet.pts * packet.time_base) for packet in file.demux() if packet.size] for file in (one, other)
        ]
    assert len(times[0]) == len(times[1])
    assert times[0][-1] - times[0][0] == pytest.approx(times[1][-1] - times[1][0], abs=0.002)


def box(data, kind, begin=0):
    """The place of a box and its end."""
    place = data.index(kind, begin) - 4
    return place, place + int.from_bytes(data[place : place + 4], "big")


def test_two_sample_entries_in_one_track_of_mp4_open_two_sessions(trip, tmp_path):
    from unit.cli.field import OTHER_PICTURES

    one = film(tmp_path / "1.mp4", "-bf", "0")
    other = film(tmp_path / "2.mp4", "-bf", "0", source=OTHER_PICTURES)
    files = [bytearray(path.read_bytes()) for path in (one, other)]
    with av.open(str(one)) as first, av.open(str(other)) as second:
        samples = [[bytes(packet) for packet in file.demux(video=0) if packet.size] for file in (first, second)]
    entries = []
    for data in files:
        begin, end = box(data, b"stsd")
        entries.append(bytes(data[begin + 16 : end]))
    path = tmp_path / "two.mp4"
    path.write_bytes(two_entries(entries, samples))
    with av.open(str(path)) as container:
        changes = [packet.has_sidedata("new_extradata") for packet in container.demux(video=0) if packet.size]
    if sum(changes) == 0:
        pytest.skip("this version of PyAV does not show another sample entry")
    _, back = trip(path)
    assert hashes(*back) == hashes(one, other)


def two_entries(entries, samples):
    """An MP4 file whose one video track has the samples of two films of 25 pictures a second, one chunk for each."""

    def made(kind, *parts):
        body = b"".join(parts)
        return struct.pack(">I4s", 8 + len(body), kind) + body

    def full(kind, *parts, flags=0):
        return made(kind, struct.pack(">I", flags), *parts)

    flat = [sample for film_samples in samples for sample in film_samples]
    head = made(b"ftyp", b"isom\0\0\2\0isomavc1")
    media = made(b"mdat", *flat)
    places = [len(head) + 8, len(head) + 8 + sum(map(len, samples[0]))]
    keys = [number for number in range(1, len(flat) + 1) if (number - 1) % 25 == 0]
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    table = made(
        b"stbl",
        full(b"stsd", struct.pack(">I", len(entries)), *entries),
        full(b"stts", struct.pack(">III", 1, len(flat), 1)),
        full(b"stss", struct.pack(f">I{len(keys)}I", len(keys), *keys)),
        full(b"stsc", struct.pack(">7I", 2, 1, len(samples[0]), 1, 2, len(samples[1]), 2)),
        full(b"stsz", struct.pack(f">II{len(flat)}I", 0, len(flat), *map(len, flat))),
        full(b"stco", struct.pack(">III", 2, *places)),
    )
    data = made(b"dinf", full(b"dref", struct.pack(">I", 1), full(b"url ", flags=1)))
    media_head = full(b"mdhd", struct.pack(">4IHH", 0, 0, 25, len(flat), 0x55C4, 0))
    handler = full(b"hdlr", b"\0\0\0\0vide" + bytes(12) + b"v\0")
    information = made(b"minf", full(b"vmhd", bytes(8), flags=1), data, table)
    track_head = full(
        b"tkhd", struct.pack(">5I", 0, 0, 1, 0, len(flat)), bytes(16), matrix, struct.pack(">II", 160 << 16, 120 << 16),
        flags=3,
    )  # fmt: skip
    track = made(b"trak", track_head, made(b"mdia", media_head, handler, information))
    film_head = full(
        b"mvhd", struct.pack(">5IHHII", 0, 0, 25, len(flat), 0x10000, 0x100, 0, 0, 0), matrix, bytes(24),
        struct.pack(">I", 2),
    )  # fmt: skip
    return head + media + made(b"moov", film_head, track)


def with_edits(data, edits):
    """The file of :func:`two_entries` with an edit list: durations and media times in frames."""
    entries = b"".join(struct.pack(">IiHH", length, begin, 1, 0) for length, begin in edits)
    body = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    made = struct.pack(">I4s", 8 + len(body), b"edts") + body
    _, end = box(data, b"tkhd")
    out = bytearray(data[:end] + made + data[end:])
    for kind in (b"moov", b"trak"):
        place = out.index(kind) - 4
        out[place : place + 4] = struct.pack(">I", int.from_bytes(out[place : place + 4], "big") + len(made))
    return bytes(out)


@pytest.mark.parametrize(
    "edits,hidden_count",
    [([(50, 0), (50, 125)], 0), ([(30, 10), (40, 110)], 20), ([(50, 0), (50, 0)], 0), ([(50, -1), (100, 0)], 0)],
    ids=["at key frames", "inside groups", "the same twice", "empty first"],
)
def test_several_edits_show_their_pictures_one_after_the_other(trip, tmp_path, edits, hidden_count):
    whole = film(tmp_path / "a.mp4", "-bf", "0", seconds=8)
    with av.open(str(whole)) as container:
        samples = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = whole.read_bytes()
    begin, end = box(data, b"stsd")
    path = tmp_path / "edits.mp4"
    path.write_bytes(with_edits(two_entries([data[begin + 16 : end]] * 2, [samples[:100], samples[100:]]), edits))
    wanted = shown(path)
    put, (back,) = trip(path)
    assert "was cut" not in put.err
    assert "times-repeated" not in put.err
    with av.open(str(back)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert len(packets) == len(wanted) + hidden_count
    found = {digest: time for time, digest in shown(back)}
    shift_ms = found[wanted[0][1]] - wanted[0][0]
    if len(found) == len(packets):
        assert all(abs(found[digest] - time - shift_ms) <= 2 for time, digest in wanted)
