"""Test generation. Goal: sequences are what the machine does, in a fixed order, and gaps have a reason."""

import pytest
from unit.statechart import machines

from kvspic.statechart import Branch, Definition, MachineError, Row, create_state_machine, deep, out, shallow, update
from kvspic.statechart.generate import (
    all_pairs,
    all_states,
    all_transitions,
    edge_paths,
    loop_free_paths,
    loops,
    random_walks,
)
from kvspic.statechart.graph import Limits, Model, Payload, replay


def named(generation):
    return [str(case) for case in generation.cases]


def outputs(generation):
    return [list(case.outputs) for case in generation.cases]


def say(name):
    return out(name)


def abc():
    rows = [
        Row("A", "a", Branch("B", action=say("a"))),
        Row("B", "b", Branch("A", action=say("b"))),
        Row("B", "c", Branch("C", action=say("c"))),
    ]
    return Model(Definition(["A", "B", "C"], ["a", "b", "c"], rows, initial="A"))


def test_sc_56_each_edge_once_does_not_promise_that_every_edge_is_covered():
    once = edge_paths(abc(), "C")
    assert named(once) == ["a,c"]
    assert [(missed.item.leaf, missed.item.landing, missed.reason) for missed in once.coverage.missed_edges] == [
        ("B", "A", "on no path to the target")
    ]
    assert not once.cut


def test_sc_56_twice_round():
    twice = edge_paths(abc(), "C", 2)
    assert named(twice) == ["a,b,a,c", "a,c"]
    assert outputs(twice) == [[["a"], ["b"], ["a"], ["c"]], [["a"], ["c"]]]
    assert twice.coverage.missed_edges == twice.coverage.missed_states == ()


@pytest.mark.parametrize(("repeats", "expected"), [(1, []), (2, ["tick,tick,tick"]), (3, ["tick,tick,tick"])])
def test_sc_57_generators_that_honour_guards(repeats, expected):
    rows = [
        Row(
            "A",
            "tick",
            Branch("A", lambda d, ev, st: d["n"] < 2, lambda d, ev, st: update(n=d["n"] + 1).out(d["n"])),
            Branch("Z", lambda d, ev, st: d["n"] >= 2, say("end")),
        )
    ]
    generators = {
        ("A", "tick", 0): lambda data, memory: Payload(None) if data["n"] < 2 else None,
        ("A", "tick", 1): lambda data, memory: Payload(None) if data["n"] >= 2 else None,
    }
    model = Model(Definition(["A", "Z"], ["tick"], rows, initial="A", data={"n": 0}), generators)
    made = edge_paths(model, "Z", repeats)
    assert named(made) == expected
    assert outputs(made) == [[[0], [1], ["end"]]] * len(expected)
    assert named(edge_paths(Model(model.definition), "Z", repeats)) == expected


def test_sc_58_outputs_of_the_start_belong_to_no_input():
    rows = [
        Row("P", "init", Branch("A", action=say("in"))),
        Row("A", "x", Branch("B", action=say("x"))),
        Row("P", "z", Branch("Z", action=say("z"))),
    ]
    made = edge_paths(Model(Definition({"P": {"A": "", "B": ""}, "Z": ""}, ["x", "z"], rows, initial="P")), "Z")
    assert named(made) == ["x,z", "z"]
    assert outputs(made) == [[["x"], ["z"]], [["z"]]]
    assert [case.control_states for case in made.cases] == [("nok", "P", "A", "B", "Z"), ("nok", "P", "A", "Z")]


def test_sc_59_outputs_stay_aligned_through_eventless_rows():
    rows = [
        Row("A", "go", Branch("T", action=lambda d, ev, st: update(v=ev).out(f"go{ev}"))),
        Row(
            "T",
            None,
            Branch("L", lambda d, ev, st: d["v"] < 0, say("neg")),
            Branch("R", lambda d, ev, st: d["v"] >= 0, say("pos")),
        ),
        Row("L", "end", Branch("Z", action=say("L"))),
        Row("R", "end", Branch("Z", action=say("R"))),
    ]
    definition = Definition(["A", "T", "L", "R", "Z"], ["go", "end"], rows, initial="A", data={"v": 0})
    generators = {
        ("A", "go", 0): lambda d, m: Payload(-3),
        ("L", "end", 0): lambda d, m: Payload(None),
        ("R", "end", 0): lambda d, m: Payload(None),
    }
    made = edge_paths(Model(definition, generators), "Z")
    assert outputs(made) == [[["go-3", "neg"], ["L"]]]
    assert {missed.item: missed.reason for missed in made.coverage.missed_states} == {"R": "never feasible"}


def outer(history):
    rows = [
        Row("OUTER", "init", "A"),
        Row("A", "e1", "INNER"),
        Row("INNER", "init", "S"),
        Row("S", "e3", "T"),
        Row("T", "e3", "S"),
        Row("INNER", "e2", "B"),
        Row("OUTER", "e5", "Z"),
        Row("Z", "e4", history("OUTER")),
    ]
    states = {"OUTER": {"INNER": {"S": "", "T": ""}, "A": "", "B": ""}, "Z": ""}
    return Model(Definition(states, ["e1", "e2", "e3", "e4", "e5"], rows, initial="OUTER"))


def test_sc_60_deep_history():
    names = named(edge_paths(outer(deep), "B"))
    assert len(names) == 24
    assert names[0] == "e1,e3,e3,e2"
    assert max(name.count(",") + 1 for name in names) == 10
    assert "e5,e4,e1,e3,e5,e4,e3,e5,e4,e2" in names


def test_sc_60_shallow_history():
    assert len(named(edge_paths(outer(shallow), "B"))) == 16


def test_sc_61_a_loop_of_rows_on_a_compound_ends():
    rows = [Row("P", "init", "A"), Row("P", "x", "B"), Row("A", "z", "Z")]
    made = edge_paths(Model(Definition({"P": {"A": "", "B": ""}, "Z": ""}, ["x", "z"], rows, initial="A")), "Z")
    assert named(made) == ["z"]
    reasons = {(missed.item.leaf, missed.item.landing): missed.reason for missed in made.coverage.missed_edges}
    assert reasons[("A", "B")] == "on no path to the target"


def test_a_target_may_be_passed_until_its_edge_is_used_up():
    assert named(edge_paths(abc(), "B", 2, repeated_target=True)) == ["a,b,a"]
    assert named(edge_paths(abc(), "B", 2)) == ["a"]


def test_a_history_without_memory_is_generated_unless_unwanted():
    assert "deep" in named(edge_paths(Model(machines.hist()), "A"))
    assert "deep" not in named(edge_paths(Model(machines.hist(), default_history=False), "A"))


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="take one of A, B, C"):
        edge_paths(abc(), "D")


def test_limits_end_a_search_and_say_so():
    made = edge_paths(outer(deep), "B", limits=Limits(case_count_max=3))
    assert (len(made.cases), made.cut) == (3, True)
    short = edge_paths(outer(deep), "B", limits=Limits(length_max=4))
    assert short.cut
    assert all(len(case.inputs) <= 4 for case in short.cases)
    assert {missed.reason for missed in short.coverage.missed_edges} <= {"limit reached"}
    assert edge_paths(outer(deep), "B", limits=Limits(step_count_max=5)).cut


@pytest.mark.parametrize("name", ["box", "house", "chain", "session", "hist"])
@pytest.mark.parametrize("goal", [all_states, all_transitions, all_pairs, loop_free_paths, loops])
def test_every_goal_gives_sequences_that_the_machine_answers_as_written(name, goal):
    definition = getattr(machines, name)()
    generators = None
    if name == "chain":
        generators = {("a", "go", 0): lambda d, m: Payload(2), ("d", "go", 0): lambda d, m: Payload(2)}
    made = goal(Model(definition, generators))
    assert made.cases
    for case in made.cases:
        machine = create_state_machine(definition)
        assert replay(case, machine) == ()
        assert machine.control == case.control_states[-1]


@pytest.mark.parametrize("name", ["box", "house", "session", "hist"])
def test_all_states_and_all_transitions_reach_what_can_be_reached(name):
    definition = getattr(machines, name)()
    assert all_states(Model(definition)).coverage.missed_states == ()
    missed = all_transitions(Model(definition)).coverage.missed_edges
    assert {missing.reason for missing in missed} <= {"never feasible"}


def test_data_that_hides_an_edge_behind_repetitions_is_found():
    rows = [Row("A", "t", Branch("A", lambda d, ev, st: d["n"] < 3, machines.counting("t")), Branch("Z"))]
    model = Model(Definition(["A", "Z"], ["t"], rows, initial="A", data={"n": 0}))
    assert named(all_states(model))[-1] == "t,t,t,t"


def test_all_pairs_covers_every_pair_of_edges():
    made = all_pairs(abc())
    assert made.coverage.missed_pairs == ()
    assert "a,b,a" in named(made)


def test_loops_go_round_as_often_as_asked():
    assert named(loops(abc(), 3)) == ["a,b,a,b,a,b"]
    assert "e1,e3,e3" in named(loops(outer(deep)))


def test_a_loop_that_the_machine_leaves_gives_no_case():
    rows = [Row("A", "t", Branch("A", lambda d, ev, st: d["n"] < 1, machines.counting("t")), Branch("Z"))]
    model = Model(Definition(["A", "Z"], ["t"], rows, initial="A", data={"n": 0}))
    assert named(loops(model, 1)) == ["t"]
    assert named(loops(model, 2)) == []


def test_loop_free_paths_end_where_nothing_new_follows():
    assert named(loop_free_paths(abc())) == ["a,c"]


def test_walks_depend_on_their_seed_only_and_are_answered_as_written():
    model = Model(
        machines.session(),
        {
            ("NEW", "ready", 0): lambda d, m: Payload(0),
            ("WAIT", "token", 0): lambda d, m: Payload(0),
            ("PUT", "frame", 0): lambda d, m: Payload((m or 0) + 1, (m or 0) + 1),
            ("UP", "drop", 0): lambda d, m: Payload(0, m),
            ("DOWN", "timer", 0): lambda d, m: Payload(0, m),
        },
    )
    walks = list(random_walks(model, 20, 30, seed=7))
    assert walks == list(random_walks(model, 20, 30, seed=7))
    assert walks != list(random_walks(model, 20, 30, seed=8))
    assert {len(walk.inputs) for walk in walks} == {30}
    for walk in walks:
        assert replay(walk, create_state_machine(machines.session())) == ()


def test_a_walk_ends_where_nothing_can_be_sent():
    [walk] = random_walks(abc(), 1, 50, seed=1)
    assert walk.control_states[-1] == "C"


def test_replay_says_where_a_subject_differs():
    case = edge_paths(abc(), "C").cases[0]
    [mismatch] = replay(case, lambda event: ["a"])
    assert (mismatch.position, mismatch.entry, mismatch.expected, mismatch.actual) == (1, {"c": None}, ["c"], ["a"])


def test_a_machine_that_does_not_start_cannot_be_searched():
    rows = [Row("nok", "init", Branch("a", action=machines.raising)), Row("a", "e", "a")]
    with pytest.raises(MachineError):
        all_states(Model(Definition(["a"], ["e"], rows)))
