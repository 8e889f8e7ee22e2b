"""Faults carried out on the endpoint's sockets: which of them strike a request, and what then becomes of it.

The endpoint knows what a request is about once it has read its head, so a ``refuse`` that names a call resets the
connection there, and ``unreachable`` is silence from the head on; ``restart`` refuses connections truly. Expired tokens
are those that were seen in a request by then. With no fault in force an upload costs one test more per read.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import socket
import struct
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from aiohttp import web

from kvspic.local.acks import Ack, AckError
from kvspic.local.faults import PUT_MEDIA, Fault, FaultKind, FaultScript
from kvspic.units import HNS_PER_S

__all__ = ["ScriptedFaults", "Struck", "UploadFaults", "reset"]

_POLL_S = 0.05  # how often a silent connection looks whether its client is still there
_KEYS_MAX = 10_000

Restart = Callable[[float], Coroutine[Any, Any, None]]
Struck = dict[FaultKind, Fault]


def _now_hns() -> int:
    return time.monotonic_ns() // 100


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Break a connection off with RST, so that the other side sees an error and not an end."""
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    abort = getattr(transport, "abort", transport.close)
    abort()


class ScriptedFaults:
    """The faults of one endpoint; more may be added while it runs. Any thread may use it.

    Args:
        faults: in force from the endpoint's start, their times count from there.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._first = tuple(faults)
        self._scripts: dict[int, FaultScript] = {}  # one for each fault, by a number that is never used twice
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._restart: Restart | None = None
        self._restarting: set[asyncio.Task[None]] = set()
        self._moving_at_hns = 0
        self._seen_keys: dict[bytes, None] = {}
        self._expired_keys: dict[bytes, None] = {}

    def add(self, *faults: Fault) -> None:
        """Put faults in force, for requests from now on; their times count from now."""
        if self._loop is None:
            self._first += faults
        else:
            self._loop.call_soon_threadsafe(self._take, faults)

    def clear(self) -> None:
        """End all faults, for requests from now on; expired tokens are good again. Open uploads keep theirs."""
        self._first = ()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._forget)

    def in_force(self) -> dict[int, Fault]:
        """Return the faults that strike, or will at their time, by a number for :meth:`remove`."""
        scripts = list(self._scripts.items())
        return {number: script.faults[0] for number, script in scripts if not script.is_spent}

    def remove(self, number: int) -> None:
        """End one fault of :meth:`in_force`, for requests from now on; an unknown number does nothing."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop, number)

    # For the endpoint, on its loop.

    def begin(self, restart: Restart) -> None:
        """The endpoint starts. ``restart`` ends all connections and comes back after some seconds."""
        self._loop, self._restart = asyncio.get_running_loop(), restart
        self._take(self._first)

    async def end(self) -> None:
        """The endpoint stops for good."""
        self._forget()
        self._loop = None
        restarting = [task for task in self._restarting if task is not asyncio.current_task()]
        for task in restarting:
            task.cancel()
        await asyncio.gather(*restarting, return_exceptions=True)

    def _take(self, faults: tuple[Fault, ...]) -> None:
        loop = asyncio.get_running_loop()
        begin_hns = _now_hns()
        for fault in faults:
            self._number += 1
            script = self._scripts[self._number] = FaultScript([fault], begin_hns)
            for at_hns, _ in script.events():
                delay_s = (at_hns - begin_hns) / HNS_PER_S
                if delay_s:
                    self._timers[self._number] = loop.call_later(delay_s, self._happen, self._number, fault)
                else:
                    self._happen(self._number, fault)

    def _drop(self, number: int) -> None:
        script, timer = self._scripts.pop(number, None), self._timers.pop(number, None)
        if timer is not None:
            timer.cancel()
        kind = None if script is None else script.faults[0].kind
        if kind is FaultKind.EXPIRE_TOKENS:
            self._expired_keys = {}
        elif kind is FaultKind.STALL and not any(one.kind is kind for one in self.in_force().values()):
            self._moving_at_hns = 0

    def _forget(self) -> None:
        for number in list(self._scripts):
            self._drop(number)
        self._moving_at_hns = 0
        self._expired_keys = {}

    def _happen(self, number: int, fault: Fault) -> None:
        if fault.kind is FaultKind.EXPIRE_TOKENS:
            self._expired_keys.update(self._seen_keys)
        elif fault.kind is FaultKind.STALL:
            self._moving_at_hns = _now_hns() + fault.delay_hns
            loop, delay_s = asyncio.get_running_loop(), fault.delay_hns / HNS_PER_S
            self._timers[number] = loop.call_later(delay_s, self._drop, number)
        elif self._restart is not None:
            self._drop(number)
            task: asyncio.Task[None] = asyncio.ensure_future(self._restart(fault.delay_hns / HNS_PER_S))
            self._restarting.add(task)
            task.add_done_callback(self._restarting.discard)

    # For requests.

    async def strikes(self, request: web.Request) -> Struck:
        """Return the faults that strike this request, and count it."""
        if not self._scripts:
            return {}
        operation, stream, now_hns = _operation(request.path), await _stream_name(request), _now_hns()
        struck = [fault for script in self._scripts.values() for fault in script.strikes(operation, stream, now_hns)]
        return {fault.kind: fault for fault in reversed(struck)}

    def key_trouble(self, stream: str) -> AckError | None:
        """What is wrong with the KMS key of a stream, None for nothing."""
        now_hns = _now_hns()
        for script in self._scripts.values():
            if (error := script.key_trouble(stream, now_hns)) is not None:
                return error
        return None

    def has_expired(self, request: web.Request) -> bool:
        """Whether the request is signed with keys that a fault has ended; remembers the keys that it sees."""
        key = _key_digest(request)
        if key in self._expired_keys:
            return True
        self._seen_keys[key] = None
        while len(self._seen_keys) > _KEYS_MAX:
            del self._seen_keys[next(iter(self._seen_keys))]
        return False

    async def until_moving(self) -> None:
        """Wait while the link is stalled."""
        while (left_hns := self._moving_at_hns - _now_hns()) > 0:
            await asyncio.sleep(min(left_hns / HNS_PER_S, _POLL_S))

    async def before_answer(self, request: web.Request, struck: Struck) -> web.Response | None:
        """Do to a request what happens before its call is made; a response if that is all that becomes of it."""
        await self.until_moving()
        late, early = struck.get(FaultKind.DELAY), struck.get(FaultKind.ANSWER)
        if FaultKind.UNREACHABLE in struck or _is_at_head(request, struck.get(FaultKind.SILENCE)):
            return await _silence(request)
        if late is not None:
            await asyncio.sleep(late.delay_hns / HNS_PER_S)
        if FaultKind.REFUSE in struck or _is_at_head(request, struck.get(FaultKind.CUT)):
            reset(request.transport)
            return web.Response(status=500)  # the client is gone
        return None if early is None else await _early_answer(request, early)


class UploadFaults:
    """What has struck one upload: its body is read and its ACKs are sent through here."""

    def __init__(self, request: web.Request, struck: Struck, faults: ScriptedFaults) -> None:
        self._request = request
        self._faults = faults
        self._struck = struck
        self._silence = struck.get(FaultKind.SILENCE)
        self._throttle = struck.get(FaultKind.THROTTLE)
        self._end = struck.get(FaultKind.CUT) or self._silence
        self._left = self._end.after_bytes if self._end is not None else 0
        self._rest = b""
        self._buffering_count = 0
        self._held: Ack | None = None
        self._is_over = False  # an ERROR was sent
        late = struck.get(FaultKind.DELAY_ACKS)
        self.ack_delay_s = late.delay_hns / HNS_PER_S if late is not None else 0.0
        self.is_silent = False

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end.

        Raises:
            ConnectionResetError: a fault has cut it.
        """
        data = await self._read_body()
        await self._faults.until_moving()
        if self._end is None or not data:
            return data
        if not self._left:
            await self._break_off()
        now, self._rest = data[: self._left], data[self._left :]
        self._left -= len(now)
        return now

    async def _read_body(self) -> bytes:
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        if self._throttle is None:
            return await self._request.content.readany()
        speed = self._throttle.bytes_per_s
        data = await self._request.content.read(max(1, speed // 20))
        await asyncio.sleep(len(data) / speed)
        return data

    async def _break_off(self) -> None:
        if self._end is self._silence:
            self.is_silent = True
            await _silence(self._request)
        reset(self._request.transport)
        raise ConnectionResetError("a fault of the script cut the body")

    async def until_moving(self) -> None:
        """Wait while the link is stalled."""
        await self._faults.until_moving()

    def acks(self, ack: Ack) -> list[Ack]:
        """What is sent for an ACK of the model; after an ERROR the session is over."""
        if self.is_silent or self._is_over:
            return []
        error = self._error_for(ack)
        if error is not None or ack.event == "ERROR":
            self._is_over = True
            return [*self._let_go([]), ack] if error is None else [*self._let_go([ack]), error]
        if FaultKind.DROP_ACKS in self._struck:
            return []
        if FaultKind.REORDER_ACKS in self._struck and self._held is None and ack.event != "PERSISTED":
            self._held = ack
            return []
        return self._let_go([ack])

    def _error_for(self, ack: Ack) -> Ack | None:
        fault = self._struck.get(FaultKind.ERROR_ACK)
        if fault is None or ack.event != "BUFFERING":
            return None
        self._buffering_count += 1
        if self._buffering_count <= fault.fragment:
            return None
        return Ack("ERROR", ack.timecode, ack.number, fault.ack_error)

    def _let_go(self, acks: list[Ack]) -> list[Ack]:
        held, self._held = self._held, None
        return acks if held is None else [*acks, held]


def _operation(path: str) -> str:
    return path[1:2].upper() + path[2:]


async def _stream_name(request: web.Request) -> str:
    """Which stream a request is about, "" where it does not say."""
    if _operation(request.path) == PUT_MEDIA:
        name, arn = request.headers.get("x-amzn-stream-name", ""), request.headers.get("x-amzn-stream-arn", "")
    else:
        members = _members(await request.read())
        name, arn = str(members.get("StreamName") or ""), str(members.get("StreamARN") or "")
    found = re.search(r":stream/([^/]+)", arn)
    return name or (found[1] if found else "")


def _members(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _key_digest(request: web.Request) -> bytes:
    """Stands for access key and token, which are not kept."""
    access_key = re.search(r"Credential=([^/,]*)", request.headers.get("authorization", ""))
    token = request.headers.get("x-amz-security-token", "")
    return hashlib.sha256(f"{access_key[1] if access_key else ''}\n{token}".encode()).digest()


def _is_at_head(request: web.Request, fault: Fault | None) -> bool:
    """Whether a fault of the body strikes with the head: a call's body is read whole, or there is nothing to spare."""
    return fault is not None and (_operation(request.path) != PUT_MEDIA or not fault.after_bytes)


async def _silence(request: web.Request) -> web.Response:
    """Answer nothing until the client has gone."""
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(_POLL_S)
    return web.Response(status=500)  # the client is gone


async def _early_answer(request: web.Request, fault: Fault) -> web.Response:
    """Refuse; an upload once ``after_bytes`` of its body are here."""
    size = 0
    while _operation(request.path) == PUT_MEDIA and size < fault.after_bytes and (data := await _some(request)):
        size += len(data)
    headers = {"x-amzn-ErrorType": fault.error_name} if fault.error_name else {}
    if fault.retry_after_s:
        headers["Retry-After"] = str(fault.retry_after_s)
    return web.json_response({"Message": "A fault of the script."}, status=fault.status, headers=headers)


async def _some(request: web.Request) -> bytes:
    try:
        return await request.content.readany()
    except (OSError, web.RequestPayloadError):
        return b""
