"""Small plans for simulation tests: one stream on a good line, and what a test changes of it."""

from dataclasses import replace

from kvspic.testing.sim_plan import Burst, Plan, StreamPlan
from kvspic.units import HNS_PER_S

STREAM = StreamPlan(0, (Burst(2 * HNS_PER_S, 62 * HNS_PER_S),))
PLAN = Plan(1, 300 * HNS_PER_S, (STREAM,))


def plan(*faults, deeds=(), **changes):
    """The plan with these faults and deeds; other names are fields of the plan, or of its stream."""
    of_plan = {name: value for name, value in changes.items() if name in ("seed", "duration_hns", *OF_PLAN)}
    of_stream = {name: value for name, value in changes.items() if name not in of_plan}
    return replace(PLAN, faults=faults, deeds=tuple(deeds), streams=(replace(STREAM, **of_stream),), **of_plan)


OF_PLAN = set(Plan.__dataclass_fields__) - {"store_size"}  # that name is the stream's here
