"""Random numbers of walks. Goal: the same seed gives the same walk on every machine."""

from kvspic.statechart.prng import SplitMix64


def test_the_numbers_are_those_of_splitmix64():
    prng = SplitMix64(1)
    assert [prng.next().to_bytes(8, "little").hex() for _ in range(2)] == ["c15c0289ec2d0a91", "67ec8e65a18debbe"]


def test_numbers_below_a_bound_reach_all_values():
    prng = SplitMix64(5)
    assert {prng.below(3) for _ in range(100)} == {0, 1, 2}
