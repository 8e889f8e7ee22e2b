"""Playlists and manifests. Goal: what leaves a live window is counted, and a player learns of every break."""

from kvspic.local.playlists import Shown, Track, Window, manifest, master_playlist, media_playlist

VIDEO = Track(1, "video", "avc1.64001E", width=640, height=360)
AUDIO = Track(2, "audio", "mp4a.40.2", sampling_rate=48000)


def shown(place, at_ms=None, upload=1, duration_ms=2000):
    at_ms = place * 2000 if at_ms is None else at_ms
    return Shown(place, str(100 + place), at_ms, duration_ms, upload, size=50_000)


def window(*fragments, mode="ON_DISCONTINUITY", is_live=True, count=5):
    made = Window(mode, is_live)
    made.advance(fragments, count)
    return made


def lines_of(made, name, **options):
    text = media_playlist("T", made, is_ts=False, shows_times=True, **options)
    return [line for line in text.splitlines() if line.startswith(name)]


def test_fragments_that_follow_one_another_need_one_initialization():
    made = window(shown(1), shown(2), shown(3))
    assert len(lines_of(made, "#EXT-X-MAP")) == 1
    assert lines_of(made, "#EXT-X-DISCONTINUITY") == ["#EXT-X-DISCONTINUITY-SEQUENCE:0"]
    assert lines_of(made, "#EXTINF") == ["#EXTINF:2.000,"] * 3


def test_a_gap_a_jump_back_and_a_new_upload_are_discontinuities():
    for follower in (shown(2, at_ms=4101), shown(2, at_ms=3000), shown(2, upload=2)):
        made = window(shown(1), follower)
        assert len(lines_of(made, "#EXT-X-MAP")) == 2
        assert "#EXT-X-DISCONTINUITY" in lines_of(made, "#EXT-X-DISCONTINUITY")
    assert len(lines_of(window(shown(1), shown(2, at_ms=4099)), "#EXT-X-MAP")) == 1


def test_the_mode_decides_of_discontinuities():
    always, never = (window(shown(1), shown(2, upload=2), mode=mode) for mode in ("ALWAYS", "NEVER"))
    assert lines_of(always, "#EXT-X-DISCONTINUITY").count("#EXT-X-DISCONTINUITY") == 1
    assert lines_of(never, "#EXT-X-DISCONTINUITY").count("#EXT-X-DISCONTINUITY") == 0


def test_what_leaves_a_live_window_is_counted():
    known = [shown(1), shown(2, upload=2), shown(3, upload=2), shown(4, upload=3)]
    made = window(*known, count=2)
    assert [one.place for one in made.fragments] == [3, 4]
    assert lines_of(made, "#EXT-X-MEDIA-SEQUENCE") == ["#EXT-X-MEDIA-SEQUENCE:3"]
    assert lines_of(made, "#EXT-X-DISCONTINUITY-SEQUENCE") == ["#EXT-X-DISCONTINUITY-SEQUENCE:1"]
    made.advance([*known[2:], shown(5, at_ms=10_000, upload=3)], 2)
    assert lines_of(made, "#EXT-X-MEDIA-SEQUENCE") == ["#EXT-X-MEDIA-SEQUENCE:4"]
    assert made.discontinuities_left == 1
    made.advance([shown(4, upload=3), shown(5, at_ms=10_000, upload=3), shown(6, at_ms=12_000, upload=3)], 2)
    assert made.discontinuities_left == 2  # the one before the fragment 4 has left with it


def test_a_live_playlist_read_twice_is_the_same():
    made = window(shown(1), shown(2), count=5)
    first = media_playlist("T", made, is_ts=True, shows_times=False)
    made.advance([shown(1), shown(2)], 5)
    assert media_playlist("T", made, is_ts=True, shows_times=False) == first
    assert "#EXT-X-ENDLIST" not in first
    assert "getTSFragment.ts?FragmentNumber=101&" in first


def test_the_target_duration_is_whole_seconds_and_never_falls():
    made = window(shown(1, duration_ms=2001), shown(2, duration_ms=1000), count=1)
    made.advance([shown(1, duration_ms=2500), shown(2)], 2)
    made.advance([shown(2, duration_ms=900)], 2)
    assert lines_of(made, "#EXT-X-TARGETDURATION") == ["#EXT-X-TARGETDURATION:3"]


def test_times_are_the_producers():
    made = window(shown(1, at_ms=1_700_000_000_123), is_live=False)
    assert lines_of(made, "#EXT-X-PROGRAM-DATE-TIME") == ["#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.123Z"]
    assert lines_of(made, "#EXT-X-ENDLIST") == ["#EXT-X-ENDLIST"]


def test_the_master_playlist_names_codecs_and_size():
    text = master_playlist("T", [VIDEO, AUDIO], [shown(1)])
    assert 'BANDWIDTH=200000,CODECS="avc1.64001E,mp4a.40.2",RESOLUTION=640x360' in text


def test_a_manifest_begins_a_period_at_each_discontinuity():
    made = window(shown(1), shown(2), shown(3, upload=2), is_live=False)
    text = manifest("T&<", made, [VIDEO, AUDIO], origin_ms=2000, now_ms=9000)
    assert text.count("<Period ") == 2
    assert text.count("<AdaptationSet ") == 4
    assert '<Period id="1" start="PT4.000S">' in text
    assert 'mediaPresentationDuration="PT6.000S"' in text
    assert "T%26%3C" in text


def test_a_live_manifest_is_dynamic():
    text = manifest("T", window(shown(1)), [VIDEO], origin_ms=2000, now_ms=9000)
    assert 'type="dynamic" availabilityStartTime="1970-01-01T00:00:02.000Z"' in text
