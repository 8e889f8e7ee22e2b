"""Times and errors of sources. Goal: integer times that do not drift, and a missing package named with its remedy."""

import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvspic.sources import base


def test_a_time_is_floored_to_a_tick_of_100_ns():
    assert [base.ticks_to_ns(n, 1001, 30000) for n in range(4)] == [0, 33_366_600, 66_733_300, 100_100_000]


@given(st.integers(-(1 << 40), 1 << 40), st.integers(1, 100_000), st.integers(1, 1_200_000))
def test_a_time_is_never_late_and_less_than_a_tick_early(ticks, numerator, denominator):
    late = base.ticks_to_ns(ticks, numerator, denominator) * denominator - ticks * numerator * 10**9
    assert -100 * denominator < late <= 0


def test_a_missing_pyav_is_named_with_the_extra_that_brings_it(monkeypatch):
    real = builtins.__import__

    def without_av(name, *rest, **more):
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(base.MissingDependencyError, match=r"pip install kvspic\[media\]"):
        base.load_av()


def test_every_error_of_a_source_has_the_exit_code_of_its_kind():
    assert (
        base.SourceError.exit_code == base.UnsupportedCodecError.exit_code == base.MissingDependencyError.exit_code == 3
    )
    assert base.SourceOptionError.exit_code == 2
    assert issubclass(base.SourceOptionError, ValueError)


def test_sound_may_begin_a_fragment_anywhere_and_pictures_only_where_each_stands_alone():
    make = base.SourceTrack
    assert make(1, "audio", "A_AAC", "", None, "audio/aac").is_independent
    assert make(1, "video", "V_MS/VFW/FOURCC", "", None, "video/x-matroska").is_independent
    assert not make(1, "video", "V_MPEG4/ISO/AVC", "", None, "video/h264").is_independent
