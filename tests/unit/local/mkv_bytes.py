"""Writes the Matroska that tests feed to the reader and the endpoint: small, with every size in one given form."""

import struct

UNKNOWN = None


def size(value, width=8):
    return ((1 << 7 * width) | value).to_bytes(width, "big")


def element(ident, body, width=8):
    return bytes.fromhex(ident) + size(len(body), width) + body


def uint(ident, value):
    return element(ident, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def text(ident, value):
    return element(ident, value.encode())


def ebml(doc_type="matroska", *more):
    return element("1A45DFA3", uint("4286", 1) + uint("42F7", 1) + text("4282", doc_type) + b"".join(more))


def segment_head(width=1):
    return bytes.fromhex("18538067") + size((1 << 7 * width) - 1, width)


def info(scale=1_000_000):
    return element("1549A966", uint("2AD7B1", scale) + text("4D80", "test") + text("5741", "test"))


def track(number=1, codec="V_MPEG4/ISO/AVC", private=b"\x01cpd"):
    video = element("E0", uint("B0", 640) + uint("BA", 360))
    body = uint("D7", number) + uint("73C5", number) + uint("83", 1) + text("86", codec) + element("63A2", private)
    return element("AE", body + video)


def tracks(*numbers):
    return element("1654AE6B", b"".join(track(number) for number in numbers))


def header(*numbers, scale=1_000_000):
    return ebml() + segment_head() + info(scale) + tracks(*(numbers or (1,)))


def block_body(number, time, flags, payload):
    return size(number, 1) + struct.pack(">hB", time, flags) + payload


def block(time=0, payload=b"frame", number=1, flags=0x80):
    return element("A3", block_body(number, time, flags, payload))


def group(time=0, payload=b"frame", *more, number=1):
    return element("A0", element("A1", block_body(number, time, 0, payload)) + b"".join(more))


def cluster(timecode, *children, known=False):
    body = uint("E7", timecode) + b"".join(children or (block(),))
    return element("1F43B675", body) if known else bytes.fromhex("1F43B675FF") + body


def simple_tag(name, value):
    return element("67C8", text("45A3", name) + text("4487", value))


def tags(*pairs):
    return element("1254C367", element("7373", b"".join(simple_tag(*pair) for pair in pairs)))


END = tags(("AWS_KINESISVIDEO_END_OF_FRAGMENT", ""))


def body(count=3, *, start=1_600_000_000_000, step=1000, payload=b"frame", end=END):
    """A whole upload of ``count`` fragments with two frames each."""
    clusters = [cluster(start + i * step, block(0, payload), block(step // 2, payload, flags=0)) for i in range(count)]
    return header() + b"".join(clusters) + end
