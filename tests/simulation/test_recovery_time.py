"""How soon a stream comes back. Goal: within the cap of the pauses and a round trip after the link returned, for ever.

The real core and policy on simulated time. The network of the simulation is harsher than a real one: a connection
attempt that began without a link times out after 5 s even when the link comes back meanwhile.
"""

import contextlib
import math

import pytest
from simulation.runs import plan

from kvspic.local.faults import PUT_MEDIA, Fault, FaultKind
from kvspic.testing.sim_plan import Burst
from kvspic.testing.simulation import World
from kvspic.units import HNS_PER_S

DOWN_AT_S = 20
OUTAGES = {1: 20, 5: 20, 15: 20, 60: 20, 600: 10, 3600: 2, 6 * 3600: 1}  # seconds: seeds
CALLS = ("DescribeStream", "CreateStream", "TagStream", "GetDataEndpoint", PUT_MEDIA)
CAP_S = 5.0
CORE_PAUSE_S = 1.6  # between the two tries of a round
ATTEMPT_S = 5.0  # until an attempt without an answer is given up
ROUND_TRIP_S = 0.1


def tries_after_the_return(kind, outage_s, seed):
    """Play an outage; return the seconds from its end to the first call or connection, and to the first fragment."""
    up_hns = (DOWN_AT_S + outage_s) * HNS_PER_S
    faults = [Fault(kind, operation=call, begin_hns=DOWN_AT_S * HNS_PER_S, end_hns=up_hns) for call in CALLS]
    bursts = tuple(
        Burst(begin_hns, begin_hns + 40 * HNS_PER_S, False)
        for begin_hns in ((DOWN_AT_S - 18) * HNS_PER_S, up_hns + 30 * HNS_PER_S)
    )
    world = World(plan(*faults, seed=seed, duration_hns=up_hns + 60 * HNS_PER_S, bursts=bursts, buffer_s=86400))
    tries, fragments = [], []

    def watched(call, seen):
        def run(*args):
            seen.append(world.clock.now_hns - world.begin_hns - up_hns)
            return call(*args)

        return run

    world.service.call = watched(world.service.call, tries)
    world.service.connect = watched(world.service.connect, tries)
    world.accounts.acked = watched(world.accounts.acked, fragments)
    # What was under way on connections that stand is not held up by faults of new ones: they are cut with the link.
    world.clock.call_at(world.begin_hns + DOWN_AT_S * HNS_PER_S, lambda: world.network.restart(0))
    with contextlib.closing(world):
        world.run()
    return (min(at for at in seen if at >= 0) / HNS_PER_S for seen in (tries, fragments))


@pytest.mark.parametrize("outage_s, seeds", OUTAGES.items())
@pytest.mark.parametrize(
    "kind, limit_s",
    [(FaultKind.REFUSE, CAP_S), (FaultKind.UNREACHABLE, ATTEMPT_S + CORE_PAUSE_S)],
    ids=["refused", "unreachable"],
)
def test_the_first_byte_follows_the_return_of_the_link_within_the_cap(kind, limit_s, outage_s, seeds):
    found = [tuple(tries_after_the_return(kind, outage_s, seed)) for seed in range(seeds)]
    tries, fragments = (sorted(times) for times in zip(*found))
    assert tries[-1] <= limit_s + ROUND_TRIP_S
    assert fragments[-1] <= limit_s + CAP_S
    print(f"{kind.value} {outage_s} s: first byte {figures(tries)}, first ACK {figures(fragments)}")


def figures(times):
    p50, p99 = (times[math.ceil(share * len(times)) - 1] for share in (0.5, 0.99))
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s"
