"""One agent as its controller sees it: the call, the machine, the clock, the messages that wait for it. Pure.

The controller (``controller_core.py``) decides what is said; a peer knows whether the agent can be reached and whether
it lives.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from kvspic.bench.clock import ROUND_TRIPS, ClockEstimate, Moment
from kvspic.bench.controller_fsm import FINAL, TRACKER, way
from kvspic.bench.proto import PROTOCOL, ControlMessage, LiveStats
from kvspic.bench.record import AgentRecord
from kvspic.statechart import create_state_machine

__all__ = ["Peer"]

PING_NS = 2_000_000_000
RETRY_NS = 1_000_000_000
BACKOFF_MAX = 8
LIVE = ("ready", "preparing", "running")

logger = logging.getLogger("kvspic.bench")


class Peer:
    """See the module's docstring.

    Args:
        index: its place among the agents, from 0.
        record: its part of the result; kept up to date here.
        on_state: called after each change of state.
        spoke: gets the peer when a message is queued.

    Attributes:
        call: the call that is open, or is being opened; None while there is none.
        answered: whether a message came on this call.
        was_ready: whether the agent knows the run, so that a new call begins with SYNC_STATE.
        is_ready, at_barrier: what the last message said.
        start_call, release_call: the call on which START, RELEASE_BARRIER was sent last.
        abort_ns: when it was asked to end; 0: it was not.
    """

    def __init__(self, index: int, record: AgentRecord, on_state: Callable[[Peer], None], spoke: set[Peer]) -> None:
        self.index, self.record, self._on_state, self._spoke = index, record, on_state, spoke
        self._machine = create_state_machine(TRACKER)
        self.clock = ClockEstimate()
        self.out: deque[ControlMessage] = deque()
        self.call: int | None = None
        self.answered = self.was_ready = self.is_ready = self.at_barrier = self.is_leaving = False
        self.is_unreachable = self.had_second_chance = False
        self.call_ns = self.heard_ns = self.stats_ns = self.progress_ns = self.abort_ns = self.final_ns = 0
        self.retry_ns = 0
        self.tries = self._backoff = self.seen = self.unanswered = 0
        self.start_call = self.release_call = -1
        self._sequence = self._ping_sequence = 0
        self._progress = (0, 0, False)
        self._ping_sent_ns = self._next_ping_ns = 0
        self._awake = "connecting"

    @property
    def state(self) -> str:
        """A state of the controller's machine."""
        return self._machine.control

    @property
    def standing(self) -> tuple[object, ...]:
        """What the run's next step may depend on."""
        return self.state, self.answered, self.is_ready, self.at_barrier, self.clock.count, self.had_second_chance

    @property
    def is_final(self) -> bool:
        """Whether nothing more can come of this agent."""
        return self.state in FINAL

    def step(self, event: str) -> bool:
        """Take an event; False, logged, when the state does not have it."""
        if self.state in LIVE:
            self._awake = self.state
        if self._machine.send({event: None}) is None:
            logger.warning("refused: %s in the state %s (agent %s)", event, self.state, self.record.id)
            return False
        self.record.state = self.state
        self._on_state(self)
        return True

    def fail(self, event: str, text: str) -> None:
        """Take an event that leads to failed, which ``text`` explains."""
        self.record.error = self.record.error or text
        self.step(event)

    def says(self, event: str) -> None:
        """A message said ``event``: take the shortest way there; what is known already is no event."""
        for between in way(self.state, event) or ():
            self.step(between)

    # The call.

    def opens(self, call: int, now: Moment) -> None:
        """A call is being opened; what waited for the old one is void."""
        self.call, self.call_ns, self.answered, self.is_leaving = call, now.mono_ns, False, False
        self.out.clear()
        self._sequence = self.unanswered = self._ping_sequence = 0

    def lost_call(self, now: Moment) -> None:
        """The call has ended; another one is tried after 1, 2, 4, 8, 8, ... seconds."""
        self.call = None
        self._backoff = 1 if self.answered else min(max(1, self._backoff * 2), BACKOFF_MAX)
        self.retry_ns = now.mono_ns + self._backoff * RETRY_NS

    def say(self, command: ControlMessage.Command, **fields: Any) -> None:
        """Queue a message for the call that is open."""
        self.out.append(ControlMessage(command=command, agent_id=self.record.id, protocol=PROTOCOL, **fields))
        self._spoke.add(self)

    def take(self, now: Moment) -> ControlMessage | None:
        """Return the next message to send now; None when there is nothing."""
        if not self.out:
            return None
        message = self.out.popleft()
        self._sequence += 1
        message.sequence, message.sent_ns = self._sequence, now.mono_ns
        if message.command == ControlMessage.PING:
            self._ping_sequence, self._ping_sent_ns = self._sequence, now.mono_ns
        return message

    # Signs of life.

    def heard(self, now: Moment) -> None:
        """Any message came."""
        self.heard_ns = now.mono_ns
        if not self.answered:
            self.answered, self.tries = True, 0
            self._next_ping_ns = self.stats_ns = self.progress_ns = now.mono_ns

    def ping_if_due(self, run_id: str, now: Moment) -> None:
        """Ask for a sign of life every 2 s from the first message on; at most one question waits."""
        if not self.answered or self.call is None or self.is_leaving or now.mono_ns < self._next_ping_ns:
            return
        if self._ping_sequence or self._waiting_ping():
            self.unanswered += 1
        if not self._waiting_ping():
            self.say(ControlMessage.PING, run_id=run_id)
        self._ping_sequence, self._next_ping_ns = 0, now.mono_ns + PING_NS

    def _waiting_ping(self) -> bool:
        return any(message.command == ControlMessage.PING for message in self.out)

    def ponged(self, message: LiveStats, now: Moment) -> None:
        """An answer to a PING: a round trip of the clock, and a sign of life, which ends a stall too."""
        self.unanswered = 0
        if self.state == "stalled":
            self.says(f"says_{self._awake}")
        if message.echo_sequence != self._ping_sequence:
            return  # the answer to an older question, or a second one
        self._ping_sequence = 0
        self.clock.add(message.echo_sent_ns, message.received_ns, now.mono_ns)
        best = self.clock.best
        self.record.offset_ns = best.offset_ns - (now.wall_ns - now.mono_ns)
        self.record.bound_ns, self.record.rtt_ns = best.bound_ns, best.rtt_ns
        if self.clock.count < ROUND_TRIPS and self.is_ready:
            self._next_ping_ns = now.mono_ns

    def is_new(self, message: LiveStats, now: Moment) -> bool:
        """Whether a message with a sequence was not seen yet; what is missing before it is counted."""
        if message.sequence <= self.seen:
            return False
        self.record.gaps += message.sequence - self.seen - 1
        self.seen, self.stats_ns = message.sequence, now.mono_ns
        progress = (message.current_stage, message.prepare_objects_created, message.at_barrier)
        if progress != self._progress:
            self._progress, self.progress_ns = progress, now.mono_ns
        return True

    def agent_time(self, mono_ns: int) -> int:
        """The agent's wall clock at a moment of the controller's monotonic clock."""
        return mono_ns + self.clock.best.offset_ns

    def controller_time(self, wall_ns: int, now: Moment) -> int:
        """The controller's wall clock at a moment of the agent's."""
        return wall_ns - self.clock.best.offset_ns + (now.wall_ns - now.mono_ns)

    @property
    def next_ping_ns(self) -> int:
        """When the next PING is due, monotonic."""
        return self._next_ping_ns
