"""The CD player of Ian Horrocks' book on statecharts, as a machine: ``python docs/examples/cd_player.py``.

It shows compound states with entry rows, a transient state that chooses its way, and a history that brings the player
back to what it did before a step through the disc. The machine only says what is to be done; moving the drawer is left
to the reader of its outputs. ``--format mermaid`` (plantuml, dot, table) prints the machine, ``--tests`` its tests.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kvspic.statechart import Branch, Definition, Row, create_state_machine, out, shallow, update
from kvspic.statechart.diagram import FORMATS, render
from kvspic.statechart.generate import all_transitions
from kvspic.statechart.graph import Model, Payload

__all__ = ["PLAYER", "RUN", "Disc", "main"]

STATES = {
    "no_cd_loaded": {"cd_drawer_closed": "", "cd_drawer_open": "", "closing_cd_drawer": ""},
    "cd_loaded": {
        "cd_loaded_subgroup": {
            "cd_playing": "",
            "cd_paused": {"time_shown": "", "time_blank": ""},
            "cd_stopped": "",
        },
        "stepping_forwards": "",
        "stepping_backwards": "",
    },
}


@dataclass(frozen=True)
class Disc:
    """What the player knows: the number of tracks of the disc in the drawer (0: none), and the current one."""

    tracks: int = 0
    track: int = 1


def has_disc(disc: Disc, payload: Any, settings: Any) -> bool:
    return disc.tracks > 0


def is_last_track(disc: Disc, payload: Any, settings: Any) -> bool:
    return disc.track >= disc.tracks


def close_drawer(disc: Disc, payload: Any, settings: Any) -> Any:
    """The event's data is the number of tracks that somebody put into the drawer."""
    return update(tracks=payload or 0, track=1).out("close drawer")


def play(disc: Disc, payload: Any, settings: Any) -> Any:
    return out(f"play track {disc.track}")


def next_track(disc: Disc, payload: Any, settings: Any) -> Any:
    return update(track=disc.track + 1).out(f"play track {disc.track + 1}")


def rewind(disc: Disc, payload: Any, settings: Any) -> Any:
    return update(track=1).out("stop motor")


ROWS = [
    Row("no_cd_loaded", "init", "cd_drawer_closed"),
    Row("cd_drawer_closed", "eject", Branch("cd_drawer_open", action=out("open drawer"))),
    Row("cd_drawer_open", "eject", Branch("closing_cd_drawer", action=close_drawer)),
    Row("closing_cd_drawer", None, Branch("cd_loaded", has_disc), Branch("cd_drawer_closed")),
    Row("cd_loaded", "init", "cd_loaded_subgroup"),
    Row("cd_loaded", "eject", Branch("cd_drawer_open", action=out("stop motor", "open drawer"))),
    Row("cd_loaded_subgroup", "init", "cd_stopped"),
    Row("cd_loaded_subgroup", "stop", Branch("cd_stopped", action=rewind)),
    Row("cd_loaded_subgroup", "forward_down", Branch("stepping_forwards", action=out("run forwards"))),
    Row("cd_loaded_subgroup", "backward_down", Branch("stepping_backwards", action=out("run backwards"))),
    Row("cd_stopped", "play", Branch("cd_playing", action=play)),
    Row("cd_playing", "pause", Branch("cd_paused", action=out("hold motor"))),
    Row(
        "cd_playing",
        "end_of_track",
        Branch("cd_stopped", is_last_track, rewind),
        Branch("cd_playing", action=next_track),
    ),
    Row("cd_paused", "init", "time_shown"),
    Row("cd_paused", "pause", Branch("cd_playing", action=play)),
    Row("cd_paused", "play", Branch("cd_playing", action=play)),
    Row("time_shown", "timer", Branch("time_blank", action=out("blank display"))),
    Row("time_blank", "timer", Branch("time_shown", action=out("show time"))),
    Row("stepping_forwards", "forward_up", Branch(shallow("cd_loaded_subgroup"), action=out("run normally"))),
    Row("stepping_backwards", "backward_up", Branch(shallow("cd_loaded_subgroup"), action=out("run normally"))),
]
EVENTS = [
    "eject", "play", "pause", "stop", "end_of_track", "timer",
    "forward_down", "forward_up", "backward_down", "backward_up",
]  # fmt: skip

PLAYER = Definition(states=STATES, events=EVENTS, rows=ROWS, initial="no_cd_loaded", data=Disc(), name="cd_player")

RUN = ({"eject": None}, {"eject": 2}, {"play": None}, {"forward_down": None}, {"forward_up": None})
"""Open the drawer, close it on a disc with two tracks, play, and step forwards for a moment."""


def show_run() -> None:
    """Print each input of ``RUN`` with the states on the way and the outputs."""
    player = create_state_machine(PLAYER)
    print(f"{'':<16} {player.control}")
    for event in RUN:
        step = player.step(event, trace=True)
        print(f"{next(iter(event)):<16} {' > '.join(record.target for record in step.trace)}: {step.outputs}")
    print(f"{'':<16} {player.control}, track {player.data.track} of {player.data.tracks}")


def show_tests() -> None:
    """Print a shortest test for every transition, as generated from the machine."""
    branches = [(row.origin, row.event, number) for row in PLAYER.rows for number, _ in enumerate(row.branches)]
    generators = dict.fromkeys(branches, lambda data, memory: Payload(None))
    generators["cd_drawer_open", "eject", 0] = lambda data, memory: Payload(2)
    made = all_transitions(Model(PLAYER, generators))
    for case in made.cases:
        print(f"{case}: {list(case.outputs)}")
    for edge, reason in made.coverage.missed_edges:
        print(f"not covered: {edge.leaf} to {edge.landing}, {reason}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A CD player as a state machine.")
    parser.add_argument("--format", choices=FORMATS, help="print the machine as a diagram or table")
    parser.add_argument("--tests", action="store_true", help="print generated tests")
    options = parser.parse_args(arguments)
    if options.format:
        print(render(PLAYER, options.format), end="")
    elif options.tests:
        show_tests()
    else:
        show_run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
