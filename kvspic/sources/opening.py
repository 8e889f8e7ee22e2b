"""``open_source``: from what a user names to a source. What the bytes are decides, not the suffix.

All that can be wrong with a name is found here, before anything is put: a missing file, a directory, a text file.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, overload

from kvspic.sources.base import (
    MissingDependencyError,
    Source,
    SourceError,
    SourceOptionError,
    load_av,
    open_container,
)
from kvspic.sources.demux import RAW_FORMATS, UNLIKELY_RATE, DemuxedSource
from kvspic.sources.encode import TEST_PATTERN_NAME, open_test_pattern
from kvspic.sources.live import LiveSettings, LiveSource, device_connection, is_device, is_rtsp, rtsp_connection
from kvspic.sources.sniff import SNIFF_SIZE, looks_like_text, sniff
from kvspic.sources.trim import Trim
from kvspic.units import NS_PER_US

__all__ = ["is_live_name", "open_file", "open_source"]

FPS_MAX = 1000
URL_MARK = "://"
FILE_SCHEME = "file:"
MOV = "mov"
STANDARD_INPUT = "-"
URL_TIMEOUTS = (10.0, 10.0)  # seconds to open, seconds for each read
DAY_S = 86_400
FROM_FILE = "file"
EXAMPLE = "as in 2026-05-01T12:00:00Z"
NEVER_SET = datetime(2000, 1, 1, tzinfo=timezone.utc)  # containers have 1904 or 1970 where nothing was known


def open_file(
    path: str | os.PathLike[str],
    *,
    start: datetime | str | None = None,
    fps: float | Fraction | None = None,
    trim: Trim | str = Trim.PREVIOUS_KEY,
) -> Source:
    """Open a recording. As :func:`open_source`, but the name is always that of a file."""
    return _begun(_open_file(Path(path), _Options(_rate(fps), _trim(trim))), start)


@overload
def open_source(
    spec: str | os.PathLike[str] | BinaryIO,
    *,
    fps: float | Fraction | None = None,
    start: datetime | str | None = None,
    trim: Trim | str = Trim.PREVIOUS_KEY,
    live: None = None,
) -> Source: ...


@overload
def open_source(spec: str | os.PathLike[str], *, live: LiveSettings) -> LiveSource: ...


def open_source(
    spec: str | os.PathLike[str] | BinaryIO,
    *,
    fps: float | Fraction | None = None,
    start: datetime | str | None = None,
    trim: Trim | str = Trim.PREVIOUS_KEY,
    live: LiveSettings | None = None,
) -> Source:
    """Open a medium for reading.

    Args:
        spec: a file's path; ``-`` for standard input; a URL that PyAV can read; ``/dev/video0`` for a camera; a binary
            file object; or ``testsrc`` for a test pattern with a running clock, with options as in
            ``testsrc:width=640,height=360,duration=10`` (also ``fps``, ``gop`` in frames, ``audio=1``; a duration of 0
            never ends). An ``rtsp://`` URL and a camera never end by themselves: they are connected to again, see
            :class:`kvspic.sources.LiveSource`.
        fps: frames a second of a raw stream that does not say it itself, such as Motion JPEG; also that of ``testsrc``.
        start: when a recording began, for its frames to be stored at that time: a ``datetime`` with a time zone, the
            same as text (ISO 8601), or ``"file"`` for the time that the file itself says it was made.
        trim: what becomes of pictures that a file's edit list hides and the first shown one needs: "previous-key" gives
            them, marked as hidden; "next-key" begins with the next key frame.
        live: how an ``rtsp://`` URL or a camera is connected to; the answer is a ``LiveSource``, with ``pause`` and
            ``on_notice``.

    Raises:
        SourceError: the medium is missing, unreadable or holds nothing that can be packaged.
        SourceOptionError: ``fps``, ``start``, ``trim`` or an option of ``testsrc`` is out of range; ``live`` is given
            for what is no camera.
        MissingDependencyError: PyAV is not installed.
        TypeError: ``spec`` is none of these.
    """
    if live is not None:
        name = os.fspath(spec) if isinstance(spec, str | os.PathLike) else ""
        if not (is_rtsp(name) or is_device(name)):
            label = _without_secrets(name) or "The input"
            raise SourceOptionError(f"{label} is no live source: leave its settings out, or name a camera.")
        return _begun(_open_live(name, live), start)
    return _begun(_open(spec, _Options(_rate(fps), _trim(trim))), start)


def is_live_name(spec: str) -> bool:
    """Tell whether what a user names comes at its own pace: a URL, a device, standard input, the test pattern. A file
    that exists is a file, whatever its name."""
    if spec == STANDARD_INPUT or is_device(spec):
        return True
    is_named_live = URL_MARK in spec or spec.partition(":")[0] == TEST_PATTERN_NAME
    return is_named_live and not os.path.exists(spec)


@dataclass(frozen=True)
class _Options:
    """How a recording is read."""

    rate: Fraction | None
    trim: Trim


def _open_live(name: str, settings: LiveSettings) -> LiveSource:
    if is_rtsp(name):
        label = _without_secrets(name)
        return LiveSource(rtsp_connection(name, label), label, settings)
    return LiveSource(device_connection(name), name, settings)


def _begun(source: Source, start: datetime | str | None) -> Source:
    """Say when a recording began."""
    if start is None:
        return source
    try:
        if not isinstance(source, DemuxedSource):
            raise SourceOptionError("A start is for recordings; this input is live and begins now: leave it out.")
        source.start_ns = _start_ns(source, start)
    except BaseException:
        source.close()
        raise
    return source


def _start_ns(source: DemuxedSource, start: datetime | str) -> int:
    if start == FROM_FILE:
        moment = _moment(source.creation_time or NEVER_SET.isoformat())
        moment = moment.replace(tzinfo=moment.tzinfo or timezone.utc)
        if moment <= NEVER_SET:
            raise SourceOptionError(f"The file does not say when it was made: give its start, {EXAMPLE}.")
    else:
        moment = _moment(start) if isinstance(start, str) else start
    if moment.tzinfo is None:
        raise SourceOptionError(f"The start {moment.isoformat()} has no time zone: add one, Z for UTC, {EXAMPLE}.")
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    if since.total_seconds() < 0 or since.total_seconds() > time.time() + DAY_S:
        raise SourceOptionError(f"The start {moment.isoformat()} lies before 1970 or in the future: check its year.")
    return since // timedelta(microseconds=1) * NS_PER_US


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise SourceOptionError(f"The start {text!r} is no time: write date, time and zone, {EXAMPLE}.") from None


def _open(spec: str | os.PathLike[str] | BinaryIO, options: _Options) -> Source:
    if not isinstance(spec, str | os.PathLike):
        if not hasattr(spec, "read"):
            raise TypeError(f"spec is {spec!r}: give a path, a URL, a device, a binary file object, or 'testsrc'")
        return _open_pipe(spec, "The given file object", options)
    name = os.fspath(spec)
    if name == STANDARD_INPUT:
        return _open_pipe(sys.stdin.buffer, "Standard input", options)
    if is_device(name):
        return _open_live(name, LiveSettings())
    if not isinstance(spec, str) or not is_live_name(name):
        return _open_file(Path(name), options)
    if is_rtsp(name):
        return _open_live(name, LiveSettings())
    if URL_MARK in name:
        return DemuxedSource(_open_container(name, name, None), _without_secrets(name), fps=options.rate)
    return open_test_pattern(name, options.rate)


def _rate(fps: float | Fraction | None) -> Fraction | None:
    if fps is None:
        return None
    if not 0 < fps <= FPS_MAX:
        raise SourceOptionError(f"A frame rate of {fps} is out of range: give one above 0 and up to {FPS_MAX}.")
    return Fraction(fps).limit_denominator(1001)


def _trim(trim: Trim | str) -> Trim:
    try:
        return Trim(trim)
    except ValueError:
        choices = " or ".join(choice.value for choice in Trim)
        raise SourceOptionError(f"Hidden pictures cannot be trimmed as {trim!r}: say {choices}.") from None


def _open_file(path: Path, options: _Options) -> Source:
    label = str(path)
    name = FILE_SCHEME + label  # FFmpeg takes what stands before a colon for a protocol
    try:
        if path.exists() and stat.S_ISFIFO(path.stat().st_mode):  # read once, as standard input is
            return _open_fifo(path, label, options)
        with path.open("rb") as file:
            head = file.read(SNIFF_SIZE)
    except FileNotFoundError as error:
        raise SourceError(f"{label} does not exist: check the path.") from error
    except IsADirectoryError as error:
        raise SourceError(f"{label} is a directory: name a media file inside it.") from error
    except OSError as error:
        raise SourceError(f"{label} cannot be read ({error.strerror}): check its permissions.") from error
    _refuse_non_media(head, label)
    form = sniff(head) or _probe(name, label)
    is_unfinished = False

    def reopen() -> Any:
        return _open_container(_Once(path.open("rb")) if is_unfinished else name, label, form)

    try:
        container = reopen()
    except SourceError as error:
        if form != MOV or isinstance(error, MissingDependencyError):
            raise
        is_unfinished = True
        try:
            container = reopen()
        except SourceError as error:
            raise SourceError(
                f"{label} cannot be read: its index (moov) is missing or broken, as in a recording that was not "
                "finished; repair it, with untrunc for example."
            ) from error
    return DemuxedSource(
        container, label, fps=options.rate, reopen=reopen, trim=options.trim, is_unfinished=is_unfinished
    )


def _open_fifo(path: Path, label: str, options: _Options) -> Source:
    file = path.open("rb")
    try:
        source = _open_pipe(file, label, options)
    except BaseException:
        file.close()
        raise
    source.on_close = file.close
    return source


class _Once:
    """A file that is read from its begin to its end and never searched. FFmpeg refuses an MP4 file whose last fragment
    has half a header if it can look there first. Owns the file, and closes it at its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Return the next bytes; none at the end."""
        data = b"" if self._file.closed else self._file.read(size)
        if not data:
            self._file.close()
        return data


def _probe(name: str, label: str) -> str | None:
    """Return the raw format that PyAV finds where the first bytes did not say; None for anything else."""
    with _open_container(name, label, None) as container:
        return container.format.name if container.format.name in RAW_FORMATS else None


def _open_pipe(file: BinaryIO, label: str, options: _Options) -> DemuxedSource:
    """Open a file object. Its first bytes are looked at only if they can be given back."""
    form = None
    if hasattr(file, "peek"):
        head = file.peek(SNIFF_SIZE)[:SNIFF_SIZE]
        _refuse_non_media(head, label)
        form = sniff(head)
    elif file.seekable():
        head = file.read(SNIFF_SIZE)
        file.seek(-len(head), os.SEEK_CUR)
        _refuse_non_media(head, label)
        form = sniff(head)
    return DemuxedSource(_open_container(file, label, form), label, fps=options.rate, trim=options.trim)


def _refuse_non_media(head: bytes, label: str) -> None:
    if not head:
        raise SourceError(f"{label} is empty: name a file with video or audio.")
    if looks_like_text(head):
        raise SourceError(f"{label} is a text file: name a file with video or audio.")


def _open_container(medium: Any, label: str, form: str | None) -> Any:
    """Open PyAV's container; its errors become one sentence."""
    av = load_av()
    options = {"framerate": f"{UNLIKELY_RATE.numerator}/{UNLIKELY_RATE.denominator}"} if form in RAW_FORMATS else {}
    timeout = URL_TIMEOUTS if isinstance(medium, str) and URL_MARK in medium else None
    try:
        return open_container(medium, format=form, options=options, timeout=timeout)
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        remedy = "check that it is a whole media file"
        if timeout is not None:
            remedy = "check the address, and that what it names is media"
        text = f"{_without_secrets(label)} cannot be read as video or audio ({reason}): {remedy}."
        raise SourceError(text) from error


def _without_secrets(url: str) -> str:
    """Return a URL without the user and password that an RTSP camera's address often carries, and without its query."""
    scheme, mark, rest = url.partition(URL_MARK)
    if not mark:
        return url
    authority, slash, path = rest.partition("/")
    return scheme + mark + authority.rpartition("@")[2] + slash + path.partition("?")[0]
