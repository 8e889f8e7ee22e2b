"""The prepared pictures. Goal: exactly the asked bytes, which a player can show."""

from fractions import Fraction

import pytest

from kvspic.bench.pictures import Pictures, encoded_pictures, filler_pictures

RATES = [(Fraction(30), 60, 2000), (Fraction(10), 20, 64), (Fraction(30000, 1001), 60, 16), (Fraction(1), 1, 100_000)]


@pytest.mark.parametrize("fps, count, kbps", RATES)
def test_filler_has_exactly_the_asked_bytes(fps, count, kbps):
    made = filler_pictures(fps, count, kbps, 1)
    assert len(made.frames) == count
    assert made.size == round(kbps * 125 * count / fps)
    assert made == filler_pictures(fps, count, kbps, 1)
    assert count == 1 or made != filler_pictures(fps, count, kbps, 2)


def test_the_key_frame_of_filler_is_larger_and_the_others_vary():
    made = filler_pictures(Fraction(30), 60, 2000, 1)
    sizes = [len(frame) for frame in made.frames]
    assert sizes[0] > 2 * max(sizes[1:])
    assert len(set(sizes[1:])) > 40


def test_encoded_pictures_have_exactly_the_asked_bytes_and_can_be_decoded():
    av = pytest.importorskip("av")
    made = encoded_pictures(Fraction(30), 30, 1000)
    assert made.size == 125_000
    assert made == encoded_pictures(Fraction(30), 30, 1000)
    decoder = av.CodecContext.create("h264", "r")
    pictures = []
    for place, frame in enumerate(made.frames * 2):
        head = made.cpd if place % 30 == 0 else b""
        pictures += decoder.decode(av.Packet(head + frame))
    pictures += decoder.decode(None)
    assert len(pictures) == 60
    assert {(picture.width, picture.height) for picture in pictures} == {(640, 360)}


def test_pictures_come_back_from_a_file():
    made = filler_pictures(Fraction(10), 5, 100, 1)
    assert Pictures.unpack(made.pack()) == made
