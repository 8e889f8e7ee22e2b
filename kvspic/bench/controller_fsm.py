"""What the controller knows of one agent: ten states, as a definition for ``kvspic.statechart``. Pure.

The agent has five states; the controller also sees the network between them. ``stalled``: no statistics and no answers,
while the call is open; any message wakes it, and what it says decides. ``disconnected``: the call closed; another one
is tried. ``completed`` and ``failed`` are final: nothing that comes later changes them. A cell that is not in the table
is refused. ``way`` finds the steps to what a message says, since a message between may have been lost with its call.
"""

from __future__ import annotations

from collections import deque

from kvspic.statechart import Definition, Row

__all__ = ["FINAL", "TRACKER", "way"]

FINAL = ("completed", "failed")

_TABLE: dict[str, dict[str, str]] = {
    "connecting": {"message": "validating", "closed": "disconnected", "spent": "failed", "abort": "aborting"},
    "validating": {
        "says_ready": "ready", "says_error": "failed", "too_late": "failed", "closed": "disconnected",
        "abort": "aborting",
    },
    "ready": {
        "says_preparing": "preparing", "says_running": "running", "says_error": "failed", "silent": "stalled",
        "abort": "aborting", "closed": "disconnected",
    },
    "preparing": {
        "says_running": "running", "says_error": "failed", "silent": "stalled", "abort": "aborting",
        "closed": "disconnected",
    },
    "running": {
        "says_completed": "completed", "says_error": "failed", "silent": "stalled", "abort": "aborting",
        "closed": "disconnected",
    },
    "stalled": {
        "says_ready": "ready", "says_preparing": "preparing", "says_running": "running",
        "says_completed": "completed", "says_error": "failed", "closed": "disconnected", "abort": "aborting",
        "dead": "failed",
    },
    "disconnected": {
        "reconnect": "connecting", "says_preparing": "preparing", "says_running": "running",
        "says_completed": "completed", "says_error": "failed", "dead": "failed", "abort": "aborting",
    },
    "aborting": {
        "says_completed": "completed", "says_aborted": "failed", "says_error": "failed", "closed": "disconnected",
        "too_late": "failed",
    },
    "completed": {},
    "failed": {},
}  # fmt: skip

_EVENTS = sorted({event for cells in _TABLE.values() for event in cells})

TRACKER: Definition[dict[str, str]] = Definition(
    states=dict.fromkeys(_TABLE, ""),
    events=_EVENTS,
    rows=[Row(state, event, target) for state, cells in _TABLE.items() for event, target in cells.items()],
    initial="connecting",
    data={},
    name="bench tracker",
)

_BY_MESSAGE = ("message", "reconnect", "says_ready", "says_preparing", "says_running")


def way(state: str, said: str) -> list[str] | None:
    """Return the fewest events from ``state`` on that end with ``said``; None when there is no way.

    The events before it are those that a message between would have been. ``says_aborted`` comes from an agent that
    ended by itself, so there an ``abort`` may be between too.
    """
    between = (*_BY_MESSAGE, "abort") if said == "says_aborted" else _BY_MESSAGE
    tried, queue = {state}, deque[tuple[str, list[str]]]([(state, [])])
    while queue:
        at, events = queue.popleft()
        cells = _TABLE[at]
        if said in cells:
            return [*events, said]
        for event in between:
            if event in cells and cells[event] not in tried:
                tried.add(cells[event])
                queue.append((cells[event], [*events, event]))
    return None
