"""The machines that the scenarios talk about, one function each, and what feeds them."""

from kvspic.statechart import Branch, Definition, Profile, Row, deep, out, shallow, update
from kvspic.statechart.errors import MachineError

ERROR = "error"


def feed(machine, *events):
    """What the machine answers to each event; ``ERROR`` where it fails."""
    answers = []
    for event in events:
        try:
            answers.append(machine.send(event if isinstance(event, (dict, tuple)) else {event: None}))
        except MachineError:
            answers.append(ERROR)
    return answers


def history(machine):
    return {"deep": machine.snapshot.deep, "shallow": machine.snapshot.shallow}


def lit(data, payload, settings):
    return update(n=data["n"] + 1).out({"lamp": "on", "count": data["n"]})


def dark(data, payload, settings):
    return out({"lamp": "off"})


def lamp(**changes):
    parts = {
        "states": {"off": "", "on": "", "broken": ""},
        "events": ["press", "hit"],
        "rows": [
            Row("off", "press", Branch("on", action=lit)),
            Row("on", "press", Branch("off", action=dark)),
            Row("on", "hit", "broken"),
        ],
        "initial": "off",
        "data": {"n": 0},
    }
    return Definition(**{**parts, **changes})


def box():
    def twice(data, payload, settings):
        return update(n=data["n"] * 2).out("unseen")

    return Definition(
        states={"box": {"lid": "", "base": ""}, "out": ""},
        events=["go", "leave"],
        rows=[
            Row("nok", "init", "box"),
            Row("box", "init", Branch("lid", action=twice)),
            Row("lid", "go", Branch("base", action=lambda data, payload, settings: out(data["n"]))),
            Row("box", "leave", "out"),
            Row("out", "go", Branch("box", action=lambda data, payload, settings: out(data["n"]))),
        ],
        data={"n": 1},
    )


def scale(*more_branches):
    def stamp(data, payload, settings):
        return update(sold=data["sold"] + 1).out("stamp")

    def label(data, payload, settings):
        return update(sold=data["sold"] + 1).out("label", payload)

    return Definition(
        states={"idle": "", "letter": "", "parcel": ""},
        events=["weigh", "next"],
        rows=[
            Row(
                "idle",
                "weigh",
                Branch("letter", lambda data, payload, settings: payload <= 20, stamp),
                Branch("parcel", lambda data, payload, settings: payload <= settings["limit"], label),
                *more_branches,
            ),
            Row("letter", "next", "idle"),
            Row("parcel", "next", "idle"),
        ],
        initial="idle",
        data={"sold": 0},
        settings={"limit": 2000},
    )


def _letter(letter):
    def action(data, payload, settings):
        return update(log=data["log"] + letter).out(f"{letter}{data['log']}:{payload}")

    return action


def house():
    return Definition(
        states={"house": {"hall": "", "kitchen": {"sink": "", "stove": ""}}, "garden": ""},
        events=["enter", "wash", "out", "redo", "walk", "jump", "again", "flip"],
        rows=[
            Row("garden", "enter", Branch("house", action=_letter("h"))),
            Row("house", "init", Branch("kitchen", action=_letter("k"))),
            Row("kitchen", "init", Branch("stove", action=_letter("s"))),
            Row("stove", "wash", Branch("sink", action=out("wash"))),
            Row("sink", "wash", Branch("sink", action=out("wash"))),
            Row("house", "out", "garden"),
            Row("kitchen", "redo", "kitchen"),
            Row("kitchen", "walk", "hall"),
            Row("garden", "jump", Branch("sink", action=out("jump"))),
            Row("hall", "again", deep("house")),
            Row("sink", "flip", shallow("house")),
        ],
        initial="garden",
        data={"log": ""},
    )


def near():
    return Definition(
        states={"p": {"c": "", "d": ""}, "q": ""},
        events=["e"],
        rows=[
            Row("p", "init", "c"),
            Row("p", "e", Branch("q", action=out("parent"))),
            Row("c", "e", Branch("d", lambda data, payload, settings: payload == 1, out("child"))),
        ],
        initial="c",
        profile=Profile.PARITY,
    )


def counting(name):
    """An action that adds 1 to n and outputs a text."""
    return lambda data, payload, settings: update(n=data["n"] + 1).out(name)


def chain():
    return Definition(
        states=["a", "b", "c", "d"],
        events=["go"],
        rows=[
            Row("a", "go", Branch("b", action=lambda d, ev, st: update(n=d["n"] + 1).out(f"x{d['n']}"))),
            Row("b", None, Branch("c", action=lambda d, ev, st: update(n=d["n"] + ev))),
            Row(
                "c",
                None,
                Branch("a", lambda d, ev, st: d["n"] < 10, lambda d, ev, st: out("small", d["n"])),
                Branch("d", lambda d, ev, st: d["n"] >= 10, lambda d, ev, st: out("big", d["n"])),
            ),
            Row("d", "go", "a"),
        ],
        initial="a",
        data={"n": 0},
    )


def session(resume=deep):
    def put(data, payload, settings):
        return update(frames=data["frames"] + 1).out({"send": payload})

    def retry(data, payload, settings):
        return update(tries=data["tries"] + 1).out({"timer": 100 * (data["tries"] + 1)})

    return Definition(
        states={"NEW": "", "UP": {"WAIT": "", "PUT": ""}, "DOWN": ""},
        events=["ready", "token", "frame", "drop", "timer"],
        rows=[
            Row("NEW", "ready", "UP"),
            Row("UP", "init", Branch("WAIT", action=out("get_token"))),
            Row("WAIT", "token", "PUT"),
            Row("PUT", "frame", Branch("PUT", action=put)),
            Row(
                "UP",
                "drop",
                Branch("DOWN", lambda d, ev, st: d["tries"] < 2, retry),
                Branch("NEW", lambda d, ev, st: d["tries"] >= 2, update(tries=0).out("give_up")),
            ),
            Row("DOWN", "timer", resume("UP")),
        ],
        initial="NEW",
        data={"frames": 0, "tries": 0},
    )


def hist():
    return Definition(
        states={"O": {"A": "", "B": "", "I": {"S": "", "T": ""}}, "Z": ""},
        events=["a", "t", "b", "z", "deep", "shal", "deepI", "selfs"],
        rows=[
            Row("O", "init", Branch("A", action=out("O>A"))),
            Row("I", "init", Branch("S", action=out("I>S"))),
            Row("A", "a", "I"),
            Row("S", "t", "T"),
            Row("I", "b", "B"),
            Row("O", "z", "Z"),
            Row("Z", "deep", Branch(deep("O"), action=out("H*"))),
            Row("Z", "shal", Branch(shallow("O"), action=out("H"))),
            Row("Z", "deepI", Branch(deep("I"), action=out("H*"))),
            Row("T", "selfs", Branch(shallow("O"), action=out("H"))),
        ],
        initial="Z",
    )


def raising(data, payload, settings):
    raise ZeroDivisionError


def err(profile=Profile.STRICT):
    def refuse_boom(data, updates):
        for record in updates:
            if "boom" in record:
                raise ValueError("boom")
            data = {**data, **record}
        return data

    more = [
        Branch("d", action=action)
        for action in (
            raising,
            lambda d, ev, st: {"outputs": []},
            lambda d, ev, st: {"updates": [], "outputs": "text"},
            update(boom=1),
        )
    ]
    names = ["act", "no_updates", "text", "boom"]
    return Definition(
        states={"p": {"c": "", "d": ""}, "q": {"r": ""}, "i": ""},
        events=["guard", *names, "in", "up", "to_i"],
        rows=[
            Row("p", "init", "c"),
            Row("q", "init", Branch("r", action=raising)),
            Row("c", "guard", Branch("d", raising)),
            *(Row("c", name, branch) for name, branch in zip(names, more)),
            Row("c", "to_i", "i"),
            Row("i", "in", Branch("q", action=counting("in"))),
            Row("q", "up", Branch("c", action=counting("up"))),
        ],
        initial="c",
        data={"n": 0},
        update=refuse_boom,
        profile=profile,
    )
