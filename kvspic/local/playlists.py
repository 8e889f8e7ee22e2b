"""What a player reads: HLS playlists (RFC 8216) and DASH manifests (ISO/IEC 23009-1). Pure: fragments in, text out.

A session shows a window of a stream's fragments. ``Window`` keeps what a live playlist must remember from one reading
to the next: how many fragments and how many discontinuities have left it.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode
from xml.sax.saxutils import quoteattr

__all__ = ["GAP_MS", "LEAD_MS", "Shown", "Track", "Window", "manifest", "master_playlist", "media_playlist"]

GAP_MS = 100
"""A jump of the producer's time beyond this is a discontinuity."""
LEAD_MS = 10_000
"""The first fragment lies this long after the session's origin, because decoding times begin before display times."""

Discontinuities = Literal["ALWAYS", "NEVER", "ON_DISCONTINUITY"]


@dataclass(frozen=True)
class Shown:
    """A fragment in a window. ``at_ms``: producer time since 1970; ``upload``: the PutMedia session that brought it."""

    place: int
    number: str
    at_ms: int
    duration_ms: int
    upload: int
    size: int = 0

    def breaks_from(self, before: Shown | None, mode: Discontinuities) -> bool:
        """Whether a player has to begin afresh between ``before`` and this fragment."""
        if before is None or mode == "NEVER":
            return False
        gap_ms = self.at_ms - (before.at_ms + before.duration_ms)
        return mode == "ALWAYS" or self.upload != before.upload or abs(gap_ms) > GAP_MS


@dataclass(frozen=True)
class Track:
    """A track as a playlist names it; ``number`` is that of the segments' URLs."""

    number: int
    kind: str
    codec: str
    width: int = 0
    height: int = 0
    sampling_rate: int = 0


@dataclass
class Window:
    """What a session shows. The state is that of the newest reading."""

    mode: Discontinuities
    is_live: bool
    fragments: list[Shown] = field(default_factory=list)
    left_count: int = 0
    discontinuities_left: int = 0
    target_ms: int = 0
    _before: Shown | None = None

    def advance(self, known: Sequence[Shown], count: int) -> None:
        """Show the last ``count`` of ``known``, which begins where the window began or later."""
        for place, shown in enumerate(known[: max(0, len(known) - count)]):
            self.left_count += 1
            self.discontinuities_left += shown.breaks_from(self._before if place == 0 else known[place - 1], self.mode)
        if len(known) > count:
            self._before = known[len(known) - count - 1]
        self.fragments = list(known[max(0, len(known) - count) :])
        self.target_ms = max([self.target_ms, *(shown.duration_ms for shown in self.fragments)])

    def first(self) -> int:
        """The place of the first fragment that is shown, or 0."""
        return self.fragments[0].place if self.fragments else 0

    def breaks(self) -> list[bool]:
        """For each fragment, whether a discontinuity lies before it."""
        before = [self._before, *self.fragments]
        return [shown.breaks_from(last, self.mode) for last, shown in zip(before, self.fragments)]


def _time(ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def _query(token: str, **values: object) -> str:
    return urlencode({**values, "SessionToken": token})


def _bandwidth(fragments: Sequence[Shown]) -> int:
    """Bits a second of the densest fragment."""
    return max((shown.size * 8000 // max(shown.duration_ms, 1) for shown in fragments), default=0) or 100_000


def master_playlist(token: str, tracks: Sequence[Track], fragments: Sequence[Shown]) -> str:
    """One variant with all tracks in it."""
    codecs = ",".join(track.codec for track in tracks)
    sizes = [f",RESOLUTION={track.width}x{track.height}" for track in tracks if track.width and track.height]
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    lines.append(f'#EXT-X-STREAM-INF:BANDWIDTH={_bandwidth(fragments)},CODECS="{codecs}"{"".join(sizes[:1])}')
    return "\n".join([*lines, f"getHLSMediaPlaylist.m3u8?{_query(token, TrackNumber=1)}"]) + "\n"


def media_playlist(token: str, window: Window, *, is_ts: bool, shows_times: bool) -> str:
    """The segments of a window; with ``shows_times`` each has its producer time as PROGRAM-DATE-TIME."""
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{3 if is_ts else 7}"]
    if not window.is_live:
        lines.append("#EXT-X-PLAYLIST-TYPE:VOD")
    lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    lines.append(f"#EXT-X-TARGETDURATION:{max(1, -(-window.target_ms // 1000))}")
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{window.left_count + 1}")
    lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{window.discontinuities_left}")
    upload = None
    for offset, (shown, is_break) in enumerate(zip(window.fragments, window.breaks())):
        query = _query(token, FragmentNumber=shown.number, TrackNumber=0, SequenceNumber=window.left_count + 1 + offset)
        if is_break and offset:
            lines.append("#EXT-X-DISCONTINUITY")
        if not is_ts and (upload is None or is_break):
            lines.append(f'#EXT-X-MAP:URI="getMP4InitFragment.mp4?{query}"')
        upload = shown.upload
        if shows_times:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_time(shown.at_ms)}")
        lines.append(f"#EXTINF:{shown.duration_ms / 1000:.3f},")
        lines.append(f"{'getTSFragment.ts' if is_ts else 'getMP4MediaFragment.mp4'}?{query}")
    if not window.is_live:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def manifest(token: str, window: Window, tracks: Sequence[Track], origin_ms: int, now_ms: int) -> str:
    """The window as an MPD, a Period from each discontinuity on; times count from ``origin_ms``."""
    periods: list[list[tuple[int, Shown]]] = []
    for offset, (shown, is_break) in enumerate(zip(window.fragments, window.breaks())):
        if is_break or not periods:
            periods.append([])
        periods[-1].append((window.left_count + 1 + offset, shown))
    attributes = 'xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-main:2011"'
    if window.is_live:
        update = max(1.0, window.target_ms / 1000)
        depth = sum(shown.duration_ms for shown in window.fragments) / 1000
        attributes += f' type="dynamic" availabilityStartTime="{_time(origin_ms)}" publishTime="{_time(now_ms)}"'
        attributes += f' minimumUpdatePeriod="PT{update:.3f}S" timeShiftBufferDepth="PT{depth:.3f}S"'
    else:
        total = sum(shown.duration_ms for shown in window.fragments)
        attributes += f' type="static" mediaPresentationDuration="PT{total / 1000:.3f}S"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append(f'<MPD {attributes} minBufferTime="PT{max(1, window.target_ms) / 1000:.3f}S">')
    start_ms = 0
    for number, period in enumerate(periods):
        begin_ms = period[0][1].at_ms - origin_ms if window.is_live else start_ms
        lines.append(f'<Period id="{window.discontinuities_left + number}" start="PT{begin_ms / 1000:.3f}S">')
        for track in tracks:
            lines += _adaptation_set(token, track, period, origin_ms)
        lines.append("</Period>")
        start_ms += sum(shown.duration_ms for _, shown in period)
    return "\n".join([*lines, "</MPD>"]) + "\n"


def _adaptation_set(token: str, track: Track, period: Sequence[tuple[int, Shown]], origin_ms: int) -> list[str]:
    shape = f' width="{track.width}" height="{track.height}"' if track.width else ""
    rate = f' audioSamplingRate="{track.sampling_rate}"' if track.sampling_rate else ""
    first = period[0][1]
    offset_ms = first.at_ms - origin_ms + LEAD_MS
    lines = [f'<AdaptationSet contentType="{track.kind}" mimeType="{track.kind}/mp4" segmentAlignment="true">']
    bandwidth = _bandwidth([shown for _, shown in period])
    lines.append(f'<Representation id="{track.number}" bandwidth="{bandwidth}" codecs="{track.codec}"{shape}{rate}>')
    lines.append(f'<SegmentList timescale="1000" presentationTimeOffset="{offset_ms}">')
    head = f"getMP4InitFragment.mp4?{_query(token, FragmentNumber=first.number, TrackNumber=track.number)}"
    lines.append(f"<Initialization sourceURL={quoteattr(head)}/>")
    lines.append("<SegmentTimeline>")
    lines += [f'<S t="{shown.at_ms - origin_ms + LEAD_MS}" d="{shown.duration_ms}"/>' for _, shown in period]
    lines.append("</SegmentTimeline>")
    for sequence, shown in period:
        query = _query(token, FragmentNumber=shown.number, TrackNumber=track.number, SequenceNumber=sequence)
        lines.append(f"<SegmentURL media={quoteattr('getMP4MediaFragment.mp4?' + query)}/>")
    return [*lines, "</SegmentList>", "</Representation>", "</AdaptationSet>"]
