"""What the page says of tracks, tags and stored fragments: records in, plain values out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kvspic.local.mkv_events import AUDIO, VIDEO, Tags, Track, ends_fragment
from kvspic.local.remux import codec_string
from kvspic.local.store_index import FragmentRow
from kvspic.units import HNS_PER_MS, HNS_PER_S

__all__ = ["found_tags", "time_line", "track_facts"]

_NAMES = {
    "V_MPEG4/ISO/AVC": ("H.264", "h264"),
    "V_MPEGH/ISO/HEVC": ("H.265", "hevc"),
    "A_AAC": ("AAC", "aac"),
    "A_MS/ACM": ("G.711", ""),
}
_GAP_MS = 100  # a longer break between two fragments is a gap, as it is a discontinuity of a playlist
_LONGEST_HNS = 20 * HNS_PER_S  # no fragment of the service is longer
_EVENTS = ("AWS_KINESISVIDEO_NOTIFICATION", "AWS_KINESISVIDEO_IMAGE_GENERATION")


def track_facts(track: Track) -> dict[str, Any]:
    """Return what a person asks of a track: codec, size or sound, and the codec string (RFC 6381) for a browser."""
    name, short = _NAMES.get(track.codec_id, (track.codec_id.removeprefix("V_").removeprefix("A_"), ""))
    kind = {VIDEO: "video", AUDIO: "audio"}.get(track.kind, "other")
    return {
        "number": track.number,
        "kind": kind,
        "codec": name,
        "codecs": codec_string(short, track.codec_private) if short else None,
        "name": track.name,
        "width": track.width,
        "height": track.height,
        "rate": round(track.sampling_frequency),
        "channels": track.channels,
    }


def found_tags(row: FragmentRow, tags: Sequence[Tags]) -> list[dict[str, Any]]:
    """Return the tags of a fragment, each Tag an entry with its pairs; an event of the service is marked."""
    entries: list[dict[str, Any]] = []
    for element in tags:
        if ends_fragment(element):
            continue
        groups: dict[int, list[tuple[str, str]]] = {}
        for tag in element.tags:
            groups.setdefault(tag.group, []).append((tag.name, tag.value))
        for pairs in groups.values():
            event = next((name for name, _ in pairs if name in _EVENTS), None)
            at_ms = row.fragment.producer_hns // HNS_PER_MS
            entries.append({"at_ms": at_ms, "number": row.fragment.number, "event": event, "pairs": pairs})
    return entries


def time_line(rows: Sequence[FragmentRow]) -> dict[str, Any]:
    """Return fragments in the order of their producer times, gaps between them, and which came twice.

    A fragment is ``[start, duration, server time, size, session, copy]`` in milliseconds and bytes; ``copy`` is 0 for
    the first at its time, 1 for one more at the same time, and so on. A gap is ``[start, duration]``.
    """
    fragments: list[list[int]] = []
    gaps: list[list[int]] = []
    end_ms, copy = None, 0
    for row, following in zip(rows, [*rows[1:], None]):
        fragment = row.fragment
        start_ms, duration_ms = fragment.producer_hns // HNS_PER_MS, _duration_ms(row, following)
        copy = copy + 1 if fragments and fragments[-1][0] == start_ms else 0
        if end_ms is not None and start_ms - end_ms > _GAP_MS:
            gaps.append([end_ms, start_ms - end_ms])
        server_ms = fragment.server_hns // HNS_PER_MS
        fragments.append([start_ms, duration_ms, server_ms, fragment.size, row.session_id, copy])
        end_ms = max(end_ms or 0, start_ms + duration_ms)
    duplicates = sum(one[5] > 0 for one in fragments)
    return {"fragments": fragments, "gaps": gaps, "duplicates": duplicates}


def _duration_ms(row: FragmentRow, following: FragmentRow | None) -> int:
    """A fragment of one frame does not say how long it is: it lasts until the next one of its session."""
    duration_hns = row.fragment.duration_hns
    if not duration_hns and following is not None and following.session_id == row.session_id:
        distance_hns = following.fragment.producer_hns - row.fragment.producer_hns
        duration_hns = distance_hns if distance_hns <= _LONGEST_HNS else 0
    return duration_hns // HNS_PER_MS
