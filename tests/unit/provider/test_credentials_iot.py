"""Keys by certificate. Goal: a device gets them over mutual TLS, in time, or an error that says what is wrong."""

import asyncio
import logging
import socket

import pytest
from unit.provider.iot_double import ALIAS, THING, iot_double, make_files
from unit.provider.servers import run_watched

from kvspic.provider.clock import ServiceClock
from kvspic.provider.credentials import CredentialFetchError
from kvspic.provider.credentials_iot import IotCredentials, IotRole

NOON = 1_900_000_000.0


class Wall:
    """A clock that a test sets."""

    def __init__(self, now_s=NOON):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def double(files, wall):
    with iot_double(files, wall) as running:
        yield running


def make(double, files, wall, *, thing=THING, alias=ALIAS, **names):
    names = {"certificate": "device.pem", "private_key": "device.key", "ca": "ca.pem", **names}
    role = IotRole(double.endpoint, thing, alias)
    return IotCredentials(role, **{name: files / path for name, path in names.items()}, clock=ServiceClock(wall))


def get(source, **options):
    return run_watched(source.get(**options))


def test_a_certificate_becomes_keys(double, files, wall):
    keys = get(make(double, files, wall))
    assert (keys.access_key, keys.secret_key, keys.session_token) == ("ASIADOUBLE1", "top-secret-1", "session-token-1")
    assert keys.expiry_s == NOON + 3600
    path, headers = double.requests[0]
    assert path == f"/role-aliases/{ALIAS}/credentials"
    assert headers["x-amzn-iot-thingname"] == THING
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    "life_s, kept_s, renewed_s", [(3600, 3299, 3301), (60, 21, 23), (1000, 899, 901)], ids=["hour", "minute", "tenth"]
)
def test_keys_are_kept_and_renewed_before_they_expire(double, files, wall, life_s, kept_s, renewed_s):
    double.life_s = life_s
    source = make(double, files, wall)
    first = get(source)
    wall.now_s = NOON + kept_s
    assert get(source) is first
    wall.now_s = NOON + renewed_s
    assert get(source).access_key == "ASIADOUBLE2"


def test_a_refresh_asks_again(double, files, wall):
    source = make(double, files, wall)
    get(source)
    assert get(source, refresh=True).access_key == "ASIADOUBLE2"


def test_many_streams_share_one_exchange(double, files, wall):
    source = make(double, files, wall)

    async def all_at_once():
        return await asyncio.gather(*(source.get() for _ in range(20)))

    assert {keys.access_key for keys in run_watched(all_at_once())} == {"ASIADOUBLE1"}
    assert len(double.requests) == 1


def test_old_keys_go_on_while_the_service_is_out_of_order(double, files, wall, caplog):
    source = make(double, files, wall)
    first = get(source)
    double.faults[:] = [503, 503]
    wall.now_s = NOON + 3400
    assert get(source) is first
    assert get(source) is first
    assert len(double.requests) == 2  # it is given a pause
    wall.now_s = NOON + 3406
    assert get(source) is first
    assert "HTTP 503" in caplog.text
    wall.now_s = NOON + 3412
    assert get(source).access_key == "ASIADOUBLE2"


def test_keys_that_were_refused_or_are_over_are_not_given_again(double, files, wall):
    source = make(double, files, wall)
    get(source)
    double.faults[:] = [503, 503]
    with pytest.raises(CredentialFetchError, match="HTTP 503"):
        get(source, refresh=True)
    wall.now_s = NOON + 3600
    with pytest.raises(CredentialFetchError, match="HTTP 503"):
        get(source)
    assert get(source).access_key == "ASIADOUBLE2"


@pytest.mark.parametrize("behind_s", [-86_400 * 365, 86_400 * 365])
def test_a_device_whose_clock_is_wrong_gets_keys(double, files, wall, behind_s):
    source = make(double, files, Wall(NOON - behind_s))
    keys = get(source)
    assert keys.expiry_s == NOON + 3600
    assert get(source) is keys


@pytest.mark.parametrize(
    "fault, text",
    [
        (400, "does not know"),
        (403, "iot:AssumeRoleWithCertificate"),
        (404, "check role alias"),
        (405, "HTTP 405: check the endpoint"),
        (429, "asked again"),
        (502, "asked again"),
        (501, "HTTP 501: check the endpoint"),
        (302, "HTTP 302"),
        (b"", "holds no credentials"),
        (b'{"credentials":{"accessKeyId":"AKIDLEAK","secretAccessKey":7}}', "holds no credentials"),
        (b'{"credentials":[]}', "holds no credentials"),
        (b"[" * 9_000, "holds no credentials"),
        (b"x" * 20_000, "too much"),
    ],
)
def test_each_failure_names_its_remedy(double, files, wall, fault, text):
    double.faults[:] = [fault]
    with pytest.raises(CredentialFetchError, match=text) as caught:
        get(make(double, files, wall))
    assert double.endpoint in str(caught.value)
    assert "AKIDLEAK" not in str(caught.value)


def test_keys_that_came_expired_are_refused(double, files, wall):
    double.life_s = -1
    with pytest.raises(CredentialFetchError, match="set the clock"):
        get(make(double, files, wall))


@pytest.mark.parametrize(
    "names, text",
    [
        ({"certificate": "stranger.pem", "private_key": "stranger.key"}, "belong together and are active"),
        ({"private_key": "stranger.key"}, "belong together"),
        ({"private_key": "device.locked"}, "has a passphrase"),
        ({"certificate": "gone.pem"}, r"certificate .*gone.pem cannot be read"),
        ({"ca": "other-ca.pem"}, r"is not trusted \(self.signed certificate in certificate chain\): check the CA file"),
    ],
    ids=["stranger", "not a pair", "passphrase", "missing", "other authority"],
)
def test_files_that_do_not_fit(double, files, wall, names, text):
    with pytest.raises(CredentialFetchError, match=text):
        get(make(double, files, wall, **names))
    assert double.requests == []


def test_a_file_that_is_no_pem_is_named(double, files, wall, tmp_path):
    (tmp_path / "device.der").write_bytes(b"\x30\x82")
    with pytest.raises(CredentialFetchError, match="is not a PEM file"):
        get(make(double, files, wall, certificate=tmp_path / "device.der"))


def test_another_thing_is_refused(double, files, wall):
    with pytest.raises(CredentialFetchError, match="attached to the thing"):
        get(make(double, files, wall, thing="back-door"))


def test_another_alias_is_unknown(double, files, wall):
    with pytest.raises(CredentialFetchError, match="check role alias"):
        get(make(double, files, wall, alias="other"))


def test_nobody_there(double, files, wall):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        double.endpoint = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(CredentialFetchError, match="cannot be reached"):
            get(make(double, files, wall))


def test_nothing_secret_is_logged(double, files, wall, caplog):
    caplog.set_level(logging.DEBUG)
    keys = get(make(double, files, wall))
    assert "new keys for 3600 s" in caplog.text
    for secret in (keys.access_key, keys.secret_key, keys.session_token):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    "role",
    [("https://host", THING, ALIAS), ("host/path", THING, ALIAS), ("host", "a b", ALIAS), ("host", THING, "a/b")],
)
def test_names_that_cannot_be_are_refused_at_once(role):
    with pytest.raises(ValueError):
        IotRole(*role)
