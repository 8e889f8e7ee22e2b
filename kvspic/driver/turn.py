"""One turn of the driver: let happen what is due, hand each action to its handler, say when the next is due.

Pure: time is an argument, and the handlers do what they like. An order that may not be sent before ``after_hns`` is
kept here until then, so handlers act at once on what they get. A turn ends when it has taken all that the core had;
what comes later wakes the driver, or is fetched at the deadline that the turn returns.

A turn that was taken for an ACK or an order finds frames that might wait longer. Where a stream has a delay for that,
such data is read at the latest ``delay`` after the last time such data was read, for all such streams together. No
frame waits longer than ``delay``, because that last read took every frame put before it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

from kvspic.actions import Action, ActionKind
from kvspic.core import ACTIONS_PER_READ, TIME_NONE

__all__ = ["CoreLike", "Turn"]

DATA = int(ActionKind.DATA)
BATCHES_MAX = 1000  # of actions in one turn; what is left comes in the next one, so that the loop is not starved

Handler = Callable[[Action], None]
Reader = Callable[[int], None]


class CoreLike(Protocol):
    """What a turn needs of :class:`kvspic.core.Client`."""

    def turn(self, now_hns: int) -> tuple[Sequence[Action], Sequence[int], int]: ...


class Turn:
    """Takes turns for one client. ``handlers`` maps an action's ``user`` (0: the client itself) to its handler,
    ``readers`` to what is called with the number of an upload that has bytes (DATA, which comes for nearly every
    frame); actions of users that left are dropped."""

    def __init__(self, client: CoreLike) -> None:
        self._client = client
        self._later: list[tuple[int, int, Action]] = []
        self._count = 0
        self.handlers: dict[int, Handler] = {}
        self.readers: dict[int, Reader] = {}
        self.delays: dict[int, int] = {}  # in ticks, of users whose DATA may wait
        self._held: dict[tuple[int, int], None] = {}  # DATA that waits: user and upload, in the order in which it came
        self._wait_hns = TIME_NONE  # the least delay of that DATA, or less
        self._read_hns = 0  # when the readers of DATA that may wait were called last

    def take(self, now_hns: int) -> int:
        """Do all that is due; return when the next turn is due by itself, ``TIME_NONE`` for never."""
        if self._later:
            self._send_due(now_hns)
        readers, delays = self.readers, self.delays
        for _ in range(BATCHES_MAX):
            actions, data, deadline = self._client.turn(now_hns)
            is_over = len(actions) + len(data) // 2 < ACTIONS_PER_READ
            for action in actions:
                is_over = is_over and action.kind > DATA  # notices and reading cause hardly any action, which wakes
                self._handle(action, now_hns)
            numbers = iter(data)
            for user, upload in zip(numbers, numbers):
                if (delay_hns := delays.get(user)) is not None:
                    self._held[user, upload] = None
                    self._wait_hns = min(self._wait_hns, delay_hns)
                elif (reader := readers.get(user)) is not None:
                    reader(upload)
            if is_over:
                if self._held:
                    deadline = min(deadline, self._read_held(now_hns))
                return self._with_later(deadline) if self._later else deadline
        return now_hns

    def forget(self, user: int) -> None:
        """Drop what comes for a user from now on."""
        for of_users in (self.handlers, self.readers, self.delays):
            of_users.pop(user, None)

    def undelay(self, user: int) -> None:
        """Let DATA of a user wait no more."""
        if self.delays.pop(user, None) is not None:
            self._wait_hns = 0

    def hasten(self) -> None:
        """Let no DATA wait beyond the next turn."""
        self._read_hns = 0

    def _read_held(self, now_hns: int) -> int:
        """Call the readers of DATA that has waited if that is due; return when it is due otherwise."""
        due_hns = self._read_hns + self._wait_hns
        if now_hns < due_hns:
            return due_hns
        held, self._held = self._held, {}
        self._wait_hns, self._read_hns = TIME_NONE, now_hns
        for user, upload in held:
            if (reader := self.readers.get(user)) is not None:
                reader(upload)
        return TIME_NONE

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
