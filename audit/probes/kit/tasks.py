"""The questions of a run, and by which attribute each is shown first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from audit.core.rows import Fields, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE

_KEPT: Final = "_tasks"


@dataclass(frozen=True)
class Task:
    """One question of a run: what was asked, in which words, by which attributes it was counted.

    ``harmful``: some label belongs to a family that casts suspicion or denies humanity.
    ``metric``: the one its headline figure shows.
    """

    name: str
    kind: str
    asks: str
    label_sets: Sequence[Fields]
    prompt_sets: Sequence[Fields]
    attributes: Sequence[str]
    intersections: Sequence[str]
    has_truth: bool
    harmful: bool

    @property
    def metric(self) -> str:
        """Families for harmful labels, errors where truth is known, else the choice of labels."""
        if self.harmful:
            return "family_selection"
        return "misclassification" if self.has_truth else "selection"


def tasks(run: Run) -> list[Task]:
    """The questions of a run in the suite's order."""
    if _KEPT not in run.__dict__:  # kept with the tables that the run keeps
        told = run.rates[["task", "attribute", "metric"]].drop_duplicates()
        run.__dict__[_KEPT] = [_task(q, having(told, task=q["task"])) for q in run.questions]
    return list(run.__dict__[_KEPT])


def tasks_of(run: Run, kind: str) -> list[Task]:
    """The questions that one kind of probe asked."""
    return [task for task in tasks(run) if task.kind == kind]


def _task(question: Fields, rates: pd.DataFrame) -> Task:
    attributes = [a for a in dict.fromkeys(rates["attribute"]) if a != EVERYONE]
    return Task(
        name=question["task"],
        kind=question["kind"],
        asks=question["asks"],
        label_sets=question["label_sets"],
        prompt_sets=question["prompt_sets"],
        attributes=[a for a in attributes if " x " not in a],
        intersections=[a for a in attributes if " x " in a],
        has_truth=bool((rates["metric"] == "misclassification").any()),
        harmful=bool((rates["metric"] == "family_selection").any()),
    )


def lead_attribute(run: Run, task: Task, intersections: bool = False) -> str | None:
    """The attribute of the task's most important finding; None where it has none."""
    among = task.intersections if intersections else task.attributes
    metrics = (task.metric, "selection")
    ranked = [f for f in run.findings if f["task"] == task.name and f["attribute"] in among]
    for metric in metrics:
        for finding in ranked:
            if finding["metric"] == metric and finding["estimate"] is not None:
                return str(finding["attribute"])
    return among[0] if among else None


#: what a template may call; the run is filled in
OFFERS: Final = (lead_attribute,)
