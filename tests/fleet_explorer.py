"""Every order in which two servers, two workers and a user can act on one stream, within budgets.

A world is all state: the store's tables, the workers, the calls under way, the true time. An event makes a new world.
Worlds are searched breadth first; one that was seen is not looked at again. In each world at most one epoch writes the
stream; a worker writes until its fence, also after a stop, because it may still be flushing. From the last worlds of a
search the faults end, and the job must be carried again. A part that is replaced shows what the search is worth: with
a rule switched off it has to find two writers.

Time is in steps of half a lease: a fence (0.85 of a lease) lies between one and two steps after a call was sent.
"""

import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import fleet_memory
from fleet_memory import Tables

from kvspic.fleet import service_handlers, service_jobs, service_upkeep
from kvspic.fleet.errors import FleetError
from kvspic.fleet.lease import SweepWatch, deadlines

STEP_S = 10
SOURCE = {"type": "rtsp", "url": "rtsp://10.0.0.9/1"}
BODY = {"name": "a", "stream": "s", "source": SOURCE, "autorestart": {"jitter": 0}}
CLOCK_STEP_S = 3600
LOWERED_S = 5


@dataclass
class Carry:
    """A job that a worker has: ``fence`` is the true time up to which it may write, None before its first renewal."""

    fence: float | None = None
    is_ending: bool = False


@dataclass
class Worker:
    """A process. ``taken``: what it took once, it never takes again."""

    name: str
    host: str
    incarnation: int = 1
    seq: int = 0
    jobs: dict = field(default_factory=dict)  # (id, epoch) -> Carry
    taken: list = field(default_factory=list)
    is_over: bool = False  # superseded


@dataclass
class Call:
    """A request under way, or its answer."""

    worker: int
    incarnation: str
    kind: str
    sent: float
    body: dict
    answer: dict | None = None


@dataclass
class World:
    """All that is."""

    tables: Tables = field(default_factory=Tables)
    now: float = 0
    clock: float = 0  # what the store's clock shows more
    workers: list = field(default_factory=lambda: [Worker("h1", "m1"), Worker("h2", "m2")])
    calls: list = field(default_factory=list)
    watches: list = field(default_factory=lambda: [SweepWatch(), SweepWatch()], repr=False)
    faults: int = 2  # what may still go wrong
    asks: int = 3  # what the user may still do
    job: str = ""
    crashes: int = 0

    def copy(self) -> "World":
        """The same world."""
        return pickle.loads(pickle.dumps(self))

    def run(self, operation, *arguments, **more):
        """Run an operation of the service at the store's time."""
        return fleet_memory.run(self.tables, round((self.now + self.clock) * 1000), operation, *arguments, **more)


class Rules:
    """How the workers act; a test may break a rule. The service's rules are broken by patching the service."""

    starts_before_feedback = False
    reports_before_it_stops = False


def queued(names=("h1", "h2")) -> World:
    """A world in which the job waits for a worker."""
    world = World()
    world.workers = [Worker(name, f"m{nth}") for nth, name in enumerate(names)]
    for nth in (0, 1):
        sweep(world, nth)
    world.job = world.run(service_jobs.create_job, BODY).job["id"]
    return world


def begin(names=("h1", "h2"), *, has_late_poll=False) -> World:
    """A world in which the first worker writes the stream; an earlier poll of it may still be under way."""
    world = queued(names)
    if has_late_poll:
        world.calls.append(send(world, 0, "poll"))
    for kind in ("poll", "feedback"):
        answer_of(world, send(world, 0, kind))
    assert writers(world) == {(0, world.job, 1)}
    return world


def writers(world: World) -> set:
    """Who writes now: (worker, job, epoch)."""
    return {
        (nth, *pair)
        for nth, worker in enumerate(world.workers)
        for pair, carry in worker.jobs.items()
        if carry.fence is not None and carry.fence > world.now
    }


def send(world: World, nth: int, kind: str) -> Call:
    """A worker sends a call."""
    worker = world.workers[nth]
    body = {"incarnation": f"{worker.host}-{worker.incarnation}"}
    if kind == "poll":
        worker.seq += 1
        carried = [{"id": job, "epoch": epoch} for job, epoch in worker.jobs]
        body |= {"slots": 2, "free": 0 if worker.jobs else 1, "host": worker.host, "seq": worker.seq}
        body |= {"labels": [], "carried": carried}
    else:
        going = [pair for pair, carry in worker.jobs.items() if not carry.is_ending]
        body["reports"] = [{"id": job, "epoch": epoch, "status": "in_progress"} for job, epoch in going]
    return Call(nth, body["incarnation"], kind, world.now, body)


def process(world: World, call: Call) -> None:
    """A server takes a call."""
    operation = getattr(service_handlers, call.kind)
    try:
        call.answer = world.run(operation, world.workers[call.worker].name, call.body)
    except FleetError as error:
        call.answer = {"error": str(error.name)}


def receive(world: World, call: Call) -> None:
    """The worker takes the answer, if it still is the process that asked."""
    worker, answer = world.workers[call.worker], call.answer
    if call.incarnation != f"{worker.host}-{worker.incarnation}":
        return
    if "error" in answer:
        worker.is_over = worker.is_over or answer["error"] == "superseded"
        return
    if call.kind == "poll":
        receive_jobs(world, worker, answer)
    else:
        receive_verdicts(worker, call, answer)


def receive_jobs(world: World, worker: Worker, answer: dict) -> None:
    """Take what was handed out, once; end what the answer stops."""
    for given in answer["jobs"]:
        pair = (given["id"], given["epoch"])
        if pair not in worker.taken:
            worker.taken.append(pair)
            fence = deadlines(world.now, answer["lease_s"]).fence if Rules.starts_before_feedback else None
            worker.jobs[pair] = Carry(fence)
    for pair in [pair for pair in worker.jobs if pair[0] in answer["stop"]]:
        end(worker, pair)


def receive_verdicts(worker: Worker, call: Call, answer: dict) -> None:
    """Go on, or end."""
    for verdict in answer["verdicts"]:
        pair = (verdict["id"], verdict["epoch"])
        carry = worker.jobs.get(pair)
        if carry is not None and verdict["verdict"] == "continue" and not carry.is_ending:
            carry.fence = max(carry.fence or 0, deadlines(call.sent, answer["lease_s"]).fence)
        elif carry is not None:
            end(worker, pair)


def end(worker: Worker, pair) -> None:
    """A job that was never begun is let go of at once; another one is flushed, up to its fence."""
    if worker.jobs[pair].fence is None:
        del worker.jobs[pair]
    else:
        worker.jobs[pair].is_ending = True


def answer_of(world: World, call: Call) -> None:
    """The call, its answer and nothing between."""
    process(world, call)
    receive(world, call)


def sweep(world: World, server: int, between=None) -> None:
    """One server's sweep."""
    clock_ms = round((world.now + world.clock) * 1000)
    renew = world.watches[server].must_renew(world.now, clock_ms, world.tables.settings.lease_s)
    world.run(service_upkeep.sweep, renew=renew, between=between)
    world.watches[server].swept(world.now, clock_ms)


def events(world: World) -> Iterator[tuple]:
    """All that can happen next."""
    yield ("time", True)
    if world.faults:
        yield ("time", False)
    for server in (0, 1):
        yield ("sweep", server)
    for nth, worker in enumerate(world.workers):
        if not worker.is_over:
            yield from events_of(world, nth, worker)
    for index in range(len(world.calls)):
        yield ("arrive", index)
    if world.asks:
        yield from (("ask", what) for what in ("pause", "pending", "replace", "again", "lower"))
    if world.faults:
        yield from (("crash",), ("clock",))


def events_of(world: World, nth: int, worker: Worker) -> Iterator[tuple]:
    """What one worker can do next."""
    kinds = ["poll"] if not any(carry.fence is None for carry in worker.jobs.values()) else []
    kinds += ["feedback"] if any(not carry.is_ending for carry in worker.jobs.values()) else []
    for kind in kinds:
        yield ("call", nth, kind, "ok")
        if world.faults:
            yield from (("call", nth, kind, fate) for fate in ("lost", "late", "slow", "twice"))
    if any(not carry.is_ending and carry.fence is not None for carry in worker.jobs.values()):
        yield ("handback", nth)
        if world.faults:
            yield ("between", nth)
    if any(carry.is_ending for carry in worker.jobs.values()):
        yield ("let_go", nth)
    if world.faults:
        yield ("killed", nth)


def after(world: World, event: tuple) -> World | None:
    """The world after an event; None where it changes nothing that counts."""
    made = world.copy()
    name, *facts = event
    return made if globals()[f"do_{name}"](made, *facts) is not False else None


def do_time(world: World, does_sweep: bool) -> None:
    """Half a lease passes; the first server sweeps often enough, or is away."""
    world.faults -= not does_sweep
    for _ in range(2):
        world.now += STEP_S / 2
        if does_sweep:
            sweep(world, 0)


def do_sweep(world: World, server: int) -> None:
    """A server sweeps."""
    sweep(world, server)


def do_between(world: World, nth: int) -> None:
    """Half a lease passes; a feedback comes between the last sweep's look and its removal."""
    world.faults -= 1
    world.now += STEP_S / 2
    sweep(world, 0)
    world.now += STEP_S / 2
    sweep(world, 0, between=lambda: answer_of(world, send(world, nth, "feedback")))


def do_call(world: World, nth: int, kind: str, fate: str) -> None:
    """A call goes well, its answer is lost or slow, or it is late, or comes twice."""
    world.faults -= fate != "ok"
    call = send(world, nth, kind)
    if fate == "twice":
        world.calls.append(Call(nth, call.incarnation, kind, call.sent, call.body))
    if fate == "late":
        world.calls.append(call)
        return
    process(world, call)
    if fate == "slow":
        world.calls.append(call)
    elif fate != "lost":
        receive(world, call)


def do_arrive(world: World, index: int) -> None:
    """A late call reaches a server, whose answer has no reader; a slow answer reaches its worker."""
    call = world.calls.pop(index)
    if call.answer is None:
        process(world, call)
    else:
        receive(world, call)


def do_let_go(world: World, nth: int) -> None:
    """A worker has closed what it was to stop."""
    jobs = world.workers[nth].jobs
    for pair in [pair for pair, carry in jobs.items() if carry.is_ending]:
        del jobs[pair]


def do_handback(world: World, nth: int) -> None:
    """A worker closes its job, then reports it."""
    worker = world.workers[nth]
    pair = next(pair for pair, carry in worker.jobs.items() if not carry.is_ending and carry.fence is not None)
    report = {"id": pair[0], "epoch": pair[1], "status": "handback"}
    body = {"incarnation": f"{worker.host}-{worker.incarnation}", "reports": [report]}
    if Rules.reports_before_it_stops:
        worker.jobs[pair].is_ending = True
    else:
        del worker.jobs[pair]
    process(world, Call(nth, body["incarnation"], "feedback", world.now, body))


def do_killed(world: World, nth: int) -> None:
    """A process dies and is started again."""
    world.faults -= 1
    worker = world.workers[nth]
    worker.incarnation += 1
    worker.seq, worker.jobs, worker.taken = 0, {}, []


def do_ask(world: World, what: str) -> bool:
    """A user acts; what is refused is no event."""
    world.asks -= 1
    try:
        if what == "replace":
            world.run(service_jobs.replace_job, world.job, BODY)
        elif what == "again":
            world.run(service_jobs.delete_job, world.job)
            world.job = world.run(service_jobs.create_job, BODY).job["id"]
        elif what == "lower":
            if world.tables.settings.lease_s == LOWERED_S:
                return False
            world.run(service_jobs.put_settings, {"lease_s": LOWERED_S})
        else:
            world.run(service_jobs.patch_job, world.job, {"status": what})
    except FleetError:
        return False
    return True


def do_crash(world: World) -> None:
    """The database loses its UNLOGGED tables."""
    world.faults -= 1
    world.tables.crash()


def do_clock(world: World) -> None:
    """The database's clock makes a step."""
    world.faults -= 1
    world.clock += CLOCK_STEP_S


class TwoWritersError(AssertionError):
    """The path to a world in which two epochs write one stream."""


class LostJobError(AssertionError):
    """The path to a world from which the job is never carried again."""


def check(world: World, path: tuple) -> None:
    """One writer, and the log's last record is the job's status."""
    found = writers(world)
    if len(found) > 1:
        raise TwoWritersError(f"{sorted(found)} after {path}")
    row = world.tables.jobs[world.job]
    assert world.tables.last[world.job] == (row.log_seq, row.status), path


def settle(world: World, path: tuple) -> None:
    """Without faults the job is carried in the end."""
    made = world.copy()
    row = made.tables.jobs[made.job]
    if row.status in ("pause", "cancel", "done"):
        made.run(service_jobs.patch_job, made.job, {"status": "pending"})
    for _ in range(40):  # a clock that made a step may hold a rebuilt lease for long, and losses make the job wait
        do_time(made, True)
        for nth, worker in enumerate(made.workers):
            do_let_go(made, nth)
            for kind in () if worker.is_over else ("poll", "feedback"):
                answer_of(made, send(made, nth, kind))
        check(made, path)
        if writers(made):
            return
    raise LostJobError(f"{made.tables.jobs[made.job].status} after {path}")


def key_of(world: World) -> int:
    """The same number for two worlds that are alike."""
    return hash(repr((world, [watch._last for watch in world.watches])))


def followers(edge: list[tuple[bytes, tuple]], only) -> Iterator[tuple[World, tuple]]:
    """Each world that one event makes of those of the edge, with the events that lead there."""
    for packed, path in edge:
        world = pickle.loads(packed)
        for event in events(world):
            made = after(world, event) if only is None or event in only else None
            if made is not None:
                yield made, (*path, event)


def explore(start: World, depth: int, worlds_max: int = 10**9, *, settle_each: int = 0, only=None) -> int:
    """Search all worlds up to a depth; return how many there are.

    Args:
        settle_each: settle each nth world; 0: none.
        only: events that may happen; None: all.

    Raises:
        TwoWritersError, LostJobError: with the events that lead there.
    """
    seen = {key_of(start)}
    edge: list[tuple[bytes, tuple]] = [(pickle.dumps(start), ())]
    for _ in range(depth):
        following: list[tuple[bytes, tuple]] = []
        for made, path in followers(edge, only):
            key = key_of(made)
            if key in seen:
                continue
            seen.add(key)
            check(made, path)
            if settle_each and len(seen) % settle_each == 0:
                settle(made, path)
            following.append((pickle.dumps(made), path))
            if len(seen) >= worlds_max:
                return len(seen)
        edge = following
    return len(seen)


if __name__ == "__main__":  # python tests/fleet_explorer.py DEPTH WORLDS: a long search, by hand or in .ci/long
    for name, start in (("begin", begin()), ("queued", queued()), ("late poll", begin(has_late_poll=True))):
        count = explore(start, int(sys.argv[1]), int(sys.argv[2]), settle_each=50)
        print(f"{name}: {count} worlds of up to {sys.argv[1]} events, one writer in each, no job lost")
