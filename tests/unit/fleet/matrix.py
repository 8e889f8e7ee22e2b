"""Which status may follow which in the log of a job, as the requirements have it: + always, L for live sources only."""

MATRIX = """from\\to,none,pending,in_progress,done,restart,pause,cancel,failure,handler_lost
none,.,+,.,.,.,+,.,.,.
pending,+,.,+,.,+,+,+,.,.
in_progress,+,+,.,+,+,L,+,+,+
done,+,+,.,.,+,+,.,.,.
restart,.,+,.,.,.,+,.,.,.
pause,+,+,.,.,+,.,+,.,.
cancel,+,+,.,.,+,+,.,.,.
failure,+,+,.,.,+,+,.,.,.
handler_lost,.,.,.,.,+,.,.,.,.
"""


def matrix_pairs():
    """(from, to) of each change that may happen."""
    names, *rows = (line.split(",") for line in MATRIX.splitlines())
    return {(row[0], to) for row in rows for to, mark in zip(names[1:], row[1:]) if mark in "+L"}
