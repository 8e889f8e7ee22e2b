"""Endpoint cache. Goal: a fresh endpoint saves a call, an old or dropped one is asked for again."""

import pytest

from kvspic.provider.endpoints import FRESH_HNS, EndpointCache


def test_an_endpoint_is_fresh_for_forty_minutes():
    cache = EndpointCache()
    cache.put("door", "https://s-1", now_hns=100)
    assert cache.get("door", 100 + FRESH_HNS - 1) == "https://s-1"
    assert cache.get("door", 100 + FRESH_HNS) is None
    assert FRESH_HNS == 40 * 60 * 10**7


def test_streams_and_apis_have_endpoints_of_their_own():
    cache = EndpointCache()
    cache.put("door", "https://s-1", 0)
    cache.put("door", "https://b-1", 0, "LIST_FRAGMENTS")
    assert cache.get("door", 1) == "https://s-1"
    assert cache.get("door", 1, "LIST_FRAGMENTS") == "https://b-1"
    assert cache.get("window", 1) is None


def test_a_dropped_stream_is_forgotten_with_all_its_endpoints():
    cache = EndpointCache()
    cache.put("door", "https://s-1", 0)
    cache.put("door", "https://b-1", 0, "GET_MEDIA")
    cache.drop("door")
    cache.drop("never put")
    assert cache.get("door", 1) is None
    assert cache.get("door", 1, "GET_MEDIA") is None


def test_the_oldest_entry_makes_room():
    cache = EndpointCache(count_max=2)
    for name in ("a", "b", "a", "c"):
        cache.put(name, f"https://{name}", 0)
    assert [cache.get(name, 1) for name in "abc"] == ["https://a", None, "https://c"]


@pytest.mark.parametrize("settings", [{"fresh_hns": -1}, {"count_max": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError):
        EndpointCache(**settings)
