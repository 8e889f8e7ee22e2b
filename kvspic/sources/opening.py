"""``open_source``: from what a user names to a source. What the bytes are decides, not the suffix.

All that can be wrong with a name is found here, before anything is put: a missing file, a directory, a text file.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from kvspic.sources.base import Source, SourceError, SourceOptionError, load_av
from kvspic.sources.demux import RAW_FORMATS, UNLIKELY_RATE, DemuxedSource
from kvspic.sources.encode import TEST_PATTERN_NAME, open_test_pattern
from kvspic.sources.live import LiveSource, device_connection, is_device, is_rtsp, rtsp_connection
from kvspic.sources.sniff import SNIFF_SIZE, looks_like_text, sniff

__all__ = ["open_file", "open_source"]

FPS_MAX = 1000
URL_MARK = "://"
URL_TIMEOUTS = (10.0, 10.0)  # seconds to open, seconds for each read
NS_PER_US = 1000
DAY_S = 86_400
FROM_FILE = "file"
EXAMPLE = "as in 2026-05-01T12:00:00Z"
NEVER_SET = datetime(2000, 1, 1, tzinfo=timezone.utc)  # containers have 1904 or 1970 where nothing was known


def open_file(
    path: str | os.PathLike[str], *, start: datetime | str | None = None, fps: float | Fraction | None = None
) -> Source:
    """Open a recording. As :func:`open_source`, but the name is always that of a file."""
    return _begun(_open_file(Path(path), _rate(fps)), start)


def open_source(
    spec: str | os.PathLike[str] | BinaryIO,
    *,
    fps: float | Fraction | None = None,
    start: datetime | str | None = None,
) -> Source:
    """Open a medium for reading.

    Args:
        spec: a file's path; ``-`` for standard input; a URL that PyAV can read; ``/dev/video0`` for a camera; a binary
            file object; or ``testsrc`` for a test pattern with a running clock, with options as in
            ``testsrc:width=640,height=360,duration=10`` (also ``fps``, ``gop`` in frames, ``audio=1``; a duration of 0
            never ends). An ``rtsp://`` URL and a camera never end by themselves: they are connected to again, see
            :class:`kvspic.sources.live.LiveSource`.
        fps: frames a second of a raw stream that does not say it itself, such as Motion JPEG; also that of ``testsrc``.
        start: when a recording began, for its frames to be stored at that time: a ``datetime`` with a time zone, the
            same as text (ISO 8601), or ``"file"`` for the time that the file itself says it was made.

    Raises:
        SourceError: the medium is missing, unreadable or holds nothing that can be packaged.
        SourceOptionError: ``fps``, ``start`` or an option of ``testsrc`` is out of range.
        MissingDependencyError: PyAV is not installed.
    """
    return _begun(_open(spec, _rate(fps)), start)


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


def _open(spec: str | os.PathLike[str] | BinaryIO, rate: Fraction | None) -> Source:
    if not isinstance(spec, str | os.PathLike):
        return _open_pipe(spec, "The given file object", rate)
    name = os.fspath(spec)
    if isinstance(spec, str) and name.split(":")[0] == TEST_PATTERN_NAME and not os.path.exists(name):
        return open_test_pattern(name, rate)
    if name == "-":
        return _open_pipe(sys.stdin.buffer, "Standard input", rate)
    if is_rtsp(name):
        label = _without_secrets(name)
        return LiveSource(rtsp_connection(name, label), label)
    if is_device(name):
        return LiveSource(device_connection(name), name)
    if URL_MARK in name:
        return DemuxedSource(_open_container(name, name, None), _without_secrets(name), fps=rate)
    return _open_file(Path(name), rate)


def _rate(fps: float | Fraction | None) -> Fraction | None:
    if fps is None:
        return None
    if not 0 < fps <= FPS_MAX:
        raise SourceOptionError(f"A frame rate of {fps} is out of range: give one above 0 and up to {FPS_MAX}.")
    return Fraction(fps).limit_denominator(1001)


def _open_file(path: Path, rate: Fraction | None) -> Source:
    label = str(path)
    try:
        with path.open("rb") as file:
            head = file.read(SNIFF_SIZE)
    except FileNotFoundError as error:
        raise SourceError(f"{label} does not exist: check the path.") from error
    except IsADirectoryError as error:
        raise SourceError(f"{label} is a directory: name a media file inside it.") from error
    except OSError as error:
        raise SourceError(f"{label} cannot be read ({error.strerror}): check its permissions.") from error
    _refuse_non_media(head, label)
    form = sniff(head) or _probe(label)

    def reopen() -> Any:
        return _open_container(label, label, form)

    return DemuxedSource(reopen(), label, fps=rate, reopen=reopen)


def _probe(label: str) -> str | None:
    """Return the raw format that PyAV finds where the first bytes did not say; None for anything else."""
    with _open_container(label, label, None) as container:
        return container.format.name if container.format.name in RAW_FORMATS else None


def _open_pipe(file: BinaryIO, label: str, rate: Fraction | None) -> Source:
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
    return DemuxedSource(_open_container(file, label, form), label, fps=rate)


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
        return av.open(medium, format=form, options=options, timeout=timeout, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SourceError(
            f"{_without_secrets(label)} cannot be read as video or audio ({reason}): "
            "check that it is a whole media file."
        ) from error


def _without_secrets(url: str) -> str:
    """Return a URL without the user and password that an RTSP camera's address often carries, and without its query."""
    scheme, mark, rest = url.partition(URL_MARK)
    if not mark:
        return url
    authority, slash, path = rest.partition("/")
    return scheme + mark + authority.rpartition("@")[2] + slash + path.partition("?")[0]
