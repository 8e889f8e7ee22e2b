"""Botocore's chain. Goal: whatever a botocore session finds is found, and temporary keys are renewed in time.

No network: the services that give keys are servers on loopback (``aws_doubles``).
"""

import asyncio
import sys
import time

import pytest
from unit.provider.aws_doubles import IMDS, container, metadata_service, no_aws, sso, sso_files, token_service
from unit.provider.clocks import known_clock
from unit.provider.servers import run_watched

from kvspic.provider.clock import ServiceClock
from kvspic.provider.credentials import BotocoreCredentials, Credentials, NoCredentialsError


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A user without any AWS configuration."""
    return no_aws(monkeypatch, tmp_path)


def get(source, **options):
    return run_watched(source.get(**options))


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
        source = BotocoreCredentials(clock=known_clock(time.time))
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


def test_nothing_found_says_what_to_do(bare):
    with pytest.raises(NoCredentialsError, match="AWS_PROFILE"):
        get(BotocoreCredentials())


def test_a_process_is_run_again_before_its_keys_expire(bare, tmp_path):
    """Each run appends a line, and gives keys named by the number of lines; the first live for a minute."""
    program = tmp_path / "helper.py"
    program.write_text(
        "import datetime, json, pathlib\n"
        f"runs = pathlib.Path({str(tmp_path / 'runs')!r})\n"
        "count = len(runs.read_text()) + 1 if runs.exists() else 1\n"
        "runs.write_text('x' * count)\n"
        "end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1 if count == 1 else 60)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'RUN{count}', 'SecretAccessKey': 's', 'SessionToken': 't',\n"
        "                  'Expiration': end.isoformat()}))\n"
    )
    (tmp_path / "AWS_CONFIG_FILE").write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    source = BotocoreCredentials(clock=known_clock(time.time))
    assert [get(source).access_key for _ in range(3)] == ["RUN2", "RUN2", "RUN2"]
    assert get(source, refresh=True).access_key == "RUN3"


def test_the_metadata_service_gives_the_keys_of_the_machine_and_new_ones_in_time(bare):
    with metadata_service([60, 6 * 3600]) as (url, seen):
        bare.setenv("AWS_EC2_METADATA_DISABLED", "false")
        bare.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        source = BotocoreCredentials(clock=known_clock(time.time))
        assert get(source) == get(source)
        assert get(source, refresh=True).access_key == "ASIA2"
    assert seen[0] == IMDS.token_path


def test_a_web_identity_is_exchanged_before_its_keys_expire_and_its_file_read_again(bare, tmp_path):
    token = tmp_path / "token"
    token.write_text("identity-1")
    with token_service([60, 3600, 3600]) as (url, seen):
        bare.setenv("AWS_ENDPOINT_URL_STS", url)
        bare.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        bare.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/camera")
        bare.setenv("AWS_ROLE_SESSION_NAME", "cam")
        bare.setenv("AWS_DEFAULT_REGION", "us-west-2")
        source = BotocoreCredentials(clock=known_clock(time.time))
        assert get(source).access_key == "ASIA1"
        token.write_text("identity-2")
        assert get(source).access_key == "ASIA2"
        assert get(source).access_key == "ASIA2"
        assert get(source, refresh=True).access_key == "ASIA3"
    assert seen == ["identity-1", "identity-2", "identity-2"]


def test_a_login_by_sso_is_exchanged_before_its_keys_expire(bare, tmp_path):
    with sso([60, 3600]) as (url, seen):
        sso_files(bare, tmp_path)
        bare.setenv("AWS_ENDPOINT_URL_SSO", url)
        source = BotocoreCredentials("cam", clock=known_clock(time.time))
        found = [get(source).access_key for _ in range(3)]
    assert found == ["ASIA1", "ASIA2", "ASIA2"]
    assert seen == ["login", "login"]


def test_who_asks_during_a_refresh_shares_its_keys(bare):
    with container([3600] * 20, delay_s=0.05) as (url, seen):
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        source = BotocoreCredentials()

        async def all_at_once():
            return await asyncio.gather(*(source.get(refresh=True) for _ in range(8)))

        found = run_watched(all_at_once())
    assert {keys.access_key for keys in found} == {"ASIA1"}
    assert len(seen) == 1


def test_old_keys_go_on_while_a_renewal_fails(bare, caplog):
    """They have 9 minutes left: less than the 10 from which botocore insists on new ones."""
    import botocore.utils

    bare.setattr(botocore.utils.ContainerMetadataFetcher, "SLEEP_TIME", 0)
    wall = [time.time()]
    clock = known_clock(lambda: wall[0])
    with container([3600]) as (url, _):
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        source = BotocoreCredentials(clock=clock)
        first = get(source)
        wall[0] += 3060
        assert get(source) == first
        assert "the old ones are kept" in caplog.text
        wall[0] += 600
        with pytest.raises(Exception, match="container"):
            get(source)


@pytest.mark.parametrize("ahead_s", [-3 * 3600, 3 * 3600])
def test_expiries_are_judged_by_the_services_clock(bare, ahead_s):
    """Keys live an hour; the machine's clock is three hours off, which botocore alone would take for their end."""
    true_s = [time.time()]
    clock = ServiceClock(lambda: true_s[0] + ahead_s)
    with container([3600, 3600]) as (url, seen):
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        source = BotocoreCredentials(clock=clock)
        assert get(source).access_key == "ASIA1"
        clock.learn(true_s[0])
        assert get(source).access_key == "ASIA1"
        true_s[0] += 3000
        assert get(source).access_key == "ASIA2"
    assert len(seen) == 2
