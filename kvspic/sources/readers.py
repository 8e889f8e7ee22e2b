"""From packets of one stream to frames: times, headers to take off, pieces to cut. One reader for each way.

A reader sees the packets of its stream in order and gives frames; it opens nothing. Packet data is handed on without a
copy wherever the bytes go out as they came.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from kvspic.sources.base import SourceError, SourceFrame, SourceTrack, ticks_to_ns
from kvspic.sources.codecs import h264_has_b_slice, parse_adts

__all__ = ["B_FRAMES_WITHOUT_TIMES", "AdtsReader", "PcmReader", "RawReader", "TimedReader"]

SLICE_HEAD_SIZE = 4096  # parameter sets and the SEI of a key picture lie before its first slice
PCM_PIECES_PER_SECOND = 50

B_FRAMES_WITHOUT_TIMES = (
    "The stream has B frames but no times, so nobody can tell when each picture is shown: put it into a container "
    "(mkvmerge -o OUT.mkv IN) or encode it without B frames (ffmpeg -i IN -bf 0 OUT.mp4)."
)


class TimedReader:
    """Reads packets that carry their times: all containers."""

    def __init__(self, track: SourceTrack, zero_hns: int, *, carries_key: bool, first_dts: int | None = None) -> None:
        self._track = track
        self._zero_ns = zero_hns * 100
        self._carries_key = carries_key
        self._next_dts = first_dts  # in ticks, for the packets at the start that have none

    def read(self, packet: Any) -> Iterator[SourceFrame]:
        """Give the frames of one packet."""
        base = packet.time_base
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None or (packet.pts is None and getattr(packet.stream.codec_context, "has_b_frames", False)):
            raise SourceError(B_FRAMES_WITHOUT_TIMES)
        pts_ns = ticks_to_ns(ticks, base.numerator, base.denominator) - self._zero_ns
        dts_ns = ticks_to_ns(self._dts(packet, ticks), base.numerator, base.denominator) - self._zero_ns
        duration_ns = ticks_to_ns(packet.duration or 0, base.numerator, base.denominator)
        key = self._carries_key and packet.is_keyframe
        yield SourceFrame(self._track.number, self.payload(packet), pts_ns, dts_ns, duration_ns, key, packet.is_discard)

    def flush(self) -> Iterator[SourceFrame]:
        """Give what is left after the last packet."""
        return iter(())

    def payload(self, packet: Any) -> Any:
        """Return the bytes of a packet as they go out."""
        return packet

    def _dts(self, packet: Any, pts: int) -> int:
        """Return the packet's dts, or a time that follows the last one where the container keeps none."""
        dts = packet.dts
        if dts is None:
            dts = pts if self._next_dts is None else min(self._next_dts, pts)
        self._next_dts = dts + (packet.duration or 1)
        return int(dts)


class AdtsReader(TimedReader):
    """Reads AAC packets that begin with an ADTS header, and takes it off: Matroska wants the bare frame."""

    def payload(self, packet: Any) -> Any:
        """Return the frame without its header."""
        data = memoryview(packet)
        header = parse_adts(data)
        return packet if header is None else data[header.size :]


class RawReader:
    """Reads a raw video stream: no times in it, so frame ``n`` is shown at ``n`` / rate.

    A picture that the stream itself holds longer (telecine) moves those after it by the difference.
    """

    def __init__(self, track: SourceTrack, rate: Fraction) -> None:
        self._track = track
        self._rate = rate
        self._index = 0
        self._first_ticks: int | None = None
        self._extra_ticks = 0

    def read(self, packet: Any) -> Iterator[SourceFrame]:
        """Give the one frame of a packet."""
        if self._track.content_type == "video/h264" and h264_has_b_slice(bytes(memoryview(packet)[:SLICE_HEAD_SIZE])):
            raise SourceError(B_FRAMES_WITHOUT_TIMES)
        begin = self._time_ns(packet.time_base)
        if self._first_ticks is None:
            self._first_ticks = packet.duration
        self._extra_ticks += (packet.duration or 0) - (self._first_ticks or 0)
        self._index += 1
        duration = self._time_ns(packet.time_base) - begin
        yield SourceFrame(self._track.number, packet, begin, begin, duration, packet.is_keyframe, packet.is_discard)

    def flush(self) -> Iterator[SourceFrame]:
        """Give nothing: a packet is a frame."""
        return iter(())

    def _time_ns(self, base: Fraction) -> int:
        steady = ticks_to_ns(self._index, self._rate.denominator, self._rate.numerator)
        return steady + ticks_to_ns(self._extra_ticks, base.numerator, base.denominator)


class PcmReader:
    """Reads samples that come in pieces of any length, and gives pieces of 20 ms; the last one may be shorter."""

    def __init__(self, track: SourceTrack) -> None:
        self._track = track
        self._sample_size = track.channels * track.bit_depth // 8
        self._piece_size = max(1, track.sample_rate // PCM_PIECES_PER_SECOND) * self._sample_size
        self._held = bytearray()
        self._samples_given = 0

    def read(self, packet: Any) -> Iterator[SourceFrame]:
        """Give the whole pieces that are complete with this packet."""
        self._held += memoryview(packet)
        while len(self._held) >= self._piece_size:
            yield self._piece(self._piece_size)

    def flush(self) -> Iterator[SourceFrame]:
        """Give the last, shorter piece."""
        whole = len(self._held) // self._sample_size * self._sample_size
        if whole:
            yield self._piece(whole)

    def _piece(self, size: int) -> SourceFrame:
        data = bytes(self._held[:size])
        del self._held[:size]
        begin = ticks_to_ns(self._samples_given, 1, self._track.sample_rate)
        self._samples_given += size // self._sample_size
        end = ticks_to_ns(self._samples_given, 1, self._track.sample_rate)
        return SourceFrame(self._track.number, data, begin, begin, end - begin, False)
