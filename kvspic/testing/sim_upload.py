"""The producer's side of one upload in the simulation: what the provider's session does, without sockets and tasks.

The limits and what an end means are the real one's: the request's head is sent when the connection stands, the body as
the core gives it; refused credentials are refreshed once and the body sent again from its first byte; the answer's head
must come soon after the first byte, after the end of the body something now and then; and a peer that takes no byte for
long is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from kvspic.actions import Action
from kvspic.driver.rules import UploadBody
from kvspic.local.acks import Ack
from kvspic.provider.credentials import NoCredentialsError
from kvspic.provider.results import ServiceResult, is_credential_problem
from kvspic.provider.session import LINGER_S, REPEAT_MAX, EndedBy, PutMediaOutcome, SessionTimeouts, result_of
from kvspic.testing.clock import Timer
from kvspic.testing.sim_checks import SessionLog
from kvspic.testing.sim_network import Connection
from kvspic.testing.sim_service import Keys, UploadHead

if TYPE_CHECKING:
    from kvspic.testing.sim_stream import SimStream

__all__ = ["SimUpload"]

HNS_PER_S = 10_000_000
TIMEOUTS = SessionTimeouts()


class SimUpload:
    """One upload handle of one stream."""

    def __init__(self, stream: SimStream, number: int, start_ms: int, done: Callable[[PutMediaOutcome], None]) -> None:
        self._stream = stream
        self._world = stream.world
        self.number = number
        self.began_hns = stream.world.clock.now_hns
        self._start_ms = start_ms
        self._done = done
        self.body = UploadBody(stream.core, number, stream.world.reader)
        self.is_connected = self._has_head = self._is_read = self._is_finished = False
        self._is_waiting = False
        self._marks: list[tuple[int, int]] = []
        self._size = 0
        self._kept: bytearray | None = bytearray()
        self._is_repeat = False
        self._connection: Connection | None = None
        self._log: SessionLog | None = None
        self._timer: Timer | None = None
        self._write_timer: Timer | None = None
        self._partial = b""
        self.action: Action | None = None  # the order that it carries out

    @property
    def log(self) -> SessionLog:
        """What the connection of now sends."""
        assert self._log is not None
        return self._log

    def begin(self, refresh: bool = False) -> None:
        """Get keys, connect; nothing of it where the core has left the upload meanwhile."""
        if self._is_finished:
            return
        self.began_hns = self._world.clock.now_hns
        keys = self._world.credentials(refresh)
        self._arm(TIMEOUTS.open_s)
        if keys is None:
            self._world.clock.call_later(HNS_PER_S // 100, self._no_keys)
            return
        self._log = SessionLog(self._stream.account, self.number, self._marks)
        self._has_head = self._is_waiting = False
        self._connection = self._world.service.connect(self._log, self._head(keys), self)

    def _head(self, keys: Keys) -> UploadHead:
        seconds, milliseconds = divmod(self._start_ms, 1000)
        headers = {
            "x-amzn-stream-name": self._stream.plan.name,
            "x-amzn-producer-start-timestamp": f"{seconds}.{milliseconds:03d}",
            "x-amzn-fragment-acknowledgment-required": "1",
            "x-amzn-fragment-timecode-type": "RELATIVE" if self._stream.plan.relative else "ABSOLUTE",
        }
        return UploadHead(headers, self._stream.rules.endpoint_url, keys)

    def end(self) -> None:
        """The core is done with the handle, or we close."""
        self.body.is_over = True
        self._ended(EndedBy.STOPPED, "stopped")

    def more(self) -> None:
        """The core has something for this upload, or an answer came."""
        if self._is_waiting:
            self._is_waiting = False
            self._pump()

    # ---- the writing half

    def connected(self) -> None:
        """The connection stands."""
        self._disarm()
        if not self.is_connected:
            self.is_connected = True
            self._stream.answered_upload(self)
        if not self._kept or self._send(bytes(self._kept)):
            self._pump()

    def _pump(self) -> None:
        """Send until the core has no more, or the connection takes no more for now."""
        while not self._is_finished:
            piece = self._read()
            if piece is None:
                self._end_body()
                return
            if not piece:
                self._is_waiting = True
                return
            if not self._send(piece):
                return

    def _read(self) -> bytes | None:
        world = self._world
        view = self.body.read(world.clock.now_hns)
        if not view:
            return None if view is None else b""
        piece = bytes(view)
        self._size += len(piece)
        self._marks.append((self._size, world.accounts.step))
        self._keep(piece)
        return piece

    def _end_body(self) -> None:
        if self.body.is_over:
            self.end()
        elif self._connection is not None:
            self._is_read = True
            self._connection.send_end()
            self._arm(LINGER_S)

    def _keep(self, piece: bytes) -> None:
        if self._kept is None:
            return
        if self._has_head or len(self._kept) + len(piece) > REPEAT_MAX:
            self._kept = None
        else:
            self._kept += piece

    def _send(self, piece: bytes) -> bool:
        """Send; True when more may be sent at once, else the rest follows by itself."""
        assert self._connection is not None
        if not self._has_head and self._timer is None:
            self._arm(TIMEOUTS.head_s)
        free_hns = self._connection.send(piece)
        if free_hns is None:
            limit_hns = int(TIMEOUTS.write_s * HNS_PER_S)
            self._write_timer = self._world.clock.call_later(limit_hns, self._blocked)
            return False
        if free_hns - self._world.clock.now_hns < HNS_PER_S // 20:
            return True
        connection = self._connection
        self._world.clock.call_at(free_hns, lambda: self._pump() if self._connection is connection else None)
        return False

    # ---- the reading half

    def head(self, status: int, error_name: str, retry_after_s: int) -> None:
        """The status line of the answer."""
        self._has_head = True
        self._disarm()
        if status == 200:
            self._kept = None
            if self._is_read:
                self._arm(LINGER_S)
            return
        is_credential = is_credential_problem(status, error_name)
        if is_credential and self._kept is not None and not self._is_repeat:
            self._close()
            self._is_repeat = True
            self.begin(refresh=True)
            return
        outcome = PutMediaOutcome(
            result_of(EndedBy.REFUSED, status, error_name, None),
            error_name,
            f"refused: {status} {error_name}",
            http_status=status,
            ended_by=EndedBy.REFUSED,
            retry_after_s=retry_after_s,
        )
        if is_credential and self._kept is None:
            self._world.credentials(True)
            outcome = replace(outcome, result=ServiceResult.UNKNOWN)
        self._finish(outcome)

    def ack(self, line: bytes, ack: Ack) -> None:
        """An ACK, or the first part of one."""
        if self._is_read:
            self._arm(LINGER_S)
        world = self._world
        if world.random.chance(6):
            self._partial += line[:9]
            line = line[9:]
            self._give(self._partial)
            self._partial = b""
        world.accounts.acked(self.log, ack)
        self._give(line)
        self._stream.told_of_ack(ack)
        self.more()

    def _give(self, data: bytes) -> None:
        self.body.take_acks(data, self._world.clock.now_hns)
        if self.body.is_over:
            self.end()

    def ended(self) -> None:
        """The answer ended in good order."""
        self._ended(EndedBy.BODY if self._is_read else EndedBy.SERVICE, "the service ended the answer")

    def broken(self, error: OSError) -> None:
        """The connection broke, or never came about."""
        self._ended(EndedBy.NETWORK, f"{type(error).__name__}: {error}", error)

    def _no_keys(self) -> None:
        self._ended(EndedBy.NETWORK, "no keys", NoCredentialsError("no keys"))

    def _blocked(self) -> None:
        self._ended(EndedBy.TIMEOUT, "the peer took no byte for too long")

    def _silent(self) -> None:
        self._ended(EndedBy.TIMEOUT, "the service did not answer in time")

    def _ended(self, ended_by: EndedBy, what: str, error: Exception | None = None) -> None:
        status = 200 if self._has_head else 0
        result = result_of(ended_by, status, "", error)
        self._finish(PutMediaOutcome(result, "", what, http_status=status, ended_by=ended_by))

    # ---- the end

    def _finish(self, outcome: PutMediaOutcome) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        self._disarm()
        self._close()
        self._done(outcome)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def _arm(self, after_s: float) -> None:
        self._disarm()
        self._timer = self._world.clock.call_later(int(after_s * HNS_PER_S), self._silent)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
