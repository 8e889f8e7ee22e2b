"""What is kept of a body. Goal: it is a bytearray for those who use it, and its memory goes with it."""

import pytest

from kvspic.provider.kept import Kept


def test_it_grows_and_is_read_like_bytes():
    kept, whole = Kept(1000), b""
    assert (len(kept), kept[0:5]) == (0, b"")
    for piece in (b"abc", memoryview(b"defg"), b""):
        kept += piece
        whole += bytes(piece)
    assert len(kept) == len(whole)
    for start, end in ((0, 3), (2, 100), (7, 9), (3, 3)):
        assert kept[start:end] == whole[start:end]


def test_it_takes_no_more_than_its_limit():
    kept = Kept(10)
    kept += bytes(10)
    with pytest.raises((ValueError, IndexError)):
        kept += b"x"
    assert len(kept) == 10
