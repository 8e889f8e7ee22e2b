"""The service of the simulation: the local endpoint's model, a store in memory, credentials, and the script of faults.

It shows the judge (``sim_checks.Accounts``) each frame that it reads and each ERROR that the model itself raises: such
an ERROR is a fault of the producer, which promises to send nothing that the service refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kvspic.local.acks import Ack, AckError
from kvspic.local.errors import ServiceError as Refusal
from kvspic.local.faults import PUT_MEDIA, Fault, FaultKind, FaultScript
from kvspic.local.mkv_events import Block, ClusterStart, Event, Header, Tags, ends_fragment
from kvspic.local.mkv_reader import MkvReader
from kvspic.local.model import Service
from kvspic.local.put_session import PutSession
from kvspic.local.quotas import Beyond
from kvspic.local.records import CloseSession, Effect, FragmentRecord, KeepFragment, SendAck
from kvspic.testing.clock import SimClock, Timer
from kvspic.testing.sim_checks import Accounts, SessionLog
from kvspic.testing.sim_network import ClientEnd, Connection, Network
from kvspic.testing.sim_random import SimRandom
from kvspic.units import HNS_PER_S

__all__ = ["Answer", "Keys", "SimService", "UploadHead"]

READ_TIMEOUT_HNS = 10 * HNS_PER_S
SHORT = "fragments of a second"
# What the model may say of a correct producer: a session that grew too old while no other could be opened.
EXPECTED = frozenset({AckError.MAX_CONNECTION_DURATION_REACHED})


@dataclass(frozen=True)
class Keys:
    """Credentials: which, and until when."""

    number: int
    expires_hns: int


@dataclass(frozen=True)
class Answer:
    """What a call of the control plane came to: ``fields``, or a refusal, or ``trouble`` when no answer came."""

    fields: Mapping[str, Any] | None = None
    status: int = 0
    error_name: str = ""
    retry_after_s: int = 0
    trouble: OSError | None = None


class SimService:
    """The service, and the ends of all connections to it."""

    def __init__(self, clock: SimClock, network: Network, model: Service, script: FaultScript, judge: Accounts) -> None:
        self.clock = clock
        self.network = network
        self.model = model
        self.script = script
        self.judge = judge
        self.store_delay = SimRandom(network.random.next(), "store")
        self.data_endpoint = "http://data-1"
        self.refused_keys = 0  # keys up to this number are refused as expired
        self.sessions = 0
        model.key_trouble = lambda name: self.script.key_trouble(name, clock.now_hns)
        for at_hns, fault in script.events():
            clock.call_at(at_hns, lambda fault=fault: self._happen(fault))  # type: ignore[misc]
        self.last_keys = 0

    def heal(self) -> None:
        """End all faults; what leaves fragments out without a word is one."""
        self.script = FaultScript()
        quotas = replace(self.model.settings.quotas, beyond=Beyond.SLOW)
        self.model.settings = replace(self.model.settings, quotas=quotas)
        self.model.meter.quotas = quotas

    def new_keys(self, life_hns: int) -> Keys:
        """Give out credentials."""
        self.last_keys += 1
        return Keys(self.last_keys, self.clock.now_hns + life_hns)

    def _happen(self, fault: Fault) -> None:
        if fault.kind is FaultKind.EXPIRE_TOKENS:
            self.refused_keys = self.last_keys
        elif fault.kind is FaultKind.STALL:
            self.network.stall(fault.delay_hns)
        else:
            self.network.restart(fault.delay_hns)
            if fault.after_bytes > 300:  # comes back elsewhere: an endpoint that was cached is stale now
                self.data_endpoint = f"http://data-{self.clock.now_hns}"

    # ---- the control plane

    def call(self, operation: str, request: Mapping[str, Any], keys: Keys, reply: Callable[[Answer], None]) -> None:
        """Make one call; ``reply`` hears how it went, always."""
        faults = self.script.strikes(operation, str(request.get("StreamName", "")), self.clock.now_hns)
        trouble = self.network.trouble(faults)
        if trouble is None and any(fault.kind in (FaultKind.SILENCE, FaultKind.CUT) for fault in faults):
            trouble = TimeoutError("no answer")
        if trouble is not None:
            wait_hns = READ_TIMEOUT_HNS if type(trouble) is TimeoutError else self.network.connect_hns(trouble)
            self.clock.call_later(wait_hns, lambda: reply(Answer(trouble=trouble)))
            return
        delay_hns = sum(fault.delay_hns for fault in faults if fault.kind is FaultKind.DELAY)

        def arrive() -> None:
            answer = self._answer(operation, request, keys, faults)
            back_hns = self.network.arrival_hns(self.clock.now_hns + min(delay_hns, READ_TIMEOUT_HNS))
            if delay_hns > READ_TIMEOUT_HNS:
                answer = Answer(trouble=TimeoutError("no answer in time"))
            self.clock.call_at(back_hns, lambda: reply(answer))

        self.clock.call_at(self.network.arrival_hns(self.clock.now_hns), arrive, True)

    def _answer(self, operation: str, request: Mapping[str, Any], keys: Keys, faults: list[Fault]) -> Answer:
        for fault in faults:
            if fault.kind is FaultKind.ANSWER:
                return Answer(status=fault.status, error_name=fault.error_name, retry_after_s=fault.retry_after_s)
        if self.refuses(keys):
            return Answer(status=403, error_name="ExpiredTokenException")
        try:
            if operation == "GetDataEndpoint":
                return Answer(self.model.get_data_endpoint(request, self.data_endpoint, self.clock.now_hns))
            return Answer(self.model.call(operation, request, self.clock.now_hns))
        except Refusal as refusal:
            return Answer(status=refusal.status, error_name=refusal.name)

    def refuses(self, keys: Keys) -> bool:
        """Whether the credentials are no longer good."""
        return keys.number <= self.refused_keys or keys.expires_hns <= self.clock.now_hns

    # ---- uploads

    def connect(self, log: SessionLog, head: UploadHead, client: ClientEnd) -> Connection:
        """Open a connection for an upload; the client end hears how it went."""
        faults = self.script.strikes(PUT_MEDIA, log.stream_name, self.clock.now_hns)
        connection = Connection(self.network, client, faults)
        server = _Session(self, log, head, connection, faults)
        gone = [Fault(FaultKind.REFUSE)] if head.endpoint != self.data_endpoint else []
        connection.open(server, faults + gone)
        return connection


@dataclass(frozen=True)
class UploadHead:
    """The head of a PutMedia request. The service starts to read it before the body."""

    headers: Mapping[str, str]
    endpoint: str
    keys: Keys


class _Session:
    """The service's end of one upload: the model's session behind the faults."""

    def __init__(
        self, service: SimService, log: SessionLog, head: UploadHead, connection: Connection, faults: list[Fault]
    ) -> None:
        self._service = service
        self._clock = service.clock
        self._log = log
        self._head = head
        self._connection = connection
        self._session: PutSession | None = None
        self._timer: Timer | None = None
        self._has_answered = self._is_over = False
        self._size = self._fragments = 0
        self._held: Ack | None = None
        self._unread: list[bytes] = []  # of the body, while the quotas hold the reading back
        self._has_ended = False
        by_kind = {fault.kind: fault for fault in reversed(faults)}
        self._early = by_kind.get(FaultKind.ANSWER)
        self._late = by_kind.get(FaultKind.DELAY)
        self._error = by_kind.get(FaultKind.ERROR_ACK)
        self._slow_acks = by_kind.get(FaultKind.DELAY_ACKS)
        self._reorders = FaultKind.REORDER_ACKS in by_kind
        self._drops = FaultKind.DROP_ACKS in by_kind

    def request(self) -> None:
        """The head of the request is here."""
        if self._service.refuses(self._head.keys):
            self._refuse(403, "ExpiredTokenException", 0)
            return
        try:
            self._session = self._service.model.open_put(self._head.headers, self._clock.now_hns)
        except Refusal as refusal:
            self._refuse(refusal.status, refusal.name, 0)
            return
        # The session's own reader, but one that keeps payloads and lets the judge see: a second one would cost as much
        # as all the rest of the simulation.
        self._session._reader = _WatchedReader(self._service.judge, self._log)
        self._service.sessions += 1
        self._refuse_early()

    def _refuse(self, status: int, name: str, retry_after_s: int) -> None:
        delay_hns = self._late.delay_hns if self._late else 0
        self._connection.answer(lambda client: client.head(status, name, retry_after_s), delay_hns)
        self.cut()

    def _refuse_early(self) -> bool:
        fault = self._early
        if fault is None or self._size < fault.after_bytes:
            return False
        self._refuse(fault.status, fault.error_name, fault.retry_after_s)
        return True

    def body(self, data: bytes) -> None:
        """Bytes of the body are here."""
        self._size += len(data)
        if self._session is None or self._is_over or self._refuse_early():
            return
        if not self._has_answered and self._early is None:
            self._has_answered = True
            delay_hns = self._late.delay_hns if self._late else 0
            self._connection.answer(lambda client: client.head(200, "", 0), delay_hns)
        self._unread.append(data)
        if len(self._unread) == 1:
            self._read()

    def end_of_body(self) -> None:
        """The producer ended the body."""
        self._has_ended = True
        if not self._unread:
            self._read()

    def _read(self) -> None:
        """Read what has arrived, no faster than the quotas allow."""
        while self._session is not None and not self._is_over:
            if self._session.resume_hns > self._clock.now_hns:
                self._clock.call_at(self._session.resume_hns, self._read, True)
                return
            if not self._unread:
                break
            data = self._unread[0]
            self._apply(self._session.feed(data, self._clock.now_hns))
            self._unread.pop(0)
            self._judge_pace()
        if self._has_ended and self._session is not None and not self._is_over:
            self._apply(self._session.end_of_body(self._clock.now_hns))

    def _judge_pace(self) -> None:
        """A tail may be short, because nothing follows that it could be joined to; the judge sees to the others."""
        breaches = self._session.breaches.keys() - {SHORT} if self._session is not None else None
        if breaches and not self._is_over:
            self._service.judge.slowed(self._log, ", ".join(breaches))

    def cut(self) -> None:
        """The other end is gone."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            self._session.cut()

    # ---- what the model says

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            if self._is_over:
                break
            if isinstance(effect, SendAck):
                self._send(effect.ack)
            elif isinstance(effect, KeepFragment):
                self._keep(effect.fragment)
            elif isinstance(effect, CloseSession):
                self._close()
        self._arm()

    def _keep(self, fragment: FragmentRecord) -> None:
        self._service.judge.stored(self._log, fragment.timecode)
        at_hns = self._clock.now_hns + self._service.store_delay.below(200_000)
        self._clock.call_at(at_hns, lambda: self._kept(fragment.number), True)

    def _kept(self, number: str) -> None:
        if self._session is not None and not self._is_over:
            self._apply(self._session.stored(number, self._clock.now_hns))

    def _send(self, ack: Ack) -> None:
        if ack.event == "ERROR" and ack.error is not None and not self._is_expected(ack.error):
            self._service.judge.refused(self._log, ack.error)
        fault = self._error
        if fault is not None and ack.event == "BUFFERING":
            self._fragments += 1
            if self._fragments > fault.fragment:
                self._answer(ack)
                self._answer(Ack("ERROR", ack.timecode, ack.number, fault.ack_error))
                self._close()
                return
        if self._drops and ack.event != "ERROR":
            return
        if self._reorders and self._held is None and ack.event != "ERROR":
            self._held = ack
            return
        self._answer(ack)
        if self._held is not None:
            held, self._held = self._held, None
            self._answer(held)

    def _is_expected(self, error: AckError) -> bool:
        key_trouble = self._service.script.key_trouble(self._log.stream_name, self._clock.now_hns)
        return error in EXPECTED or error is key_trouble

    def _answer(self, ack: Ack) -> None:
        line = ack.line()
        self._connection.answer(
            lambda client: client.ack(line, ack), self._slow_acks.delay_hns if self._slow_acks else 0
        )

    def _close(self) -> None:
        self._connection.answer(lambda client: client.ended())
        self.cut()
        self._connection.hang_up()

    # ---- time

    def _arm(self) -> None:
        deadline_hns = self._session.deadline_hns if self._session is not None and not self._is_over else None
        if deadline_hns is None:
            return
        if self._timer is not None and self._timer.is_pending:
            if self._timer.at_hns <= deadline_hns:
                return
            self._timer.cancel()
        self._timer = self._clock.call_at(deadline_hns, self._ring, True)

    def _ring(self) -> None:
        if self._session is None or self._is_over:
            return
        deadline_hns = self._session.deadline_hns
        if deadline_hns is not None and deadline_hns <= self._clock.now_hns:
            self._apply(self._session.tick(self._clock.now_hns))
        else:
            self._arm()


class _WatchedReader(MkvReader):
    """A Matroska reader that lets the judge see what it reads."""

    def __init__(self, judge: Accounts, log: SessionLog) -> None:
        super().__init__(keep_payload=True)
        self._judge = judge
        self._log = log

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take the next bytes."""
        events = super().feed(data)
        for event in events:
            if isinstance(event, Block):
                self._judge.block(self._log, event)
            elif isinstance(event, Tags) and ends_fragment(event):
                self._judge.ended(self._log)
            elif isinstance(event, Header):
                self._judge.header(self._log, event)
            elif isinstance(event, ClusterStart):
                self._judge.cluster(self._log, event.offset, event.timecode)
        return events
