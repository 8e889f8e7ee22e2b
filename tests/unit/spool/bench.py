"""A spool before a core of the test's making: how much it holds, and what it has settled, is for the test to say."""

import dataclasses
from types import SimpleNamespace

from kvspic import errors
from kvspic.spool.files import SpoolDir
from kvspic.spool.journal import Journal, JournalSetup
from kvspic.spool.spool import Spool, SpoolPlan
from kvspic.types import DropReason, StreamMetrics, StreamState

MIB = 1 << 20
SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS
VIDEO = {"number": 1, "codec_id": "V_TEST"}
OPEN = []  # folders of the running test
AUDIO = {"number": 2, "codec_id": "A_TEST"}


def metrics(**fields):
    names = [field.name for field in dataclasses.fields(StreamMetrics) if field.default is dataclasses.MISSING]
    blank = dict.fromkeys(names, 0) | {"state": StreamState.STREAMING, "dropped": dict.fromkeys(DropReason, 0)}
    return StreamMetrics(**(blank | {"frames_settled": (0, 0, 0)} | fields))


class Core:
    """Takes ``room`` frames more; ``done`` lets it give back the oldest ones. ``said`` is all that it was given."""

    def __init__(self, room=1 << 40):
        self.room = room
        self.said = []
        self.frames = []
        self.times = []  # pts, dts
        self.settled = [0, 0, 0]
        self.refused = ()
        self.is_ready = True

    def put_frame_now(self, data, pts_ns, dts_ns, duration_ns, track, flags):
        self.put_frame(data, pts_ns // 100, dts_ns and dts_ns // 100, duration_ns // 100, track, flags, 0)

    def put_frame(self, data, *rest):
        track = rest[3]
        if bytes(data) in self.refused:
            raise errors.named("ANNEXB_FRAME")
        if not self.room:
            raise errors.named("STORE_FULL")
        self.room -= 1
        self.frames.append((track, bytes(data)))
        self.times.append(rest[:2])
        self.said.append(bytes(data))

    def done(self, count, *, tracks=(1,)):
        """The oldest ``count`` frames of each track are settled and make room."""
        for track in tracks:
            self.settled[track - 1] += count
            self.room += count

    def end_fragment(self, now_hns):
        self.said.append("end")

    def put_metadata(self, name, value, persistent):
        if not self.is_ready:
            raise errors.named("STREAM_STATE")
        self.said.append((name, value, persistent))

    def put_event(self, types, image_prefix, pairs):
        self.said.append((types, image_prefix, list(pairs)))

    def set_cpd(self, track, cpd):
        self.said.append(("cpd", track, bytes(cpd)))

    def metrics(self):
        put, done = len(self.frames), sum(self.settled)
        size = sum(len(data) for _, data in self.frames)
        return metrics(
            frames_put=put,
            frames_done=done,
            frames_buffered=put - done,
            bytes_put=size,
            bytes_buffered=size,
            frames_settled=tuple(self.settled),
        )


class BrokenDir(SpoolDir):
    """``error`` is raised by each append for as long as it is set."""

    error = None

    def append(self, head, payload):
        if self.error is not None:
            raise self.error
        super().append(head, payload)


def setup_of(tracks=(VIDEO,), size=MIB, cpd=(b"", b"")):
    return JournalSetup(tracks, cpd[: len(tracks)], size, is_disk_durable=False, lead=0, is_sparse=False)


def open_spool(path, core=None, *, offline=False, begin=True, tags=None, **setup):
    """A spool with its core, and what the test may want to look at; ``setup`` as for :func:`setup_of`."""
    core = core or Core()
    directory = BrokenDir(path)
    OPEN.append(directory)
    made = setup_of(**setup)
    journal = Journal(directory, made)
    numbers = tuple(track["number"] for track in made.tracks)
    plan = SpoolPlan("door", numbers, tuple(made.cpd), offline, True, tags or {})
    spool = Spool(plan, journal)
    spool.attach(core, lambda: 5)
    if begin:
        spool.begin(True, {})
    return SimpleNamespace(spool=spool, core=core, directory=directory, journal=journal)


def frame(number, size=100):
    return number.to_bytes(4, "big") + bytes(size)


def numbers(core):
    return [int.from_bytes(data[:4], "big") for _, data in core.frames]


def put(spool, *which, size=100, track=1):
    """Frames by number, five to a fragment, a fifth of a second apart."""
    for number in which:
        time_ns = BASE_NS + number * SECOND_NS // 5
        spool.put_frame_now(frame(number, size), time_ns, time_ns, 0, track, int(number % 5 == 0))


def feed(spool):
    while spool.feed():
        pass


def segments(path):
    return sorted(found.name for found in path.glob("*.seg"))
