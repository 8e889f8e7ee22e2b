"""The options of ``kvspic serve``. Goal: each does what it says in the program that a user starts, and a wrong one is
refused before anything is opened."""

import signal
import ssl
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from unit.cli.commands import start
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import Upload, put

from kvspic.commands.demo import demo
from kvspic.commands.page import open_page
from kvspic.commands.serve import serve


@contextmanager
def serving(tmp_path, *options):
    """The URL and the process of an endpoint that runs."""
    process = start("serve", "--port", "0", "--data-dir", tmp_path / "data", *options)
    try:
        yield process.stdout.readline().split()[-1], process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def until_active(control):
    """Ask as often as the quota lets us."""
    for _ in range(1000):
        with suppress(control.exceptions.ClientLimitExceededException):
            if control.describe_stream(StreamName="cam")["StreamInfo"]["Status"] == "ACTIVE":
                return
    raise AssertionError("the stream stays CREATING")


def described_until_refused(control):
    control.create_stream(StreamName="cam")
    for count in range(20):
        try:
            control.describe_stream(StreamName="cam")
        except ClientError as error:
            return count, error.response["Error"]["Code"]
    return None


def test_the_quotas_hold_unless_they_are_off(tmp_path):
    with serving(tmp_path) as (url, _):
        count, name = described_until_refused(client("kinesisvideo", url))
        assert count >= 5
        assert name == "ClientLimitExceededException"
    with serving(tmp_path / "other", "--quotas", "off") as (url, _):
        assert described_until_refused(client("kinesisvideo", url)) is None


@pytest.mark.parametrize("options, second", [((), 400), (("--sessions-max", "2"), None)], ids=["one", "two"])
def test_a_stream_has_as_many_uploads_as_it_may(tmp_path, options, second):
    with serving(tmp_path, *options) as (url, _):
        control = client("kinesisvideo", url)
        control.create_stream(StreamName="cam")
        until_active(control)
        with Upload(url) as first, Upload(url) as other:
            first.send(b"\x1a")
            assert first.head()[0] == 200
            if second is None:
                other.send(b"\x1a")
                assert other.head()[0] == 200
            else:
                assert other.refusal()[:2] == (second, "ConnectionLimitExceededException")


def test_region_and_account_are_in_the_arn(tmp_path):
    with serving(tmp_path, "--region", "eu-west-1", "--account", "210987654321") as (url, _):
        control = client("kinesisvideo", url, region="eu-west-1")
        assert ":eu-west-1:210987654321:" in control.create_stream(StreamName="cam")["StreamARN"]


def test_a_self_signed_endpoint_says_what_clients_need(tmp_path):
    with serving(tmp_path, "--tls-self-signed", tmp_path / "tls") as (url, process):
        lines = [process.stdout.readline().strip() for _ in range(2)]
        ca = str(tmp_path / "tls" / "ca.pem")
        assert lines == [f"export AWS_CA_BUNDLE={ca}", f"export SSL_CERT_FILE={ca}"]
        control = client("kinesisvideo", url, verify=ca)
        control.create_stream(StreamName="cam")
        data_url = control.get_data_endpoint(StreamName="cam", APIName="PUT_MEDIA")["DataEndpoint"]
        assert urlsplit(data_url).scheme == "https"
        until_active(control)
        with Upload(data_url, tls=ssl.create_default_context(cafile=ca)) as upload:
            upload.end()
            assert upload.head()[0] == 200


def test_a_certificate_of_the_users_is_shown(tmp_path):
    from datetime import datetime, timezone

    from kvspic.local.certificates import self_signed

    made = self_signed(tmp_path / "tls", "", datetime.now(timezone.utc))
    with serving(tmp_path, "--tls-cert", made.certificate, "--tls-key", made.key) as (url, _):
        assert client("kinesisvideo", url, verify=str(made.ca)).list_streams()["StreamInfoList"] == []


def test_insecure_is_said_at_each_start(tmp_path):
    process = start("serve", "--port", "0", "--data-dir", tmp_path / "data", "--host", "0.0.0.0", "--insecure")
    assert process.stdout.readline().startswith("kvspic endpoint at http://0.0.0.0:")
    process.send_signal(signal.SIGTERM)
    assert "everyone who reaches 0.0.0.0" in process.communicate(timeout=20)[1]


WRONG = {
    "half of a certificate": (("--tls-cert", "a.pem"), "belong together"),
    "both kinds of certificate": (("--tls-cert", "a", "--tls-key", "b", "--tls-self-signed", "c"), "not both"),
    "no certificate": (("--tls-cert", "a.pem", "--tls-key", "b.pem"), "cannot be used"),
    "account": (("--account", "12"), "12 digits"),
    "public url without a scheme": (("--public-url", "camera-lab:8080"), "http://camera-lab:8080"),
    "public url with a path": (("--public-url", "http://camera-lab/kvs"), "without a path"),
    "region": (("--region", "US East"), "us-east-1"),
    "beyond": (("--beyond", "explode"), "drop-silently"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_a_usage_error(run, tmp_path, name):
    options, words = WRONG[name]
    ran = run("serve", "--port", "0", "--data-dir", tmp_path / "data", *options)
    assert ran.code == 2
    assert words in ran.err
    assert not (tmp_path / "data").exists()


def test_listening_beyond_loopback_without_keys_is_refused(run, tmp_path):
    ran = run("serve", "--port", "0", "--data-dir", tmp_path / "data", "--host", "0.0.0.0")
    assert ran.code != 0
    assert "give it access keys (--access-key), or allow that by is_insecure (--insecure)" in ran.err


def test_the_check_of_a_data_directory_ends_with_6_where_something_is_damaged(run, tmp_path):
    with serving(tmp_path) as (url, _):
        control = client("kinesisvideo", url)
        control.create_stream(StreamName="cam", DataRetentionInHours=1)
        until_active(control)
        put(url, mkv.body(2))
    data = tmp_path / "data"
    sound = run("serve", "--check", data)
    assert (sound.code, sound.out) == (0, f"{data}: 2 fragments in 1 files, 0 damaged\n")
    (path,) = (data / "media").glob("*.mkv")
    content = bytearray(path.read_bytes())
    content[-len(mkv.END) - 10] ^= 1
    path.write_bytes(content)
    damaged = run("serve", "--check", data)
    assert damaged.code == 6
    assert f"{path}: fragment " in damaged.out
    assert "1 fragments are damaged: put back copies" in damaged.err
    assert run("serve", "--check", tmp_path / "nothing").code == 6


# The page.


@pytest.fixture
def opened(monkeypatch):
    """The addresses that were opened in a browser; ``opened.works`` says whether there is one."""

    class Opened(list):
        works = True

    found = Opened()
    monkeypatch.setattr("webbrowser.open", lambda url: found.append(url) or found.works)
    return found


def test_the_token_of_the_page_is_printed_once_there_are_keys(tmp_path):
    with serving(tmp_path, "--access-key", "AKEXAMPLE:secret") as (url, process):
        line = process.stdout.readline().strip()
        assert line.startswith(f"kvspic page at {url}/#token=")
        assert len(line.split("token=")[1]) > 20


def test_a_machine_without_a_browser_gets_the_address(opened, capsys):
    opened.works = False
    open_page("http://127.0.0.1:8080/")
    assert opened == ["http://127.0.0.1:8080/"]
    assert "open http://127.0.0.1:8080/ yourself" in capsys.readouterr().err


def test_serve_opens_its_page_with_the_token(tmp_path, opened, monkeypatch):
    async def serve_once(endpoint, on_ready):
        on_ready("http://127.0.0.1:1")

    monkeypatch.setattr("kvspic.local.server.LocalEndpoint.serve_forever", serve_once)
    done = CliRunner().invoke(serve, ["--open", "--port", "0", "--data-dir", str(tmp_path)])
    assert (done.exit_code, opened) == (0, ["http://127.0.0.1:1/"])
    done = CliRunner().invoke(serve, ["--open", "--data-dir", str(tmp_path), "--access-key", "AKEXAMPLE:secret"])
    assert done.exit_code == 0
    assert opened[1].startswith("http://127.0.0.1:1/#token=")
    assert opened[1] in done.output


def test_the_demo_opens_its_stream_and_waits_for_ctrl_c(tmp_path, opened, monkeypatch):
    monkeypatch.setattr("kvspic.commands.demo._wait_for_interrupt", lambda: opened.append("waited"))
    where = ["-o", str(tmp_path / "demo.mkv"), "--data-dir", str(tmp_path / "data")]
    source = "testsrc:width=64,height=48,duration=2,gop=25"
    done = CliRunner().invoke(demo, [source, "--open", "--speed", "0", *where])
    assert done.exit_code == 0, done.output
    assert "/#/stream/demo-" in opened[0]
    assert opened[1:] == ["waited"]
