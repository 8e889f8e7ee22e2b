"""Credentials. Goal: the user's keys are found the usual way, renewed when refused, and never shown."""

import asyncio
import functools
import json
import logging
import threading

import pytest
from unit.provider.servers import run_watched

from kvspic.provider.credentials import (
    BotocoreCredentials,
    CallableCredentials,
    Credentials,
    NoCredentialsError,
    StaticCredentials,
    loopback_credentials,
)

VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A user without any AWS configuration, on a machine without a metadata service."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def get(source, **options):
    return run_watched(source.get(**options))


def test_keys_never_show():
    keys = Credentials("AKIDEXAMPLE1234", "SECRETKEY", "TOKEN", 5.0)
    for text in (repr(keys), str(keys), f"{keys}", repr([keys])):
        assert "SECRETKEY" not in text
        assert "TOKEN" not in text
        assert "AKIDEXAMPLE" not in text


def test_fixed_keys_stay():
    source = StaticCredentials("AKID", "secret", "token", 7.0)
    assert get(source) == get(source, refresh=True) == Credentials("AKID", "secret", "token", 7.0)


@pytest.mark.parametrize("keys", [("", "secret"), ("AKID", "")])
def test_half_a_pair_is_refused(keys):
    with pytest.raises(ValueError):
        StaticCredentials(*keys)


def test_a_plain_function_runs_off_the_loop_and_an_async_one_on_it():
    threads = []

    def plain():
        threads.append(threading.current_thread())
        return Credentials("A", "s")

    async def awaited():
        await asyncio.sleep(0)
        return Credentials("B", "s")

    assert get(CallableCredentials(plain)).access_key == "A"
    assert get(CallableCredentials(awaited)).access_key == "B"
    assert get(CallableCredentials(functools.partial(awaited))).access_key == "B"
    assert threads[0] is not threading.main_thread()


def test_the_environment_is_read(bare):
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bare.setenv("AWS_SESSION_TOKEN", "token")
    assert get(BotocoreCredentials()) == Credentials("AKIDENV", "secret", "token", None)


def test_a_refresh_sees_what_changed(bare, tmp_path):
    file = tmp_path / "AWS_SHARED_CREDENTIALS_FILE"
    file.write_text("[cam]\naws_access_key_id = OLD\naws_secret_access_key = s\n")
    source = BotocoreCredentials(profile="cam")
    assert get(source).access_key == "OLD"
    file.write_text("[cam]\naws_access_key_id = NEW\naws_secret_access_key = s\n")
    assert get(source).access_key == "OLD"
    assert get(source, refresh=True).access_key == "NEW"


def test_temporary_keys_tell_their_end(bare, tmp_path):
    keys = {"AccessKeyId": "TMP", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2120-01-01T00:00:00Z"}
    (tmp_path / "answer.json").write_text(json.dumps({"Version": 1, **keys}))
    config = tmp_path / "AWS_CONFIG_FILE"
    config.write_text(f"[default]\ncredential_process = cat {tmp_path / 'answer.json'}\n")
    assert get(BotocoreCredentials()) == Credentials("TMP", "s", "t", 4_733_510_400.0)


def test_no_keys_is_an_error_with_a_remedy(bare):
    with pytest.raises(NoCredentialsError, match="AWS_ACCESS_KEY_ID"):
        get(BotocoreCredentials())


def test_loopback_needs_no_keys(bare):
    assert get(loopback_credentials()) == Credentials("local", "local")


def test_loopback_uses_the_users_keys_and_finds_new_ones_on_refresh(bare):
    source = loopback_credentials()
    get(source)
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert get(source).access_key == "local"
    assert get(source, refresh=True).access_key == "AKIDENV"
    assert get(source).access_key == "AKIDENV"


def test_loopback_asks_no_metadata_service(bare):
    import botocore.utils

    def asked(*_):
        raise AssertionError("the metadata service was asked")

    bare.delenv("AWS_EC2_METADATA_DISABLED")
    bare.setattr(botocore.utils.InstanceMetadataFetcher, "retrieve_iam_role_credentials", asked)
    assert get(loopback_credentials()).access_key == "local"


def test_a_broken_profile_does_not_stop_loopback(bare, caplog):
    caplog.set_level(logging.DEBUG, "kvspic")
    bare.setenv("AWS_PROFILE", "missing")
    assert get(loopback_credentials()).access_key == "local"
    assert "ProfileNotFound" in caplog.text
