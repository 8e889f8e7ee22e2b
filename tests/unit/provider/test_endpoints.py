"""Endpoint cache. Goal: a fresh endpoint saves a call, an old or doubted one is asked for again."""

import pytest

from kvspic.provider.endpoints import FRESH_HNS, EndpointCache, checked_endpoint
from kvspic.provider.results import ServiceError, ServiceResult


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


def test_a_doubted_endpoint_is_asked_for_again_and_known_as_the_last_one():
    cache = EndpointCache()
    cache.put("door", "https://s-1", 0)
    cache.put("door", "https://b-1", 0, "GET_MEDIA")
    cache.doubt("door")
    cache.doubt("never put")
    assert cache.get("door", 0) is None
    assert cache.last("door") == "https://s-1"
    assert cache.get("door", 1, "GET_MEDIA") == "https://b-1"
    cache.put("door", "https://s-2", 0)
    assert cache.get("door", 1) == "https://s-2"
    assert cache.last("never put") is None


def test_the_oldest_entry_makes_room():
    cache = EndpointCache(count_max=2)
    for name in ("a", "b", "a", "c"):
        cache.put(name, f"https://{name}", 0)
    assert [cache.get(name, 1) for name in "abc"] == ["https://a", None, "https://c"]


@pytest.mark.parametrize("settings", [{"fresh_hns": -1}, {"count_max": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError):
        EndpointCache(**settings)


@pytest.mark.parametrize(
    ("url", "control_url"),
    [
        ("https://s-1.kinesisvideo.eu-west-1.amazonaws.com", None),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("https://s-1.example", "http://127.0.0.1:80"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "HTTP://localhost:1"),
    ],
)
def test_an_endpoint_that_is_as_safe_as_its_control_plane_is_used(url, control_url):
    assert checked_endpoint(url, control_url) == url


@pytest.mark.parametrize("control_url", [None, "https://s-1.example", ""])
@pytest.mark.parametrize("url", ["http://s-1.example", "HTTP://127.0.0.1:1"])
def test_an_endpoint_in_clear_behind_an_encrypted_control_plane_is_refused_in_words(url, control_url):
    with pytest.raises(ServiceError, match="not encrypted") as refused:
        checked_endpoint(url, control_url)
    assert refused.value.result is ServiceResult.UNKNOWN  # tried again: the service may correct it


@pytest.mark.parametrize(
    "url", ["http://[::1", "", "http://", "ftp://host", "http://h:99999", "http://a b", "http://h:0"]
)
def test_what_is_no_endpoint_is_refused_in_words(url):
    with pytest.raises(ServiceError, match="no http or https URL"):
        checked_endpoint(url, "http://127.0.0.1:1")
