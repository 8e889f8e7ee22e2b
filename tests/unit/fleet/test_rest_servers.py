"""Several servers over one PostgreSQL database. Goal: it does not matter which one is asked, one looks after the
leases, and a wake-up at one reaches a poll at the other."""

import contextlib
import threading

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
pytest.importorskip("psycopg")
from unit.fleet.rest import Wire, serving


@pytest.fixture(scope="module")
def servers(postgres):
    """Two of them, with real time."""
    url = postgres.url("servers")
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving(url, has_test_clock=False)) for _ in range(2)]


def masters(servers):
    """Which of the servers say that they are the master."""
    found = []
    for number, server in enumerate(servers):
        with Wire(server.url) as wire:
            found += [number] if "kvspic_fleet_master 1.0" in wire("GET", "/metrics").text else []
    return found


def test_a_poll_at_one_server_returns_for_a_job_made_at_the_other(servers):
    got = {}
    with Wire(servers[0].url) as first:

        def wait():
            with Wire(servers[1].url, timeout=60) as second:
                got.update(second.poll(wait_s=25))

        waiting = threading.Thread(target=wait)
        waiting.start()
        with Wire(servers[1].url) as second:
            while "kvspic_fleet_polls_waiting 1.0" not in second("GET", "/metrics").text:
                pass
        job = first.create("cam")
        waiting.join(30)
        assert [one["id"] for one in got["jobs"]] == [job]
        assert first("GET", f"/v1/jobs/{job}").json["status"] == "in_progress"
        assert first("PATCH", f"/v1/jobs/{job}", {"status": "cancel"}).status == 200
        with Wire(servers[1].url) as second:
            assert second.poll(carried=[{"id": job, "epoch": 1}])["stop"] == [job]
            assert second("GET", "/v1/jobs/@cam").json["status"] == "cancel"
            assert second("DELETE", f"/v1/jobs/{job}").status == 204


def test_one_of_two_servers_is_the_master(servers):
    while not masters(servers):
        pass
    assert len(masters(servers)) == 1
