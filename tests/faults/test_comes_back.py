"""Streams come back by themselves. Goal: what a device lacks when it boots may come later, and nothing is lost by then.

Real sockets on loopback, a policy whose pauses are short; nothing here waits but for what comes.
"""

import threading
import time

import pytest
from unit.provider.certificates import make_tls_pair

import kvspic
from kvspic import errors
from kvspic.local.faults import PUT_MEDIA, Fault, FaultKind
from kvspic.local.server import LocalEndpoint
from kvspic.provider.credentials import CallableCredentials, Credentials, NoCredentialsError, StaticCredentials
from kvspic.retry import DefaultRetryPolicy

TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
POLICY = DefaultRetryPolicy(lambda: 0.5, base_s=0.01, cap_s=0.05, settled_s=0.05, held_base_s=0.05, held_cap_s=0.1)
ONE_ROUND = DefaultRetryPolicy(lambda: 0.5, base_s=600, cap_s=600)  # no call is under way when the endpoint ends
SECRETS = {"AKIDLATE": "late"}


class LateKeys:
    """A source that raises some times before it has keys."""

    def __init__(self, failure, count):
        self.failure = failure
        self.left = count

    def __call__(self):
        self.left -= 1
        if self.left >= 0:
            raise self.failure
        return Credentials("AKIDLATE", "late")


def put(stream, count=10):
    for number in range(count):
        stream.put_frame(bytes(100), pts=time.time_ns() + number * 400_000_000, key_frame=number % 5 == 0)


@pytest.mark.parametrize("failure", [NoCredentialsError("none yet"), RuntimeError("helper is not up")])
def test_a_device_that_boots_before_its_credential_helper_uploads_when_that_is_there(tmp_path, failure):
    source = CallableCredentials(LateKeys(failure, 7))
    events = []
    with (
        LocalEndpoint.run_in_thread(tmp_path, access_keys=SECRETS) as endpoint,
        kvspic.Producer(endpoint_url=endpoint.url, credentials=source, retry_policy=POLICY) as producer,
        producer.open_stream("door", TRACKS, wait=False, on_event=events.append) as stream,
    ):
        put(stream)
        stream.flush(20)
        health = stream.health()
    assert stream.report.is_complete
    assert (health.is_healthy, health.reason) == (True, "")
    assert not any(event.is_final for event in events if isinstance(event, kvspic.StreamFailed))


def test_a_certificate_that_is_not_trusted_yet_gives_nothing_up(tmp_path):
    """As before a camera's clock is set; here it stays so."""
    server, _ = make_tls_pair(tmp_path)
    failures, has_failed = [], threading.Event()

    def watch(event):
        if isinstance(event, kvspic.StreamFailed):
            failures.append(event)
            has_failed.set()

    with (
        LocalEndpoint.run_in_thread(tmp_path / "data", ssl_context=server) as endpoint,
        kvspic.Producer(
            endpoint_url=endpoint.url,
            region="us-east-1",
            credentials=StaticCredentials("AKIDLATE", "late"),
            retry_policy=ONE_ROUND,
        ) as producer,
    ):
        stream = producer.open_stream("door", TRACKS, wait=False, on_event=watch)
        assert has_failed.wait(10)
        stream.close(0)
    assert "CERTIFICATE_VERIFY_FAILED" in failures[0].cause
    assert not failures[0].is_final


def test_a_refusal_of_the_service_is_final_before_the_stream_ever_worked(tmp_path):
    events = []
    with (
        LocalEndpoint.run_in_thread(tmp_path, access_keys={"OTHER": "keys"}) as endpoint,
        kvspic.Producer(
            endpoint_url=endpoint.url, credentials=CallableCredentials(LateKeys(None, 0)), retry_policy=POLICY
        ) as producer,
        pytest.raises(errors.NotAuthorizedError),
    ):
        producer.open_stream("door", TRACKS, timeout=10, on_event=events.append)
    assert [event.is_final for event in events if isinstance(event, kvspic.StreamFailed)][-1]


def test_the_reason_of_an_outage_is_forgotten_with_it(tmp_path):
    refused = Fault(FaultKind.ANSWER, operation=PUT_MEDIA, status=500, error_name="InternalFailure", count=7)
    with (
        LocalEndpoint.run_in_thread(tmp_path) as endpoint,
        kvspic.Producer(endpoint_url=endpoint.url, retry_policy=POLICY) as producer,
        producer.open_stream("door", TRACKS) as stream,
    ):
        endpoint.faults.add(refused)
        put(stream)
        stream.flush(20)
        assert stream.health().reason == ""
        with pytest.raises(errors.TimedOutError) as caught:
            put(stream, 1)
            stream.flush(0)
        assert "InternalFailure" not in str(caught.value)


def test_throttling_slows_all_streams_of_the_process_and_loses_nothing(tmp_path):
    throttled = Fault(FaultKind.ANSWER, status=400, error_name="ThrottlingException", count=5)
    with (
        LocalEndpoint.run_in_thread(tmp_path) as endpoint,
        kvspic.Producer(endpoint_url=endpoint.url, retry_policy=POLICY) as producer,
    ):
        endpoint.faults.add(throttled)
        streams = [producer.open_stream(f"door-{number}", TRACKS, wait=False) for number in range(4)]
        for stream in streams:
            put(stream)
            stream.flush(20)
        reports = producer.close(20)
    assert all(report.is_complete for report in reports)


@pytest.mark.parametrize("error_id", [4008, 4501, 4503, 5000, 5001, 4000, 4003])
def test_an_error_ack_about_the_stream_or_the_session_costs_no_frame(tmp_path, error_id):
    """Ten sessions are refused, then the service is well again."""
    events = []
    with (
        LocalEndpoint.run_in_thread(tmp_path) as endpoint,
        kvspic.Producer(endpoint_url=endpoint.url, retry_policy=POLICY) as producer,
    ):
        endpoint.faults.add(Fault(FaultKind.ERROR_ACK, error_id=error_id, fragment=1, count=10))
        stream = producer.open_stream("door", TRACKS, offline=True, on_event=events.append)
        put(stream, 100)
        stream.flush(30)
        report = stream.close(20)
    assert report.is_complete
    assert report.frames_dropped == 0
    refusals = [event for event in events if isinstance(event, kvspic.ErrorAck)]
    assert refusals[0].error_id == error_id
