"""A turn. Goal: what is due is done once, each action reaches its handler, and the least deadline counts."""

from collections import deque

import pytest

from kvspic.actions import Action, ActionKind
from kvspic.core import ACTIONS_PER_READ, TIME_NONE
from kvspic.driver.turn import BATCHES_MAX, Turn


def action(user: int, after_hns: int = 0, request: int = 0, kind: int = ActionKind.DESCRIBE_STREAM) -> Action:
    return Action(kind, 0, 0, 0, user, request, 0, after_hns, 0, 0, 0, b"")


def data(user: int, upload: int = 1) -> Action:
    return action(user, kind=ActionKind.DATA)._replace(upload=upload)


class Core:
    """A client that says what the test gave it."""

    def __init__(self, *batches: list[Action], deadline_hns: int = TIME_NONE) -> None:
        self.batches = deque(batches)
        self.deadline_hns = deadline_hns
        self.moments_hns: list[int] = []

    def turn(self, now_hns: int) -> tuple[list[Action], list[int], int]:
        self.moments_hns.append(now_hns)
        if self.deadline_hns <= now_hns:
            self.deadline_hns = TIME_NONE
        batch = self.batches.popleft() if self.batches else []
        pairs = [(one.user, one.upload) for one in batch if one.kind == ActionKind.DATA]
        others = [one for one in batch if one.kind != ActionKind.DATA]
        return others, [number for pair in pairs for number in pair], self.deadline_hns


def turn_of(core: Core, *users: int) -> tuple[Turn, list[Action]]:
    seen: list[Action] = []
    turn = Turn(core)
    turn.handlers.update(dict.fromkeys(users, seen.append))
    return turn, seen


def reading(core: Core, *others: int) -> tuple[Turn, list[tuple[int, int]]]:
    """A turn that writes down what is read of user 1 and of ``others``: user and upload."""
    seen: list[tuple[int, int]] = []
    turn = Turn(core)
    for user in (1, *others):
        turn.readers[user] = lambda upload, user=user: seen.append((user, upload))
    return turn, seen


def test_all_batches_are_drained_in_order():
    turn, seen = turn_of(Core([action(1, request=1), action(2, request=2)], [action(1, request=3)]), 1, 2)
    assert turn.take(100) == TIME_NONE
    assert [one.request for one in seen] == [1, 2, 3]


def test_actions_of_a_stream_that_left_are_dropped():
    turn, seen = turn_of(Core([action(7)]), 1)
    turn.take(100)
    assert seen == []


def test_the_core_is_given_the_time_of_each_turn_whether_something_is_due_or_not():
    core = Core(deadline_hns=100)
    turn, _ = turn_of(core)
    assert turn.take(99) == 100
    assert turn.take(100) == TIME_NONE
    assert core.moments_hns == [99, 100]


def test_data_goes_to_its_reader_and_is_not_looked_for_twice():
    core = Core([data(1, upload=5), data(2), action(1, request=7, kind=ActionKind.READY)], deadline_hns=300)
    turn, seen = turn_of(core, 1)
    read: list[int] = []
    turn.readers[1] = read.append
    assert turn.take(100) == 300
    assert read == [5]
    assert [one.request for one in seen] == [7]
    assert core.moments_hns == [100]


def test_a_full_batch_of_data_is_followed_by_another_look():
    core = Core([data(1)] * ACTIONS_PER_READ, [data(1)])
    turn, seen = reading(core)
    turn.take(100)
    assert len(seen) == ACTIONS_PER_READ + 1


def test_an_order_waits_until_it_may_be_sent():
    turn, seen = turn_of(Core([action(1, after_hns=500, request=9)]), 1)
    assert turn.take(100) == 500
    assert seen == []
    assert turn.take(499) == 500
    assert turn.take(500) == TIME_NONE
    assert [one.request for one in seen] == [9]


def test_orders_that_wait_leave_in_the_order_of_their_times():
    turn, seen = turn_of(Core([action(1, 300, 3), action(1, 200, 2), action(1, 200, 4)]), 1)
    turn.take(100)
    turn.take(1000)
    assert [one.request for one in seen] == [2, 4, 3]


def test_the_next_turn_is_due_at_the_least_deadline():
    turn, _ = turn_of(Core([action(1, 300)], deadline_hns=200), 1)
    assert turn.take(100) == 200


def test_what_a_handler_caused_is_drained_in_the_same_turn():
    core = Core([action(1, request=1)])
    turn, seen = turn_of(core, 2)
    turn.handlers[1] = lambda one: core.batches.append([action(2, request=2)])
    turn.take(100)
    assert [one.request for one in seen] == [2]


def test_a_flood_ends_the_turn_and_asks_for_another():
    core = Core()
    core.turn = lambda now_hns: ([action(1)], [], TIME_NONE)
    turn, seen = turn_of(core, 1)
    assert turn.take(100) == 100
    assert len(seen) == BATCHES_MAX


def test_data_that_may_wait_is_read_for_all_streams_together():
    core = Core([data(1)], [data(1), data(2)], [data(1), data(1, upload=2)], [])
    turn, seen = reading(core, 2)
    turn.delays.update({1: 1000, 2: 400})
    assert turn.take(5000) == TIME_NONE  # the first after a pause
    assert seen == [(1, 1)]
    assert turn.take(5100) == 5400  # for an ACK; what the second stream has may wait less
    assert len(seen) == 1
    assert turn.take(5400) == TIME_NONE
    assert seen[1:] == [(1, 1), (2, 1), (1, 2)]
    assert turn.take(6000) == TIME_NONE


def test_data_is_waited_for_no_longer_than_its_delay():
    core = Core([data(1)], [data(1)], deadline_hns=9000)
    turn, seen = reading(core)
    turn.delays[1] = 1000
    turn.take(5000)
    assert turn.take(5999) == 6000
    assert turn.take(6000) == 9000
    assert len(seen) == 2


def test_a_turn_in_haste_reads_what_could_wait():
    core = Core([data(1)], [data(1)], [data(1)])
    turn, seen = reading(core)
    turn.delays[1] = 1000
    turn.take(5000)
    turn.hasten()
    turn.take(5001)
    assert len(seen) == 2
    turn.take(5002)
    turn.undelay(1)  # the stream closes
    turn.take(5003)
    assert len(seen) == 3


def test_what_waits_for_a_user_that_left_is_dropped():
    turn, seen = reading(Core([data(1)], [data(1)]))
    turn.delays[1] = 1000
    turn.take(5000)
    turn.take(5001)
    turn.forget(1)
    assert turn.take(7000) == TIME_NONE
    assert len(seen) == 1


@pytest.mark.parametrize("leaves", [Turn.forget, Turn.undelay])
def test_a_stream_that_leaves_makes_nothing_late(leaves):
    turn, seen = reading(Core([data(2)], [data(1), data(2)], [], [data(2)], [data(2)]), 2)
    turn.delays.update({1: 400, 2: 1000})
    turn.take(5000)
    turn.take(5100)
    leaves(turn, 1)
    turn.take(5400)
    assert (2, 1) in seen[1:]
    count = len(seen)
    assert turn.take(5500) == 6400  # from now on the delay of the other one counts
    assert turn.take(6400) == TIME_NONE
    assert seen[count:] == [(2, 1)]


def test_a_turn_looks_at_what_has_come_since_not_at_all_that_waits():
    class Delays(dict):
        count = 0

        def get(self, *args):
            Delays.count += 1
            return super().get(*args)

    turn, _ = reading(Core([data(0)], [data(user) for user in range(20)], [data(7)], []), *range(20))
    turn.delays = Delays.fromkeys(range(20), 1000)
    turn.take(5000)
    turn.take(5001)
    count = Delays.count
    assert turn.take(5002) == turn.take(5003) == 6000
    assert Delays.count - count == 1
