"""What a source is: tracks, and frames with times that start near zero; and the errors that reading media can give.

A source turns a file, a pipe or an encoder into frames that can be put. It knows nothing about streams or uploads, and
its times are relative to the medium's own zero: whoever puts the frames adds the epoch. Times are integers all the way:
100 ns ticks first (floor of pts x time base), then nanoseconds, so that a long file does not drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Union, runtime_checkable

if TYPE_CHECKING:
    import av

__all__ = [
    "EXIT_MEDIA",
    "EXIT_USAGE",
    "MissingDependencyError",
    "Source",
    "SourceData",
    "SourceError",
    "SourceFrame",
    "SourceOptionError",
    "SourceTrack",
    "UnsupportedCodecError",
    "load_av",
    "ticks_to_ns",
]

EXIT_USAGE = 2
EXIT_MEDIA = 3
HNS_PER_S = 10_000_000

SourceData = Union[bytes, bytearray, memoryview, "av.Packet[Any]"]


class SourceError(Exception):
    """A medium cannot be read: one sentence with cause and remedy. ``exit_code`` is what a command ends with."""

    exit_code = EXIT_MEDIA


class UnsupportedCodecError(SourceError):
    """The medium is readable, but it holds nothing that can be packaged."""


class MissingDependencyError(SourceError):
    """A package of an extra is not installed."""


class SourceOptionError(SourceError, ValueError):
    """An option of a source is out of range or unknown."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class SourceTrack:
    """One track, described as Matroska wants it.

    ``codec_private`` has the framing that ``nal`` names: avcC or hvcC for ``"avcc"``, parameter sets with start codes
    for ``"annexb"``. None means that the parameter sets are in the frames, or that the codec has no private data.
    """

    number: int
    kind: str  # "video" or "audio"
    codec_id: str
    name: str
    codec_private: bytes | None
    content_type: str
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0
    bit_depth: int = 0  # bits per sample; 0 where the codec has none
    nal: str | None = None  # "avcc" (length-prefixed), "annexb" (start codes), or None where the codec has no NAL units
    frame_rate_hint: float | None = None  # for capacity planning only; times never come from it

    @property
    def is_independent(self) -> bool:
        """Whether every frame can be decoded alone, so that a fragment may begin at any of them."""
        return self.kind == "audio" or self.codec_id == "V_MS/VFW/FOURCC"


@dataclass(frozen=True)
class SourceFrame:
    """One frame. ``data`` is bytes-like (a demuxed packet is not copied); times are nanoseconds from the medium's zero.

    ``key_frame`` is set on video only: where there is no video, whoever puts the frames decides where fragments begin.
    ``discard`` marks what a player drops, such as the priming of an AAC encoder; it is put like any other frame,
    because a decoder that does not get it makes other samples. ``codec_private`` is set where the track goes on with
    other settings, such as another resolution: whoever puts the frames gives it to the stream first.
    """

    track: int
    data: SourceData
    pts_ns: int
    dts_ns: int
    duration_ns: int
    key_frame: bool
    discard: bool = False
    codec_private: bytes | None = None


@runtime_checkable
class Source(Protocol):
    """Anything that gives frames. It is read once; closing it twice is harmless."""

    @property
    def tracks(self) -> tuple[SourceTrack, ...]:
        """The tracks, video first, numbered from 1."""

    @property
    def content_type(self) -> str:
        """The media type of the whole, one token for each track, such as ``video/h264,audio/aac``."""

    @property
    def duration_ns(self) -> int | None:
        """How long the medium is; None where nobody can know, as for a pipe."""

    @property
    def start_ns(self) -> int | None:
        """When its time 0 was, in nanoseconds since 1970, if it was opened as a recording; None: whenever it is put."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user about what was assumed or left out; often none."""

    def frames(self) -> Iterator[SourceFrame]:
        """Give each frame once, in the order in which the medium holds them."""

    def close(self) -> None:
        """Free what the source holds."""

    def __enter__(self) -> Source:
        """Return the source itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the source."""


def ticks_to_ns(ticks: int, numerator: int, denominator: int) -> int:
    """Return ``ticks`` of a time base of ``numerator / denominator`` seconds in nanoseconds, floored to 100 ns."""
    return ticks * numerator * HNS_PER_S // denominator * 100


def load_av() -> ModuleType:
    """Return PyAV, which is loaded here at first use and nowhere at import.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "Reading and encoding media needs PyAV, which is not installed: run `pip install kvspic[media]`."
        ) from error
    return av
