"""The examples. Goal: each one uploads what its source gives, all of it, and ends in order; each fits a screen."""

import ast
import asyncio
import datetime
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy
import pytest
from unit.examples.doubles import Ended, cv2_of, picamera2_of, ros_of, sounddevice_of
from unit.provider.iot_double import ALIAS, THING, iot_double, make_files

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.sources import opening
from kvspic.sources.base import open_container

pytest.importorskip("av")

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
FILES = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py"))
LINES_MAX = 60
S = 10_000_000  # in 100 ns
GST_PYTHON = "/usr/bin/python3"  # the one that Debian's python3-gi is for
KEY = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    with LocalEndpoint.run_in_thread(folder, settings=Settings.unlimited()) as running:
        yield running


@pytest.fixture(autouse=True)
def there(endpoint, monkeypatch, tmp_path):
    """Examples name no endpoint: the environment does, as AWS's own variables do."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS_VIDEO", endpoint.url)
    monkeypatch.chdir(tmp_path)


def load(name):
    """Import an example as if for the first time, with the doubles that are in place now."""
    spec = importlib.util.spec_from_file_location(f"example_{Path(name).stem}", EXAMPLES / name)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def blocks(endpoint, name):
    return sum(len(fragment.blocks) for fragment in endpoint.fragments(name))


def gives_clip(monkeypatch, connection, clip):
    """A camera that gives a clip; when it is connected to again, Ctrl-C comes."""
    connections = []

    def connect(settings):
        connections.append(settings)
        if len(connections) > 1:
            raise Ended
        return open_container(str(clip))

    monkeypatch.setattr(opening, connection, lambda *where: connect)


# ---- cameras


def test_webcam(endpoint, monkeypatch, capsys):
    log = cv2_of(monkeypatch, 60)
    load("webcam.py").main("webcam")
    assert blocks(endpoint, "webcam") == 60
    out, err = capsys.readouterr()
    assert "60 frames put = 60 done" in out
    assert "no more pictures" in err
    assert log.is_released


def test_webcam_and_ctrl_c(endpoint, monkeypatch):
    log = cv2_of(monkeypatch, 10, ending=Ended())
    load("webcam.py").main("webcam-stopped")
    assert blocks(endpoint, "webcam-stopped") == 10
    assert log.is_released


def test_webcam_that_is_not_there(monkeypatch):
    cv2_of(monkeypatch, 0).is_opened = False
    with pytest.raises(SystemExit, match="cannot be opened"):
        load("webcam.py").main("webcam-missing")


def test_raspberry_pi(endpoint, monkeypatch, media_dir):
    picamera2_of(monkeypatch, media_dir / "h264_high_640x360_25fps.h264")
    example = load("raspberry_pi.py")

    def wait():
        raise Ended

    monkeypatch.setattr(example, "threading", types.SimpleNamespace(Event=lambda: types.SimpleNamespace(wait=wait)))
    example.main("garden")
    assert blocks(endpoint, "garden") == 200
    first = endpoint.fragments("garden")[0]
    assert first.tracks[0].codec_private.startswith(b"\1")  # taken from the pictures
    assert abs(first.producer_hns / S - time.time()) < 600


def test_v4l2(endpoint, monkeypatch, media_dir):
    gives_clip(monkeypatch, "device_connection", media_dir / "h264_baseline_320x240_25fps.mp4")
    load("v4l2.py").main("desk", "/dev/video0")
    assert blocks(endpoint, "desk") == 200


def test_rtsp(endpoint, monkeypatch, media_dir, capsys):
    gives_clip(monkeypatch, "rtsp_connection", media_dir / "h264_baseline_320x240_25fps.mp4")
    example = load("rtsp.py")
    monkeypatch.setattr(example.signal, "signal", lambda *_: None)
    example.main("yard", "rtsp://camera/1")
    assert blocks(endpoint, "yard") == 200
    assert "is being connected to again" in capsys.readouterr().out
    assert Path("spool").is_dir()


def test_ffmpeg_pipe(endpoint, require_tool, capsys):
    require_tool("ffmpeg")
    code = load("ffmpeg_pipe.py").main("pipe", *["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=3"])
    assert code == 0
    assert blocks(endpoint, "pipe") == 75
    assert "75 frames put = 75 done" in capsys.readouterr().out


# ---- pictures and sound that are made here


def test_numpy_pictures(endpoint):
    load("numpy_pictures.py").main("pictures", 60)
    assert blocks(endpoint, "pictures") == 60


def test_microphone(endpoint, monkeypatch, capsys):
    sounddevice_of(monkeypatch, 200, late=(150,))
    load("microphone.py").main("nursery")
    fragments = endpoint.fragments("nursery")
    assert sum(len(fragment.blocks) for fragment in fragments) >= 199
    assert fragments[0].tracks[0].codec_id == "A_AAC"
    assert "too busy" in capsys.readouterr().err


def test_motion_clips(endpoint, monkeypatch, capsys):
    cv2_of(monkeypatch, 60, moves_from=30)
    load("motion_clips.py").main("door")
    assert blocks(endpoint, "door") == 60  # what was before the motion too
    assert "60 done" in capsys.readouterr().out


def test_motion_clips_of_nothing(monkeypatch, capsys):
    cv2_of(monkeypatch, 60, moves_from=100)
    load("motion_clips.py").main("still")
    assert "still: 0 frames put" in capsys.readouterr().out


def test_backfill(endpoint, media_dir, tmp_path, capsys):
    folder = tmp_path / "recordings"
    folder.mkdir()
    day = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.timezone.utc).timestamp()
    for number, name in enumerate(("b.mp4", "a.mp4", "broken.mp4")):
        path = folder / name
        shutil.copy(media_dir / "h264_baseline_320x240_25fps.mp4", path)
        if name == "broken.mp4":
            path.write_bytes(b"\0" * 5000)
        os.utime(path, (day + 3600 * number, day + 3600 * number))
    example = load("backfill.py")
    assert example.main("garage", str(folder)) == 1  # a file is broken
    assert "broken.mp4" in capsys.readouterr().err
    assert blocks(endpoint, "garage") == 400
    begins = [fragment.producer_hns / S for fragment in endpoint.fragments("garage")]
    assert begins == sorted(begins)
    assert begins[0] == pytest.approx(day - 8, abs=0.1)  # b.mp4 ended when it was written
    assert begins[-1] < day + 3600
    assert example.main("garage", str(folder)) == 1  # what is there is not uploaded again
    assert blocks(endpoint, "garage") == 400


# ---- services and devices


def test_fastapi_service(endpoint):
    pytest.importorskip("fastapi")
    example = load("fastapi_service.py")
    jpeg = b"\xff\xd8" + bytes(500) + b"\xff\xd9"

    async def story():
        async with example.lifespan(example.app):
            for _ in range(20):
                status, body = await ask(example.app, "POST", "/cameras/gate?width=64&height=48", jpeg)
                assert status == 202
            assert b'"frames":20' in body
            assert (await ask(example.app, "POST", "/cameras/gate?width=64&height=48", b"GIF89a"))[0] == 415
            assert (await ask(example.app, "POST", "/cameras/no%20name?width=64&height=48", jpeg))[0] == 422
            assert (await ask(example.app, "GET", "/cameras/none"))[0] == 404
            status, body = await ask(example.app, "GET", "/cameras/gate")
            assert (status, b"20 frames put" in body) == (200, True)

    asyncio.run(story())
    assert blocks(endpoint, "gate") == 20


async def ask(app, method, target, data=b""):
    """One request, as a server of ASGI hands it over."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path.replace("%20", " "), "raw_path": path.encode(), "query_string": query.encode(), "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "root_path": "",
    }  # fmt: skip
    sent = []

    async def receive():
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def image(number, encoding="rgb8"):
    width, height, step = 64, 48, 64 * 3 + 8  # rows may be padded
    data = numpy.full((height, step), number, numpy.uint8).tobytes()
    stamp = types.SimpleNamespace(sec=1_777_000_000 + number // 25, nanosec=number % 25 * 40_000_000)
    header = types.SimpleNamespace(stamp=stamp)
    return types.SimpleNamespace(header=header, encoding=encoding, width=width, height=height, step=step, data=data)


def test_ros_node(endpoint, monkeypatch):
    errors = ros_of(monkeypatch, [image(0, "bayer_rggb8"), *map(image, range(50))])
    load("ros_node.py").main("robot-7")
    assert blocks(endpoint, "robot-7") == 50
    assert endpoint.fragments("robot-7")[0].producer_hns == 1_777_000_000 * S  # the header's, not now
    assert errors == ["pictures are bayer_rggb8, not rgb8"]


def test_iot_device(endpoint, tmp_path, capsys):
    make_files(tmp_path)
    shutil.copy("ca.pem", "AmazonRootCA1.pem")
    with iot_double(tmp_path, time.time) as double:
        load("iot_device.py").main("testsrc:duration=2", double.endpoint, THING, ALIAS)
    assert double.given_count >= 1
    assert blocks(endpoint, THING) == 50
    assert "StreamReady" in capsys.readouterr().out


# ---- GStreamer, by the Python that it is for


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """What GStreamer has found out about its plugins, once for all tests."""
    return tmp_path_factory.mktemp("gst") / "registry"


@pytest.fixture
def gst(endpoint, registry):
    """Run a command whose Python is GStreamer's, with the kvspic of this checkout."""
    packages = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])
    env = {
        **os.environ, **KEY, "PYTHONPATH": packages, "GST_REGISTRY": str(registry),
        "GST_PLUGIN_PATH": str(EXAMPLES / "gstreamer"), "AWS_ENDPOINT_URL_KINESIS_VIDEO": endpoint.url,
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    probe = (
        "import gi, kvspic; gi.require_version('GstBase', '1.0'); from gi.repository import GstBase; kvspic.Producer"
    )
    is_there = Path(GST_PYTHON).exists()
    if not is_there or subprocess.run([GST_PYTHON, "-c", probe], env=env, capture_output=True, check=False).returncode:
        pytest.skip(f"{GST_PYTHON} has no GStreamer, or cannot load this kvspic (another version of Python)")

    def run(*command):
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)

    return run


def test_gstreamer_appsink(endpoint, gst, media_dir):
    text = f"filesrc location={media_dir / 'h264_baseline_320x240_25fps.mp4'} ! qtdemux"
    ran = gst(GST_PYTHON, EXAMPLES / "gstreamer_appsink.py", "appsink", text)
    assert ran.returncode == 0, ran.stderr
    assert blocks(endpoint, "appsink") == 200


def test_gstreamer_appsink_of_a_pipeline_that_fails(gst):
    ran = gst(GST_PYTHON, EXAMPLES / "gstreamer_appsink.py", "appsink-none", "filesrc location=/none ! qtdemux")
    assert "/none" in ran.stderr or "not be opened" in ran.stderr or "Resource not found" in ran.stderr
    assert "0 frames put" in ran.stdout


def test_kvspicsink_takes_the_properties_of_kvssink(endpoint, gst, media_dir, require_tool):
    launch = require_tool("gst-launch-1.0")
    clip = media_dir / "h264_baseline_320x240_25fps.mp4"
    pipeline = f"filesrc location={clip} ! qtdemux ! h264parse ! kvspicsink stream-name=sink aws-region=eu-west-1 "
    pipeline += "access-key=AKIDEXAMPLE secret-key=secret storage-size=16 streaming-type=2"
    ran = gst(launch, "-q", *pipeline.split())
    if "no element" in ran.stderr:
        pytest.skip("GStreamer's loader of plugins in Python is not installed (gstreamer1.0-python3-plugin-loader)")
    assert ran.returncode == 0, ran.stderr
    assert blocks(endpoint, "sink") == 200
    assert endpoint.fragments("sink")[0].tracks[0].codec_private.startswith(b"\1")


def test_kvspicsink_takes_the_certificate_of_kvssink(endpoint, gst, media_dir, tmp_path, require_tool):
    launch = require_tool("gst-launch-1.0")
    files = make_files(tmp_path)
    with iot_double(files, time.time) as double:
        certificate = f"iot-certificate,endpoint=(string){double.endpoint},iot-thing-name={THING},role-aliases={ALIAS},"
        certificate += f"cert-path={files}/device.pem,key-path={files}/device.key,ca-path={files}/ca.pem"
        source = f"filesrc location={media_dir / 'h264_baseline_320x240_25fps.mp4'} ! qtdemux ! h264parse"
        sink = f'kvspicsink stream-name=certified aws-region=eu-west-1 streaming-type=2 iot-certificate="{certificate}"'
        ran = gst(launch, "-q", *shlex.split(f"{source} ! {sink}"))
    if "no element" in ran.stderr:
        pytest.skip("GStreamer's loader of plugins in Python is not installed (gstreamer1.0-python3-plugin-loader)")
    assert ran.returncode == 0, ran.stderr
    assert double.given_count >= 1
    assert blocks(endpoint, "certified") == 200


# ---- all of them


@pytest.mark.parametrize("name", FILES)
def test_an_example_fits_a_screen_and_says_what_to_install_and_how_to_run_it(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    head = ast.get_docstring(ast.parse(text))
    assert re.search(r"^Install:  .*pip install '?kvspic|^ +pip install '?kvspic", head, re.M)
    assert re.search(r"^Run:      ", head, re.M)
    assert text.count("\n") <= LINES_MAX


def test_the_table_has_every_example():
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w./]+)\)", page))
    assert set(FILES) <= linked
    missing = [target for target in linked if not (EXAMPLES / target).exists()]
    assert missing == []
