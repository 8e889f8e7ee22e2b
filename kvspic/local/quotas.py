"""The service's quotas: what each is, and a meter that counts calls, connections and fragments against them. Pure.

Source of the numbers: AWS developer guide, "Amazon Kinesis Video Streams service quotas" (control plane, media and
archived-media tables). A call over its rate earns ``ClientLimitExceededException``, a connection too many
``ConnectionLimitExceededException``. What the service does with fragments beyond their quota is not published, so that
is a setting. ``docs/endpoint.md`` lists all rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kvspic.local.errors import ServiceError
from kvspic.units import HNS_PER_S

__all__ = ["Beyond", "Meter", "Quotas"]

_MANY_CALLS = frozenset({"DescribeStream", "GetDataEndpoint"})
_MEDIA_CALLS = frozenset({"PutMedia", "GetMedia", "GetMediaForFragmentList"})  # these have no rate of the account
_POINT_CALLS = frozenset({"ListFragments", "GetMediaForFragmentList"})  # these cost points instead of calls
_NO_LIMIT = "`kvspic serve --quotas off` has no limit"


class Beyond(Enum):
    """What becomes of a fragment beyond the quotas (too many a second, or too short)."""

    REFUSE = "refuse"  # an ERROR ACK
    SLOW = "slow"  # it is taken, and the body is read on only when it would have been in time
    DROP = "drop-silently"  # neither stored nor acknowledged


@dataclass(frozen=True)
class Quotas:
    """The quotas in force; 0 lifts one."""

    sessions_max: int = 1
    """PutMedia connections of a stream; the newest is refused."""
    readers_max: int = 3
    """GetMedia connections of a stream."""
    list_readers_max: int = 5
    """GetMediaForFragmentList connections of a stream."""
    stream_calls_per_s: int = 5
    """Of each operation on one stream."""
    account_calls_per_s: int = 50
    """Of each control-plane operation but the next two."""
    account_reads_per_s: int = 300
    """Of DescribeStream and of GetDataEndpoint."""
    streams_max: int = 10_000
    """Streams of the account."""
    fragments_per_s: int = 5
    """Of one stream, whatever the session."""
    fragment_duration_min_hns: int = HNS_PER_S
    beyond: Beyond = Beyond.SLOW
    """What becomes of fragments that break the last two."""
    bytes_per_s: int = 0
    """Media bytes of one session; the published quota is 12,500,000. Beyond it the body is read slower."""

    @classmethod
    def off(cls) -> Quotas:
        """Return quotas that limit nothing, for benchmarks and tests of other things."""
        return cls(
            sessions_max=0,
            readers_max=0,
            list_readers_max=0,
            stream_calls_per_s=0,
            account_calls_per_s=0,
            account_reads_per_s=0,
            streams_max=0,
            fragments_per_s=0,
            fragment_duration_min_hns=0,
        )


class Meter:
    """Counts against the quotas. Each rate is a bucket that holds one second's worth and fills again evenly."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self._full_hns: dict[int, dict[str, int]] = {}  # by stream (0: the account) and operation: when it is full
        self._open: dict[tuple[str, int], int] = {}  # connections, by operation and stream

    def call(self, operation: str, stream_id: int, now_hns: int) -> None:
        """Count a call on a stream, or on none (``stream_id`` 0).

        Raises:
            ServiceError: ClientLimitExceededException; the call counts for nothing.
        """
        limits = [(0, self._account_rate(operation), "an account")]
        if stream_id and operation not in _POINT_CALLS:
            limits.append((stream_id, self.quotas.stream_calls_per_s, "a stream"))
        for owner, rate, whose in limits:
            if self._wait_hns(operation, owner, rate, now_hns):
                text = f"Rate exceeded: {rate} {operation} calls a second of {whose}; {_NO_LIMIT}."
                raise ServiceError("ClientLimitExceededException", text)
        for owner, rate, _ in limits:
            self._take(operation, owner, rate, now_hns)

    def connect(self, operation: str, stream_id: int) -> None:
        """Count a connection that reads from the stream; :meth:`disconnect` ends it.

        Raises:
            ServiceError: ConnectionLimitExceededException; the connection does not count.
        """
        most = self.quotas.readers_max if operation == "GetMedia" else self.quotas.list_readers_max
        key = (operation, stream_id)
        if most and self._open.get(key, 0) >= most:
            raise self.too_many(operation, most)
        self._open[key] = self._open.get(key, 0) + 1

    def disconnect(self, operation: str, stream_id: int) -> None:
        """End a connection that :meth:`connect` has counted."""
        key = (operation, stream_id)
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    @staticmethod
    def too_many(operation: str, most: int) -> ServiceError:
        """Make the refusal of a connection too many."""
        text = f"A stream has at most {most} {operation} connections, and this would be one more; {_NO_LIMIT}."
        return ServiceError("ConnectionLimitExceededException", text)

    def fragment_hns(self, stream_id: int, now_hns: int) -> int:
        """Count a fragment of the stream; return how much too early it is, 0 for in time."""
        rate = self.quotas.fragments_per_s
        wait_hns = self._wait_hns("fragment", stream_id, rate, now_hns)
        if not wait_hns or self.quotas.beyond is Beyond.SLOW:
            self._take("fragment", stream_id, rate, now_hns)
        return wait_hns

    def forget(self, stream_id: int) -> None:
        """The stream is gone."""
        self._full_hns.pop(stream_id, None)

    def _account_rate(self, operation: str) -> int:
        if operation in _MEDIA_CALLS or operation in _POINT_CALLS:
            return 0
        return self.quotas.account_reads_per_s if operation in _MANY_CALLS else self.quotas.account_calls_per_s

    def _wait_hns(self, what: str, owner: int, rate: int, now_hns: int) -> int:
        """Return how long until the bucket has one: it is empty a second before it would be full."""
        if not rate:
            return 0
        return max(0, self._full_after_one(what, owner, rate, now_hns) - HNS_PER_S - now_hns)

    def _take(self, what: str, owner: int, rate: int, now_hns: int) -> None:
        if rate:
            full_hns = self._full_after_one(what, owner, rate, now_hns)
            self._full_hns.setdefault(owner, {})[what] = full_hns

    def _full_after_one(self, what: str, owner: int, rate: int, now_hns: int) -> int:
        return max(self._full_hns.get(owner, {}).get(what, 0), now_hns) + HNS_PER_S // rate
