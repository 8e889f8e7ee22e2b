"""Actions and events. Goal: numbers are those of the C header, and each notice becomes the event that tells it."""

import re
from pathlib import Path

import pytest

from kvspic import actions
from kvspic.actions import Action, ActionKind
from kvspic.types import DropReason, StreamState

HEADER = (Path(__file__).parents[2] / "csrc" / "include" / "kvspic.h").read_text(encoding="utf-8")
ORDERS_AND_DATA = {kind for kind in ActionKind if kind <= ActionKind.UPLOAD_END}
SILENT = {ActionKind.CLIENT_READY, ActionKind.CLIENT_FAILED, ActionKind.FAILED}


def action(kind: ActionKind, **fields) -> Action:
    blank = Action(kind, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, b"\0" * 8)
    return blank._replace(**fields)


def numbers(prefix: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(rf"\bKVS_{prefix}_(\w+) = (\d+)", HEADER)}


@pytest.mark.parametrize(
    ("prefix", "ours"),
    [("ACTION", ActionKind), ("ACK", actions.AckType), ("PRESSURE", actions.PressureKind), ("DROP", DropReason)],
)
def test_numbers_are_those_of_the_header(prefix, ours):
    found = numbers(prefix)
    found.pop("COUNT", None)
    assert found == {member.name: member.value for member in ours if member < 100}  # the rest is the spool's


def test_stream_states_are_those_of_the_header():
    names = re.search(r"enum kvs_stream_state \{(.*?)\}", HEADER, re.DOTALL)[1]
    found = re.findall(r"KVS_STREAM_(\w+)", names)
    assert found == [state.name for state in StreamState] + ["STATE_COUNT"]


@pytest.mark.parametrize("kind", [kind for kind in ActionKind if kind not in ORDERS_AND_DATA | SILENT])
def test_each_notice_is_an_event_of_its_stream(kind):
    event = actions.event_of(action(kind), "door")
    assert event is not None
    assert event.stream == "door"


@pytest.mark.parametrize("kind", sorted(ORDERS_AND_DATA | SILENT))
def test_orders_are_not_told_to_users(kind):
    assert actions.event_of(action(kind), "door") is None


def test_an_ack_has_times_in_nanoseconds():
    notice = action(ActionKind.ACK, upload=3, result=3, a=5000, b=7, c=9, raw_text=b"913\0junk")
    expected = actions.AckReceived("door", 3, actions.AckType.PERSISTED, 5000, 700, "913", 900)
    assert actions.event_of(notice, "door") == expected


def test_an_ack_of_unknown_age_has_no_latency():
    notice = action(ActionKind.ACK, result=3, c=2**64 - 1)
    assert actions.event_of(notice, "door").latency_ns is None


def test_an_ack_of_what_is_not_held_has_neither_time_nor_latency():
    notice = action(ActionKind.ACK, result=5, a=2**64 - 1, b=2**64 - 1, c=2**64 - 1)
    found = actions.event_of(notice, "door")
    assert (found.timecode_ms, found.pts_ns, found.latency_ns) == (None, None, None)
    refused = actions.event_of(action(ActionKind.ERROR_ACK, result=4006, a=2**64 - 1, b=2**64 - 1), "door")
    assert (refused.timecode_ms, refused.pts_ns) == (None, None)


def test_dropped_frames_have_their_reason():
    notice = action(ActionKind.DROPPED, result=1, a=5, b=30, c=4000)
    assert actions.event_of(notice, "door") == actions.FramesDropped("door", DropReason.BUFFER_DURATION, 500, 30, 4000)
