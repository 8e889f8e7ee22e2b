"""Agents, a controller and the network between them under one clock. Nothing sleeps; one seed, one story.

A call delivers in order, like gRPC. What can go wrong: a call is cut, held back for a while, or delivers a message
twice; an agent dies and is started again, freezes, or its wall clock is set; a load hangs or fails.
"""

import functools
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from unit.bench.scripted import Script, ScriptedLoad, plan_text

from kvspic.bench.agent_core import AgentCore
from kvspic.bench.clock import Moment
from kvspic.bench.controller_core import ControllerCore
from kvspic.bench.plan import parse_plan as read_plan
from kvspic.bench.proto import ControlMessage, LiveStats
from kvspic.bench.record import AgentRecord, RunRecord

S = 1_000_000_000
EPOCH_NS = 1_800_000_000 * S


parse_plan = functools.lru_cache(maxsize=64)(read_plan)  # half of a run's time is YAML


class Call:
    """One call; the two lists are what is under way to each side, in order."""

    def __init__(self, number: int, agent: "Agent") -> None:
        self.number, self.agent = number, agent
        self.is_open, self.held_until_ns = True, 0
        self.last_ns = {"up": 0, "down": 0}


class Agent:
    """An agent's process: its core, its clock, what its loads do."""

    def __init__(self, world: "World", address: str) -> None:
        self.world, self.address = world, address
        self.skew_ns = 0
        self.latency_s = 0.001
        self.is_reachable, self.is_alive = True, True
        self.frozen_until_ns = 0
        self.script = Script()
        self.loads: list[ScriptedLoad] = []
        self.said: list[tuple[float, LiveStats]] = []
        self.states: list[tuple[float, str]] = []
        self.restart()

    def restart(self) -> None:
        """A new process under the old address."""
        self.core = AgentCore(parse_plan, self.make)
        self.pending: dict[str, Any] = {}

    def make(self, plan: Any, assignment: Any) -> ScriptedLoad:
        if self.script.makes:
            raise ValueError(self.script.makes)
        self.loads.append(ScriptedLoad(self.script, plan, assignment))
        return self.loads[-1]

    @property
    def now(self) -> Moment:
        return Moment(self.world.now_ns + 7 * S, EPOCH_NS + self.world.now_ns + self.skew_ns)

    def pump(self) -> None:
        """Do what is due, send what there is, and be back at the next deadline."""
        if not self.is_alive:
            return
        if self.world.now_ns < self.frozen_until_ns:
            self.world.wake(self, self.frozen_until_ns)
            return
        core, now = self.core, self.now
        before = core.state
        core.tick(now)
        while core.orders:
            self.carry_out(core.orders.popleft())
        if core.state != before or not self.states:
            self.states.append((self.world.now_s, core.state))
        for call in [call for call in self.world.calls.values() if call.agent is self and call.is_open]:
            while (message := core.take(call.number, now)) is not None:
                self.said.append((self.world.now_s, message))
                self.world.deliver(call, "up", message)
            if core.is_over(call.number):
                self.world.finish(call)
        due_ns = core.deadline(now)
        if due_ns is not None:
            self.world.wake(self, due_ns - 7 * S)

    def carry_out(self, order: Any) -> None:
        """A blocking call of the load: it answers after its time, or soon after the load is killed."""
        script, core = self.script, self.core
        seconds = script.prepare_s if order.call == "prepare" else script.stop_s
        error = script.prepare_error if order.call == "prepare" else script.stop_error
        load = order.run.workload
        load.calls.append(order.call)
        if seconds is not None:
            self.world.after(seconds, lambda: self.answered(core, order, error))
        if order.call == "prepare":
            kill = load.kill

            def killed() -> None:
                kill()
                self.world.after(0.05, lambda: self.answered(core, order, "killed"))

            load.kill = killed

    def answered(self, core: AgentCore, order: Any, error: str) -> None:
        if core is self.core and self.is_alive and not getattr(order.run, f"said_{order.call}", False):
            setattr(order.run, f"said_{order.call}", True)
            before = core.state
            core.load_answered(order, error, self.now)
            if core.state != before:
                self.states.append((self.world.now_s, core.state))
            self.pump()

    def die(self) -> None:
        """SIGKILL: the calls end, and all is forgotten."""
        self.is_alive = False
        for call in [call for call in self.world.calls.values() if call.agent is self and call.is_open]:
            self.world.cut(call, "connection reset")

    def come_back(self) -> None:
        self.is_alive = True
        self.restart()


class World:
    """See the module's docstring; an observer of the run, too."""

    def __init__(self, count: int = 2, **plan: Any) -> None:
        self.now_ns = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wakes: dict[Any, int] = {}
        self.calls: dict[int, Call] = {}
        self.agents = [Agent(self, f"10.0.0.{number}:7761") for number in range(1, count + 1)]
        self.text = plan_text(**plan)
        self.controller: ControllerCore
        self.record: RunRecord
        self.runs = 0
        self.duplicates = 0.0
        self.random: Any = None
        self.controller_skew_ns = 0
        self.is_controller_alive = True
        self.notes: list[str] = []
        self.figures: list[tuple[str, float, LiveStats]] = []
        self.addresses = [agent.address for agent in self.agents]

    @property
    def now_s(self) -> float:
        return self.now_ns / S

    @property
    def controller_now(self) -> Moment:
        return Moment(self.now_ns + 3 * S, EPOCH_NS + self.now_ns + self.controller_skew_ns)

    def at(self, when_ns: int, do: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (max(when_ns, self.now_ns), next(self._order), do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now_ns + int(seconds * S), do)

    def begin(self) -> None:
        """Start a controller with a new run."""
        self.runs += 1
        plan = parse_plan(self.text, len(self.agents))
        agents = [AgentRecord(address, address) for address in self.addresses]
        self.record = RunRecord(f"run-{self.runs}", plan.name, self.text, 0.0, agents=agents)
        self.controller = ControllerCore(self.record, plan, self, "p-", self.controller_now)
        self.pump()

    def run(self, seconds: float = 600.0, until: Callable[[], bool] | None = None) -> None:
        """Let time pass until the controller is done (or ``until``), and ``seconds`` at most."""
        end_ns = self.now_ns + int(seconds * S)
        done = until or (lambda: self.controller.is_over)
        while self._heap and self._heap[0][0] <= end_ns and not done():
            self.now_ns, _, do = heapq.heappop(self._heap)
            do()
        if until is None and not done():
            raise AssertionError(f"the run is not over after {seconds} s: {self.record}")

    def pass_time(self, seconds: float) -> None:
        """Let exactly so much time pass."""
        end_ns = self.now_ns + int(seconds * S)
        self.run(seconds, until=lambda: False)
        self.now_ns = end_ns

    def pump(self) -> None:
        if not self.is_controller_alive:
            return
        core, now = self.controller, self.controller_now
        core.tick(now)
        while core.orders:
            order = core.orders.popleft()
            if order.what == "open":
                self.open(order)
            elif order.number in self.calls:
                self.cut(self.calls[order.number], "closed by the controller")
        for call in list(self.calls.values()):
            while call.is_open and (message := core.take(call.number, now)) is not None:
                self.deliver(call, "down", message)
        due_ns = core.deadline(now)
        if due_ns is not None:
            self.wake(self, due_ns - 3 * S)

    def wake(self, node: Any, when_ns: int) -> None:
        """Have one timer for the node, the earliest."""
        due_ns = max(when_ns, self.now_ns)
        if self._wakes.get(node, due_ns + 1) > due_ns or self._wakes[node] < self.now_ns:
            self._wakes[node] = due_ns
            self.at(due_ns, lambda: self._woken(node, due_ns))

    def _woken(self, node: Any, due_ns: int) -> None:
        if self._wakes.get(node) == due_ns:
            del self._wakes[node]
            node.pump()

    def open(self, order: Any) -> None:
        agent = next((agent for agent in self.agents if agent.address == order.address), None)
        if agent is None or not agent.is_alive or not agent.is_reachable:
            self.after(0.01, lambda: self.ended(order.number, "connection refused"))
            return
        call = self.calls[order.number] = Call(order.number, agent)
        core = agent.core
        self.after(agent.latency_s, lambda: self.arrive(call, core))

    def arrive(self, call: Call, core: AgentCore) -> None:
        if call.is_open and call.agent.core is core:
            core.opened(call.number, "10.0.0.9:40000")
            call.agent.pump()

    def deliver(self, call: Call, way: str, message: Any) -> None:
        """Send a message: in order, after the latency, and not before a hold ends."""
        copy = type(message).FromString(message.SerializeToString())
        when_ns = max(self.now_ns + int(call.agent.latency_s * S), call.held_until_ns, call.last_ns[way])
        call.last_ns[way] = when_ns
        times = 2 if self.random is not None and self.random.random() < self.duplicates else 1
        for _ in range(times):
            self.at(when_ns, lambda: self.arrived(call, way, copy))

    def arrived(self, call: Call, way: str, message: Any) -> None:
        if not call.is_open:
            return
        agent = call.agent
        if way == "up" and self.is_controller_alive:
            self.controller.received(call.number, message, self.controller_now)
            self.pump()
        elif way == "down" and self.now_ns < agent.frozen_until_ns:
            self.at(agent.frozen_until_ns, lambda: self.arrived(call, way, message))
        elif way == "down":
            before = agent.core.state
            agent.core.received(call.number, message, agent.now)
            if agent.core.state != before:
                agent.states.append((self.now_s, agent.core.state))
            agent.pump()

    def finish(self, call: Call) -> None:
        """The agent ends a call: what it sent before still arrives."""
        core = call.agent.core
        core.closed(call.number)
        self.at(call.last_ns["up"] + 1000, lambda: self.cut(call, "ended by the agent"))

    def cut(self, call: Call, why: str) -> None:
        """End a call for both sides."""
        if not call.is_open:
            return
        call.is_open = False
        self.after(0.001, lambda: self.ended(call.number, why))
        core = call.agent.core

        def gone() -> None:
            core.closed(call.number)
            call.agent.pump()

        self.after(0.001, gone)

    def ended(self, number: int, why: str) -> None:
        self.calls.pop(number, None)
        if self.is_controller_alive:
            self.controller.closed(number, why, self.controller_now)
            self.pump()

    def call_of(self, agent: Agent) -> Call:
        """The newest call of an agent."""
        return max((call for call in self.calls.values() if call.agent is agent), key=lambda call: call.number)

    def ask(self, agent: Agent, number: int, **fields: Any) -> list[LiveStats]:
        """Another controller's message on a call of its own; what it is answered at once."""
        if number not in agent.core._calls:
            agent.core.opened(number, "10.0.0.8:1")
        before = agent.core.state
        agent.core.received(number, ControlMessage(**fields), agent.now)
        if agent.core.state != before:
            agent.states.append((self.now_s, agent.core.state))
        answers = []
        while (message := agent.core.take(number, agent.now)) is not None:
            answers.append(message)
        agent.pump()
        return answers

    # The observer.

    def agent_changed(self, agent: AgentRecord, at_s: float) -> None:
        pass

    def stats(self, agent: AgentRecord, at_s: float, stats: LiveStats) -> None:
        self.figures.append((agent.id, at_s, stats))

    def note(self, at_s: float, text: str) -> None:
        self.notes.append(f"{at_s:8.3f} {text}")
