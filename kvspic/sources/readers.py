"""From packets of one stream to frames: times, headers to take off, pieces to cut. One reader for each way.

A reader sees the packets of its stream in order and gives frames; it opens nothing. Packet data is handed on without a
copy wherever the bytes go out as they came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from kvspic.sources.base import SourceError, SourceFrame, SourceTrack, ticks_to_ns
from kvspic.sources.codecs import parse_adts
from kvspic.sources.pictures import Pictures, new_private

__all__ = ["B_FRAMES_WITHOUT_TIMES", "AdtsReader", "PcmReader", "RawReader", "TimedReader", "Timing"]

PCM_PIECES_PER_SECOND = 50
FALLBACK_RATE = Fraction(25)
WHOLE = 2  # half frames
HALVES_MAX = 6  # frame tripling (ITU-T H.264 table D-1)

B_FRAMES_WITHOUT_TIMES = (
    "The stream has B frames but no times, so nothing says when each picture is shown: put it into a container "
    "(mkvmerge -o OUT.mkv IN) or encode it without B frames (ffmpeg -i IN -bf 0 OUT.mp4)."
)


@dataclass(frozen=True)
class Timing:
    """What a container says about the times of a stream. ``zero_hns`` is taken from all of them; ``has_dts``: it keeps
    decoding times, so that those of its demuxer are no guess; ``rate`` is for packets without times; ``first_pts``, in
    ticks, is the time of the first packet where that one has none."""

    zero_hns: int = 0
    has_dts: bool = True
    rate: Fraction | None = None
    first_pts: int | None = None


class TimedReader:
    """Reads packets that carry their times: all containers. ``pictures`` is set for video."""

    def __init__(self, track: SourceTrack, timing: Timing, pictures: Pictures | None = None) -> None:
        self._track = track
        self._timing = timing
        self._zero_ns = timing.zero_hns * 100
        self._pictures = pictures
        self._private = track.codec_private
        self._next_pts = timing.first_pts

    def read(self, packet: Any) -> Iterator[SourceFrame]:
        """Give the frames of one packet."""
        base = packet.time_base
        pts, dts = self._times(packet)
        pts_ns = ticks_to_ns(pts, base.numerator, base.denominator) - self._zero_ns
        dts_ns = None if dts is None else ticks_to_ns(dts, base.numerator, base.denominator) - self._zero_ns
        duration_ns = ticks_to_ns(packet.duration or 0, base.numerator, base.denominator)
        private = self._changed(packet)
        data, key = self.payload(packet)
        yield SourceFrame(
            self._track.number, data, pts_ns, dts_ns, duration_ns, key, packet.is_discard, codec_private=private
        )

    def flush(self) -> Iterator[SourceFrame]:
        """Give what is left after the last packet."""
        return iter(())

    def payload(self, packet: Any) -> tuple[Any, bool]:
        """Return the bytes of a packet as they go out, and whether a fragment may begin with it."""
        return (packet, False) if self._pictures is None else self._pictures.take(packet)

    def _changed(self, packet: Any) -> bytes | None:
        """Return the codec private data that the track goes on with; None where it goes on as before."""
        if self._pictures is not None:
            return self._pictures.change(packet)
        private = new_private(packet)
        if private is None or private == self._private:
            return None
        self._private = private
        return private

    def _times(self, packet: Any) -> tuple[int, int | None]:
        """Return pts and dts; where the packet has no pts, it follows the one before, and there is no dts."""
        pts, dts = packet.pts, packet.dts if self._timing.has_dts else None
        if pts is None:
            if self._pictures is not None and self._pictures.is_reordered(packet):
                raise SourceError(B_FRAMES_WITHOUT_TIMES)
            pts = dts if dts is not None else self._next_pts or 0
        self._next_pts = pts + (packet.duration or self._ticks_of_a_frame(packet.time_base))
        return int(pts), dts

    def _ticks_of_a_frame(self, base: Fraction) -> int:
        return max(1, round(1 / ((self._timing.rate or FALLBACK_RATE) * base)))


class AdtsReader(TimedReader):
    """Reads AAC packets that begin with an ADTS header, and takes it off: Matroska wants the bare frame."""

    def payload(self, packet: Any) -> tuple[Any, bool]:
        """Return the frame without its header."""
        data = memoryview(packet)
        header = parse_adts(data)
        return (packet if header is None else data[header.size :]), False


class RawReader:
    """Reads a raw video stream: no times in it, so each picture is shown one frame of the rate after the one before.

    A picture that the stream itself holds longer (telecine) or shorter (a single field) counts in half frames.
    """

    def __init__(self, track: SourceTrack, rate: Fraction, pictures: Pictures) -> None:
        self._track = track
        self._rate = rate
        self._pictures = pictures
        self._halves = 0
        self._usual_ticks = 0

    def read(self, packet: Any) -> Iterator[SourceFrame]:
        """Give the one frame of a packet."""
        if self._track.content_type == "video/h264" and self._pictures.is_reordered(packet):
            raise SourceError(B_FRAMES_WITHOUT_TIMES)
        begin = self._time_ns()
        self._halves += self._halves_of(packet.duration or 0)
        duration = self._time_ns() - begin
        private = self._pictures.change(packet)
        data, key = self.payload(packet)
        yield SourceFrame(
            self._track.number, data, begin, begin, duration, key, packet.is_discard, codec_private=private
        )

    def flush(self) -> Iterator[SourceFrame]:
        """Give nothing: a packet is a frame."""
        return iter(())

    def payload(self, packet: Any) -> tuple[Any, bool]:
        """Return the bytes of a packet as they go out, and whether a fragment may begin with it."""
        return self._pictures.take(packet)

    def _halves_of(self, ticks: int) -> int:
        """Return how many half frames a packet lasts. A length that no picture can have (PyAV gives some of one tick)
        is that of a usual one."""
        self._usual_ticks = self._usual_ticks or ticks
        halves = round(2 * ticks / self._usual_ticks) if self._usual_ticks else WHOLE
        return halves if 1 <= halves <= HALVES_MAX else WHOLE

    def _time_ns(self) -> int:
        return ticks_to_ns(self._halves, self._rate.denominator, 2 * self._rate.numerator)


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

    def payload(self, packet: Any) -> tuple[Any, bool]:
        """Return the samples of a packet, uncut."""
        return packet, False

    def _piece(self, size: int) -> SourceFrame:
        data = bytes(self._held[:size])
        del self._held[:size]
        begin = ticks_to_ns(self._samples_given, 1, self._track.sample_rate)
        self._samples_given += size // self._sample_size
        end = ticks_to_ns(self._samples_given, 1, self._track.sample_rate)
        return SourceFrame(self._track.number, data, begin, begin, end - begin, False)
