"""The words of ``kvspic bench agent`` and ``run``. Goal: what cannot work is a sentence before anything is started."""

from pathlib import Path

import pytest

pytest.importorskip("grpc")
pytest.importorskip("psutil")


@pytest.fixture
def no_pem(tmp_path):
    path = tmp_path / "file.pem"
    path.write_text("no PEM", encoding="utf-8")
    return path


@pytest.fixture
def keys(tmp_path):
    pytest.importorskip("cryptography")
    from datetime import datetime, timezone

    from kvspic.local.certificates import self_signed

    return [self_signed(tmp_path / name, "bench", datetime.now(timezone.utc)) for name in ("one", "other")]


def test_files_that_are_no_pem_are_named(run, no_pem):
    ran = run("bench", "agent", "--listen", "127.0.0.1:0", "--tls-cert", no_pem, "--tls-key", no_pem)
    assert ran.code == 2
    assert f"{no_pem} and {no_pem} are no certificate and private key" in ran.err


def test_a_key_of_another_certificate_is_named(run, keys):
    one, other = keys
    ran = run("bench", "agent", "--listen", "127.0.0.1:0", "--tls-cert", one.certificate, "--tls-key", other.key)
    assert ran.code == 2
    assert "give PEM files that belong together" in ran.err


def test_an_authority_that_is_no_pem_is_named(run, no_pem, tmp_path):
    (tmp_path / "plan.yaml").touch()
    ran = run("bench", "run", tmp_path / "plan.yaml", "--agents", "127.0.0.1:1", "--tls-ca", no_pem)
    assert ran.code == 2
    assert f"{no_pem} holds no certificate of an authority" in ran.err


@pytest.mark.parametrize("agents", ["", " , "])
def test_a_list_without_an_agent_runs_nothing_here(run, tmp_path, agents):
    (tmp_path / "plan.yaml").touch()
    ran = run("bench", "run", tmp_path / "plan.yaml", "--agents", agents)
    assert ran.code == 2
    assert "--agents names no agent" in ran.err


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"\xff\xfe", "cannot be read as UTF-8 text"),
        (b"\xff" * 300_000, "larger than 262144 bytes"),
        ("\u20ac".encode() * 100_000, "larger than 262144 bytes"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(run, tmp_path, data, part):
    (tmp_path / "plan.yaml").write_bytes(data)
    ran = run("bench", "run", tmp_path / "plan.yaml")
    assert ran.code == 2
    assert part in ran.err


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a file without an end")
def test_a_file_without_an_end_is_refused(run):
    ran = run("bench", "run", "/dev/zero")
    assert ran.code == 2
    assert "larger than" in ran.err
