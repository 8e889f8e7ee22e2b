"""Natural mistakes in calls of the facade, each explained: what was given, and what is wanted instead. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from kvspic import errors
from kvspic.types import StreamOptions, Track, TrackLike, track_of

__all__ = [
    "check_duration",
    "check_seconds",
    "check_text",
    "check_url",
    "checked_options",
    "checked_tracks",
    "unknown_track",
    "why_no_frame",
]

DURATIONS = tuple(field.name for field in fields(StreamOptions) if "timedelta" in str(field.type))
TRACK_HINT = "give what open_stream wants: [kvspic.H264Track()], or the tracks of a source"


def check_url(name: str, url: str | None) -> None:
    """Check the URL of an endpoint; None is none.

    Raises:
        InvalidArgError: it has no scheme or no host.
    """
    if url is None:
        return
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except (ValueError, AttributeError):
        is_url = False
    if not is_url:
        text = f"{name} {url!r} is no URL: write scheme, host and port, as in http://127.0.0.1:8080"
        raise errors.named("INVALID_ARG", text)


def checked_tracks(tracks: Any) -> list[Track]:
    """Return the tracks of a stream: a sequence of ``Track`` and the like, or one alone.

    Raises:
        TypeError: something else was given.
    """
    if _is_track(tracks) and not isinstance(tracks, type):
        return [track_of(tracks)]
    if isinstance(tracks, str) or not isinstance(tracks, Iterable):
        raise TypeError(f"tracks is {tracks!r}: {TRACK_HINT}")
    return [_checked_track(track) for track in tracks]


def _is_track(value: Any) -> bool:
    """A list is looked at no further, because asking whether a value is a ``TrackLike`` takes 0.1 ms."""
    return isinstance(value, Track) or (type(value) not in (list, tuple) and isinstance(value, TrackLike))


def _checked_track(track: Any) -> Track:
    if isinstance(track, type):
        raise TypeError(f"a track is the class {track.__name__} itself: write {track.__name__}() with brackets")
    if not _is_track(track):
        raise TypeError(f"a track is {track!r}: {TRACK_HINT}")
    for name in ("codec_id", "content_type", "name"):
        if not isinstance(getattr(track, name), str):
            text = f"{name} of a track is {getattr(track, name)!r}: name its fields, as in AacTrack(sample_rate=48000)"
            raise TypeError(text)
    return track_of(track)


def checked_options(options: StreamOptions) -> StreamOptions:
    """Return the options of a stream.

    Raises:
        TypeError: a duration is no ``timedelta``, or a tag is no text.
    """
    for name in DURATIONS:
        value = getattr(options, name)
        if value is not None and not isinstance(value, timedelta):
            unit = "hours" if name == "retention" else "seconds"
            raise TypeError(f"{name} is {value!r}: give a datetime.timedelta, as in {name}=timedelta({unit}=2)")
    for name, value in dict(options.tags).items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise TypeError(f"the tag {name!r}: {value!r} is no text: tags are a dict from str to str")
    return options


def check_duration(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a ``timedelta``."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} is {value!r}: give a datetime.timedelta, as in {name}=timedelta(seconds=30)")


def check_seconds(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a number. Durations of streams are ``timedelta``, so people mix them up."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r}: give seconds as a number, as in {name}=10")


def check_text(what: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a ``str``."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}: give a str")


def why_no_frame(data: object, numbers: Mapping[str, object], error: Exception) -> TypeError:
    """The error of a put whose arguments have wrong types. ``numbers``: the times and the track, by name."""
    if isinstance(data, str):
        return TypeError("data is a str: give the bytes of one encoded frame")
    for name, value in numbers.items():
        if isinstance(value, float):
            return TypeError(f"{name} is the float {value!r}: give nanoseconds as int, as in pts=time.time_ns()")
        if value is not None and not hasattr(value, "__index__"):
            return TypeError(f"{name} is {value!r}: give an int, times in nanoseconds since 1970")
    if not isinstance(data, (bytes, bytearray)):
        return TypeError(f"data is no contiguous bytes-like object ({error}): give the bytes of one encoded frame")
    return TypeError(str(error))


def unknown_track(track: int, known: Sequence[int]) -> errors.KvsError:
    """The error of a frame for a track that the stream does not have."""
    numbers = ", ".join(map(str, known))
    text = f"track {track} was not declared when the stream was opened, which has {numbers}: tracks count from 1"
    return errors.named("UNKNOWN_TRACK", text)
