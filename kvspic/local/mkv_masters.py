"""Readers for the Matroska masters that are held whole in memory: EBML head, Info, Tracks, Tags (RFC 9559).

Pure functions from a payload and its offset to records. Unknown children are skipped, as RFC 8794 asks. Each is bounded
by a number of elements in all, whatever their nesting: the smallest takes two bytes, and reading it much longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kvspic.local.ebml import EbmlError, Element, Id, ProblemKind, children, read_float, read_text, read_uint
from kvspic.local.mkv_events import SimpleTag, Track

__all__ = ["parse_ebml_head", "parse_info", "parse_tags", "parse_tracks"]

_Readers = dict[int, tuple[str, Callable[[Element], Any]]]

_EBML_LIMITS = {Id.EBML_READ_VERSION: 1, Id.EBML_ID_MAX: 4, Id.EBML_SIZE_MAX: 8}
_INFO: _Readers = {
    Id.TIMESTAMP_SCALE: ("timestamp_scale_ns", read_uint),
    Id.DURATION: ("duration", read_float),
    Id.TITLE: ("title", read_text),
    Id.MUXING_APP: ("muxing_app", read_text),
    Id.WRITING_APP: ("writing_app", read_text),
}
_TRACK: _Readers = {
    Id.TRACK_NUMBER: ("number", read_uint),
    Id.TRACK_UID: ("uid", read_uint),
    Id.TRACK_TYPE: ("kind", read_uint),
    Id.NAME: ("name", read_text),
    Id.CODEC_ID: ("codec_id", read_text),
    Id.CODEC_PRIVATE: ("codec_private", lambda element: element.body),
    Id.DEFAULT_DURATION: ("default_duration_ns", read_uint),
    Id.WIDTH: ("width", read_uint),
    Id.HEIGHT: ("height", read_uint),
    Id.SAMPLING_FREQUENCY: ("sampling_frequency", read_float),
    Id.CHANNELS: ("channels", read_uint),
    Id.BIT_DEPTH: ("bit_depth", read_uint),
}


class _Walk:
    """Walks over children and counts all of them."""

    def __init__(self, elements_max: int) -> None:
        self._left = elements_max

    def children(self, body: bytes, offset: int) -> Iterator[Element]:
        for element in children(body, offset):
            self._left -= 1
            if self._left < 0:
                raise EbmlError(ProblemKind.TOO_LARGE, element.offset)
            yield element

    def nested(self, body: bytes, offset: int) -> list[tuple[Element, int]]:
        """Children with the offset of each payload: a child's payload ends where the next child begins."""
        found = list(self.children(body, offset))
        ends = [element.offset for element in found[1:]] + [offset + len(body)]
        return [(element, end - len(element.body)) for element, end in zip(found, ends)]


def parse_ebml_head(body: bytes, offset: int, elements_max: int) -> str:
    """Return the DocType, or refuse what no reader of EBML 1 and Matroska can read."""
    doc_type = ""
    for element in _Walk(elements_max).children(body, offset):
        if element.id == Id.DOC_TYPE:
            doc_type = read_text(element)
        elif element.id in _EBML_LIMITS and read_uint(element) > _EBML_LIMITS[element.id]:
            raise EbmlError(ProblemKind.UNSUPPORTED, element.offset)
    if doc_type not in ("matroska", "webm"):
        raise EbmlError(ProblemKind.NOT_MATROSKA, offset)
    return doc_type


def parse_info(body: bytes, offset: int, elements_max: int) -> dict[str, Any]:
    """Return the members of Info by the names that :class:`Header` gives them."""
    found: dict[str, Any] = {}
    for element in _Walk(elements_max).children(body, offset):
        if element.id in _INFO:
            name, read = _INFO[element.id]
            found[name] = read(element)
            if element.id == Id.TIMESTAMP_SCALE and found[name] == 0:
                raise EbmlError(ProblemKind.BAD_VALUE, element.offset)
    return found


def _parse_track(walk: _Walk, body: bytes, offset: int, *, is_nested: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for element, payload_offset in walk.nested(body, offset):
        if element.id in (Id.VIDEO, Id.AUDIO):
            if is_nested:
                raise EbmlError(ProblemKind.MISPLACED, element.offset)
            found.update(_parse_track(walk, element.body, payload_offset, is_nested=True))
        elif element.id in _TRACK:
            name, read = _TRACK[element.id]
            found[name] = read(element)
    return found


def parse_tracks(body: bytes, offset: int, elements_max: int) -> tuple[Track, ...]:
    """Return the tracks in the order written; each has a number of its own, above 0."""
    tracks: list[Track] = []
    walk = _Walk(elements_max)
    for element, payload_offset in walk.nested(body, offset):
        if element.id != Id.TRACK_ENTRY:
            continue
        members = _parse_track(walk, element.body, payload_offset)
        if not members.get("number") or any(track.number == members["number"] for track in tracks):
            raise EbmlError(ProblemKind.BAD_TRACK, element.offset)
        tracks.append(Track(**members))
    return tuple(tracks)


def _parse_simple_tag(walk: _Walk, body: bytes, offset: int, group: int, depth: int) -> list[SimpleTag]:
    """A SimpleTag and those nested in it; nesting is bounded, because each level costs a call."""
    if depth > 8:
        raise EbmlError(ProblemKind.MISPLACED, offset)
    name = value = ""
    nested: list[SimpleTag] = []
    for element, payload_offset in walk.nested(body, offset):
        if element.id == Id.TAG_NAME:
            name = read_text(element)
        elif element.id == Id.TAG_STRING:
            value = read_text(element)
        elif element.id == Id.SIMPLE_TAG:
            nested += _parse_simple_tag(walk, element.body, payload_offset, group, depth + 1)
    return [SimpleTag(name, value, group), *nested]


def parse_tags(body: bytes, offset: int, elements_max: int) -> tuple[SimpleTag, ...]:
    """Return all SimpleTags, flat, in the order written; Targets are not looked at."""
    found: list[SimpleTag] = []
    walk = _Walk(elements_max)
    tags = [pair for pair in walk.nested(body, offset) if pair[0].id == Id.TAG]
    for group, (tag, tag_offset) in enumerate(tags):
        for element, payload_offset in walk.nested(tag.body, tag_offset):
            if element.id == Id.SIMPLE_TAG:
                found += _parse_simple_tag(walk, element.body, payload_offset, group, 1)
    return tuple(found)
