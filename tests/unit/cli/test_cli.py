"""Failures. Goal: each ends within seconds with one sentence, a remedy and its exit code, never a traceback."""

import signal
import socket

import pytest
from unit.cli.commands import KEYS, start
from unit.sources.clips import MEDIA

import kvspic
from kvspic.commands import put as put_command
from kvspic.local.server import LocalEndpoint

CLIP = MEDIA / "h264_baseline_320x240_25fps.mp4"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """An endpoint that wants signed requests."""
    keys = {"AKTEST": "the-secret"}
    with LocalEndpoint.run_in_thread(tmp_path_factory.mktemp("guarded"), access_keys=keys) as running:
        yield running


def assert_failed(ran, code, *words):
    assert ran.code == code, ran.err
    lines = ran.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("kvspic: ")
    assert lines[0].endswith(".")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def put(run, endpoint):
    """``put(clip, stream, ...)`` with ``--json``, whose object must be there whatever happens."""

    def put_one(clip, stream, *words, url=endpoint.url):
        ran = run("put", clip, "--stream", stream, "--json", "--endpoint", url, *words)
        assert list(ran.json) == [*KEYS, "error"]
        assert ran.json["error"] in ran.err
        return ran

    return put_one


def test_a_missing_input(put, tmp_path):
    assert_failed(put(tmp_path / "none.mp4", "a"), 3, "none.mp4 does not exist", "check the path")


def test_a_text_file(put, tmp_path):
    (tmp_path / "text.txt").write_text("hello\n" * 20)
    assert_failed(put(tmp_path / "text.txt", "a"), 3, "is a text file")


def test_a_directory(put, tmp_path):
    assert_failed(put(tmp_path, "a"), 3, "is a directory")


def test_an_empty_file(put, tmp_path):
    (tmp_path / "empty").touch()
    assert_failed(put(tmp_path / "empty", "a"), 3, "is empty")


def test_a_codec_that_cannot_be_packaged(put, tmp_path):
    import av

    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("huffyuv", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv422p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv422p")))
        container.mux(stream.encode(None))
    assert_failed(put(path, "a"), 3, "huffyuv", "convert it first")


def test_b_frames_without_times(put, tmp_path):
    from unit.sources.clips import B_FRAMES, remux

    raw = remux(B_FRAMES, tmp_path / "raw.h264", "h264", "h264_mp4toannexb")
    assert_failed(put(raw, "a"), 3, "B frames but no times")


@pytest.mark.parametrize(
    ("name", "words"), [("a" * 257, "257 characters"), ("", "0 characters"), ("a b", "' '"), ("caf\u00e9", "'\u00e9'")]
)
def test_a_stream_name_that_the_service_refuses(put, name, words):
    assert_failed(put(CLIP, name), 2, "The stream name", words)


def test_an_endpoint_that_cannot_be_reached(put):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ran = put(CLIP, "a", "--connect-timeout", "0.3", url=url)
    assert_failed(ran, 4, "within 0.3 s", "check the endpoint and the network")
    assert ran.json["frames_put"] == 0


@pytest.mark.parametrize("endpoint_word", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
def test_an_endpoint_that_is_no_url(put, endpoint_word):
    assert_failed(put(CLIP, "a", url=endpoint_word), 2, "neither local nor aws nor a URL")


def test_get_from_an_endpoint_that_cannot_be_reached(run, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert_failed(run("get", "a", "-o", tmp_path / "a.mkv", "--endpoint", url), 4, "check the endpoint")


def test_wrong_keys(put, run, guarded, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    ran = put(CLIP, "a", url=guarded.url)
    assert_failed(ran, 5, "check the AWS credentials")
    assert "secret" not in ran.err.replace("Check your AWS Secret", "").lower()
    assert_failed(run("get", "a", "-o", tmp_path / "a.mkv", "--endpoint", guarded.url), 5, "check the AWS credentials")


def test_no_keys_where_some_are_wanted(put, guarded):
    assert_failed(put(CLIP, "a", url=guarded.url), 5, "check the AWS credentials")


def test_right_keys(run, guarded, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    assert run("put", CLIP, "--stream", "signed", "--endpoint", guarded.url).code == 0


def test_a_data_directory_that_another_process_holds(run, tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path):
        assert_failed(run("put", CLIP, "--stream", "a", "--data-dir", tmp_path), 6, "is in use", "another directory")
        assert_failed(run("serve", "--port", "0", "--data-dir", tmp_path), 6, "is in use")


def test_a_data_directory_that_cannot_be_made(run, tmp_path):
    (tmp_path / "file").touch()
    assert_failed(run("put", CLIP, "--stream", "a", "--data-dir", tmp_path / "file"), 6, "cannot be used")


def test_a_data_directory_that_is_not_there_is_not_made_by_get(run, tmp_path):
    ran = run("get", "a", "-o", tmp_path / "a.mkv", "--data-dir", tmp_path / "none")
    assert_failed(ran, 6, "does not exist")
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use(run, endpoint, tmp_path):
    port = endpoint.url.rpartition(":")[2]
    assert_failed(run("serve", "--port", port, "--data-dir", tmp_path), 4, f"port {port}", "in use", "choose another")


def test_get_of_a_stream_that_is_not_there(run, endpoint, tmp_path):
    ran = run("get", "nobody", "-o", tmp_path / "a.mkv", "--endpoint", endpoint.url)
    assert_failed(ran, 5, "not found", "check its name")
    assert list(tmp_path.iterdir()) == []


def test_get_into_a_folder_that_is_not_there(run, endpoint, tmp_path):
    assert run("put", CLIP, "--stream", "folder", "--endpoint", endpoint.url).code == 0
    ran = run("get", "folder", "-o", tmp_path / "none" / "a.mkv", "--endpoint", endpoint.url)
    assert_failed(ran, 2, "cannot be written")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["put", CLIP], "--stream"),
        (["put", CLIP, "--stream", "a", "--store-size", "0"], "--store-size"),
        (["put", CLIP, "--stream", "a", "--fps", "0"], "frame rate"),
        (["put", CLIP, "--stream", "a", "--start", "2019-05-01T12:00:00"], "no time zone"),
        (["put", CLIP, "--stream", "a", "--start", "noon"], "is no time"),
        (["put", "testsrc", "--stream", "a", "--start", "2019-05-01T12:00:00Z"], "is for recordings"),
        (["put", "testsrc:colour=red", "--stream", "a"], "colour"),
        (["get", "a"], "--output"),
        (["get", "a", "-o", "a.mkv", "--idle", "1"], "--follow"),
        (["serve", "--access-key", "only-one"], "ID:SECRET"),
        (["states", "--format", "page", "--machine", "stream"], "--machine"),
        (["nonsense"], "nonsense"),
    ],
)
def test_words_that_are_wrong(run, words, said):
    assert_failed(run(*words), 2, said)


def test_put_without_a_stream_still_prints_its_object(run):
    ran = run("put", CLIP, "--json")
    assert (ran.code, list(ran.json)) == (2, [*KEYS, "error"])


def test_a_secret_that_is_written_wrong_is_not_repeated(run):
    assert "hush" not in run("serve", "--access-key", ":hush").err


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_fault_of_ours_ends_with_70_and_without_a_traceback(run, monkeypatch, words):
    def fails(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(put_command, "check_stream_name", fails)
    ran = run("put", CLIP, "--stream", "a", *words)
    assert_failed(ran, 70, "oops", "report")
    assert not words or "ZeroDivisionError" in ran.json["error"]


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_extra_is_named(run, monkeypatch, missing):
    import sys

    for name in list(sys.modules):
        if name.startswith("kvspic.commands.") and name not in ("kvspic.commands.exits", "kvspic.commands.interrupts"):
            monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert_failed(run("--version"), 2, missing, "pip install kvspic[cli]")


def test_the_version(run):
    ran = run("--version")
    assert (ran.code, kvspic.__version__ in ran.out) == (0, True)


@pytest.mark.parametrize("command", ["demo", "put", "get", "serve", "inspect", "states"])
def test_each_command_teaches_with_examples(run, command):
    ran = run(command, "--help")
    assert ran.code == 0
    assert f"\n    kvspic {command}" in ran.out


def test_inspect_tells_what_is_in_a_file(run, tmp_path):
    ran = run("inspect", CLIP)
    assert (ran.code, "200 frames (4 key)" in ran.out) == (0, True)
    assert run("inspect", CLIP, "--json").json["tracks"][0]["frames"] == 200
    assert_failed(run("inspect", tmp_path / "none.mkv"), 3, "does not exist")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_its_url_and_ends_cleanly(number, tmp_path):
    process = start("serve", "--port", "0", "--data-dir", tmp_path)
    line = process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert line.startswith("kvspic endpoint at http://127.0.0.1:")
    assert (process.returncode, out, err.strip()) == (130 if number == signal.SIGINT else 0, "", "")


def test_an_interrupted_put_keeps_what_was_put(endpoint):
    words = ("--stream", "interrupted", "--duration", "60", "--endpoint", endpoint.url)
    process = start("put", "testsrc:width=64,height=48", *words)
    assert process.stdout.readline().startswith(("STREAMING", "READY", "PUT_STREAM"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "kvspic: The upload was interrupted.\n")
    assert " 0 dropped + 0 buffered" in out
