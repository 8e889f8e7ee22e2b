"""The clips of the tests, and what makes others of them: PyAV remuxes, so nothing outside the project is needed."""

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

MEDIA = Path(__file__).resolve().parents[2] / "media"
CLIPS = sorted(path.name for path in MEDIA.iterdir() if path.suffix != ".md")
ANNEXB = [name for name in CLIPS if name.endswith((".h264", ".h265"))]
TIMED = [name for name in CLIPS if not name.endswith((".h264", ".h265", ".mjpeg", ".wav", ".aac"))]
BASELINE = MEDIA / "h264_baseline_320x240_25fps.mp4"
B_FRAMES = MEDIA / "h264_high_bframes_640x360_25fps.mp4"
OPEN_GOP = MEDIA / "h265_main_opengop_320x240_25fps.mp4"
SOUND_AND_PICTURE = MEDIA / "av_h264_main_aac_44100_640x360_25fps.mp4"


class Packet(NamedTuple):
    """A packet as PyAV demuxes it, copied: PyAV's own must not be asked for its stream once the container is closed."""

    kind: str
    data: bytes
    pts: int
    dts: int
    duration: int
    time_base: Fraction
    is_keyframe: bool
    is_discard: bool


def packets(path):
    """The packets that have data, in file order."""
    with av.open(str(path)) as container:
        return [
            Packet(packet.stream.type, bytes(packet), *(getattr(packet, name) for name in Packet._fields[2:]))
            for packet in container.demux()
            if packet.size
        ]


def remux(path, out, form=None, bitstream_filter=None):
    """Copy the packets of a clip into another container."""
    with av.open(str(path)) as source, av.open(str(out), "w", format=form) as target:
        pairs = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        filters = {}
        if bitstream_filter:
            made = av.bitstream.BitStreamFilterContext(bitstream_filter, source.streams[0])
            filters = {source.streams[0].index: made}
        for packet in source.demux():
            if packet.dts is None:
                continue
            index = packet.stream.index
            for ready in filters[index].filter(packet) if index in filters else [packet]:
                ready.stream = pairs[index]
                target.mux(ready)
    return out


def decoded(path, kind="video"):
    """Pictures or samples of a file: how many there are, and the hash of all."""
    digest, count = hashlib.sha256(), 0
    with av.open(str(path)) as container:
        for frame in container.decode(getattr(container.streams, kind)[0]):
            digest.update(frame.to_ndarray().tobytes())
            count += 1 if kind == "video" else frame.samples
    return count, digest.hexdigest()


def decodes_as(path, clip, kind="video"):
    """Whether a file decodes to what ``clip`` does. Newer FFmpeg ends the sound of an MP4 where its edit list
    does, a part of an AAC frame early; the padding at the end of the last frame is then left out on both sides."""
    (count, digest), (goal_count, goal_digest) = decoded(path, kind), decoded(clip, kind)
    if kind == "video" or count == goal_count:
        return (count, digest) == (goal_count, goal_digest)
    return 0 < count - goal_count < 1024 and np.array_equal(_samples(path)[..., :goal_count], _samples(clip))


def _samples(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(container.streams.audio[0])], axis=-1)
