"""Programs that end without closing. Goal: their frames go out within a time, and a line says how many did."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kvspic
from kvspic.local.faults import Fault, FaultKind
from kvspic.local.server import LocalEndpoint

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import asyncio, os, sys, threading, time
import kvspic

TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
URL = sys.argv[1]

def put(stream, count=100, first=0):
    for number in range(first, first + count):
        stream.put_frame(bytes(100), pts=1_700_000_000_000_000_000 + number * 40_000_000, key_frame=number % 25 == 0)
"""
NOTHING_LISTENS = "http://127.0.0.1:9"


@pytest.fixture
def endpoint(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as running:
        yield running


def run(script, *arguments, code=0):
    """Run a program to its end; what it wrote to standard error."""
    program = [sys.executable, "-c", BEGIN + script, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    return done.stderr


def stored(endpoint, name):
    return sum(len(fragment.blocks) for fragment in endpoint.fragments(name))


OPEN = "stream = kvspic.Producer(endpoint_url=URL, exit_timeout=30).open_stream('cam', TRACKS{})\n"
LINE = (
    "kvspic: the program ended without closing a stream: {} frames are done, {} are not{}. "
    "Use `with`, or call close().\n"
)


def test_a_script_that_just_ends(endpoint):
    assert run(OPEN.format("") + "put(stream)", endpoint.url) == LINE.format(100, 0, "")
    assert stored(endpoint, "cam") == 100


def test_a_function_whose_producer_goes_out_of_scope(endpoint):
    script = f"def main():\n    {OPEN.format('')}    put(stream)\nmain()\n"
    assert run(script, endpoint.url) == LINE.format(100, 0, "")
    assert stored(endpoint, "cam") == 100


def test_an_exception_that_ends_the_program(endpoint):
    said = run(OPEN.format("") + "put(stream)\n1 / 0", endpoint.url, code=1)
    assert "ZeroDivisionError" in said
    assert said.endswith(LINE.format(100, 0, ""))
    assert stored(endpoint, "cam") == 100


def test_a_thread_of_the_camera_that_outlives_the_main_thread(endpoint):
    script = """
def camera():
    put(stream, 75)
    threading.main_thread().join()
    put(stream, 25, 75)
threading.Thread(target=camera).start()
"""
    assert run(OPEN.format("") + script, endpoint.url) == LINE.format(100, 0, "")
    assert stored(endpoint, "cam") == 100


@pytest.mark.parametrize("operation", ["DescribeStream", "GetDataEndpoint", "PutMedia"])
def test_a_call_that_is_outstanding_when_the_program_ends(endpoint, operation):
    endpoint.faults.add(Fault(FaultKind.DELAY, operation=operation, delay_hns=5_000_000))
    assert run(OPEN.format(", wait=False") + "put(stream)", endpoint.url) == LINE.format(100, 0, "")
    assert stored(endpoint, "cam") == 100


def test_the_first_call_of_all_is_made_by_the_hook(endpoint):
    script = OPEN.format(", wait=False")
    assert run(script + "put(stream)", endpoint.url.replace("127.0.0.1", "localhost")) == LINE.format(100, 0, "")
    assert stored(endpoint, "cam") == 100


def test_an_endpoint_in_the_same_process(tmp_path):
    script = """
from kvspic.local.server import LocalEndpoint
running = LocalEndpoint.run_in_thread(data_dir=sys.argv[2])
URL = running.__enter__().url
"""
    script += OPEN.format(", wait=False") + "put(stream)\n"
    assert run(script, "", str(tmp_path / "data")) == LINE.format(100, 0, "")
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as endpoint:
        assert stored(endpoint, "cam") == 100


def test_a_service_that_is_not_there_holds_the_program_for_the_time_that_it_allows(endpoint):
    script = "producer = kvspic.Producer(endpoint_url=URL, exit_timeout=0.1)\n"
    script += "stream = producer.open_stream('cam', TRACKS, wait=False)\nput(stream)"
    assert run(script, NOTHING_LISTENS) == LINE.format(0, 100, "")


def test_what_is_in_a_spool_is_not_lost(tmp_path):
    script = "producer = kvspic.Producer(endpoint_url=URL, exit_timeout=0.1)\n"
    script += "stream = producer.open_stream('cam', TRACKS, wait=False, spool=sys.argv[2])\nput(stream)"
    said = run(script, NOTHING_LISTENS, str(tmp_path))
    assert said == LINE.format(0, 100, " (100 of them wait in the spool)")


def test_an_asyncio_program_whose_loop_is_gone(endpoint):
    script = """
async def main():
    global producer
    producer = kvspic.AsyncProducer(endpoint_url=URL)
    stream = await producer.open_stream("cam", TRACKS)
    put(stream, 10)
    return stream
stream = asyncio.run(main())
"""
    assert run(script, endpoint.url).endswith(LINE.format(0, 10, ""))


def test_an_asyncio_program_whose_loop_runs_in_another_thread(endpoint):
    script = """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
producer = kvspic.AsyncProducer(endpoint_url=URL, exit_timeout=30)
async def start():
    stream = await producer.open_stream("cam", TRACKS)
    put(stream)
    return stream
stream = asyncio.run_coroutine_threadsafe(start(), loop).result()
"""
    assert run(script, endpoint.url) == LINE.format(100, 0, "")
    assert stored(endpoint, "cam") == 100


@pytest.mark.parametrize(
    "script",
    [
        "with kvspic.Producer(endpoint_url=URL) as made, made.open_stream('cam', TRACKS) as stream:\n    put(stream)",
        OPEN.format("") + "put(stream)\nstream.close()",
        OPEN.format(", wait=False"),
        "kvspic.Producer(endpoint_url=URL)",
    ],
    ids=["with", "close", "no frames", "no stream"],
)
def test_who_loses_nothing_is_told_nothing(endpoint, script):
    assert run(script, endpoint.url) == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_forked_child_with_and_close_do_nothing(endpoint):
    script = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
with kvspic.Producer(endpoint_url=URL) as producer:
    with producer.open_stream("cam", TRACKS) as stream:
        put(stream, 50)
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            put(stream, 50, 50)
    assert stream.close().frames_done == (0 if child == 0 else 100)
    assert producer.close() == [] or child
if child and status:
    sys.exit("the child failed")
"""
    assert run(script, endpoint.url) == ""
    assert stored(endpoint, "cam") == 100


def test_five_seconds_are_allowed_by_default():
    for kind in (kvspic.Producer, kvspic.AsyncProducer):
        assert inspect.signature(kind).parameters["exit_timeout"].default == 5
