"""An agent without its network, threads and clock: messages and moments in, messages and the next deadline out. Pure.

The shell (``agent.py``, and the simulation of the tests) reports calls that open and close, messages, and what the load
answered; after each it carries out ``orders``, sends what ``take`` gives for each call, and calls ``tick`` at
``deadline``. A call has a number that the shell never uses again.

At most one run goes on. Its controller may lose the call and come back with SYNC_STATE on a new one; a controller that
is silent for ``dead_s`` loses its run. A message of another run is refused on its own call, and disturbs nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kvspic.bench.agent_fsm import AGENT
from kvspic.bench.agent_run import Run, seconds
from kvspic.bench.clock import Moment
from kvspic.bench.proto import PROTOCOL, ControlMessage, LiveStats
from kvspic.bench.schedule import StartRefused, local_start
from kvspic.bench.wire import pack
from kvspic.bench.workload import Assignment, WorkloadFactory
from kvspic.statechart import create_state_machine

__all__ = ["AgentCore", "LoadOrder"]

CONFIG_MAX = 256 * 1024
GRACE_S = 5
FORCED_S = 15
KEPT_S = 600
STOP_SLACK_S = 30

logger = logging.getLogger("kvspic.bench")

_LAST = {
    "send COMPLETED": LiveStats.COMPLETED,
    "send ABORTED": LiveStats.ABORTED,
    "send ERROR": LiveStats.ERROR,
}


class LoadOrder(NamedTuple):
    """A call of the load that blocks, for a thread of the shell, which answers with ``load_answered``.

    ``call`` is "prepare" or "stop"; ``limit_s`` is the argument of stop.
    """

    call: str
    run: Run
    limit_s: float = 0.0


@dataclass
class _Call:
    """One call of one controller."""

    peer: str
    seen: int = 0
    ping: ControlMessage | None = None
    ping_ns: int = 0
    replies: deque[LiveStats] = field(default_factory=deque)
    is_over: bool = False


class AgentCore:
    """See the module's docstring.

    Args:
        parse: (text, number of agents) -> plan; a ValueError says what is wrong with it.
        make: the load's factory.
    """

    def __init__(self, parse: Callable[[str, int], Any], make: WorkloadFactory) -> None:
        self._parse, self._make = parse, make
        self._machine = create_state_machine(AGENT)
        self._calls: dict[int, _Call] = {}
        self._runs: dict[str, Run] = {}
        self._current: Run | None = None
        self.orders: deque[LoadOrder] = deque()

    @property
    def state(self) -> str:
        """One of idle, ready, running, aborting."""
        return self._machine.control

    @property
    def is_settled(self) -> bool:
        """Whether the agent is idle and its controllers have what it said, as far as they are there."""
        return self.state == "idle" and not any(run.pending for run in self._runs.values() if run.call is not None)

    # Calls and messages.

    def opened(self, call: int, peer: str) -> None:
        """A controller opened a call; ``peer`` is its address, for words."""
        self._calls[call] = _Call(peer)

    def closed(self, call: int) -> None:
        """The call has ended, for whatever reason. Its run goes on; the controller may come back."""
        self._calls.pop(call, None)
        for run in self._runs.values():
            if run.call == call:
                run.call = None

    def received(self, call: int, message: ControlMessage, now: Moment) -> None:
        """A message came on a call that is open."""
        at = self._calls.get(call)
        if at is None or at.is_over:
            return
        run = self._runs.get(message.run_id)
        if message.sequence:
            missing = message.sequence - at.seen - 1
            if run is not None and missing > 0:
                run.gaps += missing
            at.seen = max(at.seen, message.sequence)
        if run is not None and run.call == call:
            run.heard_ns = now.mono_ns
        if message.command == ControlMessage.PING:
            at.ping, at.ping_ns = message, now.wall_ns
        elif message.command == ControlMessage.START and not message.start_timestamp_ns:
            self._offered(call, message, run, now)
        elif run is None:
            self._refuse(call, message, f"This agent knows no run {message.run_id!r}; start it again.")
        elif message.command == ControlMessage.SYNC_STATE:
            self._attach(call, run, message.ack_sequence, now)
        elif run.call != call:
            self._refuse(call, message, f"Another call speaks for the run {message.run_id!r} now.")
        else:
            self._obey(run, message, now)

    def _obey(self, run: Run, message: ControlMessage, now: Moment) -> None:
        command = message.command
        if command == ControlMessage.ACKNOWLEDGE:
            run.acknowledge(message.ack_sequence)
        elif command == ControlMessage.START:
            self._start_at(run, message.start_timestamp_ns, now)
        elif command == ControlMessage.RELEASE_BARRIER:
            self._released(run, message.start_timestamp_ns, now)
        elif command == ControlMessage.ABORT:
            self._abort(run, f"The controller ended the run ({message.reason or 'no reason given'}).", now)
        elif command == ControlMessage.GOODBYE:
            self._goodbye(run, now)

    def _goodbye(self, run: Run, now: Moment) -> None:
        if run.call is not None:
            self._calls[run.call].is_over = True
        run.call = None
        run.pending.clear()
        if run is self._current:
            self._abort(run, "The controller has left.", now)

    def _refuse(self, call: int, message: ControlMessage, text: str) -> None:
        at = self._calls[call]
        at.replies.append(
            LiveStats(status=LiveStats.ERROR, run_id=message.run_id, agent_id=message.agent_id, error_message=text)
        )
        at.is_over = True

    def _offered(self, call: int, message: ControlMessage, run: Run | None, now: Moment) -> None:
        """START without a time: validate the plan, or refuse to."""
        current = self._current
        if message.protocol != PROTOCOL:
            text = f"This agent speaks version {PROTOCOL} of the protocol, the controller {message.protocol}"
            self._refuse(call, message, f"{text}: install the same version of kvspic on both.")
        elif current is not None and current.run_id != message.run_id:
            since_s = (now.mono_ns - current.begun.mono_ns) / 1e9
            text = f"This agent has been busy with run {current.run_id} for {since_s:.0f} s, controller"
            self._refuse(call, message, f"{text} {current.controller}: wait for its end, or end it.")
        elif current is not None:
            self._attach(call, current, 0, now)
        else:
            self._validate(call, message, run, now)

    def _validate(self, call: int, message: ControlMessage, before: Run | None, now: Moment) -> None:
        assignment = Assignment(
            message.run_id, message.agent_id, message.agent_index, message.num_agents, message.path_prefix
        )
        plan, workload, error = None, None, ""
        try:
            if len(message.config_yaml.encode()) > CONFIG_MAX:
                raise ValueError(f"the plan has more than {CONFIG_MAX} bytes")
            plan = self._parse(message.config_yaml, message.num_agents)
            workload = self._make(plan, assignment)
        except Exception as failure:  # a plan is foreign, and so may be its engine
            error = str(failure) or type(failure).__name__
        run = Run(assignment, plan or _NoPlan(), self._calls[call].peer, now, call=call, heard_ns=now.mono_ns)
        if before is not None:
            run.sequence, run.gaps = before.sequence, before.gaps
        for other in self._runs.values():
            if other.call == call:
                other.call = None
        run.workload, run.error, run.stats_ns = workload, error, now.mono_ns + seconds(1)
        self._runs[run.run_id] = self._current = run
        self._send("invalid" if error else "valid", run, now)

    def _attach(self, call: int, run: Run, seen: int, now: Moment) -> None:
        """The controller of ``run`` speaks on ``call`` from now on; an older call is dropped."""
        if run.call is not None and run.call != call:
            self._calls[run.call].is_over = True
        run.controller = self._calls[call].peer
        run.resume(call, seen, now)

    # The run's way.

    def _start_at(self, run: Run, start_wall_ns: int, now: Moment) -> None:
        if run is not self._current or self.state != "ready":
            logger.warning("refused: a start of run %s in the state %s", run.run_id, self.state)
            return
        try:
            run.start_ns = local_start(now, start_wall_ns)
        except StartRefused as refused:
            run.error = str(refused)
            self._send("start_refused", run, now)

    def _released(self, run: Run, begin_wall_ns: int, now: Moment) -> None:
        if run is not self._current or not run.at_barrier:
            logger.warning("refused: the barrier of run %s in the state %s", run.run_id, self.state)
            return
        try:
            run.begin_ns = local_start(now, begin_wall_ns)
        except StartRefused as refused:
            run.error = str(refused)
            self._send("error", run, now)
            return
        run.at_barrier, run.stage = False, 2
        run.stop_ns = run.begin_ns + seconds(run.plan.duration_s)
        assert run.workload is not None
        self._ask(run, now, lambda: run.workload.begin(run.begin_ns))  # type: ignore[union-attr]

    def _ask(self, run: Run, now: Moment, call: Callable[[], Any]) -> Any:
        """Call the load; what it raises ends the run with ERROR."""
        try:
            return call()
        except Exception as failure:
            run.error = str(failure) or type(failure).__name__
            self._send("error", run, now)
            return None

    def load_answered(self, order: LoadOrder, error: str, now: Moment) -> None:
        """A blocking call of the load returned; ``error`` is empty when it went well."""
        run = order.run
        if run is not self._current:
            return  # it was given up; a new run is not disturbed
        if self.state == "aborting":
            self._send("clean", run, now)
        elif error:
            run.error = error
            self._send("error", run, now)
        elif order.call == "prepare":
            run.prepared, run.stage = True, 11
            run.warm_ns = now.mono_ns + seconds(run.plan.warmup_s)
            assert run.workload is not None
            self._ask(run, now, run.workload.warm_up)
        else:
            self._sum_up(run)
            self._send("error" if run.error else "finished", run, now)

    def abort(self, text: str, now: Moment) -> None:
        """End the current run, if there is one, such as on a signal."""
        if self._current is not None:
            self._abort(self._current, text, now)

    def _abort(self, run: Run, text: str, now: Moment) -> None:
        if run is self._current:
            run.error = run.error or text
            self._send("abort", run, now)

    def tick(self, now: Moment) -> None:
        """Time has passed: do what is due."""
        run = self._current
        if run is not None:
            self._tick(run, now)
        kept_ns = now.mono_ns - seconds(KEPT_S)
        for run_id in [name for name, old in self._runs.items() if old.ended_ns and old.ended_ns < kept_ns]:
            del self._runs[run_id]

    def _tick(self, run: Run, now: Moment) -> None:
        if run.call is None and now.mono_ns >= run.stats_ns:
            run.stats_ns = now.mono_ns + seconds(1)
            self._ask(run, now, run.look)  # has it failed? What it recorded goes with the full figures, later
        if run is not self._current:
            return
        if self.state == "aborting":
            self._tick_abort(run, now)
        elif now.mono_ns >= run.heard_ns + seconds(run.plan.dead_s):
            run.error = f"The controller was silent for {run.plan.dead_s:g} s."
            self._send("silent", run, now)
        elif self.state == "ready" and run.start_ns and now.mono_ns >= run.start_ns:
            self._send("start_reached", run, now)
        elif self.state == "running":
            self._tick_stages(run, now)

    def _tick_stages(self, run: Run, now: Moment) -> None:
        if run.shown.error:
            run.error = run.shown.error
            self._send("error", run, now)
        elif run.warm_ns and now.mono_ns >= run.warm_ns:
            run.warm_ns, run.at_barrier = 0, True
            self._ask(run, now, lambda: run.say(now))
        elif run.stop_ns and now.mono_ns >= run.stop_ns:
            self._tick_stop(run, now)

    def _tick_stop(self, run: Run, now: Moment) -> None:
        if run.is_stopping:
            run.error = f"The load had not ended {STOP_SLACK_S} s after the time that it had to drain."
            self._send("error", run, now)
            return
        run.stage, run.is_stopping = 12, True
        run.stop_ns = now.mono_ns + seconds(run.plan.drain_s + STOP_SLACK_S)
        self.orders.append(LoadOrder("stop", run, run.plan.drain_s))

    def _tick_abort(self, run: Run, now: Moment) -> None:
        if now.mono_ns >= run.abort_ns + seconds(FORCED_S):
            self._kill(run)
            self._send("clean", run, now)
        elif now.mono_ns >= run.abort_ns + seconds(GRACE_S):
            self._kill(run)

    # What the machine orders.

    def _send(self, event: str, run: Run, now: Moment) -> None:
        before = self.state
        orders = self._machine.send({event: None})
        if orders is None:
            logger.warning("refused: %s in the state %s (run %s)", event, before, run.run_id)
            return
        for order in orders:
            self._carry_out(str(order), run, now)

    def _carry_out(self, order: str, run: Run, now: Moment) -> None:
        if order == "send READY":
            self._ask(run, now, lambda: run.say(now))
        elif order == "prepare load":
            run.stage, run.status = 1, LiveStats.RUNNING
            run.started_wall_ns, run.stats_ns = now.wall_ns, now.mono_ns
            self.orders.append(LoadOrder("prepare", run))
        elif order == "stop load":
            self._begin_abort(run, now)
        elif order == "kill load":
            self._kill(run)
        else:
            self._end(run, _LAST[order], now)

    def _begin_abort(self, run: Run, now: Moment) -> None:
        run.abort_ns, run.at_barrier, run.warm_ns, run.stop_ns = now.mono_ns, False, 0, 0
        if not run.prepared:
            self._kill(run)  # prepare returns soon then, and its answer ends the abort
        elif not run.is_stopping:
            run.is_stopping = True
            self.orders.append(LoadOrder("stop", run, GRACE_S))

    def _kill(self, run: Run) -> None:
        if run.workload is None or run.is_killed:
            return
        run.is_killed = True
        try:
            run.workload.kill()
        except Exception:
            logger.exception("the load of run %s could not be killed", run.run_id)

    def _end(self, run: Run, status: LiveStats.Status, now: Moment) -> None:
        """The last message: COMPLETED, ABORTED or ERROR, with what was measured so far."""
        is_completed = status == LiveStats.COMPLETED
        if not is_completed:
            self._kill(run)
            self._sum_up(run)
        run.workload = None
        self.orders = deque(order for order in self.orders if order.run is not run)
        run.status, run.at_barrier, run.ended_ns = status, False, now.mono_ns
        text = "" if is_completed else run.error
        run.final = run.say(now, final_summary=run.summed, completed=is_completed, error_message=text)
        self._current = None

    def _sum_up(self, run: Run) -> None:
        try:
            run.look()
            run.summed = pack(run.summary()) if run.workload is not None else b""
        except Exception as failure:
            run.error = run.error or f"The load gives no summary ({type(failure).__name__}: {failure})."

    # What goes out.

    def take(self, call: int, now: Moment) -> LiveStats | None:
        """Return the next message for ``call``, to be sent now; None when there is nothing."""
        at = self._calls.get(call)
        if at is None:
            return None
        if at.ping is not None:
            ping, at.ping = at.ping, None
            return self._pong(call, ping, at.ping_ns, now)
        if at.replies:
            return at.replies.popleft()
        run = next((run for run in self._runs.values() if run.call == call), None)
        if run is None or at.is_over:
            return None
        made: LiveStats | None = self._ask(run, now, lambda: run.take(now))
        if made is None:
            made = run.take(now)  # what the load raised has become a message
        return made

    def _pong(self, call: int, ping: ControlMessage, received_ns: int, now: Moment) -> LiveStats:
        run = self._runs.get(ping.run_id)
        is_known = run is not None and run.call == call
        return LiveStats(
            agent_id=run.assignment.agent_id if run is not None else "",
            run_id=ping.run_id,
            status=run.status if run is not None and is_known else LiveStats.UNKNOWN,
            echo_sequence=ping.sequence,
            echo_sent_ns=ping.sent_ns,
            received_ns=received_ns,
            agent_timestamp_ns=now.wall_ns,
        )

    def is_over(self, call: int) -> bool:
        """Whether the agent ends the call once ``take`` has nothing more for it."""
        at = self._calls.get(call)
        return at is None or at.is_over

    def deadline(self, now: Moment) -> int | None:
        """When ``tick`` and ``take`` are due after ``now``, at which both were called, monotonic nanoseconds; None: not
        before something comes. What was due and could not be sent waits for its call."""
        return min((due_ns for due_ns in self._deadlines() if due_ns > now.mono_ns), default=None)

    def _deadlines(self) -> Iterator[int]:
        for run in self._runs.values():
            yield from run.deadlines()
        current = self._current
        if current is not None and self.state == "aborting":
            yield current.abort_ns + seconds(FORCED_S if current.is_killed else GRACE_S)


class _NoPlan:
    """Stands for a plan that was not valid: its run has only the message that says so."""

    name, stream_prefix = "", ""
    duration_s = warmup_s = drain_s = start_delay_s = spread_max_ms = stall_s = 0.0
    dead_s = 60.0
    tolerate = 0
    is_shared = False
