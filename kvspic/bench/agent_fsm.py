"""The life of an agent: five states, as a definition for ``kvspic.statechart``. Pure.

::

    idle --valid--> ready --start_reached--> running --finished--> idle
      |               |                       |   |
      invalid         start_refused, error    |   abort, silent --> aborting --clean--> idle
      v               v                       v
    failed <----------+-----------------------+ error               failed --> idle, by itself

``idle`` takes a plan. In ``ready`` the plan is good and the start is waited for; nothing was opened, so an abort leads
to ``idle`` at once. In ``running`` the streams are prepared, warmed up, measured, drained. ``aborting`` ends when the
load is clean, or after 15 s by force. ``failed`` is left in the same step, with the order to send ERROR. A cell that is
not in the table is refused: nothing moves. An output is an order to the caller that owns the machine.
"""

from __future__ import annotations

from kvspic.statechart import Branch, Definition, Row, out

__all__ = ["AGENT", "TABLE"]

TABLE = {
    ("idle", "valid"): ("ready", "send READY"),
    ("idle", "invalid"): ("failed", ""),
    ("ready", "start_reached"): ("running", "prepare load"),
    ("ready", "start_refused"): ("failed", ""),
    ("ready", "error"): ("failed", ""),
    ("ready", "abort"): ("idle", "send ABORTED"),
    ("ready", "silent"): ("idle", "send ABORTED"),
    ("running", "finished"): ("idle", "send COMPLETED"),
    ("running", "error"): ("failed", "kill load"),
    ("running", "abort"): ("aborting", "stop load"),
    ("running", "silent"): ("aborting", "stop load"),
    ("aborting", "clean"): ("idle", "send ABORTED"),
}
"""(state, event) -> (next state, order); the way out of ``failed`` has no event."""

_STATES = ("idle", "ready", "running", "aborting", "failed")
_EVENTS = (
    "valid", "invalid", "start_reached", "start_refused", "finished", "error", "abort", "silent", "clean",
)  # fmt: skip

AGENT: Definition[dict[str, str]] = Definition(
    states=dict.fromkeys(_STATES, ""),
    events=_EVENTS,
    rows=[
        *(
            Row(state, event, Branch(target, action=out(order) if order else None))
            for (state, event), (target, order) in TABLE.items()
        ),
        Row("failed", None, Branch("idle", action=out("send ERROR"))),
    ],
    initial="idle",
    data={},
    name="bench agent",
)
