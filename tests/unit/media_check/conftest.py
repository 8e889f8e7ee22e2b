"""A real endpoint in this process, and uploads to it that are watched."""

import itertools

import pytest
from unit.media_check.uploads import Seen

import kvspic
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with LocalEndpoint.run_in_thread(tmp_path_factory.mktemp("data"), settings=Settings.unlimited()) as endpoint:
        yield endpoint.url


@pytest.fixture(scope="module")
def producer(url):
    with kvspic.Producer(endpoint_url=url) as made:
        yield made


_count = itertools.count()


@pytest.fixture
def upload(producer, caplog):
    """Run ``put(stream)`` in a stream of its own and return what was seen."""

    def run(tracks, put, **options):
        seen = Seen(caplog)
        name = f"check-{next(_count)}"
        with producer.open_stream(name, tracks, on_event=seen.on_event, **options) as stream:
            put(stream)
            if stream.report.media_problems:
                seen.wait(seen.names[0] if seen.names else _standing(stream))
                health = stream.health()
                assert not health.is_healthy
                seen.health = health.reason
        seen.report = stream.report
        return seen

    return run


def _standing(stream):
    return stream.health().reason.rpartition("(")[2].rstrip(")")
