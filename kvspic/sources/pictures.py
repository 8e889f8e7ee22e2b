"""Packets of one video stream as they go out: framing that the core takes, and the key flag that the bits show.

Length-prefixed packets go out as they came where avcC or hvcC describes them fully and lengths have four bytes. All
others (avc3, hev1, other length sizes, no description at all) get start codes, and the parameter sets that are in the
pictures describe them. AV1 loses its temporal delimiters, which Matroska forbids.
"""

from __future__ import annotations

from typing import Any

from kvspic.sources.av1 import av1_private, without_delimiters
from kvspic.sources.codecs import bitmap_info, jpeg_size
from kvspic.sources.nal import (
    NAL_CODECS,
    PictureFacts,
    annexb_from_lengths,
    framing_of_private,
    parameter_sets,
    picture_facts,
    private_as_annexb,
    split_lengths,
)

__all__ = ["Av1Pictures", "JpegPictures", "NalPictures", "Pictures", "pictures_of"]

LENGTH_SIZE = 4  # the one that the core writes, and reads
START_CODES = (b"\0\0\1", b"\0\0\0\1")
JPEG = "V_MS/VFW/FOURCC"


class Pictures:
    """Pictures of a codec that needs no work. ``private`` is the codec private data that describes what goes out."""

    def __init__(self, private: bytes | None) -> None:
        self.private = private
        self._given = private
        self.nal: str | None = None

    def take(self, packet: Any) -> tuple[Any, bool]:
        """Return a packet's bytes as they go out, and whether a fragment may begin with it."""
        return packet, bool(packet.is_keyframe)

    def is_reordered(self, packet: Any) -> bool:
        """Tell whether a picture is shown in another order than the one in which the packets come."""
        return False

    def change(self, packet: Any) -> bytes | None:
        """Return the new codec private data that begins with a packet; None if it goes on as before."""
        given = new_private(packet)
        if given is None or given == self._given:
            return None
        self._given = given
        return self.describe(given)

    def describe(self, given: bytes) -> bytes | None:
        """Take other codec private data from the container; return what describes the pictures that go out then."""
        self.private = given
        return given


class NalPictures(Pictures):
    """H.264 and H.265. ``first`` is the first packet of the stream, None if it has none."""

    def __init__(self, content_type: str, private: bytes | None, first: Any | None) -> None:
        super().__init__(private or None)
        self._content_type = content_type
        self._length_size = 0
        self._is_rewritten = False
        self._facts: PictureFacts | None = None
        if private is not None and private[:1] == b"\1":
            self.describe(private)
        elif first is not None and _is_whole_lengths(memoryview(first)):
            self._length_size, self._is_rewritten = LENGTH_SIZE, True
        if self._is_rewritten and self.private is None and first is not None:
            # A start code behind the last set shows that it is whole.
            unit = annexb_from_lengths(memoryview(first), self._length_size) + START_CODES[0]
            self.private = parameter_sets(unit, content_type) or None
        self.nal = "avcc" if self._length_size and not self._is_rewritten else "annexb"

    def describe(self, given: bytes) -> bytes | None:
        """Take avcC, hvcC or parameter sets; avcC and hvcC of another form become parameter sets."""
        self._given = given
        framing = framing_of_private(given, self._content_type)
        if framing is None:
            self._length_size, self._is_rewritten, self.private = 0, False, given
        else:
            self._length_size = framing.length_size
            self._is_rewritten = framing.length_size != LENGTH_SIZE or not framing.is_complete
            self.private = private_as_annexb(framing) if self._is_rewritten else given
        return self.private

    def take(self, packet: Any) -> tuple[Any, bool]:
        """Return the bytes with a framing that the core takes, and the key flag that the bits show."""
        data, size = self._framed(packet)
        facts = picture_facts(memoryview(data), self._content_type, size)
        return data, facts is not None and facts.is_key(packet.is_keyframe)

    def is_reordered(self, packet: Any) -> bool:
        """Tell whether a picture has a B slice, whose picture is shown out of decoding order. H.265 has B slices in
        streams without any reordering too, so what its parameter sets say counts."""
        if self._content_type == "video/h265":
            return bool(getattr(packet.stream.codec_context, "has_b_frames", False))
        data, size = self._framed(packet)
        facts = picture_facts(memoryview(data), self._content_type, size)
        return facts is not None and facts.is_b

    def _framed(self, packet: Any) -> tuple[Any, int]:
        """Return the bytes to put, and the size of the lengths in them, 0 for start codes."""
        if not self._length_size:
            return packet, 0
        view = memoryview(packet)
        if self._is_rewritten:
            return annexb_from_lengths(view, self._length_size), 0
        _, taken = split_lengths(view, LENGTH_SIZE)
        if taken == len(view):
            return packet, LENGTH_SIZE
        if bytes(view[:4]).startswith(START_CODES):
            return packet, 0  # a camera that says avcC and writes start codes
        return (packet if any(view[taken:]) else view[:taken]), LENGTH_SIZE


class JpegPictures(Pictures):
    """Motion JPEG, which is described by the size of its pictures; that may change with any of them."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(bitmap_info(width, height))
        self._size = (width, height)

    def change(self, packet: Any) -> bytes | None:
        """Return the description of another size."""
        size = jpeg_size(memoryview(packet))
        if size is None or size == self._size:
            return None
        self._size = size
        self.private = bitmap_info(*size)
        return self.private


class Av1Pictures(Pictures):
    """AV1. Where the container keeps bare OBUs, av1C is made of the sequence header, and again when that changes."""

    def __init__(self, private: bytes | None, first: Any | None) -> None:
        own = private if private is not None and private[:1] == b"\x81" else None
        self._makes_private = own is None
        super().__init__(own or av1_private(private or b"") or av1_private(bytes(first or b"")))

    def take(self, packet: Any) -> tuple[Any, bool]:
        """Return the temporal unit without its delimiter."""
        return without_delimiters(packet), bool(packet.is_keyframe)

    def change(self, packet: Any) -> bytes | None:
        """Return av1C of another sequence header."""
        if not self._makes_private:
            return super().change(packet)
        made = av1_private(bytes(packet)) if packet.is_keyframe else None
        if made is None or made == self.private:
            return None
        self.private = made
        return made


def pictures_of(codec_id: str, content_type: str, context: Any, first: Any | None) -> Pictures:
    """Return what handles the pictures of a stream with this codec context."""
    private = bytes(context.extradata) if context.extradata else None
    if content_type in NAL_CODECS:
        return NalPictures(content_type, private, first)
    if codec_id == JPEG:
        size = (jpeg_size(memoryview(first)) if first is not None else None) or (context.width, context.height)
        return JpegPictures(*size)
    if content_type == "video/av1":
        return Av1Pictures(private, first)
    return Pictures(private)


def new_private(packet: Any) -> bytes | None:
    """Return the codec private data that a demuxer gives with a packet (FLV: a new sequence header, MP4: another sample
    entry); None where there is none, and with versions of PyAV that do not show it."""
    shows = getattr(packet, "has_sidedata", None)
    return bytes(packet.get_sidedata("new_extradata")) if shows is not None and shows("new_extradata") else None


def _is_whole_lengths(view: memoryview) -> bool:
    """Tell whether a packet is NAL units after lengths of four bytes, from its first byte to its last."""
    is_annexb = bytes(view[:4]).startswith(START_CODES)
    return not is_annexb and split_lengths(view, LENGTH_SIZE)[1] == len(view) > LENGTH_SIZE
