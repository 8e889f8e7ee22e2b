"""One turn of the driver: let happen what is due, hand each action to who is in charge of it, say when the next is due.

Pure: time is an argument, and the handlers do what they like. An order that may not be sent before ``after_hns`` is
kept here until then, so handlers act at once on what they get. A turn ends when it has taken all that the core had;
what comes later wakes the driver, or is fetched at the deadline that the turn returns.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

from kvspic.actions import Action, ActionKind
from kvspic.core import ACTIONS_PER_READ

__all__ = ["CoreLike", "Turn"]

DATA = int(ActionKind.DATA)
BATCHES_MAX = 1000  # of actions in one turn; what is left comes in the next one, so that the loop is not starved

Handler = Callable[[Action], None]


class CoreLike(Protocol):
    """What a turn needs of :class:`kvspic.core.Client`."""

    def turn(self, now_hns: int) -> tuple[Sequence[Action], int]: ...


class Turn:
    """Takes turns for one client. ``handlers`` maps an action's ``user`` (0: the client itself) to who handles it,
    ``readers`` does so for DATA, which comes for nearly every frame; actions of users that left are dropped."""

    def __init__(self, client: CoreLike) -> None:
        self._client = client
        self._later: list[tuple[int, int, Action]] = []
        self._count = 0
        self.handlers: dict[int, Handler] = {}
        self.readers: dict[int, Handler] = {}

    def take(self, now_hns: int) -> int:
        """Do all that is due; return when the next turn is due by itself, ``TIME_NONE`` for never."""
        if self._later:
            self._send_due(now_hns)
        for _ in range(BATCHES_MAX):
            actions, deadline = self._client.turn(now_hns)
            is_over = len(actions) < ACTIONS_PER_READ
            for action in actions:
                if action.kind != DATA:
                    is_over = is_over and action.kind > DATA  # notices and reading cause hardly any action, which wakes
                    self._handle(action, now_hns)
                elif (reader := self.readers.get(action.user)) is not None:
                    reader(action)
            if is_over:
                return self._with_later(deadline) if self._later else deadline
        return now_hns

    def _handle(self, action: Action, now_hns: int) -> None:
        if action.after_hns > now_hns:
            self._put_by(action)
        elif (handler := self.handlers.get(action.user)) is not None:
            handler(action)

    def _put_by(self, action: Action) -> None:
        self._count += 1
        heapq.heappush(self._later, (action.after_hns, self._count, action))

    def _send_due(self, now_hns: int) -> None:
        while self._later and self._later[0][0] <= now_hns:
            action = heapq.heappop(self._later)[2]
            handler = self.handlers.get(action.user)
            if handler is not None:
                handler(action)

    def _with_later(self, deadline: int) -> int:
        return min(self._later[0][0], deadline)
