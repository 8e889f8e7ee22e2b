"""``kvspic serve --faults``. Goal: the file's faults strike, and a wrong file is refused before anything is opened."""

import signal

import pytest
from botocore.exceptions import ClientError
from unit.cli.commands import start
from unit.local.aws import client

JSON = '[{"kind": "answer", "operation": "ListStreams", "status": 503, "error_name": "SlowDown", "count": 1}]'
YAML = "- {kind: answer, operation: ListStreams, status: 503, error_name: SlowDown, count: 1}\n"


@pytest.mark.parametrize("text", [YAML, JSON], ids=["yaml", "json"])
def test_faults_of_a_file_strike(tmp_path, text):
    path = tmp_path / "faults"
    path.write_text(text, encoding="utf-8")
    process = start("serve", "--port", "0", "--data-dir", tmp_path / "data", "--faults", path)
    try:
        control = client("kinesisvideo", process.stdout.readline().split()[-1])
        with pytest.raises(ClientError, match="SlowDown"):
            control.list_streams()
        assert control.list_streams()["StreamInfoList"] == []
        control.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


@pytest.mark.parametrize(
    ("text", "words"), [("[", "neither YAML nor JSON"), ('[{"kind": "explode"}]', "fault 1"), (None, "cannot be read")]
)
def test_a_wrong_file_is_a_usage_error(run, tmp_path, text, words):
    path = tmp_path / "faults.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    ran = run("serve", "--port", "0", "--data-dir", tmp_path / "data", "--faults", path)
    assert ran.code == 2
    assert words in ran.err
    assert not (tmp_path / "data").exists()
