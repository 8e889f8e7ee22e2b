"""Faults one at a time, against a service with its quotas. Goal: no fault costs much more than the media it is about,
and an error of the stream (its key, its archive) costs no frame.

How often a stream calls, how short its fragments are, and how much it sends is checked in each run of the simulation
(``sim_checks``)."""

import pytest
from simulation.runs import plan

from kvspic import errors
from kvspic.local.acks import AckError
from kvspic.local.faults import PUT_MEDIA, Fault, FaultKind
from kvspic.local.quotas import Beyond
from kvspic.testing import simulation
from kvspic.testing.sim_plan import Burst
from kvspic.units import HNS_PER_MS, HNS_PER_S

ALLOWED = 1_000_000
STALE_S = 30  # without an ACK for so long a connection is left, and what it sent is sent once more
BEGIN, END = 20 * HNS_PER_S, 40 * HNS_PER_S
LONG = (Burst(2 * HNS_PER_S, 92 * HNS_PER_S),)
IDS = [int(error) for error in AckError if error is not AckError.MIN_FRAGMENT_DURATION_REACHED]
OF_STREAM = [number for number in IDS if errors.refusal_of(number).about is errors.RefusalClass.STREAM]


def camera(*faults, **changes):
    """A minute and a half of a camera of 400 kbit/s, whose key frames come every 400 ms."""
    changes = {"bursts": LONG, "video_hns": 40 * HNS_PER_MS, "gop": 10, "size_low": 1000, "size_high": 9000, **changes}
    return plan(*faults, **changes)


def upload_fault(kind, **members):
    return Fault(kind, PUT_MEDIA, begin_hns=BEGIN, end_hns=END, **members)


RESTART = Fault(FaultKind.RESTART, begin_hns=BEGIN, end_hns=BEGIN + HNS_PER_S, delay_hns=HNS_PER_MS)  # a new session
FAULTS = {
    "refused": upload_fault(FaultKind.REFUSE),
    "unreachable": upload_fault(FaultKind.UNREACHABLE),
    "cut": upload_fault(FaultKind.CUT, after_bytes=100_000),
    "silent": upload_fault(FaultKind.SILENCE, after_bytes=100_000),
    "slow": upload_fault(FaultKind.THROTTLE, bytes_per_s=50_000),
    "late ACKs": upload_fault(FaultKind.DELAY_ACKS, delay_hns=3 * HNS_PER_S),
    "ACKs in another order": upload_fault(FaultKind.REORDER_ACKS),
    "503": upload_fault(FaultKind.ANSWER, status=503),
    "503 in the middle": upload_fault(FaultKind.ANSWER, status=503, after_bytes=100_000),
    "connection limit": upload_fault(FaultKind.ANSWER, status=400, error_name="ConnectionLimitExceededException"),
    "late answer": upload_fault(FaultKind.DELAY, delay_hns=3 * HNS_PER_S),
    "expired keys": Fault(FaultKind.EXPIRE_TOKENS, begin_hns=BEGIN, end_hns=BEGIN + HNS_PER_S),
    "restart": Fault(FaultKind.RESTART, begin_hns=BEGIN, end_hns=END, delay_hns=END - BEGIN),
    "stall": Fault(FaultKind.STALL, begin_hns=BEGIN, end_hns=END, delay_hns=END - BEGIN),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_twenty_seconds_costs_no_more_than_a_megabyte(fault):
    figures = simulation.run_plan(camera(RESTART, fault))
    assert figures.bytes_put > 3 * ALLOWED
    assert figures.bytes_sent <= figures.bytes_put * 11 // 10 + ALLOWED


def test_lost_acks_cost_what_went_out_until_their_silence_was_noticed():
    figures = simulation.run_plan(camera(RESTART, upload_fault(FaultKind.DROP_ACKS)))
    seconds = (LONG[0].end_hns - LONG[0].begin_hns) // HNS_PER_S
    again = figures.bytes_put * STALE_S // seconds
    assert figures.bytes_sent <= (figures.bytes_put + again) * 11 // 10 + ALLOWED // 10


@pytest.mark.parametrize("error_id", IDS)
def test_an_error_ack_again_and_again_costs_no_more_than_a_megabyte(error_id):
    fault = upload_fault(FaultKind.ERROR_ACK, error_id=error_id, fragment=error_id % 3)
    figures = simulation.run_plan(camera(RESTART, fault))
    assert figures.bytes_sent <= figures.bytes_put * 11 // 10 + ALLOWED


def test_what_the_service_leaves_out_without_a_word_is_never_called_done():
    """Key frames twice a second, each a fragment: too many, and too short."""
    changes = {"is_unpaced": True, "beyond": Beyond.DROP, "persist_hns": HNS_PER_S // 10}
    world = simulation.World(camera(**changes))
    try:
        world.run()
        account = world.lives[0].account
        assert account.metrics.frames_done == len(account.acked)
        assert len(account.stored) + sum(account.metrics.frames_dropped) >= len(account.frames)
    finally:
        world.close()


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("error_id", OF_STREAM)
def test_an_error_of_the_stream_costs_no_frame(error_id, offline):
    """The key is off for a while, or each upload is refused; all is delivered when that is over."""
    kind = FaultKind.KMS_KEY if 4500 <= error_id < 4600 else FaultKind.ERROR_ACK
    figures = run_without_loss(camera(RESTART, upload_fault(kind, error_id=error_id), offline=offline, buffer_s=0))
    assert figures.bytes_sent <= figures.bytes_put * 11 // 10 + ALLOWED


def run_without_loss(run):
    world = simulation.World(run)
    try:
        figures = world.run()
        account = world.lives[0].account
        assert sum(account.metrics.frames_dropped) == 0
        assert len(account.stored) == len(account.frames) == figures.frames
        return figures
    finally:
        world.close()
