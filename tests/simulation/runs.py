"""Small plans for simulation tests: one stream on a good line, and what a test changes of it."""

from dataclasses import replace

from kvspic.testing.sim_plan import HNS_PER_MS, HNS_PER_S, Burst, Plan, StreamPlan

STREAM = StreamPlan(
    index=0,
    offline=False,
    video_hns=400 * HNS_PER_MS,
    audio_hns=0,
    gop=10,
    late_hns=0,
    leading=False,
    size_low=20,
    size_high=2000,
    bursts=(Burst(2 * HNS_PER_S, 62 * HNS_PER_S, False),),
    exists_hours=24,
)

PLAN = Plan(
    seed=1,
    duration_hns=300 * HNS_PER_S,
    store_size=64 * 65536,
    latency_hns=10 * HNS_PER_MS,
    bytes_per_s=1_000_000,
    token_life_hns=3600 * HNS_PER_S,
    persist_hns=100 * HNS_PER_MS,
    creating_hns=0,
    streams=(STREAM,),
    deeds=(),
    faults=(),
)


def plan(*faults, deeds=(), **changes):
    """The plan with these faults and deeds; other names are fields of the plan, or of its stream."""
    of_plan = {name: value for name, value in changes.items() if name in Plan.__dataclass_fields__}
    of_stream = {name: value for name, value in changes.items() if name not in of_plan}
    return replace(PLAN, faults=faults, deeds=tuple(deeds), streams=(replace(STREAM, **of_stream),), **of_plan)
