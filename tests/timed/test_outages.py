"""Outages on real sockets with TLS, all at once. Goal: no call hangs, no frame is lost, streams come back.

Each cell is one stream behind a link of its own. A cell names each public call before it makes it, and the limit that
the call promises; what runs longer is found by name. What was put is compared with the ledger and with the store of the
endpoint, and the time from the return of the link (or the fault itself) to the first byte that goes through it and to
the next persisted fragment is measured; a table is printed, and saved as JSON where KVSPIC_OUTAGES_JSON says.
"""

import contextlib
import gc
import json
import math
import os
import random
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest
from timed.killable import KillableEndpoint
from timed.link import DOMAIN, Links
from unit.provider.certificates import make_tls_pair

import kvspic
from kvspic.local.faults import PUT_MEDIA, Fault, FaultKind
from kvspic.local.quotas import Quotas
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.provider import clients, trust
from kvspic.provider.credentials import StaticCredentials
from kvspic.retry import DefaultRetryPolicy

pytestmark = pytest.mark.timed

HNS_PER_S = 10_000_000
SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS
FRAMES = 5  # of a fragment
FRAME_SIZE = 2000
PACE_S = 0.25  # between fragments
CALL_S = 2.0  # what a call that does not wait may take on a busy machine
CLOSE_S = 25.0
BYTE_MAX_S = 6.0  # the cap of the pauses, and what a busy machine may add
RECOVERY_MAX_S = 8.0  # the same, a connection, a fragment
ALL_S = 60.0
OUTAGES_S = (1, 5, 15)
# How long a frame may wait before it is read: in turn, so that each stage and each length meets another one.
MAX_DELAYS = (timedelta(milliseconds=5), timedelta(0), timedelta(milliseconds=100))
# Where the link breaks: the kind of break, and the bytes that the upload's connection has sent by then.
STAGES = {
    "name lookup": ("names", None),
    "connect": ("refused", None),
    "TLS": ("silent", 1),
    "headers": ("silent", 800),
    "first fragment": ("silent", 4_000),
    "mid fragment": ("silent", 25_000),
    "awaiting ACK": ("deaf", 25_000),
    "stopping": ("silent", None),
}
REFUSED_S = 4
ERROR_ACKS = (4000, 4001, 4005, 4008, 4500, 5000, 5001)


@dataclass
class Cell:
    """One stream and what happens to it."""

    fault: str
    kind: str = ""
    after_bytes: int | None = None
    seconds: float = 0.0
    scripted: tuple = ()
    is_stopped_in_fault: bool = False
    is_refused: bool = False  # the policy gives up, and says so
    stale_after: timedelta | None = None
    max_delay: timedelta = MAX_DELAYS[0]
    doing: str = "nothing yet"
    too_long: list = field(default_factory=list)
    persisted_at: list = field(default_factory=list)
    begin_at: float = 0.0
    byte_at: float = 0.0
    report: object = None
    error: BaseException | None = None
    is_done: bool = False
    is_given_up: bool = False  # by the policy, which an event reports
    dropped: int = 0  # frames that events reported
    put_count: int = 0

    def call(self, what, limit_s, function, *args, **options):
        """Make a public call under its limit."""
        self.doing, begin = what, time.monotonic()
        result = function(*args, **options)
        seconds = time.monotonic() - begin
        if seconds > limit_s:
            self.too_long.append(f"{what} took {seconds:.1f} s of {limit_s:g}")
        return result

    def watch(self, event):
        if isinstance(event, kvspic.FragmentPersisted):
            self.persisted_at.append(time.monotonic())
        elif isinstance(event, kvspic.StreamFailed):
            self.is_given_up = event.is_final
        elif isinstance(event, kvspic.FramesDropped):
            self.dropped += event.frames


def cells():
    """The whole matrix."""
    made = [
        Cell(f"link down, {stage}", *how, seconds=seconds, is_stopped_in_fault=stage == "stopping")
        for stage, how in STAGES.items()
        for seconds in OUTAGES_S
    ]
    for stage, (_, after_bytes) in list(STAGES.items())[2:6]:
        made.append(Cell(f"reset, {stage}", "reset", after_bytes))
    for stage in ("first fragment", "mid fragment"):
        made.append(Cell("half-open", "half", STAGES[stage][1], stale_after=timedelta(seconds=3)))
    for status, name in ((400, "InvalidArgumentException"), (403, "AccessDeniedException")):
        made.append(Cell(f"early {status}", scripted=answers(status, name, 2)))
        made.append(Cell(f"early {status}, for {REFUSED_S} s", scripted=answers(status, name, 0), is_refused=True))
        made.append(Cell(f"early {status}, later", scripted=answers(status, name, 1), after_bytes=-1))
    made.append(Cell("early 500", scripted=answers(500, "InternalFailure", 3)))
    for error_id in ERROR_ACKS:
        fault = Fault(FaultKind.ERROR_ACK, operation=PUT_MEDIA, error_id=error_id, fragment=1, count=1)
        made.append(Cell("ERROR ACK, then close", scripted=(fault,)))
    for seconds in (0.2, 1, 5):
        made.append(Cell("endpoint restarted", "restart", seconds=seconds))
    for seconds in OUTAGES_S[:2]:
        made.append(Cell("endpoint killed", "kill", seconds=seconds))
    for number, cell in enumerate(made):
        cell.max_delay = MAX_DELAYS[(number + number // 3) % 3]
    return made


def answers(status, name, count):
    end_hns = 0 if count else REFUSED_S * HNS_PER_S
    fault = {"status": status, "error_name": name, "count": count, "end_hns": end_hns}
    return (Fault(FaultKind.ANSWER, operation=PUT_MEDIA, **fault),)


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """Contexts of the endpoint, and a CA bundle that boto3 and the uploads take."""
    server, _ = make_tls_pair(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "server.pem"))
    monkeypatch.setattr(clients, "CLIENTS_MAX", 1000)  # one that is put out of the cache closes nothing
    trust._context_of.cache_clear()
    yield server
    trust._context_of.cache_clear()
    for key in [key for key in clients._clients if DOMAIN in (key[1].endpoint_url or "")]:
        clients._clients.pop(key).close()
    gc.collect()  # the warnings of sockets that urllib3 leaves to it belong here


class Run:
    """All cells at once, each in a thread."""

    def __init__(self, folder, tls, links, sessions_max):
        self.folder = folder
        self.sessions_max = sessions_max
        self.tls = tls
        self.links = links
        self.cells = cells()
        self.endpoints = {}
        self.barrier = threading.Barrier(len(self.cells))
        self.stack = contextlib.ExitStack()

    def go(self):
        """Return when all cells are done, or the time is up."""
        with self.stack:
            shared = self.endpoint("shared")
            for number, cell in enumerate(self.cells):
                self.endpoints[number] = self.own_endpoint(number, cell) or shared
            threads = [threading.Thread(target=self.guarded, args=pair, daemon=True) for pair in enumerate(self.cells)]
            begin = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(max(0.0, begin + ALL_S - time.monotonic()))
            for number, cell in enumerate(self.cells):
                if cell.is_done:
                    self.compare(number, cell)
            self.links.close()  # before the endpoints, which would wait for the goodbyes of dead connections

    def own_endpoint(self, number, cell):
        """A cell that stops the endpoint has one of its own."""
        if cell.kind == "restart":
            return self.endpoint(f"own-{number}")
        if cell.kind == "kill":
            killable = KillableEndpoint(self.folder / f"own-{number}", self.folder / "server.pem")
            return self.stack.enter_context(killable)
        return None

    def endpoint(self, name):
        # A half-open connection counts at the service until it gives it up, after 30 s; the cells are shorter.
        idle_max_hns = 5 * 10_000_000 if self.sessions_max else Settings.idle_max_hns
        settings = Settings(quotas=replace(Quotas(), sessions_max=self.sessions_max), idle_max_hns=idle_max_hns)
        options = {"ssl_context": self.tls, "settings": settings, "is_insecure": True}  # cells have names of their own
        made = LocalEndpoint.run_in_thread(self.folder / name, **options)
        return self.stack.enter_context(made)

    def guarded(self, number, cell):
        try:
            self.run_cell(number, cell)
            cell.is_done = True
        except BaseException as error:
            cell.error = error
            self.barrier.abort()

    def run_cell(self, number, cell):
        endpoint = self.endpoints[number]
        link = self.links.new(f"cell-{number}", int(endpoint.url.rpartition(":")[2]))
        producer = cell.call(
            "Producer",
            CALL_S,
            kvspic.Producer,
            region="us-east-1",
            endpoint_url=link.url,
            credentials=StaticCredentials("test", "test"),
            retry_policy=DefaultRetryPolicy(random.random, settled_s=1.0),
        )
        stream = cell.call(
            "open_stream",
            31,
            producer.open_stream,
            name(number),
            [kvspic.Track("V_TEST", "video/x-test")],
            on_event=cell.watch,
            stale_after=cell.stale_after,
            max_delay=cell.max_delay,
        )
        self.barrier.wait(30)
        if cell.after_bytes == -1 or cell.kind in ("restart", "kill") or cell.is_stopped_in_fault:
            self.put(cell, stream, 2)
            cell.call("flush", CLOSE_S, stream.flush, CLOSE_S)
        self.strike(number, cell, link)
        self.put(cell, stream, int((cell.seconds + 1.5) / PACE_S) if not cell.is_stopped_in_fault else 4)
        if cell.is_stopped_in_fault:
            self.links.arm(link, cell.kind, cell.seconds)
        elif cell.is_refused:
            self.revive(cell, stream)
        cell.call("flush", CLOSE_S, stream.flush, CLOSE_S)
        cell.report = cell.call("close of the stream", CLOSE_S, stream.close, CLOSE_S)
        cell.call("close of the producer", CALL_S, producer.close, 1)
        cell.begin_at = cell.begin_at or link.up_at or getattr(endpoint, "back_at", 0.0)
        cell.byte_at = link.byte_at
        assert cell.begin_at, "the fault never struck"

    def revive(self, cell, stream):
        """A stream that was refused before it ever worked may be left FAILED, until somebody says that it may go on."""
        time.sleep(max(0.0, cell.begin_at + REFUSED_S - time.monotonic()))
        cell.begin_at = time.monotonic()
        is_healthy = cell.call("health", CALL_S, stream.health).is_healthy
        if cell.is_given_up:
            assert not is_healthy
            cell.call("retry", CALL_S, stream.retry)

    def strike(self, number, cell, link):
        if cell.scripted:
            scripted = [fault_for(fault, name(number)) for fault in cell.scripted]
            self.endpoints[number].faults.add(*scripted)
            if cell.after_bytes == -1:  # it works already: only a new connection meets the fault
                self.links.arm(link, "reset", 0)
            cell.begin_at = time.monotonic()
        elif cell.kind == "restart":
            self.endpoints[number].faults.add(Fault(FaultKind.RESTART, delay_hns=int(cell.seconds * HNS_PER_S)))
            cell.begin_at = time.monotonic() + cell.seconds
        elif cell.kind == "kill":
            self.endpoints[number].kill(cell.seconds)
        elif not cell.is_stopped_in_fault:
            self.links.arm(link, cell.kind, cell.seconds, cell.after_bytes)

    def put(self, cell, stream, fragments):
        for _ in range(fragments):
            for _ in range(FRAMES):
                number = cell.put_count
                cell.put_count += 1
                cell.call(
                    "put_frame",
                    CALL_S,
                    stream.put_frame,
                    number.to_bytes(4, "big") * (FRAME_SIZE // 4),
                    pts=BASE_NS + number * SECOND_NS // FRAMES,
                    key_frame=number % FRAMES == 0,
                )
            time.sleep(PACE_S)

    def compare(self, number, cell):
        """The ledger, and what the endpoint has."""
        stored = self.endpoints[number].fragments(name(number))
        numbers = {int.from_bytes(block.payload[:4], "big") for fragment in stored for block in fragment.blocks}
        missing = set(range(cell.put_count)) - numbers
        report = cell.report
        allowed = FRAMES if "ERROR" in cell.fault else 0  # the refused fragment, if the error is about its content
        are_known = report.dropped[kvspic.DropReason.ERROR_ACK] == report.frames_dropped == cell.dropped <= allowed
        if not are_known or len(missing) > cell.dropped or report.frames_buffered or not report.adds_up:
            cell.too_long.append(f"{len(missing)} frames are not stored, {cell.dropped} reported; {report}")


def name(number):
    return f"cell-{number}"


def fault_for(fault, stream):
    return Fault(**{**vars(fault), "stream": stream})


def recovery_s(cell):
    """From the return of the link, or the fault, to the next persisted fragment."""
    later = [at - cell.begin_at for at in cell.persisted_at if at >= cell.begin_at]
    return min(later, default=0.0)  # none: all was persisted before the fault


def byte_s(cell):
    """From the return of the link to the first byte that went through it; 0 where the link was not the fault."""
    return max(0.0, cell.byte_at - cell.begin_at)


def rows(done):
    """Recovery by fault, in seconds."""
    for fault, group in groupby(sorted(done, key=lambda cell: cell.fault), key=lambda cell: cell.fault):
        cells = list(group)
        persisted, byte = sorted(map(recovery_s, cells)), sorted(map(byte_s, cells))
        yield {"fault": fault, "first_byte_s": byte, "persisted_s": persisted}


def table(found):
    lines = [f"{'':38}   first byte     persisted", f"{'fault':32} cells    p50    p99    p50    p99"]
    for row in found:
        fault, *found_s = row.values()
        figures = [rank(times, share) for times in found_s for share in (0.5, 0.99)]
        lines.append(f"{fault:32} {len(found_s[0]):5}" + "".join(f" {figure:6.2f}" for figure in figures))
    return "\n".join(lines)


def rank(times, share):
    return times[max(0, math.ceil(share * len(times)) - 1)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("sessions_max", [0, 1])
def test_no_outage_hangs_a_call_or_loses_a_frame(tmp_path, tls, capsys, sessions_max):
    begin = time.monotonic()
    with Links() as links:
        run = Run(tmp_path, tls, links, sessions_max)
        run.go()
    done = [cell for cell in run.cells if cell.is_done]
    with capsys.disabled():
        print(f"\nrecovery from outages, {len(done)} cells in {time.monotonic() - begin:.1f} s\n{table(rows(done))}")
    if os.environ.get("KVSPIC_OUTAGES_JSON"):
        Path(os.environ["KVSPIC_OUTAGES_JSON"]).write_text(json.dumps(list(rows(done)), indent=1), encoding="utf-8")
    hung = [f"{cell.fault} {cell.seconds:g} s: hangs in {cell.doing}" for cell in run.cells if not is_over(cell)]
    failed = [f"{cell.fault} {cell.seconds:g} s: {cell.error!r} in {cell.doing}" for cell in run.cells if cell.error]
    wrong = [f"{cell.fault} {cell.seconds:g} s: {text}" for cell in run.cells for text in cell.too_long]
    slow = [f"{cell.fault}: back after {recovery_s(cell):.1f} s" for cell in done if recovery_s(cell) > RECOVERY_MAX_S]
    slow += [f"{cell.fault}: first byte after {byte_s(cell):.1f} s" for cell in done if byte_s(cell) > BYTE_MAX_S]
    assert not hung + failed + wrong + slow, "\n".join(hung + failed + wrong + slow)


def is_over(cell):
    return cell.is_done or cell.error is not None
