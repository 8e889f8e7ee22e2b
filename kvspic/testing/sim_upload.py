"""The shell of an upload in the simulation: the rules of :mod:`kvspic.provider.upload` over a simulated connection.

It does what the provider's session does, without sockets and tasks, and lets the judge see what leaves and arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvspic.actions import Action
from kvspic.driver.rules import UploadHandle
from kvspic.local.acks import Ack
from kvspic.provider.clock import ServiceClock
from kvspic.provider.credentials import NoCredentialsError
from kvspic.provider.putmedia import PutMediaHead
from kvspic.provider.upload import NEVER_HNS, PutMediaOutcome, PutMediaUpload, Step
from kvspic.testing.clock import Timer
from kvspic.testing.sim_checks import SessionLog
from kvspic.testing.sim_network import Connection
from kvspic.testing.sim_service import Keys, UploadHead
from kvspic.units import HNS_PER_S

if TYPE_CHECKING:
    from kvspic.testing.sim_stream import SimStream

__all__ = ["SimUpload"]

ACCEPTED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class _Handle(UploadHandle):
    """Notes at which step of the run each piece was read."""

    def __init__(self, stream: SimStream, action: Action) -> None:
        clock = stream.world.clock
        super().__init__(stream.rules, action, stream.world.reader, lambda: clock.now_hns)
        self._world = stream.world
        self.marks: list[tuple[int, int]] = []
        self.size = 0

    def read(self, size_max: int) -> tuple[memoryview | bytes, int, int]:
        chunk, size, state = super().read(size_max)
        if size:
            self.size += size
            self.marks.append((self.size, self._world.accounts.step))
        return chunk, size, state


class SimUpload:
    """One upload handle of one stream."""

    def __init__(self, stream: SimStream, action: Action, done: Callable[[PutMediaOutcome], None]) -> None:
        self._stream = stream
        self._world = stream.world
        self._done = done
        self._clock = stream.world.clock
        self.began_hns = self._clock.now_hns
        self.handle = _Handle(stream, action)
        self.handle.on_over = self._stop
        wall = ServiceClock(lambda: self._clock.now_hns / HNS_PER_S)
        self._upload = PutMediaUpload(self.handle, self._clock.now_hns, clock=wall)
        self._step: Step | None = None  # the one that is being carried out
        self._connection: Connection | None = None
        self._log: SessionLog | None = None
        self._is_blocked = False
        self._timer: Timer | None = None

    @property
    def log(self) -> SessionLog:
        """What the connection of now sends."""
        assert self._log is not None
        return self._log

    def begin(self) -> None:
        """Begin; nothing of it where the core has left the upload meanwhile."""
        self.began_hns = self._clock.now_hns
        self._look()

    def hurry(self) -> None:
        """Another upload of the stream has ended."""
        self._upload.hurry(self._clock.now_hns)
        self._look()

    def _stop(self) -> None:
        self._upload.stop()
        self._look()

    def more(self) -> None:
        """Send until the core has no more, or the connection takes no more for now."""
        while self._connection is not None and not self._is_blocked:
            data = self._upload.next_bytes(self._clock.now_hns)
            if not data:
                break
            self._send(self._connection, bytes(data))
            if not self._upload.has_more:
                break
        self._look()

    # ---- steps

    def _look(self) -> None:
        """Carry out a new step, and see to the deadline."""
        upload = self._upload
        if upload.step is not self._step:
            self._step = upload.step
            if upload.step is not Step.EXCHANGE:
                self._close()
            if upload.step is Step.OPEN:
                self._open(upload.needs_refresh)
            elif upload.step is Step.OVER and upload.outcome is not None:
                self._done(upload.outcome)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if upload.deadline_hns < NEVER_HNS:
            self._timer = self._clock.call_at(upload.deadline_hns, self._ring)

    def _ring(self) -> None:
        self._upload.tick(self._clock.now_hns)
        self.more()

    def _open(self, refresh: bool) -> None:
        keys = self._world.credentials(refresh)
        if keys is None:
            error = NoCredentialsError("no keys")
            self._clock.call_later(HNS_PER_S // 100, lambda: self.broken(error))
            return
        self._log = SessionLog(self._stream.account, self.handle.action.upload, self.handle.marks)
        self._stream.account.called("PutMedia", self._clock.now_hns)
        self._connection = self._world.service.connect(self._log, self._head(keys), self)
        self._is_blocked = False

    def _head(self, keys: Keys) -> UploadHead:
        plan = self._stream.plan
        head = PutMediaHead(plan.name, self.handle.action.a, absolute=not plan.relative)
        endpoint = self._stream.endpoint_url
        headers = {name: value for name, value in head.headers(endpoint) if name.startswith("x-amzn-")}
        return UploadHead(headers, endpoint, keys)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # ---- out

    def _send(self, connection: Connection, data: bytes) -> None:
        size, _, chunk = data.partition(b"\r\n")
        piece = chunk[: int(size, 16)]
        free_hns = connection.send(piece) if piece else self._clock.now_hns
        if data.endswith(b"0\r\n\r\n") and len(chunk) != len(piece) + 2:
            connection.send_end()
        if free_hns is None:
            self._is_blocked = True
            self._upload.blocked(self._clock.now_hns)
        elif free_hns - self._clock.now_hns >= HNS_PER_S // 20:
            self._is_blocked = True
            self._clock.call_at(free_hns, lambda: self._free(connection))

    def _free(self, connection: Connection) -> None:
        if self._connection is connection:
            self._is_blocked = False
            self.more()

    # ---- in

    def connected(self) -> None:
        """The connection stands."""
        self._upload.request([("Host", "simulated"), ("Transfer-Encoding", "chunked")])
        self._upload.opened(self._clock.now_hns)
        self._step = self._upload.step
        self.more()

    def head(self, status: int, error_name: str, retry_after_s: int) -> None:
        """The head of the answer; of a refusal the whole of it."""
        if status == 200:
            self._receive(ACCEPTED)
            return
        wait = f"Retry-After: {retry_after_s}\r\n" if retry_after_s else ""
        head = f"HTTP/1.1 {status} No\r\nx-amzn-ErrorType: {error_name}\r\n{wait}Content-Length: 0\r\n\r\n"
        self._receive(head.encode())

    def ack(self, line: bytes, ack: Ack) -> None:
        """An ACK, or the first part of one."""
        world = self._world
        if world.random.chance(6):
            self._receive(_chunk(line[:9]))
            line = line[9:]
        world.accounts.acked(self.log, ack)
        self._receive(_chunk(line))
        self._stream.told_of_ack(ack)

    def ended(self) -> None:
        """The answer ended in good order."""
        self._receive(b"0\r\n\r\n")

    def broken(self, error: Exception) -> None:
        """The connection broke, or never came about."""
        now_hns = self._clock.now_hns
        if self._upload.step is Step.OPEN:
            self._upload.failed(error, now_hns)
        else:
            self._upload.received(b"", now_hns, error if isinstance(error, OSError) else None)
        self._look()

    def _receive(self, data: bytes) -> None:
        self._upload.received(data, self._clock.now_hns)
        self.more()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
