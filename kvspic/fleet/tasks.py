"""What a server does by itself: sweep, automatic restarts, retention, and keeping itself the master. Pure.

``Upkeep`` is asked once a second, with the server's monotonic clock. Of several servers over one store only the master
does the work; each operation is safe if two should ever do it. On the test clock nothing runs between two advances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kvspic.fleet import service
from kvspic.fleet.lease import SweepWatch
from kvspic.fleet.records import Store, Tx
from kvspic.fleet.service import Swept

__all__ = ["MASTER_S", "TestClock", "Upkeep"]

MASTER_S = 3.0
BATCH = 200
TEST_EPOCH_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
ADVANCE_MAX_S = 100_000.0


@dataclass
class TestClock:
    """A clock that stands until it is moved; it replaces the store's clock and the sweeper's."""

    __test__ = False  # not for pytest

    ms: int = TEST_EPOCH_MS

    @property
    def seconds(self) -> float:
        """Seconds since the clock began."""
        return (self.ms - TEST_EPOCH_MS) / 1000

    def steps(self, seconds: float) -> Iterator[None]:
        """Move the clock, and stop at each full second on the way; the caller does what is due there."""
        end = self.ms + round(seconds * 1000)
        while (self.ms - TEST_EPOCH_MS) // 1000 < (end - TEST_EPOCH_MS) // 1000:
            self.ms = TEST_EPOCH_MS + ((self.ms - TEST_EPOCH_MS) // 1000 + 1) * 1000
            yield
        self.ms = end


@dataclass
class Upkeep:
    """The upkeep of one server.

    Attributes:
        store: what is kept up.
        owner: a name of this server that no other has.
        now_s: its monotonic clock, or that of the tests.
        lost_count, restarted_count: since the server began, for its metrics.
    """

    store: Store
    owner: str
    now_s: Callable[[], float]
    lost_count: int = 0
    restarted_count: int = 0
    notice: str = ""
    is_master: bool = False
    _watch: SweepWatch = field(default_factory=SweepWatch)
    _kept_at: float = float("-inf")
    _logs_at: float = float("-inf")
    _logs_every_s: float = 180

    def tick(self) -> None:
        """Do what is due. Call it once a second; it blocks.

        Raises:
            FleetError: the store failed; the next call tries again.
        """
        if not self._lead():
            self._watch.stopped()
            return
        has_more = True
        while has_more:
            has_more = self._sweep()
        restarted = BATCH
        while restarted >= BATCH:
            restarted = self.store.run(service.restart_due, limit=BATCH)
            self.restarted_count += restarted
        self._keep_logs()

    def _lead(self) -> bool:
        if not self.store.is_shared:
            self.is_master = True
        elif self.now_s() - self._kept_at >= MASTER_S:
            self.is_master = False  # should the store fail now
            self.is_master = self.store.run(service.keep_master, self.owner)
            self._kept_at = self.now_s()
        return self.is_master

    def _sweep(self) -> bool:
        now_s = self.now_s()

        def swept(tx: Tx) -> tuple[int, float, Swept]:
            renew = self._watch.must_renew(now_s, tx.now, tx.settings.lease_s)
            return tx.now, tx.settings.logs_check_s, service.sweep(tx, renew=renew, limit=BATCH)

        store_ms, self._logs_every_s, found = self.store.run(swept)
        self._watch.swept(now_s, store_ms)
        self.lost_count += len(found.lost)
        self.notice = found.notice
        return found.has_more

    def _keep_logs(self) -> None:
        if self.now_s() - self._logs_at < self._logs_every_s:
            return
        while self.store.run(service.keep_logs, limit=10_000) >= 10_000:
            pass
        self._logs_at = self.now_s()
