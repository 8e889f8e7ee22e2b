"""A controller without its network and clock: messages and moments in, messages and the next deadline out. Pure.

The shell (``controller.py``, and the simulation of the tests) opens and closes calls as ``orders`` say, reports what
becomes of them, sends what ``take`` gives, and calls ``tick`` at ``deadline``, until ``is_over``. A call has a number
that is never used again.

All agents validate the plan; eight round trips measure each clock; one START for all; each prepares and warms up and
waits at the barrier; one RELEASE_BARRIER for all, and measuring begins. More failed agents than the plan tolerates end
the run for the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from kvspic.bench import schedule
from kvspic.bench.clock import ROUND_TRIPS, ClockEstimate, Moment
from kvspic.bench.peer import LIVE, Peer
from kvspic.bench.proto import ControlMessage, LiveStats
from kvspic.bench.record import Observer, RunRecord
from kvspic.bench.wire import unpack
from kvspic.bench.workload import Plan

__all__ = ["CallOrder", "ControllerCore"]

CONNECT_NS = 5_000_000_000
TRIES = 3
READY_NS = 120_000_000_000
PROGRESS_NS = 120_000_000_000
ABORT_NS = 20_000_000_000
SUMMARY_S = 60
LEAVE_NS = 5_000_000_000
S = 1_000_000_000

FAILED, UNREACHABLE, NOT_COMPARABLE = 1, 4, 7
_CRITICAL = (LiveStats.READY, LiveStats.ERROR, LiveStats.COMPLETED, LiveStats.ABORTED)
_SAYS = {
    LiveStats.READY: "says_ready",
    LiveStats.COMPLETED: "says_completed",
    LiveStats.ABORTED: "says_aborted",
    LiveStats.ERROR: "says_error",
}


class CallOrder(NamedTuple):
    """Open ("open") or end ("close") call ``number`` to the agent at ``address``."""

    what: str
    address: str
    number: int


class ControllerCore:
    """See the module's docstring.

    Args:
        record: the run, with its agents; kept up to date.
        plan: the plan of ``record.plan_yaml``.
        observer: looks on; every call of it is quick.
        prefix: the beginning of the names of streams.
    """

    def __init__(self, record: RunRecord, plan: Plan, observer: Observer, prefix: str, now: Moment) -> None:
        self.record, self._plan, self._observer, self._prefix = record, plan, observer, prefix
        self._began, self._now = now, now
        self._spoke: set[Peer] = set()
        self._peers = [Peer(index, agent, self._changed, self._spoke) for index, agent in enumerate(record.agents)]
        self._by_call: dict[int, Peer] = {}
        self._last_call = 0
        self._start_ns = self._release_ns = self._over_ns = 0
        self._abort_reason = ""
        self._code = 0
        self.orders: deque[CallOrder] = deque()
        for peer in self._peers:
            self._open(peer)

    @property
    def is_over(self) -> bool:
        """Whether every agent has ended and every call is closed; the record is complete then."""
        return all(peer.is_final and peer.call is None for peer in self._peers)

    @property
    def is_aborting(self) -> bool:
        """Whether the run is being ended before its time."""
        return bool(self._abort_reason)

    # Calls.

    def _open(self, peer: Peer) -> None:
        self._last_call += 1
        call = self._last_call
        peer.opens(call, self._now)
        self._by_call[call] = peer
        self.orders.append(CallOrder("open", peer.record.address, call))
        if peer.was_ready:
            peer.say(ControlMessage.SYNC_STATE, run_id=self.record.run_id, ack_sequence=peer.seen)
            if peer.abort_ns:
                peer.say(ControlMessage.ABORT, run_id=self.record.run_id, reason=self._abort_reason)
        else:
            self._offer(peer)

    def _offer(self, peer: Peer) -> None:
        peer.say(
            ControlMessage.START,
            run_id=self.record.run_id,
            config_yaml=self.record.plan_yaml,
            path_prefix=self._prefix,
            shared_storage=self._plan.is_shared,
            agent_index=peer.index,
            num_agents=len(self._peers),
        )

    def _close(self, peer: Peer, why: str) -> None:
        call = peer.call
        if call is not None:
            self.orders.append(CallOrder("close", peer.record.address, call))
            self._lost(call, why)

    def closed(self, call: int, why: str, now: Moment) -> None:
        """A call ended or could not be opened; ``why`` is for words."""
        self._now = now
        self._lost(call, why)
        self._advance()

    def _lost(self, call: int, why: str) -> None:
        peer = self._by_call.pop(call, None)
        if peer is None or peer.call != call:
            return
        peer.lost_call(self._now)
        if peer.is_final:
            return
        self._note(f"{peer.record.id}: the call ended ({why})")
        if peer.state == "connecting":
            peer.tries += 1
            if peer.tries >= TRIES:
                peer.is_unreachable = True
                text = f"It cannot be reached at {peer.record.address} ({why}), {TRIES} times tried"
                peer.fail("spent", f"{text}: {_remedy(why)}.")
                return
        if peer.state != "disconnected" and not (peer.state == "aborting" and not peer.was_ready):
            peer.step("closed")
        if peer.abort_ns:
            self._abort_without_call(peer)

    # Messages.

    def received(self, call: int, message: LiveStats, now: Moment) -> None:
        """A message came on a call."""
        self._now = now
        peer = self._by_call.get(call)
        if peer is None or peer.call != call or message.run_id != self.record.run_id:
            return
        before = peer.standing
        if not peer.answered and peer.was_ready:
            peer.record.reconnects += 1
            self._note(f"{peer.record.id}: back, after {(now.mono_ns - peer.heard_ns) / S:.1f} s")
        peer.heard(now)
        if peer.state == "connecting":
            peer.step("message")
        if message.echo_sequence and not message.sequence:
            peer.ponged(message, now)
        elif not message.sequence or peer.is_new(message, now):
            self._figures(peer, message)
            self._content(peer, message)
        if message.sequence and (message.status in _CRITICAL or message.at_barrier):
            peer.say(ControlMessage.ACKNOWLEDGE, run_id=self.record.run_id, ack_sequence=message.sequence)
        if not peer.is_final:
            peer.ping_if_due(self.record.run_id, now)  # the round trips of the clock follow each other
        if peer.standing != before:  # most messages are figures, and the others need not be looked at for them
            self._advance()

    def _figures(self, peer: Peer, message: LiveStats) -> None:
        if not message.sequence:
            return
        record = peer.record
        if not record.started_ns and message.started_ns and message.current_stage in (2, 12, 3):
            record.started_ns = peer.controller_time(message.started_ns, self._now)
        record.last = message
        if message.final_summary:
            try:
                record.summary = unpack(message.final_summary)
            except ValueError as error:
                self._note(f"{record.id}: its summary cannot be read: {error}")
        self._observer.stats(record, self._at_s(), message)

    def _content(self, peer: Peer, message: LiveStats) -> None:
        status = message.status
        if status == LiveStats.RUNNING:
            peer.was_ready = True
            peer.says("says_preparing" if message.in_prepare_phase else "says_running")
            peer.at_barrier = message.at_barrier
        elif status == LiveStats.READY:
            peer.was_ready = True
            if not peer.is_ready:
                peer.is_ready = True
                peer.start_call = -1
            peer.says("says_ready")
        elif status == LiveStats.ERROR and self._second_chance(peer, message):
            self._offer(peer)
        elif status in _SAYS:
            peer.record.error = peer.record.error or message.error_message
            peer.says(_SAYS[status])

    def _second_chance(self, peer: Peer, message: LiveStats) -> bool:
        """A start that could not be kept is tried once more: the clock is measured again, and the time is a new one."""
        is_late = message.error_message.startswith(schedule.REFUSED) and peer.state in ("validating", "ready")
        if not is_late or peer.had_second_chance or self.is_aborting:
            return False
        self._note(f"{peer.record.id}: {message.error_message} It is given another start.")
        peer.had_second_chance, peer.is_ready = True, False
        peer.clock = ClockEstimate()
        return True

    # Time.

    def tick(self, now: Moment) -> None:
        """Time has passed: do what is due."""
        self._now = now
        for peer in self._peers:
            if peer.is_final:
                self._leave(peer)
            else:
                self._tick(peer)
                peer.ping_if_due(self.record.run_id, now)
        self._advance()

    def _tick(self, peer: Peer) -> None:
        now_ns, state = self._now.mono_ns, peer.state
        if peer.call is not None and not peer.answered and now_ns >= peer.call_ns + CONNECT_NS:
            self._close(peer, f"no answer within {CONNECT_NS // S} s")
        elif peer.abort_ns and now_ns >= peer.abort_ns + ABORT_NS:
            event = "too_late" if state == "aborting" else "dead"
            peer.fail(event, f"It did not say within {ABORT_NS // S} s that it has ended.")
        elif state in (*LIVE, "stalled", "disconnected") and self._is_dead(peer):
            if state in LIVE:
                peer.step("silent")
            silent_s = self._plan.dead_s if peer.was_ready else READY_NS // S
            peer.fail("dead", f"Nothing was heard of it for {silent_s:g} s.")
        elif peer.call is None and now_ns >= peer.retry_ns:
            if state == "disconnected" and not peer.was_ready:
                peer.step("reconnect")
            self._open(peer)
        elif state == "validating" and now_ns >= self._began.mono_ns + READY_NS:
            self._give_up(peer, "too_late", f"It was not ready within {READY_NS // S} s.")
        elif state in LIVE:
            self._tick_live(peer)

    def _is_dead(self, peer: Peer) -> bool:
        if not peer.was_ready:
            return self._now.mono_ns >= self._began.mono_ns + READY_NS
        return self._now.mono_ns >= peer.heard_ns + int(self._plan.dead_s * S)

    def _tick_live(self, peer: Peer) -> None:
        now_ns = self._now.mono_ns
        if now_ns >= peer.stats_ns + int(self._plan.stall_s * S) and peer.unanswered >= 2:
            peer.step("silent")
        elif self._start_ns and not peer.at_barrier and not self._release_ns and self._is_stuck(peer):
            self._abort_peer(peer, "timeout", f"It made no progress for {PROGRESS_NS // S} s before it was measured.")
        elif self._release_ns and now_ns >= self._end_limit():
            self._abort_peer(peer, "timeout", f"Its summary did not come within {SUMMARY_S} s after its time to drain.")

    def _is_stuck(self, peer: Peer) -> bool:
        """Whether it says for two minutes, the warm-up aside, that nothing changes; silence says nothing."""
        return peer.stats_ns >= max(peer.progress_ns, self._start_ns) + PROGRESS_NS + int(self._plan.warmup_s * S)

    def _end_limit(self) -> int:
        return self._release_ns + int((self._plan.duration_s + self._plan.drain_s + SUMMARY_S) * S)

    def _leave(self, peer: Peer) -> None:
        """Say goodbye to an agent that has ended, and close its call."""
        if peer.call is None:
            return
        if not peer.is_leaving:
            peer.is_leaving = True
            peer.say(ControlMessage.GOODBYE, run_id=self.record.run_id)
        elif self._now.mono_ns >= peer.final_ns + LEAVE_NS:
            self._close(peer, "the run is over")

    # The run.

    def _advance(self) -> None:
        failed = [peer for peer in self._peers if peer.state == "failed"]
        if len(failed) > self._plan.tolerate and not self.is_aborting:
            worst = next((peer for peer in failed if peer.is_unreachable), failed[0])
            code = UNREACHABLE if worst.is_unreachable else FAILED
            self._abort_all("failed", f"{worst.record.id}: {worst.record.error}", code)
        active = [peer for peer in self._peers if not peer.is_final]
        if active and not self.is_aborting:
            self._go_on(active)
        for peer in self._peers:
            if peer.is_final:
                self._leave(peer)
        if not active and not self._over_ns:
            self._finish()

    def _go_on(self, active: list[Peer]) -> None:
        if not self._start_ns and all(self._is_timed(peer) for peer in active):
            self._start_ns = self._instant(active, self._plan.start_delay_s)
            self._note(f"all {len(active)} agents are ready; the start is in {self._until(self._start_ns):.1f} s")
        if self._start_ns and not self._release_ns and all(peer.at_barrier for peer in active):
            self._release_ns = self._instant(active)
            self._note(f"all {len(active)} agents are warm; measuring begins in {self._until(self._release_ns):.1f} s")
        for peer in active:
            self._send_times(peer)

    def _is_timed(self, peer: Peer) -> bool:
        return peer.is_ready and peer.state == "ready" and peer.clock.count == ROUND_TRIPS and peer.call is not None

    def _instant(self, active: list[Peer], delay_s: float = 0.0) -> int:
        return schedule.instant(self._now.mono_ns, (peer.clock.best.rtt_ns for peer in active), delay_s)

    def _until(self, moment_ns: int) -> float:
        return (moment_ns - self._now.mono_ns) / S

    def _send_times(self, peer: Peer) -> None:
        """START and RELEASE_BARRIER, once a call, to an agent that waits for them."""
        if peer.call is None or not peer.answered:
            return
        if self._start_ns and self._is_timed(peer) and peer.start_call != peer.call:
            start_ns = self._instant([peer]) if peer.had_second_chance else self._start_ns
            peer.start_call = peer.call
            self._send_time(peer, ControlMessage.START, start_ns)
        elif self._release_ns and peer.at_barrier and peer.release_call != peer.call:
            peer.release_call = peer.call
            self._send_time(peer, ControlMessage.RELEASE_BARRIER, self._release_ns)

    def _send_time(self, peer: Peer, command: ControlMessage.Command, moment_ns: int) -> None:
        peer.say(command, run_id=self.record.run_id, start_timestamp_ns=peer.agent_time(moment_ns))

    def abort(self, reason: str, text: str, code: int, now: Moment) -> None:
        """End the run before its time; ``reason`` is for the agents, ``text`` for people, ``code`` the exit code."""
        self._now = now
        if not self.is_aborting and not self._over_ns:
            self._abort_all(reason, text, code)
        self._advance()

    def _abort_all(self, reason: str, text: str, code: int) -> None:
        self._abort_reason, self._code, self.record.reason = reason, code, text
        self._note(f"the run is ended: {text}")
        for peer in self._peers:
            self._abort_peer(peer, reason, "Ended with the run.")

    def _abort_peer(self, peer: Peer, reason: str, text: str) -> None:
        if peer.is_final or peer.abort_ns:
            return
        peer.abort_ns = self._now.mono_ns
        peer.record.error = peer.record.error or text
        peer.step("abort")
        if peer.call is not None and (peer.answered or peer.was_ready):
            peer.say(ControlMessage.ABORT, run_id=self.record.run_id, reason=reason)
        elif not peer.was_ready:
            self._close(peer, "the run is ended")
            self._abort_without_call(peer)

    def _abort_without_call(self, peer: Peer) -> None:
        """An agent that never took the run has nothing to end; another one is asked on a new call."""
        if peer.is_final:
            return
        if peer.state == "disconnected":
            peer.step("abort")
        if not peer.was_ready and peer.state == "aborting":
            peer.fail("too_late", "Ended with the run.")

    def _give_up(self, peer: Peer, event: str, text: str) -> None:
        peer.fail(event, text)
        self._leave(peer)

    def _finish(self) -> None:
        self._over_ns = self._now.mono_ns
        record = self.record
        record.wall_s = self._at_s()
        record.start_spread_us = schedule.spread_us(agent.started_ns for agent in record.agents)
        is_wide = record.start_spread_us is not None and record.start_spread_us > self._plan.spread_max_ms * 1000
        record.is_comparable = not is_wide
        lost = [agent for agent in record.agents if agent.state == "failed"]
        if self._code or (lost and len(lost) > self._plan.tolerate):
            record.exit_code = self._code or FAILED
        elif is_wide:
            text = f"The agents began within {record.start_spread_us / 1000:.1f} ms"  # type: ignore[operator]
            record.reason = f"{text}, {self._plan.spread_max_ms:g} ms at most: the run is not comparable."
            record.exit_code = NOT_COMPARABLE
        elif lost:
            record.reason = f"{len(lost)} of {len(record.agents)} agents failed, which the plan tolerates."

    # Going out.

    def take(self, call: int, now: Moment) -> ControlMessage | None:
        """Return the next message for ``call``, to be sent now; None when there is nothing."""
        peer = self._by_call.get(call)
        return peer.take(now) if peer is not None and peer.call == call else None

    def take_writable(self) -> set[int]:
        """Return the calls for which ``take`` may have something since this was asked last."""
        writable = {peer.call for peer in self._spoke if peer.call is not None}
        self._spoke.clear()
        return writable

    def deadline(self, now: Moment, call: int | None = None) -> int | None:
        """When ``tick`` is due after ``now``, at which it was called, monotonic nanoseconds; of all, or of one call."""
        peers = self._peers if call is None else [self._by_call[call]] if call in self._by_call else []
        due_ns = (due_ns for peer in peers for due_ns in self._deadlines_of(peer))
        return min((one for one in due_ns if one > now.mono_ns), default=None)

    def _deadlines_of(self, peer: Peer) -> Iterator[int]:
        if peer.is_final:
            if peer.call is not None:
                yield peer.final_ns + LEAVE_NS
            return
        if peer.abort_ns:
            yield peer.abort_ns + ABORT_NS
        if peer.call is None:
            yield peer.retry_ns
        elif not peer.answered:
            yield peer.call_ns + CONNECT_NS
        else:
            yield peer.next_ping_ns
            yield peer.stats_ns + int(self._plan.stall_s * S)
        if peer.heard_ns:
            yield peer.heard_ns + int(self._plan.dead_s * S)
        yield self._began.mono_ns + READY_NS
        if self._release_ns:
            yield self._end_limit()

    # Words.

    def _at_s(self) -> float:
        return (self._now.mono_ns - self._began.mono_ns) / S

    def _changed(self, peer: Peer) -> None:
        at_s = self._at_s()
        peer.record.states.append((round(at_s, 3), peer.state))
        if peer.is_final:
            peer.final_ns = self._now.mono_ns
        self._observer.agent_changed(peer.record, at_s)

    def _note(self, text: str) -> None:
        at_s = self._at_s()
        self.record.notes.append(f"{at_s:.3f} {text}")
        self._observer.note(at_s, text)


def _remedy(why: str) -> str:
    """What may help against a call that ended so."""
    if why.startswith("UNAUTHENTICATED"):
        return "give the agent's token by --token-file"
    if any(words in why for words in ("handshake", "erification", "Socket closed")):
        return "see that --tls-ca, --tls-cert, --tls-key and --server-name fit what the agent was started with"
    return "see that `kvspic bench agent` runs there"
