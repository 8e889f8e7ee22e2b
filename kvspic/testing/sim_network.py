"""The way between producer and service: latency, bandwidth, and what breaks it. Bytes and answers keep their order.

A connection has two ends. What the producer sends arrives at the ``server`` end after its time; what the service
answers arrives at the ``client`` end. A cut reaches both; a silent connection swallows everything, unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from kvspic.local.acks import Ack
from kvspic.local.faults import Fault, FaultKind
from kvspic.testing.clock import SimClock
from kvspic.testing.sim_random import SimRandom
from kvspic.units import HNS_PER_S

__all__ = ["ClientEnd", "ConnectTimeout", "Connection", "Network", "ServerEnd"]

CONNECT_MAX_HNS = 5 * HNS_PER_S
SOCKET_BUFFER = 256 * 1024  # what the kernel takes from a writer whose peer reads nothing


class ConnectTimeout(OSError):
    """No answer came; results are classified by the name of the class."""


class ClientEnd(Protocol):
    """What the producer's side hears."""

    def connected(self) -> None: ...
    def head(self, status: int, error_name: str, retry_after_s: int) -> None: ...
    def ack(self, line: bytes, ack: Ack) -> None: ...
    def ended(self) -> None: ...
    def broken(self, error: OSError) -> None: ...


class ServerEnd(Protocol):
    """What the service's side hears."""

    def request(self) -> None: ...
    def body(self, data: bytes) -> None: ...
    def end_of_body(self) -> None: ...
    def cut(self) -> None: ...


class Network:
    """What all connections share."""

    def __init__(self, clock: SimClock, random: SimRandom, latency_hns: int, bytes_per_s: int) -> None:
        self.clock = clock
        self.random = random
        self.bytes_per_s = bytes_per_s
        self.connections: dict[Connection, None] = {}  # ordered, so that a seed always gives the same run
        self._latency_hns = latency_hns
        self._stalled_until_hns = 0
        self._down_until_hns = 0

    def latency_hns(self) -> int:
        """One way, with some jitter."""
        return self._latency_hns + self.random.below(self._latency_hns // 2 + 1)

    def arrival_hns(self, sent_hns: int) -> int:
        """When what is sent at ``sent_hns`` is there."""
        return max(sent_hns + self.latency_hns(), self._stalled_until_hns)

    def stall(self, duration_hns: int) -> None:
        """Nothing moves for a while; nothing is lost either."""
        self._stalled_until_hns = max(self._stalled_until_hns, self.clock.now_hns + duration_hns)

    def restart(self, duration_hns: int) -> None:
        """The endpoint goes down: all connections are reset, new ones refused for a while."""
        self._down_until_hns = self.clock.now_hns + duration_hns
        for connection in tuple(self.connections):
            connection.reset()

    def trouble(self, faults: Sequence[Fault]) -> OSError | None:
        """Why no connection comes about now, if none does."""
        kinds = {fault.kind for fault in faults}
        if FaultKind.UNREACHABLE in kinds or self._stalled_until_hns - self.clock.now_hns > CONNECT_MAX_HNS:
            return ConnectTimeout("no answer")
        if FaultKind.REFUSE in kinds or self.clock.now_hns < self._down_until_hns:
            return ConnectionRefusedError("refused")
        return None

    def connect_hns(self, trouble: OSError | None) -> int:
        """How long it takes to know."""
        if isinstance(trouble, ConnectTimeout):
            return CONNECT_MAX_HNS
        return self.arrival_hns(self.clock.now_hns) - self.clock.now_hns + self.latency_hns()


class Connection:
    """One connection of an upload."""

    def __init__(self, network: Network, client: ClientEnd, faults: Sequence[Fault]) -> None:
        self._network = network
        self._clock = network.clock
        self._client: ClientEnd | None = client
        self._server: ServerEnd | None = None
        self._rate = min([network.bytes_per_s, *(fault.bytes_per_s for fault in faults if fault.bytes_per_s)])
        self._cut_at = _least(faults, FaultKind.CUT)
        self._silent_at = _least(faults, FaultKind.SILENCE)
        self._sent = 0
        self._free_hns = self._up_hns = self._down_hns = 0
        self.is_silent = self._will_be_silent = False

    def open(self, server: ServerEnd, faults: Sequence[Fault]) -> None:
        """Connect; the client end hears how it went."""
        self._server = server
        trouble = self._network.trouble(faults)
        self._clock.call_later(self._network.connect_hns(trouble), lambda: self._opened(trouble))

    def _opened(self, trouble: OSError | None) -> None:
        client = self._client
        if client is None:
            return
        if trouble is not None:
            self._client = self._server = None
            client.broken(trouble)
            return
        self._network.connections[self] = None
        self._up(lambda server: server.request())
        self._go_silent()
        client.connected()

    # ---- producer to service

    def send(self, data: bytes) -> int | None:
        """Send a piece of the body; return when the next may be sent, None if that will never be."""
        whole, self._sent = data, self._sent + len(data)
        self._free_hns = max(self._free_hns, self._clock.now_hns) + len(data) * HNS_PER_S // self._rate
        for limit in (self._cut_at, self._silent_at):
            if limit is not None and self._sent > limit:
                data = whole[: max(0, len(whole) - (self._sent - limit))]
        if data and not self._will_be_silent:
            self._up(lambda server: server.body(data))
        if self._cut_at is not None and self._sent >= self._cut_at:
            self._clock.call_at(max(self._up_hns, self._clock.now_hns), self.reset)
        self._go_silent()
        if self._silent_at is not None and self._sent - self._silent_at > SOCKET_BUFFER:
            return None
        return self._free_hns

    def send_end(self) -> None:
        """The body is complete."""
        if not self._will_be_silent:
            self._up(lambda server: server.end_of_body())

    def close(self) -> None:
        """The producer gives the connection up; what is under way still arrives."""
        self._client = None
        self._network.connections.pop(self, None)
        self._up(lambda server: server.cut())

    def _go_silent(self) -> None:
        """When the last byte before the silence has arrived, nothing moves any more."""
        if self._will_be_silent or self._silent_at is None or self._sent < self._silent_at:
            return
        self._will_be_silent = True
        self._up(lambda server: self._be_silent())

    def _be_silent(self) -> None:
        self.is_silent = True

    def _up(self, tell: Callable[[ServerEnd], None]) -> None:
        sent_hns = max(self._free_hns, self._clock.now_hns)
        self._up_hns = max(self._up_hns, self._network.arrival_hns(sent_hns))
        self._clock.call_at(self._up_hns, lambda: tell(self._server) if self._server is not None else None, True)

    # ---- service to producer

    def answer(self, tell: Callable[[ClientEnd], None], delay_hns: int = 0) -> None:
        """Send something back."""
        if self.is_silent:
            return
        arrival_hns = self._network.arrival_hns(self._clock.now_hns + delay_hns)
        self._down_hns = max(self._down_hns, arrival_hns)
        self._clock.call_at(self._down_hns, lambda: self._tell(tell))

    def _tell(self, tell: Callable[[ClientEnd], None]) -> None:
        if self._client is not None:
            tell(self._client)

    def hang_up(self) -> None:
        """The service closes its end in good order."""
        self._network.connections.pop(self, None)
        self._server = None

    def reset(self) -> None:
        """Both ends see the connection break; a silent one does not."""
        server, self._server = self._server, None
        self._network.connections.pop(self, None)
        if server is not None:
            server.cut()
        if not self.is_silent:
            self._clock.call_later(self._network.latency_hns(), self._break)

    def _break(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.broken(ConnectionResetError("reset by peer"))


def _least(faults: Sequence[Fault], kind: FaultKind) -> int | None:
    return min((fault.after_bytes for fault in faults if fault.kind is kind), default=None)
