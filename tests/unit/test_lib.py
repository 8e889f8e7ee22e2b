"""The boundary. Goal: Python can call all that C has, the GIL stays held, and nothing is freed while it is in use."""

import gc
import re
import sys
from pathlib import Path

import pytest

from kvspic import _lib, core, errors
from kvspic._lib import lib
from kvspic.actions import ORDERS
from kvspic.types import H264Track, StreamOptions

ROOT = Path(__file__).parents[2]
NOW_HNS = 17_000_000_000_000_000


def bare(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def test_each_function_of_the_header_is_declared():
    header = bare((ROOT / "csrc" / "include" / "kvspic.h").read_text(encoding="utf-8"))
    public = re.findall(r"^KVS_API [^;(]*?(\w+)\(", header, re.MULTILINE)
    assert len(public) > 30
    assert [name for name in public if not hasattr(lib, name)] == []


def test_the_gil_stays_held():
    """The wrappers that cffi makes give the GIL up by PyEval_SaveThread; an extension that never does imports no such
    name. (A race against a busy thread does not show it reliably: a thread that gives it up mostly gets it back.)"""
    extension = Path(sys.modules["kvspic._native"].__file__).read_bytes()
    assert b"PyEval_SaveThread" not in extension
    assert b"PyEval_RestoreThread" not in extension


def ready_client(**config) -> core.Client:
    made = core.Client(NOW_HNS, seed=1, **config)
    while actions := made.next_actions():
        for action in actions:
            if action.kind in ORDERS:
                made.answer(action.request, NOW_HNS)
    return made


@pytest.fixture
def client():
    made = ready_client()
    yield made
    made.close()


@pytest.fixture
def stream(client):
    setup = core.StreamSetup("door", [H264Track()], StreamOptions(), 1)
    opened = client.open_stream(setup, NOW_HNS)
    yield opened
    opened.close()


def users() -> int:
    for _ in range(3):  # PyPy frees in a collection what the one before has found
        gc.collect()
    return len(_lib._users)


def test_a_client_goes_with_its_last_reference():
    before = users()
    made = core.Client(NOW_HNS)
    assert users() == before + 1
    made.close()
    assert users() == before


def test_a_client_stays_until_its_streams_are_gone(client):
    before = users()
    opened = client.open_stream(core.StreamSetup("a", [H264Track()], StreamOptions(), 2), NOW_HNS)
    client.close()
    assert users() == before
    opened.metrics()
    opened.close()
    assert users() == before - 1


def test_a_call_keeps_alive_what_it_works_on(client):
    opened = client.open_stream(core.StreamSetup("a", [H264Track()], StreamOptions(), 2), NOW_HNS)
    inside = opened._ptr
    opened.close()
    assert lib.kvs_stream_stop(inside, NOW_HNS) == 0


def test_closed_things_refuse_calls(client, stream):
    stream.close()
    client.close()
    with pytest.raises(errors.NullArgError):
        stream.metrics()
    with pytest.raises(errors.NullArgError):
        client.metrics()
    stream.close()
    client.close()


def test_a_refused_client_leaves_nothing_behind():
    before = users()
    with pytest.raises(errors.StoreSizeError):
        core.Client(NOW_HNS, store_size=1)
    assert users() == before
