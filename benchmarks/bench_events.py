"""Events on their way out of C: what ``Client.next_actions`` costs in Python.

The drain is measured over batches of one and of 64 actions; a service inside this script answers every order.
"""

from __future__ import annotations

import time

from report import say

from kvspic.actions import Action, ActionKind
from kvspic.core import Client, Stream, StreamSetup, UploadReader, host_now_hns
from kvspic.types import StreamOptions, Track

__all__: list[str] = []

RUNS = 60
STREAMS = 64
HOUR_HNS = 3600 * 10_000_000
TRACK = Track("V_TEST", "video/x-test")
CLIENT_ORDERS = range(ActionKind.GET_CREDENTIALS, ActionKind.DESCRIBE_STREAM)
STREAM_ORDERS = range(ActionKind.DESCRIBE_STREAM, ActionKind.DATA)


class Service:
    """Answers what a client asks; keeps each stream's upload handle."""

    def __init__(self, stream_count: int) -> None:
        self.now_hns = host_now_hns()
        self.client = Client(self.now_hns)
        self.uploads: dict[int, int] = {}
        self.streams: dict[int, Stream] = {}
        self.reader = UploadReader()
        self.settle()
        for user in range(1, stream_count + 1):
            setup = StreamSetup(f"camera-{user}", [TRACK], StreamOptions(), user)
            self.streams[user] = self.client.open_stream(setup, self.now_hns)
        self.settle()

    def settle(self) -> None:
        while actions := self.client.next_actions():
            for action in actions:
                self._act(action)

    def put(self, number: int) -> None:
        """The same frame into every stream."""
        pts = self.now_hns + number * 333_333
        for stream in self.streams.values():
            stream.put_frame(b"frame", pts, pts, 0, 1, int(number % 30 == 0), self.now_hns)

    def read(self) -> None:
        """All that there is, so that the next frame is news again."""
        for user, upload in self.uploads.items():
            reader = self.reader
            self.streams[user].read_chunk(upload, reader.c_memory, reader.size, reader.c_chunk, self.now_hns)

    def _act(self, action: Action) -> None:
        if action.kind in CLIENT_ORDERS:
            self.client.answer(action.request, self.now_hns)
        elif action.kind in STREAM_ORDERS:
            fields = {"status": 1, "retention_hns": HOUR_HNS} if action.kind == ActionKind.DESCRIBE_STREAM else {}
            if action.kind == ActionKind.PUT_MEDIA:
                self.uploads[action.user] = action.upload
            self.streams[action.user].answer(action.request, self.now_hns, **fields)


def drain_ns(stream_count: int) -> float:
    """Nanoseconds of ``next_actions`` for each action, when that many streams have one."""
    service = Service(stream_count)
    service.put(0)
    service.settle()
    service.read()
    best = float("inf")
    for run in range(1, RUNS):
        service.put(run)
        begin = time.perf_counter_ns()
        actions = service.client.next_actions()
        best = min(best, (time.perf_counter_ns() - begin) / len(actions))
        service.settle()
        service.read()
    return best


def empty_ns() -> float:
    """Nanoseconds of a ``next_actions`` that finds nothing."""
    service = Service(1)
    next_actions, best = service.client.next_actions, float("inf")
    for _ in range(RUNS):
        begin = time.perf_counter_ns()
        for _ in range(100):
            next_actions()
        best = min(best, (time.perf_counter_ns() - begin) / 100)
    return best


def main() -> None:
    say("drain of one action, Python", drain_ns(1), "ns")
    say(f"drain of {STREAMS} actions, each, Python", drain_ns(STREAMS), "ns")
    say("drain that finds nothing, Python", empty_ns(), "ns")


if __name__ == "__main__":
    main()
