"""What two runs asked in which no label is chosen: operating points of alarms that moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.rows import having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, OK
from audit.probes.alarms.points import in_words
from audit.probes.alarms.rows import ALARMS, DETECTED, FALSE_ALARMS, THRESHOLD

_TOLD: Final = {
    FALSE_ALARMS: "false alarms of everyone",
    DETECTED: "events detected",
    ALARMS: "alarms about everyone",
}


def choices_of(run: Run) -> list[str]:
    """The tasks of a run in which the model chose among the labels of a set."""
    asked = (q for q in run.questions if q.get("emits", "choices") == "choices")
    return [str(q["task"]) for q in asked if len(q["label_sets"]) == 1]


def about_others(run_a: Run, run_b: Run) -> Iterator[str]:
    """What both runs asked in which no label is chosen, and where alarms are raised otherwise."""
    asked = [
        {str(q["task"]): q["kind"] for q in run.questions if q["task"] not in choices_of(run)}
        for run in (run_a, run_b)
    ]
    shared = [task for task, kind in asked[0].items() if asked[1].get(task) == kind]
    if shared:
        yield f"No label is chosen in {', '.join(shared)}: both reports tell what changed there."
    for task in (task for task in shared if asked[0][task] == "alarms"):
        points = [_points(run, task) for run in (run_a, run_b)]
        if points[0] != points[1]:
            yield f"The operating point of '{task}' moved: {points[0]} in A, {points[1]} in B."


def _points(run: Run, task: str) -> str:
    """The operating points of an alarm, and the rates of everyone there."""
    rows = having(run.measures, task=task)
    at = having(rows, metric=THRESHOLD, status=OK)
    everyone = having(rows, attribute=EVERYONE, metric=_TOLD)
    told = []
    for point in each(at):
        rates = [
            f"{_TOLD[r.metric]} {percent(r.value, r.low, r.high)} %"
            for r in each(having(everyone, condition=point.condition))
        ]
        told.append(f"{in_words(point.value)} ({', '.join(rates)})")
    return " and ".join(told) or "none"
