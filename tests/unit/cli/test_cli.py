"""Failures. Goal: each ends within seconds with one sentence, a remedy and its exit code, never a traceback."""

import signal
import socket
import urllib.request

import pytest
from unit.cli.commands import KEYS, start, started
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
        taken.bind(("127.0.0.1", 0))  # bound and not listening: no other program can answer there
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


def test_a_data_directory_that_another_command_holds(run, tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path) as other:
        put = run("put", CLIP, "--stream", "a", "--data-dir", tmp_path)
        assert_failed(put, 6, "by another command", "wait for that one", "kvspic serve")
        serve = run("serve", "--port", "0", "--data-dir", tmp_path)
        assert_failed(serve, 6, f"in use by another endpoint at {other.url}")


def test_commands_use_the_endpoint_that_serves_their_data_directory(run, tmp_path):
    data, out = tmp_path / "data", tmp_path / "back.mkv"
    serving = start("serve", "--port", "0", "--data-dir", data)
    try:
        url = serving.stdout.readline().split()[-1]
        put = run("put", CLIP, "--stream", "a", "--data-dir", data)
        got = run("get", "a", "-o", out, "--data-dir", data)
        demo = run("demo", CLIP, "-o", tmp_path / "demo.mkv", "--speed", "0", "--data-dir", data)
    finally:
        serving.terminate()
        serving.communicate(timeout=20)
    assert (put.code, got.code, demo.code) == (0, 0, 0), put.err + got.err + demo.err
    said = f"kvspic: {data} is served at {url}; that endpoint is used.\n"
    assert (put.err, got.err, demo.err) == (said, said, said)
    assert "200 frames" in got.out


def test_what_a_put_stores_can_be_fetched_while_it_runs(run, tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path) as other:
        assert run("put", CLIP, "--stream", "a", "--endpoint", other.url).code == 0
        got = run("get", "a", "-o", tmp_path / "a.mkv", "--data-dir", tmp_path)
    assert (got.code, "200 frames" in got.out) == (0, True)


def test_an_endpoint_that_was_killed_is_not_asked(run, tmp_path):
    (tmp_path / "endpoint").write_text("http://127.0.0.1:9\nuntil it is stopped\n")
    put = run("put", CLIP, "--stream", "a", "--data-dir", tmp_path)
    assert (put.code, put.err) == (0, "")
    assert not (tmp_path / "endpoint").exists()


def test_variables_set_endpoint_and_data_directory(run, endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("KVSPIC_ENDPOINT", endpoint.url)
    assert run("put", CLIP, "--stream", "by-variable").code == 0
    assert sum(len(fragment.blocks) for fragment in endpoint.fragments("by-variable")) == 200
    monkeypatch.setenv("KVSPIC_ENDPOINT", "local")
    monkeypatch.setenv("KVSPIC_DATA_DIR", str(tmp_path / "data"))
    assert run("put", CLIP, "--stream", "by-variable").code == 0
    assert (tmp_path / "data" / "index.sqlite3").exists()


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
    assert_failed(run("--version"), 2, missing, "pip install 'kvspic[cli]'")


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
    with started("serve", "--port", "0", "--data-dir", tmp_path) as process:
        line = process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert line.startswith("kvspic endpoint at http://127.0.0.1:")
    assert (process.returncode, out, err.strip()) == (130 if number == signal.SIGINT else 0, "", "")


def test_an_interrupted_put_keeps_what_was_put(endpoint):
    words = ("--stream", "interrupted", "--duration", "60", "--endpoint", endpoint.url)
    with started("put", "testsrc:width=64,height=48", *words) as process:
        while not (line := process.stdout.readline()).startswith("STREAMING"):  # a slow machine shows what comes before
            assert line, process.communicate()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "kvspic: The upload was interrupted.\n")
    assert " 0 dropped + 0 buffered" in out


def test_a_quiet_put_prints_nothing(run, endpoint):
    ran = run("put", CLIP, "--stream", "quiet", "--quiet", "--endpoint", endpoint.url)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_giving_up_is_for_cameras(run, endpoint):
    words = ("--stream", "a", "--give-up", "5", "--endpoint", endpoint.url)
    assert_failed(run("put", CLIP, *words), 2, "is no live source")
    assert_failed(run("put", "/dev/video98", *words), 3, "does not exist")


def test_figures_of_a_put_for_prometheus(endpoint, unused_port):
    words = ("--stream", "measured", "--duration", "60", "--endpoint", endpoint.url, "--metrics", unused_port)
    with started("put", "testsrc:width=64,height=48", *words) as process:
        while not process.stdout.readline().startswith("STREAMING"):
            assert process.poll() is None
        text = urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics", timeout=10).read().decode()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert 'kvspic_stream_state{state="streaming",stream="measured"} 1.0' in text


def test_a_port_for_figures_that_is_in_use(run, endpoint):
    port = endpoint.url.rpartition(":")[2]
    ran = run("put", CLIP, "--stream", "a", "--endpoint", endpoint.url, "--metrics", port)
    assert_failed(ran, 4, f"The port {port} for --metrics cannot be used")


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_name_alone_shows_what_there_is(run):
    ran = run()
    assert (ran.code, ran.err) == (0, "")
    assert "kvspic put clip.mp4 --stream front-door" in ran.out
