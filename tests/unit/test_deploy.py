"""What deploy/ has. Goal: units, manifests and the image name commands, options, paths and probes that exist."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvspic import cli

yaml = pytest.importorskip("yaml")
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
FULL_DRAIN_S = 25


def documents(path):
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def check_options(words, capsys):
    """Each option of a command line is one of the command's help."""
    command = words[: next((at for at, word in enumerate(words) if word.startswith("-")), len(words))]
    capsys.readouterr()
    assert cli.run([*command[:2], "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong_with_a_unit(path, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there (Debian: apt install systemd)")
    text = path.read_text(encoding="utf-8").replace("/opt/kvspic/bin/kvspic", sys.executable)
    (tmp_path / path.name).write_text(text)
    ran = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / path.name], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_there_is(path, capsys):
    line = re.search(r"^ExecStart=/opt/kvspic/bin/kvspic (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)[1]
    check_options(shlex.split(line), capsys)


def test_a_worker_has_the_time_to_hand_its_cameras_back():
    unit = (DEPLOY / "systemd/kvspic-fleet-worker.service").read_text(encoding="utf-8")
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > FULL_DRAIN_S
    spec = documents(DEPLOY / "kubernetes/worker.yaml")[-1]["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > FULL_DRAIN_S


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_fit_the_schemas_of_kubernetes(path):
    validate = pytest.importorskip("kubernetes_validate")
    for one in documents(path):
        if one["apiVersion"].startswith("keda.sh/"):
            continue  # a resource of KEDA's own, which has no schema here
        validate.validate(one, "1.29", strict=True)


def test_containers_start_commands_that_there_are(capsys):
    for path in MANIFESTS:
        for one in documents(path):
            if one["kind"] in ("Deployment", "Job"):
                check_options(one["spec"]["template"]["spec"]["containers"][0]["args"], capsys)


def test_two_servers_of_which_one_always_answers():
    found = {one["kind"]: one["spec"] for one in documents(DEPLOY / "kubernetes/server.yaml")}
    container = found["Deployment"]["template"]["spec"]["containers"][0]
    assert found["Deployment"]["replicas"] == 2
    assert found["PodDisruptionBudget"]["minAvailable"] == 1
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_scalers_ask_for_figures_that_a_server_has():
    pytest.importorskip("prometheus_client")
    from kvspic.fleet.metrics import Figures, Metrics

    names = set(re.findall(rb"^(kvspic_fleet_\w+)", Metrics().text(Figures({}, [], 0, 0, False, 0)), re.MULTILINE))
    text = "".join((DEPLOY / "kubernetes" / name).read_text(encoding="utf-8") for name in ("hpa.yaml", "keda.yaml"))
    asked = set(re.findall(r"kvspic_fleet_\w+", text)) - {
        "kvspic_fleet_active_jobs"
    }  # made by a rule that stands there
    assert asked == {"kvspic_fleet_jobs", "kvspic_fleet_queue_length"}
    assert {name.encode() for name in asked} <= names


def test_the_image_is_made_of_files_that_there_are():
    text = (DEPLOY / "docker/Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    root = DEPLOY.parent
    for words in (
        line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line
    ):
        assert [word for word in words if not (root / word).exists()] == []
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    extras = re.findall(r"EXTRAS=([a-z,]+)", text)
    known = (root / "pyproject.toml").read_text(encoding="utf-8")
    assert sorted(extras) == ["bench,cli,local,media", "fleet,postgres"]
    assert all(f"\n{name} = [" in known for one in extras for name in one.split(","))
