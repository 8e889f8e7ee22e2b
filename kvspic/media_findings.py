"""What the media check can find: the stable name of each finding, its sentence, and its remedy. A table, nothing else.

``docs/sources.md`` has a row for each name. ``{...}`` in the texts is filled in when the finding is made.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FINDINGS", "Finding"]


@dataclass(frozen=True)
class Finding:
    """A finding's texts. ``is_undecodable``: a player shows nothing of it, or garbage."""

    text: str
    remedy: str
    is_undecodable: bool = False


LONGER = (
    "let the encoder make a key frame every 1 to 5 s and flag only key frames, or open the stream with "
    "fragment_duration=timedelta(seconds=2)"
)

FINDINGS: dict[str, Finding] = {
    # ---- codec private data
    "no-codec-private-data": Finding(
        "the first key frame came without codec private data (parameter sets): none were given with the track, and "
        "the frames have none that can be read, so no player can decode them",
        "{source}",
        True,
    ),
    "audio-without-codec-private-data": Finding(
        "the {codec} track has no codec private data, so no player can decode it",
        "{source}",
        True,
    ),
    "motion-jpeg-without-size": Finding(
        "the Motion JPEG track has no width and height, so it has no codec private data and no player opens it",
        "give the size of the pictures: MjpegTrack(width=..., height=...)",
        True,
    ),
    "codec-private-data-wrong": Finding(
        "the codec private data that was given with the track is none of {codec}, so no player can decode it",
        "{source}",
        True,
    ),
    # ---- the bytes
    "array-of-numbers": Finding(
        "the data is an array of numbers (such as floats or 16-bit samples), not encoded {codec}",
        "encode it first and put the bytes of the packets: kvspic.sources.NumpyEncoder takes pictures as arrays of "
        "uint8, PyAV encodes sound",
        True,
    ),
    "raw-pictures": Finding(
        "the data is raw pictures, not encoded {codec}",
        "encode them first: kvspic.sources.NumpyEncoder makes the frames, and open_stream takes its encoder.track",
        True,
    ),
    "other-codec": Finding(
        "the frames look like {found}, but the track is {codec}",
        "open the stream with a track of what is put ({track}), or encode to {codec}",
        True,
    ),
    "aac-framing": Finding(
        "the frames are {found}, but a stream takes AAC frames without any header",
        "take the header off each frame (7 bytes of ADTS, 9 with a checksum), or read the sound with "
        "kvspic.sources.open_source, which does it",
        True,
    ),
    "half-frames": Finding(
        "{bad} of {frames} calls do not begin where a frame of {codec} begins, as pieces of a pipe or a file do",
        "put one whole frame in each call: kvspic.sources.open_source cuts files and pipes into frames",
        True,
    ),
    "slices-apart": Finding(
        "{bad} of {frames} calls begin in the middle of a picture: its slices come in calls of their own",
        "put all NAL units of one picture in one call",
        True,
    ),
    "several-frames": Finding(
        "{bad} of {frames} calls hold several pictures, which then have one time and one key frame flag between them",
        "put one picture in each call: kvspic.sources.open_source cuts files and pipes into frames",
        True,
    ),
    "not-of-codec": Finding(
        "{bad} of {frames} frames have bytes that no frame of {codec} has",
        "put whole encoded frames, one in each call (H.264 and H.265 with a start code or a length before each NAL "
        "unit), and open the stream with a track of their codec",
        True,
    ),
    "sound-lasts-wrong": Finding(
        "the frames of {codec} last {lasts} ms by the track's codec private data and their bytes, but come every "
        "{step} ms, so the sound is played at a wrong speed or not at all",
        "open the stream with the codec, sampling rate and channels that the encoder really has, put one frame in each "
        "call, and give the times of the samples, in nanoseconds",
        True,
    ),
    # ---- key frames
    "key-frames-not-flagged": Finding(
        "{shown} of {frames} frames are key frames, but none was put with key_frame=True, so nothing is uploaded",
        "key_frame= was probably forgotten: put_frame(..., key_frame=packet.is_keyframe) with PyAV, "
        "key_frame=frame.key_frame with kvspic.sources",
        True,
    ),
    "key-frame-flag-wrong": Finding(
        "{bad} of {flagged} frames that were put with key_frame=True are no key frames, so fragments begin with frames "
        "that cannot be decoded alone",
        "give key_frame=True with key frames only, as the encoder says (packet.is_keyframe with PyAV), not by counting",
        True,
    ),
    # ---- times
    "times-not-nanoseconds": Finding(
        "the times look like {unit}: {frames} frames lie within {span} ns",
        "give times in nanoseconds since 1970: {factor}",
    ),
    "times-anchored": Finding(
        "the times cannot be true, and {count} times within a minute other ones had to be made from the clock",
        "give the times of one clock that runs on, such as time.time_ns() when a frame was made",
    ),
    "times-shifted": Finding(
        "the times went back {count} times within a minute, so what follows lies later than it should",
        "give times that rise over the whole stream: when a source begins again, go on from its last time",
    ),
    "times-repeated": Finding(
        "{count} frames within a minute had the time of the frame before them, and were moved by a millisecond each",
        "give each frame a time of its own, in nanoseconds since 1970 (times in milliseconds are such a repetition)",
    ),
    "times-in-the-future": Finding(
        "the media lies {ahead} s in the future",
        "give UTC times such as time.time_ns(), not local ones, and set the clock of the source; a recording begins at "
        "its end minus its length",
    ),
    "times-long-past": Finding(
        "the media lies before the year 2000, where a search by time will not find it",
        "add the time of day to the times of the source: pts=begin_ns + frame.pts_ns",
    ),
    "times-far-apart": Finding(
        "the times went {days} days {where} from one frame to the next",
        "give the times of one clock, and open a stream of its own for each recording",
    ),
    # ---- fragments
    "fragments-short": Finding("fragments last {seconds} s, and the service takes none below 1 s", LONGER),
    "fragments-too-many": Finding("{rate} fragments begin in each second, and the service takes 5", LONGER),
}
