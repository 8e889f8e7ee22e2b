"""Doubles on loopback of the services that give keys: container agent, metadata service, STS, SSO.

Each gives keys ``ASIA1``, ``ASIA2`` ... which live as long as the test says, then refuses; what it was asked is kept.
"""

import contextlib
import datetime
import hashlib
import http.server
import json
import threading
import time
from urllib.parse import parse_qs

__all__ = ["IMDS", "container", "in_seconds", "metadata_service", "no_aws", "sso", "sso_files", "token_service"]

SOURCES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
)  # fmt: skip
START_URL = "https://example.com/start"


class IMDS:
    """Paths of the metadata service, version 2."""

    token_path = "/latest/api/token"
    role_path = "/latest/meta-data/iam/security-credentials/"


def no_aws(monkeypatch, folder):
    """Take away every AWS configuration; files of it are read in ``folder`` from now on."""
    for name in SOURCES:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(folder / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def in_seconds(life_s):
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=life_s)
    return end.strftime("%Y-%m-%dT%H:%M:%SZ")


def keys(number, life_s, **names):
    """The JSON that container agents and the metadata service answer."""
    found = {"AccessKeyId": f"ASIA{number}", "SecretAccessKey": "s", "Token": "t", "Expiration": in_seconds(life_s)}
    return json.dumps({**found, **names}).encode()


@contextlib.contextmanager
def serving(answer):
    """A server on loopback; ``answer(path, headers, body)`` gives the body of a 200, None a 404. Gives its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            size = int(self.headers.get("Content-Length") or 0)
            body = answer(self.path, self.headers, self.rfile.read(size))
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def container(lives_s, delay_s=0.0):
    """A container agent; gives its URL, and the Authorization headers that it saw."""
    seen = []

    def answer(path, headers, body):
        seen.append(headers.get("Authorization"))
        time.sleep(delay_s)
        return keys(len(seen), lives_s[len(seen) - 1]) if len(seen) <= len(lives_s) else None

    with serving(answer) as url:
        yield f"{url}/keys", seen


@contextlib.contextmanager
def metadata_service(lives_s):
    """The metadata service of a machine; gives its URL and the paths that it saw."""
    seen = []

    def answer(path, headers, body):
        seen.append(path)
        if path == IMDS.token_path:
            return b"session-token"
        if headers.get("x-aws-ec2-metadata-token") != "session-token":
            return None
        if path == IMDS.role_path:
            return b"camera-role"
        number = seen.count(f"{IMDS.role_path}camera-role")
        return keys(number, lives_s[number - 1]) if number <= len(lives_s) else None

    with serving(answer) as url:
        yield url, seen


@contextlib.contextmanager
def token_service(lives_s):
    """STS for web identities; gives its URL and the identities that it saw."""
    seen = []

    def answer(path, headers, body):
        seen.append(parse_qs(body.decode())["WebIdentityToken"][0])
        if len(seen) > len(lives_s):
            return None
        return (
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>ASIA{len(seen)}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>t</SessionToken><Expiration>{in_seconds(lives_s[len(seen) - 1])}</Expiration>"
            "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ).encode()

    with serving(answer) as url:
        yield url, seen


@contextlib.contextmanager
def sso(lives_s):
    """The portal of IAM Identity Center; gives its URL and the logins that it saw."""
    seen = []

    def answer(path, headers, body):
        seen.append(headers.get("x-amz-sso_bearer_token"))
        if len(seen) > len(lives_s):
            return None
        found = {"accessKeyId": f"ASIA{len(seen)}", "secretAccessKey": "s", "sessionToken": "t"}
        found["expiration"] = int((time.time() + lives_s[len(seen) - 1]) * 1000)
        return json.dumps({"roleCredentials": found}).encode()

    with serving(answer) as url:
        yield url, seen


def sso_files(monkeypatch, folder):
    """A profile ``cam`` that logs in by SSO, and the cache of a login as ``aws sso login`` leaves it."""
    import botocore.credentials

    (folder / "AWS_CONFIG_FILE").write_text(
        f"[profile cam]\nsso_start_url = {START_URL}\nsso_region = us-west-2\nsso_account_id = 123456789012\n"
        "sso_role_name = camera\nregion = us-west-2\n"
    )
    cached = {"accessToken": "login", "expiresAt": in_seconds(8 * 3600)}
    name = hashlib.sha1(START_URL.encode()).hexdigest()
    (folder / f"{name}.json").write_text(json.dumps(cached))
    monkeypatch.setattr(botocore.credentials.SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(folder))
