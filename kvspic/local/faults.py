"""Faults of the service and of the way to it, as data: what goes wrong, for whom, when, how often. Pure.

A script holds faults and answers one question, for each call and each upload: which of them strike now? The local
endpoint and the simulation ask the same script and carry out what it says, each in its own world. Times of a fault
count from the moment that the script began. Sizes in bytes, times in ticks of 100 ns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from kvspic.local.acks import AckError
from kvspic.units import HNS_PER_MS, HNS_PER_S

__all__ = ["ANY", "PUT_MEDIA", "Fault", "FaultError", "FaultKind", "FaultScript", "fault_of"]

UNITS_HNS = {"s": HNS_PER_S, "ms": HNS_PER_MS}
ANY = "*"
PUT_MEDIA = "PutMedia"


class FaultError(ValueError):
    """A fault that cannot be: an unknown kind or field, or a value out of range."""


class FaultKind(Enum):
    """What goes wrong."""

    REFUSE = "refuse"  # the connection is refused
    UNREACHABLE = "unreachable"  # the connection attempt gets no answer
    ANSWER = "answer"  # an early answer: status, error_name, retry_after_s
    DELAY = "delay"  # the answer comes delay later; of an upload its head
    CUT = "cut"  # the connection is reset after after_bytes of the body
    SILENCE = "silence"  # from after_bytes on nothing is read and nothing answered, for ever: a half-open connection
    STALL = "stall"  # no byte moves in either direction for delay, then all of them do
    THROTTLE = "throttle"  # the body is read at bytes_per_s
    ERROR_ACK = "error-ack"  # fragment number `fragment` of the session (from 0) earns ERROR error_id, then the end
    KMS_KEY = "kms-key"  # the stream's key cannot be used: each fragment earns ERROR error_id, of open sessions too
    DELAY_ACKS = "delay-acks"  # each ACK comes delay later
    REORDER_ACKS = "reorder-acks"  # each ACK but the last of a fragment may be overtaken by the one after it
    DROP_ACKS = "drop-acks"  # ACKs are lost, the data is not
    EXPIRE_TOKENS = "expire-tokens"  # every credential given out so far is refused as expired
    RESTART = "restart"  # the endpoint ends all connections and refuses new ones for delay


OF_OWNER = frozenset({FaultKind.EXPIRE_TOKENS, FaultKind.RESTART, FaultKind.STALL})
"""Faults that happen to the endpoint at their time, not to one call: the owner asks :meth:`FaultScript.events`."""

_STANDING = frozenset({FaultKind.KMS_KEY})  # these hold for a time; :meth:`FaultScript.key_trouble` asks for them

_NUMBERS = (
    "begin_hns", "end_hns", "skip", "count", "after_bytes", "delay_hns", "bytes_per_s", "retry_after_s", "fragment",
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        operation: ``PutMedia``, ``DescribeStream`` ... or ``*``; stream: a name or ``*``.
        begin_hns, end_hns: it strikes calls that start in this time; end 0 is never.
        skip, count: the first ``skip`` calls that it fits are spared, then ``count`` are struck; 0 is all.
        status, error_name: of an ANSWER; ``error_name`` is what the client finds in ``x-amzn-ErrorType``.
        error_id: of an ERROR_ACK or a KMS_KEY, a number of :class:`~kvspic.local.acks.AckError` or its name, such as
            "ARCHIVAL_ERROR"; it is a number afterwards.
    """

    kind: FaultKind
    operation: str = ANY
    stream: str = ANY
    begin_hns: int = 0
    end_hns: int = 0
    skip: int = 0
    count: int = 0
    after_bytes: int = 0
    delay_hns: int = 0
    bytes_per_s: int = 0
    status: int = 500
    error_name: str = ""
    retry_after_s: int = 0
    error_id: int | str = 5000
    fragment: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.error_id, str):
            if self.error_id not in AckError.__members__:
                known = ", ".join(AckError.__members__)
                raise FaultError(f"{self.error_id!r} is no ErrorId of PutMedia; give one of {known}.")
            object.__setattr__(self, "error_id", int(AckError[self.error_id]))
        for name in _NUMBERS:
            if getattr(self, name) < 0:
                raise FaultError(f"{name} of a fault is negative; give 0 or more.")
        if self.kind is FaultKind.ANSWER and not 400 <= self.status <= 599:
            raise FaultError(f"the status {self.status} is no refusal; give 400 to 599.")
        if self.kind is FaultKind.ERROR_ACK and self.error_id not in AckError._value2member_map_:
            raise FaultError(f"{self.error_id} is no ErrorId of PutMedia; give one of the documented ones.")
        if self.kind is FaultKind.THROTTLE and not self.bytes_per_s:
            raise FaultError("a throttle needs bytes_per_s above 0.")

    @property
    def ack_error(self) -> AckError:
        """What ``error_id`` stands for."""
        return AckError(int(self.error_id))

    def fits(self, operation: str, stream: str, at_hns: int) -> bool:
        """Whether the fault is about such a call at such a time."""
        if self.operation not in (ANY, operation) or self.stream not in (ANY, stream):
            return False
        return self.begin_hns <= at_hns and (not self.end_hns or at_hns < self.end_hns)


class FaultScript:
    """Faults and how often each has struck. ``begin_hns`` is the time from which theirs count."""

    def __init__(self, faults: Iterable[Fault] = (), begin_hns: int = 0) -> None:
        self.faults = tuple(faults)
        self._begin_hns = begin_hns
        self._seen = [0] * len(self.faults)

    def strikes(self, operation: str, stream: str, now_hns: int) -> list[Fault]:
        """Return the faults that strike this call, in the script's order, and count it."""
        at_hns, struck = now_hns - self._begin_hns, []
        for index, fault in enumerate(self.faults):
            if fault.kind in OF_OWNER or fault.kind in _STANDING or not fault.fits(operation, stream, at_hns):
                continue
            self._seen[index] += 1
            place = self._seen[index] - fault.skip
            if place > 0 and (not fault.count or place <= fault.count):
                struck.append(fault)
        return struck

    def key_trouble(self, stream: str, now_hns: int) -> AckError | None:
        """Return what is wrong with the KMS key of a stream, None for nothing."""
        at_hns = now_hns - self._begin_hns
        for fault in self.faults:
            if fault.kind is FaultKind.KMS_KEY and fault.fits(PUT_MEDIA, stream, at_hns):
                return fault.ack_error
        return None

    @property
    def is_spent(self) -> bool:
        """Whether each fault has struck as often as it may."""
        pairs = zip(self.faults, self._seen)
        return all(fault.count and seen >= fault.skip + fault.count for fault, seen in pairs)

    def events(self) -> list[tuple[int, Fault]]:
        """Return what happens to the endpoint itself, with its times, earliest first."""
        found = [(self._begin_hns + fault.begin_hns, fault) for fault in self.faults if fault.kind in OF_OWNER]
        return sorted(found, key=lambda event: event[0])


def fault_of(members: Mapping[str, Any]) -> Fault:
    """Make a fault from plain values, as a file has them; ``delay_s`` and ``delay_ms`` stand for ``delay_hns`` and so
    on, ``error_id`` may be a name of :class:`~kvspic.local.acks.AckError`.

    Raises:
        FaultError: a member that faults do not have, or a value that cannot be.
    """
    names = {field.name for field in fields(Fault)}
    values: dict[str, Any] = {}
    for key, value in members.items():
        name = key.replace("-", "_")
        stem, _, unit = name.rpartition("_")
        if name not in names and unit in UNITS_HNS:
            name, value = f"{stem}_hns", round(_number(key, value) * UNITS_HNS[unit])
        if name == "error_id" and isinstance(value, str) and value in AckError.__members__:
            value = int(AckError[value])
        if name not in names:
            raise FaultError(f"a fault has no member {key}; it has {', '.join(sorted(names))}.")
        values[name] = value
    try:
        values["kind"] = FaultKind(values.get("kind"))
    except ValueError:
        known = ", ".join(kind.value for kind in FaultKind)
        raise FaultError(f"the kind of a fault is one of {known}.") from None
    if values["kind"] is FaultKind.KMS_KEY:
        values.setdefault("error_id", int(AckError.KMS_KEY_DISABLED))
    for name in (*_NUMBERS, "status", "error_id"):
        if name in values:
            values[name] = _integer(name, values[name])
    for name in ("operation", "stream", "error_name"):
        if not isinstance(values.get(name, ""), str):
            raise FaultError(f"{name} of a fault is a text; put it into quotes.")
    return Fault(**values)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise FaultError(f"{name} of a fault is a number.")
    return value


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FaultError(f"{name} of a fault is a whole number.")
    return value
