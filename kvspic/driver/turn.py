"""One turn of the driver: poke what is due, hand each action to who is in charge of it, say when the next turn is due.

Pure: time is an argument, and the handlers do what they like. An order that may not be sent before ``after_hns`` is
kept here until then, so handlers act at once on what they get. After a turn the core's queue is empty, which is what
makes the next change of the core wake the driver.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

from kvspic.actions import Action

__all__ = ["CoreLike", "Turn"]

BATCHES_MAX = 1000  # of actions in one turn; what is left comes in the next one, so that the loop is not starved

Handler = Callable[[Action], None]


class CoreLike(Protocol):
    """What a turn needs of :class:`kvspic.core.Client`."""

    def next_actions(self) -> Sequence[Action]: ...
    def next_deadline_hns(self) -> int | None: ...
    def poke(self, now_hns: int) -> None: ...


class Turn:
    """Takes turns for one client. ``handlers`` maps an action's ``user`` (0: the client itself) to who handles it;
    actions of users that left are dropped."""

    def __init__(self, client: CoreLike) -> None:
        self._client = client
        self._later: list[tuple[int, int, Action]] = []
        self._count = 0
        self.handlers: dict[int, Handler] = {}

    def take(self, now_hns: int) -> int | None:
        """Do all that is due; return when the next turn is due by itself, None for never."""
        deadline = self._client.next_deadline_hns()
        if deadline is not None and deadline <= now_hns:
            self._client.poke(now_hns)
        self._send_due(now_hns)
        for _ in range(BATCHES_MAX):
            actions = self._client.next_actions()
            if not actions:
                return self._next_deadline()
            for action in actions:
                self._hand_out(action, now_hns)
        return now_hns

    def _hand_out(self, action: Action, now_hns: int) -> None:
        if action.after_hns > now_hns:
            self._count += 1
            heapq.heappush(self._later, (action.after_hns, self._count, action))
            return
        handler = self.handlers.get(action.user)
        if handler is not None:
            handler(action)

    def _send_due(self, now_hns: int) -> None:
        while self._later and self._later[0][0] <= now_hns:
            self._hand_out(heapq.heappop(self._later)[2], now_hns)

    def _next_deadline(self) -> int | None:
        deadlines = [self._later[0][0]] if self._later else []
        core = self._client.next_deadline_hns()
        if core is not None:
            deadlines.append(core)
        return min(deadlines, default=None)
