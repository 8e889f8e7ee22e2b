"""What a source is: tracks, and frames with times that start near zero; and the errors that reading media can give.

A source turns a file, a pipe or an encoder into frames that can be put. It knows nothing about streams or uploads, and
its times are relative to the medium's own zero: the caller that puts the frames adds the epoch. Times are integers
all the way: 100 ns ticks first (floor of pts x time base), then nanoseconds, so that a long file does not drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Union, runtime_checkable

from kvspic.units import HNS_PER_S

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
    "open_container",
    "ticks_to_ns",
]

EXIT_USAGE = 2
EXIT_MEDIA = 3

SourceData = Union[bytes, bytearray, memoryview, "av.Packet[Any]"]


class SourceError(Exception):
    """A medium cannot be read: one sentence with cause and remedy. ``exit_code`` is what a command ends with."""

    exit_code = EXIT_MEDIA


class UnsupportedCodecError(SourceError):
    """The medium is readable, but it holds nothing that can be packaged."""


class MissingDependencyError(SourceError):
    """A package of an extra is not installed, or cannot be loaded."""


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

    ``dts_ns`` is None where the medium keeps no decoding times, as Matroska does not: frames are then decoded in the
    order in which they are given. ``key_frame`` is set on video only: where there is no video, the caller that puts the
    frames decides where fragments begin. ``discard`` marks what a player does not show, such as the priming of an AAC
    encoder, and pictures that an edit list hides; it is put like any other frame, because a decoder needs it.
    ``codec_private`` is set where the track goes on with other settings, such as another resolution: the caller gives
    it to the stream first.
    """

    track: int
    data: SourceData
    pts_ns: int
    dts_ns: int | None
    duration_ns: int
    key_frame: bool
    discard: bool = False
    codec_private: bytes | None = None
    is_hidden: bool = False  # a picture that is decoded and not shown

    @property
    def order_ns(self) -> int:
        """When the frame is due: its decoding time, or where there is none, the time at which it is shown."""
        return self.pts_ns if self.dts_ns is None else self.dts_ns

    def put_options(self, base_ns: int) -> dict[str, Any]:
        """Return the keywords of ``put_frame``; ``base_ns`` is the medium's time 0 in nanoseconds since 1970."""
        options: dict[str, Any] = {
            "pts": base_ns + self.pts_ns,
            "dts": None if self.dts_ns is None else base_ns + self.dts_ns,
            "duration": self.duration_ns,
            "track": self.track,
            "key_frame": self.key_frame,
        }
        if self.is_hidden:
            options["invisible"] = True
        return options


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
        """How long the medium is; None where it cannot be known, as for a pipe."""

    @property
    def start_ns(self) -> int | None:
        """When its time 0 was, in nanoseconds since 1970, if it was opened as a recording; None: whenever it is put."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user about what was assumed or left out; often none. Reading may add more."""

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
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Reading and encoding media needs {_package(error)}, which is not installed: run "
            "`pip install 'kvspic[media]'`."
        ) from error
    except ImportError as error:  # it is there, and a library of the system that it links to is not
        raise MissingDependencyError(
            f"PyAV is installed, but cannot be loaded ({str(error).rstrip('.')}): install that library, or the wheel "
            "of PyAV, which brings FFmpeg along (`pip install --force-reinstall --only-binary av av`)."
        ) from error
    return av


def _package(error: ModuleNotFoundError) -> str:
    return "PyAV" if error.name in (None, "av") else str(error.name)


METADATA_ERRORS_END = 19  # from this version on PyAV takes any bytes as metadata, and no option about it


def open_container(medium: Any, **options: Any) -> Any:
    """Open a medium with PyAV for reading, whatever bytes its titles and comments are made of.

    Raises:
        MissingDependencyError: PyAV is not installed. What ``av.open`` raises.
    """
    av = load_av()
    if int(av.__version__.partition(".")[0]) < METADATA_ERRORS_END:
        options["metadata_errors"] = "replace"
    return av.open(medium, **options)
