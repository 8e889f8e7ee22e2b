"""The plan. Goal: a plan that is accepted can be run, and one that is not says everything that is wrong with it."""

from fractions import Fraction

import pytest

from kvspic.bench.plan import Limits, Plan, PlanError, Step, parse_plan

BOUNDS = {
    "duration_s": (1, 86_400), "warmup_s": (0, 600), "drain_s": (1, 600), "start_delay_s": (0, 50),
    "spread_max_ms": (0, 60_000), "stall_s": (2, 600), "dead_s": (5, 3600), "seed": (0, 2**63 - 1),
    "streams_per_agent": (1, 10_000), "streams_total": (1, 10_000_000), "fps": (1, 240), "gop_s": (0.5, 10),
    "kbps": (16, 100_000), "processes": (1, 1024), "tolerate": (0, 0),
}  # fmt: skip
WRONG = {
    "name": "a b", "duration_s": "soon", "warmup_s": -1, "drain_s": 0, "start_delay_s": 51, "tolerate": 1,
    "spread_max_ms": -1, "stall_s": 1, "dead_s": 4, "seed": 1.5, "streams_per_agent": 0, "fps": True, "gop_s": 11,
    "kbps": ".nan", "phase": "random", "endpoint": "ftp://x", "region": "mars", "stream_prefix": "a/b",
    "keep_streams": "maybe", "engine": "gstreamer", "command": "put", "processes": 0, "limits": "none",
    "steps": "[]", "surprise": 1,
}  # fmt: skip


def test_an_empty_plan_is_the_defaults():
    assert parse_plan("") == Plan()


def test_a_plan_with_all_fields_comes_back_from_its_own_text():
    text = """
    name: a-night
    duration_s: 60
    streams_total: 7
    fps: 29.97
    phase: aligned
    endpoint: http://127.0.0.1:8080
    region: eu-central-1
    engine: command
    command: kvspic put {file} --stream {stream} --endpoint {endpoint}
    processes: 2
    limits: {dropped: 0, late_p99_ms: 33}
    steps: [{streams: 10}, {streams: 20}]
    """
    plan = parse_plan(text, agents=3)
    assert plan.fps == Fraction(2997, 100)
    assert plan.limits == Limits(dropped=0, late_p99_ms=33)
    assert plan.steps == (Step(10), Step(20))
    assert parse_plan(plan.to_yaml(), agents=3) == plan
    assert parse_plan(Plan().to_yaml()) == Plan()


@pytest.mark.parametrize("name", BOUNDS)
def test_each_number_is_taken_at_its_bounds_and_refused_past_them(name):
    least, most = BOUNDS[name]
    for value in (least, most):
        parse_plan(f"{name}: {value}")
    for value in (least - 1, most + 1, ".nan", ".inf", "true", "1e400", "[1]", "~"):
        with pytest.raises(PlanError, match=name):
            parse_plan(f"{name}: {value}")


def test_an_error_names_every_bad_field_at_once():
    with pytest.raises(PlanError) as caught:
        parse_plan("\n".join(f"{name}: {value}" for name, value in WRONG.items()))
    assert [name for name in WRONG if name not in str(caught.value)] == []


@pytest.mark.parametrize(
    "text, part",
    [
        ("fps: 30\nfps: 25", "'fps' comes twice"),
        ("- 1", "no mapping"),
        ("a: [", "neither YAML nor JSON"),
        ('{"fps": 30, "fps": 25}', "'fps' twice"),
        ("a: b: c", "at line 1, column 5"),
        ("[" * 501, "brackets"),
        ("x: " + "y" * 300_000, "larger than"),
        ("{streams_per_agent: 1, streams_total: 2}", "exclude each other"),
        ("limits: {droped: 0}", "limits.droped is no field"),
        ("limits: {cpu_percent: 101}", "limits.cpu_percent must be"),
        ("steps: [{streams: 0}, {}]", "steps[2].streams is missing"),
        ("engine: command", "command is needed"),
        ("command: put {stream}", "engine command only"),
        ("{engine: command, command: 'put {stream} {secret}'}", "{braces}"),
        ("{engine: command, command: 'put {stream}', endpoint: aws}", "endpoint must be a local one"),
        ("{? [1] : 2}", "plan"),
    ],
)
def test_a_plan_that_cannot_be_run_says_why(text, part):
    with pytest.raises(PlanError) as caught:
        parse_plan(text)
    assert part in str(caught.value)


@pytest.mark.parametrize("agents", range(1, 8))
def test_agents_that_share_streams_have_disjoint_slices_that_are_all_streams(agents):
    plan = parse_plan("streams_total: 7", agents)
    numbers = [number for index in range(agents) for number in plan.slice(index, agents)]
    assert numbers == list(range(7))


def test_agents_with_streams_of_their_own_share_none():
    plan = parse_plan("streams_per_agent: 3", 2)
    assert [*plan.slice(0, 2), *plan.slice(1, 2)] == list(range(6))


def test_more_agents_tolerate_more():
    assert parse_plan("tolerate: 2", agents=3).tolerate == 2
    with pytest.raises(PlanError, match="below the number of agents, which is 3"):
        parse_plan("tolerate: 3", agents=3)


def test_a_step_of_a_ramp_is_a_plan():
    plan = parse_plan("{streams_total: 7, steps: [{streams: 40}]}")
    assert (plan.at_step(plan.steps[0]).slice(1, 2), plan.at_step(plan.steps[0]).steps) == (range(40, 80), ())


@pytest.mark.parametrize("fps, gop_s, frames", [(30, 2, 60), (29.97, 2, 60), (1, 0.5, 1), (240, 10, 2400)])
def test_a_group_of_pictures_is_whole_frames(fps, gop_s, frames):
    assert parse_plan(f"{{fps: {fps}, gop_s: {gop_s}}}").frames_per_gop == frames
