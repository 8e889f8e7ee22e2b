"""Edit lists. Goal: nothing that was cut away is uploaded but what decoding needs, and that stays hidden."""

import pytest

from kvspic.sources import SourceFrame
from kvspic.sources.trim import EditTrim, Trim

MS = 1_000_000


def frames_of(text):
    """Frames of 40 ms from words: ``K``ey, ``P``icture or ``S``ound, a number of frames, ``-`` for a hidden one."""
    for word in text.split():
        is_hidden = word.endswith("-")
        time_ns = int(word[1:].rstrip("-")) * 40 * MS
        track = 2 if word[0] == "S" else 1
        yield SourceFrame(track, word.encode(), time_ns, time_ns, 40 * MS, word[0] == "K", is_hidden)


def trimmed(text, trim=Trim.PREVIOUS_KEY, video=1):
    said = []
    found = list(EditTrim(video, trim, said.append).frames(frames_of(text)))
    return " ".join(frame.data.decode() + "h" * frame.is_hidden for frame in found), found, said


@pytest.mark.parametrize(
    "given,wanted",
    [
        ("K0 P1 S1 P2", "K0 P1 S1 P2"),
        ("K-4- P-3- K-2- P-1- P0 P1", "K-2-h P-1-h P0 P1"),  # only from the last key frame on
        ("K-2- P-1- K0 P1 P2", "K0 P1 P2"),  # a shown key frame needs nothing before it
        ("K-2- P-1- K4 P2 P3 P8", "K-2-h P-1-h K4 P2 P3 P8"),  # but for pictures that are shown before it
        ("K0 P3 P1 P9- P8-", "K0 P3 P1"),  # what follows the last shown one
        ("K0 P9- P1 P8-", "K0 P9-h P1"),  # a hidden picture that a later one is decoded from
        ("P-2- P-1- P0 P1", "P-2-h P-1-h P0 P1"),
    ],
)
def test_pictures(given, wanted):
    assert trimmed(given)[0] == wanted


def test_how_much_is_hidden_is_said_once():
    _, _, said = trimmed("K-2- P-1- P0 P1 K5- P6- P7 P8")
    assert len(said) == 1
    assert said[0].startswith("0.080 s (2 pictures) are hidden by the file's edit list")


def test_hidden_pictures_of_a_later_edit_lie_between_those_that_are_shown():
    text, found, _ = trimmed("K0 P1 K-9- P-7- P-8- P2 P3")
    assert text == "K0 P1 K-9-h P-7-h P-8-h P2 P3"
    assert [frame.pts_ns // MS for frame in found] == [0, 40, 77, 79, 78, 80, 120]
    assert [frame.dts_ns for frame in found[2:5]] == [None] * 3


@pytest.mark.parametrize(
    "given,wanted,said_ms",
    [
        ("K-2- P-1- S0 P0 S1 P1 S2 S3 K3 S4 P4", "S3 K3 S4 P4", 120),
        ("K-2- P-1- K0 P1", "K0 P1", None),
        ("K0 P9- P1", "K0 P9-h P1", None),  # the end of an edit is no begin
    ],
)
def test_a_begin_at_the_next_key_frame(given, wanted, said_ms):
    text, _, said = trimmed(given, Trim.NEXT_KEY)
    assert sorted(text.split()) == sorted(wanted.split())
    assert [line.split()[0] for line in said] == ([] if said_ms is None else [f"{said_ms / 1000:.3f}"])


@pytest.mark.parametrize("video", [0, 1])
def test_of_hidden_sound_only_the_priming_is_put_in_its_order(video):
    pictures = "K0 " if video else ""
    text, _, _ = trimmed(f"S-6- S-5- S-4- {pictures}S-3- S-2- S-1- S0 S1 S2-", video=video)
    assert text == f"S-4- {pictures}S-3- S-2- S-1- S0 S1"
