"""Botocore's chain. Goal: whatever a botocore session finds is found, and temporary keys are renewed in time.

No network: the container endpoint is a server on loopback, and the token service is a stub of botocore's own answer.
"""

import contextlib
import datetime
import http.server
import json
import threading

import pytest
from unit.provider.servers import run_watched

from kvspic.provider.credentials import BotocoreCredentials, Credentials, NoCredentialsError

SOURCES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
)  # fmt: skip


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A user without any AWS configuration."""
    for name in SOURCES:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def get(source, **options):
    return run_watched(source.get(**options))


def in_seconds(life_s):
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=life_s)
    return end.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def container(lives_s):
    """The endpoint of a container agent, which gives keys of these lives, then refuses; gives URL and requests."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            if len(seen) > len(lives_s):
                self.send_error(404)
                return
            body = json.dumps(
                {
                    "AccessKeyId": f"ASIA{len(seen)}",
                    "SecretAccessKey": "s",
                    "Token": "t",
                    "Expiration": in_seconds(lives_s[len(seen) - 1]),
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/keys", seen
        finally:
            server.shutdown()
            thread.join()


def test_the_environment_comes_before_a_profile_file(bare, tmp_path):
    (tmp_path / "AWS_SHARED_CREDENTIALS_FILE").write_text(
        "[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n"
    )
    assert get(BotocoreCredentials()).access_key == "FILE"
    bare.setenv("AWS_ACCESS_KEY_ID", "ENV")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert get(BotocoreCredentials()).access_key == "ENV"


def test_the_profile_is_the_one_that_the_environment_names(bare, tmp_path):
    (tmp_path / "AWS_SHARED_CREDENTIALS_FILE").write_text(
        "[default]\naws_access_key_id = NO\naws_secret_access_key = s\n"
        "[cam]\naws_access_key_id = CAM\naws_secret_access_key = s\naws_session_token = t\n"
    )
    bare.setenv("AWS_PROFILE", "cam")
    assert get(BotocoreCredentials()) == Credentials("CAM", "s", "t")


def test_a_container_gives_keys_and_is_told_the_token(bare):
    bare.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc")
    with container([3600]) as (url, seen):
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        source = BotocoreCredentials()
        keys = get(source)
        assert get(source) == keys
    assert (keys.access_key, keys.session_token) == ("ASIA1", "t")
    assert keys.expiry_s is not None
    assert seen == ["Basic abc"]


def test_keys_of_a_container_are_renewed_before_they_expire(bare):
    with container([60, 3600]) as (url, seen):
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        source = BotocoreCredentials()
        found = [get(source) for _ in range(3)]
    assert len(seen) == 2
    assert found[-1].access_key == "ASIA2"


def test_a_refresh_asks_the_container_again(bare):
    with container([3600, 3600]) as (url, seen):
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        source = BotocoreCredentials()
        assert [get(source).access_key, get(source, refresh=True).access_key] == ["ASIA1", "ASIA2"]
    assert len(seen) == 2


def test_a_container_that_refuses_is_an_error_of_botocore_not_a_hang(bare):
    import botocore.exceptions
    import botocore.utils

    bare.setattr(botocore.utils.ContainerMetadataFetcher, "SLEEP_TIME", 0)
    with container([]) as (url, _):
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        with pytest.raises(botocore.exceptions.CredentialRetrievalError):
            get(BotocoreCredentials())


def test_a_web_identity_is_exchanged_and_its_file_read_again(bare, tmp_path):
    from botocore.stub import Stubber

    token = tmp_path / "token"
    token.write_text("identity-1")
    bare.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    bare.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/camera")
    bare.setenv("AWS_ROLE_SESSION_NAME", "cam")
    bare.setenv("AWS_REGION", "us-west-2")
    bare.setenv("AWS_DEFAULT_REGION", "us-west-2")
    made = []

    def answer(number):
        return {
            "Credentials": {
                "AccessKeyId": f"ASIAWEBIDENTITY{number}",
                "SecretAccessKey": "s",
                "SessionToken": "t",
                "Expiration": datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1),
            }
        }

    def stubbed(create):
        def create_stubbed(*args, **options):
            client = create(*args, **options)
            asked = {
                "RoleArn": "arn:aws:iam::123456789012:role/camera",
                "RoleSessionName": "cam",
                "WebIdentityToken": token.read_text(),
            }
            stub = Stubber(client)
            stub.add_response("assume_role_with_web_identity", answer(len(made) + 1), asked)
            stub.activate()
            made.append(stub)
            return client

        return create_stubbed

    import botocore.session

    bare.setattr(botocore.session.Session, "create_client", stubbed(botocore.session.Session.create_client))
    source = BotocoreCredentials()
    first = get(source)
    token.write_text("identity-2")
    assert get(source) == first
    second = get(source, refresh=True)
    assert (first.access_key, second.access_key) == ("ASIAWEBIDENTITY1", "ASIAWEBIDENTITY2")
    assert first.expiry_s is not None
    for stub in made:
        stub.assert_no_pending_responses()


def test_nothing_found_says_what_to_do(bare):
    with pytest.raises(NoCredentialsError, match="AWS_PROFILE"):
        get(BotocoreCredentials())
