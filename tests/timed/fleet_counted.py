"""A camera whose frames have numbers: what was put is written to a file before the next frame, so that a test knows it
although the worker was killed."""

import json
import os
import uuid

from kvspic.sources.base import SourceFrame, SourceTrack

__all__ = ["CountedCamera", "numbers_in"]

FPS = 10
KEY_EVERY = 5
NS_PER_FRAME = 1_000_000_000 // FPS
TRACK = SourceTrack(1, "video", "V_COUNTED", "video", None, "video/x-counted", 64, 48)


class CountedCamera:
    """A source without an end. ``ledger`` gets a line for each frame that was put."""

    tracks = (TRACK,)
    content_type = TRACK.content_type
    duration_ns = None
    start_ns = None
    notices = ()

    def __init__(self, ledger):
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._run = uuid.uuid4().hex

    def frames(self):
        number = 0
        while True:
            line = json.dumps({"run": self._run, "number": number}).encode()
            at_ns = number * NS_PER_FRAME
            yield SourceFrame(1, line, at_ns, at_ns, NS_PER_FRAME, number % KEY_EVERY == 0)
            os.write(self._ledger, line + b"\n")  # the frame was put: the next one is asked for
            number += 1

    def close(self):
        if self._ledger >= 0:
            os.close(self._ledger)
            self._ledger = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def numbers_in(lines):
    """The frames that lines of a ledger, or payloads of stored frames, are about."""
    found = [json.loads(line) for line in lines]
    return {(one["run"], one["number"]) for one in found}
