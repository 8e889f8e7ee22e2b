"""Control plane. Goal: the core's service calls, made off the loop by boto3, each once, with answers it can use."""

import asyncio
import json

import pytest
from unit.provider.servers import chunk, json_answer, loopback_server, run_watched

from kvspic.provider import clients
from kvspic.provider.control import ControlPlane, FragmentInfo, user_agent
from kvspic.provider.credentials import Credentials, StaticCredentials
from kvspic.provider.results import ServiceError, ServiceResult
from kvspic.provider.session import PutMediaTarget

ARN = "arn:aws:kinesisvideo:us-west-2:123456789012:stream/door/1551924009774"
INFO = {
    "CreationTime": 1.551924009774e9,
    "DataRetentionInHours": 2,
    "DeviceName": None,
    "IngestionConfiguration": None,
    "KmsKeyId": "key",
    "MediaType": None,
    "Status": "ACTIVE",
    "StreamARN": ARN,
    "StreamName": "door",
    "Version": "cWNvNr5iIQ1AA8LBuDFE",
}


class Service:
    """Answers each call with the next of ``answers``; keeps what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    async def __call__(self, peer):
        while True:
            headers = await peer.read_head()
            body = json.loads(await peer.read_body())
            self.calls.append((peer.request_line.split()[1], body, headers))
            await peer.say(self.answers.pop(0))


def ask(service, question, **options):
    """``await question(control)`` against ``service``."""

    async def story():
        async with loopback_server(service) as url:
            control = ControlPlane(endpoint_url=url, **{"credentials": StaticCredentials("AKID", "SECRET"), **options})
            return await question(control)

    return run_watched(story(), seconds=30)


def refused(service, question, **options):
    with pytest.raises(ServiceError) as caught:
        ask(service, question, **options)
    return caught.value


def describe(control):
    return control.describe_stream("door")


def test_a_stream_is_described():
    service = Service(json_answer(200, {"StreamInfo": INFO}))
    description = ask(service, describe)
    assert description.arn == ARN
    assert description.status == "ACTIVE"
    assert description.retention_hns == 2 * 3600 * 10**7
    assert description.media_type is None
    assert description.creation_time == pytest.approx(1551924009.774)
    path, body, headers = service.calls[0]
    assert (path, body) == ("/describeStream", {"StreamName": "door"})
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert "/us-east-1/kinesisvideo/aws4_request" in headers["authorization"]
    assert "SignedHeaders=content-type;host;x-amz-date," in headers["authorization"]
    assert "kvspic/" in headers["user-agent"]


def test_without_the_private_parts_of_botocore_it_makes_the_call_itself(monkeypatch):
    monkeypatch.setattr(clients, "_clients", {})
    monkeypatch.setattr(clients, "_form", lambda client: ("", {}))
    services = [Service(json_answer(200, {"StreamInfo": INFO})) for _ in range(2)]
    by_botocore = ask(services[0], describe)
    monkeypatch.undo()
    assert ask(services[1], describe) == by_botocore
    (path, body, headers), (its_path, its_body, its_headers) = services[1].calls[0], services[0].calls[0]
    assert (path, body, headers["user-agent"]) == (its_path, its_body, its_headers["user-agent"])


def test_an_unknown_status_word_counts_as_deleting():
    assert ask(Service(json_answer(200, {"StreamInfo": {**INFO, "Status": "ODD"}})), describe).status == "DELETING"


def test_a_missing_stream_is_not_found():
    answer = json_answer(404, {"Message": "not found or not active."}, "x-amzn-ErrorType: ResourceNotFoundException")
    error = refused(Service(answer), describe)
    assert error.result is ServiceResult.NOT_FOUND
    assert error.error_name == "ResourceNotFoundException"
    assert error.http_status == 404
    start = "DescribeStream failed (ResourceNotFoundException, HTTP 404): not found or not active;"
    assert str(error).startswith(start)


@pytest.mark.parametrize("name", ["ResourceNotFoundException", "com.amazon.kinesisvideo#ResourceNotFoundException"])
def test_the_name_may_be_in_the_body(name):
    error = refused(Service(json_answer(400, {"__type": name, "Message": "no"})), describe)
    assert error.result is ServiceResult.NOT_FOUND


def test_throttling_is_told_with_the_wait_asked_for_and_not_repeated_here():
    answer = json_answer(400, {"Message": "slow"}, "x-amzn-ErrorType: ThrottlingException", "Retry-After: 3")
    service = Service(answer)
    error = refused(service, describe)
    assert error.result is ServiceResult.UNKNOWN
    assert error.retry_after_s == 3.0
    assert len(service.calls) == 1


def test_a_wait_may_be_asked_for_by_a_date():
    dates = "Date: Tue, 07 Nov 2023 04:58:05 GMT", "Retry-After: Tue, 07 Nov 2023 04:58:25 GMT"
    assert refused(Service(json_answer(503, b"", *dates)), describe).retry_after_s == 20.0


@pytest.mark.parametrize("status, result", [(500, ServiceResult.INTERNAL_ERROR), (503, ServiceResult.UNAVAILABLE)])
def test_errors_of_the_service_are_not_repeated_here(status, result):
    service = Service(json_answer(status, b""))
    error = refused(service, describe)
    assert error.result is result
    assert error.error_name == ""
    assert len(service.calls) == 1


@pytest.mark.parametrize(
    "question",
    [
        describe,
        lambda control: control.create_stream("door", retention_hours=2, media_type="video/h264"),
        lambda control: control.get_data_endpoint("door"),
    ],
)
def test_an_answer_without_what_was_asked_for_is_retryable(question):
    assert refused(Service(json_answer(200, {})), question).result is ServiceResult.UNKNOWN


def test_a_stream_is_created_with_what_was_given():
    service = Service(json_answer(200, {"StreamARN": ARN}), json_answer(200, {"StreamARN": ARN}))

    async def question(control):
        await control.create_stream("a", retention_hours=0, media_type="video/h264")
        return await control.create_stream(
            "b", retention_hours=24, media_type="video/h264,audio/aac", kms_key_id="k", device_name="d", tags={"a": '"'}
        )

    assert ask(service, question) == ARN
    assert service.calls[0][:2] == (
        "/createStream",
        {"StreamName": "a", "DataRetentionInHours": 0, "MediaType": "video/h264"},
    )
    assert service.calls[1][1] == {
        "StreamName": "b",
        "DataRetentionInHours": 24,
        "MediaType": "video/h264,audio/aac",
        "KmsKeyId": "k",
        "DeviceName": "d",
        "Tags": {"a": '"'},
    }


def test_tags_go_to_a_name_or_an_arn():
    service = Service(json_answer(200, {}), json_answer(200, {}))

    async def question(control):
        await control.tag_stream(ARN, {"site": "north"})
        await control.tag_stream("door", {"site": "north"})

    ask(service, question)
    assert [body for _, body, _ in service.calls] == [
        {"StreamARN": ARN, "Tags": {"site": "north"}},
        {"StreamName": "door", "Tags": {"site": "north"}},
    ]


def test_the_data_endpoint_is_asked_for_by_api_name():
    service = Service(json_answer(200, {"DataEndpoint": "https://s-1.example"}))
    assert ask(service, lambda control: control.get_data_endpoint("door")) == "https://s-1.example"
    assert service.calls[0][1] == {"StreamName": "door", "APIName": "PUT_MEDIA"}


# ---- keys and clocks


class Rotating:
    def __init__(self):
        self.refresh_count = 0

    async def get(self, *, refresh=False):
        self.refresh_count += refresh
        return Credentials("NEWKEY" if self.refresh_count else "OLDKEY", "SECRET-TEXT", "TOKEN-TEXT")


EXPIRED = json_answer(403, {"message": "The security token is expired"}, "x-amzn-ErrorType: ExpiredTokenException")


def test_expired_keys_are_refreshed_and_the_call_repeated_once():
    service, keys = Service(EXPIRED, json_answer(200, {"StreamInfo": INFO})), Rotating()
    assert ask(service, describe, credentials=keys).name == "door"
    assert "OLDKEY" in service.calls[0][2]["authorization"]
    assert "NEWKEY" in service.calls[1][2]["authorization"]
    assert service.calls[1][2]["x-amz-security-token"] == "TOKEN-TEXT"


def test_keys_that_stay_refused_are_final_after_one_repetition():
    service, keys = Service(EXPIRED, EXPIRED), Rotating()
    error = refused(service, describe, credentials=keys)
    assert error.result is ServiceResult.FORBIDDEN
    assert keys.refresh_count == 1


def test_a_missing_permission_is_final_at_once():
    service = Service(json_answer(403, {"Message": "no"}, "x-amzn-ErrorType: AccessDeniedException"))
    assert refused(service, describe).result is ServiceResult.FORBIDDEN
    assert len(service.calls) == 1


def test_a_wrong_clock_is_corrected_for_this_call_and_all_later_ones():
    message = "Signature expired: 20200101T000000Z is now earlier than 20981231T235500Z (20990101T000000Z - 5 min.)"
    skewed = json_answer(403, {"message": message}, "x-amzn-ErrorType: InvalidSignatureException")
    service = Service(skewed, json_answer(200, {"StreamInfo": INFO}))

    async def question(control):
        await control.describe_stream("door")
        return control.clock.offset_s, (await control.put_media_target("http://127.0.0.1:1")).clock is control.clock

    offset_s, is_shared = ask(service, question)
    assert offset_s > 0
    assert is_shared
    assert service.calls[1][2]["x-amz-date"].startswith("20990101T0000")


def test_a_good_answer_tells_the_time_too():
    answer = json_answer(200, {"StreamInfo": INFO}, "Date: Thu, 01 Jan 2099 00:00:00 GMT")
    service = Service(answer, json_answer(200, {"StreamInfo": INFO}))

    async def question(control):
        await control.describe_stream("door")
        await control.describe_stream("door")

    ask(service, question)
    assert service.calls[1][2]["x-amz-date"].startswith("20990101T0000")


def test_the_keys_of_one_object_do_not_leak_into_another():
    service = Service(*[json_answer(200, {"StreamInfo": INFO})] * 20)

    async def story():
        async with loopback_server(service) as url:
            planes = [ControlPlane(endpoint_url=url, credentials=StaticCredentials(f"KEY{n}", "s")) for n in range(20)]
            await asyncio.gather(*[plane.describe_stream(f"stream-{n}") for n, plane in enumerate(planes)])

    run_watched(story(), seconds=30)
    keys = {body["StreamName"]: headers["authorization"].split("=")[1] for _, body, headers in service.calls}
    assert {name: key.split("/")[0] for name, key in keys.items()} == {f"stream-{n}": f"KEY{n}" for n in range(20)}


# ---- configuration


def test_loopback_needs_no_configuration(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    service = Service(json_answer(200, {"StreamInfo": INFO}))
    ask(service, describe, credentials=None)
    assert "Credential=local/" in service.calls[0][2]["authorization"]


@pytest.mark.parametrize("url", ["http://localhost:1", "https://localhost:1", "https://127.0.0.1:1"])
def test_loopback_has_a_region_with_tls_too(url, monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert ControlPlane(endpoint_url=url)._region == "us-east-1"


def test_the_endpoint_variable_of_the_control_plane_is_used(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    assert ControlPlane().endpoint_url == "http://127.0.0.1:2"
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS_VIDEO", "http://127.0.0.1:1")
    assert ControlPlane().endpoint_url == "http://127.0.0.1:1"
    assert ControlPlane(endpoint_url="http://127.0.0.1:3").endpoint_url == "http://127.0.0.1:3"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert ControlPlane().endpoint_url is None


def test_a_missing_region_is_an_error_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("REGION", "DEFAULT_REGION", "PROFILE", "ENDPOINT_URL", "ENDPOINT_URL_KINESIS_VIDEO"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    with pytest.raises(ServiceError, match="AWS_REGION") as caught:
        run_watched(ControlPlane().describe_stream("door"))
    assert caught.value.result is ServiceResult.INVALID_ARG


def test_a_target_carries_region_keys_and_clock():
    async def question(control):
        return await control.put_media_target("http://127.0.0.1:9"), control

    target, control = ask(Service(), question, region="eu-west-1")
    assert isinstance(target, PutMediaTarget)
    assert (target.endpoint_url, target.region) == ("http://127.0.0.1:9", "eu-west-1")
    assert target.credentials is control.credentials


def test_the_user_agent_is_short_and_printable():
    text = user_agent("camera/1.0\r\nx: é" + "y" * 400)
    assert text.startswith("kvspic/")
    assert len(text) == 256
    assert text.isascii()
    assert text.isprintable()


# ---- the reading side


class ReadingService(Service):
    """GetDataEndpoint answers with the server's own URL; all else from ``answers``."""

    async def __call__(self, peer):
        while True:
            headers = await peer.read_head()
            body = json.loads(await peer.read_body())
            path = peer.request_line.split()[1]
            self.calls.append((path, body, headers))
            own = json_answer(200, {"DataEndpoint": f"http://{headers['host']}"})
            await peer.say(own if path == "/getDataEndpoint" else self.answers.pop(0))


def fragment(number, start_s=1_551_924_010.5):
    return {
        "FragmentNumber": number,
        "FragmentSizeInBytes": 10,
        "ProducerTimestamp": start_s,
        "ServerTimestamp": start_s + 1,
        "FragmentLengthInMilliseconds": 2000,
    }


def test_all_pages_of_fragments_come_in_the_order_of_their_numbers():
    service = ReadingService(
        json_answer(200, {"Fragments": [fragment("100"), fragment("9")], "NextToken": "dG9rZW4="}),
        json_answer(200, {"Fragments": [fragment("20")]}),
    )
    found = ask(service, lambda control: control.list_fragments("door"))
    assert [entry.number for entry in found] == ["9", "20", "100"]
    assert found[0] == FragmentInfo("9", 10, 15_519_240_105_000_000, 15_519_240_115_000_000, 20_000_000)
    asked = [(path, body) for path, body, _ in service.calls]
    assert asked[0] == ("/getDataEndpoint", {"StreamName": "door", "APIName": "LIST_FRAGMENTS"})
    assert asked[1][0] == "/listFragments"
    assert asked[1][1]["FragmentSelector"]["FragmentSelectorType"] == "SERVER_TIMESTAMP"
    assert asked[2][1] == {"StreamName": "door", "NextToken": "dG9rZW4=", "MaxResults": 1000}


MEDIA = b"HTTP/1.1 200 OK\r\nContent-Type: video/webm\r\nTransfer-Encoding: chunked\r\n\r\n"


async def collect(pieces):
    return [piece async for piece in pieces]


class Cutting(ReadingService):
    """Sends one piece of media, and ends the connection."""

    async def __call__(self, peer):
        await peer.read_head()
        await peer.read_body()
        if peer.request_line.split()[1] == "/getDataEndpoint":
            await peer.say(json_answer(200, {"DataEndpoint": f"http://{peer.headers['host']}"}))
            await self(peer)
            return
        await peer.say(MEDIA + chunk(b"first"))
        await self.go_on(peer)

    async def go_on(self, peer):
        """What comes behind the first piece."""


class Slow(Cutting):
    """Sends a second piece when ``first_read`` is set."""

    def __init__(self):
        super().__init__()
        self.first_read = asyncio.Event()

    async def go_on(self, peer):
        await self.first_read.wait()
        await peer.say(chunk(b"second") + b"0\r\n\r\n")


def test_media_comes_as_it_arrives():
    service = Slow()

    async def question(control):
        pieces = []
        async for piece in control.get_media("door", {"StartSelectorType": "EARLIEST"}):
            pieces.append(piece)
            service.first_read.set()
        return pieces

    assert ask(service, question) == [b"first", b"second"]


def test_a_caller_may_leave_while_the_next_piece_is_read(caplog):
    service = Slow()

    async def question(control):
        pieces = control.get_media("door", {"StartSelectorType": "EARLIEST"})
        first = await anext(pieces)
        await asyncio.sleep(0)  # the next read begins
        await pieces.aclose()
        service.first_read.set()
        return first

    assert ask(service, question) == b"first"
    assert caplog.records == []


def test_fragments_are_read_a_thousand_at_a_time():
    service = ReadingService(MEDIA + chunk(b"one") + b"0\r\n\r\n", MEDIA + chunk(b"two") + b"0\r\n\r\n")
    numbers = [str(number) for number in range(1, 1202)]
    pieces = ask(service, lambda control: collect(control.get_media_for_fragment_list("door", numbers)))
    assert b"".join(pieces) == b"onetwo"
    lists = [body["Fragments"] for path, body, _ in service.calls if path == "/getMediaForFragmentList"]
    assert [len(asked) for asked in lists] == [1000, 201]
    assert [number for asked in lists for number in asked] == numbers


def test_a_cut_while_reading_is_an_error():
    error = refused(Cutting(), lambda control: collect(control.get_media("door", {"StartSelectorType": "NOW"})))
    assert error.result is ServiceResult.UNKNOWN
    assert error.operation == "GetMedia"


def test_a_refused_read_asks_for_the_endpoint_again_next_time():
    missing = json_answer(404, {"Message": "gone"}, "x-amzn-ErrorType: ResourceNotFoundException")
    service = ReadingService(missing, json_answer(200, {"Fragments": []}))

    async def question(control):
        with pytest.raises(ServiceError):
            await control.list_fragments("door")
        return await control.list_fragments("door")

    assert ask(service, question) == []
    assert [path for path, _, _ in service.calls].count("/getDataEndpoint") == 2


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, b"[]", ServiceResult.UNKNOWN),
        (200, b"5", ServiceResult.UNKNOWN),
        (200, b"null", ServiceResult.UNKNOWN),
        (200, b"<html>a login page</html>", ServiceResult.UNKNOWN),
        (200, b"\xe9", ServiceResult.UNKNOWN),
        (200, b"[" * 100_000, ServiceResult.UNKNOWN),
        (400, b'"x"', ServiceResult.BAD_REQUEST),
        (400, b"[" * 100_000, ServiceResult.BAD_REQUEST),
        (403, b'{"__type": 5}', ServiceResult.FORBIDDEN),
        (502, b"5", ServiceResult.INTERNAL_ERROR),
        (503, b"p\xe9riode de maintenance", ServiceResult.UNAVAILABLE),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_of_the_service(status, body, result):
    answers = [json_answer(status, body, "Retry-After: 3")] * 2  # a 403 is asked again with fresh keys
    error = refused(Service(*answers), lambda control: control.get_data_endpoint("door"))
    assert (error.result, error.http_status, error.error_name) == (result, status, "")
    assert error.retry_after_s == (3.0 if status >= 300 else None)


@pytest.mark.parametrize("status, body", [(200, b"5"), (200, b"[" * 100_000), (400, b'"x"'), (503, b"p\xe9riode")])
def test_so_is_one_of_the_reading_side(status, body):
    url = {}

    async def answer(peer):
        await peer.read_head()
        asked = await peer.read_body()
        first = b"APIName" in asked
        await peer.say(json_answer(200, {"DataEndpoint": url["url"]}) if first else json_answer(status, body))

    async def story():
        async with loopback_server(answer) as url["url"]:
            control = ControlPlane(endpoint_url=url["url"], credentials=StaticCredentials("AKID", "SECRET"))
            return await control.list_fragments("door")

    with pytest.raises(ServiceError, match="makes no sense") as caught:
        run_watched(story(), seconds=30)
    assert not caught.value.is_denied


@pytest.mark.parametrize("hours", ["two", {"a": 2}, [2], float("inf"), 10**30, -1])
def test_a_description_that_makes_no_sense_is_incomplete(hours):
    service = Service(json_answer(200, {"StreamInfo": {**INFO, "DataRetentionInHours": hours}}))
    assert refused(service, describe).result is ServiceResult.UNKNOWN


def test_a_tag_call_is_answered_by_nothing_at_all():
    assert ask(Service(json_answer(200, b"")), lambda control: control.tag_stream("door", {"a": "b"})) is None
