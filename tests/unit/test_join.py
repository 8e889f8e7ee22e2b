"""Joining fragments. Goal: one file that players like, each frame as it was stored, however the answer was cut."""

import datetime
import io
import itertools
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit import stored_media
from unit.local import mkv_bytes as mkv
from unit.sources.clips import CLIPS, MEDIA, OPEN_GOP, SOUND_AND_PICTURE, decoded, decodes_as, packets
from unit.stored_media import BASE_MS, document, fragments, stored

from kvspic.inspect import inspect_file
from kvspic.join import Joiner, JoinError, part_path
from kvspic.local.mkv_events import Header
from kvspic.local.mkv_reader import read_all
from kvspic.sources import SourceFrame, SourceTrack, open_source

VIDEO = SourceTrack(1, "video", "V_VP9", "v", b"one", "video/vp9", width=64, height=48)
SOUND = SourceTrack(2, "audio", "A_OPUS", "a", b"two", "audio/opus", sample_rate=48000, channels=1)
CHUNK = 7777


def join(path, *pieces):
    joiner = Joiner(lambda number: part_path(path, number).open("wb"))
    for piece in pieces:
        joiner.feed(piece)
    return joiner.close()


def chunked(data, size=CHUNK):
    return [data[place : place + size] for place in range(0, len(data), size)]


def picture(time_ms, data=b"picture", key=False):
    return SourceFrame(1, data, time_ms * 1_000_000, time_ms * 1_000_000, 0, key)


def sound(time_ms, data=b"sound"):
    return replace(picture(time_ms, data), track=2)


def fragment(time_ms, number, tracks=(VIDEO,), user_tags=(), mark=b"", shift_ms=0):
    """A fragment of two pictures, and of one sound where there is a track for it."""
    frames = [picture(time_ms, b"key" + mark, key=True), picture(time_ms + 40, b"next" + mark)]
    frames += [sound(time_ms + 20)] if len(tracks) > 1 else []
    return document(list(tracks), BASE_MS + time_ms, frames, number, user_tags, shift_ms)


def blocks(path):
    data = path.read_bytes()
    return [event for event in read_all(data) if hasattr(event, "payload_size")]


def times_and_data(path):
    return [(block.timecode, block.payload) for block in blocks(path)]


@pytest.mark.parametrize("name", CLIPS)
def test_a_stored_clip_comes_back_whole_and_decodes_the_same(tmp_path, name):
    out = tmp_path / "out.mkv"
    with open_source(MEDIA / name) as source:
        answer, tracks, frames, count = stored(source)
    report = join(out, *chunked(answer))
    assert [(part.fragments, part.frames) for part in report.parts] == [(count, len(frames))]
    assert (report.notices, report.errors, report.left_out) == ((), (), ())
    first = min(frame.pts_ns // 1_000_000 for frame in frames)
    for track in tracks:
        back = [packet for packet in packets(out) if packet.kind == track.kind]
        mine = [frame for frame in frames if frame.track == track.number]
        assert [packet.data for packet in back] == [frame.data for frame in mine]
        assert [packet.pts for packet in back] == [frame.pts_ns // 1_000_000 - first for frame in mine]
    if tracks[0].kind == "video":
        assert decoded(out) == decoded(MEDIA / name)


def test_sound_decodes_the_same_although_its_priming_came_along(tmp_path):
    out = tmp_path / "out.mkv"
    with open_source(SOUND_AND_PICTURE) as source:
        join(out, stored(source)[0])
    assert decodes_as(out, SOUND_AND_PICTURE, "audio")
    early = [block for block in blocks(out) if block.discard_padding_ns]
    assert [(block.track, block.timecode, block.discard_padding_ns) for block in early] == [(2, 0, -23219955)]


@pytest.mark.parametrize("name", CLIPS)
def test_other_tools_find_nothing_wrong(tmp_path, name):
    out = tmp_path / "out.mkv"
    with open_source(MEDIA / name) as source:
        join(out, stored(source)[0])
    assert inspect_file(out).findings == ()
    for command in (["ffprobe", "-v", "warning"], ["mkvinfo", "--ui-language", "en_US", "-v", "-v"]):
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        checked = subprocess.run([*command, str(out)], capture_output=True, check=False, text=True, timeout=60)
        assert checked.returncode == 0
        assert checked.stderr == ""
        assert not any(word in checked.stdout.lower() for word in ("error", "warning", "unknown", "invalid"))


def test_the_head_says_how_long_it_is_when_it_began_and_where_to_seek(tmp_path):
    out = tmp_path / "out.mkv"
    with open_source(OPEN_GOP) as source:
        report = join(out, stored(source)[0])
    (part,) = report.parts
    assert (part.start_ms, part.duration_ms, part.size) == (BASE_MS, 6000, out.stat().st_size)
    header = next(event for event in read_all(out.read_bytes()) if isinstance(event, Header))
    assert header.duration == 6000
    with av.open(str(out)) as container:
        assert container.duration == 6_000_000
        assert "creation_time" in container.metadata
        created = datetime.datetime.fromisoformat(container.metadata["creation_time"].replace("Z", "+00:00"))
        assert created.timestamp() == BASE_MS / 1000
        container.seek(4_500_000)
        assert next(container.demux(video=0)).pts == 4000


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_the_result_is_the_same_however_the_answer_was_cut(cuts):
    answer = fragment(0, 1) + fragment(2000, 2, user_tags=[("place", "door")]) + fragment(4000, 3)
    edges = [0, *sorted(cuts), len(answer)]
    assert joined([answer[begin:end] for begin, end in itertools.pairwise(edges)]) == joined([answer])


def test_the_result_is_the_same_byte_by_byte():
    answer = fragment(0, 1, (VIDEO, SOUND)) + fragment(2000, 2, (VIDEO, SOUND))
    assert joined(chunked(answer, 1)) == joined([answer])


class Kept(io.BytesIO):
    """A file that leaves its bytes behind when it is closed."""

    kept = b""

    def close(self):
        self.kept = self.getvalue() if not self.closed else self.kept
        super().close()


def joined(pieces):
    files = []

    def open_part(_number):
        files.append(Kept())
        return files[-1]

    joiner = Joiner(open_part)
    for piece in pieces:
        joiner.feed(piece)
    joiner.close()
    assert all(file.closed for file in files)
    return [file.kept for file in files]


def test_of_two_fragments_with_the_same_time_and_tracks_the_later_one_counts(tmp_path):
    out = tmp_path / "out.mkv"
    report = join(out, fragment(0, 1), fragment(2000, 2, mark=b"A"), fragment(2000, 3, mark=b"B"), fragment(4000, 4))
    assert (report.left_out, report.parts[0].fragments, report.parts[0].frames) == (("2",), 3, 6)
    assert [data for _, data in times_and_data(out)] == [b"key", b"next", b"keyB", b"nextB", b"key", b"next"]
    assert inspect_file(out).findings == ()


@pytest.mark.parametrize("later", [b"", b"much longer than before", b"12345"])
def test_a_later_one_of_another_length_counts_too(tmp_path, later):
    out = tmp_path / "out.mkv"
    report = join(out, fragment(0, 1, mark=b"123456"), fragment(0, 2, mark=later), fragment(2000, 3))
    assert report.parts[0].fragments == 2
    wanted = [(0, b"key" + later), (40, b"next" + later), (2000, b"key"), (2040, b"next")]
    assert times_and_data(out) == wanted
    assert [packet.data for packet in packets(out)] == [data for _, data in wanted]


def test_a_replay_after_a_lost_connection_leaves_each_fragment_once(tmp_path):
    out = tmp_path / "out.mkv"
    times = [0, 2000, 4000, 2000, 4000, 6000]
    report = join(out, *(fragment(time, 10 + place) for place, time in enumerate(times)))
    assert report.left_out == ("11", "12")
    assert report.notices == ()
    assert [time for time, _ in times_and_data(out)][::2] == [0, 2000, 4000, 6000]


def test_the_tags_of_a_replayed_fragment_are_written_once(tmp_path):
    out = tmp_path / "out.mkv"
    join(out, *(fragment(0, number, user_tags=[("place", "door")]) for number in (1, 2)))
    assert out.read_bytes().count(b"door") == 1


def test_fragments_of_the_same_time_without_a_track_in_common_both_count(tmp_path):
    out = tmp_path / "out.mkv"
    report = join(out, fragment(0, 1), document([SOUND], BASE_MS, [sound(0)], 2))
    assert (report.left_out, report.parts[0].fragments) == ((), 2)


def test_of_one_producer_the_fragment_with_more_tracks_counts(tmp_path):
    out = tmp_path / "out.mkv"
    report = join(out, fragment(0, 1), fragment(0, 2, (VIDEO, SOUND)), fragment(0, 3))
    assert (report.left_out, report.parts[0].fragments, report.parts[0].frames) == (("1", "3"), 1, 3)


@pytest.mark.parametrize("place", ["before the cluster", "after it"])
@pytest.mark.parametrize("epochs,left_out", [((1, 2), "10"), ((2, 1), "11"), ((10, 9), "11"), ((0, 3), "10")])
def test_of_two_producers_the_later_one_counts_in_whatever_order_they_were_stored(tmp_path, epochs, left_out, place):
    def of_producer(epoch, number):
        users = [("kvspic-epoch", str(epoch))] if epoch else []
        if place == "after it":
            return fragment(0, number, user_tags=users, mark=b"%d" % epoch)
        plain = fragment(0, number, mark=b"%d" % epoch)
        cut = plain.index(bytes.fromhex("1F43B675"))
        return plain[:cut] + (stored_media.tags(users) if users else b"") + plain[cut:]

    out = tmp_path / "out.mkv"
    report = join(out, *(of_producer(epoch, 10 + place) for place, epoch in enumerate(epochs)), fragment(2000, 20))
    assert report.left_out == (left_out,)
    assert times_and_data(out)[0] == (0, b"key%d" % max(epochs))
    assert inspect_file(out).findings == ()


def test_pictures_that_are_only_decoded_stay_hidden(tmp_path):
    out = tmp_path / "out.mkv"
    hidden = document([VIDEO], BASE_MS, [picture(0, b"key", key=True), picture(40), picture(80)], 1)
    for time in (0, 40):
        place = hidden.index(struct.pack(">BhB", 0x81, time, 0x80 if time == 0 else 0)) + 3
        hidden = hidden[:place] + bytes((hidden[place] | 0x08,)) + hidden[place + 1 :]
    report = join(out, hidden, fragment(2000, 2))
    assert [block.is_invisible for block in blocks(out)] == [True, True, False, False, False]
    assert report.parts[0].hidden_ms == 80
    with av.open(str(out)) as container:
        assert [(chapter["start"], chapter["end"]) for chapter in container.chapters()] == [(80_000_000, 2_080_000_000)]
    assert inspect_file(out).findings == ()


@pytest.mark.parametrize("change", [{"codec_private": b"other"}, {"codec_id": "V_AV1"}])
def test_another_codec_or_private_data_starts_a_second_file(tmp_path, change):
    out = tmp_path / "out.mkv"
    report = join(out, fragment(0, 1), fragment(2000, 2, (replace(VIDEO, **change),)), fragment(4000, 3))
    assert [(part.number, part.fragments, part.start_ms) for part in report.parts] == [
        (1, 1, BASE_MS), (2, 1, BASE_MS + 2000), (3, 1, BASE_MS + 4000)
    ]  # fmt: skip
    assert len(report.notices) == 2
    assert "Part 2 begins at fragment 2" in report.notices[0]
    for number in (1, 2, 3):
        assert [time for time, _ in times_and_data(part_path(out, number))] == [0, 40]


def test_parts_are_named_after_the_file():
    assert part_path(Path("a/film.mkv"), 1) == Path("a/film.mkv")
    assert part_path(Path("a/film.mkv"), 2) == Path("a/film-2.mkv")


def test_a_track_that_falls_silent_and_comes_back_stays_in_one_file(tmp_path):
    out = tmp_path / "out.mkv"
    report = join(
        out, fragment(0, 1), fragment(2000, 2, (VIDEO, SOUND)), fragment(4000, 3), fragment(6000, 4, (VIDEO, SOUND))
    )
    assert len(report.parts) == 1
    assert [track.codec_id for track in report.parts[0].tracks] == ["V_VP9", "A_OPUS"]
    assert [block.timecode for block in blocks(out) if block.track == 2] == [2020, 6020]
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_a_track_too_large_for_the_room_that_was_left_starts_a_second_file(tmp_path):
    large = replace(SOUND, codec_private=bytes(5000))
    report = join(tmp_path / "out.mkv", fragment(0, 1), fragment(2000, 2, (VIDEO, large)))
    assert [len(part.tracks) for part in report.parts] == [1, 2]


def test_a_track_with_another_number_is_known_by_what_it_is(tmp_path):
    out = tmp_path / "out.mkv"
    alone = replace(SOUND, number=1)
    only_sound = document([alone], BASE_MS + 2000, [replace(sound(2000), track=1)], 2)
    report = join(out, fragment(0, 1, (VIDEO, SOUND)), only_sound)
    assert len(report.parts) == 1
    assert [block.track for block in blocks(out)] == [1, 1, 2, 2]


def test_times_relative_to_a_session_are_placed_by_the_producer_s_time(tmp_path):
    out = tmp_path / "out.mkv"
    join(out, fragment(0, 1, shift_ms=-BASE_MS), fragment(2000, 2, shift_ms=-BASE_MS - 2000))
    assert [time for time, _ in times_and_data(out)] == [0, 40, 2000, 2040]


def test_an_older_fragment_starts_a_file_of_its_own(tmp_path):
    report = join(tmp_path / "out.mkv", fragment(9000, 1), fragment(0, 2))
    assert [part.start_ms - BASE_MS for part in report.parts] == [9000, 0]
    assert "older" in report.notices[0]


def test_pictures_before_their_key_picture_keep_their_times(tmp_path):
    out = tmp_path / "out.mkv"
    second = [picture(2080, key=True), picture(2000), picture(2040)]
    join(out, fragment(0, 1), document([VIDEO], BASE_MS + 2080, second, 2))
    assert [block.timecode for block in blocks(out)] == [0, 40, 2080, 2000, 2040]


def test_tags_of_the_user_stay_and_those_of_the_service_go(tmp_path):
    out = tmp_path / "out.mkv"
    join(
        out, fragment(0, 1, user_tags=[("place", "door")]), fragment(2000, 2, user_tags=[("place", "gate"), ("n", "")])
    )
    assert inspect_file(out).tags == (("place", "door"), ("place", "gate"), ("n", ""))
    assert b"AWS_KINESISVIDEO" not in out.read_bytes()


def test_tags_that_every_document_repeats_in_its_header_are_written_once(tmp_path):
    out = tmp_path / "out.mkv"
    header = stored_media.header([VIDEO])
    documents = [fragment(time, time) for time in (0, 2000)]
    users = stored_media.tags([("camera", "7")])
    join(out, *(header + users + document[len(header) :] for document in documents))
    assert out.read_bytes().count(b"camera") == 1


def test_a_fragment_that_the_service_does_not_have_is_reported_and_passed_over(tmp_path):
    out = tmp_path / "out.mkv"
    pairs = [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "77"),
        ("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE", "3002"),
        ("AWS_KINESISVIDEO_EXCEPTION_MESSAGE", "gone"),
    ]
    missing = stored_media.header([VIDEO]) + stored_media.tags(pairs)
    report = join(out, fragment(0, 1), missing, fragment(2000, 3), missing)
    assert report.errors == ("Fragment 77: 3002 gone",) * 2
    assert report.parts[0].fragments == 2


@pytest.mark.parametrize("size", [1, 50, 1 << 20])
def test_documents_that_hold_only_tags_are_passed_over_however_many(tmp_path, size):
    out = tmp_path / "out.mkv"
    empty = stored_media.header([])
    empty = empty[: empty.index(b"\x15\x49\xa9\x66")]
    pairs = [("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "77"), ("AWS_KINESISVIDEO_ERROR_CODE", "4000")]
    missing = empty + stored_media.tags(pairs)
    live_edge = empty + stored_media.tags([("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", "0")])
    report = join(
        out, *chunked(missing * 3 + fragment(0, 1) + missing * 40 + live_edge + fragment(2000, 2) + missing, size)
    )
    assert report.errors == ("Fragment 77: 4000",) * 44
    assert (report.notices, report.parts[0].fragments) == ((), 2)
    assert [time for time, _ in times_and_data(out)] == [0, 40, 2000, 2040]


def test_an_answer_that_was_cut_gives_the_fragments_before_and_says_so(tmp_path):
    out = tmp_path / "out.mkv"
    report = join(out, fragment(0, 1), fragment(2000, 2)[:-150])
    assert report.parts[0].fragments in (1, 2)
    assert "broken" in report.notices[0]
    assert len(packets(out)) == report.parts[0].frames


def test_bytes_that_are_no_media_are_refused_and_what_came_before_is_kept(tmp_path):
    out = tmp_path / "out.mkv"
    joiner = Joiner(lambda number: part_path(out, number).open("wb"))
    with pytest.raises(JoinError, match="broken after 1 fragments"):
        joiner.feed(fragment(0, 1) + b"\x1a\x45\xdf\xa3\x80" + b"<html>" * 9)
    assert joiner.close().parts[0].fragments == 1
    assert [data for _, data in times_and_data(out)] == [b"key", b"next"]


def test_a_block_of_a_track_that_is_not_described_is_refused(tmp_path):
    with pytest.raises(JoinError, match="track 2"):
        join(tmp_path / "out.mkv", document([VIDEO], BASE_MS, [picture(0, key=True), sound(1)], 1), fragment(9, 9))
    assert list(tmp_path.iterdir()) == []


def test_nothing_gives_no_file(tmp_path):
    assert join(tmp_path / "out.mkv").parts == ()
    assert list(tmp_path.iterdir()) == []


def test_a_document_with_many_clusters_of_known_size_is_joined_as_well(tmp_path):
    out = tmp_path / "out.mkv"
    clusters = [stored_media.cluster(BASE_MS + time, [picture(time, key=True)], known_size=True) for time in (0, 1000)]
    report = join(out, stored_media.header([VIDEO]) + b"".join(clusters))
    assert (report.parts[0].fragments, report.parts[0].start_ms) == (2, BASE_MS)
    assert [block.timecode for block in blocks(out)] == [0, 1000]


@pytest.mark.parametrize(
    ("scale", "between", "is_kept"),
    [(1_000_000, b"", True), (100_000, b"", False), (1_000_000, mkv.element("EC", b"void"), False)],
    ids=["milliseconds", "another scale", "something between the blocks"],
)
def test_blocks_that_already_are_as_a_file_has_them_are_copied_whole(tmp_path, scale, between, is_kept):
    out, ticks = tmp_path / "out.mkv", 1_000_000 // scale
    first, second = mkv.block(0, b"one"), mkv.block(40 * ticks, b"two", flags=0)
    clusters = [mkv.cluster(time * ticks, first, between, second) for time in (0, 1000)]
    join(out, mkv.header(scale=scale) + b"".join(clusters))
    assert times_and_data(out) == [(0, b"one"), (40, b"two"), (1000, b"one"), (1040, b"two")]
    assert [block.is_key_frame for block in blocks(out)] == [True, False] * 2
    assert (out.read_bytes().count(first + second) == 2) is is_kept


def test_all_sound_can_be_sought_although_producers_flag_only_pictures(tmp_path):
    out, tracks = tmp_path / "out.mkv", (VIDEO, SOUND)
    join(out, fragment(0, 1, tracks), fragment(1000, 2, tracks))
    flags = [(block.track, block.is_key_frame) for block in blocks(out)]
    assert sorted(flags) == [(1, False)] * 2 + [(1, True)] * 2 + [(2, True)] * 2


def test_a_block_in_a_group_keeps_its_time_beside_blocks_that_stand_alone(tmp_path):
    out = tmp_path / "out.mkv"
    children = (mkv.block(0, b"one"), mkv.group(40, b"two"), mkv.block(80, b"three", flags=0))
    join(out, mkv.header() + mkv.cluster(0, *children) + mkv.cluster(1000, *children[1:]))
    expected = [(0, b"one"), (40, b"two"), (80, b"three"), (1040, b"two"), (1080, b"three")]
    assert times_and_data(out) == expected


def test_the_joiner_holds_no_more_than_one_fragment():
    with open_source(SOUND_AND_PICTURE) as source:
        answer, tracks, frames, _ = stored(source)
    largest = max(len(document(tracks, time, group, 1)) for time, group in fragments(tracks, frames))
    joiner = Joiner(lambda _number: Kept())
    for piece in chunked(answer, 1000):
        joiner.feed(piece)
        assert sum(map(len, joiner._held)) <= largest + 2 * 1000
    joiner.close()
