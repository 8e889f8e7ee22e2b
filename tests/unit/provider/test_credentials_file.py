"""The credentials file. Goal: each form is read, a file being replaced does no harm, and no key gets into a text."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.provider.clocks import clock_at, known_clock
from unit.provider.servers import run_watched

from kvspic.provider.clock import ServiceClock
from kvspic.provider.credentials import CredentialFetchError, Credentials
from kvspic.provider.credentials_file import FileCredentials, parse_credentials, parse_expiry

NOON = 1_900_000_000.0
LATER = "2030-03-17T18:46:40Z"  # an hour after NOON
SHORT = "CREDENTIALS AKID the-secret"
LONG = f"CREDENTIALS AKID {LATER} the-secret the-token"
KEYS = Credentials("AKID", "the-secret")
TEMPORARY = Credentials("AKID", "the-secret", "the-token", NOON + 3600)
PROCESS = (
    '{"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"the-secret","SessionToken":"the-token",'
    f'"Expiration":"{LATER}"}}'
)
IOT = (
    '{"credentials":{"accessKeyId":"AKID","secretAccessKey":"the-secret","sessionToken":"the-token",'
    f'"expiration":"{LATER}"}}}}'
)
SECTIONS = "[default]\naws_access_key_id = AKID\naws_secret_access_key = the-secret\n"


@pytest.mark.parametrize(
    "text, keys",
    [
        (SHORT, KEYS),
        (f"\n  CREDENTIALS\tAKID\n{SHORT.split()[2]} \r\n", KEYS),
        (LONG, TEMPORARY),
        (PROCESS, TEMPORARY),
        (IOT, TEMPORARY),
        (SECTIONS, KEYS),
        (f"# of the camera\n{SECTIONS}aws_session_token = the-token\naws_expiration = {LATER}\n", TEMPORARY),
        ("\ufeff" + SHORT, KEYS),
    ],
)
def test_each_form_is_read(tmp_path, text, keys):
    (tmp_path / "keys").write_text(text, encoding="utf-8")
    assert run_watched(FileCredentials(tmp_path / "keys", clock=clock_at(NOON)).get()) == keys


def test_a_profile_is_chosen():
    text = SECTIONS + "[cam]\naws_access_key_id = CAM\naws_secret_access_key = %s\n"
    assert parse_credentials(text, "cam") == Credentials("CAM", "%s")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CREDENTIALS",
        "CREDENTIALS AKID",
        f"CREDENTIALS AKID {LATER} the-secret",  # a token is missing
        f"CREDENTIALS AKID the-secret {LATER} the-token",  # the expiry stands before the secret
        LONG + " more",
        "AKID the-secret",
        "CREDENTIALS AKID 2030-03-17T18:46:40 the-secret the-token",  # no time zone
        "[other]\naws_access_key_id = AKID\n",
        "[default]\naws_access_key_id = AKID\n",
        '{"AccessKeyId":"AKID"}',
        '{"credentials":["the-secret"]}',
        PROCESS[:-10],
        '{"a":' + "[" * 9_000,
    ],
)
def test_anything_else_is_one_error_that_quotes_nothing(tmp_path, text):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(CredentialFetchError, match="none of the known forms") as caught:
        run_watched(FileCredentials(tmp_path / "keys", clock=clock_at(NOON)).get())
    assert "the-secret" not in str(caught.value)
    assert caught.value.__suppress_context__  # nor does the traceback show the parser's error, which may


@given(st.text(max_size=200))
def test_any_text_is_keys_or_a_value_error(text):
    try:
        keys = parse_credentials(text)
    except ValueError:
        return
    assert keys.access_key
    assert keys.secret_key


def test_a_replaced_file_is_seen_at_the_next_use(tmp_path):
    path = tmp_path / "keys"
    path.write_text(SHORT)
    source = FileCredentials(path)
    assert run_watched(source.get()) == KEYS
    path.write_text("CREDENTIALS NEW s")
    assert run_watched(source.get()) == Credentials("NEW", "s")


def test_a_half_written_file_leaves_the_old_keys_while_they_are_valid(tmp_path, caplog):
    path, now = tmp_path / "keys", [NOON]
    path.write_text(LONG)
    source = FileCredentials(path, clock=known_clock(lambda: now[0]))
    run_watched(source.get())
    for cut in range(len(LONG) - len(" the-token") + 1):
        path.write_text(LONG[:cut])
        assert run_watched(source.get()) == TEMPORARY
    path.unlink()
    assert run_watched(source.get()) == TEMPORARY
    assert "the old credentials are kept" in caplog.text
    assert "the-secret" not in caplog.text
    with pytest.raises(CredentialFetchError, match="cannot be read"):
        run_watched(source.get(refresh=True))
    now[0] = NOON + 3600
    with pytest.raises(CredentialFetchError, match="check the path"):
        run_watched(source.get())


def test_expired_keys_are_refused(tmp_path):
    (tmp_path / "keys").write_text(LONG)
    with pytest.raises(CredentialFetchError, match="have expired"):
        run_watched(FileCredentials(tmp_path / "keys", clock=clock_at(NOON + 3600)).get())


def test_keys_are_not_judged_by_a_clock_that_nobody_has_confirmed(tmp_path):
    (tmp_path / "keys").write_text(LONG)
    clock = ServiceClock(lambda: NOON + 3 * 3600)
    source = FileCredentials(tmp_path / "keys", clock=clock)
    assert run_watched(source.get()) == TEMPORARY
    clock.learn(NOON)
    assert run_watched(source.get()) == TEMPORARY
    clock.learn(NOON + 3600)
    with pytest.raises(CredentialFetchError, match="have expired"):
        run_watched(source.get())


def test_another_file_by_mistake_is_not_read_whole(tmp_path):
    (tmp_path / "keys").write_bytes(b"x" * 10_001)
    with pytest.raises(CredentialFetchError, match="longer than 10000 bytes"):
        run_watched(FileCredentials(tmp_path / "keys").get())


def test_an_expiry_is_a_moment():
    assert parse_expiry(LATER) == NOON + 3600
    assert parse_expiry("2030-03-17T19:46:40+01:00") == NOON + 3600
    assert datetime.datetime.fromtimestamp(NOON, datetime.timezone.utc).isoformat() == "2030-03-17T17:46:40+00:00"
