"""What one worker holds: each job with its fence, what the next report says of it, and what its carrier has to do.

Pure. Moments are seconds of one clock of the worker, which never goes back and goes on while the machine sleeps; they
are never compared with a clock of a server. The theory of operation:

    GRANTED --continue--> READY --start--> CARRIED <--continue-- SUSPENDED
                                              |  \\----fence-------^
                  stop, not_found, drain -> STOPPING --carrier let go--> ENDED --report answered--> gone

A job is uploaded only while ``now < fence``; the fence is 0.85 of a lease after the moment *before* the request that
renewed it was sent. The server declares a job lost no earlier than a whole lease after that moment, so 0.15 of a lease
lie between. A job is started only after a feedback of its own was answered ``continue``. An (id, epoch) is taken once.
What a job holds is given back only when its carrier has let go: its socket is closed and nothing more leaves.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kvspic.fleet.lease import deadlines

__all__ = ["HANDBACK", "Assignment", "Held", "Holding", "Order", "Orders", "Outcome", "Phase", "Report", "StallWatch"]

SEEN_MAX = 10_000  # jobs of which the newest epoch is remembered
RESUME_MAX_S = 10.0  # uploads that an outage suspended begin again within so long, and half a lease at most
STALL_MIN_S = 60.0
STALL_FRAGMENTS = 6

Key = tuple[str, int]  # job id, epoch


@dataclass(frozen=True)
class Assignment:
    """A job as a poll hands it out. ``number`` and ``epoch`` tell uploads apart; ``source`` is whole here."""

    id: str
    epoch: int
    number: int
    version: int
    name: str
    stream: str
    endpoint: str
    region: str
    source: Mapping[str, Any]
    options: Mapping[str, Any]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Assignment:
        """Read what a server sent. Raises KeyError, TypeError or ValueError where it is no job."""
        return cls(
            id=str(answer["id"]),
            epoch=int(answer["epoch"]),
            number=int(answer.get("number") or 0),
            version=int(answer.get("version") or 1),
            name=str(answer["name"]),
            stream=str(answer["stream"]),
            endpoint=str(answer.get("endpoint") or ""),
            region=str(answer.get("region") or ""),
            source=dict(answer["source"]),
            options=dict(answer.get("options") or {}),
        )

    @property
    def key(self) -> Key:
        """What is taken once."""
        return self.id, self.epoch

    @property
    def is_fenced(self) -> bool:
        """Whether uploads end with the lease; False: ``on_server_loss`` is ``keep``."""
        return self.options.get("on_server_loss") != "keep"

    @property
    def has_spool(self) -> bool:
        """Whether its frames also live in files. A file that is read again from its beginning needs none."""
        return bool(self.options.get("spool")) and self.source.get("type") != "file"

    def is_same_place(self, other: Assignment) -> bool:
        """Whether both would write to one stream."""
        return (self.endpoint, self.region, self.stream) == (other.endpoint, other.region, other.stream)


class Phase(enum.Enum):
    """Where a job is in this worker."""

    GRANTED = "granted"  # handed out; whether it may start is being asked
    READY = "ready"  # may start
    CARRIED = "carried"  # its carrier runs
    SUSPENDED = "suspended"  # past its fence: nothing leaves
    STOPPING = "stopping"  # its carrier has to let go
    ENDED = "ended"  # let go; the last report is not answered yet


class Order(enum.IntEnum):
    """What a carrier has to do. A later one of the last three replaces an earlier one, never the other way round."""

    START = 1
    SOFTEN = 2  # no more frames; end the open fragment
    SUSPEND = 3  # nothing leaves any more
    RESUME = 4  # after SOFTEN or SUSPEND
    FLUSH = 5  # let go: end the source, and wait a while until what is buffered is acknowledged
    DISCARD = 6  # let go at once, and drop what is buffered or spooled
    ABORT = 7  # let go at once; a spool is kept


@dataclass(frozen=True)
class Outcome:
    """How a job ended here: ``done``, ``failure`` with class and text, or ``handback``."""

    status: str
    error_class: str = ""
    error_text: str = ""


HANDBACK = Outcome("handback")


@dataclass
class Held:
    """One job that this worker holds."""

    job: Assignment
    phase: Phase = Phase.GRANTED
    soft_s: float = -math.inf
    fence_s: float = -math.inf
    is_softened: bool = False
    stopping: Order | None = None  # how its carrier has to let go
    is_released: bool = False  # the server says that it is not ours: no report renews it
    is_unknown: bool = False  # the server has no such job
    outcome: Outcome | None = None
    resume_s: float | None = None  # when a suspended job goes on whose lease was renewed

    def may_send(self, now_s: float) -> bool:
        """The gate: whether a byte may leave now."""
        return now_s < self.fence_s or not (self.job.is_fenced or self.is_released)


@dataclass(frozen=True)
class Report:
    """One line of a feedback; the stats come from the carrier."""

    key: Key
    status: str
    error_class: str = ""
    error_text: str = ""


Orders = list[tuple[Order, Held]]


@dataclass
class Holding:
    """All jobs of one worker. Each method returns the orders that follow from it.

    ``chance`` returns numbers from 0 to 1: after an outage each suspended job goes on at a moment of its own, because
    each one opens a connection, and all workers hear of the outage's end at once.
    """

    held: dict[Key, Held] = field(default_factory=dict)
    chance: Callable[[], float] = lambda: 0.0
    is_draining: bool = False
    _seen: OrderedDict[str, int] = field(default_factory=OrderedDict)

    # ---- what comes

    def take(self, offers: Iterable[Assignment]) -> None:
        """Take what a poll handed out; what was taken before is ignored."""
        for job in offers:
            if self._seen.get(job.id, 0) >= job.epoch:
                continue
            self._seen[job.id] = job.epoch
            self._seen.move_to_end(job.id)
            if len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)
            self.held[job.key] = Held(job)
            if self.is_draining:
                self._end(self.held[job.key], HANDBACK)

    def answered(
        self, sent: Iterable[Report], sent_s: float, lease_s: float, verdicts: Iterable[Mapping[str, Any]]
    ) -> Orders:
        """Take the answer to a feedback.

        Args:
            sent: its reports. sent_s: the moment before it was sent. lease_s: what the answer says.
            verdicts: of the answer, each with ``id`` and ``verdict``; ``status`` says why a job is to be stopped.
        """
        said = {str(verdict.get("id")): verdict for verdict in verdicts}
        orders: Orders = []
        for report in sent:
            held, verdict = self.held.get(report.key), said.get(report.key[0])
            if held is None or verdict is None:
                continue
            if report.status != "in_progress":
                if held.phase is Phase.ENDED:
                    del self.held[report.key]
            elif verdict.get("verdict") == "continue":
                orders += self._renewed(held, sent_s, lease_s)
            else:
                orders += self._refused(held, verdict)
        return orders

    def hand_back(self, ids: Iterable[str]) -> Orders:
        """The server wants these jobs flushed and handed back; they are ours until then."""
        wanted = set(ids)
        return [order for held in self._all() if held.job.id in wanted for order in self._let_go(held, Order.FLUSH)]

    def drain(self) -> Orders:
        """Hand everything back, and take no more."""
        self.is_draining = True
        return [order for held in self._all() for order in self._let_go(held, Order.FLUSH)]

    def abort_all(self) -> Orders:
        """Let go of everything at once."""
        self.is_draining = True
        return [order for held in self._all() for order in self._let_go(held, Order.ABORT)]

    def ended(self, key: Key, outcome: Outcome) -> None:
        """The carrier has let go, for this reason."""
        held = self.held.get(key)
        if held is not None:
            self._end(held, outcome)

    # ---- time

    def tick(self, now_s: float) -> Orders:
        """Do what is due."""
        orders: Orders = []
        for held in self._all():
            if not held.job.is_fenced and not held.is_released:
                continue
            if held.phase is Phase.CARRIED and now_s >= held.fence_s:
                held.phase = Phase.SUSPENDED
                orders.append((Order.SUSPEND, held))
            elif held.phase is Phase.CARRIED and now_s >= held.soft_s and not held.is_softened:
                held.is_softened = True
                orders.append((Order.SOFTEN, held))
            elif held.phase is Phase.SUSPENDED and held.resume_s is not None and now_s >= held.resume_s:
                held.resume_s = None
                if now_s < held.soft_s:
                    held.phase = Phase.CARRIED
                    orders.append((Order.RESUME, held))
            elif held.phase is Phase.STOPPING and now_s >= held.fence_s:
                orders += self._let_go(held, Order.ABORT)
        return orders

    def due_s(self, now_s: float) -> float:
        """When :meth:`tick` is due next; infinity: not before something comes."""
        moments = []
        for held in self.held.values():
            if held.phase is Phase.CARRIED:
                moments.append(held.fence_s if held.is_softened else held.soft_s)
            elif held.phase is Phase.SUSPENDED and held.resume_s is not None:
                moments.append(held.resume_s)
            elif held.phase is Phase.STOPPING and held.stopping is Order.FLUSH:
                moments.append(held.fence_s)
        return min((moment for moment in moments if moment > now_s), default=math.inf)

    # ---- what to do

    def start(self, now_s: float) -> Held | None:
        """Return a job that may start now, as one that is carried; None: there is none."""
        for held in self.held.values():
            if held.phase is Phase.READY and (now_s < held.soft_s or not held.job.is_fenced) and self._is_free(held):
                held.phase = Phase.CARRIED
                return held
        return None

    @property
    def has_news(self) -> bool:
        """Whether a report should not wait for the next period: a job waits for its first answer, or has ended."""
        return any(held.phase in (Phase.GRANTED, Phase.ENDED) for held in self._first_of_each_id())

    @property
    def carried(self) -> list[Key]:
        """What this worker has not let go of, or not reported."""
        return list(self.held)

    def reports(self) -> list[Report]:
        """What the next feedback says; at most one line for each job id, the oldest epoch first."""
        lines = []
        for held in self._first_of_each_id():
            if held.phase is Phase.ENDED and held.outcome is not None:
                lines.append(Report(held.job.key, *_words(held.outcome)))
            elif not held.is_released:
                lines.append(Report(held.job.key, "in_progress"))
        return lines

    # ---- inside

    def _all(self) -> list[Held]:
        return list(self.held.values())

    def _first_of_each_id(self) -> list[Held]:
        first: dict[str, Held] = {}
        for held in self.held.values():
            known = first.get(held.job.id)
            if known is None or held.job.epoch < known.job.epoch:
                first[held.job.id] = held
        return list(first.values())

    def _is_free(self, held: Held) -> bool:
        """Whether no other job of this worker holds the same stream."""
        return not any(
            other is not held and other.phase is not Phase.READY and other.job.is_same_place(held.job)
            for other in self.held.values()
            if other.phase not in (Phase.GRANTED, Phase.ENDED)
        )

    def _renewed(self, held: Held, sent_s: float, lease_s: float) -> Orders:
        if held.is_released:
            return []
        ends = deadlines(sent_s, lease_s)  # a lowered setting never shortens what was promised
        held.soft_s, held.fence_s = max(held.soft_s, ends.soft_end), max(held.fence_s, ends.fence)
        if held.phase is Phase.GRANTED:
            held.phase = Phase.READY
        was_softened, held.is_softened = held.is_softened, False
        if held.phase is Phase.CARRIED and was_softened:
            return [(Order.RESUME, held)]
        if held.phase is Phase.SUSPENDED and held.resume_s is None:
            held.resume_s = sent_s + self.chance() * min(RESUME_MAX_S, lease_s / 2)
        return []

    def _refused(self, held: Held, verdict: Mapping[str, Any]) -> Orders:
        held.is_released = True
        held.is_unknown = verdict.get("verdict") == "not_found"
        manner = {"pause": Order.FLUSH, "cancel": Order.DISCARD}.get(str(verdict.get("status")), Order.ABORT)
        if held.phase is Phase.SUSPENDED and manner is Order.FLUSH:
            manner = Order.ABORT
        return self._let_go(held, manner)

    def _let_go(self, held: Held, manner: Order) -> Orders:
        if held.phase in (Phase.GRANTED, Phase.READY):  # there is no carrier yet
            self._end(held, HANDBACK)
        if held.phase is Phase.ENDED or (held.stopping is not None and held.stopping >= manner):
            return []
        if held.phase is Phase.SUSPENDED and manner is Order.FLUSH:
            manner = Order.ABORT
        held.phase, held.stopping = Phase.STOPPING, manner
        return [(manner, held)]

    def _end(self, held: Held, outcome: Outcome) -> None:
        if held.is_released:
            outcome = HANDBACK  # the server takes nothing else from us, but this frees the stream for the next one
        held.phase, held.outcome = Phase.ENDED, outcome


def _words(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.status, outcome.error_class, outcome.error_text


@dataclass
class StallWatch:
    """Notices that frames are put and none is done for too long. Looked at every second or so."""

    stall_s: float
    _done: int = -1
    _since_s: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any], fragment_s: float) -> StallWatch:
        """Return the watch of a job: its ``stall_s``, or 60 s, or six fragments."""
        asked = options.get("stall_s")
        return cls(float(asked) if asked else max(STALL_MIN_S, STALL_FRAGMENTS * fragment_s))

    def look(self, now_s: float, *, waiting: int, done: int, is_held: bool) -> bool:
        """Whether the job is stalled.

        Args:
            waiting: frames that were put and are neither done nor dropped. done: frames done so far.
            is_held: nothing may be uploaded now, so nothing can stall.
        """
        if done != self._done or not waiting or is_held or self._since_s is None:
            self._done, self._since_s = done, now_s
        return self.waited_s(now_s) > self.stall_s

    def waited_s(self, now_s: float) -> float:
        """How long frames have waited without progress, as of the last look."""
        return 0.0 if self._since_s is None else now_s - self._since_s
