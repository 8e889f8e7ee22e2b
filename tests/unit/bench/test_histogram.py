"""Histograms. Goal: what agents measured is added without losing a value, and other tools read it."""

import itertools
import json
import random
import zlib

import pytest

from kvspic.bench.histogram import CLASSES, VALUE_MAX_US, Histogram, HistogramError, Histograms, Recorder, size_class


def histogram_of(*values):
    made = Histogram()
    made.record(values)
    return made


def test_percentiles_come_from_the_sum_not_from_the_mean_of_percentiles():
    total = histogram_of(*[100] * 1000)
    total.add(histogram_of(*[900] * 1000))
    assert total.count == 2000
    assert total.percentiles([50, 99]) == [100, 900]


def test_size_classes_end_at_their_bounds():
    sizes = [0, 1, 8192, 8193, 65536, 65537, 2 << 30, (2 << 30) + 1]
    assert [size_class(size) for size in sizes] == [0, 1, 1, 2, 2, 3, 7, 8]
    assert len(CLASSES) == 9


def test_a_value_of_two_hours_is_counted_at_the_bound():
    found = histogram_of(5, 7_200_000_000)
    assert (found.count, found.clamped) == (2, 1)
    assert VALUE_MAX_US <= found.max_us <= VALUE_MAX_US * 1.001


def test_a_value_below_zero_is_counted_as_zero():
    found = histogram_of(-3)
    assert (found.percentiles([100]), found.clamped) == ([0], 1)


@pytest.mark.parametrize("value", [0, 1, 2047, 2048, 2049, 4095, 4096, 123_456, 999_999_999, VALUE_MAX_US])
def test_a_value_is_kept_to_a_thousandth(value):
    assert value <= histogram_of(value).percentiles([50])[0] <= value * 1.001


def test_an_empty_histogram_has_zeros():
    assert (Histogram().percentiles([50, 99]), Histogram().mean_us, Histogram().max_us) == ([0, 0], 0.0, 0)
    assert Histogram.decode(Histogram().encode()).count == 0


def samples(seed, count=300):
    numbers = random.Random(seed)
    return [int(numbers.lognormvariate(6, 2) * numbers.choice([1, 1000])) for _ in range(count)]


def test_encoded_decoded_and_encoded_again_are_the_same_bytes_in_any_order_of_merging():
    parts = [histogram_of(*samples(seed)) for seed in range(4)]
    texts = set()
    for order in itertools.permutations(parts):
        total = Histogram()
        for part in order:
            total.add(Histogram.decode(part.encode()))
        texts.add(total.encode())
    assert len(texts) == 1
    assert Histogram.decode(texts.pop()).count == 1200


@pytest.mark.parametrize("count", [1, 63, 64, 2**31, 2**55 - 1, 2**55, 2**62])
def test_counters_of_any_size_come_back(count):
    made = Histogram()
    made.counts.update({0: 1, 77: count, 23_551: 3})
    assert Histogram.decode(made.encode()).counts == made.counts


def test_other_tools_read_it_and_it_reads_theirs():
    other = pytest.importorskip("hdrh.histogram")
    values = samples(7)
    ours, theirs = histogram_of(*values), other.HdrHistogram(1, VALUE_MAX_US, 3)
    for value in values:
        theirs.record_value(value)
    read = other.HdrHistogram.decode(ours.encode())
    for percent in (0, 50, 90, 99, 99.9, 100):
        assert ours.percentiles([percent]) == [theirs.get_value_at_percentile(percent)]
        assert read.get_value_at_percentile(percent) == theirs.get_value_at_percentile(percent)
    assert Histogram.decode(theirs.encode().decode()).counts == ours.counts
    assert ours.mean_us == pytest.approx(theirs.get_mean_value(), rel=1e-3)


def test_damaged_bytes_are_one_error():
    text = histogram_of(*samples(1)).encode()
    whole = [text[:-9], "", "AAAA", "not base64!", text[:12] + "A" * (len(text) - 12)]
    for damaged in whole:
        with pytest.raises(HistogramError, match="damaged"):
            Histogram.decode(damaged)


def test_other_bounds_are_refused_in_words():
    other = pytest.importorskip("hdrh.histogram")
    with pytest.raises(HistogramError, match="bounds 1 to 1000 us with 2 digits"):
        Histogram.decode(other.HdrHistogram(1, 1000, 2).encode().decode())


def test_a_set_comes_back_from_the_wire():
    made = Histograms()
    made.at("PUT", 1).record([10, 20])
    made.at("PUT", 2).record([30])
    made.at("PERS", 4).record([1_000_000])
    found, is_full = Histograms.unpack(made.pack(is_full=True))
    assert is_full
    assert [(kind, index, one.count) for kind, index, one in found] == [("PERS", 4, 1), ("PUT", 1, 2), ("PUT", 2, 1)]
    assert found.all_sizes("PUT").count == 3
    assert Histograms.unpack(b"") != found


@pytest.mark.parametrize("text", [b"[]", b'{"hist": []}', b'{"hist": {"PUT": {"no": "x"}}}', b"{"])
def test_a_damaged_set_is_one_error(text):
    for data in (b"x", zlib.compress(text)):
        with pytest.raises(HistogramError):
            Histograms.unpack(data)


def test_a_recorder_gives_each_value_once():
    recorder = Recorder()
    recorder.values("PUT", 1).append(5)
    first = recorder.take()
    recorder.values("PUT", 1).append(6)
    second = recorder.take()
    assert [first.all_sizes("PUT").max_us, second.all_sizes("PUT").max_us] == [5, 6]
    assert list(recorder.take()) == []


def test_the_wire_form_is_what_the_design_says():
    made = Histograms()
    made.at("LATE", 0).record([0])
    assert json.loads(zlib.decompress(made.pack())) == {
        "full": False, "hist": {"LATE": {"zero": made.at("LATE", 0).encode()}}
    }  # fmt: skip
