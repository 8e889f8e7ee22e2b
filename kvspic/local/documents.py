"""The Matroska that GetMedia and GetMediaForFragmentList answer with. Pure: bytes and records in, bytes out.

Each fragment is an EBML document of its own, as the service sends it: the producer's EBML header, a Segment of unknown
size, what the producer wrote before its first Cluster, a Tags element of the service, the Cluster as it came, the
fragment's Tags, and (GetMedia only) a Tags element that says where to go on.
"""

from __future__ import annotations

from kvspic.local.records import FragmentRecord
from kvspic.units import HNS_PER_MS

__all__ = ["SEGMENT_HEAD", "continuation_tags", "fragment_tags", "missing_fragment_tags", "tags_element"]

SEGMENT_HEAD = bytes.fromhex("18538067 01FFFFFFFFFFFFFF")
_TAGS, _TAG, _SIMPLE_TAG = bytes.fromhex("1254C367"), bytes.fromhex("7373"), bytes.fromhex("67C8")
_NAME, _STRING = bytes.fromhex("45A3"), bytes.fromhex("4487")
_PREFIX = "AWS_KINESISVIDEO_"


def _element(ident: bytes, payload: bytes) -> bytes:
    return ident + (1 << 56 | len(payload)).to_bytes(8, "big") + payload


def tags_element(pairs: list[tuple[str, str]]) -> bytes:
    """Return a Tags element with one Tag that holds all pairs."""
    simple = [
        _element(_SIMPLE_TAG, _element(_NAME, name.encode()) + _element(_STRING, value.encode()))
        for name, value in pairs
    ]
    return _element(_TAGS, _element(_TAG, b"".join(simple)))


def _seconds(hns: int) -> str:
    ms = hns // HNS_PER_MS
    return f"{ms // 1000}.{ms % 1000:03d}"


def fragment_tags(fragment: FragmentRecord, *, is_list: bool) -> bytes:
    """Return what the service says about a fragment; the list operation documents other names, and sends both."""
    server, producer = _seconds(fragment.server_hns), _seconds(fragment.producer_hns)
    pairs = [
        (_PREFIX + "FRAGMENT_NUMBER", fragment.number),
        (_PREFIX + "SERVER_TIMESTAMP", server),
        (_PREFIX + "PRODUCER_TIMESTAMP", producer),
    ]
    if is_list:
        pairs += [(_PREFIX + "SERVER_SIDE_TIMESTAMP", server), (_PREFIX + "PRODUCER_SIDE_TIMESTAMP", producer)]
    return tags_element(pairs)


def continuation_tags(number: str, behind_hns: int) -> bytes:
    """Return what ends each fragment of GetMedia."""
    behind_ms = max(behind_hns, 0) // HNS_PER_MS
    pairs = [(_PREFIX + "MILLIS_BEHIND_NOW", str(behind_ms)), (_PREFIX + "CONTINUATION_TOKEN", number)]
    return tags_element(pairs)


def missing_fragment_tags(number: str, *, is_damaged: bool) -> bytes:
    """Return a document that says that a listed fragment does not exist, or that its bytes have changed."""
    code, text = ("5000", "The fragment is damaged.") if is_damaged else ("4000", "The fragment was not found.")
    head = bytes.fromhex("1A45DFA3 93 42868101 42F78101 428288") + b"matroska"
    pairs = [
        (_PREFIX + "FRAGMENT_NUMBER", number),
        (_PREFIX + "EXCEPTION_ERROR_CODE", code),
        (_PREFIX + "EXCEPTION_MESSAGE", text),
    ]
    return head + SEGMENT_HEAD + tags_element(pairs)
