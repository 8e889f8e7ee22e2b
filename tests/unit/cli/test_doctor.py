"""``kvspic doctor``. Goal: what is wrong is one line that names it and the remedy, and no secret shows."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager

import pytest
from unit.provider.certificates import make_tls_pair
from unit.provider.proxies import proxy

from kvspic import errors
from kvspic.actions import StreamFailed
from kvspic.commands import doctor_checks, doctor_upload
from kvspic.commands.doctor_findings import Finding, Level, Redactor, Report, cause_and_remedy
from kvspic.commands.exits import ExitCode
from kvspic.commands.media_log import MediaLog
from kvspic.commands.result import UploadResult
from kvspic.local.faults import Fault, FaultKind
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.provider.clock import SERVICE_CLOCK
from kvspic.provider.control import ControlPlane
from kvspic.provider.credentials import StaticCredentials
from kvspic.serving import open_listener
from kvspic.types import StreamState

ACCESS_KEY = "AKIDEXAMPLEOFDOCTOR"
SECRET = "wJalrXUtnFEMI-secret-of-the-doctor"
HOST = "kinesisvideo.kvspic.test"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The pattern goes up as fast as it can, no proxy of the machine counts."""
    monkeypatch.setattr(doctor_upload, "SPEED", 0.0)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def keys(monkeypatch):
    """The keys of the endpoint, as the environment has them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(scope="module")
def running_service(tmp_path_factory):
    """An endpoint that asks for keys, with the stream ``door``."""
    keys = {ACCESS_KEY: SECRET}
    folder = tmp_path_factory.mktemp("doctor")
    with LocalEndpoint.run_in_thread(folder, access_keys=keys, settings=Settings.unlimited()) as endpoint:
        plane = ControlPlane(endpoint_url=endpoint.url, credentials=StaticCredentials(ACCESS_KEY, SECRET))
        asyncio.run(plane.create_stream("door", retention_hours=24, media_type="video/h264"))
        yield endpoint


@pytest.fixture
def service(running_service, keys):
    """The endpoint and its keys; what goes wrong in a test ends with it."""
    yield running_service
    running_service.faults.clear()


@pytest.fixture
def examine(run):
    """``examine(*words)`` runs the command with --json and returns the findings by name, and its exit code."""

    def examine(*words):
        ran = run("doctor", "--json", *words)
        shown = ran.json
        assert shown["exit_code"] == ran.code
        for secret in (ACCESS_KEY, SECRET):
            assert secret not in ran.out + ran.err
        return {one["check"]: one for one in shown["findings"]}, ran.code

    return examine


def failed(findings):
    return {name: one for name, one in findings.items() if one["level"] == "fail"}


def test_what_is_installed_and_a_local_endpoint_that_leaves_nothing_behind(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run("doctor")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("kvspic doctor ")
    assert [line.split()[0] for line in lines[1:-1]] == ["ok"] * 11 + ["skip"]
    assert lines[-1] == "Nothing failed: 11 checks."
    assert "dummy keys" in ran.out
    assert list(tmp_path.iterdir()) == []


def test_there_and_back(service, examine):
    findings, code = examine("--endpoint", service.url, "--upload", "door", "--seconds", 5)
    assert code == 0
    assert {one["level"] for one in findings.values()} == {"ok"}
    assert findings["credentials"]["text"] == "permanent keys of the environment variables"
    assert "125 of 125 frames done in 3 fragments" in findings["upload"]["text"]
    assert findings["acks"]["text"] == "of 3 fragments: 3 BUFFERING, 3 RECEIVED, 3 PERSISTED, no ERROR"
    assert findings["way back"]["text"] == "3 fragments listed, 125 frames came back equal"


def test_a_stream_that_is_only_looked_at_is_not_changed(service, examine):
    before = len(service.fragments("door"))
    findings, code = examine("--endpoint", service.url, "--stream", "door")
    assert code == 0
    assert findings["stream"]["text"] == "door is ACTIVE and keeps media for 24 h"
    assert findings["data endpoint"]["level"] == "ok"
    assert len(service.fragments("door")) == before


def test_a_stream_that_is_not_there(service, examine):
    findings, code = examine("--endpoint", service.url, "--upload", "yard")
    assert code == ExitCode.REFUSED
    assert list(failed(findings)) == ["stream"]
    assert "ResourceNotFoundException" in findings["stream"]["text"]
    assert findings["stream"]["remedy"].startswith("create yard")
    assert "upload" not in findings


def test_keys_that_have_expired(service, examine):
    service.faults.add(Fault(FaultKind.ANSWER, status=403, error_name="ExpiredTokenException"))
    findings, code = examine("--endpoint", service.url)
    assert code == ExitCode.REFUSED
    assert list(failed(findings)) == ["signature"]
    assert findings["signature"]["remedy"].startswith("renew the keys")


def test_keys_that_botocore_knows_to_have_expired(service, examine, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_checks.ControlPlane, "control_endpoint", lambda plane: _answer(service.url))
    script = tmp_path / "keys.sh"
    answer = {"Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET, "SessionToken": "t"}
    answer["Expiration"] = "2020-01-01T00:00:00Z"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    script.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"[profile camera]\nregion = eu-west-1\ncredential_process = {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "camera")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    SERVICE_CLOCK.learn(SERVICE_CLOCK.wall())
    findings, code = examine("--endpoint", "aws")
    assert code == ExitCode.REFUSED
    assert findings["credentials"]["text"] == "the keys have expired"
    assert findings["signature"]["level"] == "skip"


async def _answer(value):
    return value


@pytest.mark.parametrize(
    ("variable", "name", "remedy"),
    [
        ("AWS_ACCESS_KEY_ID", "UnrecognizedClientException", "these keys do not exist"),
        ("AWS_SECRET_ACCESS_KEY", "InvalidSignatureException", "the secret does not belong"),
    ],
)
def test_keys_that_are_not_the_right_ones(service, examine, monkeypatch, variable, name, remedy):
    monkeypatch.setenv(variable, "AKIDOFOTHERKEYS")
    findings, code = examine("--endpoint", service.url)
    assert code == ExitCode.REFUSED
    assert name in findings["signature"]["text"]
    assert findings["signature"]["remedy"].startswith(remedy)
    assert "AKIDOFOTHERKEYS" not in json.dumps(findings)


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_an_endpoint_here_that_does_not_take_dummy_keys(service, examine, monkeypatch, variable):
    monkeypatch.delenv(variable)
    findings, code = examine("--endpoint", service.url)
    assert code == ExitCode.REFUSED
    assert "dummy keys" in findings["credentials"]["text"]
    assert findings["signature"]["remedy"].startswith("this endpoint wants keys")


@pytest.mark.parametrize(
    ("off_s", "level", "text"),
    [(3 * 3600, "fail", "3 h ahead of"), (-86_400 * 400, "fail", "400 d behind"), (-200, "warn", "3 min behind")],
)
def test_a_clock_that_is_off(service, examine, monkeypatch, off_s, level, text):
    monkeypatch.setattr(SERVICE_CLOCK, "_wall", lambda: time.time() + off_s)
    findings, code = examine("--endpoint", service.url, "--stream", "door")
    assert findings["clock"]["level"] == level
    assert findings["clock"]["text"].startswith(text)
    assert "NTP" in findings["clock"]["remedy"]
    assert findings["stream"]["level"] == "ok"  # signed with the time of the service
    assert code == (ExitCode.REFUSED if level == "fail" else ExitCode.OK)


def test_an_endpoint_that_is_not_there(examine):
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    findings, code = examine("--endpoint", f"http://127.0.0.1:{port}", "--stream", "door")
    assert code == ExitCode.UNREACHABLE
    assert list(failed(findings)) == ["connection"]
    assert "refused" in findings["connection"]["text"]
    assert findings["stream"]["level"] == "skip"


def test_a_name_without_an_address(examine, monkeypatch):
    async def look_up(host, port):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(doctor_checks, "look_up", look_up)
    findings, code = examine("--endpoint", "http://no-such-host.localhost:9")
    assert code == ExitCode.UNREACHABLE
    assert list(failed(findings)) == ["name lookup"]
    assert "Name or service not known" in findings["name lookup"]["text"]


def test_something_else_that_listens_there(examine):
    with open_listener("127.0.0.1", 0) as listener:
        listener.settimeout(30)
        listener.setblocking(True)

        def greet():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=greet)
        thread.start()
        findings, code = examine("--endpoint", f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert code == ExitCode.UNREACHABLE
    assert "no answer of HTTP" in findings["connection"]["text"]


def test_no_region(examine, keys):
    findings, code = examine("--endpoint", "aws")
    assert code == ExitCode.USAGE
    assert list(failed(findings)) == ["endpoint"]
    assert "AWS_REGION" in findings["endpoint"]["remedy"]


def test_a_region_that_is_none(examine, keys):
    findings, code = examine("--endpoint", "aws", "--region", "eu central")
    assert code == ExitCode.USAGE
    assert list(failed(findings)) == ["endpoint"]
    assert "eu central" in findings["endpoint"]["text"]
    assert "--region" in findings["endpoint"]["remedy"]


def test_a_profile_that_is_not_there(examine, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    findings, code = examine("--endpoint", "aws")
    assert code == ExitCode.REFUSED
    assert "no-such-profile" in findings["credentials"]["text"]
    assert findings["credentials"]["remedy"].startswith("correct the profile")


def test_an_endpoint_without_tls_that_is_asked_for_it(service, examine):
    findings, code = examine("--endpoint", service.url.replace("http:", "https:"))
    assert code == ExitCode.UNREACHABLE
    assert list(failed(findings)) == ["connection"]
    assert "no answer of TLS" in findings["connection"]["text"]
    assert findings["connection"]["remedy"].startswith("write http if")


def test_an_endpoint_at_a_path_where_none_is(service, examine):
    findings, code = examine("--endpoint", f"{service.url}/some/path", "--stream", "door")
    assert code == ExitCode.REFUSED
    assert list(failed(findings)) == ["stream"]
    assert "/some/path/describeStream" in findings["stream"]["text"]
    assert findings["stream"]["remedy"].startswith("check the endpoint and its path")


# ---- a service that only a proxy reaches, over TLS


@pytest.fixture
def tls_service(tmp_path):
    server_tls, _ = make_tls_pair(tmp_path)
    with LocalEndpoint.run_in_thread(
        tmp_path / "data", access_keys={ACCESS_KEY: SECRET}, ssl_context=server_tls
    ) as endpoint:
        yield endpoint


@contextmanager
def running(manager):
    """Enter an asynchronous context manager on a loop of its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def url_and_targets(endpoint):
    port = int(endpoint.url.rsplit(":", 1)[1])
    return f"https://{HOST}:{port}", {f"{HOST}:{port}": port}


def test_the_way_through_a_proxy_without_keys(tls_service, tmp_path, examine, monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "server.pem"))
    url, targets = url_and_targets(tls_service)
    with running(proxy(targets)) as (proxy_url, seen):
        monkeypatch.setenv("HTTPS_PROXY", proxy_url)
        findings, code = examine("--endpoint", url, "--region", "eu-west-1", "--stream", "door")
    assert code == ExitCode.REFUSED
    assert list(failed(findings)) == ["credentials"]
    assert "AWS_ACCESS_KEY_ID" in findings["credentials"]["remedy"]
    assert findings["connection"]["text"].startswith(f"through the proxy {proxy_url} in ")
    assert "server.pem" in findings["connection"]["text"]
    assert findings["clock"]["level"] == "ok"  # asked for without keys
    assert findings["signature"]["level"] == "skip"
    assert len(seen) == 1


@pytest.mark.parametrize("with_password", [True, False])
def test_a_proxy_that_refuses(tls_service, tmp_path, examine, monkeypatch, with_password):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "server.pem"))
    url, targets = url_and_targets(tls_service)
    with running(proxy(targets, authorization="Basic other")) as (proxy_url, _):
        port = proxy_url.rsplit(":", 1)[1]
        user = "camera:pass-of-the-proxy@" if with_password else ""
        monkeypatch.setenv("HTTPS_PROXY", f"http://{user}localhost:{port}")
        findings, code = examine("--endpoint", url, "--region", "eu-west-1")
    assert code == ExitCode.REFUSED  # no keys, the first failure
    assert list(failed(findings)) == ["credentials", "proxy"]
    assert "refuses the way" in findings["proxy"]["text"]
    assert "407" in findings["proxy"]["text"]
    shown = json.dumps(findings)
    assert "pass-of-the-proxy" not in shown
    assert (f"localhost:{port}" in shown) != with_password


def test_a_proxy_that_is_not_there(tls_service, examine, monkeypatch, keys):
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    findings, code = examine("--endpoint", url_and_targets(tls_service)[0], "--region", "eu-west-1")
    assert code == ExitCode.UNREACHABLE
    assert list(failed(findings)) == ["proxy"]
    assert findings["proxy"]["remedy"] == "check HTTPS_PROXY"


def test_a_proxy_of_a_kind_that_is_not_supported(examine, monkeypatch, keys):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://camera:pass-of-the-proxy@127.0.0.1:9")
    findings, code = examine("--endpoint", f"https://{HOST}", "--region", "eu-west-1")
    assert code == ExitCode.USAGE
    assert list(failed(findings)) == ["name lookup"]
    assert findings["name lookup"]["text"].startswith("the proxy is no URL")
    assert findings["name lookup"]["remedy"].startswith("name one of http or https")
    assert "pass-of-the-proxy" not in json.dumps(findings)


def test_a_proxy_that_is_no_url(examine, monkeypatch, keys):
    monkeypatch.setenv("HTTPS_PROXY", "http://camera:pass-of-the-proxy@[::1")
    findings, code = examine("--endpoint", f"https://{HOST}", "--region", "eu-west-1")
    assert code == ExitCode.USAGE
    assert list(failed(findings)) == ["proxy"]
    assert "pass-of-the-proxy" not in json.dumps(findings)


def test_a_certificate_that_is_not_trusted(tls_service, examine, keys):
    findings, code = examine("--endpoint", tls_service.url, "--region", "eu-west-1")
    assert code == ExitCode.REFUSED
    assert list(failed(findings)) == ["certificate"]
    assert "CERTIFICATE_VERIFY_FAILED" in findings["certificate"]["text"]
    assert "AWS_CA_BUNDLE" in findings["certificate"]["remedy"]


def test_a_bundle_that_is_not_there(tls_service, examine, keys, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    findings, code = examine("--endpoint", tls_service.url, "--region", "eu-west-1")
    assert code == ExitCode.USAGE
    assert "gone.pem" in findings["certificate"]["text"]
    assert "AWS_CA_BUNDLE" in findings["certificate"]["remedy"]


# ---- what the keys may do


def forbid(service, operation):
    service.faults.add(Fault(FaultKind.ANSWER, operation=operation, status=403, error_name="AccessDeniedException"))


@pytest.mark.parametrize(
    ("operation", "check", "level"),
    [
        ("DescribeStream", "stream", "fail"),
        ("GetDataEndpoint", "data endpoint", "fail"),
        ("ListFragments", "way back", "warn"),
        ("GetMediaForFragmentList", "way back", "warn"),
    ],
)
def test_what_is_not_allowed_is_named(service, examine, operation, check, level):
    forbid(service, operation)
    findings, code = examine("--endpoint", service.url, "--upload", "door", "--seconds", 2)
    assert findings["signature"]["level"] == "ok"
    assert findings[check]["level"] == level
    assert "A fault of the script" in findings[check]["text"]
    assert f"kinesisvideo:{operation}" in findings[check]["remedy"]
    assert code == (ExitCode.REFUSED if level == "fail" else ExitCode.OK)


def test_an_upload_that_is_not_allowed(service, examine, monkeypatch):
    status = errors.named("NOT_AUTHORIZED").status
    failure = StreamFailed("door", status, "PutMedia is not allowed", 401, StreamState.FAILED, True)
    sent, result = (
        doctor_upload.Sent(failure=failure),
        UploadResult(frames_offered=50, frames_put=50, frames_buffered=50),
    )
    monkeypatch.setattr(doctor_upload, "_upload", lambda source, service: (sent, result))
    findings, code = examine("--endpoint", service.url, "--upload", "door")
    assert code == ExitCode.REFUSED
    assert findings["upload"]["text"].endswith("The stream failed: PutMedia is not allowed")
    assert "kinesisvideo:PutMedia" in findings["upload"]["remedy"]
    assert findings["acks"]["level"] == "skip"


def test_a_fragment_that_the_service_refuses(service, examine):
    service.faults.add(Fault(FaultKind.ERROR_ACK, operation="PutMedia", error_id="ARCHIVAL_ERROR", count=1))
    findings, code = examine("--endpoint", service.url, "--upload", "door", "--seconds", 2)
    assert code == ExitCode.REFUSED
    assert "ERROR, the first 5001" in findings["acks"]["text"]
    assert findings["upload"]["level"] == "ok"  # it was sent again


def test_media_that_comes_back_different(service, examine, monkeypatch):
    async def fetch(service, numbers):
        return MediaLog()

    monkeypatch.setattr(doctor_upload, "_fetch", fetch)
    findings, code = examine("--endpoint", service.url, "--upload", "door", "--seconds", 2)
    assert code == ExitCode.INCOMPLETE
    assert "of 50 frames 0 came back" in findings["way back"]["text"]


def test_fragments_that_are_not_listed(service, examine, monkeypatch):
    async def nothing(plane, name, span):
        return []

    monkeypatch.setattr(doctor_upload, "LISTED_S", 0.0)
    monkeypatch.setattr(doctor_upload, "LOOK_S", 0.0)
    monkeypatch.setattr(doctor_checks.ControlPlane, "list_fragments", nothing)
    findings, code = examine("--endpoint", service.url, "--upload", "door", "--seconds", 2)
    assert code == ExitCode.INCOMPLETE
    assert "are not listed" in findings["way back"]["text"]


def test_a_service_that_is_asked_too_often(service, examine):
    service.faults.add(Fault(FaultKind.ANSWER, status=400, error_name="ClientLimitExceededException"))
    findings, code = examine("--endpoint", service.url, "--stream", "door")
    assert code == ExitCode.OK
    assert findings["signature"]["level"] == "warn"
    assert "quota" in findings["signature"]["remedy"]


def test_two_streams_are_one_too_many(run):
    assert run("doctor", "--stream", "a", "--upload", "b").code == ExitCode.USAGE


# ---- what may be shown


def test_secrets_are_taken_out():
    redact = Redactor("/home/ada")
    redact.hide(SECRET, "secret")
    redact.hide("t", "token")  # too short to be one
    redact.hide_proxy("http://ada:p%40ssword@proxy.example:3128")
    assert redact(f"a {SECRET} at") == "a <secret> at"
    assert redact("arn:aws:iam::123456789012:user/ada") == "arn:aws:iam::<account>:user/ada"
    assert redact("account 123456789012, 1234567890123 and 12345678901") == (
        "account <account>, 1234567890123 and 12345678901"
    )
    assert redact("AKIAIOSFODNN7EXAMPLE") == "<access key>"
    assert redact("the proxy http://proxy.example:3128 with p@ssword") == "the proxy http://<proxy> with <password>"
    assert redact("/home/ada/ca.pem") == "~/ca.pem"


def test_a_proxy_without_a_password_is_shown():
    redact = Redactor()
    redact.hide_proxy("http://proxy.example:3128")
    redact.hide_proxy("http://[::1")
    assert redact("http://proxy.example:3128") == "http://proxy.example:3128"


def test_the_first_failure_gives_the_code_and_each_finding_is_shown_at_once():
    shown = []
    report = Report(Redactor(), shown.append)
    report.warn("clock", "2 min behind", "switch on NTP")
    assert shown == [Finding("clock", Level.WARN, "2 min behind", "switch on NTP")]
    assert (report.code, report.summary()) == (ExitCode.OK, "Nothing failed: 1 checks, 1 with a warning.")
    report.fail("proxy", "refuses", "check its rules", ExitCode.UNREACHABLE)
    report.fail("stream", "gone", "make it", ExitCode.REFUSED)
    assert report.code == ExitCode.UNREACHABLE
    assert report.summary() == "2 of 3 checks failed (proxy, stream); begin with the first."
    assert shown[-1].line() == "fail  stream         gone: make it"


def test_a_sentence_of_an_error_has_its_remedy_at_the_end():
    assert cause_and_remedy("DescribeStream failed (X): why; check it.") == (
        "DescribeStream failed (X): why",
        "check it",
    )
    assert cause_and_remedy("No keys were found: set them") == ("No keys were found", "set them")
    assert cause_and_remedy("Odd") == ("Odd", "")
