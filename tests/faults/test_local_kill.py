"""SIGKILL of the endpoint while fragments come in. Goal: none that was acknowledged as persisted is lost."""

import subprocess
import sys
import threading

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import Upload

from kvspic.local.server import LocalEndpoint

SERVER = """
import asyncio, sys
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
endpoint = LocalEndpoint(data_dir=sys.argv[1], durability=sys.argv[2], settings=Settings.unlimited())
asyncio.run(endpoint.serve_forever(lambda url: print(url, flush=True)))
"""
UPLOADS = 3
START = 1_600_000_000_000


def upload_until_cut(url, stream, persisted, enough):
    """Send fragments without an end; note each PERSISTED; say when there are ``kill_after`` of them."""
    with Upload(url, stream) as upload:
        sender = threading.Thread(target=send_for_ever, args=(upload,))
        sender.start()
        try:
            upload.head()
            while ack := upload.ack():
                if ack["EventType"] == "PERSISTED":
                    persisted.append((ack["FragmentNumber"], ack["FragmentTimecode"]))
                    enough.release()
        except (OSError, EOFError, ValueError):
            pass  # the endpoint was killed
        finally:
            upload.socket.close()
            sender.join()


def send_for_ever(upload):
    payload = bytes(range(256)) * 40
    upload.send(mkv.header())
    try:
        for i in range(1_000_000):
            frames = [mkv.block(n, payload) for n in range(4)]
            upload.send(mkv.cluster(START + i * 1000, *frames))
    except OSError:
        pass  # the endpoint was killed


@pytest.mark.parametrize("durability", ["process", "disk"])
@pytest.mark.parametrize("kill_after", [1, 40])
def test_a_kill_loses_nothing_that_was_persisted(tmp_path, durability, kill_after):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), durability], stdout=subprocess.PIPE, text=True
    )
    streams = {f"cam-{i}": [] for i in range(UPLOADS)}
    try:
        url = server.stdout.readline().strip()
        control = client("kinesisvideo", url)
        for name in streams:
            control.create_stream(StreamName=name, DataRetentionInHours=1)
        control.close()
        enough = threading.Semaphore(0)
        threads = [
            threading.Thread(target=upload_until_cut, args=(url, name, persisted, enough))
            for name, persisted in streams.items()
        ]
        for thread in threads:
            thread.start()
        for _ in range(kill_after):
            assert enough.acquire(timeout=20)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    for thread in threads:
        thread.join()
    with LocalEndpoint.run_in_thread(data_dir=tmp_path) as endpoint:
        for name, persisted in streams.items():
            stored = {one.number: one for one in endpoint.fragments(name)}
            assert {number for number, _ in persisted} <= set(stored)
            assert all(stored[number].timecode == timecode for number, timecode in persisted)
            assert all(len(one.blocks) == 4 for one in stored.values())
