"""Steps of a machine. Goal: an event gives the outputs, state and history that the definition says, and no more."""

import json

import pytest
from unit.statechart import machines
from unit.statechart.machines import ERROR, counting, feed, history

from kvspic.statechart import (
    Branch,
    Definition,
    DefinitionError,
    Event,
    MachineError,
    Outcome,
    Profile,
    Row,
    Snapshot,
    StatechartError,
    create_state_machine,
    deep,
    out,
    start,
    step,
    update,
)
from kvspic.statechart.errors import MachineError as RaisedError

NOTHING = {"deep": {}, "shallow": {}}


def made(definition):
    return create_state_machine(definition)


def at(definition, *events):
    """A machine that has taken some events."""
    machine = made(definition)
    feed(machine, *events)
    return machine


class TestLamp:
    def test_sc_01_a_new_machine_is_in_its_initial_state_without_history(self):
        machine = made(machines.lamp())
        assert (machine.control, machine.data, history(machine)) == ("off", {"n": 0}, NOTHING)

    def test_sc_02_outputs_show_the_data_from_before_the_update(self):
        machine = made(machines.lamp())
        assert feed(machine, "press") == [[{"lamp": "on", "count": 0}]]
        assert (machine.control, machine.data) == ("on", {"n": 1})

    def test_sc_03_a_declared_event_without_a_row_here_is_unhandled(self):
        machine = made(machines.lamp())
        assert feed(machine, "hit") == [None]
        assert (machine.control, machine.data) == ("off", {"n": 0})

    def test_sc_04_taken_without_output_is_an_empty_list(self):
        machine = at(machines.lamp(), "press")
        assert feed(machine, "hit") == [[]]
        assert machine.control == "broken"

    @pytest.mark.parametrize("event", [{"press": 1}, {"zap": 1}, {}, {"init": {}}, {"auto": 1}, [], 7, "press", {7: 1}])
    def test_sc_05_unknown_malformed_and_reserved_events_change_nothing(self, event):
        machine = at(machines.lamp(), "press", "hit")
        before = machine.snapshot
        assert machine.send(event) is None
        assert machine.snapshot == before

    def test_sc_06_data_survives_leaving_the_state(self):
        answers = feed(made(machines.lamp()), "press", "press", "press")
        assert [answers[0][0]["count"], answers[2][0]["count"]] == [0, 1]

    @pytest.mark.parametrize("profile", list(Profile))
    def test_sc_07_a_machine_that_cannot_start_is_a_definition_error(self, profile):
        with pytest.raises(DefinitionError) as caught:
            made(machines.lamp(initial=None, profile=profile))
        assert caught.value.ids == ("validInitialConfig", "validInitialTransition")


class TestBox:
    def test_sc_08_outputs_of_the_way_down_are_in_the_first_step_only(self):
        machine = made(machines.box())
        assert (machine.control, machine.data) == ("lid", {"n": 2})
        assert machine.started.outputs == ["unseen"]
        assert start(machines.box()).outputs == ["unseen"]

    def test_sc_09_the_same_way_down_later_delivers_its_outputs(self):
        machine = made(machines.box())
        assert feed(machine, "go", "leave", "go") == [[2], [], [2, "unseen"]]
        assert (machine.control, machine.data) == ("lid", {"n": 4})

    def test_sc_10_guards_of_the_initial_row_see_the_initial_data(self):
        rows = [
            Row(
                "nok",
                "init",
                Branch("A", lambda d, ev, st: ev["mode"] == "a"),
                Branch("B", lambda d, ev, st: d["mode"] == "b"),
            ),
            Row("B", "init", "C"),
        ]
        assert made(Definition({"A": "", "B": {"C": ""}}, [], rows, data={"mode": "b"})).control == "C"


class TestScale:
    def test_sc_11_the_first_true_guard_wins(self):
        machine = made(machines.scale())
        assert feed(machine, {"weigh": 5}) == [["stamp"]]
        assert machine.control == "letter"

    def test_sc_12_guards_read_the_settings(self):
        machine = made(machines.scale())
        assert feed(machine, {"weigh": 500}) == [["label", 500]]
        assert machine.control == "parcel"

    def test_sc_13_no_true_guard_is_blocked_and_changes_nothing(self):
        machine = made(machines.scale())
        before = machine.snapshot
        assert feed(machine, {"weigh": 9000}) == [[None]]
        assert machine.snapshot == before

    def test_sc_14_no_row_is_not_the_same_as_no_true_guard(self):
        assert feed(at(machines.scale(), {"weigh": 500}), {"weigh": 1}) == [None]

    def test_sc_15_guards_behind_the_first_true_one_are_not_called(self):
        definition = machines.scale(Branch("idle", machines.raising))
        assert feed(made(definition), {"weigh": 5}) == [["stamp"]]
        assert feed(made(definition), {"weigh": 9000}) == [ERROR]

    @pytest.mark.parametrize("profile", list(Profile))
    def test_sc_16_a_guard_must_answer_with_a_boolean(self, profile):
        rows = [Row("a", "e", Branch("a", lambda d, ev, st: 1))]
        machine = made(Definition(["a"], ["e"], rows, initial="a", profile=profile))
        before = machine.snapshot
        with pytest.raises(MachineError) as caught:
            machine.send({"e": 1})
        assert (caught.value.kind, caught.value.row, caught.value.branch) == ("guard_type", 0, 0)
        assert machine.snapshot == before

    def test_settings_of_the_machine_replace_those_of_the_definition(self):
        machine = create_state_machine(machines.scale(), {"limit": 100})
        assert feed(machine, {"weigh": 500}) == [[None]]


class TestHouse:
    def test_sc_17_each_micro_step_sees_the_data_of_the_one_before(self):
        machine = made(machines.house())
        assert feed(machine, {"enter": 7}) == [["h:7", "kh:7", "shk:7"]]
        assert (machine.control, machine.data) == ("stove", {"log": "hks"})

    def test_sc_18_steps_of_a_descent_count_as_leaving(self):
        machine = at(machines.house(), "enter")
        assert history(machine) == {"deep": {"house": "kitchen"}, "shallow": {"house": "kitchen"}}

    def test_sc_19_leaving_a_leaf_writes_both_histories_of_all_its_ancestors(self):
        machine = at(machines.house(), "enter")
        assert feed(machine, "wash") == [["wash"]]
        assert machine.control == "sink"
        assert history(machine) == {
            "deep": {"house": "stove", "kitchen": "stove"},
            "shallow": {"house": "kitchen", "kitchen": "stove"},
        }

    def test_sc_20_an_ancestors_self_transition_enters_anew(self):
        machine = at(machines.house(), "enter", "wash")
        assert feed(machine, {"redo": 0}) == [["shks:0"]]
        assert machine.control == "stove"

    @pytest.mark.parametrize("way", [["enter"], ["enter", "wash"], ["jump"], ["enter", "walk"]])
    def test_sc_21_an_event_of_a_grand_parent_is_handled_from_any_leaf(self, way):
        machine = at(machines.house(), *way)
        assert feed(machine, "out") == [[]]
        assert machine.control == "garden"

    def test_sc_22_a_deep_target_bypasses_the_entry_rows_above_it(self):
        machine = made(machines.house())
        assert feed(machine, "jump") == [["jump"]]
        assert machine.control == "sink"

    def test_sc_23_an_atomic_self_transition_is_a_real_exit(self):
        machine = at(machines.house(), "enter", "wash")
        assert feed(machine, "wash") == [["wash"]]
        assert history(machine)["deep"] == {"house": "sink", "kitchen": "sink"}

    def test_sc_24_deep_history_from_inside_is_the_leaf_just_left(self):
        machine = at(machines.house(), "enter", "walk")
        assert feed(machine, "again") == [[]]
        assert machine.control == "hall"

    def test_sc_25_shallow_history_from_inside_is_the_child_just_left_entered_anew(self):
        machine = at(machines.house(), "enter", "redo", "out", "jump")
        assert machine.data["log"] == "hkss"
        assert feed(machine, {"flip": 9}) == [["shkss:9"]]
        assert machine.control == "stove"


class TestNear:
    def test_sc_26_the_nearest_row_blocks_and_its_parents_row_is_not_tried(self):
        machine = made(machines.near())
        assert feed(machine, {"e": 0}) == [[None]]
        assert machine.control == "c"

    def test_sc_27_where_the_state_has_no_row_the_parents_row_is_taken(self):
        machine = made(machines.near())
        assert feed(machine, {"e": 1}, {"e": 0}) == [["child"], ["parent"]]
        assert machine.control == "q"


class TestChain:
    def test_sc_28_eventless_rows_see_the_evolving_data_and_the_event_data(self):
        machine = made(machines.chain())
        assert feed(machine, {"go": 2}) == [["x0", "small", 3]]
        assert (machine.control, machine.data) == ("a", {"n": 3})
        assert feed(machine, {"go": 8}) == [["x3", "big", 12]]
        assert machine.control == "d"

    @staticmethod
    def transient(profile):
        rows = [Row("a", "go", Branch("t", action=counting("g"))), Row("t", None, Branch("a", lambda d, ev, st: False))]
        return made(Definition(["a", "t"], ["go"], rows, initial="a", data={"n": 0}, profile=profile))

    def test_sc_29_a_transient_state_without_a_way_on_is_stuck(self):
        machine = self.transient(Profile.PARITY)
        taken = machine.step({"go": 1})
        assert (taken.outcome, taken.outputs) == (Outcome.STUCK, ["g", None])
        assert (machine.control, machine.data) == ("t", {"n": 1})
        assert feed(machine, "go") == [None]

    def test_sc_29_strict_rolls_it_back_as_an_error(self):
        machine = self.transient(Profile.STRICT)
        with pytest.raises(MachineError) as caught:
            machine.send({"go": 1})
        assert (caught.value.kind, machine.control, machine.data) == ("no_progress", "a", {"n": 0})

    def test_sc_30_the_entry_row_of_a_compound_beats_its_eventless_row(self):
        rows = [
            Row("a", "e", "p"),
            Row("p", "init", Branch("c", action=out("init"))),
            Row("p", None, Branch("a", action=out("never"))),
        ]
        machine = made(Definition({"a": "", "p": {"c": ""}}, ["e"], rows, initial="a", profile=Profile.PARITY))
        assert feed(machine, "e") == [["init"]]

    @pytest.mark.parametrize("profile", list(Profile))
    def test_sc_31_a_cycle_of_eventless_rows_ends_at_the_limit(self, profile):
        rows = [Row("s", "e", "a"), Row("a", None, "b"), Row("b", None, "a")]
        machine = made(Definition(["s", "a", "b"], ["e"], rows, initial="s", profile=profile))
        with pytest.raises(MachineError) as caught:
            machine.send({"e": 1})
        assert caught.value.kind == "no_progress"

    def test_sc_32_a_transient_state_that_leads_to_itself_loses_its_outputs(self):
        rows = [
            Row("a", None, Branch("b", lambda d, ev, st: d["n"] > 1)),
            Row("a", "e", Branch("a", action=counting("i"))),
        ]
        parts = {"states": ["a", "b"], "events": ["e"], "rows": rows, "initial": "a", "data": {"n": 0}}
        with pytest.raises(DefinitionError):
            Definition(**parts)
        machine = made(Definition(**parts, profile=Profile.PARITY))
        assert machine.step({"e": 1}).outcome is Outcome.STUCK
        assert (machine.data, feed(machine, "e")) == ({"n": 1}, [None])
        assert (machine.control, machine.data) == ("a", {"n": 2})


class TestSession:
    WAY = ({"frame": "f0"}, "ready", "token", {"frame": "f1"}, "drop", {"frame": "f2"}, "timer", {"frame": "f3"})

    def test_sc_33_a_resume_by_deep_history_does_not_ask_for_a_token_again(self):
        answers = feed(made(machines.session()), *self.WAY)
        assert answers == [None, ["get_token"], [], [{"send": "f1"}], [{"timer": 100}], None, [], [{"send": "f3"}]]

    def test_sc_34_the_third_drop_gives_up(self):
        machine = at(machines.session(), *self.WAY)
        assert feed(machine, "drop", "timer", "drop") == [[{"timer": 200}], [], ["give_up"]]
        assert (machine.control, machine.data) == ("NEW", {"frames": 2, "tries": 0})

    def test_sc_35_shallow_history_of_a_direct_child_is_the_same(self):
        machine = at(machines.session(machines.shallow), "ready", "token", "drop")
        assert feed(machine, "timer") == [[]]
        assert machine.control == "PUT"


class TestHist:
    def test_sc_36_without_memory_a_history_means_the_entry_row(self):
        machine = made(machines.hist())
        assert feed(machine, "deep") == [["H*", "O>A"]]
        assert machine.control == "A"

    def test_sc_37_shallow_history_of_a_leaf(self):
        machine = at(machines.hist(), "deep", "z")
        assert feed(machine, "shal") == [["H"]]
        assert machine.control == "A"

    def test_sc_38_deep_goes_to_the_leaf_and_shallow_stops_one_level_down(self):
        machine = at(machines.hist(), "deep", "a", "t", "z")
        assert (feed(machine, "deep"), machine.control) == ([["H*"]], "T")
        assert feed(machine, "z", "shal") == [[], ["H", "I>S"]]
        assert machine.control == "S"

    def test_sc_39_a_shallow_history_from_inside_runs_the_childs_entry_row(self):
        machine = at(machines.hist(), "deep", "a", "t")
        assert feed(machine, "selfs") == [["H", "I>S"]]
        assert machine.control == "S"

    def test_sc_40_the_inner_compound_keeps_its_own_memory(self):
        machine = at(machines.hist(), "deep", "a")
        assert feed(machine, "b", "z", "deepI") == [[], [], ["H*"]]
        assert machine.control == "S"
        feed(machine, "z", "deep")
        assert machine.control == "S"

    def test_sc_41_the_history_of_an_atomic_state(self):
        rows = [Row("Z", "h", Branch(deep("A"), action=counting("h"))), Row("A", "h", "Z")]
        parts = {"states": ["A", "Z"], "events": ["h"], "rows": rows, "initial": "Z", "data": {"n": 0}}
        with pytest.raises(DefinitionError) as caught:
            Definition(**parts)
        assert caught.value.ids == ("isHistoryStatesCompoundStates",)
        machine = made(Definition(**parts, profile=Profile.PARITY))
        assert (feed(machine, "h"), machine.data) == ([ERROR], {"n": 1})
        assert (feed(machine, "h"), machine.data, machine.control) == ([ERROR], {"n": 2}, "Z")


class TestErrors:
    @pytest.mark.parametrize("profile", list(Profile))
    @pytest.mark.parametrize(
        ("event", "kind"),
        [("guard", "guard"), ("act", "action"), ("no_updates", "action_shape"), ("text", "action_shape")],
    )
    def test_sc_42_failing_guards_and_actions_leave_everything_as_it_was(self, profile, event, kind):
        machine = made(machines.err(profile))
        with pytest.raises(RaisedError) as caught:
            machine.send({event: 1})
        assert caught.value.kind == kind
        assert (machine.control, machine.data, history(machine)) == ("c", {"n": 0}, NOTHING)

    @pytest.mark.parametrize(("profile", "kept"), [(Profile.PARITY, {"p": "c"}), (Profile.STRICT, {})])
    def test_sc_43_a_failing_update_keeps_the_history_in_parity_only(self, profile, kept):
        machine = made(machines.err(profile))
        assert feed(machine, "boom") == [ERROR]
        assert (machine.control, machine.data, machine.snapshot.deep) == ("c", {"n": 0}, kept)

    def test_sc_44_parity_rests_where_the_failure_was_and_goes_on_from_there(self):
        machine = at(machines.err(Profile.PARITY), "to_i")
        assert feed(machine, "in") == [ERROR]
        assert (machine.control, machine.data) == ("q", {"n": 1})
        assert (feed(machine, "up"), machine.control) == ([["up"]], "c")

    def test_sc_44_strict_goes_back_to_before_the_event(self):
        machine = at(machines.err(), "to_i")
        assert feed(machine, "in") == [ERROR]
        assert (machine.control, machine.data) == ("i", {"n": 0})

    def test_sc_45_updates_see_old_data_and_later_records_win(self):
        def action(d, ev, st):
            return update(x=d["x"] + 1).update(x=d["y"], y=d["x"])

        machine = made(
            Definition(["a"], ["e"], [Row("a", "e", Branch("a", action=action))], initial="a", data={"x": 1, "y": 1})
        )
        machine.send({"e": 1})
        assert machine.data == {"x": 1, "y": 1}

    def test_sc_46_the_content_of_outputs_is_never_flattened(self):
        rows = [
            Row("a", "e", Branch("b", action=out(["x", "y"], {}, None))),
            Row("b", None, Branch("c", action=out([]))),
        ]
        machine = made(Definition(["a", "b", "c"], ["e"], rows, initial="a"))
        assert feed(machine, "e") == [[["x", "y"], {}, None, []]]

    def test_an_action_that_forgets_to_return_is_an_error(self):
        machine = made(
            Definition(["a"], ["e"], [Row("a", "e", Branch("a", action=lambda d, ev, st: None))], initial="a")
        )
        with pytest.raises(MachineError, match="NoneType"):
            machine.send({"e": 1})

    def test_an_error_names_the_place_and_keeps_the_cause_without_the_data(self):
        machine = made(machines.err())
        with pytest.raises(MachineError) as caught:
            machine.send({"act": "secret"})
        assert isinstance(caught.value.cause, ZeroDivisionError)
        assert caught.value.to_dict() == {"kind": "action", "state": "c", "event": "act", "row": 3, "branch": 0}
        assert "secret" not in str(caught.value)

    def test_a_machine_that_fails_on_its_way_down_is_not_made(self):
        rows = [Row("nok", "init", Branch("a", action=machines.raising)), Row("a", "e", "a")]
        definition = Definition(["a"], ["e"], rows)
        assert start(definition).outcome is Outcome.ERROR
        with pytest.raises(MachineError):
            made(definition)

    def test_a_machine_without_a_true_initial_guard_rests_in_the_root_in_parity(self):
        rows = [Row("nok", "init", Branch("a", lambda d, ev, st: False)), Row("a", "e", "a")]
        assert made(Definition(["a"], ["e"], rows, profile=Profile.PARITY)).control == "nok"
        with pytest.raises(MachineError, match="no_progress"):
            made(Definition(["a"], ["e"], rows))


class TestInterfaces:
    def test_sc_47_a_step_is_a_function_of_its_arguments(self):
        definition = machines.house()
        first = at(definition, "jump").snapshot
        before = first.to_json()
        one = step(definition, first, {"out": 1})
        feed(made(definition), "enter", "walk")
        assert step(definition, first, {"out": 1}) == one
        assert first.to_json() == before

    def test_sc_48_a_snapshot_survives_json(self):
        machine = at(machines.house(), "enter", "wash")
        other = made(machines.house())
        other.restore(json.loads(json.dumps(machine.snapshot.to_dict())))
        assert feed(other, "redo", "out") == feed(machine, "redo", "out")
        other.restore(machine.snapshot.to_json())
        assert other.snapshot == machine.snapshot == Snapshot.from_json(machine.snapshot.to_json())

    def test_sc_49_starting_again_begins_at_the_root_with_empty_history(self):
        rows = [
            Row("P", "init", "A"),
            Row("Q", "init", "C"),
            Row("A", "n", "D"),
            Row("D", "n", "B"),
            Row("B", "n", "C"),
        ]
        machine = at(Definition({"P": {"A": "", "B": ""}, "Q": {"C": "", "D": ""}}, ["n"], rows, initial="P"), "n")
        assert machine.control == "D"
        machine.start()
        assert (machine.control, history(machine)) == ("A", NOTHING)

    @pytest.mark.parametrize("event", [{"press": 1, "hit": 2}, None])
    def test_sc_50_an_event_with_two_names_or_none_at_all_is_an_error(self, event):
        with pytest.raises(MachineError) as caught:
            made(machines.lamp()).send(event)
        assert caught.value.kind == "event"
        assert step(machines.lamp(), start(machines.lamp()).snapshot, event).outcome is Outcome.ERROR

    @pytest.mark.parametrize("name", ["keys", "get", "__class__", "constructor", "toString"])
    def test_sc_50_names_of_object_members_are_plain_unhandled(self, name):
        assert made(machines.lamp()).send({name: 1}) is None

    def test_an_event_may_be_a_pair_or_a_mapping(self):
        assert made(machines.lamp()).send(Event("press")) == made(machines.lamp())({"press": None})
        assert made(machines.lamp()).send(("press", 1)) == [{"lamp": "on", "count": 0}]

    def test_a_snapshot_of_another_machine_is_refused(self):
        machine = made(machines.lamp())
        before = machine.snapshot
        with pytest.raises(StatechartError, match="stove"):
            machine.restore(at(machines.house(), "enter").snapshot)
        with pytest.raises(StatechartError):
            machine.restore({"control": "off"})
        with pytest.raises(StatechartError):
            step(machines.lamp(), at(machines.house(), "enter").snapshot, {"press": 1})
        assert machine.snapshot == before

    def test_data_may_be_a_dataclass(self):
        from dataclasses import dataclass

        @dataclass(frozen=True)
        class Count:
            n: int = 0

        rows = [Row("a", "e", Branch("a", action=lambda d, ev, st: update(n=d.n + 1).out(d.n)))]
        machine = made(Definition(["a"], ["e"], rows, initial="a", data=Count()))
        assert (feed(machine, "e", "e"), machine.data) == ([[0], [1]], Count(2))

    @pytest.mark.parametrize("updates", [{"n": 1}, "text", None, [7]])
    def test_updates_that_are_no_list_of_records_are_an_error(self, updates):
        rows = [Row("a", "e", Branch("a", action=lambda d, ev, st: {"updates": updates, "outputs": []}))]
        machine = made(Definition(["a"], ["e"], rows, initial="a", data={}))
        with pytest.raises(MachineError) as caught:
            machine.send({"e": 1})
        assert caught.value.kind == "update"


class TestTrace:
    def test_sc_54_one_record_per_micro_step_and_none_for_an_unknown_event(self):
        first = start(machines.lamp()).snapshot
        [record] = step(machines.lamp(), first, {"press": 5}, trace=True).trace
        assert record.to_dict() == {
            "control_state": "off",
            "target_control_state": "on",
            "event": "press",
            "payload": 5,
            "extended_state": {"n": 0},
            "new_extended_state": {"n": 1},
            "updates": ({"n": 1},),
            "outputs": [{"lamp": "on", "count": 0}],
            "guard": "",
            "action": "lit",
            "transition_index": 0,
            "guard_index": 0,
        }
        assert step(machines.lamp(), first, {"zap": 5}, trace=True).trace == ()
        assert step(machines.lamp(), first, {"press": 5}).trace == ()

    def test_a_tracer_sees_every_micro_step_and_its_event(self):
        seen = []
        machine = create_state_machine(machines.house(), tracer=seen.append)
        machine.send({"enter": 1})
        assert [(record.event, record.control, record.target) for record in seen] == [
            ("init", "nok", "garden"),
            ("enter", "garden", "house"),
            ("init", "house", "kitchen"),
            ("init", "kitchen", "stove"),
        ]
        assert machine.control == "stove"

    def test_a_traced_machine_fails_like_any_other(self):
        machine = create_state_machine(machines.err(), tracer=lambda record: None)
        with pytest.raises(MachineError):
            machine.send({"act": 1})
        assert machine.control == "c"
