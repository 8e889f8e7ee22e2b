"""Bits of a header. Goal: numbers as the standards write them, and zeros behind the end."""

from kvspic.sources.bits import Bits


def test_numbers_are_read_from_the_most_significant_bit():
    bits = Bits(b"\xa5\x0f")
    assert [bits.read(count) for count in (1, 3, 4, 8)] == [1, 2, 5, 15]


def test_behind_the_end_there_are_zeros():
    bits = Bits(b"\xff")
    assert (bits.read(12), bits.read(4)) == (0xFF0, 0)


def test_exp_golomb_numbers():
    bits = Bits(bytes((0b1_010_011_0, 0b0100_0010, 0b1_0000000)))
    assert [bits.exp_golomb() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert bits.exp_golomb() == -1
