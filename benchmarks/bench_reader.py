"""What the endpoint's Matroska reader costs: an upload of 16 KB frames in pieces of 64 and 256 KB, as they arrive.

The same reader takes apart what `kvspic get` joins. The body is made here, so that the packager is not in the figure.
"""

from __future__ import annotations

import time

from report import say

from kvspic.local.mkv_reader import MkvReader

__all__: list[str] = []

FRAME_SIZE = 16_000
FRAMES, CLUSTERS = 60, 40
RUNS = 5
SLICE_ELEMENTS = 250  # as the endpoint reads


def element(ident: str, body: bytes) -> bytes:
    """An EBML element with a size of eight bytes."""
    return bytes.fromhex(ident) + (len(body) | 1 << 56).to_bytes(8, "big") + body


def upload_body() -> bytes:
    """A Segment of unknown size: one track of video, clusters of blocks."""
    track = element("D7", b"\x01") + element("83", b"\x01") + element("86", b"V_TEST")
    head = element("1A45DFA3", element("4282", b"matroska")) + bytes.fromhex("18538067FF")
    head += element("1549A966", element("2AD7B1", (1_000_000).to_bytes(3, "big")))
    head += element("1654AE6B", element("AE", track))
    blocks = [b"\x81" + (33 * number).to_bytes(2, "big") + b"\x80" + bytes(FRAME_SIZE) for number in range(FRAMES)]
    media = b"".join(element("A3", block) for block in blocks)
    return head + b"".join(
        element("1F43B675", element("E7", (2000 * number).to_bytes(4, "big")) + media) for number in range(CLUSTERS)
    )


def cpu_s(body: bytes, piece_size: int) -> float:
    """Processor seconds of one reading, which has to see every frame."""
    reader, seen, begin = MkvReader(), 0, time.process_time()
    reader.slice_max = SLICE_ELEMENTS
    for start in range(0, len(body), piece_size):
        seen += len(reader.feed(body[start : start + piece_size]))
        while reader.has_more:
            seen += len(reader.feed(b""))
    spent_s = time.process_time() - begin
    seen += len(reader.close())
    if seen != 2 + CLUSTERS * (FRAMES + 2):
        raise SystemExit(f"the reader saw {seen} parts of the body")
    return spent_s


def main() -> None:
    body = upload_body()
    for piece_size in (64 * 1024, 256 * 1024):
        best_s = min(cpu_s(body, piece_size) for _ in range(RUNS))
        say(f"Matroska reader, pieces of {piece_size // 1024} KB", best_s / (len(body) / 1e9), "s/GB")


if __name__ == "__main__":
    main()
