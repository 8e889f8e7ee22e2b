"""Imitates what the service gives back: frames of a source become one Matroska document for each fragment.

Written for the tests of reading back; it shares nothing with the packager of the core or with the writer under test.
Layout of GetMedia's answer: EBML, Segment of unknown size, Info, Tracks, tags of the service, Cluster, more tags.
"""

import struct
from dataclasses import replace

BASE_MS = 1_700_000_000_000


def size(value, width=8):
    return ((1 << 7 * width) | value).to_bytes(width, "big")


def element(ident, body):
    return bytes.fromhex(ident) + size(len(body)) + body


def uint(ident, value):
    return element(ident, value.to_bytes(8, "big"))


def nal_units(data):
    """The NAL units of Annex-B data, without start codes and trailing zeros."""
    return [part.rstrip(b"\0") for part in data.split(b"\0\0\1")[1:]]


def length_prefixed(data):
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in nal_units(data))


def avcc(annexb):
    sps, pps = (next(unit for unit in nal_units(annexb) if unit[0] & 31 == kind) for kind in (7, 8))
    parts = b"\1" + sps[1:4] + b"\xff\xe1" + struct.pack(">H", len(sps)) + sps
    high = b"\xfd\xf8\xf8\0" if sps[1] not in (66, 77, 88) else b""
    return parts + b"\1" + struct.pack(">H", len(pps)) + pps + high


def hvcc(annexb):
    """hvcC for 4:2:0 with 8 bits and one temporal layer."""
    units = {unit[0] >> 1: unit for unit in nal_units(annexb)}
    plain = units[33].replace(b"\0\0\3", b"\0\0")
    head = b"\1" + plain[3:15] + bytes.fromhex("f000fcfdf8f800000f")
    arrays = [bytes((kind, 0, 1)) + struct.pack(">H", len(units[kind])) + units[kind] for kind in (32, 33, 34)]
    return head + b"\3" + b"".join(arrays)


def as_stored(source):
    """Tracks and frames of a source as the service would hold them: length-prefixed, data as bytes."""
    makers = {"video/h264": avcc, "video/h265": hvcc}
    tracks = [
        replace(track, codec_private=makers[track.content_type](track.codec_private))
        if track.nal == "annexb"
        else track
        for track in source.tracks
    ]
    annexb = {track.number for track in source.tracks if track.nal == "annexb"}
    frames = []
    for frame in source.frames():
        data = bytes(frame.data)
        frames.append(replace(frame, data=length_prefixed(data) if frame.track in annexb else data))
    return tracks, frames


def fragments(tracks, frames, audio_fragment_ms=2000):
    """Frames in fragments: at key pictures, or every two seconds of sound."""
    if tracks[0].kind == "audio":
        groups = {}
        for frame in frames:
            groups.setdefault((frame.pts_ns - frames[0].pts_ns) // 1_000_000 // audio_fragment_ms, []).append(frame)
        return [(milliseconds(group[0]), group) for group in groups.values()]
    videos = [frame for frame in frames if frame.track == 1]
    sounds = [frame for frame in frames if frame.track != 1]
    starts = [index for index, frame in enumerate(videos) if frame.key_frame]
    cuts = [cut_of(videos[start:]) for start in starts]
    found = []
    for place, start in enumerate(starts):
        end = starts[place + 1] if place + 1 < len(starts) else len(videos)
        until = cuts[place + 1] if place + 1 < len(starts) else 1 << 62
        since = cuts[place] if place else -(1 << 62)
        group = videos[start:end] + [frame for frame in sounds if since <= frame.pts_ns < until]
        found.append((milliseconds(videos[start]), interleaved(group)))
    return found


def cut_of(videos):
    """The least time of a key picture and the pictures that follow it but are shown before it."""
    key = videos[0]
    later = next((place for place, frame in enumerate(videos) if frame.pts_ns > key.pts_ns), len(videos))
    return min(frame.pts_ns for frame in videos[: later + 1])


def interleaved(group):
    """Pictures in their order, each sound after the first picture that is decoded no earlier."""
    return [group[0], *sorted(group[1:], key=lambda frame: frame.order_ns)]


def milliseconds(frame):
    return BASE_MS + frame.pts_ns // 1_000_000


def track_entry(track):
    body = uint("D7", track.number) + uint("73C5", track.number) + uint("83", 1 if track.kind == "video" else 2)
    body += element("536E", track.name.encode()) + element("86", track.codec_id.encode())
    if track.width:
        body += element("E0", uint("B0", track.width) + uint("BA", track.height))
    if track.sample_rate:
        depth = uint("6264", track.bit_depth) if track.bit_depth else b""
        body += element("E1", element("B5", struct.pack(">d", track.sample_rate)) + uint("9F", track.channels) + depth)
    if track.codec_private:
        body += element("63A2", track.codec_private)
    return element("AE", body)


def tags(pairs):
    pieces = (element("67C8", element("45A3", name.encode()) + element("4487", text.encode())) for name, text in pairs)
    return element("1254C367", element("7373", b"".join(pieces)))


def header(tracks, scale_ns=1_000_000):
    names = ("4286", 1), ("42F7", 1), ("42F2", 4), ("42F3", 8)
    head = b"".join(uint(ident, value) for ident, value in names)
    head += element("4282", b"matroska") + uint("4287", 2) + uint("4285", 2)
    info = uint("2AD7B1", scale_ns) + element("4D80", b"test") + element("5741", b"test")
    segment = bytes.fromhex("18538067") + b"\x01" + b"\xff" * 7
    return (
        element("1A45DFA3", head)
        + segment
        + element("1549A966", info)
        + element("1654AE6B", b"".join(track_entry(track) for track in tracks))
    )


def cluster(time_ms, frames, shift_ms=0, known_size=False):
    body = uint("E7", time_ms + shift_ms) + element("A7", b"\0")
    for frame in frames:
        relative = milliseconds(frame) - time_ms
        flags = 0x80 if frame.key_frame else 0
        body += element("A3", bytes((0x80 | frame.track,)) + struct.pack(">hB", relative, flags) + frame.data)
    head = bytes.fromhex("1F43B675")
    return head + (size(len(body)) if known_size else b"\xff") + body


def document(tracks, time_ms, frames, number, user_tags=(), shift_ms=0):
    """One fragment as GetMedia gives it; ``shift_ms`` makes its times relative to something else."""
    service = [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", str(number)),
        ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", "1700000001.000"),
        ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", f"{time_ms // 1000}.{time_ms % 1000:03}"),
    ]
    tail = [("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", "0"), ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", str(number))]
    users = tags(user_tags) if user_tags else b""
    return header(tracks) + tags(service) + cluster(time_ms, frames, shift_ms) + users + tags(tail)


def stored(source):
    """The service's whole answer for a source that was put; also the tracks and frames that it holds."""
    tracks, frames = as_stored(source)
    parts = fragments(tracks, frames)
    answer = b"".join(document(tracks, time_ms, group, 100 + place) for place, (time_ms, group) in enumerate(parts))
    return answer, tracks, frames, len(parts)
