"""Passwords of cameras. Goal: a job names one, the worker puts it into the URL, and no error shows it."""

import pytest

pytest.importorskip("yaml")

from kvspic.fleet.secrets import SecretError, Secrets

URL = "rtsp://10.0.0.9:554/stream/1"
FILE = 'door: "admin:p@ss:w/rd"\nyard: {user: root, password: 12345}\nbroken: [1, 2]\n'


@pytest.fixture
def secrets(tmp_path):
    path = tmp_path / "secrets"
    path.write_text(FILE)
    path.chmod(0o600)
    return Secrets(path)


@pytest.mark.parametrize(
    "source, url",
    [
        ({"url": URL}, URL),
        ({"url": URL, "secret": None}, URL),
        ({"url": URL, "secret": "door"}, "rtsp://admin:p%40ss%3Aw%2Frd@10.0.0.9:554/stream/1"),
        ({"url": "rtsp://old:one@h/1", "secret": "yard"}, "rtsp://root:12345@h/1"),
    ],
)
def test_a_secret_becomes_user_and_password_of_the_url(secrets, source, url):
    assert secrets.url_of(source) == url


@pytest.mark.parametrize("name", ["none", "broken"])
def test_a_secret_that_cannot_be_used_is_named_and_not_shown(secrets, name):
    with pytest.raises(SecretError, match=name) as caught:
        secrets.url_of({"url": URL, "secret": name})
    assert "p@ss" not in str(caught.value)


@pytest.mark.parametrize("text", ["door: [", "- a", "\x00"])
def test_a_file_that_is_no_file_of_secrets_is_a_sentence_without_its_text(tmp_path, text):
    path = tmp_path / "secrets"
    path.write_text(f"hidden-word: x\n{text}")
    with pytest.raises(SecretError) as caught:
        Secrets(path).url_of({"url": URL, "secret": "door"})
    assert "hidden-word" not in str(caught.value)


def test_without_a_file_the_remedy_is_named(tmp_path):
    with pytest.raises(SecretError, match="--secrets"):
        Secrets().url_of({"url": URL, "secret": "door"})
    with pytest.raises(SecretError, match="cannot be read"):
        Secrets(tmp_path / "none").url_of({"url": URL, "secret": "door"})


def test_a_secret_for_what_is_no_url_is_refused(secrets):
    with pytest.raises(SecretError, match="no"):
        secrets.url_of({"url": "/dev/video0", "secret": "door"})
